"""RET: retrieving."""

from __future__ import annotations

from itertools import pairwise

from contract_tests.clauses.table import ASSUMED, DOCUMENTED, Findings, clause, kept_if
from contract_tests.history import Exchange, History, Json, Operation
from contract_tests.ledger import Life, act_of, differences, documented, entries_of, lasting


def _last_write(history: History, life: Life, read: Exchange) -> Exchange:
    """The last request that changed a session before a read and told so: its create, an expire, a payment."""
    told = [
        write
        for write in life.writes
        if write.operation in {Operation.EXPIRE, Operation.PAY}
        and write.succeeded
        and write.is_before(read)
        and write.object.get("id") == life.id
        and not history.ledger.may_be_replay(write)
    ]
    return told[-1] if told else life.born


@clause("RET-1", source=DOCUMENTED)
def a_session_is_as_last_written(history: History) -> Findings:
    """Retrieve returns the session, equal to what the last write returned."""
    ledger = history.ledger
    for exchange in history.of(Operation.RETRIEVE):
        life = ledger.lives.get(exchange.request.session_id or "")
        if life is None or life.account != exchange.account or not life.born.is_before(exchange):
            continue
        if exchange.is_lost:
            continue
        if not exchange.succeeded:
            yield kept_if(False, "the session", exchange.status, life.born, exchange)
            continue
        write = _last_write(history, life, exchange)
        expected, seen = lasting(write.object), lasting(exchange.object)
        differing = differences(expected, seen)
        if differing == ["expires_at"] and write.operation is Operation.EXPIRE:
            differing = []  # EXP-8
        wanted = {name: expected.get(name) for name in differing}
        yield kept_if(
            not differing, f"{wanted}", {name: seen.get(name) for name in differing}, life.born, write, exchange
        )
        state = ledger.state_before(life, exchange)
        acted = any(
            act_of(w) is not None and w.operation is not Operation.EXPIRE and not w.is_before(write)
            for w in life.writes
            if w.is_before(exchange) and w is not write
        )
        if state is None or acted or ledger.deadline_passed(life, exchange) is not False:
            continue  # after a payment PAY-1 and PAY-3 judge, after the deadline EXP-7
        shown = (exchange.object.get("status"), exchange.object.get("payment_status"))
        said = (write.object.get("status"), write.object.get("payment_status"))
        yield kept_if(shown == said, f"{said}", f"{shown}", life.born, write, exchange)


@clause("RET-2", source=ASSUMED)
def an_unknown_session_is_not_found(history: History) -> Findings:
    """Retrieving an unknown id answers 404."""
    known = _known_ids(history)
    for exchange in history.of(Operation.RETRIEVE):
        if exchange.request.session_id not in known and not exchange.is_lost:
            yield kept_if(exchange.status == 404, "404 for an unknown id", exchange.status, exchange)


def _known_ids(history: History) -> set[str]:
    """The ids that a target gave us in any answer."""
    known = set(history.ledger.lives)
    for exchange in history.of(Operation.LIST):
        known.update(str(entry.get("id")) for entry in entries_of(exchange))
    return known


@clause("RET-3", source=ASSUMED)
def reading_has_no_effect(history: History) -> Findings:
    """Reading has no effect: two reads with nothing in between are equal."""
    ledger = history.ledger
    for life in ledger.lives.values():
        for first, second in pairwise(life.reads):
            if not first.is_before(second):
                continue
            between = [w for w in life.writes if not (w.is_before(first) or second.is_before(w))]
            if between or ledger.deadline_passed(life, first) != ledger.deadline_passed(life, second):
                continue
            if ledger.deadline_passed(life, first) is None:
                continue
            was, now = documented(first.object), documented(second.object)
            differing = differences(was, now)
            wanted = {name: was.get(name) for name in differing}
            yield kept_if(
                not differing, f"{wanted}", {name: now.get(name) for name in differing}, life.born, first, second
            )
    yield from _lists_unmoved(history)


def _lists_unmoved(history: History) -> Findings:
    """The same list twice shows the same sessions in the same order, where only reads came in between."""
    last: dict[tuple[int | None, str], Exchange] = {}
    for exchange in history.exchanges:
        if exchange.request.method not in {"GET", "HEAD"} or exchange.page_of is not None:
            last.clear()
        elif (
            exchange.operation is Operation.LIST
            and exchange.succeeded
            and not exchange.request.parameters.get("status")
        ):
            key = (exchange.account, exchange.request.query)
            earlier = last.setdefault(key, exchange)
            if earlier is not exchange and history.ledger.is_quiet(exchange) and earlier.is_before(exchange):
                was, now = ([entry.get("id") for entry in entries_of(e)] for e in (earlier, exchange))
                yield kept_if(was == now, f"{was[:5]} as before", now[:5], earlier, exchange)


def _state_of(view: Exchange) -> tuple[Json, Json]:
    return view.object.get("status"), view.object.get("payment_status")


@clause("RET-4", source=ASSUMED)
def little_ever_changes(history: History) -> Findings:
    """Only `status` and `payment_status` ever change in a session's life."""
    for life in history.ledger.lives.values():
        first = lasting(life.first)
        views = [*life.reads]
        views += [
            w for w in life.writes if w.operation is Operation.EXPIRE and w.succeeded and w.object.get("id") == life.id
        ]
        for view in sorted(views, key=lambda exchange: exchange.number):
            seen = lasting(view.object)
            differing = differences(first, seen)
            early = [
                w for w in life.writes if w.operation is Operation.EXPIRE and w.succeeded and w.number <= view.number
            ]
            if differing == ["expires_at"] and early:
                continue  # EXP-8
            wanted = {name: first.get(name) for name in differing}
            story = (life.born, *(w for w in life.writes if w.number < view.number), view)
            yield kept_if(not differing, f"{wanted} for life", {name: seen.get(name) for name in differing}, *story)
        for earlier, later in pairwise(life.reads):
            was, now = (
                tuple(view.object.get(name) for name in ("status", "payment_status")) for view in (earlier, later)
            )
            if was[0] in {"complete", "expired"} and earlier.is_before(later):
                yield kept_if(was == now, f"{was} for life", f"{now}", life.born, *life.writes, earlier, later)
