"""Events as they were seen: in the control API's list, and in deliveries. Facts only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qashier_contract.history import Delivery, Exchange, History, Operation
from qashier_contract.values import Json


@dataclass(frozen=True, slots=True, eq=False)
class ObservedEvent:
    """An event as it was seen: in the control API's list, at `place` of its `data`, or in a delivery.

    `nth` says how many before it in that list tell of the same session.
    """

    event: Mapping[str, Json]
    account: int
    exchange: Exchange | None = None
    delivery: Delivery | None = None
    place: int = 0
    nth: int = 0

    @property
    def session(self) -> Mapping[str, Json]:
        """The session that it tells of, as it shows it."""
        return session_of(self.event)


def session_of(event: Mapping[str, Json]) -> Mapping[str, Json]:
    """The session that an event shows; empty if it shows none."""
    data = event.get("data")
    inner = data.get("object") if isinstance(data, dict) else None
    return inner if isinstance(inner, dict) else {}


def subject_of(event: Mapping[str, Json]) -> Json:
    """The id of the session that an event tells of; None if it tells of none."""
    return session_of(event).get("id")


def feeds(history: History) -> Iterator[Exchange]:
    """The answers of the control API that list every event of an account."""
    for exchange in history.of(Operation.EVENTS):
        if exchange.succeeded and not exchange.request.query and isinstance(exchange.object.get("data"), list):
            yield exchange


def last_feeds(history: History) -> Mapping[int | None, Exchange]:
    """The last of `feeds` for each account."""
    return {exchange.account: exchange for exchange in feeds(history)}


def tells_of(feed: Exchange, session_id: str) -> bool:
    """Whether a list of events has one about a session."""
    return any(isinstance(event, dict) and subject_of(event) == session_id for event in feed.object["data"])


def observed_events(history: History) -> Iterator[ObservedEvent]:
    """Every event that was seen: those of the last list of each account, and each delivery."""
    for exchange in last_feeds(history).values():
        told: Counter[str] = Counter()
        for place, event in enumerate(exchange.object["data"]):
            shown = event if isinstance(event, dict) else {}
            subject = str(subject_of(shown))
            yield ObservedEvent(shown, exchange.account or 0, exchange, place=place, nth=told[subject])
            told[subject] += 1
    for delivery in history.deliveries:
        yield ObservedEvent(delivery.event, delivery.endpoint.account, None, delivery)
