"""HTTP/1.1 on the wire: uvicorn's protocol and request cycle on httptools, and what the contract needs besides.

- What is no valid HTTP request never becomes a call. It is refused in the one envelope, after the requests before it
  have been answered. The connection then lingers until the client has closed it, so that the client can read that.
- Whatever holds no byte of a body is bounded: request line, headers, trailers (which are dropped), chunk extensions.
- A client that keeps silent before its first request, or within one, is cut off; at once where connections run out.
- A client that stops sending still gets every answer that it asked for.
- An upgrade is declined as RFC 9110 wants: the request is served as if nobody had asked. (Java's own client asks.)

`GuardedProtocol` keeps to the events of asyncio and of httptools. `PipelineProtocol` reads and writes what uvicorn
keeps of a connection, by the names in `NEEDED`; where a version of uvicorn has other names, `make_protocol` falls back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from qashier_mock.pipeline.beginning import begin
from qashier_mock.pipeline.descriptors import Connections
from qashier_mock.pipeline.logs import logger
from qashier_mock.pipeline.refusal import Reason, Refused
from qashier_mock.pipeline.scope import ABORT, CLOSE, RESPOND
from qashier_mock.pipeline.sending import CONNECTION_CLOSE, encode, header_block

if TYPE_CHECKING:
    from qashier_mock.pipeline.exchange import Hooks

NEEDED: Final[Mapping[type[Any], Sequence[str]]] = {
    HttpToolsProtocol: (
        *("access_log", "access_logger", "app", "cycle", "expect_100_continue", "flow", "headers", "logger", "parser"),
        *("run_asgi", "scope", "server_state", "tasks", "timeout_keep_alive", "url"),
    ),
    RequestResponseCycle: (
        *("disconnected", "message_event", "more_body", "response_complete", "response_started"),
        (
            "scope transport flow logger access_logger access_log default_headers message_event "
            "expect_100_continue keep_alive on_response"
        ),
    ),
}
"""The attributes of uvicorn's own objects that `PipelineProtocol` uses, and what it makes a cycle of, in that order."""

HEADER_LIMIT: Final = 64 * 1024
"""Bytes of request line and headers, of trailers, and of whatever comes between two bytes of a body."""
SILENCE_S: Final = 10.0
"""Seconds that a client has for its first request line and headers, and between two pieces of a body."""
LINGER_S: Final = 2.0
"""Seconds that a refused client has to close the connection itself."""
LINGER_LIMIT: Final = 8 * 1024 * 1024
"""Bytes that a refused client may still send: closing before it stops would reset the connection under the answer."""

NOT_HTTP: Final = "This is not a valid HTTP/1.1 request; check the request line, the header lines and the length."
NO_METHOD: Final = "No method of HTTP begins the request line; write `GET /path HTTP/1.1`, the method in capitals."
TOO_LARGE: Final = f"The request line and the headers, or the trailers, exceed {HEADER_LIMIT} bytes; send less."
CUT_SHORT: Final = "The connection was closed before the request was complete; check Content-Length, or the last chunk."
TOO_SLOW: Final = "The rest of the request did not come in time; check Content-Length, or the last chunk."

FIRST, HEADERS, BODY, NOTHING = range(4)  # what the client is expected to send next


class _Trailers(list[tuple[bytes, bytes]]):
    """Where uvicorn puts the trailers of a request: counted and dropped, for they are no headers (RFC 9110, 6.5.1)."""

    size = 0

    def append(self, trailer: tuple[bytes, bytes]) -> None:
        self.size += len(trailer[0]) + len(trailer[1]) + 4
        if self.size > HEADER_LIMIT:
            raise httptools.HttpParserError


class GuardedProtocol(HttpToolsProtocol):
    """One connection on uvicorn's own cycle, bounded in time and size, with the one error door."""

    hooks: Hooks
    silence_s: float
    all_open: Connections  # the server's

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._loop = asyncio.get_running_loop()
        self._expected = FIRST
        self._trailers = _Trailers()
        self._overhead = 0  # bytes since the last one of a body or the end of the headers or of a request
        self._left: int | None = None  # bytes that a refused client may still send
        self._is_upgrade = False  # the request asks for another protocol, and will be parsed again as if it did not

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wire = transport
        self._extensions: dict[str, Any] = {ABORT: transport.abort, CLOSE: transport.close}
        self._begun_at = self._heard_at = self._loop.time()  # when the request began to come, and when anything came
        self.all_open.add(self, self._begun_at)
        self._silence_check = self._loop.call_later(self.silence_s, self._check_silence)

    def connection_lost(self, exc: Exception | None) -> None:
        self._silence_check.cancel()
        self.all_open.remove(self)
        super().connection_lost(exc)

    def is_silent(self) -> bool:
        return self._expected == FIRST

    def is_idle(self) -> bool:
        return False  # uvicorn's own cycle does not tell

    def leave(self) -> None:
        self._wire.abort()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self._wire.abort()
            return
        # A packet that is small and begins a request cannot hold too large a header: nothing is counted then.
        self._is_counted = self._expected == HEADERS or len(data) > HEADER_LIMIT
        self._has_progress = False
        self.parse(data)
        self._overhead = 0 if self._has_progress else self._overhead + len(data)
        if self._overhead > HEADER_LIMIT and self._left is None:
            self.refuse(TOO_LARGE)

    parse = HttpToolsProtocol.data_received
    begin_cycle = HttpToolsProtocol.on_headers_complete

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own text
        self.refuse(TOO_LARGE if self._trailers.size > HEADER_LIMIT else NOT_HTTP)

    def refuse(self, message: str) -> None:
        """Answer what is no request in the envelope, then let the client close."""
        reply = self.hooks.render_error(Refused(Reason.PROTOCOL_ERROR, message), None)
        body = encode(reply)
        head = header_block(reply, body, self.hooks.new_request_id(), [CONNECTION_CLOSE])
        self._wire.write(b"%b%b\r\n%b" % (STATUS_LINE[reply.status], head, body))
        self._left = LINGER_LIMIT
        if self._wire.can_write_eof():
            self._wire.write_eof()
        self._loop.call_later(LINGER_S, self._wire.abort)

    def _check_silence(self) -> None:
        now = self._loop.time()
        since = self._heard_at if self._expected == BODY else self._begun_at
        # A client cannot send while the app is behind with reading, and one that asks first may wait to be told.
        asks_first = self._expected == BODY and any(name == b"expect" for name, _ in self.scope["headers"])
        is_waited_for = self._expected != NOTHING and self._wire.is_reading() and not asks_first
        rest = since + self.silence_s - now if is_waited_for else self.silence_s
        if self._wire.is_closing():
            return
        if rest > 0 or self._left is not None:
            self._silence_check = self._loop.call_later(max(rest, self.silence_s / 100), self._check_silence)
            return
        self.all_open.warn(now, "closed a connection: no whole request came within %g s", self.silence_s)
        if self._expected == FIRST:
            self._wire.close()
        else:
            self.refuse(TOO_SLOW)

    def on_message_begin(self) -> None:
        HttpToolsProtocol.on_message_begin(self)
        self.scope["extensions"] = self._extensions
        self._expected = HEADERS
        self._begun_at = self._heard_at

    def on_headers_complete(self) -> None:
        self._expected = BODY
        self._has_progress = True
        if self._is_counted:
            self._trailers.size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if self._trailers.size > HEADER_LIMIT:
                raise httptools.HttpParserError
        self.begin_cycle()
        self.headers = self._trailers
        self._trailers.size = 0

    def on_body(self, body: bytes) -> None:
        self._has_progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_upgrade:
            self._has_progress = True
            self._expected = NOTHING
            HttpToolsProtocol.on_message_complete(self)


class PipelineProtocol(GuardedProtocol):
    """The same, with answers in order whatever comes after them, responses sent in one step, and no task for most."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._cycles: deque[RequestResponseCycle] = deque()  # what has no whole answer, in order; the first one runs
        self._to_begin: Coroutine[Any, Any, None] | None = None  # a request, once all bytes at hand are parsed
        self._is_last = False  # the client sends no further request
        self._refusal: str | None = None  # to be sent after the answers
        self._default_head: tuple[Any, bytes] = (None, b"")
        self._spare: asyncio.Event | None = None  # of a request that has been answered: making another takes its time

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions[RESPOND] = self._respond

    def connection_lost(self, exc: Exception | None) -> None:
        for cycle in self._cycles:
            _disconnect(cycle)
        super().connection_lost(exc)

    def parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.parse(self._without_upgrade() + data[upgrade.args[0] :])
        except httptools.HttpParserInvalidMethodError:
            self.refuse(NO_METHOD)
        except httptools.HttpParserError:
            self.send_400_response("")
        if self._to_begin is not None:
            request, self._to_begin = self._to_begin, None
            begin(request, self.tasks)

    def _without_upgrade(self) -> bytes:
        """Return the head of the request as it would have been without asking for an upgrade."""
        first = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = [b"%b: %b" % header for header in self.scope["headers"] if header[0] != b"upgrade"]
        self._is_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        return b"\r\n".join([first, *kept, b"", b""])

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer what has come; the connection then closes, at once or after the last answer (True)."""
        if self._left is None and self._expected in {HEADERS, BODY}:
            self.refuse(CUT_SHORT)
        elif self._left is not None and self._refusal is None:
            self._wire.close()
        self._is_last = True
        return bool(self._cycles)

    def refuse(self, message: str) -> None:
        """Refuse what is no request, once the requests before it have been answered."""
        cycles = self._cycles
        if self._expected == BODY and cycles and cycles[-1].more_body:
            _disconnect(cycle := cycles.pop())
            if cycle.response_started:
                self._wire.close()
                return
        self._refusal, self._left = (message, LINGER_LIMIT) if cycles else (None, None)
        if not cycles:
            super().refuse(message)

    def is_idle(self) -> bool:
        return not self._cycles and self._left is None

    def _check_silence(self) -> None:
        silent_for = self._loop.time() - self._heard_at
        if self._expected == NOTHING and self.is_idle() and silent_for >= self.timeout_keep_alive:
            self._wire.close()
        super()._check_silence()

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            GuardedProtocol.on_headers_complete(self)
        elif self.parser.get_method() == b"CONNECT":
            raise httptools.HttpParserError
        else:
            self._is_upgrade = True

    def begin_cycle(self) -> None:
        path, _, query = self.url.partition(b"?")
        if not path.startswith(b"/") or b"#" in self.url:
            path, query = (target := httptools.parse_url(self.url)).path, target.query or b""
        parser, scope, text = self.parser, self.scope, path.decode("ascii")
        scope["method"], scope["http_version"] = parser.get_method().decode("ascii"), parser.get_http_version()
        scope["path"], scope["raw_path"], scope["query_string"] = unquote(text) if "%" in text else text, path, query
        event, self._spare = self._spare or asyncio.Event(), None
        event.clear()
        cycle = self.cycle = RequestResponseCycle(
            *(scope, self._wire, self.flow, self.logger, self.access_logger, self.access_log),
            *(self.server_state.default_headers, event, self.expect_100_continue),
            *(scope["http_version"] != "1.0" and parser.should_keep_alive(), self.on_response_complete),
        )
        if self._cycles:
            self.flow.pause_reading()
        else:
            self._to_begin = cycle.run_asgi(self.app)
        self._cycles.append(cycle)

    def on_response_complete(self) -> None:
        # uvicorn's own method also starts a timer each time; here `_check_silence` closes what is idle.
        self._cycles.popleft()
        if self._wire.is_closing():
            return
        self.flow.resume_reading()
        if self._cycles:  # not now: the stack would get too deep
            self._loop.call_soon(begin, self._cycles[0].run_asgi(self.app), self.tasks)
        elif self._refusal is not None:
            self.refuse(self._refusal)
        if self._is_last and not self._cycles:
            self._wire.close()

    async def _respond(self, status: int, head: bytes, body: bytes) -> None:
        """Send a whole response; `RESPOND` says how it is called."""
        if self.flow.write_paused:
            await self.flow.drain()
        cycle = self._cycles[0] if self._cycles else None
        if cycle is None or cycle.disconnected:
            return
        if cycle.response_started:
            raise RuntimeError("the response has been started already")
        headers = self.server_state.default_headers  # made anew each second
        if headers is not self._default_head[0]:
            self._default_head = (headers, b"".join([b"%b: %b\r\n" % header for header in headers]))
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        self._wire.write(b"".join((STATUS_LINE[status], self._default_head[1], head, end, body)))
        cycle.response_started = cycle.response_complete = True
        self._spare = cycle.message_event
        if not cycle.keep_alive:
            self._wire.close()
        cycle.on_response()


def _disconnect(cycle: RequestResponseCycle) -> None:
    cycle.disconnected = True
    cycle.message_event.set()  # whoever reads the body learns of it


def make_protocol(hooks: Hooks, *, silence_s: float = SILENCE_S) -> type[GuardedProtocol]:
    """Return the protocol class for `uvicorn.Config(http=…)`; a client may keep silent for `silence_s` seconds."""
    missing = missing_from_uvicorn()
    if missing:
        logger.warning("this version of uvicorn keeps no %s; requests are served more slowly", ", ".join(missing))
    attributes = {"hooks": hooks, "silence_s": silence_s, "all_open": Connections()}
    return type("BoundProtocol", (GuardedProtocol if missing else PipelineProtocol,), attributes)


def missing_from_uvicorn() -> list[str]:
    """Return what `PipelineProtocol` uses and the installed version of uvicorn does not have."""
    missing = []
    for owner, names in NEEDED.items():
        codes = [each.__code__ for each in vars(owner).values() if hasattr(each, "__code__")]
        has = {name for code in codes for name in (*code.co_names, " ".join(code.co_varnames[1 : code.co_argcount]))}
        missing += [f"{owner.__name__}.{name}" for name in names if name not in has]
    return missing
