"""The life of a checkout session. Only this module changes one.

A session opens. Then exactly one of these ends it: a payment, an expiry on request, or an expiry by the clock. The
table `TRANSITIONS` has every legal pair of status and trigger; any other pair is refused. Failed and cancelled payments
are in it because they are allowed, and leave the session as it was (PAY-3).

A session with total 0 keeps `no_payment_required` in every row (AMT-6).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from qashier_mock.core.errors import CurrencyMixed, CurrencyUnavailable, ExpiresAtOutOfRange, SessionNotOpen
from qashier_mock.core.model import OPEN, AccountId, CheckoutSession, CreateSession, EventType, PaymentStatus, Status

SHORTEST_LIFE: Final = 1_800
"""Seconds from creation to the earliest `expires_at` (CRE-7)."""

LONGEST_LIFE: Final = 86_400
"""Seconds from creation to the latest, and the default, `expires_at` (CRE-5, CRE-7)."""


class Trigger(StrEnum):
    """What can happen to a session."""

    PAYMENT_SUCCEEDED = "payment_succeeded"
    PAYMENT_FAILED = "payment_failed"
    PAYMENT_CANCELED = "payment_canceled"
    EXPIRE_REQUESTED = "expire_requested"
    DEADLINE_PASSED = "deadline_passed"


@dataclass(frozen=True, slots=True)
class Move:
    """The statuses that a trigger leads to, and the type of its event, if any."""

    status: Status
    payment_status: PaymentStatus
    event: EventType | None


TRANSITIONS: Final[Mapping[tuple[Status, Trigger], Move]] = {
    (Status.OPEN, Trigger.PAYMENT_SUCCEEDED): Move(Status.COMPLETE, PaymentStatus.PAID, EventType.COMPLETED),
    (Status.OPEN, Trigger.PAYMENT_FAILED): Move(Status.OPEN, PaymentStatus.UNPAID, None),
    (Status.OPEN, Trigger.PAYMENT_CANCELED): Move(Status.OPEN, PaymentStatus.UNPAID, None),
    (Status.OPEN, Trigger.EXPIRE_REQUESTED): Move(Status.EXPIRED, PaymentStatus.UNPAID, EventType.EXPIRED),
    (Status.OPEN, Trigger.DEADLINE_PASSED): Move(Status.EXPIRED, PaymentStatus.UNPAID, EventType.EXPIRED),
}


def check_currencies(params: CreateSession, allowed: Collection[str]) -> None:
    """Refuse lines in a currency that the account may not charge; with none named it may charge all.

    Raises:
        CurrencyUnavailable: A line has such a currency.
    """
    for index, line in enumerate(params.line_items if allowed else ()):
        if line.currency not in allowed:
            raise CurrencyUnavailable(index, line.currency, ", ".join(allowed))


def open_session(
    params: CreateSession, *, session_id: str, account: AccountId, sequence: int, now: int, pay_url: str
) -> CheckoutSession:
    """A new, open session, created at the account's `now` (CRE-3 to CRE-8, AMT-1 to AMT-6).

    `sequence` is its place in the account's order of creation; `url` is `pay_url` with the id appended.

    Raises:
        ExpiresAtOutOfRange: `expires_at` is not 1,800 to 86,400 seconds from `now` (CRE-7).
        CurrencyMixed: The lines have more than one currency (CRE-13).
    """
    expires_at = now + LONGEST_LIFE if params.expires_at is None else params.expires_at
    if not now + SHORTEST_LIFE <= expires_at <= now + LONGEST_LIFE:
        raise ExpiresAtOutOfRange(expires_at, earliest=now + SHORTEST_LIFE, latest=now + LONGEST_LIFE)
    currency = params.line_items[0].currency
    total = 0
    for index, line in enumerate(params.line_items):
        if line.currency != currency:
            raise CurrencyMixed(index, line.currency, currency)
        total += line.amount_total
    return CheckoutSession(
        id=session_id,
        account=account,
        sequence=sequence,
        currency=currency,
        line_items=params.line_items,
        amount_total=total,
        created=now,
        expires_at=expires_at,
        status=OPEN,
        payment_status=PaymentStatus.UNPAID if total else PaymentStatus.NO_PAYMENT_REQUIRED,
        success_url=params.success_url,
        return_url=params.return_url,
        cancel_url=params.cancel_url,
        url=pay_url + session_id,
    )


def advance(session: CheckoutSession, trigger: Trigger, now: int) -> tuple[CheckoutSession, EventType | None]:
    """The session after `trigger`, and the type of the event to send, if any.

    At and after `expires_at`, by the account's `now`, only `DEADLINE_PASSED` moves a session; before it, every
    trigger except that one (EXP-7).

    Raises:
        SessionNotOpen: The table has no such row, or the deadline says otherwise (EXP-2, EXP-3, EXP-5, PAY-2).
    """
    move = TRANSITIONS.get((session.status, trigger))
    if move is None:
        raise SessionNotOpen(session.id, session.status.value)
    overdue = now >= session.expires_at
    if overdue != (trigger is Trigger.DEADLINE_PASSED):
        raise SessionNotOpen(session.id, Status.EXPIRED.value if overdue else session.status.value)
    if move.status is session.status:
        return session, move.event
    free = session.payment_status is PaymentStatus.NO_PAYMENT_REQUIRED
    payment_status = session.payment_status if free else move.payment_status
    return replace(session, status=move.status, payment_status=payment_status), move.event
