"""CON: what happens at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qashier_contract import oracle
from qashier_contract.clauses.table import IMPLIED, KEPT, Findings, clause
from qashier_contract.findings import Contains, Differs, Equals, Finding, OneOf, OneSucceeds, StatusIs, expect
from qashier_contract.history import Exchange, Operation, overlap
from qashier_contract.ledger import Ledger, ObservedSession, act_of, entries_of
from qashier_contract.linearizability import NEVER, Anomaly, Op, Saw, linearize
from qashier_contract.places import EACH, in_body
from qashier_contract.statuses import NO_SUCCESS, SUCCESS

_MADE = {
    oracle.Act.PAYMENT_SUCCEEDED: "complete",
    oracle.Act.EXPIRE_REQUESTED: "expired",
}
_STATUSES = frozenset({"open", "complete", "expired"})


@clause(
    "CON-1",
    "Any concurrent history of one session is linearizable: of pay, expire and the clock exactly one wins.",
    source=IMPLIED,
)
def concurrent_histories_are_linearizable(ledger: Ledger) -> Findings:
    if ledger.history.terms.others_act:
        return  # what nobody recorded may explain any answer
    for observed in ledger.sessions.values():
        concerned = list(_touches(ledger, observed))
        if not overlap([write for write in observed.writes if write in concerned] + _crossings(ledger, observed)):
            continue
        for read in (one for one in concerned if _is_torn(one)):
            reason = "it was paid in the instant in which it became complete"
            yield expect(Equals(in_body(read, "payment_status"), "paid"), reason, observed.born, *observed.writes)
        story = [(exchange, op) for exchange in concerned for op in _ops(ledger, observed, exchange)]
        anomaly = linearize([op for _, op in story])
        yield (
            KEPT if anomaly is None else _disagreement(observed, anomaly, [story[place][0] for place in anomaly.places])
        )


def _disagreement(observed: ObservedSession, anomaly: Anomaly, exchanges: Sequence[Exchange]) -> Finding:
    """What no order of a session's requests explains, as an expectation of one of them."""
    ending = [
        one for one in exchanges if one.succeeded and act_of(one) in _MADE and one.operation is not Operation.PAGE
    ]
    if len(ending) > 1:
        return expect(OneSucceeds(tuple(ending)), anomaly.reason, observed.born, *exchanges)
    reads = [one for one in exchanges if one.operation is Operation.RETRIEVE]
    if not reads:
        # Requests alone disagree: what was refused found the session ended, and what came later found it open.
        last = max(exchanges, key=lambda one: one.sent_ns)
        statuses = NO_SUCCESS if last.succeeded else SUCCESS
        return expect(StatusIs(last, statuses), anomaly.reason, observed.born, *exchanges)
    read = max(reads, key=lambda one: one.sent_ns)
    allowed = [status for status in sorted(_STATUSES) if status != read.object.get("status")]
    return expect(OneOf(in_body(read, "status"), tuple(allowed)), anomaly.reason, observed.born, *exchanges)


def _is_torn(read: Exchange) -> bool:
    """Whether a read shows half of a payment."""
    shown = (read.object.get("status"), read.object.get("payment_status"))
    return read.operation is Operation.RETRIEVE and shown == ("complete", "unpaid")


def _touches(ledger: Ledger, observed: ObservedSession) -> Iterator[Exchange]:
    """What read or wrote a session, with answers that tell of it: no replays, no other account."""
    for exchange in sorted(
        [*observed.writes, *observed.reads, *_crossings(ledger, observed)], key=lambda one: one.number
    ):
        if exchange.operation is Operation.PAGE:
            if act_of(exchange) in _MADE:
                yield exchange
        elif exchange.account == observed.account and not ledger.key_was_seen(exchange):
            yield exchange


def _crossings(ledger: Ledger, observed: ObservedSession) -> list[Exchange]:
    """The moves of the clock that took it past the session's deadline: they end it as well."""
    found, previous = [], observed.created
    for exchange, now in ledger.history.times(observed.account):
        if observed.born.is_before(exchange):
            if previous < observed.expires_at <= now:
                found.append(exchange)
            previous = max(previous, now)
    return found


def _ops(ledger: Ledger, observed: ObservedSession, exchange: Exchange) -> list[Op]:
    call, end = exchange.sent_ns, ledger.end_of(exchange).received_ns
    if exchange.operation is Operation.PAGE:
        # From the payment method's page the customer comes back whatever became of the payment (PAY-5).
        # Who presses twice may be thanked twice: that is no second payment.
        paid = exchange.page_act == "pay-card" and ledger.leads_on(observed, exchange)
        thanked = [Op(call, end, Saw.TERMINAL, "complete")] if paid else []
        return [Op(call, NEVER, Saw.UNKNOWN, "complete"), *thanked]
    if exchange.operation is Operation.CLOCK:
        return [Op(call, NEVER, Saw.UNKNOWN, "expired")]
    if exchange.operation is Operation.RETRIEVE:
        status = exchange.object.get("status")
        if status not in _STATUSES:
            return []
        return [Op(call, end, Saw.OPEN)] if status == "open" else [Op(call, end, Saw.TERMINAL, status)]
    act = act_of(exchange)
    made = _MADE.get(act) if act is not None else None
    if exchange.is_unknown:
        return [Op(call, NEVER, Saw.UNKNOWN, made)] if made else []
    if exchange.succeeded:
        return [Op(call, end, Saw.ENDED, made) if made else Op(call, end, Saw.OPEN)]
    return [Op(call, end, Saw.TERMINAL)] if exchange.refused and exchange.status != 404 else []


@clause("CON-2", "Concurrent creates give distinct ids, and all of them are listed.", source=IMPLIED)
def concurrent_creates_are_all_there(ledger: Ledger) -> Findings:
    creates = [
        exchange
        for exchange in ledger.history.of(Operation.CREATE)
        if exchange.succeeded and not ledger.key_was_seen(exchange)
    ]
    for index, exchange in enumerate(creates):
        partners = [
            other
            for other in creates[max(0, index - 32) : index + 32]
            if other is not exchange and other.account == exchange.account and other.overlaps(exchange)
        ]
        if not partners:
            continue
        session_id = exchange.object.get("id")
        twins = [other for other in partners if other.object.get("id") == session_id]
        if twins:
            yield expect(Differs(in_body(exchange, "id"), in_body(twins[0], "id")), "each create has its own id")
            continue
        lists = [
            page
            for page in ledger.history.of(Operation.LIST)
            if page.account == exchange.account and exchange.is_before(page) and _is_whole(page)
        ]
        if lists:
            listed = any(entry.get("id") == session_id for entry in entries_of(lists[0]))
            room = lists[0].object.get("has_more") is False and not ledger.may_lack(session_id, lists[0])
            if listed or room:
                ids = in_body(lists[0], "data", EACH, "id")
                yield expect(Contains(ids, in_body(exchange, "id")), "the list has room for all")


def _is_whole(page: Exchange) -> bool:
    """Whether a list has neither filter nor cursor, and room for a hundred."""
    return (
        page.succeeded and set(page.request.parameters) <= {"limit"} and page.request.parameters.get("limit") == "100"
    )
