"""What several groups need to judge writes to a session, and the hosted pages that were opened."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from qashier_contract import oracle
from qashier_contract.addresses import joined, parts_of
from qashier_contract.clauses.table import KEPT, Findings
from qashier_contract.findings import Contains, Counts, Equals, HasShape, expect
from qashier_contract.history import Capability, Exchange, Operation
from qashier_contract.ledger import Ledger, ObservedSession, act_of, entries_of, lasting
from qashier_contract.page import Page, page_of
from qashier_contract.places import At, Part, header_of, in_body
from qashier_contract.refresh import refresh_of
from qashier_contract.values import Json, differing_paths

HARMLESS: Final = frozenset({oracle.Act.PAYMENT_FAILED, oracle.Act.PAYMENT_CANCELED})


def writes(
    ledger: Ledger, operation: Operation, *statuses: str, act: oracle.Act | None = None
) -> Iterator[tuple[ObservedSession, Exchange, oracle.State]]:
    """The writes of one kind to sessions of a known status, with it. Replays and other accounts' tries left out."""
    for observed in ledger.sessions.values():
        for write in observed.writes:
            if write.operation is not operation or write.account != observed.account or write.is_lost:
                continue
            if ledger.key_was_seen(write) or (act is not None and act_of(write) is not act):
                continue
            yield from _if_in(ledger, observed, write, statuses)


def _if_in(
    ledger: Ledger, observed: ObservedSession, exchange: Exchange, statuses: Collection[str]
) -> Iterator[tuple[ObservedSession, Exchange, oracle.State]]:
    state = ledger.state_before(observed, exchange)
    if state is not None and state.status in statuses:
        yield observed, exchange, state


def listed(ledger: Ledger) -> Iterator[tuple[ObservedSession, Exchange, int, Mapping[str, Json]]]:
    """The entries of lists, and their places, that show a session of the account that asked."""
    for exchange in ledger.history.of(Operation.LIST):
        for place, entry in enumerate(entries_of(exchange)):
            observed = ledger.sessions.get(str(entry.get("id")))
            if observed is not None and observed.account == exchange.account:
                yield observed, exchange, place, entry


def failures_before(observed: ObservedSession, exchange: Exchange) -> list[Exchange]:
    """The payments of a session that failed before a request."""
    return [write for write in observed.writes if write.is_before(exchange) and act_of(write) in HARMLESS]


def story_before(observed: ObservedSession, write: Exchange) -> tuple[Exchange, ...]:
    """What made a session what it was up to a write, and the write."""
    return (observed.born, *(earlier for earlier in observed.writes if earlier.number <= write.number), write)


def unchanged(ledger: Ledger, observed: ObservedSession, write: Exchange, state: oracle.State, reason: str) -> Findings:
    """The next read shows a status."""
    read = ledger.following_read(observed, write)
    if read is not None:
        for name, value in state._asdict().items():
            yield expect(Equals(in_body(read, name), value), reason, *story_before(observed, write))


def nothing_changed(
    ledger: Ledger, observed: ObservedSession, write: Exchange, state: oracle.State, reason: str
) -> Findings:
    """What was refused left the session as it was shown before."""
    yield from unchanged(ledger, observed, write, state, reason)
    read, before = ledger.following_read(observed, write), ledger.preceding_read(observed, write)
    if read is not None and before is not None:
        yield from same_session(read, before, reason, *story_before(observed, write))


def same_session(
    shown: Exchange,
    other: Exchange,
    reason: str,
    *evidence: Exchange,
    of: Callable[[Json], dict[str, Json]] = lasting,
    excused: str = "",
) -> Findings:
    """One finding for each property that two answers show otherwise, of those that never change or that `of` takes.

    One that is kept, where there is none, or just the excused one.
    """
    differing = {path[0]: path for path in reversed(differing_paths(of(other.object), of(shown.object)))}
    if differing.keys() <= {excused}:
        yield KEPT
        return
    for _, path in sorted(differing.items()):
        yield expect(Equals(in_body(shown, *path), in_body(other, *path)), reason, *evidence)


_VIEWS: Final = frozenset({"view", "view, led on"})


def visits(ledger: Ledger) -> Iterator[tuple[ObservedSession, Exchange]]:
    """What was asked for to look at a hosted page."""
    for exchange in ledger.history.of(Operation.PAGE):
        observed = ledger.sessions.get(exchange.page_of or "")
        if observed is not None and exchange.page_act in _VIEWS:
            yield observed, exchange


def views(
    ledger: Ledger, *statuses: str, failed: bool = False
) -> Iterator[tuple[ObservedSession, Exchange, Page, oracle.State]]:
    """The hosted pages that were opened of sessions of a known status, with it; error pages only if `failed`.

    A page that a script has to draw first cannot be judged without a browser.
    """
    if Capability.PAGE not in ledger.history.terms.capabilities:
        return
    led_from = {exchange.page_from for _, exchange in visits(ledger)}
    for observed, exchange in visits(ledger):
        if exchange.reply is None or exchange.request.method != "GET" or exchange.number in led_from:
            continue  # what HEAD answers is left open, and what led on by itself is not for reading
        page = None if 300 <= exchange.reply.status < 400 else page_of(exchange)
        if page is not None and (exchange.succeeded or (failed and not exchange.is_lost)):
            state = ledger.state_before(observed, exchange)
            is_whole = state is not None and (state.status != "open" or refresh_of(exchange) is None)
            if state is not None and state.status in statuses and is_whole:
                yield observed, exchange, page, state


def presses(ledger: Ledger, *statuses: str) -> Iterator[tuple[ObservedSession, Exchange, oracle.State]]:
    """What was pressed on the pages of sessions of a known status, with it."""
    for observed in ledger.sessions.values():
        for press in observed.writes:
            if press.operation is not Operation.PAGE or act_of(press) is None or press.is_lost:
                continue
            yield from _if_in(ledger, observed, press, statuses)


def not_thanked(ledger: Ledger, observed: ObservedSession, press: Exchange, reason: str) -> Findings:
    """Judge that a customer who has not paid is not sent to `success_url`."""
    location, success_url = header_of(ledger.end_of(press), "Location"), in_body(observed.born, "success_url")
    misled, evidence = ledger.leads_on(observed, press), story_before(observed, press)
    if press.page_act in {"pay-card", "pay-declined"}:
        yield expect(Contains(location, success_url, absent=True), reason, *evidence) if misled else KEPT


_WORDS: Final = {"expired": ("expired",), "complete": ("paid", "complete", "successful")}
"""What the page of a session that has ended says, any of these."""


def ended_pages(ledger: Ledger, status: str) -> Findings:
    """Judge the pages of sessions that have ended: they say so, and have no form to pay."""
    to_pay = {place for observed, _, page, _ in views(ledger, "open") for place in _ways_to_pay(page, observed.id)}
    for observed, exchange, page, state in views(ledger, status, failed=True):
        if not exchange.succeeded and ledger.may_be_gone(observed, exchange):
            continue
        evidence = before_page(observed, exchange)
        if state.payment_status != "no_payment_required" or status == "expired":  # what is free is not "paid"
            pattern = rf"(?is).*({'|'.join(_WORDS[status])}).*"
            form = "the word " + " or ".join(f'"{word}"' for word in _WORDS[status])
            yield expect(HasShape(At(exchange, Part.TEXT), "string", pattern, form), f"it is {status}", *evidence)
        # To ask for a copy of the receipt, say, is not to pay: that form is on no open page.
        is_other = to_pay and page.tests.keys().isdisjoint(page.ACTS) and not ledger.history.terms.own
        if not is_other or to_pay.intersection(_ways_to_pay(page, observed.id)):
            yield expect(Counts(At(exchange, Part.FORMS), 0, 0), f"it is {status}", *evidence)


def _ways_to_pay(page: Page, session_id: str) -> Iterator[str]:
    """Where forms lead by which a customer pays, those with a known button if there are any; no session is named."""
    pressed = [element for name, element in page.tests.items() if name in page.ACTS and "form" in element]
    known = [joined(page.forms[int(one["form"])]["action"], one.get("formaction", "")) or "" for one in pressed]
    for action in known or [form["action"] for form in page.forms_to_pay(session_id)]:
        yield parts_of(action).path.replace(session_id, "")


def before_page(observed: ObservedSession, exchange: Exchange) -> tuple[Exchange, ...]:
    """What made a session what its page shows."""
    return (observed.born, *(write for write in observed.writes if write.is_before(exchange)))
