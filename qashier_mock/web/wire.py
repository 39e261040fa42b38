"""JSON to values and back, each way once; only this module and `snapshots.py` spell JSON field names.

Requests have been validated against the document, so parsing does not check them again. Answers are plain dicts for
the encoder; the document says what they must look like.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from hashlib import blake2b
from io import BytesIO
from sys import intern
from typing import Any, Final, TypeVar

import orjson

from qashier_mock.accounts import ClockReading
from qashier_mock.core.advice import Advice, AdviceKind, AdviceNote
from qashier_mock.core.delivery import Attempt, Outcome
from qashier_mock.core.errors import ApiError
from qashier_mock.core.faults import FaultAction, FaultRule
from qashier_mock.core.journal import JournalEntry
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import (
    CheckoutSession,
    CreateSession,
    Event,
    EventType,
    LineItem,
    Profile,
    Status,
    WebhookEndpoint,
)
from qashier_mock.core.paging import CreatedRange, ListQuery, Page

Json = dict[str, Any]
T = TypeVar("T")

WRITTEN_AT_ONCE: Final = 250
"""Values of a list that become JSON in some 2 ms."""
API_VERSION = "1.0.0"
_LONGEST_QUOTED = 100
LIST_URL = "/checkout/sessions"


# the API: in


def parse_create(body: Json) -> CreateSession:
    lines = tuple([parse_line(line) for line in body["line_items"]])
    return CreateSession(lines, body["success_url"], body["return_url"], body.get("cancel_url"), body.get("expires_at"))


def parse_line(line: Json) -> LineItem:
    price = line["price_data"]
    product = price["product_data"]
    currency = intern(price["currency"])  # one text for all lines: there may be a million of them
    return LineItem(product["name"], product.get("description"), currency, price["unit_amount"], line["quantity"])


def parse_list_query(
    *,
    limit: int,
    starting_after: str | None = None,
    ending_before: str | None = None,
    status: str | None = None,
    created_gt: int | None = None,
    created_gte: int | None = None,
    created_lt: int | None = None,
    created_lte: int | None = None,
) -> ListQuery:
    """The parameters of a list; `created_gt` is `created[gt]` (LIS-9)."""
    created = CreatedRange.of(gt=created_gt, gte=created_gte, lt=created_lt, lte=created_lte)
    return ListQuery(limit, starting_after, ending_before, None if status is None else Status(status), created)


def fingerprint(operation: str, session_id: str, body: Any) -> bytes:
    """Identifies a request by operation, session and parsed body (IDM-9)."""
    text = orjson.dumps([operation, session_id, body], option=orjson.OPT_SORT_KEYS)
    return blake2b(text, digest_size=16).digest()


# the API: out


def session_to_json(session: CheckoutSession) -> Json:
    """A session as the API shows it."""
    return {
        "id": session.id,
        "currency": session.currency,
        "line_items": {
            "object": "list",
            "data": [
                {
                    "amount_total": line.amount_total,
                    "currency": line.currency,
                    "description": line.label,
                    "quantity": line.quantity,
                }
                for line in session.line_items
            ],
        },
        "object": "checkout.session",
        "amount_total": session.amount_total,
        "created": session.created,
        "expires_at": session.expires_at,
        "mode": "payment",
        "payment_status": session.payment_status,
        "status": session.status,
        "return_url": session.return_url,
        "success_url": session.success_url,
        "url": session.url,
    }


def page_to_json(page: Page) -> Json:
    """A page of sessions (LIS-1)."""
    return {
        "object": "list",
        "data": [session_to_json(session) for session in page.sessions],
        "has_more": page.has_more,
        "url": LIST_URL,
    }


def event_to_json(event: Event) -> Json:
    """An event as it is delivered (EVT-1)."""
    return {
        "id": event.id,
        "api_version": API_VERSION,
        "request": {"id": event.request_id, "idempotency_key": event.idempotency_key},
        "type": event.type,
        "account": event.account,
        "created": event.created,
        "data": {"object": session_to_json(event.session)},
    }


def event_to_bytes(event: Event) -> bytes:
    """The body of a webhook: JSON whose bytes no common library would write.

    Who verifies the signature over JSON that was parsed and written again is wrong, and is to find out here. So the
    blanks differ from place to place: one stands behind every second comma between the members, and one at the end.
    """
    members = [b"%b:%b" % (orjson.dumps(name), orjson.dumps(value)) for name, value in event_to_json(event).items()]
    text = b"".join(member + (b"," if index % 2 else b", ") for index, member in enumerate(members))
    return b"{" + text.rstrip(b", ") + b" }"


def error_to_json(error: ApiError) -> Json:
    """The envelope (HTTP-3)."""
    body: Json = {"type": error.type, "code": error.code, "message": error.message}
    if error.param is not None:
        body["param"] = error.param
    return {"error": body}


def internal_error_to_json(message: str) -> Json:
    """The envelope of an error in the mock itself, which the contract does not have."""
    return {"error": {"type": "api_error", "code": "internal_error", "message": message}}


def message_of_error(envelope: Any) -> str:
    """What an envelope tells a person; empty for what is none."""
    return str(envelope.get("error", {}).get("message", "")) if isinstance(envelope, dict) else ""


# the control API


def health_to_json(version: str, store: str) -> Json:
    """That the server works."""
    return {"status": "ok", "version": version, "store": store}


async def list_to_json(values: Sequence[T], to_json: Callable[[T], Json]) -> bytes:
    """A list of the control API, as JSON."""
    out = BytesIO()
    out.write(b'{"data":')
    await write(out, values, to_json)
    out.write(b"}")
    return out.getvalue()


async def write(out: BytesIO, values: Sequence[T], to_json: Callable[[T], Json | str]) -> None:
    """Write a JSON array, some values at a time: others have their turn in between.

    The text grows where it is: joining its parts in the end would stop everybody once it has 50 MB.
    """
    out.write(b"[")
    for begin in range(0, len(values), WRITTEN_AT_ONCE):
        if begin:
            await asyncio.sleep(0)
            out.write(b",")
        out.write(orjson.dumps([to_json(each) for each in values[begin : begin + WRITTEN_AT_ONCE]])[1:-1])
    out.write(b"]")


def parse_outcome(body: Json) -> Trigger:
    """What the customer does."""
    return _OUTCOMES[body["outcome"]]


_OUTCOMES = {
    "succeeded": Trigger.PAYMENT_SUCCEEDED,
    "failed": Trigger.PAYMENT_FAILED,
    "canceled": Trigger.PAYMENT_CANCELED,
}


def parse_clock(body: Json) -> tuple[int | None, bool | None]:
    """Where to set a clock (epoch seconds), and whether to freeze it; None leaves that as it is."""
    return body.get("now"), body.get("frozen")


def parse_advance(body: Json) -> int:
    """How many seconds to move a clock."""
    seconds: int = body["seconds"]
    return seconds


def clock_moved_to_json(reading: ClockReading, expired: Sequence[str]) -> Json:
    """A clock that was moved, and the ids of the sessions that expired."""
    return {**clock_to_json(reading), "expired": list(expired)}


def parse_endpoint(body: Json) -> tuple[str, str | None, tuple[EventType, ...]]:
    """URL, secret and types of a new endpoint."""
    return body["url"], body.get("secret"), parse_types(body.get("types"))


def parse_settings(body: Json) -> tuple[bool | None, int | None]:
    """`strict` and `seed`; None leaves that as it is."""
    return body.get("strict"), body.get("seed")


def clock_to_json(reading: ClockReading) -> Json:
    return {"now": reading.now, "frozen": reading.frozen}


def endpoint_to_json(endpoint: WebhookEndpoint) -> Json:
    """An endpoint, never its secret."""
    return {"id": endpoint.id, "url": endpoint.url, "types": list(endpoint.types)}


def parse_types(types: Sequence[str] | None) -> tuple[EventType, ...]:
    """The event types that an endpoint asked for; both if it did not say."""
    return tuple(EventType) if types is None else tuple(EventType(each) for each in types)


_ATTEMPT: Final[Mapping[str, str]] = {
    "id": "delivery_id",
    "event": "event_id",
    "type": "event_type",
    "session": "session_id",
    "endpoint": "endpoint_id",
    **{name: name for name in ("url", "number", "at", "due", "status", "error", "duration_ms", "next_try", "outcome")},
}
"""The fields of an attempt, by their JSON names."""


def attempt_to_json(attempt: Attempt) -> Json:
    """An attempt to deliver."""
    return {name: getattr(attempt, field) for name, field in _ATTEMPT.items()}


def parse_attempt(body: Json) -> Attempt:
    """An attempt of a snapshot."""
    stored = {field: body[name] for name, field in _ATTEMPT.items()}
    return Attempt(**{**stored, "outcome": Outcome(body["outcome"])})


def parse_fault(body: Json) -> FaultRule:
    """A fault rule; one that is being made has no id yet and was never applied."""
    said = {each.name: body[each.name] for each in fields(FaultRule) if body.get(each.name) is not None}
    return FaultRule(**{"id": "", **said, "action": FaultAction(body["action"])})


def fault_to_json(rule: FaultRule) -> Json:
    """A fault rule, with what was said of it."""
    shown: Json = {"id": rule.id, "action": rule.action, "applied": rule.applied}
    if rule.action is FaultAction.DELAY:
        shown["seconds"] = rule.seconds
    for name in ("operation", "webhook", "status", "retry_after", "times", "probability"):
        value = getattr(rule, name)
        if value is not None:
            shown[name] = value
    return shown


def journal_entry_to_json(entry: JournalEntry) -> Json:
    """A request as the journal remembers it."""
    return {
        "request_id": entry.request_id,
        "operation": entry.operation,
        "method": entry.method,
        "path": _text(entry.path),
        "status": entry.status,
        "at": entry.at,
        "duration_ms": round(entry.duration_ms, 3),
        "request_body": _text(entry.request_body),
        "response_body": _text(entry.response_body),
        "idempotency_key": entry.idempotency_key,
        "advice": list(entry.advice),
    }


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "replace")


def advice_to_json(note: AdviceNote) -> Json:
    return {
        "kind": note.advice.kind,
        "message": note.advice.message,
        "param": note.advice.param,
        "request_id": note.request_id,
        "at": note.at,
        "count": note.count,
    }


def advice_to_header(advice: Iterable[Advice]) -> bytes:
    """Advice as a header: each kind, and the field where it could be any."""
    return ", ".join(map(_advice_in_header, advice)).encode("ascii")


def _advice_in_header(advice: Advice) -> str:
    told = [advice.kind.value]
    if advice.kind in {AdviceKind.UNKNOWN_FIELD, AdviceKind.TEMPLATE_IN_URL}:
        told.append(f"param={_quoted(advice.param or '')}")
    if advice.nearest is not None:
        told.append(f"nearest={_quoted(advice.nearest)}")
    return "; ".join(told)


def _quoted(text: str) -> str:
    return json.dumps(text if len(text) <= _LONGEST_QUOTED else f"{text[:_LONGEST_QUOTED]}...")


def settings_to_json(profile: Profile) -> Json:
    return {"strict": profile.strict, "seed": profile.seed}
