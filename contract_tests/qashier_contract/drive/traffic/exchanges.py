"""Requests of others and their answers, as exchanges: whose they are, what they belong to, and without a secret.

Accounts are numbered by key in the order in which a key was first taken. Of a key a salted digest is kept, so that it
is known again; whatever looks like a key is replaced in all that is recorded.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urldefrag, urljoin

from qashier_contract.addresses import origin_of, parts_of
from qashier_contract.history import (
    CONTROL_PATH,
    SESSIONS_PATH,
    Capability,
    Credentials,
    Exchange,
    Operation,
    Reply,
    Request,
    Terms,
)
from qashier_contract.page import page_of
from qashier_contract.trace.file import HIDDEN, without_secrets
from qashier_contract.values import NOT_JSON, Json

Headers = Sequence[tuple[str, str]]

_OF_THE_API: Final = re.compile(rf"{SESSIONS_PATH}(/[^/]+(/expire)?)?")
_BASE: Final = re.compile(rf"(.*?)({SESSIONS_PATH})(/[^/]+(/expire)?)?")
_KEY: Final = re.compile(r"sk_(?:test|live)_[A-Za-z0-9_-]+")
_SCHEME: Final = re.compile(r"\s*(basic|bearer)\s+(\S+)\s*", re.IGNORECASE)
_REDACTED: Final = re.compile(r"(Basic|Bearer) (<key of account \d+>)")
"""How our own files show a key."""
_SHOWN_SCHEME: Final = re.compile(r"(basic|bearer|digest|token)\s+", re.IGNORECASE)
_SECRET: Final = re.compile(rb'("secret"\s*:\s*)"(?:[^"\\]|\\.)*"')
_SHOP_URLS: Final = ("success_url", "return_url", "cancel_url")
_DENIED: Final = frozenset({401, 403})


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request as it went over the wire, and its answer. `reply` is None where there was none; `url` is absolute.

    `number` says which request of all it was, in the order of sending; 0 if they come in that order.
    """

    method: str
    url: str
    headers: Headers
    body: bytes | None
    reply: Reply | None
    sent_ns: int
    received_ns: int
    failure: str | None = None
    number: int = 0


def base_of(url: str) -> str | None:
    """The base URL below which a request of the API was sent; None if its path is none of the API's."""
    found, origin = _BASE.fullmatch(parts_of(url).path), origin_of(url)
    return None if found is None or origin is None else f"{origin}{found[1]}"


class Traffic:
    """Turns what was seen into exchanges, in the order of sending.

    What is neither below `base_url`, nor of the control API of the same host, nor a hosted page that an answer named,
    is somebody else's. `keeps_credentials` says whether `Authorization` is where it was sent; browsers may leave it out
    of what they export.
    """

    def __init__(self, base_url: str, *, one_account: bool = False, keeps_credentials: bool = True) -> None:
        self._origin, self._prefix = origin_of(base_url), parts_of(base_url).path.rstrip("/")
        self._accounts = _Accounts(one_account=one_account)
        self._keeps_credentials = keeps_credentials
        self._pages = _Pages()
        self._count = 0
        self._operations: set[Operation] = set()

    @property
    def accounts(self) -> int:
        """How many accounts were met."""
        return self._accounts.count

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the traffic shows that the target allows."""
        found = {Capability.PAGE}
        for operation, capability in (
            (Operation.PAY, Capability.PAY),
            (Operation.CLOCK, Capability.CLOCK),
            (Operation.EVENTS, Capability.EVENTS),
        ):
            if operation in self._operations:
                found.add(capability)
        if self.accounts > 1:
            found.add(Capability.SECOND_ACCOUNT)
        return frozenset(found)

    def terms(self, wall_ns: int, monotonic_ns: int) -> Terms:
        """What is known about the target. The machine's clock showed `wall_ns` when the monotonic one did the other."""
        return Terms(capabilities=self.capabilities, wall_ns=wall_ns, monotonic_ns=monotonic_ns, others_act=True)

    def is_of_the_api(self, method: str, url: str) -> bool:
        """Whether a request is one that will be recorded."""
        return self._place(url) is not None or self._pages.act(method, url, None) is not None

    def exchange(self, seen: Seen) -> Exchange | None:
        """The exchange that was seen; None if it is none of this API's."""
        place, page = self._place(seen.url), None
        if place is None:
            page = self._pages.act(seen.method, seen.url, seen.body)
            if page is None:
                return None
        account, credentials, shown = self._who(seen)
        if page is not None:
            account = None
        self._count += 1
        # Browsers and proxies write names in lower case, however they were sent.
        keyed = [("Authorization" if n.lower() == "authorization" else n, v) for n, v in seen.headers]
        authorized = [(n, shown if n == "Authorization" and shown else v) for n, v in keyed]
        path, query = place or (urldefrag(seen.url)[0], "")
        exchange = Exchange(
            number=seen.number or self._count,
            request=Request(
                method=seen.method,
                path=_hidden(path),
                query=_hidden(query),
                headers=_kept(authorized),
                body=_hidden_body(seen.body, path),
            ),
            reply=None if seen.reply is None else _kept_reply(seen.reply),
            failure=seen.failure,
            sent_ns=seen.sent_ns,
            received_ns=seen.received_ns,
            account=account,
            credentials=credentials,
            page_of=page.session_id if page else None,
            page_act=page.act if page else None,
            page_from=page.shown_by if page else None,
        )
        self._pages.learn(exchange)
        if exchange.succeeded:
            self._operations.add(exchange.operation)
        return exchange

    def _place(self, url: str) -> tuple[str, str] | None:
        """Path and query below the base URL, None if a URL is not there."""
        if origin_of(url) != self._origin:
            return None
        parts = parts_of(url)
        below = parts.path.removeprefix(self._prefix) if parts.path.startswith(self._prefix) else ""
        if _OF_THE_API.fullmatch(below):
            return below, parts.query
        for candidate in (below, parts.path):
            if candidate.startswith(f"{CONTROL_PATH}/"):
                return candidate, parts.query
        return None

    def _who(self, seen: Seen) -> tuple[int | None, Credentials, str | None]:
        denied = seen.reply is not None and seen.reply.status in _DENIED
        if not self._keeps_credentials:
            return (None if denied else 0), Credentials.HIDDEN, None
        value = next((v for n, v in seen.headers if n.lower() == "authorization"), None)
        if value is None:
            return None, Credentials.NONE, None
        found = _key_of(value)
        if found is None:
            scheme = _SHOWN_SCHEME.match(value)
            return None, Credentials.BROKEN, f"{scheme[0] if scheme else ''}{HIDDEN}"
        kind, key, is_whole = found
        account = self._accounts.number(key, is_taken=not denied)
        # A key that was never taken may be none; and with a password it is left open whether a right one is.
        if account is None or (denied and not is_whole):
            return None, Credentials.BROKEN, f"{kind.capitalize()} <no key of an account>"
        return account, kind, f"{kind.capitalize()} <key of account {account + 1}>"


def _key_of(authorization: str) -> tuple[Credentials, str, bool] | None:
    """Scheme and key of a value of `Authorization`, and whether nothing else is in it; None if there is no key."""
    redacted = _REDACTED.fullmatch(authorization)
    if redacted is not None:
        return Credentials(redacted[1].lower()), redacted[2], True
    found = _SCHEME.fullmatch(authorization)
    if found is None:
        return None
    if found[1].lower() == "bearer":
        return Credentials.BEARER, found[2], True
    try:
        user, _, password = base64.b64decode(found[2], validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (Credentials.BASIC, user, not password) if user else None


class _Accounts:
    """Which number the account of a key has."""

    def __init__(self, *, one_account: bool) -> None:
        self._salt = secrets.token_bytes(16)
        self._numbers: dict[bytes, int] = {}
        self._one_account = one_account

    @property
    def count(self) -> int:
        return len(set(self._numbers.values()))

    def number(self, key: str, *, is_taken: bool) -> int | None:
        """The account's number; None as long as no request with the key was taken."""
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), key=self._salt).digest()
        if digest not in self._numbers:
            if not is_taken:
                return None
            self._numbers[digest] = 0 if self._one_account else len(self._numbers)
        return self._numbers[digest]


@dataclass(frozen=True)
class _PageAct:
    session_id: str
    act: str
    shown_by: int | None = None


class _Pages:
    """The hosted pages that answers named, and what can be done on them."""

    def __init__(self) -> None:
        self._acts: dict[str, _PageAct] = {}
        self._presses: dict[str, list[tuple[dict[str, str], _PageAct]]] = {}
        self._led_to: dict[str, _PageAct] = {}
        """Where a redirect leads that nobody has followed yet."""
        self._of_shops: set[str] = set()
        """Where customers are sent back to: the shop's own pages, even on the same host."""

    def act(self, method: str, url: str, body: bytes | None) -> _PageAct | None:
        """What a request does on a hosted page; None if it is for none."""
        place = urldefrag(url)[0]
        if method == "POST" and place in self._presses:
            sent = dict(parse_qsl((body or b"").decode("utf-8", "replace"), keep_blank_values=True))
            candidates = self._presses[place]
            fitting = [act for needed, act in candidates if needed.items() <= sent.items()]
            return (fitting or [act for _, act in candidates])[0]
        if method == "GET" and place in self._led_to:
            return self._led_to[place]
        return self._acts.get(place) if method in {"GET", "HEAD"} else None

    def learn(self, exchange: Exchange) -> None:
        """Note the pages that an exchange names, shows, or leads to."""
        if exchange.page_of is None:
            for session in _sessions_in(exchange.json):
                url, session_id = session.get("url"), session.get("id")
                if isinstance(url, str) and isinstance(session_id, str):
                    self._of_shops.update(str(session.get(name)) for name in _SHOP_URLS)
                    self._acts[urldefrag(url)[0]] = _PageAct(session_id, "view")
            return
        self._led_to.pop(exchange.request.path, None)
        location = exchange.reply.header("location") if exchange.reply is not None else None
        if location is not None and exchange.reply is not None and 300 <= exchange.reply.status < 400:
            there = urldefrag(urljoin(exchange.request.path, location))[0]
            is_of_shop = urljoin(exchange.request.path, location) in self._of_shops
            if origin_of(there) == origin_of(exchange.request.path) and not is_of_shop:
                began = (exchange.page_act or "view").removesuffix(", led on")
                self._led_to[there] = _PageAct(exchange.page_of, f"{began}, led on")
        page = page_of(exchange)
        for name, element in page.tests.items() if page is not None else ():
            act = _PageAct(exchange.page_of, name, exchange.number)
            if page is not None and "form" in element:
                form = page.forms[int(element["form"])]
                action = urldefrag(urljoin(form["action"], element.get("formaction", form["action"])))[0]
                fields = {field.removeprefix("field:"): v for field, v in form.items() if field.startswith("field:")}
                if element.get("name"):
                    fields[element["name"]] = element.get("value", "")
                self._presses.setdefault(action, []).insert(0, (fields, act))
            elif page is not None and "href" in element:
                there = urldefrag(urljoin(page.url, element["href"]))[0]
                if origin_of(there) == origin_of(page.url):
                    self._acts.setdefault(there, act)


def _sessions_in(value: Json) -> Sequence[dict[str, Json]]:
    """The sessions of an answer: itself, or the entries of a list."""
    if value is NOT_JSON or not isinstance(value, dict):
        return ()
    data = value.get("data")
    found = data if isinstance(data, list) else [value]
    return [one for one in found if isinstance(one, dict)]


def _hidden(text: str) -> str:
    return _KEY.sub("<key>", text)


def _hidden_body(body: bytes | None, path: str) -> bytes | None:
    """A body without what looks like a key, and a webhook endpoint's without its secret."""
    if body is None:
        return None
    if path.startswith(CONTROL_PATH):
        body = _SECRET.sub(rb'\1"***"', body)
    return re.sub(_KEY.pattern.encode(), b"<key>", body)


def _kept(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Headers as they may be kept. Those that begin with a colon are part of the request line in HTTP/2."""
    kept = without_secrets(tuple((name, value) for name, value in headers if not name.startswith(":")))
    return tuple((name, _hidden(value) if name.lower() == "authorization" else _plain(value)) for name, value in kept)


def _plain(value: str) -> str:
    return HIDDEN if _SCHEME.fullmatch(value) else _hidden(value)


def _kept_reply(reply: Reply) -> Reply:
    headers = _kept(tuple((name.lower(), value) for name, value in reply.headers))
    return Reply(status=reply.status, headers=headers, body=_hidden_body(reply.body, "") or b"")
