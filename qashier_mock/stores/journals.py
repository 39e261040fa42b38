"""Journals on their way into a database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from qashier_mock.core.journal import JournalEntry
from qashier_mock.core.model import AccountId
from qashier_mock.stores.base import StoreUnavailable

_log = logging.getLogger(__name__)

_WRITE_EVERY: Final = 0.1
"""Seconds that a request waits at most until it stands in its journal."""

_WRITE_AGAIN_AFTER: Final = 1.0
"""Seconds until a journal is written again that could not be."""

_MOST_WAITING: Final = 10_000
"""Requests that wait to be written, at most."""

Entries = Sequence[tuple[AccountId, JournalEntry]]


class JournalWriter:
    """Writes journals a little later, so that no request waits for it."""

    def __init__(self, write: Callable[[Entries], Awaitable[None]]) -> None:
        """Have entries written by `write`, many at a time."""
        self._write = write
        self._waiting: list[tuple[AccountId, JournalEntry]] = []
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._is_failing = False

    def add(self, account: AccountId, entry: JournalEntry) -> None:
        """Write that later. When too many wait already, the oldest is not remembered."""
        self._waiting.append((account, entry))
        if len(self._waiting) > _MOST_WAITING:
            del self._waiting[0]
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write_later())

    def drop(self, account: AccountId) -> None:
        """Write nothing of that account."""
        self._waiting = [each for each in self._waiting if each[0] != account]

    async def flush(self) -> None:
        """Write all that waits; whoever wants to read waits for what is being written, too."""
        async with self._turn:
            entries, self._waiting = self._waiting, []
            if not entries:
                return
            try:
                await self._write(entries)
            except (StoreUnavailable, asyncio.CancelledError):  # the latter when the store is closed
                self._waiting = [*entries, *self._waiting][-_MOST_WAITING:]
                raise
            self._is_failing = False

    async def close(self) -> None:
        """Stop writing, once all that waits is written."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.flush()

    async def _write_later(self) -> None:
        while self._waiting:
            await asyncio.sleep(_WRITE_AGAIN_AFTER if self._is_failing else _WRITE_EVERY)
            try:
                await self.flush()
            except StoreUnavailable as error:
                if not self._is_failing:
                    _log.warning("requests are missing in the journal until the store can be used again: %s", error)
                self._is_failing = True
            except Exception:  # noqa: BLE001 - a request that cannot be written must not keep the next from it
                _log.exception("requests are missing in the journal")
