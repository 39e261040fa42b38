"""Very many sessions that are overdue at once expire in several transactions, others having their turn in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from qashier_mock.core.errors import ApiError

EXPIRED_AT_ONCE: Final = 200
"""What expires at most in one transaction: sessions, and as many more as there are endpoints that are told of each."""

_LOOK_AGAIN_AFTER: Final = 0.02
"""Seconds until it is looked again whether another process has expired what is overdue."""

P = ParamSpec("P")
T = TypeVar("T")


class MoreOverdue(ApiError):
    """Raised within a command that needs more to expire than its transaction may. What that did is committed."""

    def __init__(self, *, is_elsewhere: bool) -> None:
        """Begin again, a little later if another process sees to what is overdue (`is_elsewhere`)."""
        super().__init__("More sessions are overdue; begin again.")
        self.wait = _LOOK_AGAIN_AFTER if is_elsewhere else 0.0


def once_nothing_is_overdue(command: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Begin a command again for as long as it raises `MoreOverdue`."""

    @wraps(command)
    async def again(*args: P.args, **kwargs: P.kwargs) -> T:
        while True:
            try:
                return await command(*args, **kwargs)
            except MoreOverdue as error:
                await asyncio.sleep(error.wait)

    return again
