"""What was observed of a target: requests, replies and deliveries, in the order in which they were sent.

Nouns only. Nothing here sends, and nothing here judges. Times are monotonic nanoseconds of the machine that observed,
taken before a request was sent and after its reply was received, so that "A ended before B began" is a fact. Secrets
never get in: of the credentials only their kind and the number of the account is kept.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import chain, pairwise
from typing import Final
from urllib.parse import parse_qsl, unquote

from qashier_contract.policy import Policy
from qashier_contract.values import NOT_JSON, Json, is_integer, read_json

SESSIONS_PATH: Final = "/checkout/sessions"
CONTROL_PATH: Final = "/_mock/v1"
_FIELD: Final = re.compile(r"[\t -~\x80-\uffff]*")
"""What a header or a request line may be made of: no control characters."""
_HEAD_MOST: Final = 8_192
"""How long a request line may be, and all headers together, before any server may refuse them."""
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_OF_THE_MOCK: Final = frozenset({"HEAD", "OPTIONS"})
NOT_RECORDED: Final = "no answer was recorded"
"""The failure of an exchange of which a file holds no answer, or half of one. Nobody knows whether one came."""
GATEWAY: Final = frozenset({502, 503, 504})
"""Statuses that something in front of the service gives when it cannot reach it: not an answer of the API."""
TIMED_OUT: Final = "timed out"
CLOSED_IDLE: Final = "connection closed while idle"
"""A connection may be closed at any time: what was sent meanwhile got no answer, and is sent again."""
INTERRUPTED: Final = "interrupted"
_NOT_TO_BLAME: Final = frozenset({TIMED_OUT, CLOSED_IDLE, INTERRUPTED, NOT_RECORDED})


class Operation(StrEnum):
    """What a request asks for, told from its method and path alone."""

    CREATE = "create"
    RETRIEVE = "retrieve"
    LIST = "list"
    EXPIRE = "expire"
    PAY = "pay"
    """The customer's act, through the control API."""
    CLOCK = "clock"
    """Reading or moving the clock, through the control API."""
    EVENTS = "events"
    ENDPOINTS = "endpoints"
    PAGE = "page"
    """The hosted page, or a form of it."""
    OTHER = "other"

    @property
    def is_api(self) -> bool:
        """Whether it is one of the four documented operations."""
        return self in _API

    @property
    def is_judged(self) -> bool:
        """Whether the rules for every request (HTTP-1 and so on) hold for it: the API, unknown paths included."""
        return self in _API or self is Operation.OTHER


_API: Final = frozenset({Operation.CREATE, Operation.RETRIEVE, Operation.LIST, Operation.EXPIRE})

_ROUTES: Final[tuple[tuple[str, re.Pattern[str], Operation], ...]] = tuple(
    (method, re.compile(path), operation)
    for method, path, operation in (
        ("POST", rf"{SESSIONS_PATH}", Operation.CREATE),
        ("GET", rf"{SESSIONS_PATH}", Operation.LIST),
        ("GET", rf"{SESSIONS_PATH}/[^/]+", Operation.RETRIEVE),
        ("POST", rf"{SESSIONS_PATH}/[^/]+/expire", Operation.EXPIRE),
        ("POST", rf"{CONTROL_PATH}/sessions/[^/]+/pay", Operation.PAY),
        ("GET|PUT", rf"{CONTROL_PATH}/clock", Operation.CLOCK),
        ("POST", rf"{CONTROL_PATH}/clock/advance", Operation.CLOCK),
        ("GET", rf"{CONTROL_PATH}/events", Operation.EVENTS),
        ("GET|POST", rf"{CONTROL_PATH}/webhook-endpoints", Operation.ENDPOINTS),
        ("DELETE", rf"{CONTROL_PATH}/webhook-endpoints/[^/]+", Operation.ENDPOINTS),
    )
)


def operation_of(method: str, path: str) -> Operation:
    """Which operation a method and a path, relative to the base URL, ask for."""
    for methods, pattern, operation in _ROUTES:
        if method in methods.split("|") and pattern.fullmatch(path):
            return operation
    return Operation.OTHER


class Credentials(StrEnum):
    """How a request said who it is."""

    BASIC = "basic"
    BEARER = "bearer"
    NONE = "none"
    BROKEN = "broken"
    """Anything that names no account."""
    HIDDEN = "hidden"
    """The record does not hold any, as browsers leave them out."""


class Capability(StrEnum):
    """What a target allows a checker to do beyond the API itself."""

    PAY = "pay"
    CLOCK = "clock"
    EVENTS = "events"
    WEBHOOKS = "webhooks"
    SECOND_ACCOUNT = "second account"
    PAGE = "hosted page"

    @property
    def lack(self) -> str:
        """Why a clause that needs it was not exercised."""
        return _LACK[self]


_LACK: Final[Mapping[Capability, str]] = {
    Capability.PAY: "no control API to pay with",
    Capability.CLOCK: "no control API to move the clock with",
    Capability.EVENTS: "no control API to read events from, and no webhooks reach this checker",
    Capability.WEBHOOKS: "no webhooks reach this checker",
    Capability.SECOND_ACCOUNT: "no second account's key",
    Capability.PAGE: "no hosted page that can be read without a browser",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was sent. `path` is relative to the base URL, undecoded; `query` is the raw query string."""

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    @cached_property
    def operation(self) -> Operation:
        return operation_of(self.method, self.path)

    @property
    def target(self) -> str:
        """The path with its query, as it is sent."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @cached_property
    def parameters(self) -> Mapping[str, str]:
        """The query's parameters, decoded; of a repeated one the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @cached_property
    def json(self) -> Json:
        return NOT_JSON if self.body is None else read_json(self.body)

    @cached_property
    def session_id(self) -> str | None:
        """The id of the session that the path names, decoded."""
        parts = self.path.split("/")
        if self.operation in {Operation.RETRIEVE, Operation.EXPIRE}:
            return unquote(parts[3])
        return unquote(parts[4]) if self.operation is Operation.PAY else None

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever the case of its name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def idempotency_key(self) -> str | None:
        return self.header("Idempotency-Key")

    @property
    def is_chunked(self) -> bool:
        """Whether the body went out in chunks, without its length."""
        return (self.header("Transfer-Encoding") or "").lower() == "chunked"

    @property
    def in_lower_case(self) -> bool:
        """Whether its key went out under a name in lower case, as proxies and gateways of HTTP/2 send it."""
        return any(name == "authorization" for name, _ in self.headers)

    @cached_property
    def is_http(self) -> bool:
        """Whether it is valid HTTP of a usual size: what is not may be answered anyhow, or not at all."""
        lines = [f"{self.path}?{self.query}", *(f"{name}: {value}" for name, value in self.headers)]
        return (
            all(_FIELD.fullmatch(line) for line in lines)
            and " " not in lines[0]
            and max(len(lines[0]), sum(len(line) for line in lines[1:])) <= _HEAD_MOST
        )


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back. Header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @cached_property
    def json(self) -> Json:
        return read_json(self.body)

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300

    @property
    def media_type(self) -> str:
        """The media type in lower case, without its parameters; empty if there is none."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def header(self, name: str) -> str | None:
        """The first value of a header; of `Allow`, which is a list, the values of all its lines."""
        found = (value for key, value in self.headers if key == name.lower())
        return ", ".join(found) or None if name == "Allow" else next(found, None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Exchange:
    """One request and what became of it.

    `reply` is None when there was no whole answer; `failure` then says why (`timed out`, `connection dropped` …), and
    whether the request was carried out is unknown. `account` numbers the account from 0, None when the credentials
    name none.
    """

    number: int
    request: Request
    reply: Reply | None
    sent_ns: int
    received_ns: int
    account: int | None = 0
    credentials: Credentials = Credentials.BASIC
    failure: str | None = None
    scenario: str = ""
    page_of: str | None = None
    """The session whose hosted page this is."""
    page_act: str | None = None
    """What the customer did there: `view`, or the `data-testid` of what was pressed."""
    page_from: int | None = None
    """The number of the exchange that showed the page on which that was pressed."""

    @cached_property
    def operation(self) -> Operation:
        return self.request.operation if self.page_of is None else Operation.PAGE

    @property
    def status(self) -> int | None:
        return None if self.reply is None else self.reply.status

    @property
    def succeeded(self) -> bool:
        return self.reply is not None and self.reply.succeeded

    @property
    def refused(self) -> bool:
        """Whether the request was answered with 4xx. 429 is not a refusal: it says "not now"."""
        return self.reply is not None and 400 <= self.reply.status < 500 and not self.was_limited

    @property
    def is_unknown(self) -> bool:
        """Whether it may or may not have been carried out: no answer, or one that admits a fault of the server."""
        return self.reply is None or self.reply.status >= 500

    @property
    def is_lost(self) -> bool:
        """Whether the API itself did not answer: nobody did, or what stands in front of it."""
        return self.reply is None or self.reply.status in GATEWAY

    @property
    def is_unanswered_in_good_faith(self) -> bool:
        """Whether nobody is to blame for the missing answer: we stopped waiting, or an idle connection was closed."""
        return self.failure in _NOT_TO_BLAME

    @property
    def wants_a_length(self) -> bool:
        """Whether a body in chunks was refused because its length is wanted: left open on a target."""
        return self.status == 411 and self.request.is_chunked

    @property
    def was_limited(self) -> bool:
        """Whether it was answered with 429: never judged, and sent again."""
        return self.reply is not None and self.reply.status == 429

    @cached_property
    def json(self) -> Json:
        return NOT_JSON if self.reply is None else self.reply.json

    @cached_property
    def object(self) -> Mapping[str, Json]:
        """The JSON object of the reply; empty where the reply is none."""
        return self.json if isinstance(self.json, dict) else {}

    @property
    def request_id(self) -> str | None:
        return None if self.reply is None else self.reply.header("request-id")

    def is_before(self, other: Exchange) -> bool:
        """Whether this one had ended when the other began."""
        return self.received_ns < other.sent_ns

    def overlaps(self, other: Exchange) -> bool:
        return not self.is_before(other) and not other.is_before(self)

    def __str__(self) -> str:
        return f"#{self.number} {self.request.method} {self.request.target} -> {self.failure or self.status}"


def overlap(exchanges: Sequence[Exchange]) -> bool:
    """Whether at least two of them were under way at the same time."""
    ordered = sorted(exchanges, key=lambda exchange: exchange.sent_ns)
    return any(later.sent_ns <= earlier.received_ns for earlier, later in pairwise(ordered))


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A webhook endpoint of ours that was registered with the target."""

    url: str
    account: int
    registered_ns: int
    id: str | None = None
    removed_ns: int | None = None
    closed_ns: int | None = None
    """When our receiver stopped listening, though the endpoint was still there: the run was cut short."""
    refused_ns: tuple[int, ...] = ()
    """From when to when nobody listened there; one moment as long as nobody does."""
    secret: str | None = field(default=None, repr=False)


TOO_LATE: Final = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Delivery:
    """One webhook request that reached our receiver.

    `answered` is the status we gave: 0 if we hung up without one, `TOO_LATE` if we gave it later than anybody has to
    wait for it (EVT-6). `clock` is the account's time in epoch seconds, as far as it was known then.
    """

    number: int
    endpoint: Endpoint
    method: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    received_ns: int
    answered: int
    clock: int | None = None

    @property
    def outcome(self) -> str:
        """What we answered, in words."""
        return {0: "not answered", TOO_LATE: "answered too late"}.get(self.answered, f"answered {self.answered}")

    @cached_property
    def json(self) -> Json:
        return read_json(self.body)

    @cached_property
    def event(self) -> Mapping[str, Json]:
        return self.json if isinstance(self.json, dict) else {}

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is known about the target beforehand: what it can do, what this account may charge, what a tester fixed.

    `wall_ns` minus `monotonic_ns` is the machine's own clock, for a target whose clock cannot be read.
    """

    capabilities: frozenset[Capability] = frozenset()
    currencies: frozenset[str] = frozenset()
    policy: Policy = field(default_factory=Policy)
    wall_ns: int | None = None
    monotonic_ns: int = 0
    one_clock: bool = False
    """Whether all accounts go by one clock, so that whoever moves it moves it for all."""
    key_ends: tuple[str, ...] = ()
    """What the keys of the third account and those after it end with: a checker made them up."""
    others_act: bool = False
    """Whether others, whom nobody recorded, may act on the same sessions, keys and clocks: traffic of one client."""
    own: bool = False
    """Whether the target is our own mock, of which more is known than the contract leaves open on others."""


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """Everything that was observed, in the order of sending."""

    exchanges: tuple[Exchange, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    terms: Terms = field(default_factory=Terms)

    def of(self, *operations: Operation) -> Sequence[Exchange]:
        """The exchanges of these operations by an account or its customers, but for those turned away with 429."""
        if len(operations) == 1:
            return self._by_operation.get(operations[0], ())
        found = chain.from_iterable(self._by_operation.get(operation, ()) for operation in operations)
        return sorted(found, key=lambda exchange: exchange.number)

    def clock_calls(self, account: int | None) -> Sequence[Exchange]:
        """What was asked of, and done to, the clock that an account goes by."""
        return self._clock_calls.get(self.clock_name(account), ())

    def times(self, account: int | None) -> Sequence[tuple[Exchange, int]]:
        """Those of `clock_calls` that showed the time, with it, in epoch seconds."""
        shown = ((exchange, exchange.object.get("now")) for exchange in self.clock_calls(account))
        return [(exchange, now) for exchange, now in shown if is_integer(now)]

    def clock_name(self, account: int | None) -> int | None:
        """The same for two accounts exactly when they go by the same clock."""
        return None if self.terms.one_clock else account

    @cached_property
    def _clock_calls(self) -> Mapping[int | None, Sequence[Exchange]]:
        found: dict[int | None, list[Exchange]] = defaultdict(list)
        for exchange in self.of(Operation.CLOCK):
            found[self.clock_name(exchange.account)].append(exchange)
        return found

    @cached_property
    def _by_operation(self) -> Mapping[Operation, Sequence[Exchange]]:
        found: dict[Operation, list[Exchange]] = defaultdict(list)
        for exchange in self.exchanges:
            if (exchange.account is not None or exchange.page_of is not None) and not exchange.was_limited:
                found[exchange.operation].append(exchange)
        return found

    @cached_property
    def judged(self) -> tuple[Exchange, ...]:
        """The API's exchanges, unknown paths and bad credentials included, that were not turned away with 429.

        A method that hardly anyone uses is often answered by the server in front, before it is the API's affair; so are
        HEAD and OPTIONS, which only our own mock is judged by.
        """
        methods = _METHODS | _OF_THE_MOCK if self.terms.own else _METHODS
        return tuple(
            e
            for e in self.exchanges
            if e.operation.is_judged and not e.was_limited and e.request.method in methods and e.request.is_http
            if self.terms.own or not e.wants_a_length
        )


class Recorder:
    """Collects what is observed, from any thread."""

    def __init__(self, terms: Terms | None = None) -> None:
        self.terms = terms or Terms()
        self.exchanges: list[Exchange] = []
        self.deliveries: list[Delivery] = []
        self.endpoints: list[Endpoint] = []
        self._numbers = 0
        self._lock = threading.Lock()

    def next_number(self) -> int:
        with self._lock:
            self._numbers += 1
            return self._numbers

    def withdraw(self, capability: Capability) -> None:
        """The target turned out not to have what was taken for granted."""
        self.terms = replace(self.terms, capabilities=self.terms.capabilities - {capability})

    def add(self, exchange: Exchange) -> None:
        with self._lock:
            self.exchanges.append(exchange)

    def deliver(self, delivery: Delivery) -> None:
        with self._lock:
            self.deliveries.append(delivery)

    def history(self) -> History:
        """What was observed so far."""
        with self._lock:
            return History(
                exchanges=tuple(sorted(self.exchanges, key=lambda exchange: exchange.number)),
                deliveries=tuple(sorted(self.deliveries, key=lambda delivery: delivery.number)),
                endpoints=tuple(self.endpoints),
                terms=self.terms,
            )
