"""PAY: payments that complete too little, too often, or lead the customer astray; pages that say or do too much."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from qashier_mock.bugs.changes import Moved, advance, move, page_layer, page_leads_to, page_sessions, page_text
from qashier_mock.bugs.endings import page_still_sells, paid
from qashier_mock.bugs.parts import Inner, Parts
from qashier_mock.bugs.table import defect, row
from qashier_mock.bugs.traffic import Answer, Request, Respond
from qashier_mock.core.errors import SessionNotOpen
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import CheckoutSession, EventType, Status

CARD, AUTHORISE, CANCEL = b"card=approved", b"decision=authorise", b"decision=cancel"


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
# fmt: on


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
