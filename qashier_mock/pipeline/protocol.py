"""HTTP/1.1 on the wire: uvicorn's own protocol, but for what it refuses, how much header it takes, and how to hang up.

What is no valid HTTP request never becomes a call; it leaves through the same error door all the same, so that a client
always reads the one envelope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from qashier_mock.pipeline.exchange import Reason, Refused

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
TOO_LARGE: Final = f"The request line and the headers are larger than {HEADER_LIMIT} bytes; send less."


class HeadersTooLarge(Exception):
    """Raised out of the parser."""


class PipelineProtocol(HttpToolsProtocol):
    """One connection. Subclasses are made by `make_protocol`."""

    hooks: Hooks

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._extensions: dict[str, Any] = {}
        self._in_headers = False
        self._pending = 0  # bytes of chunks that hold nothing but headers so far
        self._count_headers = False
        self._too_large = False
        self._left: int | None = None  # bytes that a refused client may still send

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions = {"qashier_mock.abort": transport.abort, "qashier_mock.close": transport.close}

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = self._extensions
        self._in_headers = True

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._pending = 0
        if self._count_headers:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > HEADER_LIMIT:
                self._too_large = True
                raise HeadersTooLarge
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self.transport.abort()
            return
        # A chunk that is small and begins a request cannot hold too large a header: nothing is counted then.
        was_in_headers = self._in_headers
        self._count_headers = was_in_headers or len(data) > HEADER_LIMIT
        super().data_received(data)
        if self._in_headers and was_in_headers and self._left is None:
            self._pending += len(data)
            if self._pending > HEADER_LIMIT:
                self._too_large = True
                self.send_400_response(NOT_HTTP)

    def eof_received(self) -> None:
        if self._left is not None:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own words are not the envelope's
        """Answer in the envelope, then let the client close."""
        text = TOO_LARGE if self._too_large else NOT_HTTP
        reply = self.hooks.render_error(Refused(Reason.PROTOCOL_ERROR, text), None)
        body = reply.payload if isinstance(reply.payload, bytes) else orjson.dumps(reply.payload)
        lines = [
            STATUS_LINE[reply.status],
            b"content-type: application/json\r\n",
            b"content-length: %d\r\n" % len(body),
            b"request-id: %s\r\n" % self.hooks.new_request_id().encode(),
            *(b"%s: %s\r\n" % header for header in reply.headers),
            b"connection: close\r\n\r\n",
            body,
        ]
        self.transport.write(b"".join(lines))
        self._left = LINGER_LIMIT
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.abort)


def make_protocol(hooks: Hooks) -> type[PipelineProtocol]:
    """Return the protocol class for `uvicorn.Config(http=…)`.

    Args:
        hooks: Where ids come from, and the error door.
    """
    return type("BoundProtocol", (PipelineProtocol,), {"hooks": hooks})
