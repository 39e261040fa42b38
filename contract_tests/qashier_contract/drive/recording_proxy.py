"""A door on loopback through which a tool that speaks HTTP by itself reaches a target.

What comes in is sent through `Target`: at its pace, within its budget, recorded, and with the account's key, which the
tool never sees. It says `CREDENTIALS` instead; whatever else it sends as credentials goes on as it is.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from qashier_contract import oracle
from qashier_contract.drive import RunContext
from qashier_contract.history import SESSIONS_PATH, Exchange
from qashier_contract.interrupts import OutOfTime
from qashier_contract.pace import OutOfSessions
from qashier_contract.values import Json

CREDENTIALS: Final = ("the-key-of-the-account", "")
"""User name and password that stand for the account's own key."""
NUMBER: Final = "x-exchange-number"
"""The header of an answer that says under which number the exchange was recorded."""
_STAND_IN: Final = "Basic " + base64.b64encode(":".join(CREDENTIALS).encode()).decode()
_PASSED_ON: Final = frozenset({"content-type", "idempotency-key"})
"""Headers that the document names. Of any other a target may make what HTTP says of it: refuse an empty
`Transfer-Encoding`, an `Expect`, an `If-Match` (RFC 9110, RFC 9112)."""
_HOP: Final = frozenset({"connection", "content-encoding", "content-length", "transfer-encoding", "keep-alive"})
_KEY: Final = re.compile(r"[!-~]{1,255}")
_FIELDS: Final = frozenset(
    {
        *("line_items", "price_data", "currency", "product_data", "name", "description", "unit_amount", "quantity"),
        *("success_url", "return_url", "cancel_url", "expires_at"),
    }
)
_SUCCESS_URL: Final = re.compile(rb'("success_url"\s*:\s*")([!-\[\]-~]+)(")')
_MARKED_URL: Final = 1_900
"""A longer `success_url` is left as it is: it is there for its length."""


class RecordingProxy:
    """Passes requests on to a target, one at a time."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.is_over = False
        self.when_over: Callable[[], object] = bool
        """Called once nothing more may be sent."""
        self._lock = threading.Lock()

    def pass_on(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | None
    ) -> Exchange | None:
        """Send a request to the target; None once nothing more may be sent."""
        path, _, query = target.partition("?")
        said = next((value for name, value in headers if name.lower() == "authorization"), None)
        kept = [(name, value) for name, value in headers if name.lower() in _PASSED_ON]
        with self._lock:
            if self.is_over:
                return None
            if method == "POST" and path == SESSIONS_PATH and body is not None:
                body = _SUCCESS_URL.sub(self._marked, body, count=1)
            kept = [(name, self._unused(value) if name.lower() == "idempotency-key" else value) for name, value in kept]
            try:
                exchange = self.context.target.send(
                    method,
                    path,
                    account=0 if said == _STAND_IN else None,
                    authorization=None if said == _STAND_IN else said,
                    query=query,
                    headers=kept,
                    body=body,
                )
            except (OutOfTime, OutOfSessions):
                self.is_over = True
                self.when_over()
                return None
        if exchange.refused and _is_left_open(exchange):
            self.context.recorder.exchanges.remove(exchange)  # it may be refused for what no document decides
        return exchange

    def _marked(self, found: re.Match[bytes]) -> bytes:
        """The `success_url` with a mark of its own, by which a session tells which request made it."""
        url = found[2].decode("ascii")
        if oracle.URL.fullmatch(url) is None or len(url) > _MARKED_URL:
            return found[0]
        slash = "" if re.search(r"[/?#]", url.partition("//")[2]) else "/"
        return found[1] + f"{url}{slash}-{self.context.mark()}".encode() + found[3]

    def _unused(self, key: str) -> str:
        """An idempotency key as long as a valid one, but never used before: the target may remember an earlier run.

        An odd one goes out to our own mock only: no document says what becomes of it.
        """
        is_valid, mark = _KEY.fullmatch(key) is not None, self.context.mark()
        if is_valid:
            return mark + key[len(mark) :]
        return key if self.context.terms.own or len(key) > oracle.KEY_LENGTH else mark


def _is_left_open(exchange: Exchange) -> bool:
    """Whether a request carries what no document mentions: an odd key, an empty parameter, an unknown field."""
    key = exchange.request.idempotency_key
    odd = key is not None and len(key) <= oracle.KEY_LENGTH and not _KEY.fullmatch(key)
    return odd or "" in exchange.request.parameters.values() or not _names(exchange.request.json) <= _FIELDS


def _names(value: Json) -> set[str]:
    """The names of all fields of a body, at whatever depth."""
    if isinstance(value, dict):
        return set(value).union(*map(_names, value.values()))
    return set().union(*map(_names, value)) if isinstance(value, list) else set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    recording_proxy: RecordingProxy

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):  # whatever the method
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length is not None and length.isdigit() else None
        exchange = self.recording_proxy.pass_on(self.command, self.path, self.headers.items(), body)
        reply = None if exchange is None else exchange.reply
        if exchange is None or reply is None:
            self.close_connection = True
            return
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            if name not in _HOP:
                self.send_header(name, value)
        self.send_header(NUMBER, str(exchange.number))
        if reply.status >= 200 and reply.status not in {204, 304}:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD" and reply.status not in {204, 304}:
            self.wfile.write(reply.body)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is the library's
        del format, arguments


@contextmanager
def through_proxy(context: RunContext) -> Iterator[tuple[str, RecordingProxy]]:
    """A recording proxy to the run's target, and the URL of its door."""
    recording_proxy = RecordingProxy(context)
    handler = type("Handler", (_Handler,), {"recording_proxy": recording_proxy})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", recording_proxy
    finally:
        recording_proxy.is_over = True
        server.shutdown()
        server.server_close()
