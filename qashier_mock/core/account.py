"""What an account has exactly one of (its settings, clock and counters), and the rules that change only that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qashier_mock.core.advice import Advice, AdviceNote
from qashier_mock.core.faults import FaultRule
from qashier_mock.core.model import CheckoutSession, Profile, WebhookEndpoint

NEW: Profile = Profile()
"""What every account begins with."""


@dataclass(slots=True)
class ClockMove:
    """A clock that a process is moving.

    Attributes:
        worker: Which process; None when it died on the way.
        ends_frozen: Whether the clock is frozen when the move has ended.
    """

    worker: int | None
    ends_frozen: bool


@dataclass(slots=True)
class AccountState:
    """One account, but for its sessions, records, events, deliveries and attempts.

    Attributes:
        drawn: How many ids have been drawn; never goes back, so that no id comes twice (CRE-10).
        sessions: How many sessions were added: the sequence of the next one.
        newest: The `created` of the newest.
        deadline: The earliest `expires_at` of an open session.
        ticks: How many records and events were added: the order of the next one.
        oldest_answer: No idempotency record is older; epoch seconds.
        attempts: How many attempts were added.
        delivery_due: The earliest `due` of a delivery that no process has claimed.
        move: The clock is being moved.
    """

    profile: Profile = NEW
    faults: Sequence[FaultRule] = ()
    endpoints: Sequence[WebhookEndpoint] = ()
    advice: Sequence[AdviceNote] = ()
    drawn: int = 0
    sessions: int = 0
    newest: int = 0
    deadline: int | None = None
    ticks: int = 0
    oldest_answer: int | None = None
    attempts: int = 0
    delivery_due: int | None = None
    move: ClockMove | None = None

    def ids(self) -> set[str]:
        """The ids of the endpoints and of the fault rules."""
        return {each.id for each in self.endpoints} | {each.id for each in self.faults}

    def note_session(self, session: CheckoutSession) -> None:
        """Count a session that was added."""
        self.sessions = session.sequence + 1
        self.newest = session.created
        if session.is_open and (self.deadline is None or session.expires_at < self.deadline):
            self.deadline = session.expires_at

    def note_advice(self, advice: Advice, request_id: str | None, at: int, *, count: int = 1) -> bool:
        """Remember an advice, earned `count` times more; True when its subject is new to the account."""
        for index, note in enumerate(self.advice):
            if note.advice.kind is advice.kind and note.advice.subject == advice.subject:
                again = replace(note, count=note.count + count)
                self.advice = (*self.advice[:index], again, *self.advice[index + 1 :])
                return False
        self.advice = (*self.advice, AdviceNote(advice, request_id, at, count))
        return True

    def begin_move(self, worker: int, *, ends_frozen: bool) -> bool:
        """Record that a process moves the clock in steps; False, and nothing recorded, while another does."""
        if self.move is not None and self.move.worker != worker:
            return False
        self.move = ClockMove(worker, ends_frozen)
        return True

    def end_move(self, worker: int) -> None:
        """End the move of a process, or one that was abandoned."""
        if self.move is not None and self.move.worker in (None, worker):
            self.move = None

    def abandoned_move(self, failed: int | None = None) -> bool | None:
        """The `ends_frozen` of a move whose process died on the way, or that of the process `failed`; else None."""
        if self.move is None or self.move.worker not in (None, failed):
            return None
        return self.move.ends_frozen

    def wake_at(self, deadline: int | None, delivery_due: int | None) -> int | None:
        """When the account next has something due by the machine's clock, epoch seconds; 0: now, None: never."""
        if self.move is not None and self.move.worker is None:
            return 0
        due = deadline
        if due is None or (delivery_due is not None and delivery_due < due):
            due = delivery_due
        if due is None:
            return None
        clock = self.profile.clock
        if clock.frozen_at is None:
            return due - clock.offset
        return 0 if due <= clock.frozen_at else None
