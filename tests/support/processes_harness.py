"""Several mocks on one database, each as if in a process of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from mock_harness import NOW
from store_harness import Mock

from qashier_mock.core.sources import ManualClock
from qashier_mock.stores.postgres import PostgresStore

SOON = 0.4
"""Seconds that the lease of a process lasts here."""


class Processes:
    """Several mocks on one database, each as if in a process of its own; their machines' clock is one."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = ManualClock(NOW)
        self.stores: list[PostgresStore] = []

    async def start(self, **policy: Any) -> Mock:
        store = PostgresStore(self.url, alive_for=SOON)
        await store.open()
        self.stores.append(store)
        return Mock(store, self.clock, **policy)

    async def kill(self, mock: Mock) -> None:
        """End a process without letting it say goodbye."""
        store = mock.store
        assert isinstance(store, PostgresStore)
        self.stores.remove(store)
        tasks = [each for each in (store._beating, store._writing) if each is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store._close_connections()
