"""Very many sessions that are overdue at once expire in several transactions, so that other requests get their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from qashier_mock.core.errors import ApiError, SessionNotFound
from qashier_mock.core.model import CheckoutSession
from qashier_mock.stores.base import Transaction

EXPIRED_AT_ONCE: Final = 200
"""Rows that one transaction may write as sessions expire: one for each session and for each endpoint told of it."""

_LOOK_AGAIN_AFTER: Final = 0.02
"""Seconds until we look again whether another process has expired what is overdue."""

P = ParamSpec("P")
T = TypeVar("T")


class MoreOverdue(ApiError):
    """Raised when more sessions must expire than one transaction may expire.

    An `ApiError`, because leaving the transaction with one commits what it did so far. It never leaves this process.
    """

    def __init__(self, tx: Transaction) -> None:
        """Begin again, a little later if another process sees to what is overdue."""
        super().__init__("More sessions are overdue; begin again.")
        self.wait = _LOOK_AGAIN_AFTER if another_process_moves_the_clock(tx) else 0.0


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


async def current_session(tx: Transaction, session_id: str, now: int) -> CheckoutSession:
    """A session whose deadline has not passed, or that has ended.

    Raises:
        SessionNotFound: The account has no such session.
        MoreOverdue: So many are overdue that it has not had its turn yet.
    """
    session = await tx.session(session_id)
    if session is None:
        raise SessionNotFound(session_id)
    # Where a known defect sees nothing overdue, nothing more would expire however often the command began again.
    if session.is_open and session.expires_at <= now and has_overdue(tx, now):
        raise MoreOverdue(tx)
    return session


def require_none_overdue(tx: Transaction, now: int) -> None:
    """Go on only if nothing is overdue.

    Raises:
        MoreOverdue: Something is.
    """
    if has_overdue(tx, now):
        raise MoreOverdue(tx)


def has_overdue(tx: Transaction, now: int) -> bool:
    deadline = tx.next_deadline()
    return deadline is not None and deadline <= now


def another_process_moves_the_clock(tx: Transaction) -> bool:
    """Whether another process moves the account's clock."""
    return tx.state.move is not None and tx.state.move.worker not in (None, tx.worker)
