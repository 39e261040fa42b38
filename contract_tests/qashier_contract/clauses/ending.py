"""EXP: how a session expires."""

from __future__ import annotations

from collections.abc import Sequence

from qashier_contract import oracle
from qashier_contract.addresses import parts_of
from qashier_contract.clauses.read import of_unknown_ids
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, Findings, clause
from qashier_contract.clauses.writes import (
    HARMLESS,
    before_page,
    ended_pages,
    listed,
    not_thanked,
    nothing_changed,
    presses,
    same_session,
    story_before,
    visits,
    writes,
)
from qashier_contract.findings import Equals, StatusIs, expect
from qashier_contract.history import Capability, Exchange, Operation
from qashier_contract.ledger import Ledger, ObservedSession, act_of
from qashier_contract.places import At, in_body
from qashier_contract.statuses import NO_SUCCESS, NOT_REFUSED, REFUSED, SUCCESS, exactly


@clause("EXP-1", "Expiring an open session returns it with `status` `expired`.", source=DOCUMENTED)
def an_open_session_can_be_expired(ledger: Ledger) -> Findings:
    for observed, write, state in writes(ledger, Operation.EXPIRE, "open"):
        evidence = story_before(observed, write)
        yield expect(StatusIs(write, SUCCESS), "the session is open", *evidence)
        if write.succeeded:
            yield expect(Equals(in_body(write, "id"), in_body(observed.born, "id")), "", *evidence)
            yield expect(Equals(in_body(write, "status"), "expired"), "the request expired it", *evidence)
            yield from same_session(write, observed.born, "expiring changes nothing else", *evidence)
            reason = "expiring changes nothing else"
            yield expect(Equals(in_body(write, "payment_status"), state.payment_status), reason, *evidence)
            read = ledger.following_read(observed, write)
            if read is not None:
                yield expect(Equals(in_body(read, "status"), "expired"), "a request expired it", *evidence)


@clause("EXP-2", "Expiring an expired session is refused with 4xx, and nothing changes.", source=DOCUMENTED)
def an_expired_session_cannot_be_expired(ledger: Ledger) -> Findings:
    for observed, write, state in writes(ledger, Operation.EXPIRE, "expired"):
        yield expect(_refused(ledger, write), "the session is expired", *story_before(observed, write))
        if write.refused:
            yield from nothing_changed(ledger, observed, write, state, "the expire was refused")


@clause(
    "EXP-3",
    "Expiring a complete session is refused with 4xx, and nothing changes.",
    source=DOCUMENTED,
    needs=(Capability.PAY,),
)
def a_complete_session_cannot_be_expired(ledger: Ledger) -> Findings:
    for observed, write, state in writes(ledger, Operation.EXPIRE, "complete"):
        yield expect(_refused(ledger, write), "the session is complete", *story_before(observed, write))
        yield from nothing_changed(ledger, observed, write, state, "the session is complete")


def _refused(ledger: Ledger, write: Exchange) -> StatusIs:
    """That a write is refused, with any 4xx or with the one that the policy names."""
    status = ledger.history.terms.policy.status_not_open
    return StatusIs(write, REFUSED if status is None else exactly(status))


@clause("EXP-4", "Expiring an unknown id answers 404.", source=ASSUMED)
def an_unknown_session_cannot_be_expired(ledger: Ledger) -> Findings:
    for exchange in of_unknown_ids(ledger, Operation.EXPIRE):
        if not ledger.key_was_seen(exchange):
            yield expect(StatusIs(exchange, exactly(404)), "the id is unknown")


@clause("EXP-5", "An expired session cannot be paid.", source=DOCUMENTED, needs=(Capability.PAY,))
def an_expired_session_cannot_be_paid(ledger: Ledger) -> Findings:
    reason = "paid after it expired"
    for observed, write, state in writes(ledger, Operation.PAY, "expired", act=oracle.Act.PAYMENT_SUCCEEDED):
        yield expect(StatusIs(write, NO_SUCCESS), reason, *story_before(observed, write))
        yield from nothing_changed(ledger, observed, write, state, reason)
    for observed, press, state in presses(ledger, "expired"):
        yield from not_thanked(ledger, observed, press, reason)
        pressed = reason if act_of(press) is oracle.Act.PAYMENT_SUCCEEDED else "pressed after it expired"
        yield from nothing_changed(ledger, observed, press, state, pressed)


@clause(
    "EXP-6",
    "The hosted page of an expired session says that it is expired, and has no form to pay.",
    source=DOCUMENTED,
    needs=(Capability.PAGE,),
)
def the_page_of_an_expired_session_says_so(ledger: Ledger) -> Findings:
    yield from ended_pages(ledger, "expired")
    for observed, exchange in visits(ledger):
        state, reply = ledger.state_before(observed, exchange), exchange.reply
        away = reply.header("location") if reply is not None and 300 <= reply.status < 400 else None
        if state is not None and state.status == "expired" and away is not None and _is_of_shop(observed, away):
            reason = "a page says that it is expired, the shop does not"
            yield expect(StatusIs(exchange, exactly(200)), reason, *before_page(observed, exchange))


def _is_of_shop(observed: ObservedSession, url: str) -> bool:
    """Whether a URL leads to the shop."""
    body = observed.born.request.json
    given = [body.get(name) for name in ("success_url", "return_url", "cancel_url")] if isinstance(body, dict) else []
    hosts = {parts_of(one).netloc.lower() for one in given if isinstance(one, str)}
    return parts_of(url).netloc.lower() in hosts


@clause(
    "EXP-7",
    "At `expires_at` an open session is expired, without any request; one second earlier it is not.",
    source=DOCUMENTED,
    needs=(Capability.CLOCK,),
)
def a_session_expires_on_time(ledger: Ledger) -> Findings:
    for observed in ledger.sessions.values():
        moves = [e for e in ledger.history.clock_calls(observed.account) if e.request.method != "GET"]
        # What was refused or accepted comes first: it says more than what a look at the session showed afterwards.
        yield from _ended_on_time(ledger, observed, moves)
        for exchange in observed.reads:
            yield from _on_time(ledger, observed, in_body(exchange, "status"), exchange, moves)
    for observed, exchange, place, _ in listed(ledger):
        yield from _on_time(ledger, observed, in_body(exchange, "data", place, "status"), exchange, [])


def _ended_on_time(ledger: Ledger, observed: ObservedSession, moves: Sequence[Exchange]) -> Findings:
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
            reason = f"it expired at {observed.expires_at}"
            yield expect(StatusIs(write, NO_SUCCESS), reason, observed.born, *moves[-1:])
        near = passed is False and (ledger.clock_of(observed, write)[0] or 0) >= observed.expires_at - 60
        if near and write.refused and act_of(write) is not None:
            reason = f"it is open until {observed.expires_at}"
            yield expect(StatusIs(write, NOT_REFUSED), reason, observed.born, *moves[-1:])


def _on_time(
    ledger: Ledger, observed: ObservedSession, status: At, exchange: Exchange, moves: Sequence[Exchange]
) -> Findings:
    """Judge a view of a session that nothing but the clock can have ended."""
    if any(
        not exchange.is_before(write) and not (write.refused or act_of(write) in HARMLESS) for write in observed.writes
    ):
        return
    if ledger.history.terms.others_act and status.value != "open":
        return  # whoever is not recorded may have ended it
    least, most = ledger.clock_of(observed, exchange)
    recent = [move for move in moves if move.is_before(exchange)][-1:]
    if least is not None and least >= observed.expires_at:
        reason = f"expires_at is {observed.expires_at}, the clock shows {least}"
        yield expect(Equals(status, "expired"), reason, observed.born, *recent)
    elif most is not None and observed.expires_at - 60 <= most < observed.expires_at:
        reason = f"expires_at is {observed.expires_at}, the clock shows {most}"
        yield expect(Equals(status, "open"), reason, observed.born, *recent)


@clause("EXP-8", "Expiring early does not touch `expires_at`.", source=ASSUMED)
def expiring_early_does_not_touch_the_deadline(ledger: Ledger) -> Findings:
    reason = "expiring early does not touch it"
    for observed, write, _ in writes(ledger, Operation.EXPIRE, "open"):
        if not write.succeeded:
            continue
        due = in_body(observed.born, "expires_at")
        yield expect(Equals(in_body(write, "expires_at"), due), reason, *story_before(observed, write))
        read = next((read for read in observed.reads if write.is_before(read)), None)
        if read is not None:
            yield expect(Equals(in_body(read, "expires_at"), due), reason, *story_before(observed, write))
