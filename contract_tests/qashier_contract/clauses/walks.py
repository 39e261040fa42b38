"""LIS-11: walking all pages of a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qashier_contract.clauses.listing import ids_in, stories_of
from qashier_contract.clauses.table import DOCUMENTED, KEPT, Findings, clause
from qashier_contract.findings import Contains, Counts, expect
from qashier_contract.history import Exchange, Operation
from qashier_contract.ledger import Ledger, ObservedSession, entries_of, parse_query
from qashier_contract.places import Where, in_body


def walks(ledger: Ledger) -> Iterator[list[Exchange]]:
    """The sequences of lists in which each goes on where the one before it ended, from a list without a cursor until
    one says that there is no more, or an empty page.
    """
    lists = [e for e in ledger.history.of(Operation.LIST) if e.succeeded and not isinstance(parse_query(e), str)]
    used: set[int] = set()
    for start in lists:
        if {"starting_after", "ending_before"} & start.request.parameters.keys():
            continue
        for name, end in (("starting_after", -1), ("ending_before", 0)):
            walk = [start]
            while walk[-1].object.get("has_more") is True or (len(walk) == 1 and name == "ending_before"):
                entries = entries_of(walk[-1])
                if not entries or len(walk) > 200:
                    break
                following = next(
                    (
                        e
                        for e in lists
                        if e.account == start.account
                        and e.number not in used
                        and walk[-1].is_before(e)
                        and e.request.parameters.get(name) == entries[end].get("id")
                        and _filters(e) == _filters(start)
                    ),
                    None,
                )
                if following is None:
                    break
                walk.append(following)
                used.add(following.number)
            if len(walk) > 1:
                yield walk


def _filters(exchange: Exchange) -> dict[str, str]:
    cursors = {"starting_after", "ending_before"}
    return {name: value for name, value in exchange.request.parameters.items() if name not in cursors}


@clause(
    "LIS-11",
    "Walking all pages, either way, meets every matching session once, also while others are created.",
    source=DOCUMENTED,
)
def a_walk_meets_every_session_once(ledger: Ledger) -> Findings:
    by_number = {listing.exchange.number: listing for listing in ledger.listings}
    for walk in walks(ledger):
        met: dict[str, Exchange] = {}
        twice: list[tuple[str, Exchange]] = []
        for page in walk:
            for entry in entries_of(page):
                session_id = str(entry.get("id"))
                if session_id in met:
                    twice.append((session_id, page))
                met.setdefault(session_id, page)
        if twice:
            session_id, page = twice[0]
            wanted: Contains | Counts = Contains(ids_in(page), session_id, absent=True)
            if met[session_id] is page:
                wanted = Counts(in_body(page, "data", Where(("id",), session_id), "id"), 1, 1)
            yield expect(wanted, "the walk has met it before", *walk, about="twice")
            continue
        first, last = by_number.get(walk[0].number), by_number.get(walk[-1].number)
        ended = walk[-1].object.get("has_more") is False
        if first is None or last is None or not ended or "starting_after" not in walk[-1].request.parameters:
            yield KEPT
            continue
        # What matched before the walk and still matches after it, must have been met.
        lasting = [observed for observed in first.matching if _still_matches(ledger, observed, walk)]
        missed = [observed for observed in lasting if observed.id not in met]
        for observed in missed[:1]:
            pages = [ids_in(page) for page in walk]
            reason = "some page of the walk has it"
            somewhere = Contains(pages[0], in_body(observed.born, "id"), elsewhere=tuple(pages[1:]))
            yield expect(somewhere, reason, *stories_of(observed), about="missed")
        if not missed:
            yield KEPT


def _still_matches(ledger: Ledger, observed: ObservedSession, walk: Sequence[Exchange]) -> bool:
    status = walk[0].request.parameters.get("status")
    if status is None:
        return True
    states = [ledger.state_before(observed, exchange) for exchange in walk]
    return all(state is not None and state.status == status for state in states)
