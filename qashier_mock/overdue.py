"""Very many sessions that are overdue at once expire in several transactions, others having their turn in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from qashier_mock.core.errors import ApiError

EXPIRED_AT_ONCE: Final = 200
"""Sessions that expire at most in one transaction that lets nobody else have a turn."""

P = ParamSpec("P")
T = TypeVar("T")


class MoreOverdue(ApiError):
    """Raised within a command whose transaction has expired as many sessions as it may. What it did is committed."""

    def __init__(self) -> None:
        super().__init__("More sessions are overdue; begin again.")


def once_nothing_is_overdue(command: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Begin a command again for as long as it raises `MoreOverdue`."""

    @wraps(command)
    async def again(*args: P.args, **kwargs: P.kwargs) -> T:
        while True:
            try:
                return await command(*args, **kwargs)
            except MoreOverdue:
                await asyncio.sleep(0)

    return again
