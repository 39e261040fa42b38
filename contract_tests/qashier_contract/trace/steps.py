"""A history as requests that can be sent again.

What belongs to the run that was recorded becomes a symbol: ids that the target gave out, times, the word that was new
in that run, addresses of webhook receivers and of hosted pages. Whoever sends the requests again, or writes them down,
gives each symbol its new value. So no step names a host, and none the address of a page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import quote, unquote

from qashier_contract.history import Capability, Exchange, History, Operation
from qashier_contract.ledger import Ledger
from qashier_contract.trace.units import nearly
from qashier_contract.values import NOT_JSON, Json, is_integer

_FAR_S: Final = 100 * 86_400
"""A number further than this from the trace's times is no time."""
_DRIFT_S: Final = 5
"""How far a clock that stands may have gone on by itself between two steps."""
_NONCE: Final = re.compile(r"https://shop\.example/thanks/([0-9a-z]{6,})-[0-9]+")
_SHORTEST_ID: Final = 8
"""A shorter id is replaced only where it stands alone."""


@dataclass(frozen=True, slots=True)
class SessionId:
    """The id of a session, by the one that it had. `form` says how it was changed, as `nearly` does."""

    id: str
    form: str = "{}"


def changed(session_id: str, form: str) -> str:
    """An id, changed as `SessionId.form` says."""
    if form == "{}[:-1]":
        return session_id[:-1]
    return session_id.swapcase() if form == "{}.swapcase()" else session_id + form.removeprefix("{}")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in epoch seconds, as an account's clock showed it in the recorded run."""

    value: int | float
    account: int


@dataclass(frozen=True, slots=True)
class Nonce:
    """The word that was new in the recorded run."""

    is_upper: bool = False


@dataclass(frozen=True, slots=True)
class ReceiverUrl:
    """The address of the receiver that stood behind a webhook endpoint."""

    url: str


@dataclass(frozen=True, slots=True)
class Secret:
    """The signing secret of a webhook endpoint. The record shows none."""

    url: str


@dataclass(frozen=True, slots=True)
class EndpointId:
    """The id that the target gave to a webhook endpoint."""

    id: str


Symbol: TypeAlias = SessionId | Moment | Nonce | ReceiverUrl | Secret | EndpointId
Text: TypeAlias = tuple[str | Symbol, ...]
"""A text with symbols in it."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body: a JSON value with `Text`s and `Moment`s in it, or, where that would not give the same bytes, raw text."""

    value: Json
    is_json: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One request to send again, or a move of a clock by `moved_s` seconds.

    `query` is as it is sent, percent-encoded but for its symbols. `press` is the `data-testid` of what a customer
    presses on a page, None for one who opens the session's page.
    """

    exchange: Exchange
    moved_s: int | None = None
    path: Text = ()
    query: Text = ()
    headers: tuple[tuple[str, Text], ...] = ()
    body: Body | None = None
    press: str | None = None

    @property
    def account(self) -> int | None:
        return self.exchange.account


@dataclass(frozen=True, kw_only=True, eq=False)
class Steps:
    """Steps in the order of sending. Those of one group were under way at the same time.

    `starts` is the time of each account's clock at its first step, as far as it is known. `answers` is what the
    receiver answered, delivery by delivery, by the address of the endpoint.
    """

    history: History
    groups: tuple[tuple[Step, ...], ...]
    starts: Mapping[int, int]
    answers: Mapping[str, tuple[int, ...]]
    nonce: str | None
    reader: Reader

    @property
    def all(self) -> Iterator[Step]:
        return (step for group in self.groups for step in group)

    @property
    def requests(self) -> int:
        """How many requests it sends, moves of the clock aside."""
        return sum(step.moved_s is None for step in self.all)

    @property
    def accounts(self) -> tuple[int, ...]:
        """In whose names requests are sent."""
        named = {step.account for step in self.all if step.account is not None}
        return tuple(sorted(named | {endpoint.account for endpoint in self.history.endpoints}))

    @property
    def can_move_clock(self) -> bool:
        return Capability.CLOCK in self.history.terms.capabilities


def steps_of(history: History) -> Steps:
    """The steps of a history, cut down to what matters: each of its requests will be sent again."""
    return Reader(history).read()


class Reader:
    """Reads one history as steps, and knows what in a value belongs to its run."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.ledger = Ledger(history)
        self.ids: dict[str, None] = dict.fromkeys(self.ledger.sessions)
        self.nonce = nonce_of(history)
        self.urls = [endpoint.url for endpoint in history.endpoints]
        self.endpoint_ids = [endpoint.id for endpoint in history.endpoints if endpoint.id]
        times = [s.created for s in self.ledger.sessions.values() if s.created]
        times += [now for e in history.of(Operation.CLOCK) if is_integer(now := e.object.get("now"))]
        self.span = (min(times) - _FAR_S, max(times) + _FAR_S) if times else (0, -1)
        self.pattern = self._pattern()

    def _pattern(self) -> re.Pattern[str] | None:
        words = [re.escape(word) for word in sorted(self.ids, key=len, reverse=True) if len(word) >= _SHORTEST_ID]
        if self.nonce is not None:
            words += [re.escape(self.nonce), re.escape(self.nonce.upper())]
        return re.compile("|".join(words)) if words else None

    # The whole.

    def read(self) -> Steps:
        requests = [e for e in self.history.exchanges if self._is_sent(e)]
        found = sorted((*requests, *self._moves(requests)), key=lambda e: e.number)
        moved = self._moved(found)
        steps: list[Step] = []
        clocks: dict[int | None, int] = {}
        for exchange in found:
            if exchange.operation is Operation.CLOCK:
                steps.append(Step(exchange=exchange, moved_s=moved[exchange.number]))
                self._advance(clocks, exchange, moved[exchange.number])
            else:
                steps += self._drift(clocks, exchange)
                steps.append(self._step(exchange))
        return Steps(
            history=self.history,
            groups=_without_last_removals(_grouped(steps)),
            starts=self._starts(steps),
            answers={
                url: tuple(d.answered for d in self.history.deliveries if d.endpoint.url == url) for url in self.urls
            },
            nonce=self.nonce,
            reader=self,
        )

    @staticmethod
    def _is_sent(exchange: Exchange) -> bool:
        led_on = (exchange.page_act or "").endswith(", led on")
        return exchange.operation is not Operation.CLOCK and not exchange.was_limited and not led_on

    def _moves(self, requests: Sequence[Exchange]) -> Iterator[Exchange]:
        """The moves of each account's clock from its first request to the last of all.

        While a webhook endpoint is registered, a retry may come: then all moves until its removal matter.
        """
        end = max([e.number for e in requests] + [d.number for d in self.history.deliveries], default=0)
        if self.history.endpoints and not any(_is_removal(exchange) for exchange in requests):
            end = self.history.exchanges[-1].number + 1
        begins: dict[int | None, int] = {}
        for exchange in requests:
            account = self._account_of(exchange)
            begins.setdefault(self.history.clock_name(account), exchange.number)
        for exchange in self.history.of(Operation.CLOCK):
            begin = begins.get(self.history.clock_name(exchange.account))
            if begin is None or not begin < exchange.number < end:
                continue
            if exchange.succeeded and exchange.request.method != "GET":
                yield exchange

    def _account_of(self, exchange: Exchange) -> int | None:
        """In whose name a request is made, or whose session it names."""
        if exchange.account is not None:
            return exchange.account
        found = self.ledger.sessions.get(exchange.page_of or exchange.request.session_id or "")
        return None if found is None else found.account

    def _moved(self, found: Sequence[Exchange]) -> dict[int, int]:
        """By how many seconds each clock call among some exchanges moved its clock."""
        wanted = {e.number for e in found}
        shown: dict[int | None, int] = {}
        moved: dict[int, int] = {}
        for exchange in self.history.of(Operation.CLOCK):
            clock, now, body = (
                self.history.clock_name(exchange.account),
                exchange.object.get("now"),
                exchange.request.json,
            )
            if not exchange.succeeded or not is_integer(now):
                continue
            if exchange.number in wanted:
                seconds = body.get("seconds") if isinstance(body, dict) else None
                moved[exchange.number] = seconds if is_integer(seconds) else max(0, now - shown.get(clock, now))
            shown[clock] = now
        return {number: moved.get(number, 0) for number in wanted}

    def _starts(self, steps: Sequence[Step]) -> dict[int, int]:
        starts: dict[int, int] = {}
        for step in steps:
            account = self._account_of(step.exchange)
            if account is None or account in starts:
                continue
            least, most = self.ledger.clock(step.exchange)
            start = least if least is not None else most
            if start is None:
                created = step.exchange.object.get("created")
                start = created if is_integer(created) else None
            if start is not None:
                starts[account] = start
        return starts

    def _advance(self, clocks: dict[int | None, int], exchange: Exchange, seconds: int) -> None:
        clock = self.history.clock_name(exchange.account)
        if clock in clocks:
            clocks[clock] += seconds

    def _drift(self, clocks: dict[int | None, int], exchange: Exchange) -> Iterator[Step]:
        """A move of the clock for the seconds that went by before a session was opened, though the clock stood."""
        if Capability.CLOCK not in self.history.terms.capabilities:
            return
        observed = self.ledger.sessions.get(str(exchange.object.get("id")))
        if observed is None or observed.born is not exchange or not observed.created:
            return
        created = observed.created
        clock = self.history.clock_name(exchange.account)
        elapsed = created - clocks.setdefault(clock, created)
        if 0 < elapsed <= _DRIFT_S:
            clocks[clock] = created
            yield Step(exchange=exchange, moved_s=elapsed)

    # One request.

    def _step(self, exchange: Exchange) -> Step:
        request = exchange.request
        account = self._account_of(exchange) or 0
        if exchange.page_of is not None:
            act = exchange.page_act
            path: Text = (SessionId(exchange.page_of),)
            return Step(exchange=exchange, path=path, press=act if act != "view" else None)
        return Step(
            exchange=exchange,
            path=self._path(request.path),
            query=self._query(request.query, account),
            headers=tuple(
                (name, self.text(value)) for name, value in request.headers if name.lower() != "authorization"
            ),
            body=self._body(exchange, account),
        )

    def text(self, text: str) -> Text:
        """A text, with symbols for ids and for the word of that run."""
        if self.pattern is None:
            return (text,)
        parts: list[str | Symbol] = []
        end = 0
        for match in self.pattern.finditer(text):
            parts += [text[end : match.start()], self._symbol(match[0])]
            end = match.end()
        parts.append(text[end:])
        return tuple(part for part in parts if part != "") or ("",)

    def _symbol(self, word: str) -> Symbol:
        if word in self.ids:
            return SessionId(word)
        return Nonce(is_upper=word != self.nonce)

    def _path(self, path: str) -> Text:
        segments: list[str | Symbol] = []
        for segment in path.split("/"):
            found = (
                nearly(unquote(segment), self.ids)
                if segment and quote(unquote(segment), safe="", errors="surrogatepass") == segment
                else None
            )
            if segments:
                segments.append("/")
            if found is not None:
                segments.append(SessionId(*found))
            elif segment in self.endpoint_ids:
                segments.append(EndpointId(segment))
            else:
                segments += self.text(segment)
        return as_text(segments)

    def _query(self, query: str, account: int) -> Text:
        parts: list[str | Symbol] = []
        for place, pair in enumerate(query.split("&")):
            name, equals, value = pair.partition("=")
            found = nearly(unquote(value), self.ids) if quote(unquote(value), safe="") == value and value else None
            parts += ["&"] * (place > 0) + [name + equals]
            if found is not None:
                parts.append(SessionId(*found))
            elif (
                value.isascii()
                and value.isdigit()
                and unquote(name).startswith("created")
                and self._is_time(int(value))
            ):
                parts.append(Moment(int(value), account))
            else:
                parts += self.text(value)
        return as_text(parts)

    def _is_time(self, value: float) -> bool:
        return self.span[0] <= value <= self.span[1]

    def _body(self, exchange: Exchange, account: int) -> Body | None:
        raw, value = exchange.request.body, exchange.request.json
        if raw is None:
            return None
        if exchange.operation is Operation.ENDPOINTS and isinstance(value, dict):
            url = str(value.get("url"))
            known = {"url": (ReceiverUrl(url),), **({"secret": (Secret(url),)} if "secret" in value else {})}
            return Body({**value, **known}, is_json=True)
        if value is NOT_JSON or not _is_plain(value, raw):
            return Body(self.text(raw.decode("latin-1")), is_json=False)
        return Body(self._value(value, account), is_json=True)

    def _value(self, value: Json, account: int, name: str = "") -> Json:
        if isinstance(value, dict):
            return {key: self._value(item, account, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item, account) for item in value]
        timed = name == "expires_at" and not isinstance(value, bool)
        if isinstance(value, str):
            if timed and value.isdigit() and self._is_time(int(value)):
                return (Moment(int(value), account),)
            parts = self.text(value)
            return parts if parts != (value,) else value
        if timed and isinstance(value, int | float) and self._is_time(value):
            return Moment(value, account)
        return value

    def any_value(self, value: Json, account: int) -> Json:
        """A JSON value with symbols for all in it that looks like an id, a time or the word of the run."""
        if isinstance(value, dict):
            return {name: self.any_value(item, account) for name, item in value.items()}
        if isinstance(value, list):
            return [self.any_value(item, account) for item in value]
        if isinstance(value, str):
            parts = (SessionId(value),) if value in self.ids else self.text(value)
            return parts if parts != (value,) else value
        return Moment(value, account) if is_integer(value) and self._is_time(value) else value


def filled(value: Json, of_text: Callable[[Text], Json], of_moment: Callable[[Moment], Json]) -> Json:
    """The value of a `Body`, with something else for each text with symbols and for each moment in it."""
    if isinstance(value, tuple):
        return of_text(value)
    if isinstance(value, Moment):
        return of_moment(value)
    if isinstance(value, dict):
        return {name: filled(item, of_text, of_moment) for name, item in value.items()}
    return [filled(item, of_text, of_moment) for item in value] if isinstance(value, list) else value


def _is_plain(value: Json, raw: bytes) -> bool:
    """Whether a JSON value is written as `json.dumps` writes it."""
    try:
        return json.dumps(value).encode() == raw
    except (RecursionError, ValueError):
        return False


def as_text(parts: Iterable[str | Symbol]) -> Text:
    """Parts of a text, with neighbours that are plain put together."""
    found: list[str | Symbol] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part != "":
            found.append(part)
    return tuple(found)


def _grouped(steps: Sequence[Step]) -> tuple[tuple[Step, ...], ...]:
    """Steps that were under way at the same time, together."""
    groups: list[list[Step]] = []
    for step in steps:
        if groups and any(
            other.exchange is not step.exchange and other.exchange.overlaps(step.exchange) for other in groups[-1]
        ):
            groups[-1].append(step)
        else:
            groups.append([step])
    return tuple(tuple(group) for group in groups)


def _without_last_removals(groups: tuple[tuple[Step, ...], ...]) -> tuple[tuple[Step, ...], ...]:
    """The groups without the removal of endpoints at the end: that is cleaning up."""
    while groups and all(_is_removal(step.exchange) for step in groups[-1]):
        groups = groups[:-1]
    return groups


def _is_removal(exchange: Exchange) -> bool:
    return exchange.operation is Operation.ENDPOINTS and exchange.request.method == "DELETE"


def nonce_of(history: History) -> str | None:
    """The word of a checker's run, which occurs in everything that must be new; None where the trace has none."""
    for exchange in history.of(Operation.CREATE):
        found = _NONCE.search((exchange.request.body or b"").decode("utf-8", "replace"))
        if found is not None:
            return found[1]
    return None
