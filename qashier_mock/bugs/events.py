"""EVT: events that are lost, doubled, mislabelled, or told of the wrong thing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from qashier_mock.bugs.parts import Json, Parts
from qashier_mock.bugs.table import defect
from qashier_mock.core.errors import SessionNotOpen
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import AccountId, CheckoutSession, Event, EventType, PaymentStatus, Status
from qashier_mock.core.request import RequestRef

Sign = Callable[[bytes, str], str]
Tell = Callable[..., Awaitable[None]]


def _on_added(parts: Parts, change: Callable[[Event], Event]) -> None:
    """Change events before they are kept."""

    async def add(inner: Callable[[Event], Awaitable[None]], _tx: Any, event: Event) -> None:
        await inner(change(event))

    parts.on_transaction("add_event", add)


def _tells(parts: Parts, condition: Callable[[CheckoutSession, EventType, RequestRef | None], bool]) -> None:
    """Send only the events of some endings."""

    async def tell(inner: Tell, tx: Any, session: CheckoutSession, event_type: EventType, *cause: Any) -> None:
        if condition(session, event_type, cause[-1]):
            await inner(tx, session, event_type, *cause)

    parts.around(parts.service, "record_event", tell)


@defect("EVT-1")
def event_id_without_prefix(parts: Parts) -> None:
    """The id of an event does not begin with `evt_`."""
    parts.on_events(lambda event: event.update(id=event["id"].removeprefix("evt_")))


@defect("EVT-1")
def event_id_of_its_type(parts: Parts) -> None:
    """The id of an event is made of its type alone: all completions have the same one, and so have all expiries."""
    parts.on_events(lambda event: event.update(id=f"evt_{event['type'].replace('.', '')}"))


@defect("EVT-1")
def api_version_left_out(parts: Parts) -> None:
    """An event has no `api_version`."""
    parts.on_events(lambda event: event.pop("api_version"))


@defect("EVT-1")
def event_created_in_milliseconds(parts: Parts) -> None:
    """`created` of an event counts milliseconds."""
    parts.on_events(lambda event: event.update(created=event["created"] * 1000))


@defect("EVT-2")
def no_event_when_time_is_over(parts: Parts) -> None:
    """A session that expires by the clock sends no event; one that is expired by request does."""
    _tells(parts, lambda _session, event_type, request: event_type is EventType.COMPLETED or request is not None)


@defect("EVT-2")
def no_event_for_free_sessions(parts: Parts) -> None:
    """Completing a session with a total of 0 sends no event: nothing was paid, so no payment hook runs."""

    def condition(session: CheckoutSession, event_type: EventType, _request: RequestRef | None) -> bool:
        free = session.payment_status is PaymentStatus.NO_PAYMENT_REQUIRED
        return not (free and event_type is EventType.COMPLETED)

    _tells(parts, condition)


@defect("EVT-2")
def expiry_told_as_completion(parts: Parts) -> None:
    """The event of an expired session has the type `checkout.session.completed`."""
    _on_added(parts, lambda event: replace(event, type=EventType.COMPLETED))


@defect("EVT-2")
def completion_told_twice(parts: Parts) -> None:
    """Completing a session sends two events, with two ids."""

    async def tell(inner: Tell, tx: Any, session: CheckoutSession, event_type: EventType, *more: Any) -> None:
        await inner(tx, session, event_type, *more)
        if event_type is EventType.COMPLETED:
            await inner(tx, session, event_type, *more)

    parts.around(parts.service, "record_event", tell)


@defect("EVT-3")
def event_shows_the_session_before(parts: Parts) -> None:
    """`data.object` is the session before the change: open, and not paid."""

    def before(event: Event) -> Event:
        session = event.session
        free = session.payment_status is PaymentStatus.NO_PAYMENT_REQUIRED
        payment_status = session.payment_status if free else PaymentStatus.UNPAID
        return replace(event, session=replace(session, status=Status.OPEN, payment_status=payment_status))

    _on_added(parts, before)


@defect("EVT-3")
def event_without_lines(parts: Parts) -> None:
    """`data.object` has no lines."""
    parts.on_events(lambda event: event["data"]["object"]["line_items"].update(data=[]))


@defect("EVT-4")
def expire_event_names_no_request(parts: Parts) -> None:
    """The event of an expire by request has a null `request.id` and `request.idempotency_key`."""
    _on_added(parts, lambda event: replace(event, request_id=None, idempotency_key=None))


@defect("EVT-4")
def customer_event_names_a_request(parts: Parts) -> None:
    """The event of a payment names a request, though the customer caused it."""

    def name(event: Event) -> Event:
        made_up = f"req_{event.id.removeprefix('evt_')}"
        return replace(event, request_id=made_up) if event.type is EventType.COMPLETED else event

    _on_added(parts, name)


@defect("EVT-4")
def event_forgets_the_key(parts: Parts) -> None:
    """`request.idempotency_key` of an event is null, though the expire had a key."""
    _on_added(parts, lambda event: replace(event, idempotency_key=None))


@defect("EVT-4")
def event_names_the_create(parts: Parts) -> None:
    """The event of an expire names the request that created the session."""
    creates: dict[str, RequestRef] = {}

    async def create(inner: Callable[..., Any], account: AccountId, params: object, request: RequestRef) -> object:
        session = await inner(account, params, request)
        creates.setdefault(session.id, request)
        return session

    def name(event: Event) -> Event:
        request = creates.get(event.session.id)
        if event.request_id is None or request is None:
            return event
        return replace(event, request_id=request.id, idempotency_key=request.idempotency_key)

    parts.around(parts.service, "create", create)
    _on_added(parts, name)


@defect("EVT-5")
def declined_payment_tells(parts: Parts) -> None:
    """A failed payment sends `checkout.session.expired`, though the session stays open."""

    async def apply(inner: Callable[..., Any], account: AccountId, session_id: str, trigger: Trigger) -> object:
        session = await inner(account, session_id, trigger)
        if trigger is Trigger.PAYMENT_FAILED:
            async with parts.service._store.transaction(account) as tx:
                await parts.service.record_event(tx, session, EventType.EXPIRED, parts.service.now(tx), None)
        return session

    parts.around(parts.service, "apply", apply)


@defect("EVT-5")
def refused_expire_tells_again(parts: Parts) -> None:
    """Expiring an expired session is refused, and yet sends `checkout.session.expired` again."""

    async def expire(inner: Callable[..., Any], account: AccountId, session_id: str, request: RequestRef) -> object:
        try:
            return await inner(account, session_id, request)
        except SessionNotOpen:
            async with parts.service._store.transaction(account) as tx:
                session = await tx.session(session_id)
                if session is not None and session.status is Status.EXPIRED:
                    await parts.service.record_event(tx, session, EventType.EXPIRED, parts.service.now(tx), request)
            raise

    parts.around(parts.service, "expire", expire)


@defect("EVT-5")
def replayed_expire_tells_again(parts: Parts) -> None:
    """Repeating an expire with its idempotency key sends `checkout.session.expired` again."""

    async def replay(
        inner: Callable[..., Awaitable[CheckoutSession | None]], tx: Any, request: RequestRef, now: int
    ) -> CheckoutSession | None:
        session = await inner(tx, request, now)
        if session is not None and session.status is Status.EXPIRED:
            await parts.service.record_event(tx, session, EventType.EXPIRED, now, request)
        return session

    parts.around(parts.service, "_replay", replay)


@defect("EVT-5")
def deadline_of_a_complete_session_tells(parts: Parts) -> None:
    """At `expires_at` a complete session sends `checkout.session.expired`, though it stays complete."""

    async def sweep(inner: Callable[..., Awaitable[list[str]]], tx: Any, now: int) -> list[str]:
        expired = await inner(tx, now)
        events = await tx.events()
        told = {event.session.id for event in events if event.type is EventType.EXPIRED}
        for session in [event.session for event in events if event.type is EventType.COMPLETED]:
            if session.id not in told and session.expires_at <= now:
                await parts.service.record_event(tx, session, EventType.EXPIRED, now, None)
        return expired

    parts.around(parts.service, "_sweep", sweep)


@defect("EVT-8")
def account_drawn_anew(parts: Parts) -> None:
    """Each event has another `account`."""
    parts.on_events(lambda event: event.update(account=f"acct_{event['id'].removeprefix('evt_')}"))


@defect("EVT-8")
def account_of_the_kind(parts: Parts) -> None:
    """Events of completions and of expiries have different accounts."""

    def change(event: Json) -> None:
        if event["type"] == EventType.EXPIRED:
            event["account"] += "0"

    parts.on_events(change)
