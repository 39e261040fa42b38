"""Core values as rows of a database, each way once.

What a query looks for or sorts by is a column of its own; the rest of a value is one JSON text. A value that is
stored once for each session is an array, because there the names would cost a fifth of the space; any other is an
object, so that a field with a default can be added without a migration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from qashier_mock.core.advice import Advice, AdviceKind, AdviceNote
from qashier_mock.core.delivery import Attempt, Delivery, Outcome
from qashier_mock.core.faults import FaultAction, FaultRule
from qashier_mock.core.idempotency import IdempotencyRecord
from qashier_mock.core.journal import JournalEntry
from qashier_mock.core.model import (
    AccountClock,
    AccountId,
    CheckoutSession,
    Event,
    EventType,
    LineItem,
    PaymentStatus,
    Profile,
    Status,
    WebhookEndpoint,
)

Row = Sequence[Any]


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
class Head:
    """What an account has one of, kept in its own row: nearly every command needs it, and locks that row for it.

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

    profile: Profile = field(default_factory=Profile)
    faults: list[FaultRule] = field(default_factory=list)
    endpoints: list[WebhookEndpoint] = field(default_factory=list)
    advice: list[AdviceNote] = field(default_factory=list)
    sessions: int = 0
    newest: int = 0
    deadline: int | None = None
    ticks: int = 0
    oldest_answer: int | None = None
    attempts: int = 0
    delivery_due: int | None = None
    move: ClockMove | None = None

    def wake_at(self) -> int | None:
        """When the account next has something due by the machine's clock, epoch seconds; None for never."""
        if self.move is not None and self.move.worker is None:
            return 0
        instants = [each for each in (self.deadline, self.delivery_due) if each is not None]
        if not instants:
            return None
        clock = self.profile.clock
        if clock.frozen_at is None:
            return min(instants) - clock.offset
        return 0 if min(instants) <= clock.frozen_at else None


def pack_head(head: Head) -> str:
    """A head as the text of its column."""
    return orjson.dumps(head).decode()


def unpack_head(text: str) -> Head:
    """The head of an account."""
    stored = orjson.loads(text)
    profile = stored["profile"]
    return Head(
        **{
            **stored,
            "profile": Profile(**{**profile, "clock": AccountClock(**profile["clock"])}),
            "faults": [FaultRule(**{**each, "action": FaultAction(each["action"])}) for each in stored["faults"]],
            "endpoints": [
                WebhookEndpoint(**{**each, "types": tuple(EventType(name) for name in each["types"])})
                for each in stored["endpoints"]
            ],
            "advice": [
                AdviceNote(
                    **{**each, "advice": Advice(**{**each["advice"], "kind": AdviceKind(each["advice"]["kind"])})}
                )
                for each in stored["advice"]
            ],
            "move": ClockMove(**stored["move"]) if stored.get("move") else None,
        }
    )


SESSION: Final = "id, sequence, status, payment_status, created, expires_at, body"
"""The columns of a session, as `unpack_session` reads and `pack_session` writes them."""


def pack_session(session: CheckoutSession) -> Row:
    """A session as values of the columns `SESSION`."""
    lines = [
        [line.name, line.description, line.currency, line.unit_amount, line.quantity] for line in session.line_items
    ]
    body = orjson.dumps(
        [
            session.currency,
            session.amount_total,
            session.success_url,
            session.return_url,
            session.cancel_url,
            session.url,
            lines,
        ]
    )
    return (
        session.id,
        session.sequence,
        session.status.value,
        session.payment_status.value,
        session.created,
        session.expires_at,
        body.decode(),
    )


def unpack_session(row: Row, account: AccountId, *, then: Row | None = None) -> CheckoutSession:
    """A session from the columns `SESSION`.

    Args:
        row: Their values.
        account: Whose session it is.
        then: Status and payment status of another moment: nothing else of a session ever changes (RET-4).
    """
    session_id, sequence, status, payment_status, created, expires_at, body = row[:7]
    if then is not None:
        status, payment_status = then
    currency, amount_total, success_url, return_url, cancel_url, url, lines = orjson.loads(body)
    return CheckoutSession(
        id=session_id,
        account=account,
        sequence=sequence,
        currency=currency,
        line_items=tuple([LineItem(*line) for line in lines]),
        amount_total=amount_total,
        created=created,
        expires_at=expires_at,
        status=Status(status),
        payment_status=PaymentStatus(payment_status),
        success_url=success_url,
        return_url=return_url,
        cancel_url=cancel_url,
        url=url,
    )


def unpack_record(row: Row, account: AccountId) -> IdempotencyRecord:
    """A record from the columns `SESSION` of its session and then key, fingerprint, answered_at and both statuses."""
    key, fingerprint, answered_at, *then = row[7:]
    return IdempotencyRecord(key, bytes(fingerprint), unpack_session(row, account, then=then), answered_at)


def pack_event(event: Event) -> str:
    """What an event has beside its own columns."""
    return orjson.dumps(
        {
            "created": event.created,
            "status": event.session.status,
            "payment_status": event.session.payment_status,
            "request_id": event.request_id,
            "idempotency_key": event.idempotency_key,
        }
    ).decode()


def unpack_event(row: Row, account: AccountId) -> Event:
    """An event from the columns `SESSION` of its session and then id, type and body."""
    event_id, event_type, body = row[7:]
    stored = orjson.loads(body)
    return Event(
        id=event_id,
        type=EventType(event_type),
        account=account,
        created=stored["created"],
        session=unpack_session(row, account, then=(stored["status"], stored["payment_status"])),
        request_id=stored["request_id"],
        idempotency_key=stored["idempotency_key"],
    )


def pack_delivery(delivery: Delivery) -> str:
    """A delivery as the text of its column."""
    return orjson.dumps(delivery).decode()


def unpack_delivery(text: str) -> Delivery:
    """A delivery."""
    return Delivery(**orjson.loads(text))


def pack_attempt(attempt: Attempt) -> str:
    """An attempt as the text of its column."""
    return orjson.dumps(attempt).decode()


def unpack_attempt(text: str) -> Attempt:
    """An attempt."""
    stored = orjson.loads(text)
    return Attempt(**{**stored, "outcome": Outcome(stored["outcome"])})


def pack_entry(entry: JournalEntry) -> Row:
    """A request as values of the columns body, path, request and response of the journal.

    What came from outside is bytes that need be no text.
    """
    stored = entry.redacted()._asdict()
    outside = [stored.pop(name) for name in ("path", "request_body", "response_body")]
    return (orjson.dumps(stored).decode(), *outside)


def unpack_entry(row: Row) -> JournalEntry:
    """A request from the columns body, path, request and response of the journal."""
    body, path, request, response = row
    stored = orjson.loads(body)
    stored["advice"] = tuple(stored.get("advice", ()))
    return JournalEntry(**stored, path=bytes(path), request_body=_bytes(request), response_body=_bytes(response))


def _bytes(content: Any) -> bytes | None:
    return None if content is None else bytes(content)


def is_text(object_id: str) -> bool:
    """Whether a database can hold that text at all; what it cannot is no id of ours, and names nothing."""
    if object_id.isascii():
        return "\0" not in object_id
    return "\0" not in object_id and not any("\ud800" <= each <= "\udfff" for each in object_id)
