"""Sends requests to a target and records what happens. Never judges.

429 is honoured: the request waits and is sent again. Credentials go out, but never into a record.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urldefrag, urlencode, urlsplit

from qashier_contract.addresses import MOST_REDIRECTS, is_same_host, joined, origin_of
from qashier_contract.history import (
    CLOSED_IDLE,
    CONTROL_PATH,
    INTERRUPTED,
    SESSIONS_PATH,
    Credentials,
    Exchange,
    Operation,
    Recorder,
    Reply,
    Request,
)
from qashier_contract.interrupts import Interrupted
from qashier_contract.pace import RELOADS_S, Pace, kept, retry_after_s
from qashier_contract.page import Page
from qashier_contract.refresh import refresh_of
from qashier_contract.transport import HttpTransport, in_lower_case
from qashier_contract.values import Json

_MOST_WAITS: Final = 8
"""How often one request is sent again after 429 before its last answer is taken as it is."""
_LONGEST_WAIT_S: Final = 60.0
MOST_AT_ONCE: Final = 8
_DRAFT: Final = Exchange(
    number=0,
    request=Request(method="GET", path="/"),
    reply=None,
    sent_ns=0,
    received_ns=0,
    account=None,
    credentials=Credentials.NONE,
)
"""An exchange that has not begun."""

Transport: TypeAlias = "Callable[[str, str, Sequence[tuple[str, str]], bytes | None], tuple[Reply | None, str | None]]"
"""Carries one request (method, absolute URL, headers, body) to a target: its reply, or why there is none."""


@dataclass(frozen=True, slots=True)
class Key:
    """One account's secret key, and how the target takes it. It never shows itself."""

    secret: str
    scheme: Credentials = Credentials.BASIC

    def __repr__(self) -> str:
        return f"Key(***, {self.scheme})"

    def header(self, scheme: Credentials) -> str:
        """The value of `Authorization`."""
        if scheme is Credentials.BEARER:
            return f"Bearer {self.secret}"
        return "Basic " + base64.b64encode(f"{self.secret}:".encode()).decode()


class Target:
    """One base URL, spoken to in the name of some accounts.

    Args:
        base_url: Where `/checkout/sessions` hangs.
        keys: The accounts' keys, by number.
        recorder: Where everything goes that is seen.
        pace: How fast and until when.
        control_url: Where `/_mock/v1` hangs; None if the target has no control API.
        timeout_s: After how many seconds without an answer its outcome counts as unknown.
        transport: Carries the requests instead of HTTP: a target inside this process.
    """

    def __init__(
        self,
        base_url: str,
        keys: Sequence[Key],
        *,
        recorder: Recorder,
        pace: Pace | None = None,
        control_url: str | None = None,
        timeout_s: float = 30.0,
        transport: Transport | None = None,
    ) -> None:
        self._transport = transport
        self.base_url = base_url.rstrip("/")
        self.keys = list(keys)
        self.recorder = recorder
        self.pace = pace or Pace()
        self.control_url = control_url.rstrip("/") if control_url else None
        self.timeout_s = timeout_s
        self.scenario = ""
        self.look: Callable[[], None] = lambda: None
        """What is done after each request that was answered: it may end the run."""
        self._cookies: dict[str, dict[str, str]] = defaultdict(dict)
        """What the customer of each session was given to carry from page to page; never recorded."""
        self._local = threading.local()
        self._threads = ThreadPoolExecutor(max_workers=MOST_AT_ONCE)
        self._http = HttpTransport(self.pace.stop)

    def with_accounts(self, keys: Sequence[Key], recorder: Recorder) -> Target:
        """The same target at the same pace, spoken to in the name of other accounts, and recorded elsewhere."""
        return Target(
            self.base_url,
            keys,
            recorder=recorder,
            pace=self.pace,
            control_url=self.control_url,
            timeout_s=self.timeout_s,
            transport=self._transport,
        )

    def send(
        self,
        method: str,
        path: str,
        *,
        account: int | None = 0,
        credentials: Credentials | None = None,
        authorization: str | None = None,
        shown: str | None = None,
        query: str = "",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        redacted: bytes | None = None,
        is_chunked: bool = False,
    ) -> Exchange:
        """Send one request, wait where the target asks for it, and record every answer.

        Args:
            method: The HTTP method.
            path: The path below the base URL, as it is sent; `/_mock/…` goes to the control API.
            account: In whose name; None sends no key.
            credentials: Another scheme than the key's own, or `BROKEN` with an `authorization` that names no account.
            authorization: The value of `Authorization` where it is broken.
            shown: How the record shows a broken `Authorization`.
            query: The query string, as it is sent.
            headers: Further headers. Where all have names in lower case, `Authorization` has too.
            body: The body as it is sent.
            redacted: What the record shows instead of the body.
            is_chunked: Whether the body goes out in chunks; else its length is announced.

        Raises:
            OutOfTime: The budget is spent.
            Interrupted: The stop came. The exchange that was in flight is recorded as one without an answer.
            OutOfSessions: A create, and no more sessions are allowed.
        """
        kind, value = Credentials.NONE, authorization
        if authorization is not None:
            kind, account = Credentials.BROKEN, None
        elif account is not None:
            key = self.keys[account]
            kind = credentials or key.scheme
            value, shown = key.header(kind), f"{kind.capitalize()} <key of account {account + 1}>"
        sent, recorded = list(headers), list(headers)
        if value is not None:
            name = "authorization" if in_lower_case(headers) else "Authorization"
            sent.append((name, value))
            recorded.append((name, shown or value))
        if is_chunked:
            recorded.append(("Transfer-Encoding", "chunked"))
        kept = body if redacted is None else redacted
        request = Request(method=method, path=path, query=query, headers=tuple(recorded), body=kept)
        is_control = path.startswith(CONTROL_PATH) and self.control_url is not None
        url = f"{self.control_url if is_control else self.base_url}{request.target}"
        draft = replace(_DRAFT, request=request, account=account, credentials=kind)
        return self._until_answered(draft, url, sent, body, is_chunked=is_chunked)

    def visit(
        self,
        method: str,
        url: str,
        session_id: str,
        act: str,
        *,
        seen: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> Exchange:
        """Ask for a hosted page as a session's customer, who has no key, and cookies of his own; else like `send`.

        `act` is what the customer does there, `seen` the number of the exchange that showed the page.
        """
        request = Request(method=method, path=url, headers=tuple(headers), body=body)
        draft = replace(_DRAFT, request=request, page_of=session_id, page_act=act, page_from=seen)
        origin = [("Origin", str(origin_of(url))), ("Referer", url.partition("#")[0])] if method == "POST" else []
        sent = [*headers, ("Accept", "text/html, */*;q=0.8"), ("Accept-Language", "en"), *origin]
        if cookies := "; ".join(f"{name}={value}" for name, value in self._cookies[session_id].items()):
            sent.append(("Cookie", cookies))
        return self._until_answered(draft, _as_a_browser_asks(url), sent, body)

    def _until_answered(
        self,
        draft: Exchange,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        *,
        is_chunked: bool = False,
    ) -> Exchange:
        """Send a request, again where the target answers 429 or had closed the connection; what became of it last."""
        opens = draft.operation is Operation.CREATE
        waits, failure = 0, None
        while True:
            self.pace.take(opens_session=opens and (waits == 0 or failure == CLOSED_IDLE))
            self._stamp()
            try:
                reply, failure = self._carry(draft.request.method, url, headers, body, is_chunked=is_chunked)
            except Interrupted:
                reply, failure = None, INTERRUPTED
            if reply is not None and draft.page_of is None:
                reply = kept(reply)
            exchange = replace(
                draft,
                number=self._local.number,
                reply=reply,
                failure=failure,
                sent_ns=self._local.sent_ns,
                received_ns=time.monotonic_ns(),
                scenario=self.scenario,
            )
            self.recorder.add(exchange)
            self.pace.keep(exchange)
            self.pace.stop.check()
            if draft.page_of is not None and reply is not None:
                _keep_cookies(self._cookies[draft.page_of], reply)
            waits += 1
            if waits > _MOST_WAITS or (failure != CLOSED_IDLE and not exchange.was_limited):
                self.look()
                return exchange
            if reply is not None:
                self.pace.hold(min(retry_after_s(reply), _LONGEST_WAIT_S))

    def _carry(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes | None, *, is_chunked: bool
    ) -> tuple[Reply | None, str | None]:
        gate = self._gate()
        if self._transport is not None:
            if gate is not None:
                gate()
            return self._transport(method, url, headers, body)
        deadline_ns = time.monotonic_ns() + int(min(self.timeout_s, max(0.05, self.pace.remaining_s)) * 1e9)
        return self._http.carry(method, url, headers, body, deadline_ns=deadline_ns, is_chunked=is_chunked, gate=gate)

    def at_once(self, acts: Sequence[Callable[[], Exchange]]) -> list[Exchange]:
        """Send several requests at once: each but for its last byte, and those when all the others are out.

        A server cannot act on a request before it has come whole, so that neither connecting nor writing keeps the
        requests apart. They count as sent when their last byte is.

        Args:
            acts: What sends one request each, at most `MOST_AT_ONCE`.

        Raises:
            OutOfTime: The budget is spent.
            OutOfSessions: No more sessions are allowed.
        """
        if len(acts) > MOST_AT_ONCE:
            raise ValueError(f"{len(acts)} requests at once, but there are {MOST_AT_ONCE} threads")
        gate = threading.Barrier(len(acts))

        def one(act: Callable[[], Exchange]) -> Exchange:
            self._local.gate = gate
            try:
                return act()
            finally:
                # Who never got to the gate must not be waited for; who is through does not mind.
                gate.abort()

        # The same threads for every round, since each has a connection of its own.
        waiting = [self._threads.submit(one, act) for act in acts]
        wait(waiting)
        return [result.result() for result in waiting]

    def _gate(self) -> Callable[[], None] | None:
        """What waits for the others before the last byte of a request, if this thread's request has others."""
        gate: threading.Barrier | None = self._local.__dict__.pop("gate", None)
        if gate is None:
            return None

        def pass_gate() -> None:
            with suppress(threading.BrokenBarrierError):
                gate.wait()
            self._stamp()

        return pass_gate

    def _stamp(self) -> None:
        """Note that this thread's request goes out now."""
        self._local.number, self._local.sent_ns = self.recorder.next_number(), time.monotonic_ns()

    def close(self) -> None:
        """Close every connection, and end the threads of the rounds."""
        self._threads.shutdown()
        self._http.close()


def _as_a_browser_asks(url: str) -> str:
    """The address of a page as it is asked for: what is no character of a URL goes out percent-encoded."""
    kept = re.sub(r"[\t\r\n]", "", url)
    return re.sub(r"[^!-~]", lambda found: quote(found[0].encode("utf-8", "replace")), kept)


def _keep_cookies(cookies: dict[str, str], reply: Reply) -> None:
    """Do as a reply's `Set-Cookie` says. All pages of a session are one place: paths and domains are not looked at."""
    for name, value in reply.headers:
        if name != "set-cookie":
            continue
        try:
            given = SimpleCookie(value)
        except CookieError:
            continue
        for cookie in given.values():
            if cookie["max-age"] == "0" or not cookie.value:
                cookies.pop(cookie.key, None)
            else:
                cookies[cookie.key] = cookie.coded_value


class Account:
    """A target in the name of one account: the four operations, the control calls, and the hosted page."""

    def __init__(self, target: Target, number: int) -> None:
        self.target = target
        self.number = number

    def create(
        self,
        body: Json,
        *,
        key: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        credentials: Credentials | None = None,
        chunked: bool = False,
    ) -> Exchange:
        """Create a session. `body` is sent as JSON, bytes as they are; `chunked` without its length."""
        return self._post(SESSIONS_PATH, body, key=key, headers=headers, credentials=credentials, is_chunked=chunked)

    def retrieve(self, session_id: str, *, credentials: Credentials | None = None) -> Exchange:
        return self.target.send("GET", _session_path(session_id), account=self.number, credentials=credentials)

    def list(self, credentials: Credentials | None = None, /, **parameters: str | int) -> Exchange:
        """List sessions. `created_gte=5` is sent as `created[gte]=5`."""
        query = urlencode({_parameter(name): value for name, value in parameters.items()})
        return self.list_raw(query, credentials=credentials)

    def list_raw(self, query: str, *, credentials: Credentials | None = None) -> Exchange:
        return self.target.send("GET", SESSIONS_PATH, account=self.number, query=query, credentials=credentials)

    def expire(
        self,
        session_id: str,
        *,
        key: str | None = None,
        body: Json = None,
        headers: Sequence[tuple[str, str]] = (),
        credentials: Credentials | None = None,
    ) -> Exchange:
        """Expire a session. A body is what nobody reads."""
        path = f"{_session_path(session_id)}/expire"
        return self._post(path, body, key=key, headers=headers, credentials=credentials)

    def pay(self, session_id: str, outcome: str = "succeeded") -> Exchange:
        """The customer's act: `succeeded`, `failed` or `canceled`."""
        return self._post(f"{CONTROL_PATH}/sessions/{_quoted(session_id)}/pay", {"outcome": outcome})

    def clock(self) -> Exchange:
        return self.target.send("GET", f"{CONTROL_PATH}/clock", account=self.number)

    def set_clock(self, *, now: int | None = None, frozen: bool | None = None) -> Exchange:
        wanted = {name: value for name, value in (("now", now), ("frozen", frozen)) if value is not None}
        return self._post(f"{CONTROL_PATH}/clock", wanted, method="PUT")

    def advance(self, seconds: int) -> Exchange:
        return self._post(f"{CONTROL_PATH}/clock/advance", {"seconds": seconds})

    def events(self) -> Exchange:
        return self.target.send("GET", f"{CONTROL_PATH}/events", account=self.number)

    def add_endpoint(self, url: str, secret: str | None = None) -> Exchange:
        """Register a webhook endpoint. The secret is sent, but not recorded."""
        path, body = f"{CONTROL_PATH}/webhook-endpoints", {"url": url}
        if secret is None:
            return self._post(path, body)
        return self._post(path, {**body, "secret": secret}, redacted=json.dumps({**body, "secret": "***"}).encode())

    def remove_endpoint(self, endpoint_id: str) -> Exchange:
        return self._post(f"{CONTROL_PATH}/webhook-endpoints/{_quoted(endpoint_id)}", None, method="DELETE")

    def view(self, session_id: str, url: str, act: str = "view", *, seen: int | None = None) -> Exchange:
        """Open a hosted page, or where one of its links leads, as a customer without a key; the last exchange."""
        return self._led_on(self.target.visit("GET", url, session_id, act, seen=seen))

    def look(self, session_id: str, url: str) -> Exchange:
        """Ask for the headers of a hosted page alone, as what previews links does."""
        return self.target.visit("HEAD", url, session_id, "view")

    def press(
        self,
        session_id: str,
        form: Mapping[str, str],
        act: str,
        button: Mapping[str, str],
        *,
        seen: int,
        method: str = "",
    ) -> Exchange:
        """Submit a form of the page that exchange `seen` showed, and follow where it leads on the same host.

        `form["action"]` must be on the page's own host: nothing is ever posted elsewhere. What only leads on may be
        asked for by GET; what acts is posted, for GET must change nothing. With a `method`, that instead of the form's.
        """
        fields = Page.sent_by(form, button)
        url = joined(form["action"], button.get("formaction", "")) or form["action"]
        if (method or button.get("formmethod") or form["method"]).lower() != "post":
            # As a browser does: the fields take the place of the query.
            url = urlsplit(url)._replace(query=urlencode(fields), fragment="").geturl()
            return self._led_on(self.target.visit("GET", url, session_id, act, seen=seen))
        body = urlencode(fields).encode()
        headers = (("Content-Type", "application/x-www-form-urlencoded"),)
        return self._led_on(self.target.visit("POST", url, session_id, act, seen=seen, headers=headers, body=body))

    def _led_on(self, exchange: Exchange) -> Exchange:
        """Go on as a browser does by itself, on the same host; the shop's own pages are never opened."""
        session_id, act = str(exchange.page_of), f"{exchange.page_act}, led on"
        redirects, reloads = 0, iter(RELOADS_S)
        while redirects < MOST_REDIRECTS:
            reply, asked, seen = exchange.reply, exchange.request, exchange.number
            location = reply.header("location") if reply is not None and 300 <= reply.status < 400 else None
            url = None if location is None else joined(asked.path, location)
            if (refresh := refresh_of(exchange)) is not None:
                told_s, url = refresh
                reload_s = next(reloads, None)
                if reload_s is None:
                    break
                is_same = urldefrag(url)[0] == urldefrag(asked.path)[0]
                if not self.target.pace.wait_for_page(min(told_s, reload_s) if is_same else told_s):
                    break
            elif url is None or not is_same_host(url, asked.path):
                break
            if exchange.status not in {307, 308}:  # by those the same request goes there
                asked = replace(asked, method="GET", headers=(), body=None)
            redirects += refresh is None
            sent, body = asked.headers, asked.body
            exchange = self.target.visit(asked.method, url, session_id, act, seen=seen, headers=sent, body=body)
        return exchange

    def _post(
        self,
        path: str,
        body: Json,
        *,
        method: str = "POST",
        key: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        **how: Any,
    ) -> Exchange:
        """Send a body as JSON, bytes as they are; `how` is for `Target.send`."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = list(headers)
        if raw is not None and not any(name.lower() == "content-type" for name, _ in named):
            named.insert(0, ("Content-Type", "application/json"))
        if key is not None:
            named.append(("Idempotency-Key", key))
        # A header that is named, but not to be sent, is given as "".
        named = [(name, value) for name, value in named if name.lower() != "content-type" or value]
        return self.target.send(method, path, account=self.number, headers=named, body=raw, **how)


def _quoted(identifier: str) -> str:
    """An id as a segment of a path. What is half of a character goes out as a target that gave it would write it."""
    return quote(identifier, safe="", errors="surrogatepass")


def _session_path(session_id: str) -> str:
    return f"{SESSIONS_PATH}/{_quoted(session_id)}"


def _parameter(name: str) -> str:
    return f"created[{name[8:]}]" if name.startswith("created_") else name
