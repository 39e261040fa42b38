"""A recorded run without what differs from run to run: ids, times, marks, addresses.

What is left is a sequence of views for each scenario, each one request and the facts of its answer, so that two runs
can be laid side by side. A name for a session holds within a scenario: what one run did more in an earlier scenario
shifts nothing in a later one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from qashier_contract.history import Exchange, Operation, overlap
from qashier_contract.page import page_of
from qashier_contract.trace.file import Trace
from qashier_contract.trace.steps import nonce_of
from qashier_contract.values import NOT_JSON, Json, is_integer

_LEFT_OUT: Final = frozenset({"connect", "first session", "last events", "clean-up"})
"""What depends on what was there before, or on how the run went."""
_VOLATILE: Final = frozenset(
    {
        "age",
        "connection",
        "content-encoding",
        "content-length",
        "date",
        "etag",
        "keep-alive",
        "server",
        "set-cookie",
        "transfer-encoding",
        "via",
    }
)
"""Headers of a connection, or that depend on the moment or on the bytes of the body."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_EPOCH: Final = re.compile(r"(?<![A-Za-z0-9_.])[1-3]\d{9}(\d{3})?(\.\d+)?(?![A-Za-z0-9_])")
_NONCE: Final = re.compile(r"'nonce-[^']+'")
_DATE: Final = re.compile(
    r"\d{4}-\d\d-\d\d|\b\d{1,2} [A-Z][a-z]{2,8} \d{4}\b|\b[A-Z][a-z]{2,8} \d{1,2}, \d{4}\b"
    r"|(?<!\d)\d{1,2}:\d\d(:\d\d(\.\d+)?)?(?!\d)"
)
"""A date or a time of day as a page or a header writes it."""
_TIMES: Final = frozenset({"created", "expires_at", "now"})
_DIGITS: Final = re.compile(r"(\d\x00?)+")
_LONG: Final = 16
_SHORT: Final = 5
_LARGE: Final = 20_000
Place = tuple[str, str]
"""The kind of a fact, and which of several of that kind: a session by its name, say."""


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One exchange: its request, the facts of its answer, and the ids of the sessions that it touches.

    In the request every number is the same: it may be a time, and what surrounds it tells requests apart.
    """

    exchange: Exchange
    request: str
    facts: Mapping[Place, Json]
    sessions: frozenset[str]


class Normal:
    """A recorded run as views. `reads_clock` says whether it is known what each account's clock showed."""

    def __init__(self, trace: Trace, *, reads_clock: bool) -> None:
        self._history = trace.history
        self._reads_clock = reads_clock
        nonce = nonce_of(trace.history)
        self._mark = re.compile(rf"{nonce}(-\d+)?", re.IGNORECASE) if nonce else None
        self._origins = self._addresses(trace)
        self._now: dict[int | None, int | None] = {}
        self._names: dict[str, str] = {}
        self._marks: dict[str, str] = {}
        self._account: int | None = None
        self._touched: set[str] = set()
        """The ids of sessions that one exchange names."""

    def scenarios(self) -> Mapping[str, Sequence[View]]:
        """The views by scenario. One in which requests race is left out: what comes of it is different each time."""
        found: dict[str, list[Exchange]] = defaultdict(list)
        for exchange in self._history.exchanges:
            if not exchange.was_limited:
                found[exchange.scenario].append(exchange)
        views: dict[str, Sequence[View]] = {}
        for name, exchanges in found.items():
            self._names = dict.fromkeys(self._names, "<earlier session>")
            self._marks = dict.fromkeys(self._marks, "<earlier mark>")
            seen = [self._view(exchange) for exchange in exchanges]
            if name not in _LEFT_OUT and not overlap(exchanges):
                views[name] = seen
        return views

    def _addresses(self, trace: Trace) -> Sequence[tuple[str, str]]:
        found = {trace.target: "<target>", "{0.scheme}://{0.netloc}".format(urlsplit(trace.target)): "<target>"}
        for exchange in trace.history.of(Operation.CREATE):
            url = exchange.object.get("url")
            if isinstance(url, str) and "://" in url:
                found.setdefault("/".join(url.split("/")[:3]), "<pages>")
        for endpoint in trace.history.endpoints:
            found["/".join(endpoint.url.split("/")[:3])] = "<receiver>"
        return sorted(found.items(), key=lambda item: -len(item[0]))

    def _view(self, exchange: Exchange) -> View:
        self._account = exchange.account
        self._touched = {exchange.page_of or ""} & self._names.keys()
        if is_integer(now := exchange.object.get("now")):
            # A clock that goes on shows one run the next second where another still saw the last one.
            stands = exchange.object.get("frozen") is True
            self._now[self._history.clock_name(exchange.account)] = now if stands else None
        request = exchange.request
        headers = sorted(f"{n.lower()}: {v}" for n, v in request.headers if n.lower() != "user-agent")
        asked = (f"{request.method} {request.path}?{unquote(request.query)}", *headers)
        body = request.body or b""
        shown = body.decode("utf-8", "replace") if len(body) <= _LARGE else f"<{len(body)} bytes>"
        sent = self._text("\n".join(asked) + "\n" + shown)
        session_id = exchange.object.get("id")
        if exchange.operation is Operation.CREATE and exchange.succeeded and isinstance(session_id, str):
            known = sum(name.startswith("<session") for name in self._names.values())
            self._names.setdefault(session_id, f"<session {1 + known}>")
        elif exchange.operation is Operation.ENDPOINTS and isinstance(session_id, str):
            self._names.setdefault(session_id, "<endpoint>")
        return View(
            exchange=exchange,
            request=_DIGITS.sub("#", f"{exchange.account} {exchange.credentials} {exchange.page_act} {sent}"),
            facts=dict(self._facts(exchange)),
            sessions=frozenset(self._touched),
        )

    def _named(self, identifier: Json) -> str | None:
        """The name for an id; None if it is none of a session's."""
        name = self._names.get(str(identifier))
        if name is not None:
            self._touched.add(str(identifier))
        return name

    # Facts.

    def _facts(self, exchange: Exchange) -> Iterator[tuple[Place, Json]]:
        yield (f"status.{exchange.operation}", ""), exchange.status or exchange.failure
        reply = exchange.reply
        if reply is None:
            return
        named: dict[str, list[str]] = defaultdict(list)
        for name, value in reply.headers:
            if name not in _VOLATILE:
                named[name].append(self._header(name, value))
        for name, values in named.items():
            yield (f"headers.{name}", ""), sorted(values)
        page = page_of(exchange)
        if page is not None:
            yield ("page.text", ""), self._text(page.text)
            yield ("page.links", ""), [self._text(link) for link in page.links]
            yield ("page.elements", ""), sorted(page.tests)
        elif exchange.json is NOT_JSON:
            yield ("body", ""), self._text(reply.body.decode("utf-8", "replace"))[:2_000]
        else:
            yield from self._of_value("error" if reply.status >= 400 else "body", exchange.json)

    def _header(self, name: str, value: str) -> str:
        if name == "request-id":
            return re.sub(r"req_[A-Za-z0-9_]+", "<request id>", value)
        return _NONCE.sub("'nonce'", self._text(value))

    def _of_value(self, kind: str, value: Json, which: str = "") -> Iterator[tuple[Place, Json]]:
        """The facts of a JSON value: of a session, of a list of sessions or events, or member by member."""
        if not isinstance(value, dict):
            yield (kind, which), self._scalars(value)
            return
        data = value.get("data")
        if isinstance(data, list) and which == "" and kind == "body":
            # How many sessions others have, and earlier scenarios left, depends on the run.
            named = [(name, entry) for entry in data if "<session" in (name := self._entry_name(entry))]
            yield ("list.data", ""), [name for name, _ in named]
            for place, (name, entry) in enumerate(named):
                yield from self._of_value("body", entry, f"{place} {name}")
        is_session = value.get("object") == "checkout.session"
        for name, inner in value.items():
            if name == "data" and isinstance(inner, list) and kind == "body" and which == "":
                continue
            if name == "data" and isinstance(inner, dict) and "object" in inner:
                yield from self._of_value("body", inner["object"], f"{which} event")
            elif isinstance(inner, dict) and kind == "error":
                yield from self._of_value("error", inner, which)
            else:
                label = "session" if is_session else "event" if "api_version" in value else kind
                yield (f"{label}.{name}", which), self._member(value, name, inner)

    def _entry_name(self, entry: Json) -> str:
        if not isinstance(entry, dict):
            return "<no object>"
        inner = entry.get("data")
        subject = inner.get("object") if isinstance(inner, dict) else entry
        name = (self._named(subject.get("id")) if isinstance(subject, dict) else None) or "<other>"
        return f"{entry['type']} of {name}" if "type" in entry else name

    def _member(self, owner: Mapping[str, Json], name: str, value: Json) -> Json:
        if name == "id" and isinstance(value, str):
            return self._named(value) or re.sub(r"(evt|we|req)_.*", r"<\1>", value)
        if name in {"account", "message"} and isinstance(value, str):
            return f"<{name}>" if name == "account" else self._text(value)
        if name == "request" and isinstance(value, dict):
            value = {inner: bool(one) if inner == "id" else one for inner, one in value.items()}
        if name == "expired" and isinstance(value, list):  # what a move of the clock ended
            return [shown for one in value if "<session" in (shown := self._named(one) or "")]
        if name in _TIMES and is_integer(value):
            return self._time(owner, name, value)
        return self._scalars(value)

    def _scalars(self, value: Json) -> Json:
        if isinstance(value, dict):
            return {name: self._scalars(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._scalars(inner) for inner in value]
        return self._text(value) if isinstance(value, str) else value

    def _time(self, owner: Mapping[str, Json], name: str, value: int) -> str:
        """A time by what it is to others: an expiry to its creation, a creation to the account's clock that stands."""
        created, now = owner.get("created"), self._now.get(self._history.clock_name(self._account))
        if name == "expires_at" and is_integer(created):
            return f"<created + {value - created}>"
        if name == "created" and self._reads_clock and now is not None and "api_version" not in owner:
            return "<now>" if value == now else "<later>" if value > now else "<before>"
        return "<time>"

    # Text.

    def _text(self, text: str) -> str:
        if len(text) < _SHORT or text.isalpha():
            return text
        for address, name in self._origins:
            text = text.replace(address, name)
        if self._mark is not None:
            text = self._mark.sub(self._mark_name, text)
        return _EPOCH.sub("<time>", _DATE.sub("<date>", _TOKEN.sub(self._token, text)))

    def _mark_name(self, found: re.Match[str]) -> str:
        known = [name for name in self._marks.values() if name != "<earlier mark>"]
        return self._marks.setdefault(found[0], f"<mark {1 + len(known)}>")

    def _token(self, found: re.Match[str]) -> str:
        token = found[0]
        if (name := self._named(token)) is not None:
            return name
        is_id = len(token) >= _LONG and re.search(r"\d", token) and not token.isdigit() and "_" in token
        return "<id>" if is_id else token
