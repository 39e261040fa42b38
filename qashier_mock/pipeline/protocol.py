"""HTTP/1.1 on the wire: uvicorn's protocol on httptools, but for what it refuses, what it takes, and how it hangs up.

- What is no valid HTTP request never becomes a call. It leaves through the same error door all the same, so that a
  client reads the one envelope; and it can read it, because the connection lingers until the client has closed it.
- Request line and headers are bounded, so that nobody fills the memory with them.
- An upgrade is declined as RFC 9110 wants: by serving the request as if nobody had asked. (Java's own client asks for
  HTTP/2 with its first request, and httptools takes the body of such a request for bytes of the other protocol.)
- Requests are started once the bytes at hand on every connection are parsed: with no system call between them, each
  finds the processor's caches as the one before left them. None has a task of its own: most are answered before they
  would have to wait for anything. An app that needs a task asks for one (`INLINE` in the extensions of its scope).
- `extensions` of the scope also hold how to hang up: `ABORT` at once, `CLOSE` after what has been written.

Settings of uvicorn that mean nothing here: `ws`, `access_log`, `limit_concurrency`, `reset_contextvars`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import httptools
import orjson
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from qashier_mock.pipeline.cycle import Cycle
from qashier_mock.pipeline.eager import go_on
from qashier_mock.pipeline.refusal import Reason, Refused
from qashier_mock.pipeline.scope import ABORT, CLOSE, INLINE

if TYPE_CHECKING:
    import asyncio

    from qashier_mock.pipeline.exchange import Hooks

HEADER_LIMIT: Final = 64 * 1024
"""Bytes of request line and headers."""
LINGER_S: Final = 2.0
"""Seconds that a refused client has to close the connection itself."""
LINGER_LIMIT: Final = 8 * 1024 * 1024
"""Bytes that a refused client may still send: closing before it stops would reset the connection under the answer."""

NOT_HTTP: Final = "This is no valid HTTP/1.1 request; check the request line, the header lines and the length."
NO_METHOD: Final = "No method of HTTP begins the request line; write `GET /path HTTP/1.1`, the method in capitals."
TOO_LARGE: Final = f"The request line and the headers are larger than {HEADER_LIMIT} bytes; send less."
CUT_SHORT: Final = "The connection was closed before the request was complete; check Content-Length, or the last chunk."
FAILED: Final = "The mock has failed; its log tells how. Please report it."
UPGRADE: Final = frozenset({b"upgrade", b"http2-settings"})


class _Unparsable(Exception):
    """Raised out of the parser, which turns it into its own error."""


class PipelineProtocol(HttpToolsProtocol):
    """One connection. Subclasses are made by `make_protocol`."""

    hooks: Hooks
    queue: list[PipelineProtocol]  # the connections with a request to start, of all that this server has
    cycle: Cycle  # type: ignore[assignment]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._extensions: dict[str, Any] = {}
        self._to_start: Cycle | None = None
        self._is_queued = False
        self._is_last = False  # the client sends no further request
        self._running: Cycle | None = None
        self._is_upgrade = False
        self._in_headers = False
        self._header_bytes = 0  # of chunks that held nothing but headers
        self._count_headers = False
        self._too_large = False
        self._left: int | None = None  # bytes that a refused client may still send
        self._active_at = 0.0
        self._asgi: Any = {"version": self.asgi_version, "spec_version": "2.3"}
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_head = b""

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions = {ABORT: transport.abort, CLOSE: transport.close, INLINE: True}

    def connection_lost(self, exc: Exception | None) -> None:
        self._notify_disconnect()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        self._active_at = self.loop.time()
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self.transport.abort()
            return
        # A chunk that is small and begins a request cannot hold too large a header: nothing is counted then.
        was_in_headers = self._in_headers
        self._count_headers = was_in_headers or len(data) > HEADER_LIMIT
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            cycle = self._to_start
            if cycle is not None and not cycle.more_body:
                self.start_waiting()
            self._to_start = None
            is_method = isinstance(error, httptools.HttpParserInvalidMethodError)
            self.send_400_response(NO_METHOD if is_method else NOT_HTTP)
            return
        if self._to_start is not None and not self._is_queued:
            self._is_queued = True
            if not self.queue:
                self.loop.call_soon(_start_all, self.queue)
            self.queue.append(self)
        if self._in_headers and was_in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_LIMIT:
                self._too_large = True
                self.send_400_response(TOO_LARGE)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer what has come; the connection then closes, at once or after the last answer (True)."""
        if self._left is not None:
            self.transport.close()
            return None
        if self._to_start is not None and not self._to_start.more_body:
            self.start_waiting()
        if self._is_cut_short():
            self.send_400_response(CUT_SHORT)
            return None
        last = self.cycle
        self._is_last = last is not None and last is not self._running and not last.response_complete
        return self._is_last

    def _is_cut_short(self) -> bool:
        """Whether the request that the client is sending, and no other, waits for its rest."""
        cycle, running = self.cycle, self._running
        if running is not None and running is not cycle and not running.response_complete:
            return False
        return self._in_headers or (cycle is not None and cycle.more_body and not cycle.response_complete)

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade() + data[upgrade.args[0] :]
            else:
                return

    def _without_upgrade(self) -> bytes:
        """Return the head of the request as it would have been without asking for an upgrade."""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            kept = value
            if name == b"connection":
                tokens = (token.strip() for token in value.split(b","))
                kept = b", ".join(token for token in tokens if token.lower() not in UPGRADE)
            if name not in UPGRADE:
                lines.append(b"%b: %b\r\n" % (name, kept))
        self._is_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        return b"".join(lines) + b"\r\n"

    def send_400_response(self, msg: str) -> None:
        """Answer in the envelope what is no request, then let the client close."""
        self._notify_disconnect()
        refused = Refused(Reason.PROTOCOL_ERROR, TOO_LARGE if self._too_large else msg)
        self.transport.write(self._render(refused))
        self._left = LINGER_LIMIT
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(LINGER_S, self.transport.abort)

    def _notify_disconnect(self) -> None:
        """Tell the requests under way that nobody waits for them any more."""
        for cycle in {self._running, self.cycle}:
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.set()
        self.pipeline.clear()

    def fail(self) -> None:
        """Answer for an app that has failed to."""
        self.transport.write(self._render(Refused(Reason.INTERNAL_ERROR, FAILED)))
        self.transport.close()

    def _render(self, refused: Refused) -> bytes:
        reply = self.hooks.render_error(refused, None)
        body = reply.payload if isinstance(reply.payload, bytes) else orjson.dumps(reply.payload)
        head = b"content-type: application/json\r\ncontent-length: %d\r\nrequest-id: %b\r\n" % (
            len(body),
            self.hooks.new_request_id().encode(),
        )
        more = b"".join(b"%b: %b\r\n" % header for header in reply.headers)
        return b"%b%b%bconnection: close\r\n\r\n%b" % (STATUS_LINE[reply.status], head, more, body)

    def default_head(self) -> bytes:
        """Return the lines that uvicorn adds to every answer; it makes them anew each second."""
        headers = self.server_state.default_headers
        if headers is not self._default_headers:
            self._default_headers = headers
            self._default_head = b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._default_head

    # Events of the parser

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._in_headers = True

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((lower, value))

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._header_bytes = 0
        if self._count_headers:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > HEADER_LIMIT:
                self._too_large = True
                raise _Unparsable
        parser = self.parser
        method = parser.get_method()
        if parser.should_upgrade():
            if method == b"CONNECT":
                raise _Unparsable
            self._is_upgrade = True
            return
        url = self.url
        if url.startswith(b"/") and b"#" not in url:
            raw_path, _, query = url.partition(b"?")
        else:
            parsed = httptools.parse_url(url)
            raw_path, query = parsed.path or b"/", parsed.query or b""
        path = raw_path.decode("ascii")
        http_version = parser.get_http_version()
        self.scope = {
            "type": "http",
            "asgi": self._asgi,
            "http_version": http_version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "method": method.decode("ascii"),
            "root_path": self.root_path,
            "path": self.root_path + (unquote(path) if "%" in path else path),
            "raw_path": self.root_path.encode() + raw_path if self.root_path else raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
            "extensions": self._extensions,
        }
        before = self.cycle
        cycle = self.cycle = Cycle(
            self,
            self.scope,  # type: ignore[arg-type]
            keep_alive=http_version != "1.0" and parser.should_keep_alive(),
            waits_for_continue=self.expect_100_continue,
        )
        if before is None or before.response_complete:
            self._to_start = cycle
        else:  # sent before its predecessor was answered
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))  # type: ignore[arg-type]

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if self._is_upgrade or cycle.response_complete:
            return
        cycle.body = cycle.body + body if cycle.body else body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.set()

    def on_message_complete(self) -> None:
        if self._is_upgrade or self.cycle.response_complete:
            return
        self.cycle.more_body = False
        self.cycle.set()

    # Events of the cycle

    def start_waiting(self) -> None:
        """Start the request that waits for it, if one does."""
        cycle, self._to_start, self._is_queued = self._to_start, None, False
        if cycle is not None:
            self._start(cycle)

    def _start(self, cycle: Cycle) -> None:
        if self.transport.is_closing():
            return
        self._running = cycle
        coroutine = cycle.run(self.app)
        try:
            waits_for = coroutine.send(None)
        except StopIteration:
            return
        task = self.loop.create_task(_await(go_on(coroutine, waits_for)))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        """Begin with the next request that has come already, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle: Any = self.pipeline.pop()[0]
            self.loop.call_soon(self._start, cycle)  # not now: many in one packet would end in too deep a stack
        elif self._is_last:
            self.transport.close()
        elif self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        """End a connection on which nothing has come for the time of keep-alive; look again later where it has."""
        self.timeout_keep_alive_task = None
        if self.transport.is_closing():
            return
        rest = self._active_at + self.timeout_keep_alive - self.loop.time()
        if rest <= 0 and self.cycle.response_complete:
            self.transport.close()
        else:
            later = max(rest, self.timeout_keep_alive / 2)
            self.timeout_keep_alive_task = self.loop.call_later(later, self._close_if_idle)


def _start_all(queue: list[PipelineProtocol]) -> None:
    waiting = queue[:]
    queue.clear()
    for each in waiting:
        each.start_waiting()


async def _await(awaitable: Any) -> None:
    await awaitable


def make_protocol(hooks: Hooks) -> type[PipelineProtocol]:
    """Return the protocol class for `uvicorn.Config(http=…)`.

    Args:
        hooks: Where ids come from, and the error door.
    """
    return type("BoundProtocol", (PipelineProtocol,), {"hooks": hooks, "queue": []})
