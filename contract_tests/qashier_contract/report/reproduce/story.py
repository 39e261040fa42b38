"""The shortest sequence of requests that shows a violation.

A violation names the exchanges that disagree. To see it again one needs what they rest on as well: the creation of each
session that they name and what became of it since, earlier uses of their idempotency keys, the sessions that a page
ought to show, the clock's moves in between. `Story` gathers that from the history, in order, and leaves the rest out.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from qashier_contract.history import Capability, Exchange, Operation
from qashier_contract.ledger import Ledger, ObservedSession
from qashier_contract.values import is_integer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from qashier_contract.history import Delivery, Endpoint, History
    from qashier_contract.ledger import Listing
    from qashier_contract.values import Json
    from qashier_contract.verdicts import Violation

_ABOUT_LISTS: Final = frozenset(f"LIS-{number}" for number in range(2, 13))
"""The clauses for which it matters which sessions there are."""
_AT_ONCE: Final = frozenset({"CON-1", "CON-2", "IDM-6", "CRE-10", "IDM-1"})
"""The clauses for which requests that crossed each other are sent at once again."""
_FAR_S: Final = 60
_ABOUT_THE_PAGE: Final = frozenset({"CRE-9", "EXP-6", "PAY-4", "PAY-5"})
_FOLD_FROM: Final = 4
_MOST_PARTNERS: Final = 8
_MOST_EVENTS: Final = 3
_MOST_CREATES: Final = 40
_FEW: Final = 30
"""A list of no more sessions than this is told with all that became of them."""
SOON_S: Final = 2
"""How long a replay waits before it asks for events that were missing."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One request of a story.

    `moved_s` is by how many seconds it moves the clock, where it does. `batch` are the creates that were folded into
    one step, because they ask for the same and nothing names one of them alone; `exchange` is the first of them.
    """

    exchange: Exchange
    moved_s: int | None = None
    batch: tuple[Exchange, ...] = ()


class Story:
    """What has to be sent to see one violation again.

    Args:
        violation: What was seen.
        history: Where it was seen.
    """

    def __init__(self, violation: Violation, history: History) -> None:
        self.violation = violation
        self.clause = violation.clause
        self.history = history
        self.ledger: Ledger = Ledger(history)
        self._needed: dict[int, Exchange] = {}
        self._population: dict[int, tuple[ObservedSession, ...]] = {}
        self._gather()
        self.groups = self._grouped()

    # ── what the story consists of ──────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def told(self) -> tuple[Exchange, ...]:
        """The exchanges that disagree, without looks at the clock, and without what came after the guilty one."""
        told = tuple(e for e in self.violation.exchanges if e.operation is not Operation.CLOCK)
        pages = [e.number for e in told if e.operation is Operation.LIST]
        if self.clause.startswith("LIS-") and self.clause != "LIS-14" and pages:
            return tuple(e for e in told if e.number <= pages[-1])
        reads = [e.number for e in told if e.operation is Operation.RETRIEVE]
        if self.clause == "AMT-6" and reads:
            return tuple(e for e in told if e.number <= reads[-1])
        return told

    @property
    def guilty(self) -> Exchange | None:
        """The last of them; None where deliveries alone tell the story."""
        return self.told[-1] if self.told else None

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for group in self.groups for step in group)

    @property
    def is_about_a_list(self) -> bool:
        """Whether what is judged is which sessions there are: then idempotency keys do not matter."""
        return self.clause in _ABOUT_LISTS or self.clause == "CRE-10"

    @cached_property
    def is_concurrent(self) -> bool:
        """Whether some requests are sent at once."""
        return any(len(group) > 1 for group in self.groups)

    @cached_property
    def sessions(self) -> tuple[ObservedSession, ...]:
        """The sessions that the story opens, in the order of creation."""
        numbers = {e.number for step in self.steps for e in (step.exchange, *step.batch)}
        return tuple(observed for observed in self.ledger.sessions.values() if observed.born.number in numbers)

    @cached_property
    def accounts(self) -> tuple[int, ...]:
        """In whose names requests are sent."""
        return tuple(sorted({e.account for e in self._needed.values() if e.account is not None} | self._told_accounts))

    @cached_property
    def _told_accounts(self) -> frozenset[int]:
        return frozenset(delivery.endpoint.account for delivery in self.violation.deliveries)

    @cached_property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The receivers of ours that the story needs: only where no list of events tells it."""
        if not self.clause.startswith("EVT-") or any(e.operation is Operation.EVENTS for e in self.told):
            return ()
        named = {delivery.endpoint.url for delivery in self.violation.deliveries}
        if named:
            return tuple(endpoint for endpoint in self.history.endpoints if endpoint.url in named)
        end = self.guilty.sent_ns if self.guilty is not None else 0
        everyone = self.clause == "EVT-6"
        accounts = {e.account for e in self.told}
        there = [e for e in self.history.endpoints if e.account in accounts and e.registered_ns < end]
        there = [e for e in there if e.removed_ns is None or e.removed_ns > end]
        odd = [e for e in there if len({d.event.get("id") for d in self._arrived() if d.endpoint.url == e.url}) != 1]
        return tuple(there if everyone else odd[:1] or there[:1])

    def may_lag(self, exchange: Exchange) -> bool:
        """Whether a list of events lacks what a list may have a moment later."""
        if self.clause != "EVT-2" or exchange.operation is not Operation.EVENTS:
            return False
        named = {observed.id for e in self.told if (observed := self.session_of(e)) is not None}
        return not any(isinstance(event, dict) and subject_of(event) in named for event in exchange.object["data"])

    def _arrived(self) -> Iterator[Delivery]:
        """The deliveries about the sessions that the violation names."""
        named = {observed.id for e in self.told if (observed := self.session_of(e)) is not None}
        return (d for d in self.history.deliveries if subject_of(d.event) in named)

    def session_of(self, exchange: Exchange) -> ObservedSession | None:
        """The session that a request opened, names, or shows the page of."""
        named = exchange.page_of or exchange.request.session_id
        if named is not None:
            return self.ledger.sessions.get(named)
        shown = exchange.object.get("id")
        return self.ledger.sessions.get(shown) if isinstance(shown, str) and exchange.succeeded else None

    def listing(self, exchange: Exchange) -> Listing | None:
        """What is known of a page."""
        return next((one for one in self.ledger.listings if one.exchange is exchange), None)

    def population(self, exchange: Exchange) -> tuple[ObservedSession, ...]:
        """The sessions that are opened so that a page can show them, in the order of creation."""
        return self._population.get(exchange.number, ())

    def clock_at(self, account: int) -> int | None:
        """The account's time when the story begins, epoch seconds."""
        first = next((step.exchange for step in self.steps if step.exchange.account == account), None)
        if first is None:
            return None
        observed = self.session_of(first) if self._is_about_seconds else None
        if observed is not None and observed.born is first:
            return observed.created
        least, most = self.ledger.clock(first)
        if least is None and most is None:
            created = [observed.created for observed in self.ledger.sessions.values() if observed.account == account]
            return min(created, default=None)
        return least if least is not None else most

    # ── gathering ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _gather(self) -> None:
        pending = [*self.told, *self._of_deliveries()]
        if self.clause == "CRE-10":
            # Which id is odd, or given out again, may depend on how many there were before.
            earlier = (e for e in self.history.of(Operation.CREATE) if e.succeeded and e.is_before(self.told[-1]))
            pending += [e for e in earlier if not self.ledger.earlier_uses(e)][-_MOST_CREATES:]
        if self.clause in _AT_ONCE:
            pending += [partner for exchange in self.told for partner in self._partners(exchange)]
        while pending:
            exchange = pending.pop()
            if exchange.number in self._needed or exchange.operation is Operation.CLOCK:
                continue
            self._needed[exchange.number] = exchange
            pending += [*self._of_sessions(exchange), *self._of_key(exchange), *self._of_page(exchange)]
            pending += self._of_feed(exchange)

    def _of_deliveries(self) -> Iterator[Exchange]:
        for endpoint in self.endpoints:
            for exchange in self.history.of(Operation.ENDPOINTS):
                body = exchange.request.json
                registers = isinstance(body, dict) and body.get("url") == endpoint.url and exchange.succeeded
                removes = exchange.request.method == "DELETE" and exchange.request.path.endswith(f"/{endpoint.id}")
                ends = self.guilty.number if self.guilty is not None else self.violation.deliveries[-1].number
                if registers or (removes and exchange.number < ends):
                    yield exchange
        for delivery in self.violation.deliveries:
            observed = self.ledger.sessions.get(subject_of(delivery.event))
            if observed is not None:
                yield observed.born
                yield from (write for write in observed.writes if write.number < delivery.number)

    def _of_feed(self, exchange: Exchange) -> Iterator[Exchange]:
        """Where a list of events alone tells the story: what made a few of them, one of each kind."""
        events = exchange.object.get("data")
        if exchange.operation is not Operation.EVENTS or not isinstance(events, list):
            return
        if any(e.operation is not Operation.EVENTS for e in self.told):
            return
        ids = Counter(event.get("id") for event in events if isinstance(event, dict))
        kinds: dict[object, str] = {}
        for event in events:
            if isinstance(event, dict):
                doubled = ids[event.get("id")] > 1 and subject_of(event)
                words = (event.get("type"), event.get("account"), event.get("api_version"), doubled)
                kinds.setdefault((*map(str, words), *sorted(event)), subject_of(event))
        for session_id in [*dict.fromkeys(kinds.values())][:_MOST_EVENTS]:
            observed = self.ledger.sessions.get(session_id)
            if observed is not None:
                yield from (e for e in (observed.born, *observed.writes) if e.number < exchange.number)

    def _partners(self, exchange: Exchange) -> Iterator[Exchange]:
        """What was sent at once with a request, as far as it concerns the same."""
        observed = self.session_of(exchange)
        near: Iterable[Exchange] = ()
        if self.clause == "CON-1" and observed is not None:
            near = (*observed.writes, *observed.reads)
        elif exchange.operation is Operation.CREATE:
            near = self.history.of(Operation.CREATE)
        found = [e for e in near if e is not exchange and e.account == exchange.account and e.overlaps(exchange)]
        yield from found[:_MOST_PARTNERS]

    def _of_key(self, exchange: Exchange) -> Iterator[Exchange]:
        """Earlier uses of an idempotency key: all that count where the clause is about keys, else the first."""
        uses = self.ledger.earlier_uses(exchange)
        if self.is_about_a_list:
            return  # what a page shows does not depend on keys, and it is told without them
        if self.clause == "IDM-8" or (self.clause in _AT_ONCE and exchange in self.told):
            yield from uses
        elif self.clause.startswith("IDM-") and exchange in self.told:
            yield from (use for use in uses if not use.refused)
        else:
            yield from [use for use in uses if use.succeeded][:1]

    def _of_sessions(self, exchange: Exchange) -> Iterator[Exchange]:
        """What made the sessions that a request names what they were."""
        for observed in self.named(exchange):
            yield observed.born
            for write in observed.writes:
                before = write.number < exchange.number or write.overlaps(exchange)
                if write is not exchange and before and (not write.refused or self.clause.startswith("EVT-")):
                    yield write
            if self.clause not in _ABOUT_THE_PAGE:
                # Looking at its page ought to change nothing; here something did.
                yield from self._looks(observed, exchange)
        yield from self._of_replay(exchange)
        if exchange.operation is Operation.RETRIEVE and exchange in self.told:
            yield from self._read_before(exchange)
        page = self.page_before(exchange)
        if page is not None:
            yield page

    def page_before(self, exchange: Exchange) -> Exchange | None:
        """What opened the page on which something was pressed: a view, or another press that led there."""
        shown = next((e for e in self.history.exchanges if e.number == exchange.page_from), None)
        if shown is None or not (shown.page_act or "").endswith(", led on"):
            return shown
        act = (shown.page_act or "").removesuffix(", led on")
        before = (e for e in reversed(self.history.exchanges) if e.number < shown.number)
        return next((e for e in before if e.page_of == shown.page_of and e.page_act == act), None)

    def _of_replay(self, exchange: Exchange) -> Iterator[Exchange]:
        """What became of a session between its creation and the request that is answered with that creation again."""
        if (
            exchange.operation is not Operation.CREATE
            or not self.clause.startswith("IDM-")
            or exchange not in self.told
        ):
            return
        observed = self.session_of(exchange)
        if observed is not None and self.guilty is not None:
            yield from (w for w in observed.writes if w.is_before(self.guilty) and not w.refused and w not in self.told)

    def _read_before(self, exchange: Exchange) -> Iterator[Exchange]:
        """The last look at a session before its last change: what is cached, was read before."""
        observed = self.session_of(exchange)
        if observed is None:
            return
        writes = [write for write in observed.writes if write.is_before(exchange) and not write.refused]
        reads = [read for read in observed.reads if writes and read.is_before(writes[-1])]
        yield from reads[-1:]

    def _looks(self, observed: ObservedSession, exchange: Exchange) -> Iterator[Exchange]:
        return (
            e
            for e in self.history.exchanges
            if e.page_of == observed.id and e.page_act == "view" and e.number < exchange.number
        )

    def named(self, exchange: Exchange) -> Iterator[ObservedSession]:
        """The sessions of ours that a request names, also where an id is only nearly theirs."""
        parameters = exchange.request.parameters
        texts = [exchange.page_of, exchange.request.session_id]
        if exchange.operation is Operation.LIST:
            texts += [parameters.get("starting_after"), parameters.get("ending_before")]
        for text in texts:
            if text:
                found = self.nearly(text)
                if found is not None:
                    yield self.ledger.sessions[found[0]]

    def nearly(self, text: str) -> tuple[str, str] | None:
        """The id of a session of ours that a text is, or was made from, and how, as an expression of `{}`."""
        sessions = self.ledger.sessions
        if text in sessions:
            return text, "{}"
        if len(text) > 12 and text[:-1] in sessions:
            return text[:-1], f"{{}} + {text[-1]!r}"
        if text.swapcase() in sessions:
            return text.swapcase(), "{}.swapcase()"
        cut = next((i for i in sessions if len(text) > 12 and i[:-1] == text), None)
        return (cut, "{}[:-1]") if cut is not None else None

    # ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _of_page(self, exchange: Exchange) -> Iterator[Exchange]:
        listing = self.listing(exchange) if exchange.operation is Operation.LIST else None
        if self.clause not in _ABOUT_LISTS or listing is None or exchange not in self.told:
            return
        population = self._choose(listing)
        self._population[exchange.number] = population
        for observed in population:
            yield observed.born
            if listing.query.status is not None or self.clause == "LIS-4" or len(population) <= _FEW:
                yield from (w for w in observed.writes if w.number < exchange.number and not w.refused)

    def _choose(self, listing: Listing) -> tuple[ObservedSession, ...]:
        """The sessions around a page: what it shows, what it ought to show, and their neighbours on either side."""
        exchange, limit = listing.exchange, listing.query.limit
        there = [
            observed
            for observed in self.ledger.sessions.values()
            if observed.account == exchange.account and observed.born.is_before(exchange)
        ]
        ranked = sorted(there, key=lambda observed: (observed.created, observed.ordinal))
        places = {observed.id: place for place, observed in enumerate(ranked)}
        due = listing.matching[-(limit + 1) :] if listing.query.ending_before else listing.matching[: limit + 1]
        shown = [session_id for session_id in listing.ids if session_id in places]
        wanted = {*(observed.id for observed in due), *shown[: limit + 1]}
        wanted |= {observed.id for observed in self.named(exchange)} | {
            observed.id for e in self.told for observed in self._own(e)
        }
        found = sorted(places[session_id] for session_id in wanted if session_id in places)
        if not found:
            return tuple(ranked[-(limit + 2) :])
        low, high = max(0, found[0] - 1), min(len(ranked) - 1, found[-1] + 1)
        if self.clause == "LIS-7":
            # What lies behind the page in its direction, whatever leaves it out.
            cursor = places.get(listing.cursor or "")
            if listing.query.ending_before and cursor is not None:
                high = min(len(ranked) - 1, max(high, cursor + limit + 1))
            else:
                low = max(0, min(low, (high if cursor is None else cursor) - limit - 1))
        if listing.query.status is not None and listing.cursor is None:
            high = min(len(ranked) - 1, high + limit)
        return tuple(sorted(ranked[low : high + 1], key=lambda observed: observed.ordinal))

    def _own(self, exchange: Exchange) -> Iterator[ObservedSession]:
        observed = self.session_of(exchange) if exchange.operation is Operation.CREATE else None
        if observed is not None:
            yield observed

    # ── order ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _moves(self) -> Mapping[int, int]:
        """By how many seconds each exchange moved its account's clock, by its number."""
        last: dict[int, int] = {}
        moves: dict[int, int] = {}
        for exchange in self.history.of(Operation.CLOCK):
            now = exchange.object.get("now")
            if not exchange.succeeded or not is_integer(now) or exchange.account is None:
                continue
            body = exchange.request.json
            seconds = body.get("seconds") if isinstance(body, dict) else None
            if exchange.request.method == "POST" and is_integer(seconds):
                moves[exchange.number] = seconds
            elif exchange.request.method == "PUT" and "now" in (body if isinstance(body, dict) else {}):
                moves[exchange.number] = max(0, now - last.get(exchange.account, now))
            last[exchange.account] = now
        return moves

    def _end(self) -> int:
        """The number of the last exchange whose moves of the clock still matter."""
        numbers = [*self._needed, *(delivery.number for delivery in self.violation.deliveries)]
        if self.clause != "EVT-6":
            numbers += [d.number for d in self._arrived() if d.endpoint in self.endpoints]
        if self.clause == "EVT-6" and self.violation.deliveries and "first retry" in self.violation.expected:
            return self._within(60)
        if self.clause == "EVT-6" and self.violation.deliveries:
            removed = [e.removed_ns for e in self.endpoints if e.removed_ns is not None]
            later = [e.number for e in self.history.exchanges if not removed or e.sent_ns < max(removed)]
            return max([*numbers, *later])
        return max(numbers, default=0)

    def _within(self, seconds: int) -> int:
        """The number of the last request before the clock has moved so far from the first delivery."""
        first, moved = self.violation.deliveries[0], 0
        for exchange in self.history.exchanges:
            if exchange.number > first.number and exchange.account == first.endpoint.account:
                moved += self._moves.get(exchange.number, 0)
                if moved > seconds:
                    return exchange.number
        return max(e.number for e in self.history.exchanges) + 1

    def _grouped(self) -> tuple[tuple[Step, ...], ...]:
        start, end = min(self._needed, default=0), self._end()
        if self.clause == "CRE-4":
            # Whose clock it is that a new session shows, is seen once the account's was moved far enough.
            far = (number for number, seconds in self._moves.items() if number < start and seconds >= _FAR_S)
            start = max(far, default=start + 1) - 1
        steps: list[Step] = []
        for exchange in self.history.exchanges:
            if exchange.number in self._needed:
                if not (exchange.page_act or "").endswith(", led on"):
                    steps.append(Step(exchange))
            elif (
                start < exchange.number < end
                and exchange.account in self.accounts
                and (moved := self._moves.get(exchange.number))
            ):
                steps.append(Step(exchange, moved_s=moved))
        merged = self._merged(self._in_time(steps) if self._is_about_seconds else steps)
        at_once = self.clause in _AT_ONCE and any(a.overlaps(b) for a, b in pairwise(self.told))
        groups: list[list[Step]] = []
        for step in merged:
            if groups and at_once and _crosses(step, groups[-1]):
                groups[-1].append(step)
            else:
                groups.append([step])
        return tuple(tuple(group) for group in groups)

    @cached_property
    def _is_about_seconds(self) -> bool:
        """Whether a page is bounded by the second in which sessions were opened, and the clock can be moved."""
        can_move = Capability.CLOCK in self.history.terms.capabilities
        return can_move and any("created" in e.request.query for e in self.told)

    def _in_time(self, steps: Sequence[Step]) -> list[Step]:
        """The steps, with a move of the clock wherever it went on by itself before a session was opened.

        In a replay the clock stands still but for what moves it: each session is opened in the second in which it was.
        """
        clocks: dict[int, int] = {}
        found: list[Step] = []
        for step in steps:
            account = step.exchange.account
            observed = self.session_of(step.exchange) if step.moved_s is None else None
            if step.moved_s is not None and account in clocks:
                clocks[account] += step.moved_s
            elif observed is not None and observed.born is step.exchange:
                elapsed = observed.created - clocks.setdefault(observed.account, observed.created)
                if elapsed > 0:
                    found.append(Step(step.exchange, moved_s=elapsed))
                    clocks[observed.account] = observed.created
            found.append(step)
        return found

    def _merged(self, steps: Sequence[Step]) -> list[Step]:
        """Moves of a clock in a row as one move, and creates of the same in a row as one batch."""
        merged: list[Step] = []
        for step in steps:
            before = merged[-1] if merged else None
            if (
                before is not None
                and step.moved_s is not None
                and before.moved_s is not None
                and before.exchange.account == step.exchange.account
                and self.clause != "EVT-6"
            ):
                merged[-1] = Step(before.exchange, moved_s=before.moved_s + step.moved_s)
            elif before is not None and self._folds(before, step):
                merged[-1] = Step(before.exchange, batch=(*(before.batch or (before.exchange,)), step.exchange))
            else:
                merged.append(step)
        unfolded: list[Step] = []
        for step in merged:
            if 0 < len(step.batch) < _FOLD_FROM:
                unfolded += [Step(exchange) for exchange in step.batch]
            else:
                unfolded.append(step)
        return unfolded

    def _folds(self, before: Step, step: Step) -> bool:
        return (
            before.moved_s is None
            and step.moved_s is None
            and self._is_one_of_many(before.exchange)
            and self._is_one_of_many(step.exchange)
            and before.exchange.account == step.exchange.account
            and (
                (self.is_filling(before.exchange) and self.is_filling(step.exchange))
                or without_marker(before.exchange.request.body) == without_marker(step.exchange.request.body)
            )
        )

    def _is_one_of_many(self, exchange: Exchange) -> bool:
        return (
            exchange.operation is Operation.CREATE
            and exchange.succeeded
            and (exchange.request.idempotency_key is None or self.is_filling(exchange))
            and (bool(self._population) or self.clause == "CRE-10")
            and not any(e is exchange for e in self.told[-1:])
            and (
                Capability.CLOCK in self.history.terms.capabilities
                or not any("created" in e.request.query for e in self.told)
            )
        )

    def is_filling(self, exchange: Exchange) -> bool:
        """Whether a create is there just so that a page has something to show: any body will do."""
        if exchange.operation is not Operation.CREATE or not exchange.succeeded:
            return False
        if not self._population and self.clause != "CRE-10":
            return False
        observed = self.session_of(exchange)
        if observed is None or observed.born is not exchange:
            return False
        body = exchange.request.json
        ends = isinstance(body, dict) and body.get("expires_at") is not None
        return not (self._is_about_status and (ends or _is_free(body)))

    @cached_property
    def _is_about_status(self) -> bool:
        """Whether it matters which sessions have ended, so that their deadlines do as well."""
        return any("status" in e.request.query for e in self.told)

    @cached_property
    def filling(self) -> Exchange | None:
        """The create whose plain body stands for all of them."""
        return next((e for e in self.history.of(Operation.CREATE) if e.succeeded and _is_plain(e)), None)


def _crosses(step: Step, group: Sequence[Step]) -> bool:
    mine = step.moved_s is None and not step.batch
    return mine and any(
        other.moved_s is None and not other.batch and other.exchange.overlaps(step.exchange) for other in group
    )


def _is_free(body: Json) -> bool:
    """Whether there is nothing to pay."""
    try:
        return not any(line["price_data"]["unit_amount"] for line in body["line_items"])
    except (KeyError, TypeError):
        return False


def _is_plain(exchange: Exchange) -> bool:
    """Whether a create asks for one line, and for nothing that is optional."""
    body = exchange.request.json
    if not isinstance(body, dict) or body.keys() != {"line_items", "success_url", "return_url"}:
        return False
    products = [line["price_data"]["product_data"] for line in body["line_items"]]
    return (
        len(products) == 1
        and products[0].keys() == {"name"}
        and without_marker(exchange.request.body) != exchange.request.body
    )


def subject_of(event: Mapping[str, Json]) -> str:
    """The id of the session that an event tells of; empty if it tells of none."""
    data = event.get("data")
    session = data.get("object") if isinstance(data, dict) else None
    found = session.get("id") if isinstance(session, dict) else None
    return found if isinstance(found, str) else ""


_MARKER: Final = re.compile(rb"https://shop\.example/thanks/[0-9a-z]+-[0-9]+(?=[\"\\])")


def without_marker(body: bytes | None) -> bytes | None:
    """A body without the word that makes it unlike every other."""
    return None if body is None else _MARKER.sub(b"https://shop.example/thanks", body)
