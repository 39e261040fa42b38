"""EXP and PAY: how a session ends, and what its page says."""

from __future__ import annotations

from urllib.parse import urlsplit

from qashier_contract import oracle
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, Findings, broken, clause, kept_if
from qashier_contract.clauses.writes import (
    HARMLESS,
    VIEWS,
    before_page,
    ended_pages,
    nothing_changed,
    presses,
    same_session,
    story_before,
    writes,
)
from qashier_contract.history import Capability, Exchange, Operation
from qashier_contract.ledger import Ledger, ObservedSession, act_of, entries_of

PAY, CLOCK, PAGE = Capability.PAY, Capability.CLOCK, Capability.PAGE


@clause(
    "EXP-1",
    "Expiring an open session returns it with `status` `expired`.",
    source=DOCUMENTED,
)
def an_open_session_can_be_expired(ledger: Ledger) -> Findings:
    for observed, write, state in writes(ledger, Operation.EXPIRE, "open"):
        story = story_before(observed, write)
        yield kept_if(write.succeeded, "success for an open session", write.status, *story)
        if write.succeeded:
            seen = (write.object.get("id"), write.object.get("status"))
            yield kept_if(seen == (observed.id, "expired"), f"{observed.id}, expired", f"{seen}", *story)
            yield from same_session(observed.first, write.object, *story)
            expected = state.payment_status
            yield kept_if(
                write.object.get("payment_status") == expected, expected, write.object.get("payment_status"), *story
            )
            read = ledger.following_read(observed, write)
            if read is not None:
                status = read.object.get("status")
                yield kept_if(status == "expired", "expired from then on", status, *story, read)


@clause(
    "EXP-2",
    "Expiring an expired session is refused with 4xx, and nothing changes.",
    source=DOCUMENTED,
)
def an_expired_session_cannot_be_expired(ledger: Ledger) -> Findings:
    for observed, write, state in writes(ledger, Operation.EXPIRE, "expired"):
        yield kept_if(
            write.refused and _by_policy(ledger, write), _not_open(ledger), write.status, *story_before(observed, write)
        )
        if write.refused:
            yield from nothing_changed(ledger, observed, write, state)


@clause(
    "EXP-3",
    "Expiring a complete session is refused with 4xx, and nothing changes.",
    source=DOCUMENTED,
    needs=(PAY,),
)
def a_complete_session_cannot_be_expired(ledger: Ledger) -> Findings:
    for observed, write, state in writes(ledger, Operation.EXPIRE, "complete"):
        yield kept_if(
            write.refused and _by_policy(ledger, write), _not_open(ledger), write.status, *story_before(observed, write)
        )
        yield from nothing_changed(ledger, observed, write, state)


def _not_open(ledger: Ledger) -> str:
    return f"{ledger.history.terms.policy.status_not_open or '4xx'} for a session that is not open"


def _by_policy(ledger: Ledger, write: Exchange) -> bool:
    return ledger.history.terms.policy.status_not_open in {None, write.status}


@clause(
    "EXP-4",
    "Expiring an unknown id answers 404.",
    source=ASSUMED,
)
def an_unknown_session_cannot_be_expired(ledger: Ledger) -> Findings:
    if ledger.history.terms.others_act:
        return  # an id that no answer named may be older than the record
    known = set(ledger.sessions)
    for exchange in ledger.history.of(Operation.LIST):
        known.update(str(entry.get("id")) for entry in entries_of(exchange))
    for exchange in ledger.history.of(Operation.EXPIRE):
        if exchange.request.session_id not in known and not exchange.is_lost and not ledger.key_was_seen(exchange):
            yield kept_if(exchange.status == 404, "404 for an unknown id", exchange.status, exchange)


@clause(
    "EXP-5",
    "An expired session cannot be paid.",
    source=DOCUMENTED,
    needs=(PAY,),
)
def an_expired_session_cannot_be_paid(ledger: Ledger) -> Findings:
    for observed, write, state in writes(ledger, Operation.PAY, "expired", act=oracle.Act.PAYMENT_SUCCEEDED):
        yield kept_if(not write.succeeded, "the payment refused", write.status, *story_before(observed, write))
        yield from nothing_changed(ledger, observed, write, state)
    for observed, press, state in presses(ledger, "expired"):
        deceived = press.page_act == "pay-card" and ledger.leads_on(observed, press)
        yield kept_if(
            not deceived, "the payment refused", "the customer at success_url", *story_before(observed, press)
        )
        yield from nothing_changed(ledger, observed, press, state)


@clause(
    "EXP-6",
    "The hosted page of an expired session says that it is expired, and has no form to pay.",
    source=DOCUMENTED,
    needs=(PAGE,),
)
def the_page_of_an_expired_session_says_so(ledger: Ledger) -> Findings:
    yield from ended_pages(ledger, "expired", "expired")
    for exchange in ledger.history.exchanges:
        observed = ledger.sessions.get(exchange.page_of or "")
        if observed is None or exchange.page_act not in VIEWS or exchange.reply is None:
            continue
        state = ledger.state_before(observed, exchange)
        away = exchange.reply.header("location") if 300 <= exchange.reply.status < 400 else None
        if state is not None and state.status == "expired" and away is not None and _is_of_shop(observed, away):
            yield broken(
                "a page that says expired", f"the customer at {away}", *before_page(observed, exchange), exchange
            )


def _is_of_shop(observed: ObservedSession, url: str) -> bool:
    """Whether a URL leads to the shop."""
    body = observed.born.request.json
    given = [body.get(name) for name in ("success_url", "return_url", "cancel_url")] if isinstance(body, dict) else []
    hosts = {urlsplit(one).netloc.lower() for one in given if isinstance(one, str)}
    return urlsplit(url).netloc.lower() in hosts


@clause(
    "EXP-7",
    "At `expires_at` an open session is expired, without any request; one second earlier it is not.",
    source=DOCUMENTED,
    needs=(CLOCK,),
)
def a_session_expires_on_time(ledger: Ledger) -> Findings:
    for observed in ledger.sessions.values():
        moves = [e for e in ledger.history.clock_calls(observed.account) if e.request.method != "GET"]
        for exchange in observed.reads:
            yield from _on_time(ledger, observed, exchange, exchange.object.get("status"), moves)
        yield from _ended_on_time(ledger, observed, moves)
    for exchange in ledger.history.of(Operation.LIST):
        for entry in entries_of(exchange):
            named = ledger.sessions.get(str(entry.get("id")))
            if named is not None and named.account == exchange.account:
                yield from _on_time(ledger, named, exchange, entry.get("status"), [])


def _ended_on_time(ledger: Ledger, observed: ObservedSession, moves: list[Exchange]) -> Findings:
    """Judge the first write to a session, which nothing but the clock can have ended before."""
    if ledger.history.terms.others_act:
        return
    for write in observed.writes:
        state = ledger.state_before(observed, write)
        passed = ledger.deadline_passed(observed, write)
        if state is None or ledger.key_was_seen(write) or any(w.is_before(write) for w in observed.writes):
            continue
        if write.account != observed.account:
            continue  # another account's try is AUTH-5; what its page answers tells nothing yet
        if passed and write.succeeded:
            yield broken(
                f"expired at {observed.expires_at}",
                f"{write.request.path} still succeeds",
                observed.born,
                *moves[-1:],
                write,
            )
        near = passed is False and (ledger.clock_of(observed, write)[0] or 0) >= observed.expires_at - 60
        if near and write.refused and act_of(write) is not None:
            yield broken(
                f"open until {observed.expires_at}", f"{write.request.path} refused", observed.born, *moves[-1:], write
            )


def _on_time(
    ledger: Ledger, observed: ObservedSession, exchange: Exchange, seen: object, moves: list[Exchange]
) -> Findings:
    """Judge a view of a session that nothing but the clock can have ended."""
    if any(
        not exchange.is_before(write) and not (write.refused or act_of(write) in HARMLESS) for write in observed.writes
    ):
        return
    if ledger.history.terms.others_act and seen != "open":
        return  # whoever is not recorded may have ended it
    least, most = ledger.clock_of(observed, exchange)
    if least is not None and least >= observed.expires_at:
        recent = [move for move in moves if move.is_before(exchange)][-1:]
        yield kept_if(
            seen == "expired", f"expired at {observed.expires_at}, now {least}", seen, observed.born, *recent, exchange
        )
    elif most is not None and observed.expires_at - 60 <= most < observed.expires_at:
        recent = [move for move in moves if move.is_before(exchange)][-1:]
        yield kept_if(
            seen == "open", f"open until {observed.expires_at}, now {most}", seen, observed.born, *recent, exchange
        )


@clause(
    "EXP-8",
    "Expiring early does not touch `expires_at`.",
    source=ASSUMED,
)
def expiring_early_does_not_touch_the_deadline(ledger: Ledger) -> Findings:
    for observed, write, _ in writes(ledger, Operation.EXPIRE, "open"):
        if not write.succeeded:
            continue
        expected = observed.first.get("expires_at")
        yield kept_if(
            write.object.get("expires_at") == expected,
            f"expires_at {expected}",
            write.object.get("expires_at"),
            *story_before(observed, write),
        )
        for read in observed.reads:
            if write.is_before(read):
                seen = read.object.get("expires_at")
                yield kept_if(seen == expected, f"expires_at {expected}", seen, *story_before(observed, write), read)
                break
