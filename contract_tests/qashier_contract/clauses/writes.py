"""What several groups need to judge writes to a session, and the hosted pages that were opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qashier_contract import oracle
from qashier_contract.clauses.table import Findings, kept_if
from qashier_contract.history import Capability, Exchange, Operation
from qashier_contract.ledger import Ledger, ObservedSession, act_of, lasting
from qashier_contract.page import Page, page_of
from qashier_contract.values import Json, differences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
            state = ledger.state_before(observed, write)
            if state is not None and state.status in statuses:
                yield observed, write, state


def story_before(observed: ObservedSession, write: Exchange) -> tuple[Exchange, ...]:
    """The story of a session up to a write."""
    return (observed.born, *(earlier for earlier in observed.writes if earlier.number <= write.number), write)


def unchanged(ledger: Ledger, observed: ObservedSession, write: Exchange, state: oracle.State) -> Findings:
    read = ledger.following_read(observed, write)
    if read is not None:
        seen = oracle.State(str(read.object.get("status")), str(read.object.get("payment_status")))
        yield kept_if(
            seen == state,
            f"still {state.status}, {state.payment_status}",
            f"{seen.status}, {seen.payment_status}",
            *story_before(observed, write),
            read,
        )


def nothing_changed(ledger: Ledger, observed: ObservedSession, write: Exchange, state: oracle.State) -> Findings:
    """What was refused left the session as it was shown before."""
    yield from unchanged(ledger, observed, write, state)
    read, before = ledger.following_read(observed, write), ledger.preceding_read(observed, write)
    if read is not None and before is not None:
        yield from same_session(before.object, read.object, *story_before(observed, write), read)


def same_session(before: Mapping[str, Json], shown: Mapping[str, Json], *story: Exchange) -> Findings:
    """What never changes is as it was."""
    first, now = lasting(before), lasting(shown)
    differing = differences(first, now)
    wanted = {name: first.get(name) for name in differing}
    yield kept_if(not differing, f"{wanted}", {name: now.get(name) for name in differing}, *story)


VIEWS: Final = frozenset({"view", "view, led on"})


def views(ledger: Ledger, *, failed: bool = False) -> Iterator[tuple[ObservedSession, Exchange, Page]]:
    """The hosted pages that were opened, error pages only if `failed`.

    A page that a script has to draw first cannot be judged without a browser.
    """
    if Capability.PAGE not in ledger.history.terms.capabilities:
        return
    for exchange in ledger.history.exchanges:
        observed = ledger.sessions.get(exchange.page_of or "")
        if observed is None or exchange.page_act not in VIEWS or exchange.reply is None:
            continue
        page = None if 300 <= exchange.reply.status < 400 else page_of(exchange)
        if page is not None and (exchange.succeeded or (failed and not exchange.is_lost)):
            yield observed, exchange, page


def presses(ledger: Ledger, *statuses: str) -> Iterator[tuple[ObservedSession, Exchange, oracle.State]]:
    """What was pressed on the pages of sessions of a known status, with it."""
    for observed in ledger.sessions.values():
        for press in observed.writes:
            if press.operation is not Operation.PAGE or act_of(press) is None or press.is_lost:
                continue
            state = ledger.state_before(observed, press)
            if state is not None and state.status in statuses:
                yield observed, press, state


def ended_pages(ledger: Ledger, status: str, word: str) -> Findings:
    for observed, exchange, page in views(ledger, failed=True):
        state = ledger.state_before(observed, exchange)
        if state is None or state.status != status:
            continue
        story = (*before_page(observed, exchange), exchange)
        if state.payment_status != "no_payment_required" or status == "expired":  # what is free is not "paid"
            yield kept_if(word in page.text.lower(), f"the word {word!r} on the page", page.text[:120], *story)
        found = page.forms_to_pay(observed.id)
        yield kept_if(not found, "no form to pay", f"a form to {found[0]['action'] if found else ''}", *story)


def before_page(observed: ObservedSession, exchange: Exchange) -> tuple[Exchange, ...]:
    return (observed.born, *(write for write in observed.writes if write.is_before(exchange)))
