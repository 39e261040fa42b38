"""RET: retrieving."""

from __future__ import annotations

from itertools import pairwise

from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, IMPLIED, Findings, clause, kept_if
from qashier_contract.history import Exchange, Operation
from qashier_contract.ledger import Ledger, ObservedSession, act_of, documented, entries_of, lasting
from qashier_contract.values import Json, differences


def _last_write(ledger: Ledger, observed: ObservedSession, read: Exchange) -> Exchange:
    """The last request that changed a session before a read and told so: its create, an expire, a payment."""
    told = [
        write
        for write in observed.writes
        if write.operation in {Operation.EXPIRE, Operation.PAY}
        and write.succeeded
        and write.is_before(read)
        and write.object.get("id") == observed.id
        and not ledger.may_be_replay(write)
    ]
    return told[-1] if told else observed.born


@clause(
    "RET-1",
    "Retrieve returns the session, equal to what the last write returned.",
    source=DOCUMENTED,
)
def a_session_is_as_last_written(ledger: Ledger) -> Findings:
    for exchange in ledger.history.of(Operation.RETRIEVE):
        observed = ledger.sessions.get(exchange.request.session_id or "")
        if observed is None or observed.account != exchange.account or not observed.born.is_before(exchange):
            continue
        if exchange.is_lost:
            continue
        if not exchange.succeeded:
            yield kept_if(False, "the session", exchange.status, observed.born, exchange)
            continue
        write = _last_write(ledger, observed, exchange)
        expected, seen = lasting(write.object), lasting(exchange.object)
        differing = differences(expected, seen)
        if differing == ["expires_at"] and write.operation is Operation.EXPIRE:
            differing = []  # EXP-8
        wanted = {name: expected.get(name) for name in differing}
        yield kept_if(
            not differing, f"{wanted}", {name: seen.get(name) for name in differing}, observed.born, write, exchange
        )
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
        shown = (exchange.object.get("status"), exchange.object.get("payment_status"))
        said = (write.object.get("status"), write.object.get("payment_status"))
        yield kept_if(shown == said, f"{said}", f"{shown}", observed.born, write, exchange)


@clause(
    "RET-2",
    "Retrieving an unknown id answers 404.",
    source=ASSUMED,
)
def an_unknown_session_is_not_found(ledger: Ledger) -> Findings:
    if ledger.history.terms.others_act:
        return  # an id that no answer named may be older than the record
    known = _known_ids(ledger)
    for exchange in ledger.history.of(Operation.RETRIEVE):
        if exchange.request.session_id not in known and not exchange.is_lost:
            yield kept_if(exchange.status == 404, "404 for an unknown id", exchange.status, exchange)


def _known_ids(ledger: Ledger) -> set[str]:
    """The ids that a target gave us in any answer."""
    known = set(ledger.sessions)
    for exchange in ledger.history.of(Operation.LIST):
        known.update(str(entry.get("id")) for entry in entries_of(exchange))
    return known


@clause(
    "RET-3",
    "Reading has no effect: two reads with nothing in between are equal.",
    source=IMPLIED,
)
def reading_has_no_effect(ledger: Ledger) -> Findings:
    for observed in ledger.sessions.values():
        for first, second in pairwise(observed.reads):
            if not first.is_before(second):
                continue
            between = [w for w in observed.writes if not (w.is_before(first) or second.is_before(w))]
            if between or ledger.deadline_passed(observed, first) != ledger.deadline_passed(observed, second):
                continue
            if ledger.deadline_passed(observed, first) is None or ledger.may_have_ended_unseen(
                first.object, second.object
            ):
                continue
            was, now = documented(first.object), documented(second.object)
            differing = differences(was, now)
            wanted = {name: was.get(name) for name in differing}
            yield kept_if(
                not differing, f"{wanted}", {name: now.get(name) for name in differing}, observed.born, first, second
            )
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
                was, now = ([entry.get("id") for entry in entries_of(e)] for e in (earlier, exchange))
                yield kept_if(was == now, f"{was[:5]} as before", now[:5], earlier, exchange)


def _state_of(view: Exchange) -> tuple[Json, Json]:
    return view.object.get("status"), view.object.get("payment_status")


@clause(
    "RET-4",
    "Only `status` and `payment_status` ever change in a session's life.",
    source=IMPLIED,
)
def little_ever_changes(ledger: Ledger) -> Findings:
    for observed in ledger.sessions.values():
        first = lasting(observed.first)
        views = [*observed.reads]
        views += [
            w
            for w in observed.writes
            if w.operation is Operation.EXPIRE and w.succeeded and w.object.get("id") == observed.id
        ]
        for view in sorted(views, key=lambda exchange: exchange.number):
            seen = lasting(view.object)
            differing = differences(first, seen)
            early = [
                w
                for w in observed.writes
                if w.operation is Operation.EXPIRE and w.succeeded and w.number <= view.number
            ]
            if differing == ["expires_at"] and early:
                continue  # EXP-8
            wanted = {name: first.get(name) for name in differing}
            story = (observed.born, *(w for w in observed.writes if w.number < view.number), view)
            yield kept_if(not differing, f"{wanted} for life", {name: seen.get(name) for name in differing}, *story)
        for earlier, later in pairwise(observed.reads):
            was, now = (
                tuple(view.object.get(name) for name in ("status", "payment_status")) for view in (earlier, later)
            )
            if was[0] in {"complete", "expired"} and earlier.is_before(later):
                yield kept_if(was == now, f"{was} for life", f"{now}", observed.born, *observed.writes, earlier, later)
