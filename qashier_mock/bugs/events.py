"""EVT: events that are lost, doubled, mislabelled, or about the wrong thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qashier_mock.bugs.changes import Moved, advance, command, event_kept, events, is_free, move, transaction
from qashier_mock.bugs.parts import Inner, Json, Parts
from qashier_mock.bugs.table import Change, defect, row
from qashier_mock.core.errors import SessionNotOpen
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import AccountId, CheckoutSession, Event, EventType, PaymentStatus, Status
from qashier_mock.core.request import RequestRef


def _suffix(event: Json) -> str:
    return str(event["id"]).removeprefix("evt_")


def _no_event_if(condition: Callable[[CheckoutSession, Trigger], bool]) -> Change:
    def step(inner: Inner, session: CheckoutSession, trigger: Trigger, now: int) -> Moved:
        after, event = inner(session, trigger, now)
        return after, None if condition(after, trigger) else event

    return advance(step)


# fmt: off
row("EVT-1", "event-id-without-prefix", "The id of an event does not begin with `evt_`.",
    events(lambda event: event.update(id=_suffix(event))))
row("EVT-1", "event-id-of-its-type",
    "The id of an event is made of its type alone: all completions have the same one, and so have all expiries.",
    events(lambda event: event.update(id=f"evt_{event['type'].replace('.', '')}")))
row("EVT-1", "api-version-left-out", "An event has no `api_version`.", events(lambda event: event.pop("api_version")))
row("EVT-1", "event-created-in-milliseconds", "`created` of an event counts milliseconds.",
    events(lambda event: event.update(created=event["created"] * 1000)))
row("EVT-2", "expiry-told-as-completion", "The event of an expired session has the type `checkout.session.completed`.",
    event_kept(lambda event: replace(event, type=EventType.COMPLETED)))
row("EVT-2", "no-event-when-time-is-over",
    "A session that expires by the clock sends no event; one that is expired by request does.",
    _no_event_if(lambda _after, trigger: trigger is Trigger.DEADLINE_PASSED))
row("EVT-2", "no-event-for-free-sessions",
    "Completing a session with a total of 0 sends no event: nothing was paid, so no payment hook runs.",
    _no_event_if(lambda after, _trigger: is_free(after) and after.status is Status.COMPLETE))
row("EVT-3", "event-shows-the-session-before", "`data.object` is the session before the change: open, and not paid.",
    event_kept(lambda event: replace(event, session=replace(
        event.session, status=Status.OPEN,
        payment_status=event.session.payment_status if is_free(event.session) else PaymentStatus.UNPAID))))
row("EVT-3", "event-without-lines", "`data.object` has no lines.",
    events(lambda event: event["data"]["object"]["line_items"].update(data=[])))
row("EVT-4", "expire-event-names-no-request",
    "The event of an expire by request has a null `request.id` and `request.idempotency_key`.",
    event_kept(lambda event: replace(event, request_id=None, idempotency_key=None)))
row("EVT-4", "customer-event-names-a-request",
    "The event of a payment names a request, though the customer caused it.",
    event_kept(lambda event: replace(event, request_id=f"req_{event.id.removeprefix('evt_')}")
               if event.type is EventType.COMPLETED else event))
row("EVT-4", "event-forgets-the-key", "`request.idempotency_key` of an event is null, though the expire had a key.",
    event_kept(lambda event: replace(event, idempotency_key=None)))
row("EVT-5", "declined-payment-tells",
    "A failed payment sends `checkout.session.expired`, though the session stays open.",
    move(Status.OPEN, Trigger.PAYMENT_FAILED, lambda session: (session, EventType.EXPIRED)))
row("EVT-8", "account-drawn-anew", "Each event has another `account`.",
    events(lambda event: event.update(account=f"acct_{_suffix(event)}")))
row("EVT-8", "account-of-the-kind", "Events of completions and of expiries have different accounts.",
    events(lambda event: event.update(account=event["account"] + "0" * (event["type"] == EventType.EXPIRED))))
# fmt: on


@defect("EVT-2", command("record_event"))
async def completion_told_twice(
    _parts: Parts, inner: Inner, tx: Any, session: CheckoutSession, event_type: EventType, *more: Any
) -> None:
    """Completing a session sends two events, with two ids."""
    for _ in range(2 if event_type is EventType.COMPLETED else 1):
        await inner(tx, session, event_type, *more)


@defect("EVT-4")
def event_names_the_create(parts: Parts) -> None:
    """The event of an expire names the request that created the session."""
    creates: dict[str, RequestRef] = {}

    async def create(inner: Inner, account: AccountId, params: object, ref: RequestRef) -> object:
        session, advice = await inner(account, params, ref)
        creates.setdefault(session.id, ref)
        return session, advice

    def name(event: Event) -> Event:
        ref = creates.get(event.session.id)
        if event.request_id is None or ref is None:
            return event
        return replace(event, request_id=ref.id, idempotency_key=ref.idempotency_key)

    parts.on_method("service", "create", create)
    event_kept(name)(parts)


@defect("EVT-5", command("expire"))
async def refused_expire_tells_again(
    parts: Parts, inner: Inner, account: AccountId, session_id: str, ref: RequestRef
) -> object:
    """Expiring an expired session is refused, and yet sends `checkout.session.expired` again."""
    try:
        return await inner(account, session_id, ref)
    except SessionNotOpen:
        session, _ = await parts.stored(account, session_id)
        if session is not None and session.status is Status.EXPIRED:
            await parts.record_expiry(account, session, ref)
        raise


@defect("EVT-5", command("expire"))
async def replayed_expire_tells_again(
    parts: Parts, inner: Inner, account: AccountId, session_id: str, ref: RequestRef
) -> object:
    """Repeating an expire with its idempotency key sends `checkout.session.expired` again."""
    is_repeated = await parts.remembered(account, ref) is not None
    session, advice = await inner(account, session_id, ref)
    if is_repeated and session.status is Status.EXPIRED:
        await parts.record_expiry(account, session, ref)
    return session, advice


@defect("EVT-5", transaction("overdue"))
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
