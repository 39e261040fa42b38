"""How replies are sent: encoded, before the body of the request has been read, or cut short by a fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from qashier_mock.pipeline.reply import Reply, Transmit
from qashier_mock.pipeline.scope import ABORT, CLOSE

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

CONTENT_TYPE: Final = (b"content-type", b"application/json")
HEADER_LINES: Final = b"content-type: application/json\r\ncontent-length: %d\r\nrequest-id: %b\r\n"
NO_CONTENT: Final = 204
CONNECTION_CLOSE: Final = (b"connection", b"close")
PIECE: Final = 1024 * 1024
"""Bytes of a body that are handed to the server at once: it copies what the client does not take at once."""
DRAIN_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of an unwanted body that are read and discarded. Some clients send all before they read."""


class Headers:
    """The headers of a request. Looking one up is one step, unless a header was sent twice."""

    __slots__ = ("_raw", "one")

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        self.one = dict(raw)

    def all(self, name: bytes) -> Sequence[bytes]:
        """Return every value of a header, in order."""
        if len(self.one) == len(self._raw):
            value = self.one.get(name)
            return () if value is None else (value,)
        return [value for other, value in self._raw if other == name]

    def announce_body(self) -> bool:
        """Whether the request may have a body."""
        return b"content-length" in self.one or b"transfer-encoding" in self.one


class Answer(NamedTuple):
    """A reply, encoded."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def encode(reply: Reply) -> bytes:
    """Return the body of a reply.

    Raises:
        RuntimeError: One of its headers holds a line break: whoever wrote it would write headers.
    """
    if reply.headers and any(b"\n" in value or b"\r" in value for _, value in reply.headers):
        raise RuntimeError("a header of the reply holds a line break")
    payload = reply.payload
    if payload is None:
        return b""
    return payload if type(payload) is bytes else orjson.dumps(payload)


def answer_of(reply: Reply, body: bytes, request_id: str, extra: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """Return a reply with all its headers, Content-Length and Request-Id among them."""
    headers = [(b"request-id", request_id.encode()), *reply.headers, *extra]
    if body or reply.status != NO_CONTENT:
        headers = [CONTENT_TYPE, (b"content-length", b"%d" % len(body)), *headers]
    return Answer(reply.status, headers, body)


def header_block(reply: Reply, body: bytes, request_id: str, extra: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the headers of a reply as lines of HTTP."""
    stamp = request_id.encode()
    if not body and reply.status == NO_CONTENT:
        block = b"request-id: %b\r\n" % stamp
    else:
        block = HEADER_LINES % (len(body), stamp)
    if not reply.headers and not extra:
        return block
    return block + b"".join([b"%b: %b\r\n" % header for header in (*reply.headers, *extra)])


async def send_in_pieces(answer: Answer, send: Send) -> None:
    """Send an answer, the body in pieces, each once the client has taken those before."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    body = answer.body
    last = max(len(body) - 1, 0) // PIECE * PIECE
    for begin in range(0, last, PIECE):
        await send({"type": "http.response.body", "body": body[begin : begin + PIECE], "more_body": True})
    await send({"type": "http.response.body", "body": body[last:]})


async def send_beside_body(answer: Answer, headers: Headers, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request whose body has not been read.

    On a connection that stays open the server reads and discards the body. Where it is about to close, closing with
    bytes unread resets the connection, and the client may lose the answer: then the body is read to its end first.
    A client that waits for `100 Continue` is told to close, because it may never send the body.
    """
    out, body = answer.headers, answer.body
    waits = b"expect" in headers.one and headers.announce_body()
    if waits:
        out = [*out, CONNECTION_CLOSE]
    await send({"type": "http.response.start", "status": answer.status, "headers": out})
    if closes_on_a_body(headers, scope):
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await drain(receive)
        body = b""
    await send({"type": "http.response.body", "body": body})


def closes_on_a_body(headers: Headers, scope: Scope) -> bool:
    """Whether the server closes after the answer while the client may still be sending a body."""
    closes = scope.get("http_version") == "1.0" or b"close" in headers.one.get(b"connection", b"").lower()
    return closes and headers.announce_body() and b"expect" not in headers.one


async def drain(receive: Receive) -> None:
    """Read a body to its end, within a bound."""
    left = DRAIN_LIMIT
    while left > 0:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
        left -= len(message.get("body", b""))


async def cut_short(transmit: Transmit, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    """Close the connection without an answer, or in the middle of it.

    Raises:
        ConnectionError: The server cannot hang up on purpose.
    """
    if transmit is Transmit.TRUNCATED and CLOSE in (scope.get("extensions") or {}):
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        half = answer.body[: len(answer.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
    await hang_up(scope, receive, CLOSE if transmit is Transmit.TRUNCATED else ABORT)


async def hang_up(scope: Scope, receive: Receive, how: str = ABORT) -> None:
    """Close the connection, at once or after what has been written (`CLOSE`)."""
    extensions = scope.get("extensions") or {}
    if how not in extensions:
        raise ConnectionError("the server cannot close a connection on purpose")
    extensions[how]()
    while (await receive())["type"] != "http.disconnect":
        pass
