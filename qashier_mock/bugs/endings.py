"""EXP: sessions that end too often, too early, too late, or tell it wrongly."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from qashier_mock.bugs.parts import Parts
from qashier_mock.bugs.table import defect
from qashier_mock.bugs.traffic import Answer, Request, Respond
from qashier_mock.core.errors import RequestInvalid, SessionNotFound, SessionNotOpen
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import AccountId, CheckoutSession, EventType, PaymentStatus, Status
from qashier_mock.pipeline import Reply
from qashier_mock.web.wire import error_to_json

Moved = tuple[CheckoutSession, EventType | None]
Advance = Callable[[CheckoutSession, Trigger, int], Moved]


def moves(parts: Parts, status: Status, trigger: Trigger, move: Callable[[CheckoutSession, int], Moved]) -> None:
    """Give the table of transitions another row."""

    def step(inner: Advance, session: CheckoutSession, found: Trigger, now: int) -> Moved:
        if session.status is status and found is trigger and (status is not Status.OPEN or now < session.expires_at):
            return move(session, now)
        return inner(session, found, now)

    parts.on_advance(step)


def paid(session: CheckoutSession) -> PaymentStatus:
    free = session.payment_status is PaymentStatus.NO_PAYMENT_REQUIRED
    return session.payment_status if free else PaymentStatus.PAID


@defect("EXP-1")
def expire_answers_with_the_open_session(parts: Parts) -> None:
    """Expire answers with the session as it was before, open."""
    parts.on_payload(parts.api, "expire_checkout_session", lambda session: session.update(status="open"))


@defect("EXP-1")
def expire_answers_nothing(parts: Parts) -> None:
    """Expire answers with an empty object."""
    parts.on_payload(parts.api, "expire_checkout_session", lambda session: session.clear())


@defect("EXP-1")
def expire_needs_a_body(parts: Parts) -> None:
    """Expire without a body is refused."""
    missing = RequestInvalid("Send a JSON object.", code="body_invalid")

    async def layer(request: Request, respond: Respond) -> Answer:
        if request.is_expire and not request.body and request.header(b"authorization") is not None:
            return parts.refusal(missing)
        return await respond(request)

    parts.on_traffic(layer)


@defect("EXP-2")
def expiring_twice_succeeds(parts: Parts) -> None:
    """Expiring a session that was expired by request succeeds again."""

    async def expire(inner: Callable[..., Any], account: AccountId, session_id: str, request: object) -> object:
        try:
            return await inner(account, session_id, request)
        except SessionNotOpen:
            session, now = await parts.stored(account, session_id)
            if session is None or session.status is not Status.EXPIRED or now >= session.expires_at:
                raise
            return session

    parts.around(parts.service, "expire", expire)


@defect("EXP-2")
def expiring_after_the_deadline_succeeds(parts: Parts) -> None:
    """Expiring a session whose time is over succeeds."""

    async def expire(inner: Callable[..., Any], account: AccountId, session_id: str, request: object) -> object:
        try:
            return await inner(account, session_id, request)
        except SessionNotOpen:
            session, now = await parts.stored(account, session_id)
            if session is None or session.status is not Status.EXPIRED or now < session.expires_at:
                raise
            return session

    parts.around(parts.service, "expire", expire)


@defect("EXP-3")
def complete_session_can_be_expired(parts: Parts) -> None:
    """Expiring a complete session succeeds and makes it expired."""

    def move(session: CheckoutSession, _now: int) -> Moved:
        return replace(session, status=Status.EXPIRED), None

    moves(parts, Status.COMPLETE, Trigger.EXPIRE_REQUESTED, move)


@defect("EXP-3")
def refused_expire_ends_a_complete_session(parts: Parts) -> None:
    """Expiring a complete session is refused, and yet makes it expired."""

    async def expire(inner: Callable[..., Any], account: AccountId, session_id: str, request: object) -> object:
        try:
            return await inner(account, session_id, request)
        except SessionNotOpen:
            async with parts.store.transaction(account) as tx:
                session = await tx.session(session_id)
                if session is not None:
                    await tx.replace_session(replace(session, status=Status.EXPIRED))
            raise

    parts.around(parts.service, "expire", expire)


@defect("EXP-4")
def expiring_an_unknown_id_is_a_conflict(parts: Parts) -> None:
    """Expiring an unknown id is answered with 409 instead of 404."""
    parts.on_unknown("expire_checkout_session", lambda error, _id: Reply(409, error_to_json(error)))


@defect("EXP-4")
def expiring_an_unknown_id_succeeds(parts: Parts) -> None:
    """Expiring an unknown id is answered with 200: it is not open, after all."""

    def answer(_error: SessionNotFound, session_id: str) -> Reply:
        return Reply(200, {"id": session_id, "object": "checkout.session", "status": "expired"})

    parts.on_unknown("expire_checkout_session", answer)


@defect("EXP-5")
def expired_session_can_be_paid(parts: Parts) -> None:
    """Paying an expired session succeeds and completes it."""

    def move(session: CheckoutSession, _now: int) -> Moved:
        return replace(session, status=Status.COMPLETE, payment_status=paid(session)), None

    moves(parts, Status.EXPIRED, Trigger.PAYMENT_SUCCEEDED, move)


@defect("EXP-5")
def late_payment_accepted(parts: Parts) -> None:
    """Paying a session within the hour after its time was over succeeds and completes it."""

    def step(inner: Advance, session: CheckoutSession, trigger: Trigger, now: int) -> Moved:
        is_late = session.status is Status.EXPIRED and session.expires_at <= now < session.expires_at + 3600
        if is_late and trigger is Trigger.PAYMENT_SUCCEEDED:
            return replace(session, status=Status.COMPLETE, payment_status=paid(session)), None
        return inner(session, trigger, now)

    parts.on_advance(step)


def page_still_sells(parts: Parts, status: Status) -> None:
    parts.on_page_sessions(
        lambda session: replace(session, status=Status.OPEN) if session.status is status else session
    )


def page_says(parts: Parts, status: Status, word: bytes, other: bytes) -> None:
    """Have the page of sessions of one status use another word."""

    async def layer(request: Request, respond: Respond) -> Answer:
        answer = await respond(request)
        found = await parts.service.find(request.path.removeprefix("/pay/"))
        if found is not None and found[1].status is status:
            answer.body = re.sub(word, other, answer.body, flags=re.IGNORECASE)
        return answer

    parts.on_pages(layer)


@defect("EXP-6")
def expired_page_still_sells(parts: Parts) -> None:
    """The hosted page of an expired session looks as if it were open."""
    page_still_sells(parts, Status.EXPIRED)


@defect("EXP-6")
def expired_page_says_unavailable(parts: Parts) -> None:
    """The hosted page of an expired session says that it is unavailable, and nothing of expired."""
    page_says(parts, Status.EXPIRED, b"expired", b"unavailable")


def _clock_of_deadlines(parts: Parts, ahead: int) -> None:
    """Let deadlines, and nothing else, see another time."""

    def step(inner: Advance, session: CheckoutSession, trigger: Trigger, now: int) -> Moved:
        return inner(session, trigger, now + ahead)

    async def overdue(inner: Callable[[int], Awaitable[object]], _tx: Any, now: int) -> object:
        return await inner(now + ahead)

    def next_deadline(inner: Callable[[], int | None], _tx: Any) -> int | None:
        deadline = inner()
        return None if deadline is None else deadline - ahead

    parts.on_advance(step)
    parts.on_transaction("overdue", overdue)
    parts.on_transaction("next_deadline", next_deadline)


@defect("EXP-7")
def expires_a_second_late(parts: Parts) -> None:
    """At `expires_at` a session is still open; a second later it is expired."""
    _clock_of_deadlines(parts, -1)


@defect("EXP-7")
def expires_a_second_early(parts: Parts) -> None:
    """A second before `expires_at` a session is expired already."""
    _clock_of_deadlines(parts, 1)


@defect("EXP-7")
def expiry_waits_for_a_retrieve(parts: Parts) -> None:
    """A session whose time is over is expired once somebody retrieves it: until then a list shows it open."""

    async def overdue(_inner: object, _tx: Any, _now: int) -> None:
        return None

    def next_deadline(_inner: object, _tx: Any) -> None:
        return None

    async def retrieve(inner: Callable[..., Any], account: AccountId, session_id: str, request: object) -> object:
        async with parts.store.transaction(account) as tx:
            session, now = await tx.session(session_id), parts.service.now(tx)
            if session is not None and session.is_open and now >= session.expires_at:
                await parts.service._move(tx, session, Trigger.DEADLINE_PASSED, now, None)
        return await inner(account, session_id, request)

    parts.on_transaction("overdue", overdue)
    parts.on_transaction("next_deadline", next_deadline)
    parts.around(parts.service, "retrieve", retrieve)


@defect("EXP-8")
def expire_moves_the_deadline(parts: Parts) -> None:
    """Expiring a session early sets its `expires_at` to now."""

    def step(inner: Advance, session: CheckoutSession, trigger: Trigger, now: int) -> Moved:
        moved, event = inner(session, trigger, now)
        return (replace(moved, expires_at=now) if trigger is Trigger.EXPIRE_REQUESTED else moved), event

    parts.on_advance(step)


@defect("EXP-8")
def expire_answers_with_its_own_time(parts: Parts) -> None:
    """Expire answers with the time of the request in `expires_at`; a retrieve shows the right one again."""
    now: list[int] = []

    def step(inner: Advance, session: CheckoutSession, trigger: Trigger, at: int) -> Moved:
        now[:] = [at]
        return inner(session, trigger, at)

    parts.on_advance(step)
    parts.on_payload(parts.api, "expire_checkout_session", lambda session: session.update(expires_at=now[0]))
