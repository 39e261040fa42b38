"""Core values as rows of a database, each way once.

What a query looks for or sorts by is a column of its own; the rest of a value is one JSON text. A value that is
stored once for each session is an array, because there the names would cost a fifth of the space; any other is an
object, so that a field with a default can be added without a migration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

import orjson

from qashier_mock.core.account import AccountState, ClockMove
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
from qashier_mock.stores.base import StoreUnavailable

Row = Sequence[Any]
P = ParamSpec("P")
R = TypeVar("R")


def _reads(unpack: Callable[P, R]) -> Callable[P, R]:
    """Say of a row that no value was ever packed into that the store is damaged: it is no mistake of a request."""

    @wraps(unpack)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return unpack(*args, **kwargs)
        except (LookupError, TypeError, ValueError) as error:
            raise StoreUnavailable(
                f"A row of the store is damaged ({unpack.__name__}: {type(error).__name__}). Put back a copy of the "
                "store, or give --store another place."
            ) from error

    return guarded


def pack(value: object) -> str:
    """A state, delivery or attempt as the text of its column."""
    return orjson.dumps(value).decode()


@_reads
def unpack_state(text: str) -> AccountState:
    stored = orjson.loads(text)
    profile = stored["profile"]
    drawn = profile.pop("drawn", 0)  # where older versions kept it
    return AccountState(
        **{
            "drawn": drawn,
            **stored,
            "profile": Profile(**{**profile, "clock": AccountClock(**profile["clock"])}),
            "faults": tuple(
                [FaultRule(**{**each, "action": FaultAction(each["action"])}) for each in stored["faults"]]
            ),
            "endpoints": tuple([_endpoint(each) for each in stored["endpoints"]]),
            "advice": tuple([AdviceNote(**{**each, "advice": _advice(each["advice"])}) for each in stored["advice"]]),
            "move": ClockMove(**stored["move"]) if stored.get("move") else None,
        }
    )


def _endpoint(stored: dict[str, Any]) -> WebhookEndpoint:
    return WebhookEndpoint(**{**stored, "types": tuple([EventType(name) for name in stored["types"]])})


def _advice(stored: dict[str, Any]) -> Advice:
    return Advice(**{**stored, "kind": AdviceKind(stored["kind"])})


SESSION: Final = "id, sequence, status, payment_status, created, expires_at, body"
"""The columns of a session, as `unpack_session` reads and `pack_session` writes them."""


IS_MARKED: Final = "id >= '+' AND id < ','"
UNMARK: Final = "id = substr(id, 2)"
"""Finds sessions that were packed as `marked`, and takes their mark away."""


def pack_session(session: CheckoutSession, *, marked: bool = False) -> Row:
    """A session as values of the columns `SESSION`.

    Args:
        session: The session.
        marked: Its id stands in the table already, and gets a mark for as long as it does.
    """
    lines = [
        [line.name, line.description, line.currency, line.unit_amount, line.quantity] for line in session.line_items
    ]
    urls = [session.success_url, session.return_url, session.cancel_url, session.url]
    return (
        f"+{session.id}" if marked else session.id,
        session.sequence,
        session.status.value,
        session.payment_status.value,
        session.created,
        session.expires_at,
        pack([session.currency, session.amount_total, *urls, lines]),
    )


@_reads
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
    key, fingerprint, answered_at, *then = row[7:12]
    return IdempotencyRecord(key, bytes(fingerprint), unpack_session(row, account, then=then), answered_at)


def pack_event(event: Event) -> str:
    """What an event has beside its own columns."""
    return pack(
        {
            "created": event.created,
            "status": event.session.status,
            "payment_status": event.session.payment_status,
            "request_id": event.request_id,
            "idempotency_key": event.idempotency_key,
        }
    )


@_reads
def unpack_event(row: Row, account: AccountId) -> Event:
    """An event from the columns `SESSION` of its session and then id, type and body."""
    event_id, event_type, body = row[7:10]
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


@_reads
def unpack_delivery(row: Row, _account: AccountId) -> Delivery:
    return Delivery(**orjson.loads(row[0]))


@_reads
def unpack_attempt(row: Row, _account: AccountId) -> Attempt:
    stored = orjson.loads(row[0])
    return Attempt(**{**stored, "outcome": Outcome(stored["outcome"])})


def pack_entry(entry: JournalEntry) -> Row:
    """A request as values of the columns body, path, request and response of the journal.

    What came from outside is bytes that need be no text.
    """
    stored = entry.redacted()._asdict()
    outside = [stored.pop(name) for name in ("path", "request_body", "response_body")]
    return (pack(stored), *outside)


@_reads
def unpack_entry(row: Row) -> JournalEntry:
    """A request from the columns body, path, request and response of the journal."""
    body, path, *contents = row
    stored = orjson.loads(body)
    stored["advice"] = tuple(stored.get("advice", ()))
    request, response = [None if each is None else bytes(each) for each in contents]
    return JournalEntry(**stored, path=bytes(path), request_body=request, response_body=response)


def as_text(object_id: str) -> str:
    """An id as a database can hold it; what it cannot is no id of ours, and an empty text names nothing either."""
    is_text = "\0" not in object_id and (
        object_id.isascii() or not any("\ud800" <= each <= "\udfff" for each in object_id)
    )
    return object_id if is_text else ""
