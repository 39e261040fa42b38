"""RET: retrieving."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise

from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, IMPLIED, Findings, clause
from qashier_contract.clauses.writes import same_session
from qashier_contract.findings import Equals, StatusIs, expect
from qashier_contract.history import Exchange, Operation
from qashier_contract.ledger import CHANGING, Ledger, ObservedSession, act_of, documented, entries_of
from qashier_contract.places import EACH, in_body
from qashier_contract.statuses import SUCCESS, exactly


def _last_write(ledger: Ledger, observed: ObservedSession, read: Exchange) -> Exchange:
    """The last request that changed a session before a read and returned it: its create, an expire, a payment."""
    returned = [
        write
        for write in observed.writes
        if write.operation in {Operation.EXPIRE, Operation.PAY}
        and write.succeeded
        and write.is_before(read)
        and write.object.get("id") == observed.id
        and not ledger.may_be_replay(write)
    ]
    return returned[-1] if returned else observed.born


@clause("RET-1", "Retrieve returns the session, equal to what the last write returned.", source=DOCUMENTED)
def a_session_is_as_last_written(ledger: Ledger) -> Findings:
    for exchange in ledger.history.of(Operation.RETRIEVE):
        observed = ledger.sessions.get(exchange.request.session_id or "")
        if observed is None or observed.account != exchange.account or not observed.born.is_before(exchange):
            continue
        if exchange.is_lost or (exchange.status == 404 and ledger.may_be_gone(observed, exchange)):
            continue
        if not exchange.succeeded:
            yield expect(StatusIs(exchange, SUCCESS), "the session exists", observed.born)
            continue
        write = _last_write(ledger, observed, exchange)
        reason = f"as {write.operation.value} left it"
        excused = "expires_at" if write.operation is Operation.EXPIRE else ""  # EXP-8
        yield from same_session(exchange, write, reason, observed.born, excused=excused)
        state = ledger.state_before(observed, exchange)
        acted = any(
            act_of(w) is not None and w.operation is not Operation.EXPIRE and not w.is_before(write)
            for w in observed.writes
            if w.is_before(exchange) and w is not write
        )
        if state is None or acted or ledger.deadline_passed(observed, exchange) is not False:
            continue  # after a payment PAY-1 and PAY-3 judge, after the deadline EXP-7
        if ledger.may_have_ended_unseen(write.object, exchange.object):
            continue
        for name in sorted(CHANGING):
            yield expect(Equals(in_body(exchange, name), in_body(write, name)), reason, observed.born)


@clause("RET-2", "Retrieving an unknown id answers 404.", source=ASSUMED)
def an_unknown_session_is_not_found(ledger: Ledger) -> Findings:
    for exchange in of_unknown_ids(ledger, Operation.RETRIEVE):
        yield expect(StatusIs(exchange, exactly(404)), "the id is unknown")


def of_unknown_ids(ledger: Ledger, operation: Operation) -> Iterator[Exchange]:
    """The requests of a kind, answered, that name no session."""
    if ledger.history.terms.others_act:
        return  # an id that no answer named may be older than the record
    known = known_ids(ledger)
    for exchange in ledger.history.of(operation):
        if is_unknown(exchange.request.session_id, known, own=ledger.history.terms.own) and not exchange.is_lost:
            yield exchange


def known_ids(ledger: Ledger) -> frozenset[str]:
    """The ids that a target gave us in any answer."""
    known = set(ledger.sessions)
    for exchange in ledger.history.of(Operation.LIST):
        known.update(str(entry.get("id")) for entry in entries_of(exchange))
    return frozenset(known)


def is_unknown(session_id: str | None, known: Collection[str], *, own: bool) -> bool:
    """Whether an id names no session. Whether its case counts is left open on a target that is not our own mock."""
    if session_id in known:
        return False
    return own or (session_id or "").lower() not in {one.lower() for one in known}


@clause("RET-3", "Reading has no effect: two reads with nothing in between are equal.", source=IMPLIED)
def reading_has_no_effect(ledger: Ledger) -> Findings:
    for observed in ledger.sessions.values():
        for first, second in pairwise(observed.reads):
            if not first.is_before(second):
                continue
            between = [w for w in observed.writes if not (w.is_before(first) or second.is_before(w))]
            if between or ledger.deadline_passed(observed, first) != ledger.deadline_passed(observed, second):
                continue
            if ledger.deadline_passed(observed, first) is None:
                continue
            if ledger.may_have_ended_unseen(first.object, second.object):
                continue
            yield from same_session(second, first, "only reads came in between", observed.born, of=documented)
    yield from _lists_unmoved(ledger)


def _lists_unmoved(ledger: Ledger) -> Findings:
    """The same list twice shows the same sessions in the same order, where only reads came in between."""
    last: dict[tuple[int | None, str], Exchange] = {}
    for exchange in ledger.history.exchanges:
        if exchange.request.method not in {"GET", "HEAD"} or exchange.page_of is not None:
            last.clear()
        elif (
            exchange.operation is Operation.LIST
            and exchange.succeeded
            and not exchange.request.parameters.get("status")
        ):
            key = (exchange.account, exchange.request.query)
            earlier = last.setdefault(key, exchange)
            if earlier is not exchange and ledger.is_quiet(exchange) and earlier.is_before(exchange):
                ids = [in_body(one, "data", EACH, "id") for one in (exchange, earlier)]
                yield expect(Equals(*ids), "only reads came in between")


@clause("RET-4", "Only `status` and `payment_status` ever change in a session's life.", source=IMPLIED)
def little_ever_changes(ledger: Ledger) -> Findings:
    for observed in ledger.sessions.values():
        expires = [w for w in observed.writes if w.operation is Operation.EXPIRE and w.succeeded]
        shown = [*observed.reads, *(w for w in expires if w.object.get("id") == observed.id)]
        for view in sorted(shown, key=lambda exchange: exchange.number):
            excused = "expires_at" if any(w.number <= view.number for w in expires) else ""  # EXP-8
            writes = [w for w in observed.writes if w.number < view.number]
            yield from same_session(view, observed.born, "it never changes", *writes, excused=excused)
        for earlier, later in pairwise(observed.reads):
            ended = earlier.object.get("status") in {"complete", "expired"}
            if not ended or not earlier.is_before(later):
                continue
            for name in sorted(CHANGING):
                evidence = (observed.born, *observed.writes)
                yield expect(Equals(in_body(later, name), in_body(earlier, name)), "the session had ended", *evidence)
