"""What the requests of a trace are called in a script, and how what they carry is written there as Python."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from qashier_contract.history import CONTROL_PATH, TOO_LATE, Credentials, Exchange, History, Operation
from qashier_contract.trace.literals import Code, called, literal
from qashier_contract.trace.steps import Step, Steps
from qashier_contract.trace.symbols import (
    ApiKey,
    Base64,
    EndpointId,
    Moment,
    Nonce,
    ReceiverUrl,
    Secret,
    SessionId,
    Symbol,
    Text,
    as_text,
)
from qashier_contract.values import NOT_JSON, Json
from qashier_contract.verdicts import Violation

SECRET: Final = "whsec_c2VjcmV0"  # noqa: S105 - stands for one that the record does not show
_PLAIN_PATH: Final = re.compile(r"(/[A-Za-z0-9_.~-]+)+")
_DOTS: Final = re.compile(r"/\.\.?(/|\Z)")
_PLAIN_QUERY: Final = re.compile(r"([A-Za-z0-9_.~&=\[\]-]|%5B|%5D)*")
_PLAIN_HEADER: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
_MARK: Final = "https://shop.example/thanks/"
_NEAR_S: Final = 5
_MOST_ANSWERS: Final = 8
_ENOUGH: Final = 2
"""A body is worth a name from so many uses on."""


_MOST_STEPS: Final = 400
"""A text with more requests than this is no help to anybody."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ToWrite:
    """A violation that is to be written down, and the few exchanges that show it.

    `title` is the statement of the clause. Where the environment names no URL, `target` is used; where it has no key,
    one is made up if `makes_keys_up`.
    """

    violation: Violation
    part: History
    title: str
    target: str
    makes_keys_up: bool

    @cached_property
    def steps(self) -> Steps:
        return Steps(self.part)

    @property
    def names(self) -> Names:
        """New ones for each text, since they know what it uses."""
        return Names(self.steps)

    @property
    def too_long(self) -> str | None:
        """Why nobody would want to read it; None if it is short enough."""
        if self.steps.requests <= _MOST_STEPS:
            return None
        return f"{self.steps.requests} requests are needed; replay the trace of the report instead"


class Names:
    """The names for the steps that a text sends.

    `used` holds the variables that were asked for, so that a text need not set any other.
    """

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.used: set[str] = set()
        self.sent = [step for step in steps.all if step.moved_s is None]
        self._replies = {step.exchange.number: f"r{place}" for place, step in enumerate(self.sent, 1)}
        self._expressions = dict(self._shown())
        self._born: dict[str, Exchange] = {}
        for step in self.sent:
            session_id = step.exchange.object.get("id")
            if step.exchange.operation is Operation.CREATE and step.exchange.succeeded and isinstance(session_id, str):
                self._born.setdefault(session_id, step.exchange)
        others = [number for number in steps.accounts if number > 1]
        plain = [number for number in others if 0 not in steps.accounts and steps.key_end(number) == f"x{number}"]
        self.main = next(iter(plain), 0)
        """The account of the main key: one that was made up, where the first has no part in it."""
        self.further = [number for number in others if number != self.main]
        self.hooks = {url: self._answers(url) for step in self.sent if (url := step.registers) is not None}

    def _shown(self) -> Iterator[tuple[int, str]]:
        """The expression of each reply that the script has, by the number of its exchange.

        What a step gets of a page is a list of replies: the first, and those to which it was led on. The page itself is
        the last one, whether another target leads there or not.
        """
        last, chains = dict[str, str](), defaultdict[str, list[int]](list)
        for exchange in self.steps.history.exchanges:
            name, page = self._replies.get(exchange.number), exchange.page_of
            if page is None and name is not None:
                yield exchange.number, name
            elif page is not None and (name is not None or page in last):
                last[page] = name or last[page]
                chains[last[page]].append(exchange.number)
        for name, chain in chains.items():
            yield from ((number, f"{name}[{place}]") for place, number in enumerate(chain[:-1]))
            yield chain[-1], f"{name}[-1]"

    def _answers(self, url: str) -> tuple[int, ...]:
        """What a receiver answers, request by request, over and over, as short as it can be said."""
        given = self.steps.answers.get(url, ())
        if given[:1] == (TOO_LATE,):
            return (TOO_LATE, 200)
        return (given or (200,))[:1] if len(set(given)) <= 1 else given[:_MOST_ANSWERS]

    # Who and where.

    def scheme(self, account: int) -> Credentials:
        """How an account's key is sent as a rule."""
        kinds = Counter(e.credentials for e in self.steps.history.exchanges if e.account == account)
        return kinds.most_common(1)[0][0] if kinds else Credentials.BASIC

    def of_account(self, account: int | None, first: str, second: str) -> str:
        """What is called `first` for the first account, `second` for the second, and is numbered for further ones."""
        return second if account == 1 else f"{first}_{account + 1}" if account in self.further else first

    def now(self, account: int | None) -> str:
        """The variable of an account's time when the steps begin."""
        return self.of_account(account, "now", "other_now")

    def ahead_s(self, account: int) -> int:
        """By how many seconds an account's clock was ahead of the machine's when the steps began."""
        terms = self.steps.history.terms
        first = next((step.exchange for step in self.sent if step.account == account), None)
        start = self.steps.starts.get(account)
        if first is None or start is None or terms.wall_ns is None:
            return 0
        return start - (first.sent_ns + terms.wall_ns - terms.monotonic_ns) // 10**9

    def key(self, account: int) -> str:
        """The constant of an account's key."""
        return self.of_account(account, "KEY", "OTHER_KEY")

    def api(self, account: int | None) -> str:
        """The client of the API."""
        return self.of_account(account, "api", "other")

    def control(self, account: int | None) -> str:
        """The client of the control API."""
        return self.of_account(account, "control", "other_control")

    def client(self, exchange: Exchange) -> str:
        """The variable of the client that sends a request."""
        if exchange.account is None:
            return "nobody"
        if exchange.request.path.startswith(CONTROL_PATH):
            return self.control(exchange.account)
        return self.api(exchange.account)

    def hook_at(self, url: str) -> str:
        """The variable of the receiver that stands for an endpoint."""
        return f"hook{list(self.hooks).index(url) + 1}" if url in self.hooks else "hook1"

    # Replies, and what is carried over from them.

    def knows(self, exchange: Exchange) -> bool:
        """Whether the script has the reply of an exchange."""
        return exchange.number in self._expressions

    def reply_name(self, exchange: Exchange) -> str:
        """The variable of what a step gets: a reply, or for a page a list of replies, the last one that led there."""
        return self._replies.get(exchange.number, "_")

    def reply(self, exchange: Exchange) -> str:
        """The expression of a reply."""
        expression = self._expressions.get(exchange.number, "_")
        self._use(expression.partition("[")[0])
        return expression

    def _use(self, name: str) -> str:
        self.used.add(name)
        return name

    def _number(self, session_id: str) -> str:
        return self._replies[self._born[session_id].number][1:]

    def variable(self, session_id: str) -> str | None:
        """The variable of a session's id; None if the script does not open the session."""
        return self._use(f"id{self._number(session_id)}") if session_id in self._born else None

    def carried(self, exchange: Exchange) -> Iterator[tuple[str, str]]:
        """The variables that a created session gives, and the properties that they hold."""
        session_id = exchange.object.get("id")
        if isinstance(session_id, str) and self._born.get(session_id) is exchange:
            for name, field in (("id", "id"), ("created", "created"), ("url", "url")):
                yield f"{name}{self._number(session_id)}", field

    def page(self, exchange: Exchange) -> str:
        """The address of a session's hosted page."""
        session_id = exchange.page_of or ""
        return self._use(f"url{self._number(session_id)}") if session_id in self._born else '""'

    def page_before(self, exchange: Exchange) -> str | None:
        """The variable of the page on which something was pressed."""
        shown = self._expressions.get(exchange.page_from or 0)
        return None if shown is None else self._use(shown.partition("[")[0])

    # What requests carry.

    def code(self, text: Text) -> str:
        """A text: as it is where nothing in it belongs to the run, else as an expression."""
        plain = _unmarked(text)
        if all(isinstance(part, str) for part in plain):
            return "".join(map(str, plain))
        if len(plain) == 1 and not isinstance(plain[0], str):
            expression = self._symbol(plain[0])
            return Code(expression if not isinstance(plain[0], Moment) else f"str({expression})")
        if any(isinstance(part, Base64) for part in plain):
            return Code(" + ".join(self.text((part,)) for part in plain))
        return Code(self._format(plain))

    def text(self, text: Text) -> str:
        """A text as source."""
        return literal(self.code(text))

    def _format(self, text: Text) -> str:
        parts = [_escaped(part) if isinstance(part, str) else "{" + self._symbol(part) + "}" for part in text]
        return 'f"' + "".join(parts) + '"'

    def _symbol(self, symbol: Symbol) -> str:
        match symbol:
            case SessionId(old, form):
                return f"{self.variable(old)}{form}" if old in self._born else repr(old)
            case Nonce(form):
                return f"{self._use('run')}{form}"
            case Moment():
                return self.moment(symbol)
            case EndpointId(old):
                found = [endpoint.url for endpoint in self.steps.history.endpoints if endpoint.id == old]
                return self._use(f"{self.hook_at(found[0])}.id") if found else repr(old)
            case ReceiverUrl(url):
                return f"{self.hook_at(url)}.url"
            case Secret(url):
                known = {endpoint.url: endpoint.secret for endpoint in self.steps.history.endpoints}
                return literal(known.get(url) or SECRET)
            case ApiKey(account, form):
                return f"{self.key(account)}{form}"
            case Base64(text):
                return f"b64({self.text(text)})"

    def moment(self, moment: Moment) -> str:
        """A time, by what the script knows of this run's."""
        if not self.steps.can_move_clock:
            for session_id, born in self._born.items():
                created = born.object.get("created")
                if isinstance(created, int) and abs(moment.value - created) <= _NEAR_S:
                    return _plus(self._use(f"created{self._number(session_id)}"), moment.value - created)
        start = self.steps.starts.get(moment.account)
        return repr(moment.value) if start is None else _plus(self._use(self.now(moment.account)), moment.value - start)

    def value(self, value: Json) -> Json:
        """A JSON value with its symbols as expressions, for `literal`."""
        if isinstance(value, tuple):
            return self.code(value)
        if isinstance(value, Moment):
            return Code(self.moment(value))
        if isinstance(value, dict):
            return {name: self.value(item) for name, item in value.items()}
        return [self.value(item) for item in value] if isinstance(value, list) else value

    def constant(self, value: Json, account: int | None) -> str:
        """A value of the recorded run as source: ids and times in it become those of this run."""
        return literal(self.value(self.steps.value(value, account or 0)))

    def pattern(self, pattern: str) -> str:
        """A regular expression, without the word of the run where it only tells sessions apart."""
        return pattern.replace(re.escape(f"{_MARK}{self.steps.nonce}-"), re.escape(_MARK))

    def raw_body(self, text: Text) -> str:
        """A body that is sent byte for byte, as source."""
        plain = [part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part for part in text]
        parts = [literal(part) if isinstance(part, bytes) else called(self.text((part,)), "encode") for part in plain]
        return " + ".join(parts) or 'b""'

    def asked(self, step: Step) -> Json:
        """The JSON of a request, for `literal`; `NOT_JSON` where that would not give the same bytes."""
        value, raw = step.exchange.request.json, step.exchange.request.body
        if value is NOT_JSON or not _is_plain(value, raw):
            return NOT_JSON
        return self.value(self.steps.asked(step.exchange))

    def url(self, step: Step) -> str:
        """Path and query as source; below the control API relative to it."""
        path = step.path
        if path and isinstance(path[0], str) and path[0].startswith(f"{CONTROL_PATH}/"):
            path = (path[0].removeprefix(f"{CONTROL_PATH}/"), *path[1:])
        query: Text = ("?", *step.query) if any(step.query) else ()
        parts = as_text((*path, *query))
        if all(isinstance(part, str) for part in parts):
            return literal("".join(map(str, parts)))
        return self._format(parts)

    def is_odd(self, step: Step) -> bool:
        """Whether a polite client would not send this as it is."""
        request = step.exchange.request
        names = [name.lower() for name, _ in request.headers]
        return (
            not _PLAIN_PATH.fullmatch(request.path)
            or _DOTS.search(request.path) is not None
            or not _PLAIN_QUERY.fullmatch(request.query)
            or len(names) != len(set(names))
            or "content-encoding" in names
            or request.in_lower_case
            or any(not _PLAIN_HEADER.fullmatch(v) for name, v in request.headers if name.lower() != "authorization")
            or (request.body is not None and "content-type" not in names)
        )

    def common_body(self) -> Json:
        """What several creates ask for alike; None if that is not worth a name."""
        bodies = [self.asked(step) for step in self.sent if step.exchange.operation is Operation.CREATE]
        whole = [body for body in bodies if isinstance(body, dict)]
        asked = Counter(repr(body.get("line_items")) for body in whole)
        for body in whole:
            base = {name: item for name, item in body.items() if name in _COMMON and not _has_code(item)}
            if base.keys() == _COMMON and asked[repr(base["line_items"])] >= _ENOUGH:
                return base
        return None


def _is_plain(value: Json, raw: bytes | None) -> bool:
    """Whether a JSON value is written as `json.dumps` writes it."""
    try:
        return json.dumps(value).encode() == raw
    except (RecursionError, ValueError):
        return False


_COMMON: Final = frozenset({"line_items", "success_url", "return_url"})


def _has_code(value: Json) -> bool:
    if isinstance(value, dict):
        return any(_has_code(item) for item in value.values())
    return any(_has_code(item) for item in value) if isinstance(value, list) else isinstance(value, Code)


def _unmarked(text: Text) -> Text:
    """A text without the word of the run where it only tells sessions apart."""
    if len(text) == 3 and text[0] == _MARK and isinstance(text[1], Nonce) and isinstance(text[2], str):
        return (_MARK + text[2].removeprefix("-"),)
    return text


def _plus(name: str, offset: float) -> str:
    if not offset:
        return name
    return f"{name} + {offset}" if offset > 0 else f"{name} - {-offset}"


def _escaped(text: str) -> str:
    """A text for between the double quotes of an f-string."""
    return repr(text)[1:-1].replace('"', '\\"').replace("{", "{{").replace("}", "}}")
