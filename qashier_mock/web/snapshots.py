"""A whole account to JSON and back; only this module and `wire.py` spell JSON field names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any, Final, TypeVar

import orjson

from qashier_mock.accounts import AccountSnapshot, ClockReading, check_snapshot
from qashier_mock.core.advice import Advice, AdviceKind, AdviceNote
from qashier_mock.core.delivery import Delivery
from qashier_mock.core.errors import SnapshotInvalid
from qashier_mock.core.idempotency import IdempotencyRecord
from qashier_mock.core.model import (
    AccountId,
    CheckoutSession,
    Event,
    EventType,
    PaymentStatus,
    Profile,
    Status,
    WebhookEndpoint,
)
from qashier_mock.web import wire

T = TypeVar("T")


async def snapshot_to_json(snapshot: AccountSnapshot, account: AccountId) -> bytes:
    """A whole account, without secrets, as JSON."""
    single = {
        "version": 1,
        "account": account,
        "clock": wire.clock_to_json(snapshot.clock),
        "settings": wire.settings_to_json(snapshot.profile),
        "counter": snapshot.drawn,
    }
    lists: Sequence[tuple[bytes, Sequence[Any], Callable[[Any], wire.Json | str]]] = (
        (b"sessions", snapshot.sessions, _stored_session_to_json),
        (b"idempotency", snapshot.records, _record_to_json),
        (b"events", snapshot.events, _event_to_json),
        (b"webhook_endpoints", snapshot.endpoints, _endpoint_to_json),
        (b"deliveries", snapshot.pending, _delivery_to_json),
        (b"attempts", snapshot.attempts, wire.attempt_to_json),
        (b"faults", snapshot.faults, wire.fault_to_json),
        (b"advice", snapshot.advice, wire.advice_to_json),
        (b"unconfirmed", sorted(snapshot.unconfirmed), str),
    )
    out = BytesIO()
    out.write(orjson.dumps(single)[:-1])
    for name, values, to_json in lists:
        out.write(b',"%b":' % name)
        await wire.write(out, values, to_json)
    out.write(b"}")
    return out.getvalue()


def _record_to_json(record: IdempotencyRecord) -> wire.Json:
    return {
        "key": record.key,
        "fingerprint": record.fingerprint.hex(),
        "session": record.session.id,
        "status": record.session.status,
        "payment_status": record.session.payment_status,
        "answered_at": record.answered_at,
    }


def _event_to_json(event: Event) -> wire.Json:
    return {
        "id": event.id,
        "type": event.type,
        "session": event.session.id,
        "created": event.created,
        "request": {"id": event.request_id, "idempotency_key": event.idempotency_key},
    }


def _endpoint_to_json(endpoint: WebhookEndpoint) -> wire.Json:
    return {**wire.endpoint_to_json(endpoint), "signed": endpoint.secret is not None}


_DELIVERY: Final[Mapping[str, str]] = {
    "id": "id",
    "event": "event_id",
    "endpoint": "endpoint_id",
    "due": "due",
    "number": "number",
    "held": "is_held",
    "dropped": "is_dropped",
    "missigned": "is_missigned",
}
"""The fields of a delivery, by their JSON names."""


def _delivery_to_json(delivery: Delivery) -> wire.Json:
    return {name: getattr(delivery, field) for name, field in _DELIVERY.items()}


def _delivery(stored: wire.Json, events: Mapping[str, Event], index: int) -> Delivery:
    _held(events, stored["event"], f"deliveries[{index}].event")
    return Delivery(**{field: stored[name] for name, field in _DELIVERY.items()})


def _stored_session_to_json(session: CheckoutSession) -> wire.Json:
    stored: wire.Json = {
        "id": session.id,
        "line_items": [
            {
                "price_data": {
                    "currency": line.currency,
                    "product_data": {
                        "name": line.name,
                        **({} if line.description is None else {"description": line.description}),
                    },
                    "unit_amount": line.unit_amount,
                },
                "quantity": line.quantity,
            }
            for line in session.line_items
        ],
        "created": session.created,
        "expires_at": session.expires_at,
        "status": session.status,
        "payment_status": session.payment_status,
        "success_url": session.success_url,
        "return_url": session.return_url,
        "url": session.url,
    }
    if session.cancel_url is not None:
        stored["cancel_url"] = session.cancel_url
    return stored


def shown_session(stored: wire.Json) -> wire.Json:
    """A session of a snapshot, as the API shows it."""
    return wire.session_to_json(_stored_session(stored, AccountId(""), sequence=0))


def parse_snapshot(body: wire.Json, account: AccountId) -> AccountSnapshot:
    """A snapshot to put into `account`.

    Raises:
        SnapshotInvalid: It contradicts itself, refers to what it does not have, or has something twice.
    """
    for part, name in _NAMES_OF_PARTS.items():
        for value, count in Counter(each[name] for each in body[part]).items():
            if count > 1:
                raise SnapshotInvalid(f"it has {value} twice", part)
    sessions = {each["id"]: _stored_session(each, account, sequence) for sequence, each in enumerate(body["sessions"])}
    events = [
        Event(
            id=each["id"],
            type=EventType(each["type"]),
            account=account,
            created=each["created"],
            session=_held(sessions, each["session"], f"events[{index}].session"),
            request_id=each["request"]["id"],
            idempotency_key=each["request"]["idempotency_key"],
        )
        for index, each in enumerate(body["events"])
    ]
    told = {event.id: event for event in events}
    snapshot = AccountSnapshot(
        clock=ClockReading(now=body["clock"]["now"], frozen=body["clock"]["frozen"]),
        profile=Profile(strict=body["settings"]["strict"], seed=body["settings"]["seed"]),
        drawn=body["counter"],
        sessions=list(sessions.values()),
        records=[_record(each, sessions, index) for index, each in enumerate(body["idempotency"])],
        events=events,
        endpoints=[
            WebhookEndpoint(each["id"], each["url"], wire.parse_types(each["types"]))
            for each in body["webhook_endpoints"]
        ],
        pending=[_delivery(each, told, index) for index, each in enumerate(body["deliveries"])],
        attempts=[wire.parse_attempt(each) for each in body["attempts"]],
        faults=[wire.parse_fault(each) for each in body["faults"]],
        advice=[
            AdviceNote(
                Advice(AdviceKind(each["kind"]), each["message"], each["param"]),
                each["request_id"],
                each["at"],
                each["count"],
            )
            for each in body["advice"]
        ],
        unconfirmed=body["unconfirmed"],
    )
    check_snapshot(snapshot)
    return snapshot


_NAMES_OF_PARTS: Mapping[str, str] = {
    "idempotency": "key",
    **dict.fromkeys(("sessions", "events", "webhook_endpoints", "deliveries", "faults"), "id"),
}
"""The lists of a snapshot whose entries must differ, and the field in which they must."""


def restored_to_json(snapshot: AccountSnapshot, body: wire.Json) -> wire.Json:
    """What was put in, and which endpoints need their secret again."""
    return {
        "sessions": len(snapshot.sessions),
        "events": len(snapshot.events),
        "endpoints_needing_secret": [each["id"] for each in body["webhook_endpoints"] if each["signed"]],
    }


def _stored_session(stored: wire.Json, account: AccountId, sequence: int) -> CheckoutSession:
    lines = tuple(wire.parse_line(line) for line in stored["line_items"])
    return CheckoutSession(
        id=stored["id"],
        account=account,
        sequence=sequence,
        currency=lines[0].currency,
        line_items=lines,
        amount_total=sum(line.amount_total for line in lines),
        created=stored["created"],
        expires_at=stored["expires_at"],
        status=Status(stored["status"]),
        payment_status=PaymentStatus(stored["payment_status"]),
        success_url=stored["success_url"],
        return_url=stored["return_url"],
        cancel_url=stored.get("cancel_url"),
        url=stored["url"],
    )


def _record(stored: wire.Json, sessions: Mapping[str, CheckoutSession], index: int) -> IdempotencyRecord:
    session = _held(sessions, stored["session"], f"idempotency[{index}].session")
    return IdempotencyRecord(
        key=stored["key"],
        fingerprint=bytes.fromhex(stored["fingerprint"]),
        session=replace(
            session, status=Status(stored["status"]), payment_status=PaymentStatus(stored["payment_status"])
        ),
        answered_at=stored["answered_at"],
    )


def _held(known: Mapping[str, T], object_id: str, param: str) -> T:
    found = known.get(object_id)
    if found is None:
        raise SnapshotInvalid(f"it does not have {object_id}", param)
    return found
