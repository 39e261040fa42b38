"""What the requests of a story are called in generated source, and how what they carry is written there.

Ids, times and idempotency keys of the run that saw the violation mean nothing in another one: they are written as
variables, carried over from earlier replies.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

from qashier_contract.history import CONTROL_PATH, TOO_LATE, Capability, Credentials, Exchange, Operation
from qashier_contract.ledger import ObservedSession
from qashier_contract.trace.literals import WIDTH, Code
from qashier_contract.values import NOT_JSON, is_integer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qashier_contract.history import Endpoint
    from qashier_contract.report.reproduce.story import Step, Story
    from qashier_contract.values import Json

_MARKED: Final = frozenset({"HTTP-5", "IDM-1", "IDM-6", "IDM-9", "EVT-5", "CON-2"})
"""The clauses for which it matters which request made a session: there `success_url` stays unlike every other."""
_MARKER: Final = re.compile(r"https://shop\.example/thanks/([0-9a-z]{6,})-[0-9]+")
_PLAIN_MARKER: Final = re.compile(_MARKER.pattern + r"\Z")
_PLAIN_PATH: Final = re.compile(r"(/[A-Za-z0-9_.~-]+)+")
_PLAIN_HEADER: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
_OLDEST_EPOCH: Final = 1_000_000_000


class Naming:
    """The names for one story.

    Args:
        story: The story.
    """

    def __init__(self, story: Story) -> None:
        self.story = story
        self.ledger = story.ledger
        self._replies: dict[int, str] = {}
        self._ids: dict[str, str] = {}
        self._batches: dict[int, str] = {}
        count = 0
        for step in story.steps:
            if step.moved_s is not None:
                continue
            count += 1
            self._replies[step.exchange.number] = f"r{count}"
            if step.batch:
                self._batches[step.exchange.number] = f"batch{len(self._batches) + 1}"
            for place, exchange in enumerate(step.batch or (step.exchange,)):
                self._name_session(exchange, step, place, count)

    def _name_session(self, exchange: Exchange, step: Step, place: int, count: int) -> None:
        session_id = exchange.object.get("id")
        opened = exchange.operation is Operation.CREATE and exchange.succeeded
        if not opened or not isinstance(session_id, str) or session_id in self._ids:
            return
        if step.batch:
            self._ids[session_id] = f"{self._batches[step.exchange.number]}[{place}]"
        else:
            self._ids[session_id] = f"id{count}"

    # ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def reply(self, exchange: Exchange) -> str:
        """The variable of a reply. What a press on a page led on to, is the reply to the press."""
        if exchange.number in self._replies:
            return self._replies[exchange.number]
        act = (exchange.page_act or "").removesuffix(", led on")
        pressed = [
            step.exchange.number
            for step in self.story.steps
            if step.exchange.page_of == exchange.page_of and step.exchange.page_act == act
        ]
        return self._replies[pressed[-1]]

    def batch(self, exchange: Exchange) -> str:
        """The variable of the ids of a batch."""
        return self._batches[exchange.number]

    def id(self, session_id: str) -> str:
        """The expression of a session's id."""
        return self._ids.get(session_id, repr(session_id))

    def ids(self, sessions: Sequence[ObservedSession]) -> str:
        """A list of ids; neighbours in a batch as a slice of it."""
        parts: list[str] = []
        run: list[int] = []
        held = ""

        def flush() -> None:
            if len(run) > 2:
                down = run[0] > run[-1]
                low, high = min(run), max(run)
                parts.append(f"*{held}[{low}:{high + 1}]" + ("[::-1]" if down else ""))
            else:
                parts.extend(f"{held}[{place}]" for place in run)
            run.clear()

        for observed in sessions:
            match = re.fullmatch(r"(batch\d+)\[(\d+)\]", self.id(observed.id))
            if match is None:
                flush()
                parts.append(self.id(observed.id))
                continue
            place = int(match[2])
            steady = run and match[1] == held and place - run[-1] in {1, -1}
            if steady and len(run) > 1:
                steady = place - run[-1] == run[1] - run[0]
            if not steady:
                flush()
            held = match[1]
            run.append(place)
        flush()
        flat = "[" + ", ".join(parts) + "]"
        if len(flat) <= WIDTH // 2:
            return flat
        return (
            "[\n" + textwrap.fill(", ".join(parts), WIDTH - 12, initial_indent="    ", subsequent_indent="    ") + "\n]"
        )

    def known_id(self, session_id: str) -> bool:
        """Whether the story opens the session."""
        return session_id in self._ids

    def session(self, observed: ObservedSession) -> str:
        """The session as the reply that opened it showed it."""
        return f"{self.reply(observed.born)}.json()"

    # ── who asks ────────────────────────────────────────────────────────────────────────────────────────────────────

    def scheme(self, account: int) -> Credentials:
        """How an account's key is sent as a rule."""
        kinds = Counter(e.credentials for e in self.story.history.exchanges if e.account == account)
        return kinds.most_common(1)[0][0] if kinds else Credentials.BASIC

    def client(self, exchange: Exchange) -> str:
        """The variable of the client that sends a request."""
        if exchange.page_of is not None:
            return "customer"
        second = "other" if is_other(exchange.account) else ""
        if exchange.request.path.startswith(CONTROL_PATH):
            return f"{second}_control".lstrip("_")
        return second or "api"

    # ── what requests carry ─────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def nonce(self) -> str | None:
        """The word of that run in everything it sent."""
        for exchange in self.story.history.of(Operation.CREATE):
            found = _MARKER.search((exchange.request.body or b"").decode("utf-8", "replace"))
            if found is not None:
                return found[1]
        return None

    def text(self, text: str) -> str:
        """A text, with a fresh word for the one of that run."""
        if self.story.clause not in _MARKED and _PLAIN_MARKER.match(text):
            return "https://shop.example/thanks"
        if self.nonce is None or self.nonce.lower() not in text.lower():
            return text
        escaped = text.replace("{", "{{").replace("}", "}}")
        for word, expression in ((self.nonce, "{run}"), (self.nonce.upper(), "{run.upper()}")):
            escaped = escaped.replace(word, expression)
        return Code("f" + _repr(escaped))

    def epoch(self, value: int, account: int) -> Json:
        """A moment, relative to one that the replay knows; what is no moment stays as it is."""
        if value < _OLDEST_EPOCH:
            return value
        for observed in self.story.sessions:
            if (
                observed.account == account
                and observed.created == value
                and self._ids.get(observed.id, "").startswith("id")
            ):
                return Code(f'{self.session(observed)}["created"]')
        start = self.story.clock_at(account)
        if start is None or abs(value - start) > 100 * 86_400:
            return value
        offset = value - start
        name = "other_now" if is_other(account) else "now"
        return Code(f"{name} + {offset}" if offset > 0 else f"{name} - {-offset}" if offset else name)

    @property
    def can_stop_clock(self) -> bool:
        return Capability.CLOCK in self.story.history.terms.capabilities

    def body(self, exchange: Exchange) -> tuple[str, Json] | None:
        """The body and how it is sent; None if there is none.

        `json` by the client; `dumped` by `json.dumps`, which escapes what is not ASCII, where that may matter, or under
        another media type; or `raw`.
        """
        if self.story.is_filling(exchange) and self.story.filling is not None:
            return "json", self._carried(self.story.filling.request.json, exchange, exchange.account or 0)
        raw = exchange.request.body
        if raw is None or (raw == b"" and exchange.operation is Operation.EXPIRE):
            return None
        value = exchange.request.json
        if value is NOT_JSON or json.dumps(value).encode() != raw:
            return "raw", self._bytes(raw)
        carried = self._carried(value, exchange, exchange.account or 0)
        plain = exchange.request.header("Content-Type") == "application/json" and b"\\u" not in raw
        return ("json" if plain else "dumped"), carried

    def _bytes(self, raw: bytes) -> Json:
        if self.nonce is not None and self.nonce.encode() in raw and self.story.clause in _MARKED:
            from qashier_contract.trace.literals import literal  # noqa: PLC0415 - only here

            return Code(f"{literal(raw)}.replace({self.nonce.encode()!r}, run.encode())")
        return raw

    def _carried(self, value: Json, exchange: Exchange, account: int, name: str = "") -> Json:
        if isinstance(value, dict):
            return {key: self._carried(item, exchange, account, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self._carried(item, exchange, account) for item in value]
        if isinstance(value, str):
            if exchange.operation is Operation.ENDPOINTS and name in {"url", "secret"}:
                return self._of_endpoint(exchange, name)
            if name == "expires_at" and re.fullmatch(r"[1-9][0-9]{9}", value):
                return self.as_text(self.epoch(int(value), account))
            return self.text(value)
        if name == "expires_at" and is_integer(value):
            return self.epoch(value, account)
        return value

    def as_text(self, moment: Json) -> Json:
        """A moment that was sent as text."""
        return Code(f"str({moment})") if isinstance(moment, Code) else str(moment)

    def _of_endpoint(self, exchange: Exchange, name: str) -> Json:
        """The address of a receiver, or the secret that was made up for it."""
        url = exchange.request.json["url"]
        if name == "url":
            return self.hook_url(url)
        return next((e.secret for e in self.story.history.endpoints if e.url == url), None)

    def hook_url(self, url: str) -> Json:
        """Where the receiver listens that stands for an endpoint."""
        return Code(f"{self.hook(url)}.url")

    def parameters(self, exchange: Exchange) -> Mapping[str, Json] | None:
        """The query as a mapping; None where it has to be sent letter for letter."""
        query = exchange.request.query
        pairs = parse_qsl(query, keep_blank_values=True)
        if urlencode(pairs) != query or len({name for name, _ in pairs}) != len(pairs):
            return None
        return {name: self._parameter(name, value, exchange.account or 0) for name, value in pairs}

    def _parameter(self, name: str, value: str, account: int) -> Json:
        if name in {"starting_after", "ending_before"}:
            return self._near(value)
        if re.fullmatch(r"[1-9][0-9]{0,14}|0", value):
            return self.epoch(int(value), account) if name.startswith("created[") else int(value)
        return value

    def _near(self, text: str) -> Json:
        """An id, or what was made from one."""
        found = self.story.nearly(text)
        if found is not None and self.known_id(found[0]):
            return Code(found[1].format(self.id(found[0])))
        return text

    def path(self, exchange: Exchange) -> Json:
        """The path below the base URL, of a control call below `/_mock/v1/`; None if it is odd."""
        path = exchange.request.path
        if not _PLAIN_PATH.fullmatch(path) and path != "/":
            return None
        path = path.removeprefix(f"{CONTROL_PATH}/")
        session_id = exchange.request.session_id
        if session_id is not None:
            expression = self._near(session_id)
            if isinstance(expression, Code):
                return Code("f" + _quoted(_escaped(path).replace(session_id, "{" + expression + "}")))
        for session_id, name in self._ids.items():
            if f"/{session_id}" in path:
                return Code("f" + _quoted(_escaped(path).replace(session_id, "{" + name + "}")))
        for endpoint in self.story.endpoints:
            if endpoint.id is not None and path.endswith(f"/{endpoint.id}"):
                return Code("f" + _quoted(path.replace(endpoint.id, "{" + self.hook(endpoint.url) + ".id}")))
        return path

    def headers(self, exchange: Exchange) -> dict[str, Json]:
        """The headers that a request needs besides those of its client and its body."""
        wanted: dict[str, Json] = {}
        body = self.body(exchange)
        keyless = self.story.is_filling(exchange) or self.story.is_about_a_list
        for name, value in exchange.request.headers:
            lower = name.lower()
            if keyless and lower == "idempotency-key":
                continue
            if lower == "authorization":
                expression = self._authorization(exchange, value)
                if expression is not None:
                    wanted[name] = Code(expression)
            elif lower == "content-type" and body is not None and body[0] == "json":
                continue
            else:
                wanted[name] = self.text(value)
        return wanted

    def is_odd(self, exchange: Exchange) -> bool:
        """Whether a polite client would not send this as it is."""
        names = [name.lower() for name, _ in exchange.request.headers]
        return (
            self.path(exchange) is None
            or self.parameters(exchange) is None
            or len(names) != len(set(names))
            or any(
                not _PLAIN_HEADER.fullmatch(value)
                for name, value in exchange.request.headers
                if name.lower() != "authorization"
            )
        )

    def _authorization(self, exchange: Exchange, shown: str) -> str | None:
        key = "OTHER_KEY" if is_other(exchange.account) else "KEY"
        if exchange.credentials is Credentials.BROKEN:
            return broken_credentials(shown)
        if exchange.account is None or exchange.credentials is self.scheme(exchange.account):
            return None
        return f'f"Bearer {{{key}}}"' if exchange.credentials is Credentials.BEARER else f"basic({key})"

    # ── receivers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def is_late(self, endpoint: Endpoint) -> bool:
        """Whether its receiver answers too late."""
        return TOO_LATE in self.answers(endpoint)

    def hook(self, url: str) -> str:
        """The variable of the receiver that stands for an endpoint of that run."""
        urls = [endpoint.url for endpoint in self.story.endpoints]
        return f"hook{urls.index(url) + 1}" if url in urls else repr(url)

    def answers(self, endpoint: Endpoint) -> list[int]:
        """What the receiver answered, request by request, as short as it can be said."""
        given = [d.answered for d in self.story.history.deliveries if d.endpoint.url == endpoint.url]
        if given[:1] == [TOO_LATE]:
            return [TOO_LATE, 200]
        return given[:1] if len(set(given)) <= 1 else given[:4]


def is_other(account: int | None) -> bool:
    """Whether requests in an account's name have the second key.

    An account that was made up is alone in its story, where it has the first one.
    """
    return account == 1


def _repr(text: str) -> str:
    return repr(text)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


BROKEN: Final = {
    "Basic <the key, with a password>": 'basic(KEY, "hunter2")',
    "Basic <the key, with itself as password>": "basic(KEY, KEY)",
    "Basic <the key, with a blank as password>": 'basic(KEY, " ")',
    "Bearer <the key, and another word>": 'f"Bearer {KEY} x"',
    "Basic <no user name>": 'basic("")',
    "Basic <the key as password>": 'basic("", KEY)',
    "Basic <no key>": 'basic("no-such-key")',
    "Bearer <no key>": '"Bearer no-such-key"',
    "Basic <a word like a key>": 'basic("sk_no-such-key")',
    "Basic <a publishable key>": 'basic(KEY.replace("sk_", "pk_", 1))',
    "Basic <the key in capitals>": "basic(KEY.upper())",
    "Basic <the key without its colon>": '"Basic " + base64.b64encode(KEY.encode()).decode()',
    "Token <the key>": 'f"Token {KEY}"',
    "<the key alone>": "KEY",
    "Basic <no base64>": '"Basic !!!"',
    "Basic <the key, not encoded>": 'f"Basic {KEY}"',
    "Bearer <the key, encoded>": 'basic(KEY).replace("Basic", "Bearer")',
}
"""Broken credentials, by how the record shows them. What is not here holds no key, and is sent as shown."""


def broken_credentials(shown: str) -> str:
    """The expression of a broken `Authorization`."""
    return BROKEN.get(shown, repr(shown))
