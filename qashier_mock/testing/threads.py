"""Calls that wait for the mock, for tests whose event loop has to go on meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_a_thread(work: Callable[[], T]) -> T:
    """Do `work` in a thread, while the caller's event loop goes on."""
    from anyio.to_thread import run_sync  # noqa: PLC0415 - whoever awaits has an event loop already

    return await run_sync(work, abandon_on_cancel=True)
