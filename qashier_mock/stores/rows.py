"""Core values as rows of a database, each way once.

What a query looks for or sorts by is a column of its own; the rest of a value is one JSON text. A value that is
stored once for each session is an array, because there the names would cost a fifth of the space; any other is an
object, so that a field with a default can be added without a migration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from enum import EnumType
from functools import cache
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

import orjson

from qashier_mock.core.delivery import Attempt, Delivery
from qashier_mock.core.idempotency import IdempotencyRecord
from qashier_mock.core.journal import JournalEntry
from qashier_mock.core.model import AccountId, CheckoutSession, Event, EventType, LineItem, PaymentStatus, Status
from qashier_mock.stores.base import StoreUnavailable

T = TypeVar("T")

Row = Sequence[Any]

Unpack = Callable[[Row, AccountId], T]
"""Makes a value of an account from a row."""


def read(unpack: Unpack[T], row: Row, account: AccountId) -> T:
    """The value of an account that a row holds.

    Raises:
        StoreUnavailable: It holds none. The store is damaged; that is no mistake of a request.
    """
    try:
        return unpack(row, account)
    except (LookupError, TypeError, ValueError) as error:
        raise StoreUnavailable(
            f"A row of the store is damaged ({unpack.__name__}: {type(error).__name__}). Put back a copy of the "
            "store, or give --store another place."
        ) from error


def pack(value: object) -> str:
    """A state, delivery or attempt as the text of its column."""
    return orjson.dumps(value).decode()


def unpack(kind: Callable[..., T], text: str) -> T:
    """What was packed into a text; `kind` is its dataclass. A field that the text does not have gets its default."""
    value: T = _maker(kind)(orjson.loads(text))
    return value


@cache
def _maker(kind: Any) -> Callable[[Any], Any]:
    """What makes a value of a type from its JSON, unless that is null; `_same` where the JSON is the value."""
    if isinstance(kind, EnumType):
        return kind
    if isinstance(kind, type) and is_dataclass(kind):
        makers = [(name, maker) for name, hint in get_type_hints(kind).items() if (maker := _maker(hint)) is not _same]

        def make_fields(stored: dict[str, Any]) -> Any:
            for name, make in makers:
                if stored.get(name) is not None:
                    stored[name] = make(stored[name])
            return kind(**stored)

        return make_fields
    make = next((maker for each in get_args(kind) if (maker := _maker(each)) is not _same), _same)
    if isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Sequence):
        return lambda stored: tuple([make(each) for each in stored])
    return make


def _same(stored: Any) -> Any:
    return stored


SESSION: Final = "id, status, payment_status, created, expires_at, body, sequence"
"""The columns of a session, as `unpack_session` reads and `pack_session` writes them."""


def pack_session(session: CheckoutSession) -> Row:
    """A session as values of the columns `SESSION`."""
    lines = [
        (each.name, each.description, each.currency, each.unit_amount, each.quantity) for each in session.line_items
    ]
    urls = (session.success_url, session.return_url, session.cancel_url, session.url)
    body = pack((session.currency, lines, session.amount_total, *urls))
    status, payment_status = session.status.value, session.payment_status.value
    return (session.id, status, payment_status, session.created, session.expires_at, body, session.sequence)


def unpack_session(row: Row, account: AccountId, *, then: Row | None = None) -> CheckoutSession:
    """A session from the columns `SESSION`; `then` are statuses of another moment: nothing else changes (RET-4)."""
    session_id, status, payment_status, created, expires_at, body, sequence = row[:7]
    if then is not None:
        status, payment_status = then
    currency, lines, amount_total, *urls = orjson.loads(body)
    line_items = tuple([LineItem(*line) for line in lines])
    return CheckoutSession(  # in the order of its fields
        *(session_id, account, sequence, currency, line_items, amount_total, created, expires_at),
        *(Status(status), PaymentStatus(payment_status), *urls),
    )


def unpack_record(row: Row, account: AccountId) -> IdempotencyRecord:
    """A record from the columns `SESSION` of its session and then key, fingerprint, answered_at and both statuses."""
    key, fingerprint, answered_at, *then = row[7:12]
    return IdempotencyRecord(key, fingerprint, unpack_session(row, account, then=then), answered_at)


def pack_event(event: Event) -> str:
    """What an event has beside its own columns."""
    session = event.session
    return pack([event.created, session.status, session.payment_status, event.request_id, event.idempotency_key])


def unpack_event(row: Row, account: AccountId) -> Event:
    """An event from the columns `SESSION` of its session and then id, type and body."""
    event_id, event_type, body = row[7:10]
    created, *then, request_id, idempotency_key = orjson.loads(body)
    session = unpack_session(row, account, then=then)
    return Event(event_id, EventType(event_type), account, created, session, request_id, idempotency_key)


def unpack_delivery(row: Row, _account: AccountId) -> Delivery:
    return unpack(Delivery, row[0])


def unpack_attempt(row: Row, _account: AccountId) -> Attempt:
    return unpack(Attempt, row[0])


def pack_entry(entry: JournalEntry) -> Row:
    """A request as the columns body, path, request and response of the journal; bytes from outside need be no text."""
    stored = entry.redacted()._asdict()
    outside = [stored.pop(name) for name in ("path", "request_body", "response_body")]
    return (pack(stored), *outside)


def unpack_entry(row: Row, _account: AccountId) -> JournalEntry:
    """A request from the columns body, path, request and response of the journal."""
    body, path, request, response = row
    stored = orjson.loads(body)
    stored["advice"] = tuple(stored["advice"])
    return JournalEntry(**stored, path=path, request_body=request, response_body=response)


def as_text(object_id: str) -> str:
    """An id as a database can hold it. Ids of ours are ASCII without NUL; the empty text names nothing."""
    return object_id if object_id.isascii() and "\0" not in object_id else ""
