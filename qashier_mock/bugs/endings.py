"""EXP: sessions that end too often, too early, too late, or tell it wrongly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qashier_mock.bugs.changes import (
    EXPIRE,
    advance,
    command,
    is_free,
    layer,
    move,
    moved,
    page_sessions,
    page_text,
    reply,
    several,
    transaction,
    unknown_id,
)
from qashier_mock.bugs.parts import Inner, Parts
from qashier_mock.bugs.table import Change, defect, row
from qashier_mock.bugs.traffic import Answer, Request, Respond
from qashier_mock.core.errors import RequestInvalid, SessionNotOpen
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import AccountId, CheckoutSession, PaymentStatus, Status


def paid(session: CheckoutSession) -> CheckoutSession:
    """The session with its money taken; a free one takes none (AMT-6)."""
    return session if is_free(session) else replace(session, payment_status=PaymentStatus.PAID)


def page_still_sells(status: Status) -> Change:
    """Have the page of sessions of one status look as if they were open."""
    return page_sessions(lambda session: replace(session, status=Status.OPEN) if session.status is status else session)


def _expired_again(when: Callable[[CheckoutSession, int], bool]) -> Change:
    """Let an expire of some expired sessions succeed."""

    async def expire(parts: Parts, inner: Inner, account: AccountId, session_id: str, ref: object) -> object:
        try:
            return await inner(account, session_id, ref)
        except SessionNotOpen:
            session, now = await parts.stored(account, session_id)
            if session is None or session.status is not Status.EXPIRED or not when(session, now):
                raise
            return session, ()

    return command("expire")(expire)


def _deadlines_seen_at(ahead: int) -> Change:
    """Let deadlines, and nothing else, see another time."""

    async def overdue(_parts: Parts, inner: Inner, _tx: Any, now: int) -> object:
        return await inner(now + ahead)

    def next_deadline(_parts: Parts, inner: Inner, _tx: Any) -> int | None:
        deadline: int | None = inner()
        return None if deadline is None else deadline - ahead

    return several(
        advance(lambda inner, session, trigger, now: inner(session, trigger, now + ahead)),
        transaction("overdue")(overdue),
        transaction("next_deadline")(next_deadline),
    )


# fmt: off
row("EXP-1", "expire-answers-with-the-open-session", "Expire answers with the session as it was before, open.",
    reply(EXPIRE, lambda session: session.update(status="open")))
row("EXP-1", "expire-answers-nothing", "Expire answers with an empty object.",
    reply(EXPIRE, lambda session: session.clear()))
row("EXP-2", "expiring-twice-succeeds", "Expiring a session that was expired by request succeeds again.",
    _expired_again(lambda session, now: now < session.expires_at))
row("EXP-2", "expiring-after-the-deadline-succeeds", "Expiring a session whose time is over succeeds.",
    _expired_again(lambda session, now: now >= session.expires_at))
row("EXP-3", "complete-session-can-be-expired", "Expiring a complete session succeeds and makes it expired.",
    move(Status.COMPLETE, Trigger.EXPIRE_REQUESTED, lambda session: (replace(session, status=Status.EXPIRED), None)))
row("EXP-4", "expiring-an-unknown-id-is-a-conflict", "Expiring an unknown id is answered with 409 instead of 404.",
    unknown_id(EXPIRE, 409))
row("EXP-4", "expiring-an-unknown-id-succeeds",
    "Expiring an unknown id is answered with 200: it is not open, after all.",
    unknown_id(EXPIRE, 200, lambda session_id: {"id": session_id, "object": "checkout.session", "status": "expired"}))
row("EXP-5", "expired-session-can-be-paid", "Paying an expired session succeeds and completes it.",
    move(Status.EXPIRED, Trigger.PAYMENT_SUCCEEDED,
         lambda session: (replace(paid(session), status=Status.COMPLETE), None)))
row("EXP-6", "expired-page-still-sells", "The hosted page of an expired session looks as if it were open.",
    page_still_sells(Status.EXPIRED))
row("EXP-6", "expired-page-says-unavailable",
    "The hosted page of an expired session says that it is unavailable, and nothing of expired.",
    page_text(Status.EXPIRED, b"expired", b"unavailable"))
row("EXP-7", "expires-a-second-late", "At `expires_at` a session is still open; a second later it is expired.",
    _deadlines_seen_at(-1))
row("EXP-7", "expires-a-second-early", "A second before `expires_at` a session is expired already.",
    _deadlines_seen_at(1))
row("EXP-8", "expire-moves-the-deadline", "Expiring a session early sets its `expires_at` to now.",
    moved(lambda session, trigger, now: replace(
        session, expires_at=now if trigger is Trigger.EXPIRE_REQUESTED else session.expires_at)))
# fmt: on


@defect("EXP-1", layer)
async def expire_needs_a_body(parts: Parts, asked: Request, respond: Respond) -> Answer:
    """Expire without a body is refused."""
    if asked.is_expire and not asked.body and asked.header(b"authorization") is not None:
        return parts.refusal(RequestInvalid("Send a JSON object.", code="body_invalid"))
    return await respond(asked)


@defect("EXP-3", command("expire"))
async def refused_expire_ends_a_complete_session(
    parts: Parts, inner: Inner, account: AccountId, session_id: str, ref: object
) -> object:
    """Expiring a complete session is refused, and yet makes it expired."""
    try:
        return await inner(account, session_id, ref)
    except SessionNotOpen:
        async with parts.store.transaction(account) as tx:
            session = await tx.session(session_id)
            if session is not None:
                await tx.replace_session(session, replace(session, status=Status.EXPIRED))
        raise


@defect("EXP-5", advance)
def late_payment_accepted(inner: Inner, session: CheckoutSession, trigger: Trigger, now: int) -> object:
    """Paying a session within the hour after its time was over succeeds and completes it."""
    is_late = session.status is Status.EXPIRED and session.expires_at <= now < session.expires_at + 3600
    if is_late and trigger is Trigger.PAYMENT_SUCCEEDED:
        return replace(paid(session), status=Status.COMPLETE), None
    return inner(session, trigger, now)


@defect("EXP-7")
def expiry_waits_for_a_retrieve(parts: Parts) -> None:
    """A session whose time is over is expired once somebody retrieves it: until then a list shows it open."""

    async def overdue(_inner: Inner, _tx: Any, _now: int) -> None:
        return None

    async def retrieve(inner: Inner, account: AccountId, session_id: str, ref: object) -> object:
        session, now = await parts.stored(account, session_id)
        if session is not None and session.is_open and now >= session.expires_at:
            await parts.service.apply(account, session_id, Trigger.DEADLINE_PASSED)
        return await inner(account, session_id, ref)

    parts.on_transaction("overdue", overdue)
    parts.on_transaction("next_deadline", lambda _inner, _tx: None)
    parts.on_method("service", "retrieve", retrieve)


@defect("EXP-8")
def expire_answers_with_its_own_time(parts: Parts) -> None:
    """Expire answers with the time of the request in `expires_at`; a retrieve shows the right one again."""
    now = [0]

    def note(session: CheckoutSession, _trigger: Trigger, at: int) -> CheckoutSession:
        now[0] = at
        return session

    several(moved(note), reply(EXPIRE, lambda session: session.update(expires_at=now[0])))(parts)
