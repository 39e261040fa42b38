"""PAY: payments that complete too little, too often, or lead the customer astray; pages that say or do too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote

from qashier_mock.bugs.changes import Moved, advance, move, page_layer, page_leads_to, page_sessions, page_text
from qashier_mock.bugs.endings import page_still_sells, paid
from qashier_mock.bugs.parts import Inner, Parts
from qashier_mock.bugs.table import Change, defect, row
from qashier_mock.bugs.traffic import Answer, Request, Respond
from qashier_mock.core.errors import SessionNotFound, SessionNotOpen
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import CheckoutSession, EventType, LineItem, Status
from qashier_mock.core.money import format_amount

CARD, AUTHORISE, CANCEL = b"card=approved", b"decision=authorise", b"decision=cancel"


def _when_opened(trigger: Trigger, *, method: str = "GET", times: int = 1) -> Change:
    """Have the customer act by opening the page of an open session, at the nth time."""

    def apply(parts: Parts) -> None:
        opened: Counter[str] = Counter()

        async def around(asked: Request, respond: Respond) -> Answer:
            session_id = asked.path.removeprefix("/pay/")
            opened[session_id] += asked.method == method
            if asked.method == method and opened[session_id] == times:
                with suppress(SessionNotFound):
                    await parts.service.act(session_id, trigger)
            return await respond(asked)

        parts.page_traffic.append(around)

    return apply


def _page_lines(change: Callable[[LineItem], LineItem]) -> Change:
    return page_sessions(lambda session: replace(session, line_items=tuple(map(change, session.line_items))))


# fmt: off
row("PAY-1", "paid-but-open", "A payment makes a session `paid`, and leaves it open.",
    move(Status.OPEN, Trigger.PAYMENT_SUCCEEDED, lambda session: (paid(session), EventType.COMPLETED)))
row("PAY-1", "complete-but-unpaid", "A payment makes a session complete, and leaves it `unpaid`.",
    move(Status.OPEN, Trigger.PAYMENT_SUCCEEDED,
         lambda session: (replace(session, status=Status.COMPLETE), EventType.COMPLETED)))
row("PAY-1", "card-leads-to-return-url", "After paying by card on the page the customer goes to `return_url`.",
    page_leads_to(CARD, lambda session: session.return_url))
row("PAY-1", "success-url-with-the-id",
    "After paying by card on the page the customer goes to `success_url` with the id of the session appended.",
    page_leads_to(CARD, lambda session: f"{session.success_url}?session_id={quote(session.id)}"))
row("PAY-2", "paying-twice-succeeds", "Paying a complete session succeeds again.",
    move(Status.COMPLETE, Trigger.PAYMENT_SUCCEEDED, lambda session: (session, None)))
row("PAY-2", "complete-page-still-sells", "The hosted page of a complete session looks as if it were open.",
    page_still_sells(Status.COMPLETE))
row("PAY-2", "complete-page-says-thanks", "The hosted page of a complete session says nothing of paid.",
    page_text(Status.COMPLETE, b"paid", b"settled"))
row("PAY-3", "declined-payment-expires", "A failed payment makes a session expired.",
    move(Status.OPEN, Trigger.PAYMENT_FAILED,
         lambda session: (replace(session, status=Status.EXPIRED), EventType.EXPIRED)))
row("PAY-3", "canceled-payment-expires", "A cancelled payment makes a session expired.",
    move(Status.OPEN, Trigger.PAYMENT_CANCELED,
         lambda session: (replace(session, status=Status.EXPIRED), EventType.EXPIRED)))
row("PAY-4", "back-link-missing", "The open page has no way back, though there is a `cancel_url`.",
    page_sessions(lambda session: replace(session, cancel_url=None)))
row("PAY-4", "back-link-without-cancel-url",
    "The open page of a session without `cancel_url` has a way back, to `return_url`.",
    page_sessions(lambda session: replace(session, cancel_url=session.cancel_url or session.return_url)))
row("PAY-4", "back-link-to-success-url", "The way back of the open page leads to `success_url`.",
    page_sessions(lambda session: replace(session, cancel_url=session.cancel_url and session.success_url)))
row("PAY-5", "authorise-leads-to-success-url",
    "After authorising on the page of the payment method the customer goes to `success_url`.",
    page_leads_to(AUTHORISE, lambda session: session.success_url))
row("PAY-5", "cancel-leads-to-cancel-url",
    "After cancelling on the page of the payment method the customer goes to `cancel_url`.",
    page_leads_to(CANCEL, lambda session: session.cancel_url or session.success_url))
row("PAY-6", "opening-the-page-pays",
    "Opening the hosted page of a session, without pressing anything, completes it.",
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
    page_sessions(lambda session: replace(session, line_items=session.line_items[:1])))
# fmt: on


@defect("PAY-7", page_layer)
async def page_without_total(parts: Parts, asked: Request, respond: Respond) -> Answer:
    """The open page does not show the total."""
    answered = await respond(asked)
    found = await parts.service.find(asked.path.removeprefix("/pay/"))
    if found is not None and found[1].is_open:
        total = format_amount(found[1].amount_total, found[1].currency)
        answered.body = answered.body.replace(total.encode(), b"")
    return answered


@defect("PAY-3")
def declined_payment_is_final(parts: Parts) -> None:
    """After a failed payment a session stays open, but cannot be paid any more."""
    declined: set[str] = set()

    def step(inner: Inner, session: CheckoutSession, trigger: Trigger, now: int) -> Moved:
        after: Moved = inner(session, trigger, now)
        if trigger is Trigger.PAYMENT_FAILED:
            declined.add(session.id)
        if trigger is Trigger.PAYMENT_SUCCEEDED and session.id in declined:
            raise SessionNotOpen(session.id, "declined")
        return after

    advance(step)(parts)


@defect("PAY-5", page_layer)
async def authorise_does_not_pay(_parts: Parts, asked: Request, respond: Respond) -> Answer:
    """Authorising on the page of the payment method leaves the session open."""
    if asked.body == AUTHORISE:
        asked.body = CANCEL
    return await respond(asked)
