"""When a webhook is due, when it is tried again, and what fault rules do to it (EVT-6)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from qashier_mock.core.faults import FaultAction, FaultRule
from qashier_mock.core.model import Event, WebhookEndpoint

RETRY_DELAYS: Final = (10, 60, 300, 1_800, 7_200, 21_600, 43_200)
"""Seconds of the account's clock from the start of a failed attempt to the next one. After the last, give up."""

HOLD: Final = 60
"""The most seconds that a reordered delivery waits for another one to overtake it."""

ATTEMPT_TIMEOUT: Final = 10.0
"""Real seconds that an endpoint has to answer."""


class Outcome(StrEnum):
    """How an attempt ended."""

    DELIVERED = "delivered"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint.

    Attributes:
        due: When the next attempt is due, epoch seconds of the account's clock.
        number: Attempts made so far.
        is_held: Waits, by a `reorder` rule, until another delivery to the endpoint was attempted, or `due`.
        is_dropped: Will never be sent, by a `drop` rule; its one attempt is only recorded.
        is_missigned: Is signed with another key, by a `bad_signature` rule.
    """

    id: str
    event_id: str
    endpoint_id: str
    due: int
    number: int = 0
    is_held: bool = False
    is_dropped: bool = False
    is_missigned: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of one attempt.

    Attributes:
        number: 1 for the first attempt.
        at: When it started, epoch seconds of the account's clock.
        due: When it was due, likewise.
        status: The endpoint's HTTP status, or None when it gave none.
        error: Why it gave none, or why it may have refused.
        duration_ms: Real milliseconds.
        next_try: When it will be tried again, or None.
    """

    delivery_id: str
    event_id: str
    event_type: str
    session_id: str
    endpoint_id: str
    url: str
    number: int
    at: int
    due: int
    status: int | None
    error: str | None
    duration_ms: float
    outcome: Outcome
    next_try: int | None


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A claimed delivery, with all that one attempt needs."""

    delivery: Delivery
    event: Event
    endpoint: WebhookEndpoint
    started_at: int


def plan(
    event: Event, endpoint: WebhookEndpoint, *, now: int, fault: FaultRule | None, ids: list[str]
) -> list[Delivery]:
    """The deliveries of an event to one endpoint, due at the account's `now`: one, unless a fault rule changes that.

    `ids` are two fresh delivery ids.
    """
    delivery = Delivery(ids[0], event.id, endpoint.id, now)
    if fault is None:
        return [delivery]
    match fault.action:
        case FaultAction.DROP:
            return [replace(delivery, is_dropped=True)]
        case FaultAction.DUPLICATE:
            return [delivery, replace(delivery, id=ids[1])]
        case FaultAction.DELAY:
            return [replace(delivery, due=now + int(fault.seconds))]
        case FaultAction.REORDER:
            return [replace(delivery, due=now + HOLD, is_held=True)]
        case FaultAction.BAD_SIGNATURE:
            return [replace(delivery, is_missigned=True)]
        case _:
            return [delivery]


def is_success(status: int | None) -> bool:
    """Whether an endpoint's answer ends the delivery: any 2xx."""
    return status is not None and status // 100 == 2  # noqa: PLR2004 - the class of statuses called 2xx


def attempt_of(
    claimed: ClaimedDelivery, status: int | None, error: str | None, duration_ms: float, later: Delivery | None
) -> Attempt:
    """The result of an attempt, after which `later` is still to be delivered; see `Attempt`."""
    delivery, event, endpoint = claimed.delivery, claimed.event, claimed.endpoint
    outcome = Outcome.DELIVERED if is_success(status) else Outcome.FAILED
    return Attempt(
        delivery_id=delivery.id,
        event_id=event.id,
        event_type=event.type.value,
        session_id=event.session.id,
        endpoint_id=endpoint.id,
        url=endpoint.url,
        number=delivery.number + 1,
        at=claimed.started_at,
        due=delivery.due,
        status=status,
        error=error,
        duration_ms=duration_ms,
        outcome=Outcome.DROPPED if delivery.is_dropped else outcome,
        next_try=None if later is None else later.due,
    )


def after_attempt(delivery: Delivery, *, started_at: int, status: int | None) -> Delivery | None:
    """What is still to be delivered after an attempt; None once it was acknowledged or is given up.

    The delay of a retry counts from `started_at` of the account's clock; a `status` of None is no answer within 10 s.
    """
    if delivery.is_dropped or is_success(status) or delivery.number >= len(RETRY_DELAYS):
        return None
    due = started_at + RETRY_DELAYS[delivery.number]
    return replace(delivery, due=due, number=delivery.number + 1, is_held=False)
