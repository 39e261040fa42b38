"""PAY: payments that complete too little, too often, or lead the customer astray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from qashier_mock.bugs.endings import Advance, Moved, moves, page_says, page_still_sells, paid
from qashier_mock.bugs.parts import Parts
from qashier_mock.bugs.table import defect
from qashier_mock.bugs.traffic import Answer, Request, Respond
from qashier_mock.core.errors import SessionNotOpen
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import CheckoutSession, EventType, Status


@defect("PAY-1")
def paid_but_open(parts: Parts) -> None:
    """A payment makes a session `paid`, and leaves it open."""

    def move(session: CheckoutSession, _now: int) -> Moved:
        return replace(session, payment_status=paid(session)), EventType.COMPLETED

    moves(parts, Status.OPEN, Trigger.PAYMENT_SUCCEEDED, move)


@defect("PAY-1")
def complete_but_unpaid(parts: Parts) -> None:
    """A payment makes a session complete, and leaves it `unpaid`."""

    def move(session: CheckoutSession, _now: int) -> Moved:
        return replace(session, status=Status.COMPLETE), EventType.COMPLETED

    moves(parts, Status.OPEN, Trigger.PAYMENT_SUCCEEDED, move)


def _leads_to(parts: Parts, form: bytes, target: Callable[[CheckoutSession], str | None]) -> None:
    """Lead the customer elsewhere after one of the forms of the pages."""

    async def layer(request: Request, respond: Respond) -> Answer:
        answer = await respond(request)
        if request.method == "POST" and request.body == form and answer.header(b"location") is not None:
            found = await parts.service.find(request.path.removeprefix("/pay/").partition("/")[0])
            location = None if found is None else target(found[1])
            if location is not None:
                answer.set_header(b"location", location.encode())
        return answer

    parts.on_pages(layer)


@defect("PAY-1")
def card_leads_to_return_url(parts: Parts) -> None:
    """After paying by card on the page the customer goes to `return_url`."""
    _leads_to(parts, b"card=approved", lambda session: session.return_url)


@defect("PAY-1")
def success_url_with_the_id(parts: Parts) -> None:
    """After paying by card on the page the customer goes to `success_url` with the id of the session appended."""
    _leads_to(parts, b"card=approved", lambda session: f"{session.success_url}?session_id={quote(session.id)}")


@defect("PAY-2")
def paying_twice_succeeds(parts: Parts) -> None:
    """Paying a complete session succeeds again."""
    moves(parts, Status.COMPLETE, Trigger.PAYMENT_SUCCEEDED, lambda session, _now: (session, None))


@defect("PAY-2")
def complete_page_still_sells(parts: Parts) -> None:
    """The hosted page of a complete session looks as if it were open."""
    page_still_sells(parts, Status.COMPLETE)


@defect("PAY-2")
def complete_page_says_thanks(parts: Parts) -> None:
    """The hosted page of a complete session says nothing of paid."""
    page_says(parts, Status.COMPLETE, b"paid", b"settled")


@defect("PAY-3")
def declined_payment_expires(parts: Parts) -> None:
    """A failed payment makes a session expired."""
    moves(
        parts,
        Status.OPEN,
        Trigger.PAYMENT_FAILED,
        lambda session, _now: (replace(session, status=Status.EXPIRED), EventType.EXPIRED),
    )


@defect("PAY-3")
def canceled_payment_expires(parts: Parts) -> None:
    """A cancelled payment makes a session expired."""
    moves(
        parts,
        Status.OPEN,
        Trigger.PAYMENT_CANCELED,
        lambda session, _now: (replace(session, status=Status.EXPIRED), EventType.EXPIRED),
    )


@defect("PAY-3")
def declined_payment_is_final(parts: Parts) -> None:
    """After a failed payment a session stays open, but cannot be paid any more."""
    declined: set[str] = set()

    def step(inner: Advance, session: CheckoutSession, trigger: Trigger, now: int) -> Moved:
        moved = inner(session, trigger, now)
        if trigger is Trigger.PAYMENT_FAILED:
            declined.add(session.id)
        if trigger is Trigger.PAYMENT_SUCCEEDED and session.id in declined:
            raise SessionNotOpen(session.id, "declined")
        return moved

    parts.on_advance(step)


@defect("PAY-4")
def back_link_missing(parts: Parts) -> None:
    """The open page has no way back, though there is a `cancel_url`."""
    parts.on_page_sessions(lambda session: replace(session, cancel_url=None))


@defect("PAY-4")
def back_link_without_cancel_url(parts: Parts) -> None:
    """The open page of a session without `cancel_url` has a way back, to `return_url`."""
    parts.on_page_sessions(lambda session: replace(session, cancel_url=session.cancel_url or session.return_url))


@defect("PAY-4")
def back_link_to_success_url(parts: Parts) -> None:
    """The way back of the open page leads to `success_url`."""
    parts.on_page_sessions(
        lambda session: replace(session, cancel_url=session.success_url if session.cancel_url else None)
    )


@defect("PAY-5")
def authorise_leads_to_success_url(parts: Parts) -> None:
    """After authorising on the page of the payment method the customer goes to `success_url`."""
    _leads_to(parts, b"decision=authorise", lambda session: session.success_url)


@defect("PAY-5")
def cancel_leads_to_cancel_url(parts: Parts) -> None:
    """After cancelling on the page of the payment method the customer goes to `cancel_url`."""
    _leads_to(parts, b"decision=cancel", lambda session: session.cancel_url or session.success_url)


@defect("PAY-5")
def authorise_does_not_pay(parts: Parts) -> None:
    """Authorising on the page of the payment method leaves the session open."""

    async def layer(request: Request, respond: Respond) -> Answer:
        if request.body == b"decision=authorise":
            request.body = b"decision=cancel"
        return await respond(request)

    parts.on_pages(layer)
