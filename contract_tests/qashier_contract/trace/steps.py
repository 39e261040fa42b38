"""A history as requests that can be sent again.

What belongs to the run that was recorded becomes a symbol: ids that the target gave out, times, the word that was new
in that run, addresses of webhook receivers and of hosted pages. Whoever sends the requests again, or writes them down,
gives each symbol its new value. So no step names a host, and none the address of a page.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import unquote

from qashier_contract.history import Capability, Exchange, History, Operation
from qashier_contract.ledger import Ledger, act_of
from qashier_contract.trace.credentials import authorization_of
from qashier_contract.trace.symbols import (
    EndpointId,
    Moment,
    Nonce,
    ReceiverUrl,
    Secret,
    SessionId,
    Symbol,
    Text,
    as_text,
    in_url,
    nearly,
)
from qashier_contract.values import Json, is_integer

_FAR_S: Final = 100 * 86_400
"""A number further than this from the trace's times is no time."""
_NONCE: Final = re.compile(r"https://shop\.example/thanks/([0-9a-z]{6,})-[0-9]+")
_NUMBER: Final = r"(?<![\w.-])[0-9]{1,12}(?:\.[0-9]{1,9})?(?![\w.-])"
_SHORTEST_ID: Final = 8
"""A shorter id is replaced only where it stands alone."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One request to send again, or a move of a clock by `moved_s` seconds.

    `query` is as it is sent, percent-encoded but for its symbols. Bytes of `body` that are no UTF-8 are surrogates, as
    Python decodes them. `press` is the `data-testid` of what a customer
    presses on a page, None for one who opens the session's page.
    """

    exchange: Exchange
    moved_s: int | None = None
    authorization: Text | None = None
    path: Text = ()
    query: Text = ()
    headers: tuple[tuple[str, Text], ...] = ()
    body: Text | None = None
    press: str | None = None

    @property
    def account(self) -> int | None:
        return self.exchange.account

    @property
    def forced_method(self) -> str:
        """`get` where the form of what acts went out by GET, which must change nothing; else empty."""
        is_forced = self.exchange.request.method == "GET" and act_of(self.exchange) is not None
        return "get" if is_forced else ""

    @property
    def registers(self) -> str | None:
        """The address of the receiver that it registers as a webhook endpoint; None if it registers none."""
        return registered_by(self.exchange)


def _by_first_letter(words: Iterable[str]) -> Iterator[str]:
    """Patterns of words, the longest first. Together, each word would be tried at each place of a body of megabytes."""
    groups: dict[str, list[str]] = defaultdict(list)
    for word in sorted(words, key=len, reverse=True):
        groups[word[0]].append(re.escape(word[1:]))
    for letter, rest in groups.items():
        yield f"{re.escape(letter)}(?:{'|'.join(rest)})"


class Steps:
    """The steps of a history, cut down to what matters, in the order of sending; what in a value belongs to its run.

    Args:
        history: What was observed. Each of its requests will be sent again.

    Attributes:
        groups: The steps; those of one group were under way at the same time.
        starts: The time of each account's clock at its first step, as far as it is known.
        answers: What the receiver answered, delivery by delivery, by the address of the endpoint.
        nonce: The word of the run, as `nonce_of` has it.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.ledger = Ledger(history)
        self.nonce = nonce_of(history)
        self._ids: dict[str, None] = dict.fromkeys(self.ledger.sessions)
        self._endpoint_ids = [endpoint.id for endpoint in history.endpoints if endpoint.id]
        times = [s.created for s in self.ledger.sessions.values() if s.created]
        times += [now for e in history.of(Operation.CLOCK) if is_integer(now := e.object.get("now"))]
        self._span = (min(times) - _FAR_S, max(times) + _FAR_S) if times else (0, -1)
        words = [word for word in self._ids if len(word) >= _SHORTEST_ID] + self._endpoint_ids
        words += [self.nonce, self.nonce.upper()] if self.nonce is not None else []
        self._pattern = re.compile("|".join([*_by_first_letter(words), _NUMBER]))
        requests = [e for e in history.exchanges if self._is_sent(e)]
        found = [*map(self._step, (*requests, *self._looks(requests))), *self._moves(requests)]
        steps = sorted(found, key=lambda step: step.exchange.number)
        self.groups = _without_last_removals(_grouped(steps))
        self.starts = self._starts(steps)
        self.answers = {
            e.url: tuple(d.answered for d in history.deliveries if d.endpoint.url == e.url) for e in history.endpoints
        }

    @cached_property
    def doors(self) -> Mapping[int, Sequence[tuple[str, bool]]]:
        """The endpoints at which nobody listens from a group on, or somebody again.

        By the number of the group's first exchange: the endpoint's address, and whether somebody listens.
        """
        found: dict[int, list[tuple[str, bool]]] = defaultdict(list)
        for endpoint in self.history.endpoints:
            for moment_ns, listens in zip(endpoint.refused_ns, (False, True), strict=False):
                begins = (group[0].exchange for group in self.groups if group[0].exchange.sent_ns > moment_ns)
                if (first := next(begins, None)) is not None:
                    found[first.number].append((endpoint.url, listens))
        return found

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

    def key_end(self, account: int) -> str:
        """What the key of an account ends with that a checker made up: the third one, or one after it."""
        return dict(enumerate(self.history.terms.key_ends, 2)).get(account, f"x{account}")

    @property
    def can_move_clock(self) -> bool:
        return Capability.CLOCK in self.history.terms.capabilities

    # Reading.

    @staticmethod
    def _is_sent(exchange: Exchange) -> bool:
        led_on = (exchange.page_act or "").endswith(", led on")
        return exchange.operation is not Operation.CLOCK and not exchange.was_limited and not led_on

    def _looks(self, requests: Sequence[Exchange]) -> Iterator[Exchange]:
        """The looks at clocks that run, right before and after a request: its time is judged by them."""
        looks = {e.number: e for one in requests for e in self.ledger.looks_around(one) or ()}
        yield from looks.values()

    def _moves(self, requests: Sequence[Exchange]) -> Iterator[Step]:
        """The moves of each account's clock from its first request to the last of all.

        While a webhook endpoint is registered, a retry may come: then all moves until its removal matter.
        """
        end = max([e.number for e in requests] + [d.number for d in self.history.deliveries], default=0)
        if self.history.endpoints and not any(_is_removal(exchange) for exchange in requests):
            end = self.history.exchanges[-1].number + 1
        begins: dict[int | None, int] = {}
        for exchange in requests:
            begins.setdefault(self.history.clock_name(self._account_of(exchange)), exchange.number)
        shown: dict[int | None, int] = {}
        for exchange in self.history.of(Operation.CLOCK):
            clock, now, body = (
                self.history.clock_name(exchange.account),
                exchange.object.get("now"),
                exchange.request.json,
            )
            if not exchange.succeeded:
                continue
            moved_s = 0
            if is_integer(now):
                asked = body.get("seconds") if isinstance(body, dict) else None
                moved_s = asked if is_integer(asked) else max(0, now - shown.get(clock, now))
                shown[clock] = now
            if begins.get(clock, end) < exchange.number < end and exchange.request.method != "GET":
                yield Step(exchange=exchange, moved_s=moved_s)

    def _account_of(self, exchange: Exchange) -> int | None:
        """In whose name a request is made, or whose session it names."""
        if exchange.account is not None:
            return exchange.account
        found = self.ledger.sessions.get(exchange.page_of or exchange.request.session_id or "")
        return None if found is None else found.account

    def _starts(self, steps: Sequence[Step]) -> dict[int, int]:
        starts: dict[int, int] = {}
        for step in steps:
            account = self._account_of(step.exchange)
            if account is None or account in starts:
                continue
            least, most = self.ledger.clock(step.exchange)
            for start in (least, most, step.exchange.object.get("created")):
                if is_integer(start):
                    starts.setdefault(account, start)
        return starts

    # One request.

    def _step(self, exchange: Exchange) -> Step:
        request = exchange.request
        account = self._account_of(exchange) or 0
        if exchange.page_of is not None:
            act = exchange.page_act
            return Step(exchange=exchange, path=(SessionId(exchange.page_of),), press=act if act != "view" else None)
        return Step(
            exchange=exchange,
            authorization=authorization_of(exchange),
            path=self._in_url(request.path, account),
            query=self._in_url(request.query, account),
            headers=tuple(
                (name, self.text(value, account)) for name, value in request.headers if name.lower() != "authorization"
            ),
            body=self._body(exchange, account),
        )

    def text(self, text: str, account: int) -> Text:
        """A text, with symbols for all in it that looks like an id, a time or the word of that run."""
        if text in self._ids:
            return (SessionId(text),)
        parts: list[str | Symbol] = []
        end = 0
        for match in self._pattern.finditer(text):
            parts += [text[end : match.start()], self._symbol(match[0], account)]
            end = match.end()
        return as_text([*parts, text[end:]]) or ("",)

    def _symbol(self, word: str, account: int) -> Symbol | str:
        if word in self._ids:
            return SessionId(word)
        if word in self._endpoint_ids:
            return EndpointId(word)
        if self.nonce is not None and word.lower() == self.nonce.lower():
            return Nonce("" if word == self.nonce else ".upper()")
        value = float(word) if "." in word else int(word)
        return Moment(value, account) if self._is_time(value) else word

    def _in_url(self, text: str, account: int) -> Text:
        """A path or a query: what stands between its separators may be nearly an id."""
        parts: list[str | Symbol] = []
        for piece in re.split(r"([/&=])", text):
            plain = unquote(piece)
            is_whole = in_url(plain) == piece
            found = nearly(plain, self._ids) if is_whole else ()
            parts += [in_url(part) if isinstance(part, str) else part for part in found] or self.text(piece, account)
        return as_text(parts)

    def _is_time(self, value: float) -> bool:
        return self._span[0] <= value <= self._span[1]

    def _body(self, exchange: Exchange, account: int) -> Text | None:
        if exchange.request.body is None:
            return None
        text = exchange.request.body.decode("utf-8", "surrogateescape")
        holes = {json.dumps(value)[1:-1]: symbol for value, symbol in _given(exchange).values()}
        if not holes:
            return self.text(text, account)
        return as_text(holes.get(part, part) for part in re.split(f"({'|'.join(map(re.escape, holes))})", text))

    def asked(self, exchange: Exchange) -> Json:
        """The JSON of a request, with symbols."""
        given = {name: (symbol,) for name, (_, symbol) in _given(exchange).items()}
        value = self.value(exchange.request.json, self._account_of(exchange) or 0)
        return {**value, **given} if given else value

    def value(self, value: Json, account: int) -> Json:
        """A JSON value with symbols for all in it that looks like an id, a time or the word of the run."""
        if isinstance(value, dict):
            return {name: self.value(item, account) for name, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, account) for item in value]
        if isinstance(value, str):
            parts = self.text(value, account)
            return parts if parts != (value,) else value
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return Moment(value, account) if is_number and self._is_time(value) else value


def _given(exchange: Exchange) -> Mapping[str, tuple[str, Symbol]]:
    """What we give a webhook endpoint of ours when it is registered, by its name: as it was, and its symbol."""
    url = registered_by(exchange)
    if url is None:
        return {}
    secret = exchange.request.json.get("secret")
    return {"url": (url, ReceiverUrl(url)), **({"secret": (secret, Secret(url))} if isinstance(secret, str) else {})}


def registered_by(exchange: Exchange) -> str | None:
    """The address of the receiver that a request registers as a webhook endpoint; None if it registers none."""
    body = exchange.request.json
    is_one = exchange.operation is Operation.ENDPOINTS and exchange.request.method == "POST"
    return str(body.get("url")) if is_one and isinstance(body, dict) else None


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
