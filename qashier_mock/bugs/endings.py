"""EXP, PAY: sessions that end too often, too early, too late or wrongly, and pages that say or do too much."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from qashier_mock.bugs import changes
from qashier_mock.bugs.changes import EXPIRE, Moved, is_free
from qashier_mock.bugs.parts import Command, Inner, Parts
from qashier_mock.bugs.table import Change, anew, defect, row, several
from qashier_mock.bugs.traffic import Answer, Request, Respond
from qashier_mock.core.errors import RequestInvalid, SessionNotFound, SessionNotOpen
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import CheckoutSession, EventType, LineItem, PaymentStatus, Status
from qashier_mock.core.money import format_amount

CARD, AUTHORISE, CANCEL = b"card=approved", b"decision=authorise", b"decision=cancel"


def _paid(session: CheckoutSession) -> CheckoutSession:
    """The session with its money taken; a free one takes none (AMT-6)."""
    return session if is_free(session) else replace(session, payment_status=PaymentStatus.PAID)


def _expired_again(when: Callable[[CheckoutSession, int], bool]) -> Change:
    """Let an expire of some expired sessions succeed."""

    async def instead(asked: Command) -> object:
        session, now = await asked.stored()
        is_meant = session is not None and session.status is Status.EXPIRED and when(session, now)
        return (session, ()) if is_meant else None

    return changes.refused("expire", SessionNotOpen)(instead)


def _deadlines_seen_at(ahead: int) -> Change:
    """Let deadlines, and nothing else, see another time."""

    def next_deadline(_parts: Parts, inner: Inner, _tx: Any) -> int | None:
        deadline: int | None = inner()
        return None if deadline is None else deadline - ahead

    return several(
        changes.advance(lambda inner, session, trigger, now: inner(session, trigger, now + ahead)),
        changes.kept("overdue", lambda now: now + ahead),
        changes.transaction("next_deadline")(next_deadline),
    )


def _page_still_sells(status: Status) -> Change:
    """Have the page of sessions of one status look as if they were open."""
    return changes.page_sessions(
        lambda session: replace(session, status=Status.OPEN) if session.status is status else session
    )


def _page_lines(change: Callable[[LineItem], LineItem]) -> Change:
    return changes.page_sessions(lambda session: replace(session, line_items=tuple(map(change, session.line_items))))


def _page_answer(change: Callable[[Request, Answer, CheckoutSession], None]) -> Change:
    """Change what the pages of a session answer."""

    async def around(parts: Parts, respond: Respond, asked: Request) -> Answer:
        answered = await respond(asked)
        found = await parts.service.find(asked.path.removeprefix("/pay/").partition("/")[0])
        if found is not None:
            change(asked, answered, found[1])
        return answered

    return changes.page_layer(around)


def _page_text(status: Status, pattern: bytes, other: bytes) -> Change:
    """Have the page of sessions of one status say something else, regardless of case."""

    def change(_asked: Request, answered: Answer, session: CheckoutSession) -> None:
        if session.status is status:
            answered.body = re.sub(pattern, other, answered.body, flags=re.IGNORECASE | re.DOTALL)

    return _page_answer(change)


def _page_leads_to(form: bytes, target: Callable[[CheckoutSession], str]) -> Change:
    """Redirect the customer elsewhere after one of the forms of the pages."""

    def change(asked: Request, answered: Answer, session: CheckoutSession) -> None:
        if asked.method == "POST" and asked.body.startswith(form) and answered.header(b"location") is not None:
            answered.set_header(b"location", target(session).encode())

    return _page_answer(change)


@anew
def _when_opened(trigger: Trigger, *, method: str = "GET", times: int = 1) -> Change:
    """Have the customer act by opening the page of an open session, at the nth time."""
    opened: Counter[str] = Counter()

    async def around(parts: Parts, respond: Respond, asked: Request) -> Answer:
        session_id = asked.path.removeprefix("/pay/")
        opened[session_id] += asked.method == method
        if asked.method == method and opened[session_id] == times:
            with suppress(SessionNotFound):
                await parts.service.act(session_id, trigger)
        return await respond(asked)

    return changes.page_layer(around)


# fmt: off
row("EXP-1", "expire-answers-with-the-open-session", "Expire answers with the session as it was before, open.",
    changes.reply(EXPIRE, lambda session: session.update(status="open")))
row("EXP-1", "expire-answers-nothing", "Expire answers with an empty object.",
    changes.reply(EXPIRE, lambda session: session.clear()))
row("EXP-1", "expire-needs-a-body", "Expire without a body is refused.",
    changes.refuse_if(lambda asked: asked.is_expire and not asked.body and asked.header(b"authorization") is not None,
                      RequestInvalid("Send a JSON object.", code="body_invalid")))
row("EXP-2", "expiring-twice-succeeds", "Expiring a session that was expired by request succeeds again.",
    _expired_again(lambda session, now: now < session.expires_at))
row("EXP-2", "expiring-after-the-deadline-succeeds", "Expiring a session whose time is over succeeds.",
    _expired_again(lambda session, now: now >= session.expires_at))
row("EXP-3", "complete-session-can-be-expired", "Expiring a complete session succeeds and makes it expired.",
    changes.move(Status.COMPLETE, Trigger.EXPIRE_REQUESTED,
                 lambda session: (replace(session, status=Status.EXPIRED), None)))
row("EXP-4", "expiring-an-unknown-id-is-a-conflict", "Expiring an unknown id is answered with 409 instead of 404.",
    changes.unknown_id(EXPIRE, 409))
row("EXP-4", "expiring-an-unknown-id-succeeds", "Expiring an unknown id is answered with 200, as it is not open.",
    changes.unknown_id(EXPIRE, 200, lambda session_id: {
        "id": session_id, "object": "checkout.session", "status": "expired"}))
row("EXP-5", "expired-session-can-be-paid", "Paying an expired session succeeds and completes it.",
    changes.move(Status.EXPIRED, Trigger.PAYMENT_SUCCEEDED,
                 lambda session: (replace(_paid(session), status=Status.COMPLETE), None)))
row("EXP-6", "expired-page-still-sells", "The hosted page of an expired session looks as if it were open.",
    _page_still_sells(Status.EXPIRED))
row("EXP-6", "expired-page-says-unavailable", "The page of an expired session says unavailable, and not expired.",
    _page_text(Status.EXPIRED, b"expired", b"unavailable"))
row("EXP-7", "expires-a-second-late", "At `expires_at` a session is still open; a second later it is expired.",
    _deadlines_seen_at(-1))
row("EXP-7", "expires-a-second-early", "A second before `expires_at` a session is expired already.",
    _deadlines_seen_at(1))
row("EXP-8", "expire-moves-the-deadline", "Expiring a session early sets its `expires_at` to now.",
    changes.moved(lambda session, trigger, now: replace(
        session, expires_at=now if trigger is Trigger.EXPIRE_REQUESTED else session.expires_at)))
row("PAY-1", "paid-but-open", "A payment makes a session `paid`, and leaves it open.",
    changes.move(Status.OPEN, Trigger.PAYMENT_SUCCEEDED, lambda session: (_paid(session), EventType.COMPLETED)))
row("PAY-1", "complete-but-unpaid", "A payment makes a session complete, and leaves it `unpaid`.",
    changes.move(Status.OPEN, Trigger.PAYMENT_SUCCEEDED,
                 lambda session: (replace(session, status=Status.COMPLETE), EventType.COMPLETED)))
row("PAY-1", "card-leads-to-return-url", "After paying by card on the page the customer goes to `return_url`.",
    _page_leads_to(CARD, lambda session: session.return_url))
row("PAY-1", "success-url-with-the-id", "After a payment by card `success_url` has the id of the session appended.",
    _page_leads_to(CARD, lambda session: f"{session.success_url}?session_id={quote(session.id)}"))
row("PAY-2", "paying-twice-succeeds", "Paying a complete session succeeds again.",
    changes.move(Status.COMPLETE, Trigger.PAYMENT_SUCCEEDED, lambda session: (session, None)))
row("PAY-2", "complete-page-still-sells", "The hosted page of a complete session looks as if it were open.",
    _page_still_sells(Status.COMPLETE))
row("PAY-2", "complete-page-says-thanks", "The hosted page of a complete session says nothing of paid.",
    _page_text(Status.COMPLETE, b"paid", b"settled"))
row("PAY-3", "declined-payment-expires", "A failed payment makes a session expired.",
    changes.move(Status.OPEN, Trigger.PAYMENT_FAILED,
                 lambda session: (replace(session, status=Status.EXPIRED), EventType.EXPIRED)))
row("PAY-3", "canceled-payment-expires", "A cancelled payment makes a session expired.",
    changes.move(Status.OPEN, Trigger.PAYMENT_CANCELED,
                 lambda session: (replace(session, status=Status.EXPIRED), EventType.EXPIRED)))
row("PAY-4", "back-link-missing", "The open page has no way back, though there is a `cancel_url`.",
    changes.page_sessions(lambda session: replace(session, cancel_url=None)))
row("PAY-4", "back-link-without-cancel-url", "Without `cancel_url` the open page has a way back, to `return_url`.",
    changes.page_sessions(lambda session: replace(session, cancel_url=session.cancel_url or session.return_url)))
row("PAY-4", "back-link-to-success-url", "The way back of the open page leads to `success_url`.",
    changes.page_sessions(lambda session: replace(session, cancel_url=session.cancel_url and session.success_url)))
row("PAY-5", "authorise-leads-to-success-url", "Authorising at the payment method leads the customer to `success_url`.",
    _page_leads_to(AUTHORISE, lambda session: session.success_url))
row("PAY-5", "cancel-leads-to-cancel-url", "After cancelling at the payment method the customer goes to `cancel_url`.",
    _page_leads_to(CANCEL, lambda session: session.cancel_url or session.success_url))
row("PAY-6", "opening-the-page-pays", "Opening the hosted page of a session, without pressing anything, completes it.",
    _when_opened(Trigger.PAYMENT_SUCCEEDED))
row("PAY-6", "head-of-the-page-pays", "A HEAD request for the hosted page of a session completes it.",
    _when_opened(Trigger.PAYMENT_SUCCEEDED, method="HEAD"))
row("PAY-6", "opening-the-page-thrice-expires", "Opening the hosted page of a session for the third time expires it.",
    _when_opened(Trigger.EXPIRE_REQUESTED, times=3))
row("PAY-7", "page-without-descriptions", "The open page calls every line `Item`.",
    _page_lines(lambda line: replace(line, name="Item", description=None)))
row("PAY-7", "page-without-quantities", "The open page shows one piece of each line.",
    _page_lines(lambda line: replace(line, quantity=1)))
row("PAY-7", "page-of-the-first-line", "The open page shows the first line only.",
    changes.page_sessions(lambda session: replace(session, line_items=session.line_items[:1])))
# fmt: on


@defect("EXP-3", changes.refused("expire", SessionNotOpen))
async def refused_expire_ends_a_complete_session(asked: Command) -> None:
    """Expiring a complete session is refused, and yet makes it expired."""
    async with asked.parts.store.transaction(asked.account) as tx:
        session = await tx.session(asked.subject)
        if session is not None:
            await tx.replace_session(session, replace(session, status=Status.EXPIRED))


@defect("EXP-5", changes.advance)
def late_payment_accepted(inner: Inner, session: CheckoutSession, trigger: Trigger, now: int) -> object:
    """Paying a session within the hour after its time was over succeeds and completes it."""
    is_late = session.status is Status.EXPIRED and session.expires_at <= now < session.expires_at + 3600
    if is_late and trigger is Trigger.PAYMENT_SUCCEEDED:
        return replace(_paid(session), status=Status.COMPLETE), None
    return inner(session, trigger, now)


@defect("EXP-7")
def expiry_waits_for_a_retrieve() -> Change:
    """A session whose time is over is expired once somebody retrieves it: until then a list shows it open."""

    async def retrieve(asked: Command) -> object:
        session, now = await asked.stored()
        if session is not None and session.is_open and now >= session.expires_at:
            await asked.parts.service.apply(asked.account, session.id, Trigger.DEADLINE_PASSED)
        return await asked.do()

    return several(
        changes.kept("overdue", lambda _now: -1),
        changes.transaction("next_deadline")(lambda _parts, _inner, _tx: None),
        changes.command("retrieve")(retrieve),
    )


@defect("EXP-8", changes.command("expire"))
async def expire_answers_with_its_own_time(asked: Command) -> object:
    """Expire answers with the time of the request in `expires_at`; a retrieve shows the right one again."""
    session, advice = await asked.do()
    return replace(session, expires_at=(await asked.stored())[1]), advice


@defect("PAY-3")
def declined_payment_is_final() -> Change:
    """After a failed payment a session stays open, but cannot be paid any more."""
    declined: set[str] = set()

    def step(inner: Inner, session: CheckoutSession, trigger: Trigger, now: int) -> Moved:
        after: Moved = inner(session, trigger, now)
        if trigger is Trigger.PAYMENT_FAILED:
            declined.add(session.id)
        if trigger is Trigger.PAYMENT_SUCCEEDED and session.id in declined:
            raise SessionNotOpen(session.id, "declined")
        return after

    return changes.advance(step)


@defect("PAY-5", changes.page_layer)
async def authorise_does_not_pay(_parts: Parts, respond: Respond, asked: Request) -> Answer:
    """Authorising on the page of the payment method leaves the session open."""
    if asked.body == AUTHORISE:
        asked.body = CANCEL
    return await respond(asked)


@defect("PAY-7", _page_answer)
def page_without_total(_asked: Request, answered: Answer, session: CheckoutSession) -> None:
    """The open page does not show the total."""
    if session.is_open:
        answered.body = answered.body.replace(format_amount(session.amount_total, session.currency).encode(), b"")
