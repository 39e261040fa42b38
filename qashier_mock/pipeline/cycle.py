"""One request and its response on the wire: what an app receives, and what becomes of what it sends.

It does what uvicorn's own cycle does, with less work per request: the head is written together with the body, header
values are checked all at once, and nothing is allocated for a client that never waits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from qashier_mock.pipeline.logs import log_unexpected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from starlette.types import ASGIApp, Message, Scope
    from uvicorn.protocols.http.flow_control import FlowControl

NO_BODY: Final = frozenset({204, 304})
FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"connection"})


class Owner(Protocol):
    """The connection, as far as a cycle needs it."""

    transport: asyncio.Transport
    flow: FlowControl

    def on_response_complete(self) -> None: ...
    def default_head(self) -> bytes: ...
    def fail(self) -> None: ...


class _Done:
    """What `send` returns: awaited, it is done already."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return iter(())  # type: ignore[return-value]  # an iterator is all that await needs


DONE: Final = _Done()


class Cycle:
    """One request and its response."""

    __slots__ = (
        "_chunked", "_event", "_fresh", "_head", "_is_head", "_left", "_owner", "body", "disconnected", "keep_alive",
        "more_body", "response_complete", "response_started", "scope", "waits_for_continue",
    )  # fmt: skip

    def __init__(self, owner: Owner, scope: Scope, *, keep_alive: bool, waits_for_continue: bool) -> None:
        self._owner = owner
        self.scope = scope
        self.keep_alive = keep_alive
        self.waits_for_continue = waits_for_continue
        self.body = b""
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self._is_head = scope["method"] == "HEAD"
        self._head: Message | None = None
        self._chunked = False
        self._left = 0  # bytes that Content-Length still promises
        self._fresh = False  # something has come that `receive` has not told yet
        self._event: asyncio.Event | None = None

    @property
    def message_event(self) -> Cycle:
        """Itself: uvicorn wakes a reader by `message_event.set()`."""
        return self

    def set(self) -> None:
        """Wake whoever waits in `receive`."""
        self._fresh = True
        if self._event is not None:
            self._event.set()

    async def run(self, app: ASGIApp) -> None:
        """Call the app, and see that the client gets an answer or a closed connection."""
        try:
            await app(self.scope, self.receive, self)
        except Exception as error:  # noqa: BLE001 - the last one who can
            log_unexpected(error, "the app", "-")
        except BaseException:
            self._owner.transport.close()
            raise
        if self.response_complete or self.disconnected:
            return
        if self.response_started:
            self._owner.transport.close()
        else:
            self.response_started = self.response_complete = True
            self._owner.fail()

    async def receive(self) -> Message:
        """Return the next event of the request (ASGI)."""
        transport = self._owner.transport
        if self.waits_for_continue and not transport.is_closing():
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waits_for_continue = False
        if not self.disconnected and not self.response_complete:
            self._owner.flow.resume_reading()
            if not self._fresh:
                self._event = self._event or asyncio.Event()
                await self._event.wait()
                self._event.clear()
            self._fresh = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = self.body, b""
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def __call__(self, message: Message) -> Awaitable[None]:
        """Take an event of the response (ASGI): a cycle is what the app is given as `send`."""
        if self._owner.flow.write_paused and not self.disconnected:
            return self._send_later(message)
        self._send(message)
        return DONE

    def respond(self, status: int, head: bytes, body: bytes) -> Awaitable[None]:
        """Take a whole response at once, for an app that knows it all.

        Args:
            status: Of the response.
            head: Its header lines, Content-Length among them; no Connection and no Transfer-Encoding.
            body: As long as Content-Length says; left out for HEAD.
        """
        if self._owner.flow.write_paused and not self.disconnected:
            return self._respond_later(status, head, body)
        self._respond(status, head, body)
        return DONE

    async def _respond_later(self, status: int, head: bytes, body: bytes) -> None:
        await self._owner.flow.drain()
        self._respond(status, head, body)

    def _respond(self, status: int, head: bytes, body: bytes) -> None:
        if self.disconnected:
            return
        if self.response_started:
            raise RuntimeError("the response has been started already")
        self.response_started = self.response_complete = True
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        parts = (STATUS_LINE[status], self._owner.default_head(), head, end, b"" if self._is_head else body)
        self._owner.transport.write(b"".join(parts))
        self._finish()

    async def _send_later(self, message: Message) -> None:
        await self._owner.flow.drain()
        self._send(message)

    def _send(self, message: Message) -> None:
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            self.response_started = True
            self.waits_for_continue = False
            self._head = message
            return
        if kind != "http.response.body" or not self.response_started or self.response_complete:
            raise RuntimeError(f"{kind} is not what comes now")
        more = message.get("more_body", False)
        head, self._head = self._head, None
        data = b"" if head is None else self._encode(head)
        self._owner.transport.write(data + self._frame(message.get("body", b""), more=more))
        if not more:
            self.response_complete = True
            self._finish()

    def _finish(self) -> None:
        if self._event is not None:
            self.set()
        if not self.keep_alive:
            self._owner.transport.close()
        self._owner.on_response_complete()

    def _frame(self, body: bytes, *, more: bool) -> bytes:
        if self._is_head:
            return b""
        if self._chunked:
            return (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        self._left -= len(body)
        if self._left < 0 or (self._left and not more):
            raise RuntimeError("the body is not as long as Content-Length says")
        return body

    def _encode(self, message: Message) -> bytes:
        """Return the head of the response, and learn how its body is framed."""
        status: int = message["status"]
        headers: list[tuple[bytes, bytes]] = message.get("headers", [])
        lines = []
        framed = self._is_head or status in NO_BODY
        for raw_name, value in headers:
            name = raw_name.lower()
            if name in FRAMING:
                if name == b"content-length":
                    self._left = 0 if framed and not self._is_head else int(value)
                    framed = True
                elif name == b"transfer-encoding":
                    framed = self._chunked = True
                elif b"close" in value.lower():
                    self.keep_alive = False
                    continue
            lines.append(b"%b: %b\r\n" % (name, value))
        block = b"".join(lines)
        if block.count(b"\n") != len(lines) or block.count(b"\r") != len(lines) or b"\x00" in block:
            raise RuntimeError("a header of the response holds a line break")
        if not framed:
            self._chunked = True
            block += b"transfer-encoding: chunked\r\n"
        if not self.keep_alive:
            block += b"connection: close\r\n"
        return b"%b%b%b\r\n" % (STATUS_LINE[status], self._owner.default_head(), block)
