"""LIS: the list, its pages, filters and cursors.

A real account is shared: other sessions are in it and arrive meanwhile. So these clauses judge our own sessions and
their order, and that something is *not* there only where nobody else was ever seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise

from qashier_contract import oracle
from qashier_contract.clauses.read import is_unknown, known_ids
from qashier_contract.clauses.shapes import misshapen
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, KEPT, PUBLIC, Findings, Observation, clause
from qashier_contract.clauses.writes import listed
from qashier_contract.findings import Contains, Counts, Equals, Finding, HasShape, Ordered, StatusIs, Within, expect
from qashier_contract.history import Exchange, Operation
from qashier_contract.ledger import (
    Ledger,
    Listing,
    ObservedSession,
    documented,
    entries_of,
    is_odd_filter,
    lasting,
    parse_query,
)
from qashier_contract.places import EACH, At, in_body
from qashier_contract.statuses import REFUSED, SUCCESS, exactly
from qashier_contract.values import Json, as_words, differing_paths, is_integer


def stories_of(*sessions: ObservedSession) -> tuple[Exchange, ...]:
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
        if ledger.is_strange(query.cursor, exchange) or ledger.may_lack(query.cursor, exchange):
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
            yield expect(StatusIs(exchange, SUCCESS), "its parameters are valid")


def _refused_with(status: int | None, reason: str, exchange: Exchange, *about: str) -> Finding:
    """That a list is refused: with any 4xx, or with the one that the policy names."""
    statuses = REFUSED if status is None else exactly(status)
    return expect(StatusIs(exchange, statuses), reason, about=", ".join(about))


def _ours(ledger: Ledger, listing: Listing) -> list[ObservedSession]:
    """Our sessions as a page shows them, without those that nobody can place."""
    return [ledger.sessions[i] for i in listing.ids if i in ledger.sessions and i not in listing.uncertain]


def ids_in(exchange: Exchange) -> At:
    return in_body(exchange, "data", EACH, "id")


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
            observed = sessions[wrong[0]]
            evidence = stories_of(observed, *_cursor_life(ledger, listing))
            member = in_body(observed.born, "id")
            reason = f"the {listing.excluded[wrong[0]]} leaves it out"
            yield expect(Contains(ids_in(exchange), member, absent=True), reason, *evidence)
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
        if missing:
            evidence = stories_of(*missing[:2], *_cursor_life(ledger, listing))
            reason = _reason(missing[0], due, listing)
            yield expect(Contains(ids_in(exchange), in_body(missing[0].born, "id")), reason, *evidence)
        else:
            yield KEPT


def _reason(missing: ObservedSession, due: Sequence[ObservedSession], listing: Listing) -> str:
    """Why a session ought to be on a page."""
    place = due.index(missing) if missing in due else 0
    if place == 0 or due[place - 1].id not in listing.ids:
        return "it matches, and the page has room or shows older ones"
    return f"it comes directly after {due[place - 1].id}"


def _cursor_life(ledger: Ledger, listing: Listing) -> Sequence[ObservedSession]:
    observed = ledger.sessions.get(listing.query.cursor or "")
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
        errors = misshapen(exchange, "CheckoutSessionList", envelope)
        yield from errors[:3]
        if not errors:
            yield KEPT
            entries = body["data"] if isinstance(body, dict) else []
            for place, entry in enumerate(entries):
                if not isinstance(entry, dict):
                    yield expect(HasShape(in_body(exchange, "data", place), "object"), "an entry is a session")
    yield from _refusals(ledger, "LIS-1")


@clause("LIS-2", "`limit` is 1 to 100, 10 by default; anything else is refused with 4xx.", source=DOCUMENTED)
def limit_has_bounds(ledger: Ledger) -> Findings:
    yield from _refusals(ledger, "LIS-2")
    for exchange in ledger.history.of(Operation.LIST):
        if parse_query(exchange) == "LIS-2" and not exchange.is_lost:
            reason = f"limit is {as_words(exchange.request.parameters.get('limit'), most=40)}"
            yield _refused_with(ledger.history.terms.policy.status_invalid, reason, exchange, "limit")
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
            wanted = Counts(in_body(listing.exchange, "data"), oracle.LIMIT_DEFAULT, oracle.LIMIT_DEFAULT)
            yield expect(wanted, "no limit was sent", *stories_of(*listing.matching[:10]))
        elif count == oracle.LIMIT_DEFAULT:
            yield KEPT


@clause("LIS-3", "A page has at most `limit` entries, and exactly `limit` when that many match.", source=DOCUMENTED)
def a_page_is_full(ledger: Ledger) -> Findings:
    for listing in ledger.listings:
        count, limit = len(listing.entries), listing.query.limit
        if "limit" not in listing.exchange.request.parameters and listing.is_plain:
            continue  # LIS-2
        data = in_body(listing.exchange, "data")
        yield expect(Counts(data, most=limit), f"the limit is {limit}")
        surely = [observed for observed in listing.matching if observed.id not in listing.uncertain]
        missing = [observed for observed in surely if observed.id not in listing.ids]
        if count < limit and len(surely) >= limit:
            reason = f"at least {len(surely)} match"
            yield expect(Counts(data, limit, limit), reason, *stories_of(*surely[:1]))
        elif count < limit and missing and listing.is_plain:
            member = in_body(missing[0].born, "id")
            yield expect(Contains(ids_in(listing.exchange), member), "the page has room", *stories_of(missing[0]))
        elif count < limit and listing.has_more is True and not (listing.is_exact or listing.filters):
            yield expect(Counts(data, limit, limit), "it says itself that there are more")


@clause(
    "LIS-4",
    "A list is newest first; sessions of the same second come in reverse order of creation, the same in every answer.",
    source=PUBLIC,
)
def newest_first(ledger: Ledger) -> Findings:
    for listing in ledger.listings:
        exchange = listing.exchange
        newest_first = expect(Ordered(in_body(exchange, "data", EACH, "created")), "newest first")
        if not newest_first.holds:
            yield newest_first
        for first, second in pairwise(_ours(ledger, listing)):
            if first is not second and not ledger.is_tied(first, second):
                older, newer = sorted((first, second), key=lambda observed: (observed.created, observed.ordinal))
                order = in_body(newer.born, "id"), in_body(older.born, "id")
                yield expect(Ordered(ids_in(exchange), order), "newest first", *stories_of(older, newer))
    for finding in _pages(ledger, "LIS-4"):
        if finding is not None:
            yield finding


clause("LIS-5", "`starting_after=ID` gives the entries directly after ID, ID left out.", source=DOCUMENTED)(
    partial(_pages, identifier="LIS-5")
)


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
        ours = _ours(ledger, listing)
        if len(ours) > 1 and not any(ledger.is_tied(a, b) for a, b in pairwise(ours)):
            newest_first = sorted(ours, key=lambda observed: (observed.created, observed.ordinal), reverse=True)
            order = tuple(in_body(observed.born, "id") for observed in newest_first)
            evidence = stories_of(*newest_first[-3:])
            yield expect(Ordered(ids_in(listing.exchange), order), "newest first, whatever the direction", *evidence)


@clause("LIS-7", "`has_more` is true exactly when the walk in that direction has more entries.", source=DOCUMENTED)
def has_more_is_true_when_there_is_more(ledger: Ledger) -> Findings:
    for listing in ledger.listings:
        if not isinstance(listing.has_more, bool) or set(listing.ids) & set(listing.excluded):
            continue
        evidence, more = stories_of(*listing.matching[:2]), in_body(listing.exchange, "has_more")
        if len(listing.entries) < listing.query.limit and listing.remaining:
            continue  # a page that is not full: LIS-3
        if listing.remaining:
            yield expect(Equals(more, True), f"{listing.remaining} more match", *evidence)
        elif listing.is_exact:
            yield expect(Equals(more, False), "nothing more matches", *evidence)


@clause("LIS-8", "`status` keeps just the sessions of that status, as of now.", source=DOCUMENTED)
def status_filters(ledger: Ledger) -> Findings:
    yield from _pages(ledger, "LIS-8")
    for listing in ledger.listings:
        if listing.query.status:
            yield _only_of(listing.exchange, listing.query.status)
    for exchange in ledger.history.of(Operation.LIST):
        asked = exchange.request.parameters.get("status", "open").lower()
        # Whether it is refused is LIS-15. Where all have one status, another word for that may be meant.
        shown = {as_words(entry.get("status")) for entry in entries_of(exchange)}
        if asked.isalpha() and asked not in {"open", "complete", "expired"} and exchange.succeeded and len(shown) > 1:
            yield _only_of(exchange, asked)


def _only_of(exchange: Exchange, status: str) -> Observation:
    """That a list shows sessions of one status only."""
    others = [place for place, entry in enumerate(entries_of(exchange)) if entry.get("status") != status]
    if not others:
        return KEPT
    return expect(Equals(in_body(exchange, "data", others[0], "status"), status), "the list was asked for these")


@clause(
    "LIS-9",
    "`created[gt|gte|lt|lte]` keeps just the sessions created in the interval; bounds combine.",
    source=DOCUMENTED,
)
def created_filters(ledger: Ledger) -> Findings:
    yield from _pages(ledger, "LIS-9")
    for listing in ledger.listings:
        if listing.query.created:
            times = [(place, entry.get("created")) for place, entry in enumerate(listing.entries)]
            outside = [place for place, time in times if is_integer(time) and not listing.query.keeps(time)]
            least, most = _interval(listing.query)
            for place in outside[:1]:
                at = in_body(listing.exchange, "data", place, "created")
                within = Within(at, least, most)
                yield expect(within, "the list was asked for these", *stories_of(*listing.shown[:1]))
            if not outside:
                yield KEPT


def _interval(query: oracle.Query) -> tuple[int | None, int | None]:
    """The first and the last second that a query's bounds keep; None where it has no bound."""
    least = [epoch + (bound == "gt") for bound, epoch in query.created if bound in {"gt", "gte"}]
    most = [epoch - (bound == "lt") for bound, epoch in query.created if bound in {"lt", "lte"}]
    return max(least, default=None), min(most, default=None)


@clause("LIS-10", "When nothing matches, `data` is empty and `has_more` is false.", source=DOCUMENTED)
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
        if ledger.is_strange(query.cursor, exchange):
            continue
        listing = next((one for one in ledger.listings if one.exchange is exchange), None)
        bare = listing is not None and listing.is_exact and not listing.matching
        if not impossible and not bare:
            continue
        if not exchange.succeeded:
            yield expect(StatusIs(exchange, SUCCESS), "nothing matches, which is no error")
            continue
        yield expect(Equals(in_body(exchange, "data"), []), "nothing matches")
        yield expect(Equals(in_body(exchange, "has_more"), False), "nothing matches")


clause(
    "LIS-12",
    "Filters and cursors combine; a cursor that the filter would leave out still marks its place.",
    source=ASSUMED,
)(partial(_pages, identifier="LIS-12"))


@clause(
    "LIS-13",
    "Both cursors at once are refused with 4xx, and so is a cursor that names no session of this account.",
    source=ASSUMED,
)
def cursors_that_make_no_sense_are_refused(ledger: Ledger) -> Findings:
    known, own = known_ids(ledger), ledger.history.terms.own
    for exchange in ledger.history.of(Operation.LIST):
        if exchange.is_lost:
            continue
        query = parse_query(exchange)
        if query == "LIS-13":
            empty = "" in exchange.request.parameters.values()
            status = None if empty else ledger.history.terms.policy.status_rule
            reason = "a cursor is empty" if empty else "both cursors were sent"
            yield _refused_with(status, reason, exchange, "empty" if empty else "both")
        elif isinstance(query, oracle.Query):
            if ledger.history.terms.others_act:
                continue  # an id that no answer named may be older than the record
            if query.cursor is not None and is_unknown(query.cursor, known, own=own):
                name = "starting_after" if query.starting_after is not None else "ending_before"
                # What is not UTF-8 may be refused for that already.
                is_text = "\N{REPLACEMENT CHARACTER}" not in query.cursor
                status = ledger.history.terms.policy.status_rule if is_text else None
                yield _refused_with(status, f"{name} names no session", exchange, name)


@clause("LIS-14", "An entry of a list equals what retrieve returns.", source=DOCUMENTED)
def an_entry_is_the_session(ledger: Ledger) -> Findings:
    for observed, exchange, place, entry in listed(ledger):
        near = [read for read in observed.reads if not read.overlaps(exchange)]
        if not observed.reads and observed.born.is_before(exchange):
            yield from _as_created(observed, exchange, place, entry)
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
        paths = differing_paths(documented(read.object), documented(entry))
        evidence = (observed.born, *observed.writes[:3])
        for path in paths[:1]:
            shown = in_body(exchange, "data", place, *path)
            yield expect(Equals(shown, in_body(read, *path)), "an entry is the session", *evidence)
        if not paths:
            yield KEPT


def _as_created(observed: ObservedSession, exchange: Exchange, place: int, entry: Mapping[str, Json]) -> Findings:
    """That an entry shows what create returned of a session, and a retrieve would have returned too."""
    paths = differing_paths(lasting(observed.first), lasting(entry))
    if any(write.operation is Operation.EXPIRE for write in observed.writes):
        paths = [path for path in paths if path != ("expires_at",)]  # EXP-8
    for path in paths[:1]:
        same = Equals(in_body(exchange, "data", place, *path), in_body(observed.born, *path))
        yield expect(same, "an entry is the session")
    if not paths:
        yield KEPT


@clause(
    "LIS-15",
    "A `status` outside the three, an empty value, an unknown bound of `created` and a bound that is no integer are "
    "refused with 4xx.",
    source=ASSUMED,
)
def filters_that_make_no_sense_are_refused(ledger: Ledger) -> Findings:
    for exchange in ledger.history.of(Operation.LIST):
        if parse_query(exchange) == "LIS-15" and not exchange.is_lost:
            name, value = next(
                (name, value)
                for name, value in exchange.request.parameters.items()
                if name not in {"limit", "starting_after", "ending_before"} and is_odd_filter(name, value)
            )
            reason = f"{name} is {as_words(value, most=40)}"
            yield _refused_with(ledger.history.terms.policy.status_invalid, reason, exchange, name)
