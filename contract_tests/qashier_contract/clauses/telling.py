"""Where the events of a session are told: what several groups need of lists of events and deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from qashier_contract.clauses.table import Findings
from qashier_contract.findings import Counts, Equals, expect
from qashier_contract.history import Endpoint, Exchange
from qashier_contract.ledger import Ledger, ObservedSession
from qashier_contract.observed_events import ObservedEvent, last_feeds, session_of, tells_of
from qashier_contract.places import At, Entry, Step, Where, in_body

_OF_SESSION: Final = "event of this session"
_SESSION = ("data", "object", "id")


def told_in(feed: Exchange, session_id: str, name: str) -> At:
    """A property of each event in a list that is about a session."""
    return in_body(feed, "data", Where(_SESSION, session_id), name)


def told_once(ledger: Ledger, session_id: str, reason: str, *evidence: Exchange) -> Findings:
    """Judge that a session has one event, in the last list of events of each account and in what was delivered."""
    for feed in last_feeds(ledger.history).values():
        if tells_of(feed, session_id):
            yield expect(Counts(told_in(feed, session_id, "id"), 1, 1, _OF_SESSION), reason, *evidence)
    delivered = [one for one in ledger.history.deliveries if session_of(one.event).get("id") == session_id]
    for delivery in delivered[1:]:
        yield expect(Equals(in_body(delivery, "id"), in_body(delivered[0], "id")), reason, *evidence)


def in_event(seen: ObservedEvent, *path: Step) -> At:
    """A place in an event, where it was seen: in a list of events or in a delivery."""
    if seen.delivery is not None:
        return in_body(seen.delivery, *path)
    assert seen.exchange is not None
    return in_body(seen.exchange, "data", entry_of(seen), *path)


def entry_of(seen: ObservedEvent) -> Step:
    """An event's entry in a list of events, by the session that it tells of."""
    subject = seen.session.get("id")
    return Entry(seen.place, _SESSION, subject, seen.nth) if isinstance(subject, str) else seen.place


def in_its_session(seen: ObservedEvent, *path: Step) -> At:
    """A place in the session that an event shows."""
    return in_event(seen, "data", "object", *path)


def cause_of(observed: ObservedSession, write: Exchange | None) -> tuple[Exchange, ...]:
    """The create of a session, and the request that ended it; the clock sends none."""
    return (observed.born, *((write,) if write else ()))


def listening(ledger: Ledger, observed: ObservedSession, write: Exchange | None) -> Sequence[Endpoint]:
    """The endpoints that surely were registered when a session ended by a request, but for one that ever refused."""
    if write is None:
        return ()
    return [
        endpoint
        for endpoint in ledger.history.endpoints
        if endpoint.account == observed.account
        and not endpoint.refused_ns
        and endpoint.registered_ns < write.sent_ns
        and (endpoint.removed_ns is None or endpoint.removed_ns > write.received_ns)
    ]
