"""LIS: the list, its pages, filters and cursors.

A real account is shared: other sessions are in it and arrive meanwhile. So these clauses judge our own sessions and
their order, and that something is *not* there only where nobody else was ever seen.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from qashier_contract import oracle
from qashier_contract.clauses.table import (
    ASSUMED,
    DOCUMENTED,
    KEPT,
    PUBLIC,
    Findings,
    Observation,
    broken,
    clause,
    kept_if,
)
from qashier_contract.document import shape_errors
from qashier_contract.history import Exchange, Operation
from qashier_contract.ledger import Ledger, Listing, ObservedSession, documented, entries_of, parse_query
from qashier_contract.values import differences, is_integer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def _stories(*sessions: ObservedSession) -> tuple[Exchange, ...]:
    """The exchanges that made some sessions what they are, few of them."""
    story: list[Exchange] = []
    for observed in sessions[:6]:
        story += [observed.born, *observed.writes[:3]]
    return tuple(story)


def _refused(ledger: Ledger) -> Iterator[tuple[Exchange, oracle.Query, str]]:
    """The lists with valid parameters that were refused, with the clause to which that is put down."""
    for exchange in ledger.history.of(Operation.LIST):
        query = parse_query(exchange)
        if isinstance(query, str) or exchange.succeeded or exchange.is_lost:
            continue
        cursor = query.starting_after or query.ending_before
        if cursor is not None and (
            cursor not in ledger.sessions or ledger.sessions[cursor].account != exchange.account
        ):
            continue
        filtered = [name for name, value in (("LIS-8", query.status), ("LIS-9", query.created)) if value]
        cursors = [name for name, value in (("LIS-5", query.starting_after), ("LIS-6", query.ending_before)) if value]
        features = [*filtered, *cursors]
        limited = "limit" in exchange.request.parameters and query.limit in {1, oracle.LIMIT_MOST}
        yield (
            exchange,
            query,
            features[0] if len(features) == 1 else "LIS-12" if features else "LIS-2" if limited else "LIS-1",
        )


def _refusals(ledger: Ledger, identifier: str) -> Findings:
    for exchange, _, cause in _refused(ledger):
        if cause == identifier:
            yield broken("a page", exchange.status, exchange)


def _refused_with(status: int | None, what: str, exchange: Exchange) -> Observation:
    """Judge that a list is refused: with any 4xx, or with the one that the policy names."""
    right = exchange.refused and status in {None, exchange.status}
    return kept_if(right, f"{status or '4xx'} for {what}", exchange.status, exchange)


def _pages(ledger: Ledger, identifier: str) -> Findings:
    """Judge the sessions of every page that is put down to a clause: none that does not belong, none left out."""
    yield from _refusals(ledger, identifier)
    for listing in ledger.listings:
        if listing.clause != identifier:
            continue
        exchange = listing.exchange
        sessions = ledger.sessions
        wrong = [session_id for session_id in listing.ids if session_id in listing.excluded]
        if wrong:
            expected = f"no session that the {listing.excluded[wrong[0]]} leaves out"
            yield broken(
                expected, f"{wrong[0]}", *_stories(sessions[wrong[0]], *_cursor_life(ledger, listing)), exchange
            )
            continue
        shown, due = set(listing.shown), listing.due
        instead = shown - set(due)
        missing = [
            observed
            for observed in due
            if observed not in shown and not any(ledger.is_tied(observed, other) for other in instead)
        ]
        if not missing and listing.remaining and len(listing.entries) < listing.query.limit:
            missing = [observed for observed in listing.matching if observed not in shown]
        story = _stories(*missing[:2], *_cursor_life(ledger, listing))
        if missing:
            yield broken(*_gap(missing[0], due, listing), *story, exchange)
        else:
            yield KEPT


def _gap(missing: ObservedSession, due: Sequence[ObservedSession], listing: Listing) -> tuple[str, str]:
    """Where a session ought to be on a page, and what is there."""
    place = due.index(missing) if missing in due else 0
    ids = list(listing.ids)
    if place == 0 or due[place - 1].id not in ids:
        return f"{missing.id} on the page", f"not there, of {len(ids)} shown"
    before = due[place - 1].id
    after = ids[ids.index(before) + 1 :]
    return f"{missing.id} after {before}", after[0] if after else f"the end, after {len(ids)} entries"


def _cursor_life(ledger: Ledger, listing: Listing) -> Sequence[ObservedSession]:
    observed = ledger.sessions.get(listing.cursor or "")
    return [] if observed is None else [observed]


@clause(
    "LIS-1",
    'A list is `{"object": "list", "data": […], "has_more": bool, "url": "/checkout/sessions"}`.',
    source=DOCUMENTED,
)
def a_list_has_its_shape(ledger: Ledger) -> Findings:
    for exchange in ledger.history.of(Operation.LIST):
        if not exchange.succeeded:
            continue
        body = exchange.json
        envelope = (
            {**body, "data": [] if isinstance(body.get("data"), list) else body.get("data")}
            if isinstance(body, dict)
            else body
        )
        if isinstance(body, dict) and "data" not in body:
            envelope.pop("data")
        errors = shape_errors("CheckoutSessionList", envelope)
        strays = (
            len(body["data"]) - len(entries_of(exchange))
            if isinstance(body, dict) and isinstance(body.get("data"), list)
            else 0
        )
        seen = "; ".join(f"{path or 'body'}: {message}" for path, message in errors[:3])
        yield kept_if(not errors, "the shape of a list", seen, exchange)
        yield kept_if(not strays, "entries that are sessions", f"{strays} that are no objects", exchange)
    yield from _refusals(ledger, "LIS-1")


@clause(
    "LIS-2",
    "`limit` is 1 to 100, 10 by default; anything else is refused with 4xx.",
    source=DOCUMENTED,
)
def limit_has_bounds(ledger: Ledger) -> Findings:
    yield from _refusals(ledger, "LIS-2")
    for exchange in ledger.history.of(Operation.LIST):
        if parse_query(exchange) == "LIS-2" and not exchange.is_lost:
            limit = exchange.request.parameters.get("limit")
            yield _refused_with(ledger.history.terms.policy.status_invalid, f"limit={limit}", exchange)
    for listing in ledger.listings:
        count = len(listing.entries)
        if "limit" in listing.exchange.request.parameters:
            if listing.query.limit in {1, oracle.LIMIT_MOST}:
                yield KEPT
        elif not listing.is_plain and count <= oracle.LIMIT_DEFAULT:
            continue
        elif count > oracle.LIMIT_DEFAULT or (
            count < oracle.LIMIT_DEFAULT and len(listing.matching) >= oracle.LIMIT_DEFAULT
        ):
            yield broken("10 entries by default", count, *_stories(*listing.matching[:1]), listing.exchange)
        elif count == oracle.LIMIT_DEFAULT:
            yield KEPT


@clause(
    "LIS-3",
    "A page has at most `limit` entries, and exactly `limit` when that many match.",
    source=DOCUMENTED,
)
def a_page_is_full(ledger: Ledger) -> Findings:
    for listing in ledger.listings:
        count, limit = len(listing.entries), listing.query.limit
        if "limit" not in listing.exchange.request.parameters and listing.is_plain:
            continue  # LIS-2
        yield kept_if(count <= limit, f"at most {limit} entries", count, listing.exchange)
        surely = [observed for observed in listing.matching if observed.id not in listing.uncertain]
        missing = [observed for observed in surely if observed.id not in listing.ids]
        if count < limit and len(surely) >= limit:
            yield broken(
                f"{limit} entries, as at least {len(surely)} match", count, *_stories(*surely[:1]), listing.exchange
            )
        elif count < limit and missing and listing.is_plain:
            yield broken(
                f"{missing[0].id}, as there is room", f"{count} entries", *_stories(missing[0]), listing.exchange
            )


@clause(
    "LIS-4",
    "A list is newest first; sessions of the same second come in reverse order of creation, the same in every answer.",
    source=PUBLIC,
)
def newest_first(ledger: Ledger) -> Findings:
    for listing in ledger.listings:
        exchange = listing.exchange
        times = [entry.get("created") for entry in listing.entries]
        for earlier, later in pairwise(times):
            if is_integer(earlier) and is_integer(later) and earlier < later:
                yield broken("created descending", f"{earlier} before {later}", exchange)
                break
        ours = [ledger.sessions[i] for i in listing.ids if i in ledger.sessions and i not in listing.uncertain]
        for first, second in pairwise(ours):
            if ledger.is_tied(first, second):
                continue
            right = (first.created, first.ordinal) > (second.created, second.ordinal)
            if first is not second:
                story = sorted((first, second), key=lambda observed: observed.ordinal)
                yield kept_if(
                    right, f"{second.id} before {first.id}", "the other way round", *_stories(*story), exchange
                )
    for finding in _pages(ledger, "LIS-4"):
        if finding is not None:
            yield finding


@clause(
    "LIS-5",
    "`starting_after=ID` gives the entries directly after ID, ID left out.",
    source=DOCUMENTED,
)
def starting_after_goes_on(ledger: Ledger) -> Findings:
    yield from _pages(ledger, "LIS-5")


@clause(
    "LIS-6",
    "`ending_before=ID` gives the `limit` entries directly before ID, ID left out, in the same newest-first order.",
    source=DOCUMENTED,
)
def ending_before_goes_back(ledger: Ledger) -> Findings:
    yield from _pages(ledger, "LIS-6")
    for listing in ledger.listings:
        if listing.query.ending_before is None:
            continue
        ours = [ledger.sessions[i] for i in listing.ids if i in ledger.sessions and i not in listing.uncertain]
        ranks = [(observed.created, observed.ordinal) for observed in ours]
        if len(ranks) > 1 and not any(ledger.is_tied(a, b) for a, b in pairwise(ours)):
            story = _stories(*sorted(ours, key=lambda observed: observed.ordinal)[:3])
            yield kept_if(
                ranks == sorted(ranks, reverse=True), "newest first", "another order", *story, listing.exchange
            )


@clause(
    "LIS-7",
    "`has_more` is true exactly when the walk in that direction has more entries.",
    source=DOCUMENTED,
)
def has_more_is_true_when_there_is_more(ledger: Ledger) -> Findings:
    for listing in ledger.listings:
        if not isinstance(listing.has_more, bool) or set(listing.ids) & set(listing.excluded):
            continue
        story = (*_stories(*listing.matching[:2]), listing.exchange)
        if len(listing.entries) < listing.query.limit and listing.remaining:
            continue  # a page that is not full: LIS-3
        if listing.remaining:
            yield kept_if(listing.has_more, f"has_more true: {listing.remaining} more match", False, *story)
        elif listing.is_exact:
            yield kept_if(not listing.has_more, "has_more false: nothing more matches", True, *story)


@clause(
    "LIS-8",
    "`status` keeps just the sessions of that status, as of now.",
    source=DOCUMENTED,
)
def status_filters(ledger: Ledger) -> Findings:
    yield from _pages(ledger, "LIS-8")
    for listing in ledger.listings:
        if listing.query.status:
            others = [entry for entry in listing.entries if entry.get("status") != listing.query.status]
            seen = others[0].get("status") if others else None
            yield kept_if(not others, f"only {listing.query.status} sessions", seen, listing.exchange)
    for exchange in ledger.history.of(Operation.LIST):
        asked = exchange.request.parameters.get("status", "open").lower()
        if asked not in {"open", "complete", "expired"}:
            # Refused or not, no session has that status.
            odd = [entry.get("status") for entry in entries_of(exchange) if entry.get("status") != asked]
            yield kept_if(not odd, f"no session for the status {asked!r}", odd[:3], exchange)


@clause(
    "LIS-9",
    "`created[gt|gte|lt|lte]` keeps just the sessions created in the interval; bounds combine.",
    source=DOCUMENTED,
)
def created_filters(ledger: Ledger) -> Findings:
    yield from _pages(ledger, "LIS-9")
    for listing in ledger.listings:
        if listing.query.created:
            times = [entry.get("created") for entry in listing.entries]
            outside = [time for time in times if is_integer(time) and not listing.query.keeps(time)]
            yield kept_if(not outside, f"created within {listing.query.created}", outside[:3], listing.exchange)


@clause(
    "LIS-10",
    "When nothing matches, `data` is empty and `has_more` is false.",
    source=DOCUMENTED,
)
def nothing_matches(ledger: Ledger) -> Findings:
    for exchange in ledger.history.of(Operation.LIST):
        query = parse_query(exchange)
        if isinstance(query, str) or exchange.account is None or exchange.is_lost:
            continue
        _, now = ledger.clock(exchange)
        # Nothing can have been created in the future, or inside an interval that is empty, whoever uses the account.
        lower = [epoch for bound, epoch in query.created if bound in {"gt", "gte"}]
        upper = [epoch for bound, epoch in query.created if bound in {"lt", "lte"}]
        impossible = bool(lower and upper and max(lower) > min(upper)) or bool(
            lower and now is not None and max(lower) > now + 60
        )
        cursor = query.starting_after or query.ending_before
        if cursor is not None and (
            cursor not in ledger.sessions or ledger.sessions[cursor].account != exchange.account
        ):
            continue
        listing = next((one for one in ledger.listings if one.exchange is exchange), None)
        bare = listing is not None and listing.is_exact and not listing.matching
        if not impossible and not bare:
            continue
        if not exchange.succeeded:
            yield broken("an empty list", exchange.status, exchange)
            continue
        data, more = exchange.object.get("data"), exchange.object.get("has_more")
        seen = f"{len(data)} entries" if isinstance(data, list) else repr(data)
        yield kept_if(data == [] and more is False, "data empty, has_more false", f"{seen}, has_more {more}", exchange)


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
        met = [str(entry.get("id")) for page in walk for entry in entries_of(page)]
        twice = sorted({session_id for session_id in met if met.count(session_id) > 1})
        if twice:
            yield broken("every session once", f"{twice[0]} twice", *walk)
            continue
        first, last = by_number.get(walk[0].number), by_number.get(walk[-1].number)
        ended = walk[-1].object.get("has_more") is False
        if first is None or last is None or not ended or "starting_after" not in walk[-1].request.parameters:
            yield KEPT
            continue
        # What matched before the walk and still matches after it, must have been met.
        lasting = [observed for observed in first.matching if _still_matches(ledger, observed, walk)]
        missed = [observed for observed in lasting if observed.id not in met]
        story = _stories(*missed[:1])
        yield kept_if(not missed, f"{missed[0].id} on some page" if missed else "", f"{len(met)} others", *story, *walk)


def _still_matches(ledger: Ledger, observed: ObservedSession, walk: Sequence[Exchange]) -> bool:
    status = walk[0].request.parameters.get("status")
    if status is None:
        return True
    states = [ledger.state_before(observed, exchange) for exchange in walk]
    return all(state is not None and state.status == status for state in states)


@clause(
    "LIS-12",
    "Filters and cursors combine; a cursor that the filter would leave out still marks its place.",
    source=ASSUMED,
)
def filters_and_cursors_combine(ledger: Ledger) -> Findings:
    yield from _pages(ledger, "LIS-12")


@clause(
    "LIS-13",
    "Both cursors at once are refused with 4xx, and so is a cursor that names no session of this account.",
    source=ASSUMED,
)
def cursors_that_make_no_sense_are_refused(ledger: Ledger) -> Findings:
    known = set(ledger.sessions)
    for exchange in ledger.history.of(Operation.LIST):
        known.update(str(entry.get("id")) for entry in entries_of(exchange))
    for exchange in ledger.history.of(Operation.LIST):
        if exchange.is_lost:
            continue
        query = parse_query(exchange)
        if query == "LIS-13":
            empty = "" in exchange.request.parameters.values()
            status = None if empty else ledger.history.terms.policy.status_rule
            yield _refused_with(status, "an empty cursor" if empty else "both cursors at once", exchange)
        elif isinstance(query, oracle.Query):
            cursor = query.starting_after if query.starting_after is not None else query.ending_before
            if ledger.history.terms.others_act:
                continue  # an id that no answer named may be older than the record
            if cursor is not None and cursor not in known:
                yield _refused_with(
                    ledger.history.terms.policy.status_rule, f"the unknown cursor {cursor[:60]}", exchange
                )


@clause(
    "LIS-14",
    "An entry of a list equals what retrieve returns.",
    source=DOCUMENTED,
)
def an_entry_is_the_session(ledger: Ledger) -> Findings:
    for exchange in ledger.history.of(Operation.LIST):
        for entry in entries_of(exchange):
            observed = ledger.sessions.get(str(entry.get("id")))
            if observed is None or observed.account != exchange.account:
                continue
            near = [read for read in observed.reads if not read.overlaps(exchange)]
            if not near:
                continue
            read = min(near, key=lambda one: abs(one.number - exchange.number))
            first, second = sorted((read, exchange), key=lambda one: one.number)
            quiet = not any(first.sent_ns <= w.received_ns and w.sent_ns <= second.received_ns for w in observed.writes)
            passed = ledger.deadline_passed(observed, first)
            if not quiet or passed is None or passed != ledger.deadline_passed(observed, second):
                continue
            views = (read.object, entry) if first is read else (entry, read.object)
            if ledger.may_have_ended_unseen(*views):
                continue
            was, now = documented(read.object), documented(entry)
            differing = differences(was, now)
            wanted = {name: was.get(name) for name in differing}
            story = (observed.born, *observed.writes[:3], first, second)
            yield kept_if(not differing, f"{wanted}, as retrieved", {name: now.get(name) for name in differing}, *story)
