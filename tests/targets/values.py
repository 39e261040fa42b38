"""What the reference server is set up with, keeps, reads and answers."""

from __future__ import annotations

import json
import operator
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from qashier_contract.document import currencies

Session = dict[str, Any]
"""The object of the documents, with what only the server knows under names that begin with `_`."""

DAY_S: Final = 86_400
PATIENCE_S = 5.0
"""How long it waits for the answer to a webhook."""
RETRIES_S: Final = (10, 60, 300, 1_800, 7_200, 21_600, 43_200)
BOUNDS: Final = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


URL: Final = re.compile(
    r"[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?([/?#][!-\[\]-~]*)?"
)
KEY: Final = re.compile(r"sk_test_[A-Za-z0-9_-]{1,200}")
ROUTES: Final = (
    ("sessions", re.compile(r"/checkout/sessions"), ("GET", "POST")),
    ("retrieve", re.compile(r"/checkout/sessions/([^/]+)"), ("GET",)),
    ("expire", re.compile(r"/checkout/sessions/([^/]+)/expire"), ("POST",)),
)
CONTROL: Final = "/_mock/v1"
BRACKETS_MOST: Final = 900
"""No valid body has more of them, and Python reads no text that is nested so deeply."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the server goes by; `_s` are seconds, amounts are minor units."""

    created_status: int = 200
    body_most: float = 2 * 1024 * 1024
    urls_required: tuple[str, ...] = ("success_url", "return_url")
    url_most: int = 2_048
    lines: tuple[int, int] = (1, 100)
    amounts: tuple[int, int] = (0, 99_999_999)
    quantities: tuple[int, int] = (1, 10_000)
    product_required: tuple[str, ...] = ("name",)
    names: tuple[int, int] = (1, 250)
    descriptions: tuple[int, int] = (1, 1_000)
    currencies: frozenset[str] = field(default_factory=lambda: frozenset(currencies()))
    home_currency: str = "SGD"
    lifetime_s: int = DAY_S
    lifetimes_s: tuple[int, int] = (1_800, DAY_S)
    limits: tuple[int, int] = (1, 100)
    limit_default: int = 10
    bounds: Mapping[str, Callable[[int, int], bool]] = field(default_factory=lambda: BOUNDS)
    key_most: int = 255
    key_memory_s: float = DAY_S
    patience_s: float = field(default_factory=lambda: PATIENCE_S)
    retries_s: Sequence[int] = RETRIES_S


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, code: str, message: str, param: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def error(self) -> dict[str, str]:
        error = {"type": "invalid_request_error", "code": self.code, "message": self.message}
        return error if self.param is None else {**error, "param": self.param}


class HangUp(Exception):
    """No answer at all."""


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Any
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]


@dataclass(frozen=True)
class Answer:
    """Its content is a text, bytes, or else a JSON value; None is no content."""

    status: int
    headers: dict[str, str]
    content: Any

    @property
    def body(self) -> bytes:
        if self.content is None:
            return b""
        if isinstance(self.content, bytes):
            return self.content
        return (self.content if isinstance(self.content, str) else json.dumps(self.content)).encode()


@dataclass(eq=False)
class Account:
    """Everything of one key."""

    name: str = field(default_factory=lambda: f"acct_{secrets.token_hex(6)}")
    sessions: list[Session] = field(default_factory=list)
    keys: dict[str, Kept] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    endpoints: list[dict[str, Any]] = field(default_factory=list)
    queue: list[Job] = field(default_factory=list)
    offset_s: int = 0
    frozen: int | None = None

    @property
    def now(self) -> int:
        return self.frozen if self.frozen is not None else wall_s() + self.offset_s

    def set_clock(self, now: int, *, frozen: bool) -> None:
        self.frozen = now if frozen else None
        self.offset_s = now - wall_s()


@dataclass(eq=False)
class Job:
    """An event on its way to an endpoint."""

    event: dict[str, Any]
    endpoint: dict[str, Any]
    due: int
    tries: int = 0


@dataclass(frozen=True)
class Keyed:
    """A request with an idempotency key: what was asked, and what does it."""

    account: Account
    key: str
    asked: tuple[str, Any]
    act: Callable[[], tuple[int, Session]]

    @property
    def is_create(self) -> bool:
        return self.asked[0] == "create"


@dataclass
class Kept:
    """What is remembered under an idempotency key."""

    at: int
    asked: tuple[str, Any]
    answer: Any


def invalid(message: str, param: str | None = None) -> Refused:
    return Refused(400, "parameter_invalid", message, param)


def missing(path: str) -> Refused:
    return Refused(400, "parameter_missing", f"{path} is required.", path)


def broken(message: str, param: str) -> Refused:
    return Refused(422, "rule_broken", message, param)


def not_found(message: str) -> Refused:
    return Refused(404, "not_found", message)


def not_open(session: Session) -> Refused:
    return Refused(409, "session_not_open", f"The session is {session['status']}, not open.", "id")


def wall_s() -> int:
    return int(time.time_ns() // 10**9)
