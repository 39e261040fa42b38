"""EVT: what is told to the shop, by webhook, and by the control API's list of events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from qashier_contract.clauses.shapes import misshapen
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, IMPLIED, KEPT, Findings, clause
from qashier_contract.clauses.telling import cause_of, entry_of, in_event, in_its_session, listening, told_in
from qashier_contract.findings import Counts, Differs, Equals, Finding, HasShape, OneOf, Within, expect
from qashier_contract.history import Capability, Delivery, Exchange, Operation
from qashier_contract.ledger import Ending, Ledger, ObservedSession, documented, lasting
from qashier_contract.observed_events import ObservedEvent, feeds, last_feeds, observed_events, session_of, tells_of
from qashier_contract.oracle import EVENTS_OF
from qashier_contract.places import Expected, Step, asked_in, header_of, in_body
from qashier_contract.values import differing_paths, is_integer

EVENTS = (Capability.EVENTS,)
_SLACK: Final = 2
"""Seconds by which the time that an event gives may miss the change that it tells of."""


def _of_sessions(ledger: Ledger) -> Iterator[tuple[ObservedEvent, ObservedSession]]:
    """The events about sessions of ours, wherever they were seen."""
    sessions = ledger.sessions
    for seen in observed_events(ledger.history):
        observed = sessions.get(str(seen.session.get("id")))
        if observed is not None:
            yield seen, observed


def _of_endings(ledger: Ledger) -> Iterator[tuple[ObservedEvent, Ending]]:
    """The events about sessions that surely ended, with how each did."""
    ends = {ending.session.id: ending for ending in ledger.endings.known}
    return ((seen, ends[observed.id]) for seen, observed in _of_sessions(ledger) if observed.id in ends)


@clause(
    "EVT-1",
    "An event has a unique `id` (`evt_…`), `api_version` (`1.0.0`), `type`, `account`, `created`, `request` "
    "(`id`, `idempotency_key`) and `data.object`.",
    source=DOCUMENTED,
    needs=EVENTS,
)
def an_event_has_its_shape(ledger: Ledger) -> Findings:
    first_seen: dict[str, ObservedEvent] = {}
    for seen in observed_events(ledger.history):
        prefix: tuple[Step, ...] = () if seen.delivery is not None else ("data", entry_of(seen))
        message = seen.delivery or seen.exchange
        assert message is not None
        session = (*prefix, "data", "object")
        found = misshapen(message, "CheckoutEvent", seen.event, prefix=prefix)
        # What is wrong inside of the session is EVT-3.
        errors = [one for one in found if not any(_is_inside(at.path, session) for at in one.places)]
        yield from errors[:3]
        named = expect(HasShape(in_event(seen, "id"), "string", r"evt_[!-~]+", "an id such as evt_1a2B3c"))
        yield named
        if not named.holds:
            continue
        first = first_seen.setdefault(str(seen.event.get("id")), seen)
        same = (first.session.get("id"), first.event.get("type")) == (seen.session.get("id"), seen.event.get("type"))
        doubled = first is not seen and first.exchange is not None and first.exchange is seen.exchange
        if not same or doubled:
            yield expect(Differs(in_event(seen, "id"), in_event(first, "id")), "each event has its own id")
    yield from _created_then(ledger)
    yield from _seen_alike(first_seen, ledger)


def _is_inside(path: tuple[Step, ...], holder: tuple[Step, ...]) -> bool:
    return len(path) > len(holder) and path[: len(holder)] == holder


def _created_then(ledger: Ledger) -> Findings:
    """An event was created when the session ended: by a request while that was served, by the clock not before."""
    for seen, (observed, _, write) in _of_endings(ledger):
        if not is_integer(seen.event.get("created")):
            continue
        least, most = (observed.expires_at, None) if write is None else ledger.clock_of(observed, write)
        if write is not None:
            _, most = ledger.clock_of(observed, ledger.end_of(write))  # what is pressed may take a while
        elif seen.exchange is not None:
            _, most = ledger.clock(seen.exchange)
        if least is None or (most is None and write is not None):
            continue
        bounds = least - _SLACK, None if most is None else most + _SLACK
        reason = "when the session ended"
        yield expect(Within(in_event(seen, "created"), *bounds), reason, *cause_of(observed, write))


def _seen_alike(first_seen: Mapping[str, ObservedEvent], ledger: Ledger) -> Findings:
    """Wherever and however often an event is seen, it is the same."""
    for seen in observed_events(ledger.history):
        first = first_seen.get(str(seen.event.get("id")))
        if first is None or first is seen or first.session.get("id") != seen.session.get("id"):
            continue
        for name in ("api_version", "type", "account", "created", "request"):
            same = Equals(in_event(seen, name), in_event(first, name))
            yield expect(same, "the event was seen so before")


@clause(
    "EVT-2",
    "Completing a session sends one `checkout.session.completed`, expiring one sends one `checkout.session.expired`.",
    source=DOCUMENTED,
    needs=EVENTS,
)
def ending_sends_one_event(ledger: Ledger) -> Findings:
    last = last_feeds(ledger.history)
    delivered: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in ledger.history.deliveries:
        delivered[str(session_of(delivery.event).get("id"))].append(delivery)
    for observed, state, write in ledger.endings.known:
        wanted, reason = EVENTS_OF[state.status], f"the session became {state.status}"
        feed = last.get(observed.account)
        if feed is not None and ledger.endings.is_before(observed, write, feed):
            types = told_in(feed, observed.id, "type")
            if types.value or ledger.endings.must_be_told(observed, write, feed):
                yield expect(Equals(types, [wanted]), reason, *cause_of(observed, write))
        if write is None:
            yield from _told_in_time(ledger, observed, reason)
        for endpoint in listening(ledger, observed, write):
            arrived = [one for one in delivered[observed.id] if one.endpoint.url == endpoint.url]
            yield from _one_event(arrived, wanted, reason, *cause_of(observed, write))


def _one_event(arrived: Sequence[Delivery], wanted: str, reason: str, *evidence: Exchange) -> Findings:
    """Judge what arrived at an endpoint about a session. That nothing arrives is EVT-6."""
    by_id: dict[str, Delivery] = {}
    for delivery in arrived:
        by_id.setdefault(repr(delivery.event.get("id")), delivery)
    first, *others = by_id.values() or (None,)
    if first is not None:
        yield expect(Equals(in_body(first, "type"), wanted), reason, *evidence)
    for other in others:
        if other is not None and first is not None:
            yield expect(Equals(in_body(other, "id"), in_body(first, "id")), "it sends one event", *evidence)


def _told_in_time(ledger: Ledger, observed: ObservedSession, reason: str) -> Findings:
    """What the clock ended is in every later list of events: it does not wait until the session is looked at."""
    for feed in feeds(ledger.history):
        if feed.account != observed.account or ledger.deadline_passed(observed, feed) is not True:
            continue
        if tells_of(feed, observed.id) or ledger.endings.must_be_told(observed, None, feed):
            yield expect(
                Counts(told_in(feed, observed.id, "type"), 1, things="terminal event of this session"),
                reason,
                observed.born,
            )


@clause(
    "EVT-3",
    "An event's `data.object` is the session right after the change.",
    source=DOCUMENTED,
    needs=EVENTS,
)
def an_event_shows_the_session_as_it_became(ledger: Ledger) -> Findings:
    for seen, (observed, state, write) in _of_endings(ledger):
        evidence = cause_of(observed, write)
        for name, value in state._asdict().items():
            yield expect(Equals(in_its_session(seen, name), value), "right after the change", *evidence)
        paths = differing_paths(lasting(observed.first), lasting(seen.session))
        for path in paths[:3]:
            same = Equals(in_its_session(seen, *path), in_body(observed.born, *path))
            yield expect(same, "it never changes", *evidence)
        later = [read for read in observed.reads if write is not None and write.is_before(read)]
        if later and not paths:
            for path in differing_paths(documented(later[0].object), documented(seen.session))[:3]:
                same = Equals(in_its_session(seen, *path), in_body(later[0], *path))
                yield expect(same, "a later read shows it", *evidence)


@clause(
    "EVT-4",
    "`request` names the API request and its idempotency key that caused the change; both are null when the "
    "customer or the clock did.",
    source=ASSUMED,
    needs=EVENTS,
)
def an_event_names_its_request(ledger: Ledger) -> Findings:
    for seen, (observed, _, write) in _of_endings(ledger):
        if write is not None and write.operation is Operation.EXPIRE:
            key = write.request.idempotency_key
            request_id = None if write.request_id is None else header_of(write, "Request-Id")
            wanted: tuple[Expected, Expected] = (request_id, key)
            reason = "an expire caused it"
        elif seen.event.get("request") is None:
            yield KEPT
            continue
        else:
            wanted, reason = (None, None), "the customer caused it" if write is not None else "the clock caused it"
        for name, value in zip(("id", "idempotency_key"), wanted, strict=True):
            yield expect(Equals(in_event(seen, "request", name), value), reason, *cause_of(observed, write))


@clause(
    "EVT-5",
    "Nothing else sends an event; a session has at most one terminal event in its life.",
    source=IMPLIED,
    needs=EVENTS,
)
def nothing_else_sends_an_event(ledger: Ledger) -> Findings:
    ids: dict[str, dict[str, ObservedEvent]] = defaultdict(dict)
    for seen, observed in _of_sessions(ledger):
        ids[observed.id].setdefault(repr(seen.event.get("id")), seen)
        if seen.event.get("type") not in list(EVENTS_OF.values()):
            terminal = OneOf(in_event(seen, "type"), tuple(EVENTS_OF.values()))
            yield expect(terminal, "only the end of a session sends one", observed.born)
    for observed in ledger.sessions.values():
        events = [*ids.get(observed.id, {}).values()]
        if len(events) > 1:
            yield _one_in_its_life(observed, events)
        elif events:
            feed = events[0].exchange
            state = ledger.state_before(observed, feed) if feed is not None else None
            if feed is not None and state is not None and state.status == "open":
                none = Counts(told_in(feed, observed.id, "type"), 0, 0)
                yield expect(none, "the session is open", observed.born, *observed.writes)
            else:
                yield KEPT
    for seen in observed_events(ledger.history):
        if causes := ledger.refused_causes(seen.account, seen.session):
            stranger = Differs(in_its_session(seen, "success_url"), asked_in(causes[0], "success_url"))
            yield expect(stranger, "the create was refused", *causes)


def _one_told(feed: Exchange, session_id: str) -> Counts:
    return Counts(told_in(feed, session_id, "type"), 0, 1, "terminal event of this session")


def _one_in_its_life(observed: ObservedSession, events: Sequence[ObservedEvent]) -> Finding:
    """That a session, which several events tell of, has one."""
    last, reason = events[-1], "a session ends once"
    evidence = (observed.born, *observed.writes)
    if last.exchange is not None and last.exchange is events[0].exchange:
        return expect(_one_told(last.exchange, observed.id), reason, *evidence)
    return expect(Equals(in_event(last, "id"), in_event(events[0], "id")), reason, *evidence)


@clause(
    "EVT-8",
    "`account` is the same for every event of one key's account.",
    source=IMPLIED,
    needs=EVENTS,
)
def one_account_one_name(ledger: Ledger) -> Findings:
    names: dict[int, ObservedEvent] = {}
    for seen in observed_events(ledger.history):
        first = names.setdefault(seen.account, seen)
        yield expect(Equals(in_event(seen, "account"), in_event(first, "account")), "one key, one account")
