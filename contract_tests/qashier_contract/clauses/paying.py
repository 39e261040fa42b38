"""PAY: what comes of paying, by the control API and on the hosted page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from qashier_contract import oracle
from qashier_contract.addresses import MOST_REDIRECTS, is_same_host, parts_of
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, IMPLIED, Findings, clause
from qashier_contract.clauses.telling import told_once
from qashier_contract.clauses.writes import (
    HARMLESS,
    before_page,
    ended_pages,
    failures_before,
    not_thanked,
    nothing_changed,
    presses,
    story_before,
    unchanged,
    views,
    visits,
    writes,
)
from qashier_contract.findings import Contains, Equals, Expectation, HasShape, StatusIs, expect
from qashier_contract.history import Capability, Exchange, Operation
from qashier_contract.ledger import Ledger, ObservedSession, act_of, leads_to, lines_of
from qashier_contract.page import Page, as_followed, destination, is_certain_to_confirm, page_of, to_confirm
from qashier_contract.places import At, Part, asked_in, header_of, in_body
from qashier_contract.statuses import NO_ERROR, NO_SUCCESS, NOT_REFUSED, SUCCESS
from qashier_contract.values import Json, as_words, is_integer

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
        yield expect(StatusIs(write, SUCCESS), "the session is open", *story_before(observed, write))
        if write.succeeded:
            yield from unchanged(ledger, observed, write, after, "it was paid")
    yield from paid_on_page(ledger, "pay-card")


@clause("PAY-2", "A complete session cannot be paid again; its hosted page says so.", source=IMPLIED)
def a_complete_session_cannot_be_paid_again(ledger: Ledger) -> Findings:
    for observed, write, state in writes(ledger, Operation.PAY, "complete"):
        yield expect(StatusIs(write, NO_SUCCESS), "the session is complete", *story_before(observed, write))
        yield from nothing_changed(ledger, observed, write, state, "the session is complete")
    for observed, press, state in presses(ledger, "complete"):
        yield from nothing_changed(ledger, observed, press, state, "the session is complete")
    yield from ended_pages(ledger, "complete")
    for observed, press, _ in presses(ledger, "complete"):
        yield from told_once(ledger, observed.id, "it was paid once", *story_before(observed, press))


@clause(
    "PAY-3",
    "A failed or cancelled payment leaves a session `open` and unpaid, and it can be tried again.",
    source=IMPLIED,
)
def a_payment_that_fails_leaves_it_open(ledger: Ledger) -> Findings:
    for act in sorted(HARMLESS):
        failed = list(writes(ledger, Operation.PAY, "open", act=act))
        # A control API may know no other outcome than a payment: no clause speaks of it.
        if not ledger.history.terms.own and not any(write.succeeded for _, write, _ in failed):
            continue
        for observed, write, state in failed:
            yield expect(StatusIs(write, SUCCESS), "a payment may fail", *story_before(observed, write))
            yield from unchanged(ledger, observed, write, state, "the payment failed")
    for observed, write, _ in writes(ledger, Operation.PAY, "open", act=oracle.Act.PAYMENT_SUCCEEDED):
        if failures_before(observed, write):
            yield expect(StatusIs(write, SUCCESS), "it may be tried again", *story_before(observed, write))
    for observed, press, state in presses(ledger, "open"):
        if act_of(press) in HARMLESS:
            yield from nothing_changed(ledger, observed, press, state, "the payment failed")
        if press.page_act == "pay-declined":
            yield from not_thanked(ledger, observed, press, "the payment failed")
    yield from _another_try(ledger)
    yield from _at_the_method_again(ledger)


def _another_try(ledger: Ledger) -> Findings:
    """After a failed payment the page still has what it had to pay with, and it works."""
    whole: dict[str, Page] = {}
    for observed, exchange, page, _ in views(ledger, "open", failed=True):
        failed = failures_before(observed, exchange)
        before = whole.setdefault(observed.id, page)
        if failed and before is not page and "pay-card" in before.tests:
            controls = At(exchange, Part.CONTROLS)
            yield expect(Contains(controls, "pay-card"), "it may be tried again", observed.born, *failed)
    works = any(ledger.leads_on(observed, p) for observed, p, _ in presses(ledger, "open") if p.page_act == "pay-card")
    for observed, press, _ in presses(ledger, "open"):
        is_judged = works and press.page_act == "pay-card" and not _is_cut_off(ledger, observed, press)
        if is_judged and failures_before(observed, press):
            evidence = story_before(observed, press)
            yield expect(
                _sent_on(ledger, observed, ledger.end_of(press), "success_url"), "it may be tried again", *evidence
            )


def _goes_on(act: str, end: Exchange) -> bool:
    """Whether a customer who pressed that can go on where it leads: to authorise the payment, if to the method."""
    page = page_of(end)
    return not end.refused and (act != "pay-redirect" or (page is not None and "authorise" in page.tests))


def _at_the_method_again(ledger: Ledger) -> Findings:
    """After a failed payment the way to the payment method is open as before, and so is the payment there."""
    for act in ("pay-redirect", "authorise"):
        tries = [
            (observed, press, failures_before(observed, press), ledger.end_of(press))
            for observed in ledger.sessions.values()
            for press in ledger.journeys.get(observed.id, ())
            if press.page_act == act and (state := ledger.state_before(observed, press)) and state.status == "open"
        ]
        works = any(not failed and _goes_on(act, end) for _, _, failed, end in tries)
        for observed, press, failed, end in tries if works else ():
            if failed and (press.page_from or 0) > failed[-1].number:  # a form may be good for one press
                reason, evidence = "it may be tried again", story_before(observed, press)
                yield expect(StatusIs(end, NOT_REFUSED), reason, *evidence)
                page = page_of(end)
                is_there = act == "pay-redirect" and page is not None and not page.may_show_more and not end.refused
                if is_there and not _asks_for_more(ledger, observed, press):
                    yield expect(Contains(At(end, Part.CONTROLS), "authorise"), reason, *evidence)


@clause(
    "PAY-4",
    "The open page has a way back, to `cancel_url`, exactly when `cancel_url` was given; otherwise it has no link "
    "to the shop.",
    source=DOCUMENTED,
    needs=(PAGE,),
)
def the_open_page_has_a_way_back(ledger: Ledger) -> Findings:
    for observed, exchange, page, _ in views(ledger, "open"):
        body = observed.born.request.json
        if not isinstance(body, dict):
            continue
        cancel = body.get("cancel_url")
        shop = [body.get("success_url"), body.get("return_url")]
        hosts = {parts_of(url).netloc.lower() for url in [cancel, *shop] if isinstance(url, str)}
        # A shop may be on the host of the page: what leads to the page itself leads nowhere.
        elsewhere = [link for link in page.links if link.partition("#")[0] != page.url.partition("#")[0]]
        back = [link for link in elsewhere if parts_of(link).netloc.lower() in hosts]
        links = At(exchange, Part.LINKS)
        if cancel is None:
            unwanted = back[0] if back else "any of the shop"
            yield expect(Contains(links, unwanted, absent=True), "no cancel_url was given", observed.born)
        elif back or not _may_lead_on(page, observed.id):
            yield expect(
                Contains(links, _as_written(page.links, asked_in(observed.born, "cancel_url"))), "the way back"
            )
    for observed, press, _ in presses(ledger, "open"):
        shown, given = page_of(press), asked_in(observed.born, "cancel_url")
        # Who failed to pay may be shown the open page at once.
        shows_it = shown is not None and press.succeeded and act_of(press) in HARMLESS and "pay-card" in shown.tests
        leads_on = shown is not None and _may_lead_on(shown, observed.id)
        if shows_it and not leads_on and isinstance(given.value, str):
            yield expect(Contains(At(press, Part.LINKS), given), "the way back", *story_before(observed, press))


def _may_lead_on(page: Page, session_id: str) -> bool:
    """Whether a page has a link or a button of its own for the session, which may lead the customer back.

    Nobody followed it.
    """
    here, to_method = page.url.partition("#")[0], page.tests.get("pay-redirect", {})
    known = {here, to_method.get("href"), to_method.get("formaction")}
    if "form" in to_method:
        known.add(page.forms[int(to_method["form"])]["action"])
    leads_on = [link for link in page.links if link not in known and link.partition("#")[0] != here]
    leads_on += [form["action"] for form in page.forms_to_pay(session_id) if form.get("other")]
    return any(is_same_host(link, here) and session_id in link for link in leads_on)


def _as_written(links: Sequence[str], url: At) -> At | str:
    """A URL as a page may write it: who follows it sends quotes and angle brackets percent-encoded at any rate."""
    followed = as_followed(str(url.value))
    return next((link for link in links if link != url.value and as_followed(link) == followed), url)


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
            is_done = not _is_cut_off(ledger, observed, press) and not _asks_for_more(ledger, observed, press)
            if _is_sent_on(observed, end, "return_url") and is_done:
                reason, evidence = "the customer gave up", (observed.born, press)
                yield expect(_sent_on(ledger, observed, end, "return_url"), reason, *evidence)
                yield from unchanged(ledger, observed, press, state, reason)


def _at_the_method(ledger: Ledger) -> Findings:
    """What leads to the method's page leads to one. A method elsewhere is not looked at."""
    for observed in ledger.sessions.values():
        for press in ledger.journeys.get(observed.id, ()):
            state = ledger.state_before(observed, press) if press.page_act == "pay-redirect" else None
            if state is None or state.status != "open":
                continue
            end = ledger.end_of(press)
            page, evidence = page_of(end), (*before_page(observed, press), press)
            reason = "the payment method has a page of its own"
            if end.status in _NO_PAGE:
                yield expect(StatusIs(end, NO_ERROR), reason, *evidence)
            elif (
                page is not None
                and not page.may_show_more
                and "pay-redirect" in page.tests
                and not _asks_for_more(ledger, observed, press)
            ):
                control = sorted(_AT_METHOD & page.tests.keys())[:1] or sorted(_AT_METHOD)[:1]
                yield expect(Contains(At(end, Part.CONTROLS), control[0]), reason, *evidence)


_NO_PAGE: Final = frozenset({404, 405, 410, 500, 501, 502, 504})
_AT_METHOD: Final = frozenset({"authorise", "cancel"})


@clause(
    "PAY-6",
    "Opening the hosted page, by GET or HEAD, however often, changes nothing.",
    source=IMPLIED,
    needs=(PAGE,),
)
def opening_the_page_changes_nothing(ledger: Ledger) -> Findings:
    for observed, exchange in (*visits(ledger), *_asked_by_get(ledger)):
        state, read = ledger.state_before(observed, exchange), ledger.following_read(observed, exchange)
        if state is not None and read is not None:
            for name, value in state._asdict().items():
                reason = f"it was only looked at, by {exchange.request.method}"
                yield expect(Equals(in_body(read, name), value), reason, *before_page(observed, exchange), exchange)


def _asked_by_get(ledger: Ledger) -> Iterator[tuple[ObservedSession, Exchange]]:
    """The hosted pages that were asked for by GET with the fields of a form that pays."""
    for observed in ledger.sessions.values():
        page = str(observed.first.get("url")).partition("?")[0]
        for exchange in ledger.journeys.get(observed.id, ()):
            is_there = exchange.request.method == "GET" and exchange.request.path.partition("?")[0] == page
            if is_there and act_of(exchange) is not None and exchange not in observed.writes:
                yield observed, exchange


@clause(
    "PAY-7",
    "The open page shows the total and, for each line, its description and quantity; the amount's digits are judged, "
    "not its format.",
    source=ASSUMED,
    needs=(PAGE,),
)
def the_open_page_shows_what_is_paid_for(ledger: Ledger) -> Findings:
    found = [
        (finding, page.may_show_more and not ledger.history.terms.own)
        for observed, exchange, page, _ in views(ledger, "open")
        for finding in _shown(observed, At(exchange, Part.TEXT))
        if finding is not None
    ]
    # A script may draw it; what is there without one elsewhere, is drawn by none.
    there = {finding.about for finding, may_be_drawn in found if may_be_drawn and finding.holds}
    for finding, may_be_drawn in found:
        if not may_be_drawn or finding.about in there:
            yield finding


def _shown(observed: ObservedSession, text: At) -> Findings:
    """That a page's text has the total and the lines of a session."""
    total = observed.first.get("amount_total")
    if is_integer(total) and total > 0:  # what is free may be called so
        wanted = HasShape(text, "string", amount_pattern(total), f"the digits of {total}")
        yield expect(wanted, "the total", observed.born, about="amount_total")
    for line in lines_of(observed.first):
        yield from _line_shown(text, line, observed.born)


def _line_shown(text: At, line: Mapping[str, Json], born: Exchange) -> Findings:
    description, quantity = line.get("description"), line.get("quantity")
    if isinstance(description, str) and description.strip():
        yield expect(Contains(text, Page.as_shown(description)), "a line's description", born, about="description")
    # That a line is there once may go without saying.
    if is_integer(quantity) and quantity > 1:
        wanted = HasShape(text, "string", rf"(?s).*{_digits(str(quantity))}.*", f"the quantity {quantity}")
        yield expect(wanted, "a line's quantity", born, about="quantity")


def amount_pattern(amount: int) -> str:
    """A pattern for a text that shows an amount of minor units, however it is written: `25.00`, `S$25`, `2,500`."""
    digits = str(amount)
    whole = [digits[:-2]] if len(digits) > 2 and digits.endswith("00") else []
    return rf"(?s).*({'|'.join(_digits(one) for one in [digits, *whole])}).*"


def _digits(digits: str) -> str:
    """A pattern for these digits and no others, with what may stand between and zeros before them."""
    between = r"[.,\s'\u2019\u066b\u066c]{0,3}"  # a page's text has a space where one element ends and the next begins
    return r"(?<!\d)(?<!\d[.,'])(0[.,]?)*" + between.join(digits) + r"(?![.,'\u2019]?\d)"


def paid_on_page(ledger: Ledger, act: str) -> Findings:
    """Judge what comes of paying an open session on its page, or on the payment method's.

    That nothing comes of it is a fault only where the same has worked: a page may ask for more than a form.
    """
    name = "success_url" if act == "pay-card" else "return_url"
    tries = [(observed, press, state) for observed, press, state in presses(ledger, "open") if press.page_act == act]
    works = any(ledger.leads_on(observed, press) for observed, press, _ in tries)
    for observed, press, state in tries:
        end, evidence = ledger.end_of(press), story_before(observed, press)
        is_sent_on = isinstance(observed.first.get(name), str) and _is_sent_on(observed, end, name)
        if _is_cut_off(ledger, observed, press) or _is_to_confirm(ledger, press):
            continue
        if not works and (_asks_for_more(ledger, observed, press) or not _is_certain(ledger, press)):
            continue
        if is_sent_on:
            yield expect(_sent_on(ledger, observed, end, name), "the customer has paid", *evidence)
        elif works and end.refused:
            yield expect(StatusIs(end, NOT_REFUSED), "the session is open", *evidence)
        after = oracle.step(state, oracle.Act.PAYMENT_SUCCEEDED)
        if is_sent_on and after is not None:
            yield from unchanged(ledger, observed, press, after, "the customer has paid")


def _asks_for_more(ledger: Ledger, observed: ObservedSession, press: Exchange) -> bool:
    """Whether a customer has more to do: to confirm it on another page of the session, or to fill in the form first."""
    shown, seen = page_of(ledger.end_of(press)), _page_with(ledger, press)
    if shown is None or seen is None or not shown.forms_to_pay(observed.id):
        return False
    number = seen.tests.get(press.page_act or "", {}).get("form")
    return shown.tests.keys() != seen.tests.keys() or (number is not None and "asks" in seen.forms[int(number)])


def _page_with(ledger: Ledger, press: Exchange) -> Page | None:
    """The page on which something was pressed."""
    return next((page_of(e) for e in ledger.history.of(Operation.PAGE) if e.number == press.page_from), None)


def _is_to_confirm(ledger: Ledger, press: Exchange) -> bool:
    """Whether the last page asks for a confirmation that the customer did not give: the run ended, or it is a race."""
    seen, shown = _page_with(ledger, press), page_of(ledger.end_of(press))
    return seen is not None and shown is not None and to_confirm(seen, press.page_act or "", shown) is not None


def _is_certain(ledger: Ledger, press: Exchange) -> bool:
    """Whether what was pressed to confirm it was all by which a customer could go on."""
    journey = ledger.journey_of(press)
    asked = [page_of(e) for e, later in pairwise(journey) if (later.page_act or "").endswith(Page.CONFIRMED)]
    return all(page is not None and is_certain_to_confirm(page, press.page_act or "") for page in asked)


def _is_cut_off(ledger: Ledger, observed: ObservedSession, press: Exchange) -> bool:
    """Whether a redirect that stays with the page was not followed, or the payment is still under way."""
    if ledger.is_under_way(press):
        return True
    journey, there = ledger.journey_of(press), leads_to(ledger.end_of(press))
    if there is None or len(journey) > MOST_REDIRECTS:
        return False
    shops = [str(observed.first.get(name)) for name in ("success_url", "return_url")]
    return is_same_host(there, press.request.path) and not any(is_same_host(there, shop) for shop in shops)


def _is_sent_on(observed: ObservedSession, end: Exchange, name: str) -> bool:
    """Whether it can be told that a journey leads to a URL of the shop: by a header, or by a page that no script draws.

    A link that names the session may lead there over an address of the page's own.
    """
    if end.reply is not None and (end.reply.header("location") or end.reply.header("refresh")) is not None:
        return True
    page = page_of(end)
    if page is None or not end.succeeded or page.may_show_more:
        return False
    return observed.first.get(name) in page.links or not any(observed.id in link for link in page.links)


def _sent_on(ledger: Ledger, observed: ObservedSession, end: Exchange, name: str) -> Expectation:
    """That a journey leads to a URL of the shop.

    A query that is added to it is left open on a target that is not our own mock.
    """
    url, location = in_body(observed.born, name), header_of(end, "Location")
    if end.reply is None or end.reply.header("location") is None:
        # The page sends the customer on, by whatever means.
        is_by_header = end.reply is not None and end.reply.header("refresh") is not None
        told = header_of(end, "Refresh") if is_by_header else At(end, Part.RAW)
        return Contains(told, url, form=f"a way to {name}")
    if ledger.history.terms.own:
        return Equals(location, url)
    return HasShape(location, "string", destination(str(url.value)), as_words(url.value))
