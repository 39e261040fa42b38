"""EVT: events that are lost, doubled or mislabelled, and deliveries that are given up too soon or badly signed."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qashier_mock.bugs import changes
from qashier_mock.bugs.changes import Moved, is_free
from qashier_mock.bugs.parts import Command, Inner, Parts
from qashier_mock.bugs.table import Change, defect, row, several
from qashier_mock.core.delivery import Delivery
from qashier_mock.core.errors import SessionNotOpen
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import AccountId, CheckoutSession, Event, EventType, PaymentStatus, Status, WebhookEndpoint
from qashier_mock.core.request import RequestRef
from qashier_mock.core.signing import sign

Message = tuple[bytes, dict[str, str]]


def _retry(plan: Callable[[Delivery | None, Delivery, int, int | None], Delivery | None]) -> Change:
    """Change what is still to be delivered after an attempt.

    `plan` gets what the correct rule says, the delivery that was attempted, when, and the status of the answer.
    """

    def after(inner: Inner, delivery: Delivery, *, started_at: int, status: int | None) -> Delivery | None:
        return plan(inner(delivery, started_at=started_at, status=status), delivery, started_at, status)

    return changes.rule("after_attempt")(after)


def _message(write: Callable[[Inner, Delivery, Event, WebhookEndpoint], Message]) -> Change:
    """Change how an attempt is written: `write(inner, delivery, event, endpoint)` gives body and headers."""
    return changes.method("dispatcher", "message")(lambda _parts, *asked: write(*asked))


def _no_event_if(condition: Callable[[CheckoutSession, Trigger], bool]) -> Change:
    def step(inner: Inner, session: CheckoutSession, trigger: Trigger, now: int) -> Moved:
        after, event = inner(session, trigger, now)
        return after, None if condition(after, trigger) else event

    return changes.advance(step)


@defect("EVT-2", changes.method("service", "record_event"))
async def completion_told_twice(_parts: Parts, inner: Inner, *told: Any) -> None:
    """Completing a session sends two events, with two ids."""
    for _ in range(2 if EventType.COMPLETED in told else 1):
        await inner(*told)


@defect("EVT-4")
def event_names_the_create() -> Change:
    """The event of an expire names the request that created the session."""
    creates: dict[str, RequestRef] = {}

    async def create(asked: Command) -> object:
        session, advice = await asked.do()
        creates.setdefault(session.id, asked.by)
        return session, advice

    def name(event: Event) -> Event:
        by = creates.get(event.session.id)
        if event.request_id is None or by is None:
            return event
        return replace(event, request_id=by.id, idempotency_key=by.idempotency_key)

    return several(changes.command("create")(create), changes.event_kept(name))


@defect("EVT-5", changes.refused("expire", SessionNotOpen))
async def refused_expire_tells_again(asked: Command) -> None:
    """Expiring an expired session is refused, and yet sends `checkout.session.expired` again."""
    session, _ = await asked.stored()
    if session is not None and session.status is Status.EXPIRED:
        await asked.record_expiry(session)


@defect("EVT-5", changes.command("expire"))
async def replayed_expire_tells_again(asked: Command) -> object:
    """Repeating an expire with its idempotency key sends `checkout.session.expired` again."""
    is_repeated = await asked.is_repeated()
    session, advice = await asked.do()
    if is_repeated and session.status is Status.EXPIRED:
        await asked.record_expiry(session)
    return session, advice


@defect("EVT-5", changes.transaction("overdue"))
async def deadline_of_a_complete_session_tells(parts: Parts, inner: Inner, tx: Any, now: int) -> object:
    """At `expires_at` a complete session sends `checkout.session.expired`, though it stays complete."""
    session = await inner(now)
    if session is None:
        kept = await tx.events()
        told = {event.session.id for event in kept if event.type is EventType.EXPIRED}
        for complete in [event.session for event in kept if event.type is EventType.COMPLETED]:
            if complete.id not in told and complete.expires_at <= now:
                await parts.service.record_event(tx, complete, EventType.EXPIRED, now, None)
    return session


def _signature(make: Callable[[bytes, str], str]) -> Change:
    """Sign bodies otherwise."""

    def write(inner: Inner, delivery: Delivery, event: Event, endpoint: WebhookEndpoint) -> Message:
        body, headers = inner(delivery, event, endpoint)
        signed = {} if endpoint.secret is None else {"x-qashier-sign": make(body, endpoint.secret)}
        return body, {**headers, **signed}

    return _message(write)


def _hmac(key: bytes, body: bytes, digest: Any) -> str:
    return b64encode(hmac.new(key, body, digest).digest()).decode()


def _decoded(body: bytes, secret: str) -> str:
    try:
        return _hmac(b64decode(secret, validate=True), body, hashlib.sha256)
    except ValueError:
        return sign(body, secret)


# fmt: off
row("EVT-1", "event-id-without-prefix", "The id of an event does not begin with `evt_`.",
    changes.events(lambda event: event.update(id=event["id"].removeprefix("evt_"))))
row("EVT-1", "event-id-of-its-type", "The id of an event is made of its type alone: all completions share one.",
    changes.events(lambda event: event.update(id=f"evt_{event['type'].replace('.', '')}")))
row("EVT-1", "api-version-left-out", "An event has no `api_version`.",
    changes.events(lambda event: event.pop("api_version")))
row("EVT-1", "event-created-in-milliseconds", "`created` of an event counts milliseconds.",
    changes.events(lambda event: event.update(created=event["created"] * 1000)))
row("EVT-2", "expiry-told-as-completion", "The event of an expired session has the type `checkout.session.completed`.",
    changes.event_kept(lambda event: replace(event, type=EventType.COMPLETED)))
row("EVT-2", "no-event-when-time-is-over", "Expiry by the clock sends no event; expiry by request does.",
    _no_event_if(lambda _after, trigger: trigger is Trigger.DEADLINE_PASSED))
row("EVT-2", "no-event-for-free-sessions", "Completing a session with a total of 0 sends no event: nobody paid.",
    _no_event_if(lambda after, _trigger: is_free(after) and after.status is Status.COMPLETE))
row("EVT-3", "event-shows-the-session-before", "`data.object` is the session before the change: open, and not paid.",
    changes.event_kept(lambda event: replace(event, session=replace(
        event.session, status=Status.OPEN,
        payment_status=event.session.payment_status if is_free(event.session) else PaymentStatus.UNPAID))))
row("EVT-3", "event-without-lines", "`data.object` has no lines.",
    changes.events(lambda event: event["data"]["object"]["line_items"].update(data=[])))
row("EVT-4", "expire-event-names-no-request", "The event of an expire has a null `request.id` and `idempotency_key`.",
    changes.event_kept(lambda event: replace(event, request_id=None, idempotency_key=None)))
row("EVT-4", "customer-event-names-a-request", "The event of a payment names a request, though the customer caused it.",
    changes.event_kept(lambda event: replace(event, request_id=f"req_{event.id.removeprefix('evt_')}")
                       if event.type is EventType.COMPLETED else event))
row("EVT-4", "event-forgets-the-key", "`request.idempotency_key` of an event is null, though the expire had a key.",
    changes.event_kept(lambda event: replace(event, idempotency_key=None)))
row("EVT-5", "declined-payment-tells", "A failed payment sends `checkout.session.expired`; the session stays open.",
    changes.move(Status.OPEN, Trigger.PAYMENT_FAILED, lambda session: (session, EventType.EXPIRED)))
row("EVT-6", "no-retry", "A delivery that fails is not tried again.", _retry(lambda *_: None))
row("EVT-6", "two-retries", "A delivery that fails is given up after the second retry.",
    _retry(lambda later, delivery, _started_at, _status: later if delivery.number < 2 else None))
row("EVT-6", "first-retry-after-an-hour", "The first retry comes an hour after the failure.",
    _retry(lambda later, *_: later and replace(later, due=later.due + 3_600)))
row("EVT-6", "retries-every-minute", "Retries come each minute; their delays do not grow.",
    _retry(lambda later, _delivery, started_at, _status: later and replace(later, due=started_at + 60)))
row("EVT-6", "any-answer-is-success", "An endpoint that answers at all is not tried again: a 500 counts as received.",
    _retry(lambda later, _delivery, _started_at, status: later if status is None else None))
row("EVT-6", "retry-with-another-id", "A retry carries an event id of its own.",
    _message(lambda inner, delivery, event, endpoint: inner(
        delivery, replace(event, id=f"{event.id}{f'r{delivery.number}' if delivery.number else ''}"), endpoint)))
row("EVT-7", "retries-unsigned", "A retry has no signature.",
    _message(lambda inner, delivery, event, endpoint: inner(
        delivery, event, replace(endpoint, secret=None) if delivery.number else endpoint)))
row("EVT-7", "signature-in-hex", "The signature is written in hexadecimal digits instead of base64.",
    _signature(lambda body, secret: b64decode(sign(body, secret)).hex()))
row("EVT-7", "signature-for-urls", "The signature is written in the base64 of URLs, without padding.",
    _signature(lambda body, secret: urlsafe_b64encode(b64decode(sign(body, secret))).rstrip(b"=").decode()))
row("EVT-7", "signature-over-another-body", "The signature is over the event as JSON with blanks that the body lacks.",
    _signature(lambda body, secret: sign(json.dumps(json.loads(body)).encode(), secret)))
row("EVT-7", "signature-by-sha1", "The signature is an HMAC by SHA-1.",
    _signature(lambda body, secret: _hmac(secret.encode(), body, hashlib.sha1)))
row("EVT-7", "secret-stripped", "Blanks and line ends around a secret are stripped before it signs.",
    _signature(lambda body, secret: sign(body, secret.strip())))
row("EVT-7", "secret-decoded", "A secret that happens to be base64 is decoded before it signs.", _signature(_decoded))
row("EVT-8", "account-drawn-anew", "Each event has another `account`.",
    changes.events(lambda event: event.update(account=f"acct_{event['id'].removeprefix('evt_')}")))
row("EVT-8", "account-of-the-kind", "Events of completions and of expiries have different accounts.",
    changes.events(lambda event: event.update(account=event["account"] + "0" * (event["type"] == EventType.EXPIRED))))
# fmt: on


@defect("EVT-6", changes.transaction("put_delivery"))
async def one_endpoint_is_told(parts: Parts, inner: Inner, tx: Any, delivery: Delivery) -> None:
    """Of several endpoints of an account only the first gets events."""
    endpoints = parts.service.endpoints(tx)
    if endpoints and delivery.endpoint_id == endpoints[0].id:
        await inner(delivery)


@defect("EVT-6", changes.transaction("put_delivery"))
async def first_attempt_waits(_parts: Parts, inner: Inner, tx: Any, delivery: Delivery) -> None:
    """The first attempt to deliver is made five minutes after the event."""
    is_new = delivery.number == 0 and await tx.is_claimed(delivery.id) is None
    await inner(replace(delivery, due=delivery.due + 300) if is_new else delivery)


@defect("EVT-6", changes.method("accounts", "add_endpoint"))
async def new_endpoint_gets_old_events(parts: Parts, inner: Inner, account: AccountId, url: str, **how: Any) -> object:
    """A new endpoint gets every event that arose before it was there."""
    endpoint = await inner(account, url, **how)
    async with parts.store.transaction(account) as tx:
        for event in await tx.events():
            delivery_id = await parts.service.draw(tx, "dlv_")
            await tx.put_delivery(Delivery(delivery_id, event.id, endpoint.id, parts.service.now(tx)))
        await parts.service.announce(tx)
    return endpoint
