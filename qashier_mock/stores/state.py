"""What an account has one of; nearly every command needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qashier_mock.core.advice import AdviceNote
from qashier_mock.core.faults import FaultRule
from qashier_mock.core.model import Profile, WebhookEndpoint

NEW: Profile = Profile()
"""What every account begins with."""


@dataclass(slots=True)
class ClockMove:
    """A clock that a process is moving.

    Attributes:
        worker: Which process; None when it died on the way.
        stands: Whether the clock is to stand in the end.
    """

    worker: int | None
    stands: bool


@dataclass(slots=True)
class AccountState:
    """One account, but for its sessions, records, events, deliveries and attempts.

    Attributes:
        sessions: How many sessions were added: the sequence of the next one.
        newest: The `created` of the newest.
        deadline: The earliest `expires_at` of an open session.
        ticks: How many records and events were added: the order of the next one.
        oldest_answer: No idempotency record was answered before that.
        attempts: How many attempts were added.
        delivery_due: The earliest `due` of a delivery that nobody attempts.
        move: The clock is being moved.
    """

    profile: Profile = NEW
    faults: Sequence[FaultRule] = ()
    endpoints: Sequence[WebhookEndpoint] = ()
    advice: Sequence[AdviceNote] = ()
    sessions: int = 0
    newest: int = 0
    deadline: int | None = None
    ticks: int = 0
    oldest_answer: int | None = None
    attempts: int = 0
    delivery_due: int | None = None
    move: ClockMove | None = None

    def wake_at(self) -> int | None:
        """When the account next has something due by the machine's clock, epoch seconds; 0: now, None: never."""
        if self.move is not None and self.move.worker is None:
            return 0
        due = min((each for each in (self.deadline, self.delivery_due) if each is not None), default=None)
        if due is None:
            return None
        clock = self.profile.clock
        if clock.frozen_at is None:
            return due - clock.offset
        return 0 if due <= clock.frozen_at else None
