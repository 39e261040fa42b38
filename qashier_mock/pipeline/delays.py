"""Calls that a fault holds up: so many of them at a time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from qashier_mock.pipeline.beginning import have_a_task
from qashier_mock.pipeline.descriptors import most_connections

MOST_HELD: Final = 1_000
"""Calls that are held up at the same time. A client that has hung up cannot be told from one that waits patiently, so
that without a bound a long delay would fill the memory with calls for nobody. At most half of the connections that the
system allows are for them."""


class Delays:
    """Holds calls up."""

    def __init__(self) -> None:
        self._held: dict[asyncio.Event, None] = {}  # in the order in which they came
        self._most = min(MOST_HELD, most_connections() // 2)

    async def hold(self, seconds: float) -> None:
        """Return after so many seconds, or sooner where this is the longest held of too many."""
        await have_a_task()
        if len(self._held) >= self._most:
            oldest = next(iter(self._held))
            del self._held[oldest]
            oldest.set()
        released = asyncio.Event()
        self._held[released] = None
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(released.wait(), seconds)
        finally:
            self._held.pop(released, None)
