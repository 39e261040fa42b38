"""PAY: what comes of paying, by the control API and on the hosted page."""

from __future__ import annotations

from html import unescape
from typing import Final
from urllib.parse import urldefrag, urlsplit

from qashier_contract import oracle
from qashier_contract.clauses.table import DOCUMENTED, IMPLIED, Findings, broken, clause, kept_if
from qashier_contract.clauses.writes import (
    HARMLESS,
    before_page,
    ended_pages,
    nothing_changed,
    presses,
    story_before,
    unchanged,
    views,
    writes,
)
from qashier_contract.history import Capability, Exchange, Operation
from qashier_contract.ledger import Ledger, act_of
from qashier_contract.observed_events import event_ids
from qashier_contract.page import Page, page_of

PAGE = Capability.PAGE


@clause(
    "PAY-1",
    "A successful payment makes an open session `complete` and `paid` (with nothing to pay it stays "
    "`no_payment_required`); after paying on the page itself the customer goes to `success_url`.",
    source=DOCUMENTED,
)
def paying_completes(ledger: Ledger) -> Findings:
    for observed, write, state in writes(ledger, Operation.PAY, "open", act=oracle.Act.PAYMENT_SUCCEEDED):
        after = oracle.step(state, oracle.Act.PAYMENT_SUCCEEDED)
        assert after is not None
        yield kept_if(write.succeeded, "an open session can be paid", write.status, *story_before(observed, write))
        if write.succeeded:
            yield from unchanged(ledger, observed, write, after)
    yield from paid_on_page(ledger, "pay-card")


@clause(
    "PAY-2",
    "A complete session cannot be paid again; its hosted page says so.",
    source=IMPLIED,
)
def a_complete_session_cannot_be_paid_again(ledger: Ledger) -> Findings:
    for observed, write, state in writes(ledger, Operation.PAY, "complete"):
        yield kept_if(not write.succeeded, "the second payment refused", write.status, *story_before(observed, write))
        yield from nothing_changed(ledger, observed, write, state)
    for observed, press, state in presses(ledger, "complete"):
        yield from nothing_changed(ledger, observed, press, state)
    yield from ended_pages(ledger, "complete", "paid")
    yield from _paid_twice(ledger)


def _paid_twice(ledger: Ledger) -> Findings:
    """A session that was pressed to pay twice was paid once: more than one event of it tells otherwise."""
    told = event_ids(ledger.history)
    for observed, press, _ in presses(ledger, "complete"):
        events = told.get(observed.id)
        if events:
            yield kept_if(len(events) == 1, "paid once", f"{len(events)} events", *story_before(observed, press))


@clause(
    "PAY-3",
    "A failed or cancelled payment leaves a session `open` and unpaid, and it can be tried again.",
    source=IMPLIED,
)
def a_payment_that_fails_leaves_it_open(ledger: Ledger) -> Findings:
    for act in sorted(HARMLESS):
        for observed, write, state in writes(ledger, Operation.PAY, "open", act=act):
            yield kept_if(write.succeeded, "a payment that may fail", write.status, *story_before(observed, write))
            yield from unchanged(ledger, observed, write, state)
    for observed, write, _ in writes(ledger, Operation.PAY, "open", act=oracle.Act.PAYMENT_SUCCEEDED):
        failed = [w for w in observed.writes if w.is_before(write) and act_of(w) in HARMLESS]
        if failed:
            yield kept_if(write.succeeded, "success at another try", write.status, *story_before(observed, write))
    for observed, press, state in presses(ledger, "open"):
        if act_of(press) in HARMLESS:
            yield from nothing_changed(ledger, observed, press, state)
    yield from _another_try(ledger)


def _another_try(ledger: Ledger) -> Findings:
    """After a failed payment the page still has what it had to pay with, and it works."""
    whole: dict[str, Page] = {}
    for observed, exchange, page in views(ledger, failed=True):
        state = ledger.state_before(observed, exchange)
        if state is None or state.status != "open":
            continue
        failed = [w for w in observed.writes if w.is_before(exchange) and act_of(w) in HARMLESS]
        before = whole.setdefault(observed.id, page)
        if failed and before is not page and "pay-card" in before.tests:
            story = (observed.born, *failed, exchange)
            yield kept_if("pay-card" in page.tests, "a page to try again at", page.text[:120], *story)
    works = any(ledger.leads_on(observed, p) for observed, p, _ in presses(ledger, "open") if p.page_act == "pay-card")
    for observed, press, _ in presses(ledger, "open"):
        failed = [w for w in observed.writes if w.is_before(press) and act_of(w) in HARMLESS]
        if failed and works and press.page_act == "pay-card":
            led = ledger.leads_on(observed, press)
            yield kept_if(led, "success at another try", ledger.end_of(press).status, *story_before(observed, press))


@clause(
    "PAY-4",
    "The open page has a way back, to `cancel_url`, exactly when `cancel_url` was given; otherwise it has no link "
    "to the shop.",
    source=DOCUMENTED,
    needs=(PAGE,),
)
def the_open_page_has_a_way_back(ledger: Ledger) -> Findings:
    for observed, exchange, page in views(ledger):
        state = ledger.state_before(observed, exchange)
        body = observed.born.request.json
        if state is None or state.status != "open" or not isinstance(body, dict):
            continue
        cancel = body.get("cancel_url")
        shop = [body.get("success_url"), body.get("return_url")]
        hosts = {urlsplit(url).netloc.lower() for url in [cancel, *shop] if isinstance(url, str)}
        # A shop may be on the host of the page: what leads to the page itself leads nowhere.
        elsewhere = [link for link in page.links if urldefrag(link)[0] != urldefrag(page.url)[0]]
        back = [link for link in elsewhere if urlsplit(link).netloc.lower() in hosts]
        if cancel is None:
            yield kept_if(not back, "no link to the shop", back[:1], observed.born, exchange)
        else:
            yield kept_if(cancel in back, f"a link to {cancel}", back[:3] or "none", observed.born, exchange)


@clause(
    "PAY-5",
    "From the payment method's own page the customer comes back to `return_url`, after authorising or cancelling.",
    source=DOCUMENTED,
    needs=(PAGE,),
)
def the_customer_comes_back(ledger: Ledger) -> Findings:
    yield from _at_the_method(ledger)
    yield from paid_on_page(ledger, "authorise")
    for observed, press, state in presses(ledger, "open"):
        wanted = observed.first.get("return_url")
        if press.page_act == "cancel" and isinstance(wanted, str):
            end = ledger.end_of(press)
            location = _left_to(end, wanted)
            if location is not None:
                yield kept_if(location == wanted, f"the customer at {wanted}", location, observed.born, press, end)
                yield from unchanged(ledger, observed, press, state)


def _at_the_method(ledger: Ledger) -> Findings:
    """What leads to the method's page leads to one. A method elsewhere is not looked at."""
    for observed in ledger.sessions.values():
        for press in ledger.journeys.get(observed.id, ()):
            state = ledger.state_before(observed, press) if press.page_act == "pay-redirect" else None
            if state is None or state.status != "open":
                continue
            end = ledger.end_of(press)
            page, story = page_of(end), (*before_page(observed, press), press, *([end] if end is not press else []))
            if end.status in _NO_PAGE:
                yield broken("the payment method's own page", end.status, *story)
            elif page is not None and not page.has_script and "pay-redirect" in page.tests:
                yield kept_if(
                    _AT_METHOD & page.tests.keys(), "the payment method's own page", "the page before", *story
                )


_NO_PAGE: Final = frozenset({404, 405, 410, 500, 501, 502, 504})
_AT_METHOD: Final = frozenset({"authorise", "cancel"})


def paid_on_page(ledger: Ledger, act: str) -> Findings:
    """Judge what comes of paying an open session on its page, or on the payment method's.

    That nothing comes of it is a fault only where the same has worked: a page may ask for more than a form.
    """
    name = "success_url" if act == "pay-card" else "return_url"
    tries = [(observed, press, state) for observed, press, state in presses(ledger, "open") if press.page_act == act]
    works = any(ledger.leads_on(observed, press) for observed, press, _ in tries)
    for observed, press, state in tries:
        end, wanted = ledger.end_of(press), observed.first.get(name)
        location = _left_to(end, wanted) if isinstance(wanted, str) else None
        story = (*story_before(observed, press), *([end] if end is not press else []))
        if location is not None:
            yield kept_if(location == wanted, f"the customer at {wanted}", location, *story)
        elif works and end.refused:
            yield broken(f"the customer at {wanted}", end.status, *story)
        after = oracle.step(state, oracle.Act.PAYMENT_SUCCEEDED)
        if location is not None and after is not None:
            yield from unchanged(ledger, observed, press, after)


def _left_to(end: Exchange, wanted: str) -> str | None:
    """Where a journey leads: by a redirect, or by what the page at its end holds; None if that cannot be told."""
    location = end.reply.header("location") if end.reply is not None else None
    page = page_of(end)
    if location is not None or page is None or not end.succeeded or page.has_script:
        return location
    # No redirect: then the page itself must send the customer on, by whatever means.
    words = unescape(end.reply.body.decode("utf-8", "replace")) if end.reply is not None else ""
    return wanted if wanted in words else f"nowhere: {page.text[:80]!r}"
