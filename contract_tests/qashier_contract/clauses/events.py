"""EVT: what is told to the shop, by webhook, and by the control API's list of events."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

from qashier_contract import oracle
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, KEPT, Findings, broken, clause, kept_if
from qashier_contract.document import shape_errors
from qashier_contract.history import Capability, Delivery, Endpoint, Exchange, History, Json, Operation
from qashier_contract.ledger import ObservedSession, differences, documented, is_integer, lasting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

EVENTS, WEBHOOKS = (Capability.EVENTS,), (Capability.WEBHOOKS,)
_EVENT_ID: Final = re.compile(r"evt_[!-~]+")
_OF_STATUS: Final = {"complete": "checkout.session.completed", "expired": "checkout.session.expired"}
_SLACK: Final = 2
"""Seconds by which the time that an event gives may miss the change that it tells of."""
_FIRST_RETRY: Final = 60
"""Seconds within which the first retry comes."""
_PROMPT_NS: Final = 10 * 10**9
"""How long the first attempt may take to reach us: "at once", on a busy machine."""
SOON_NS: Final = 2 * 10**9
"""How long after a change a list of events may still lack it: what is told is read from elsewhere, perhaps."""
_WATCHED_NS: Final = 25 * 10**8
"""How long an endpoint must have stayed for "nothing came" to be certain."""


@dataclass(frozen=True, slots=True, eq=False)
class ObservedEvent:
    """An event as it was seen: in the control API's list, or in a delivery."""

    event: Mapping[str, Json]
    account: int
    exchange: Exchange | None = None
    delivery: Delivery | None = None

    @property
    def session(self) -> Mapping[str, Json]:
        return _session_of(self.event)

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        return () if self.exchange is None else (self.exchange,)

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        return () if self.delivery is None else (self.delivery,)


def feeds(history: History) -> Iterator[Exchange]:
    """The answers of the control API that list every event of an account."""
    for exchange in history.of(Operation.EVENTS):
        if exchange.succeeded and not exchange.request.query and isinstance(exchange.object.get("data"), list):
            yield exchange


def observed_events(history: History) -> Iterator[ObservedEvent]:
    """Every event that was seen: the last list of each account, and each delivery."""
    last = {exchange.account: exchange for exchange in feeds(history)}
    for exchange in last.values():
        for event in exchange.object["data"]:
            yield ObservedEvent(event if isinstance(event, dict) else {}, exchange.account or 0, exchange)
    for delivery in history.deliveries:
        yield ObservedEvent(delivery.event, delivery.endpoint.account, None, delivery)


def event_ids(history: History) -> Mapping[str, set[str]]:
    """The ids of the events that tell of each session, wherever they were seen."""
    ids: dict[str, set[str]] = defaultdict(set)
    for seen_event in observed_events(history):
        ids[str(seen_event.session.get("id"))].add(repr(seen_event.event.get("id")))
    return ids


def _told(history: History) -> Iterator[tuple[ObservedEvent, ObservedSession]]:
    """The events about sessions of ours, each id once per way it was seen."""
    sessions = history.ledger.sessions
    for seen_event in observed_events(history):
        observed = sessions.get(str(seen_event.session.get("id")))
        if observed is not None:
            yield seen_event, observed


def endings(history: History) -> Iterator[tuple[ObservedSession, oracle.State, Exchange | None]]:
    """The sessions that surely became terminal, how, and by which request (None: by the clock)."""
    ledger = history.ledger
    for observed in ledger.sessions.values():
        for write in observed.writes:
            before, after = ledger.state_before(observed, write), ledger.state_after(observed, write)
            if before is None or after is None:
                break
            if before.status == "expired":
                yield observed, before, None
                break
            by_page = write.operation is Operation.PAGE
            if before.status == "open" and after.status != "open" and (write.succeeded or by_page):
                yield observed, after, write
                break
        else:
            clocks = [e for e in history.clock_calls(observed.account) if observed.born.is_before(e)]
            if clocks:
                state = ledger.state_before(observed, clocks[-1])
                now = clocks[-1].object.get("now")
                if state is not None and is_integer(now) and now >= observed.expires_at:
                    ended = oracle.step(state, oracle.Act.DEADLINE_PASSED)
                    yield observed, state if ended is None else ended, None


def _cause(observed: ObservedSession, write: Exchange | None, feed: Exchange | None = None) -> tuple[Exchange, ...]:
    return (observed.born, *((write,) if write else ()), *((feed,) if feed else ()))


@clause("EVT-1", source=DOCUMENTED, needs=EVENTS)
def an_event_has_its_shape(history: History) -> Findings:
    """An event has a unique `id` (`evt_…`), `api_version` (`1.0.0`), `type`, `account`, `created`, `request` (`id`,
    `idempotency_key`) and `data.object`.
    """
    said: dict[str, ObservedEvent] = {}
    for seen_event in observed_events(history):
        event = seen_event.event
        errors = [
            (path, message) for path, message in shape_errors("Event", event) if not path.startswith("data.object.")
        ]
        seen = "; ".join(f"{path or 'event'}: {message}" for path, message in errors[:3])
        finding = kept_if(not errors, "the documented shape of an event", seen, *seen_event.exchanges)
        yield _with(finding, seen_event)
        event_id = event.get("id")
        if not isinstance(event_id, str) or not _EVENT_ID.fullmatch(event_id):
            yield _with(broken("an id such as evt_1a2B3c", repr(event_id), *seen_event.exchanges), seen_event)
            continue
        first = said.setdefault(event_id, seen_event)
        if first is not seen_event:
            same = (first.session.get("id"), first.event.get("type")) == (
                seen_event.session.get("id"),
                event.get("type"),
            )
            doubled = first.exchange is not None and first.exchange is seen_event.exchange
            yield _with(
                kept_if(
                    same and not doubled, "an id of its own for each event", f"{event_id} twice", *seen_event.exchanges
                ),
                seen_event,
            )
    yield from _created_then(history)
    yield from _told_alike(said, history)


def _created_then(history: History) -> Findings:
    """An event was created when the session ended: by a request while that was served, by the clock not before."""
    ends = {observed.id: write for observed, _, write in endings(history)}
    for seen_event, observed in _told(history):
        created = seen_event.event.get("created")
        if observed.id not in ends or not is_integer(created):
            continue
        write = ends[observed.id]
        least, most = (observed.expires_at, None) if write is None else history.ledger.clock_of(observed, write)
        if write is None and seen_event.exchange is not None:
            _, most = history.ledger.clock(seen_event.exchange)
        if least is None or (most is None and write is not None):
            continue
        right = least - _SLACK <= created and (most is None or created <= most + _SLACK)
        story = _cause(observed, write, seen_event.exchange)
        yield _with(kept_if(right, f"created from {least} to {most or 'now'}", created, *story), seen_event)


def _told_alike(said: Mapping[str, ObservedEvent], history: History) -> Findings:
    """Wherever and however often an event is told, it is the same."""
    for seen_event in observed_events(history):
        first = said.get(str(seen_event.event.get("id")))
        if first is None or first is seen_event or first.session.get("id") != seen_event.session.get("id"):
            continue
        names = ("api_version", "type", "account", "created", "request")
        differing = [name for name in names if first.event.get(name) != seen_event.event.get(name)]
        wanted = {name: first.event.get(name) for name in differing}
        seen = {name: seen_event.event.get(name) for name in differing}
        story = (*first.exchanges, *seen_event.exchanges)
        yield _with(kept_if(not differing, f"{wanted}, as told before", seen, *story), seen_event)


def _with(finding: object, seen_event: ObservedEvent) -> Json:
    """The finding, with the delivery that shows it."""
    if finding is not None and hasattr(finding, "deliveries"):
        finding.deliveries = seen_event.deliveries
    return finding


@clause("EVT-2", source=DOCUMENTED, needs=EVENTS)
def ending_sends_one_event(history: History) -> Findings:
    """Completing a session sends one `checkout.session.completed`, expiring one sends one
    `checkout.session.expired`.
    """
    told: dict[tuple[str, int | None], list[ObservedEvent]] = defaultdict(list)
    for seen_event, observed in _told(history):
        told[observed.id, seen_event.exchange.number if seen_event.exchange else None].append(seen_event)
    last = {exchange.account: exchange for exchange in feeds(history)}
    for observed, state, write in endings(history):
        wanted = _OF_STATUS[state.status]
        feed = last.get(observed.account)
        if feed is not None and _ended_before(history, observed, write, feed):
            types = [seen_event.event.get("type") for seen_event in told.get((observed.id, feed.number), [])]
            if types or _asked_for_ns(history, observed, write, feed) >= SOON_NS:
                yield kept_if(
                    types == [wanted], f"one {wanted} for {observed.id}", types, *_cause(observed, write, feed)
                )
        if write is None:
            yield from _told_in_time(history, observed, wanted)
        for endpoint in _listening(history, observed, write):
            arrived = {
                repr(seen_event.event.get("id")): seen_event
                for seen_event in told.get((observed.id, None), [])
                if seen_event.delivery is not None and seen_event.delivery.endpoint.url == endpoint.url
            }
            types = [seen_event.event.get("type") for seen_event in arrived.values()]
            if arrived:  # that nothing arrives is EVT-6
                yield kept_if(types == [wanted], f"one {wanted} for {observed.id}", types, *_cause(observed, write))


def _told_in_time(history: History, observed: ObservedSession, wanted: str) -> Findings:
    """What the clock ended is told by every later list of events: it does not wait until the session is looked at."""
    for feed in feeds(history):
        if feed.account != observed.account or history.ledger.deadline_passed(observed, feed) is not True:
            continue
        told = _tells_of(feed, observed)
        if told or _asked_for_ns(history, observed, None, feed) >= SOON_NS:
            yield kept_if(told, f"one {wanted} for {observed.id}", "none", observed.born, feed)


def overdue(history: History) -> Mapping[int, int]:
    """The accounts whose last list of events lacks one that it might get yet.

    Returns:
        For each account the moment from which on a list must have it, by the monotonic clock in nanoseconds.
    """
    last = {exchange.account: exchange for exchange in feeds(history)}
    due: dict[int, int] = {}
    for observed, _, write in endings(history):
        feed = last.get(observed.account)
        if feed is None or not _ended_before(history, observed, write, feed) or _tells_of(feed, observed):
            continue
        asked_ns = _asked_for_ns(history, observed, write, feed)
        if asked_ns < SOON_NS:
            due[observed.account] = max(due.get(observed.account, 0), feed.sent_ns - asked_ns + SOON_NS)
    return due


def _tells_of(feed: Exchange, observed: ObservedSession) -> bool:
    return any(isinstance(event, dict) and _session_of(event).get("id") == observed.id for event in feed.object["data"])


def _asked_for_ns(history: History, observed: ObservedSession, write: Exchange | None, feed: Exchange) -> int:
    """How long before a list an earlier one was asked for, of those since a session had ended; 0 for the first.

    What is brought up to date when somebody looks, has it at the second look.
    """
    ended_ns = _ended_ns(history, observed, write)
    if ended_ns is None:
        return 0
    looks = (one.received_ns for one in feeds(history) if one.account == feed.account and one.sent_ns >= ended_ns)
    return max(0, feed.sent_ns - min(looks, default=feed.sent_ns))


def _ended_ns(history: History, observed: ObservedSession, write: Exchange | None) -> int | None:
    """When a session surely had ended, by the machine's clock; None if the clock ended it, and was not seen to."""
    if write is not None:
        return write.received_ns
    passed = (
        e.received_ns
        for e in history.clock_calls(observed.account)
        if is_integer(now := e.object.get("now")) and now >= observed.expires_at
    )
    return min(passed, default=None)


def _session_of(event: Mapping[str, Json]) -> Mapping[str, Json]:
    data = event.get("data")
    inner = data.get("object") if isinstance(data, dict) else None
    return inner if isinstance(inner, dict) else {}


def _ended_before(history: History, observed: ObservedSession, write: Exchange | None, feed: Exchange) -> bool:
    if write is not None:
        return write.is_before(feed)
    return history.ledger.deadline_passed(observed, feed) is True


def _listening(history: History, observed: ObservedSession, write: Exchange | None) -> Sequence[Endpoint]:
    """The endpoints that surely were registered when a session ended by a request."""
    if write is None:
        return ()
    return [
        endpoint
        for endpoint in history.endpoints
        if endpoint.account == observed.account
        and endpoint.registered_ns < write.sent_ns
        and (endpoint.removed_ns is None or endpoint.removed_ns > write.received_ns)
    ]


@clause("EVT-3", source=DOCUMENTED, needs=EVENTS)
def an_event_shows_the_session_as_it_became(history: History) -> Findings:
    """An event's `data.object` is the session right after the change."""
    ends = {observed.id: (state, write) for observed, state, write in endings(history)}
    for seen_event, observed in _told(history):
        if observed.id not in ends:
            continue
        state, write = ends[observed.id]
        seen = (seen_event.session.get("status"), seen_event.session.get("payment_status"))
        story = _cause(observed, write, seen_event.exchange)
        yield _with(
            kept_if(seen == tuple(state), f"{state.status}, {state.payment_status}", f"{seen}", *story), seen_event
        )
        expected, shown = lasting(observed.first), lasting(seen_event.session)
        differing = differences(expected, shown)
        wanted = {name: expected.get(name) for name in differing}
        yield _with(
            kept_if(not differing, f"{wanted}", {name: shown.get(name) for name in differing}, *story), seen_event
        )
        later = [read for read in observed.reads if write is not None and write.is_before(read)]
        if later:
            differing = differences(documented(later[0].object), documented(seen_event.session))
            yield _with(
                kept_if(not differing, "the session as a later read shows it", differing, *story, later[0]), seen_event
            )


@clause("EVT-4", source=ASSUMED, needs=EVENTS)
def an_event_names_its_request(history: History) -> Findings:
    """`request` names the API request and its idempotency key that caused the change; both are null when the customer
    or the clock did.
    """
    ends = {observed.id: write for observed, _, write in endings(history)}
    for seen_event, observed in _told(history):
        if observed.id not in ends:
            continue
        write, request = ends[observed.id], seen_event.event.get("request")
        by_api = write is not None and write.operation is Operation.EXPIRE
        wanted = (write.request_id, write.request.idempotency_key) if by_api and write else (None, None)
        if request is None and not by_api:
            yield KEPT
            continue
        seen = (request.get("id"), request.get("idempotency_key")) if isinstance(request, dict) else (request, None)
        yield _with(
            kept_if(seen == wanted, f"request {wanted}", f"{seen}", *_cause(observed, write, seen_event.exchange)),
            seen_event,
        )


@clause("EVT-5", source=ASSUMED, needs=EVENTS)
def nothing_else_sends_an_event(history: History) -> Findings:
    """Nothing else sends an event; a session has at most one terminal event in its life."""
    ledger = history.ledger
    ids: dict[str, dict[str, ObservedEvent]] = defaultdict(dict)
    for seen_event, observed in _told(history):
        ids[observed.id].setdefault(repr(seen_event.event.get("id")), seen_event)
        if seen_event.event.get("type") not in list(_OF_STATUS.values()):
            yield _with(
                broken("only terminal events", seen_event.event.get("type"), observed.born, *seen_event.exchanges),
                seen_event,
            )
    for observed in ledger.sessions.values():
        events = ids.get(observed.id, {})
        seen = [*events.values()]
        if len(events) > 1:
            story = (observed.born, *observed.writes, *seen[-1].exchanges)
            yield _with(broken("one terminal event in its life", [s.event.get("type") for s in seen], *story), seen[-1])
        elif seen:
            feed = seen[0].exchange
            still_open = (
                feed is not None
                and ledger.state_before(observed, feed) is not None
                and ledger.state_before(observed, feed)
            )
            if still_open and still_open.status == "open":
                yield broken(
                    "no event for an open session",
                    seen[0].event.get("type"),
                    observed.born,
                    *observed.writes,
                    *seen[0].exchanges,
                )
            else:
                yield KEPT
    marks = ledger.markers
    for seen_event in observed_events(history):
        marker = seen_event.session.get("success_url")
        causes = marks.get((seen_event.account, marker), ()) if isinstance(marker, str) else ()
        if causes and all(cause.refused for cause in causes):
            yield _with(
                broken(
                    "no event from a request that was refused",
                    seen_event.event.get("type"),
                    *causes,
                    *seen_event.exchanges,
                ),
                seen_event,
            )


@clause("EVT-6", source=ASSUMED, needs=WEBHOOKS)
def events_are_delivered_at_least_once(history: History) -> Findings:
    """Events are delivered by POST as JSON to every endpoint that the account had when they arose, the first time at
    once; anything but 2xx is tried again with growing delays, the first within a minute, at least five times, with the
    same event id.
    """
    for delivery in history.deliveries:
        kind = (delivery.header("content-type") or "").partition(";")[0].strip().lower()
        right = delivery.method == "POST" and kind == "application/json" and isinstance(delivery.json, dict)
        yield _delivered(right, "a POST of JSON", f"{delivery.method} of {kind or 'nothing'}", delivery)
        gone_ns = _removed_ns(history, delivery)
        late = gone_ns is not None and delivery.received_ns > gone_ns + _PROMPT_NS
        yield _delivered(not late, "nothing to an endpoint that was removed", "a delivery", delivery)
    for observed, _, write in endings(history):
        for endpoint in _listening(history, observed, write):
            assert write is not None
            tries = _attempts(history, endpoint, observed)
            prompt = _prompt(tries, write, history.ledger.clock_of(observed, write)[1])
            yield kept_if(
                prompt, "a delivery at once to every endpoint", f"{len(tries)} later", *_cause(observed, write)
            )
        yield from _not_there(history, observed, write)
        if write is None:
            yield from _delivered_by_clock(history, observed)
    for delivery in history.deliveries:
        told_life = history.ledger.sessions.get(str(_session_id(delivery)))
        if told_life is not None:
            right = told_life.account == delivery.endpoint.account
            yield _delivered(right, "only its own account's events at an endpoint", told_life.id, delivery)
    yield from _retries(history)


def _delivered(condition: object, expected: str, seen: str, delivery: Delivery) -> Json:
    return KEPT if condition else broken(expected, seen, deliveries=(delivery,))


def _prompt(tries: Sequence[Delivery], cause: Exchange, now: int | None) -> bool:
    """Whether one came soon after its cause, by the machine's time and by the account's (`now` when it happened).

    Where the account's clock was moved at once, what was on its way came by the new time.
    """
    return any(
        one.received_ns <= cause.received_ns + SOON_NS
        or (
            one.received_ns <= cause.received_ns + _PROMPT_NS
            and (one.clock is None or now is None or one.clock <= now + _PROMPT_NS // 10**9)
        )
        for one in tries
    )


def _delivered_by_clock(history: History, observed: ObservedSession) -> Findings:
    """What the clock ends is told to the endpoints that were there before, and some time after."""
    ledger = history.ledger
    moves = [
        e
        for e in history.clock_calls(observed.account)
        if e.request.method != "GET" and is_integer(e.object.get("now"))
    ]
    passed = next((e for e in moves if e.object["now"] >= observed.expires_at and observed.born.is_before(e)), None)
    if passed is None or ledger.clock(passed)[0] is None:
        return
    for endpoint in history.endpoints:
        if endpoint.account != observed.account or endpoint.registered_ns >= passed.sent_ns:
            continue
        tries = _attempts(history, endpoint, observed)
        watched = endpoint.removed_ns is None or endpoint.removed_ns > passed.received_ns + _WATCHED_NS
        if tries or watched:
            prompt = _prompt(tries, passed, passed.object["now"])
            yield kept_if(prompt, "a delivery at once to every endpoint", f"{len(tries)} later", observed.born, passed)


def _not_there(history: History, observed: ObservedSession, write: Exchange | None) -> Findings:
    """An endpoint that came after the event, or had been removed before it arose, gets nothing of it."""
    ended_ns = _ended_ns(history, observed, write)
    for endpoint in history.endpoints:
        if ended_ns is None or endpoint.account != observed.account:
            continue
        if endpoint.registered_ns > ended_ns:
            whom = "an endpoint that came later"
        elif write is not None and endpoint.removed_ns is not None and endpoint.removed_ns < write.sent_ns:
            whom = "an endpoint that was removed"
        else:
            continue
        for delivery in _attempts(history, endpoint, observed)[:1]:
            yield broken(f"nothing to {whom}", "a delivery", *_cause(observed, write), deliveries=(delivery,))


def _attempts(history: History, endpoint: Endpoint, observed: ObservedSession) -> list[Delivery]:
    return [
        delivery
        for delivery in history.deliveries
        if delivery.endpoint.url == endpoint.url and _session_id(delivery) == observed.id
    ]


def _session_id(delivery: Delivery) -> Json:
    return _session_of(delivery.event).get("id")


def _retries(history: History) -> Findings:
    by_target: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
    ended_ns = {observed.id: _ended_ns(history, observed, write) for observed, _, write in endings(history)}
    for delivery in history.deliveries:
        moment = ended_ns.get(str(_session_id(delivery)))
        if moment is None or delivery.endpoint.registered_ns > moment:
            continue  # it ought not to have come at all, or that is not certain
        by_target[delivery.endpoint.url, repr(_session_id(delivery))].append(delivery)
    for tries in by_target.values():
        ids = {repr(delivery.event.get("id")) for delivery in tries}
        if len(tries) > 1:
            yield _delivered(len(ids) == 1, "the same event id at every try", f"{sorted(ids)}", tries[-1])
        taken = next((place for place, delivery in enumerate(tries) if 200 <= delivery.answered < 300), None)
        if taken is not None:
            # The same delivery may come twice, but what was taken is not tried again as time goes on.
            further = {t.clock for t in tries[taken + 1 :] if t.clock is not None} - {tries[taken].clock}
            yield _delivered(len(further) < 2, "no further tries after a 2xx", f"{len(further)} more", tries[-1])
            continue
        if tries[0].clock is None:
            continue
        waited = _watched_until(history, tries[0]) - tries[0].clock
        minute = _a_minute_later(history, tries[0])
        if minute is not None:
            soon = [t for t in tries[1:] if _came_by(t, minute)]
            yield _delivered(soon, "the first retry within a minute", f"{len(tries) - 1} retries", tries[0])
        if waited >= 4 * 86_400:
            yield _delivered(len(tries) > 5, "at least five retries", f"{len(tries) - 1}", tries[-1])
            moments = sorted({one.clock for one in tries if one.clock is not None})  # the same try may come twice
            delays = [later - earlier for earlier, later in pairwise(moments)]
            # The clock moved in steps, of which the later ones are long: a try is known to have come by the end of one.
            # So the mean of the first delays is at most what the times say; only a series that does not grow from the
            # beginning is certain.
            if len(delays) >= 5:
                sums = list(accumulate(delays))
                grows = delays[-1] > delays[0] and all(sums[n - 1] > n * delays[0] for n in range(5, len(delays) + 1))
                yield _delivered(grows, "growing delays", f"{delays[:8]} s", tries[-1])


def _a_minute_later(history: History, first: Delivery) -> Exchange | None:
    """What moved the account's clock to a minute after a delivery, or beyond; None if it was not watched long enough.

    Where the clock was moved far at once, a retry that was due within the minute is seen by the new time.
    """
    removed = _removed_ns(history, first)
    for exchange in history.clock_calls(first.endpoint.account):
        now = exchange.object.get("now")
        if not is_integer(now) or exchange.sent_ns < first.received_ns:
            continue
        if now >= (first.clock or 0) + _FIRST_RETRY:
            watched = removed is None or removed > exchange.received_ns + SOON_NS
            return exchange if watched else None
    return None


def _came_by(delivery: Delivery, moved: Exchange) -> bool:
    """Whether a delivery came by the time that the clock was moved to, or was on its way then."""
    by_clock = delivery.clock is not None and delivery.clock <= moved.object["now"]
    return by_clock or delivery.received_ns <= moved.received_ns + SOON_NS


def _removed_ns(history: History, delivery: Delivery) -> int | None:
    """When the endpoint was removed: a delivery shows it as it was before."""
    return next((one.removed_ns for one in history.endpoints if one.url == delivery.endpoint.url), None)


def _watched_until(history: History, first: Delivery) -> int:
    """Up to which time of the account's clock the retries of an event were watched: the last move of the clock."""
    until = first.clock or 0
    removed = _removed_ns(history, first)
    for exchange in history.clock_calls(first.endpoint.account):
        if removed is not None and exchange.sent_ns > removed:
            break
        now = exchange.object.get("now")
        if is_integer(now) and exchange.sent_ns > first.received_ns:
            until = max(until, now)
    return until


@clause("EVT-7", source=ASSUMED, needs=WEBHOOKS)
def deliveries_are_signed(history: History) -> Findings:
    """With a secret set, `x-qashier-sign` is the base64 of the HMAC-SHA256 over the raw body; the key is the secret's
    UTF-8 bytes as given.
    """
    name = history.terms.policy.signature_header
    for delivery in history.deliveries:
        secret = delivery.endpoint.secret
        if secret is None:
            continue
        digest = hmac.new(secret.encode(), delivery.body, hashlib.sha256).digest()
        right = hmac.compare_digest(base64.b64encode(digest).decode(), delivery.header(name) or "")
        yield _delivered(
            right, f"{name}: base64 of HMAC-SHA256 over the body as sent", delivery.header(name) or "none", delivery
        )


@clause("EVT-8", source=ASSUMED, needs=EVENTS)
def one_account_one_name(history: History) -> Findings:
    """`account` is the same for every event of one key's account."""
    names: dict[int, ObservedEvent] = {}
    for seen_event in observed_events(history):
        first = names.setdefault(seen_event.account, seen_event)
        right = first.event.get("account") == seen_event.event.get("account")
        story = (*first.exchanges, *seen_event.exchanges)
        yield _with(
            kept_if(right, f"account {first.event.get('account')}", seen_event.event.get("account"), *story), seen_event
        )
