"""What of a history can be left out, and what must stay together.

A history without one write would tell of a session that the target never had, and clauses would accuse it of that. So
whole units are left out only: a session with everything that wrote to it, all uses of one idempotency key, a webhook
endpoint with its removal and its deliveries. Reads are units of their own. What was asked of a clock always stays.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final

from qashier_contract.history import Delivery, Exchange, History, Operation
from qashier_contract.ledger import Ledger
from qashier_contract.observed_events import subject_of
from qashier_contract.trace.symbols import SessionId, nearly

_MOST_MARKED: Final = 16
"""A `success_url` that more creates ask for marks none of them."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Exchanges that stay or go together, by their numbers.

    `endpoints` are the URLs of the webhook endpoints that go with them. `needs` are the places of the units without
    which these exchanges would mean something else: a read needs the session that it names.
    """

    exchanges: frozenset[int]
    endpoints: frozenset[str] = frozenset()
    needs: frozenset[int] = frozenset()


class Units:
    """A history cut into units, in the order in which they begin."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.sessions = Ledger(history).sessions
        self._of_id = dict.fromkeys(self.sessions)
        self._joined: dict[int, int] = {}
        self._anchors: dict[object, int] = {}
        self._readers: dict[int, str] = {}
        entered = [e for e in history.exchanges if e.operation is not Operation.CLOCK and not e.was_limited]
        self._marks = Counter(_mark(exchange) for exchange in entered)
        for exchange in entered:
            self._enter(exchange)
        self.all = self._cut()
        self._place_of = {number: place for place, unit in enumerate(self.all) for number in unit.exchanges}
        self._place_of_endpoint = {url: place for place, unit in enumerate(self.all) for url in unit.endpoints}

    # Cutting.

    def _enter(self, exchange: Exchange) -> None:
        """Join an exchange to every unit that it belongs to, or note which session it reads."""
        self._joined[exchange.number] = self._anchors["exchange", exchange.number] = exchange.number
        for anchor in self._anchors_of(exchange):
            self._join(self._anchors.setdefault(anchor, exchange.number), exchange.number)
        named = self.named_session(exchange)
        if named is not None:
            self._readers[exchange.number] = named

    def _anchors_of(self, exchange: Exchange) -> Iterator[object]:
        operation, request = exchange.operation, exchange.request
        if request.idempotency_key:
            yield "key", request.idempotency_key
        if operation is Operation.CREATE:
            shown = exchange.object.get("id")
            if exchange.succeeded and isinstance(shown, str):
                yield "session", shown
            if (mark := _mark(exchange)) is not None and self._marks[mark] <= _MOST_MARKED:
                yield "mark", mark
        written = operation in {Operation.EXPIRE, Operation.PAY}
        if written and request.session_id in self._of_id:
            yield "session", request.session_id
        if operation is Operation.PAGE and exchange.page_act != "view":
            yield "session", exchange.page_of
            if ("exchange", exchange.page_from) in self._anchors:
                yield "exchange", exchange.page_from
        if operation is Operation.ENDPOINTS and request.method == "POST":
            body = request.json
            yield "endpoint", str(body.get("url")) if isinstance(body, dict) else ""
            yield "endpoint id", exchange.account, str(exchange.object.get("id"))
        if operation is Operation.ENDPOINTS and request.method == "DELETE":
            yield "endpoint id", exchange.account, request.path.rpartition("/")[2]

    def _join(self, first: int, second: int) -> None:
        self._joined[self._root(second)] = self._root(first)

    def _root(self, number: int) -> int:
        while self._joined[number] != number:
            self._joined[number] = self._joined[self._joined[number]]
            number = self._joined[number]
        return number

    def _cut(self) -> tuple[Unit, ...]:
        members: dict[int, list[int]] = defaultdict(list)
        for number in self._joined:
            members[self._root(number)].append(number)
        ordered = sorted(members.values())
        place_of = {number: place for place, numbers in enumerate(ordered) for number in numbers}
        urls: dict[int, set[str]] = defaultdict(set)
        for endpoint in self.history.endpoints:
            anchor = self._anchors.get(("endpoint", endpoint.url))
            if anchor is not None:
                urls[place_of[anchor]].add(endpoint.url)
        needs: dict[int, set[int]] = defaultdict(set)
        for number, named in self._readers.items():
            needs[place_of[number]].add(place_of[self.sessions[named].born.number])
        return tuple(
            Unit(frozenset(numbers), frozenset(urls[place]), frozenset(needs[place] - {place}))
            for place, numbers in enumerate(ordered)
        )

    def named_session(self, exchange: Exchange) -> str | None:
        """The session of ours that a request names, also where its id is only nearly right."""
        parameters = exchange.request.parameters if exchange.operation is Operation.LIST else {}
        texts = (exchange.page_of, exchange.request.session_id)
        for text in (*texts, parameters.get("starting_after"), parameters.get("ending_before")):
            for part in nearly(text, self._of_id) if text else ():
                if isinstance(part, SessionId):
                    return part.id
        return None

    # Choosing.

    def whole(self) -> frozenset[int]:
        """The places of all units."""
        return frozenset(range(len(self.all)))

    def closed(self, places: Iterable[int]) -> frozenset[int]:
        """Some units and all that they need."""
        found: set[int] = set()
        pending = list(places)
        while pending:
            place = pending.pop()
            if place not in found:
                found.add(place)
                pending += self.all[place].needs
        return frozenset(found)

    def of(self, exchanges: Iterable[Exchange], deliveries: Iterable[Delivery] = ()) -> frozenset[int]:
        """The units of some exchanges and deliveries, and all that they need."""
        places = {self._place_of[e.number] for e in exchanges if e.number in self._place_of}
        for delivery in deliveries:
            places |= {self._place_of_endpoint[u] for u in (delivery.endpoint.url,) if u in self._place_of_endpoint}
            places |= self.of_session(subject_of(delivery.event))
        return self.closed(places)

    def of_session(self, session_id: object) -> frozenset[int]:
        """The unit of a session, empty if it is none of ours."""
        observed = self.sessions.get(session_id) if isinstance(session_id, str) else None
        return frozenset() if observed is None else frozenset({self._place_of[observed.born.number]})

    def only(self, places: AbstractSet[int]) -> History:
        """The history of some units alone, and of the clock."""
        history = self.history
        numbers = {number for place in places for number in self.all[place].exchanges}
        urls = {url for place in places for url in self.all[place].endpoints}

        def stays(delivery: Delivery) -> bool:
            subject = self.of_session(subject_of(delivery.event))
            return delivery.endpoint.url in urls and subject <= places

        return replace(
            history,
            exchanges=tuple(e for e in history.exchanges if e.number in numbers or e.operation is Operation.CLOCK),
            deliveries=tuple(d for d in history.deliveries if stays(d)),
            endpoints=tuple(e for e in history.endpoints if e.url in urls),
        )


def _mark(exchange: Exchange) -> tuple[int | None, str] | None:
    """What tells which create made a session that no answer named: the `success_url` that it asked for."""
    body = exchange.request.json if exchange.operation is Operation.CREATE else None
    url = body.get("success_url") if isinstance(body, dict) else None
    return (exchange.account, url) if isinstance(url, str) else None
