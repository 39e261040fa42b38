"""EVT: what is told to the shop, by webhook, and by the control API's list of events."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from qashier_contract.clauses.deliveries import cause_of, listening
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, IMPLIED, KEPT, Findings, broken, clause, kept_if
from qashier_contract.document import shape_errors
from qashier_contract.history import Capability, Operation
from qashier_contract.ledger import Ledger, ObservedSession, documented, lasting
from qashier_contract.observed_events import ObservedEvent, feeds, last_feeds, observed_events, tells_of
from qashier_contract.values import Json, differences, is_integer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EVENTS, WEBHOOKS = (Capability.EVENTS,), (Capability.WEBHOOKS,)
_EVENT_ID: Final = re.compile(r"evt_[!-~]+")
_OF_STATUS: Final = {"complete": "checkout.session.completed", "expired": "checkout.session.expired"}
_SLACK: Final = 2
"""Seconds by which the time that an event gives may miss the change that it tells of."""


def _told(ledger: Ledger) -> Iterator[tuple[ObservedEvent, ObservedSession]]:
    """The events about sessions of ours, each id once per way it was seen."""
    sessions = ledger.sessions
    for seen_event in observed_events(ledger.history):
        observed = sessions.get(str(seen_event.session.get("id")))
        if observed is not None:
            yield seen_event, observed


@clause(
    "EVT-1",
    "An event has a unique `id` (`evt_…`), `api_version` (`1.0.0`), `type`, `account`, `created`, `request` "
    "(`id`, `idempotency_key`) and `data.object`.",
    source=DOCUMENTED,
    needs=EVENTS,
)
def an_event_has_its_shape(ledger: Ledger) -> Findings:
    said: dict[str, ObservedEvent] = {}
    for seen_event in observed_events(ledger.history):
        event = seen_event.event
        errors = [
            (path, message)
            for path, message in shape_errors("CheckoutEvent", event)
            if not path.startswith("data.object.")
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
    yield from _created_then(ledger)
    yield from _told_alike(said, ledger)


def _created_then(ledger: Ledger) -> Findings:
    """An event was created when the session ended: by a request while that was served, by the clock not before."""
    ends = {observed.id: write for observed, _, write in ledger.endings.known}
    for seen_event, observed in _told(ledger):
        created = seen_event.event.get("created")
        if observed.id not in ends or not is_integer(created):
            continue
        write = ends[observed.id]
        least, most = (observed.expires_at, None) if write is None else ledger.clock_of(observed, write)
        if write is None and seen_event.exchange is not None:
            _, most = ledger.clock(seen_event.exchange)
        if least is None or (most is None and write is not None):
            continue
        right = least - _SLACK <= created and (most is None or created <= most + _SLACK)
        story = cause_of(observed, write, seen_event.exchange)
        yield _with(kept_if(right, f"created from {least} to {most or 'now'}", created, *story), seen_event)


def _told_alike(said: Mapping[str, ObservedEvent], ledger: Ledger) -> Findings:
    """Wherever and however often an event is told, it is the same."""
    for seen_event in observed_events(ledger.history):
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


@clause(
    "EVT-2",
    "Completing a session sends one `checkout.session.completed`, expiring one sends one `checkout.session.expired`.",
    source=DOCUMENTED,
    needs=EVENTS,
)
def ending_sends_one_event(ledger: Ledger) -> Findings:
    told: dict[tuple[str, int | None], list[ObservedEvent]] = defaultdict(list)
    for seen_event, observed in _told(ledger):
        told[observed.id, seen_event.exchange.number if seen_event.exchange else None].append(seen_event)
    last = last_feeds(ledger.history)
    for observed, state, write in ledger.endings.known:
        wanted = _OF_STATUS[state.status]
        feed = last.get(observed.account)
        if feed is not None and ledger.endings.is_before(observed, write, feed):
            types = [seen_event.event.get("type") for seen_event in told.get((observed.id, feed.number), [])]
            if types or ledger.endings.must_be_told(observed, write, feed):
                yield kept_if(
                    types == [wanted], f"one {wanted} for {observed.id}", types, *cause_of(observed, write, feed)
                )
        if write is None:
            yield from _told_in_time(ledger, observed, wanted)
        for endpoint in listening(ledger, observed, write):
            arrived = {
                repr(seen_event.event.get("id")): seen_event
                for seen_event in told.get((observed.id, None), [])
                if seen_event.delivery is not None and seen_event.delivery.endpoint.url == endpoint.url
            }
            types = [seen_event.event.get("type") for seen_event in arrived.values()]
            if arrived:  # that nothing arrives is EVT-6
                yield kept_if(types == [wanted], f"one {wanted} for {observed.id}", types, *cause_of(observed, write))


def _told_in_time(ledger: Ledger, observed: ObservedSession, wanted: str) -> Findings:
    """What the clock ended is told by every later list of events: it does not wait until the session is looked at."""
    for feed in feeds(ledger.history):
        if feed.account != observed.account or ledger.deadline_passed(observed, feed) is not True:
            continue
        told = tells_of(feed, observed.id)
        if told or ledger.endings.must_be_told(observed, None, feed):
            yield kept_if(told, f"one {wanted} for {observed.id}", "none", observed.born, feed)


@clause(
    "EVT-3",
    "An event's `data.object` is the session right after the change.",
    source=DOCUMENTED,
    needs=EVENTS,
)
def an_event_shows_the_session_as_it_became(ledger: Ledger) -> Findings:
    ends = {observed.id: (state, write) for observed, state, write in ledger.endings.known}
    for seen_event, observed in _told(ledger):
        if observed.id not in ends:
            continue
        state, write = ends[observed.id]
        seen = (seen_event.session.get("status"), seen_event.session.get("payment_status"))
        story = cause_of(observed, write, seen_event.exchange)
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


@clause(
    "EVT-4",
    "`request` names the API request and its idempotency key that caused the change; both are null when the "
    "customer or the clock did.",
    source=ASSUMED,
    needs=EVENTS,
)
def an_event_names_its_request(ledger: Ledger) -> Findings:
    ends = {observed.id: write for observed, _, write in ledger.endings.known}
    for seen_event, observed in _told(ledger):
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
            kept_if(seen == wanted, f"request {wanted}", f"{seen}", *cause_of(observed, write, seen_event.exchange)),
            seen_event,
        )


@clause(
    "EVT-5",
    "Nothing else sends an event; a session has at most one terminal event in its life.",
    source=IMPLIED,
    needs=EVENTS,
)
def nothing_else_sends_an_event(ledger: Ledger) -> Findings:
    ids: dict[str, dict[str, ObservedEvent]] = defaultdict(dict)
    for seen_event, observed in _told(ledger):
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
    for seen_event in observed_events(ledger.history):
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


@clause(
    "EVT-8",
    "`account` is the same for every event of one key's account.",
    source=IMPLIED,
    needs=EVENTS,
)
def one_account_one_name(ledger: Ledger) -> Findings:
    names: dict[int, ObservedEvent] = {}
    for seen_event in observed_events(ledger.history):
        first = names.setdefault(seen_event.account, seen_event)
        right = first.event.get("account") == seen_event.event.get("account")
        story = (*first.exchanges, *seen_event.exchanges)
        yield _with(
            kept_if(right, f"account {first.event.get('account')}", seen_event.event.get("account"), *story), seen_event
        )
