"""Idempotency keys: run a request, replay its answer, or refuse it; a memory of 24 hours (IDM-1 to IDM-4, IDM-9).

`service.py` decides when a key is asked for (IDM-5), and remembers successes alone (IDM-8).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from qashier_mock.core.model import CheckoutSession, value

KEY_MEMORY_S: Final = 86_400
"""Seconds from the first answer until a key is forgotten (IDM-4)."""


@value
class IdempotencyRecord:
    """What a key was used for, and the answer: the session as the API showed it then.

    Attributes:
        fingerprint: Operation, session and parsed body of the first request.
        session: The first answer. Each replay renders it again, to the same body.
        answered_at: When, epoch seconds of the account's clock.
    """

    key: str
    fingerprint: bytes
    session: CheckoutSession
    answered_at: int

    def is_remembered(self, now: int) -> bool:
        """False at and after 86,400 s from the first answer (IDM-4)."""
        return self.answered_at > last_forgotten(now)


def last_forgotten(now: int) -> int:
    """The latest `answered_at` of a key that is forgotten at that time (IDM-4)."""
    return now - KEY_MEMORY_S


class Decision(Enum):
    """What to do with a request that carries a key."""

    RUN = auto()
    REPLAY = auto()
    REPLAY_DIFFERENT = auto()
    """Replay, although the request is another one; the integrator gets advice."""
    REFUSE = auto()


def decide(record: IdempotencyRecord, fingerprint: bytes, *, now: int, reject_reuse: bool) -> Decision:
    """What a request with a key does, given what the store has of that key.

    Only successes are ever remembered (IDM-8), so a key that was refused is simply new. With `reject_reuse`, a key that
    comes with another request is refused instead of replayed (IDM-9).
    """
    if not record.is_remembered(now):
        return Decision.RUN
    if record.fingerprint == fingerprint:
        return Decision.REPLAY
    return Decision.REFUSE if reject_reuse else Decision.REPLAY_DIFFERENT
