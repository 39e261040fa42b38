"""Thirty-five targets that are hostile or broken, each a few lines, and the exit codes that a check of them may have.

0: no clause failed in what could be seen. 1: a clause failed. 2: nothing could be tested.
"""

from __future__ import annotations

import copy
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from raw_server import raw_server, read_request

Serve = "Callable[[socket.socket, bytes], bool]"


@dataclass(frozen=True)
class Hostile:
    """A target: `answer` writes the answer to a request, and says whether the connection goes on."""

    answer: Callable[[socket.socket, bytes], bool]
    codes: frozenset[int]

    @contextmanager
    def serving(self) -> Iterator[str]:
        answer = copy.copy(self.answer)  # some of them count

        def serve(connection: socket.socket) -> None:
            while request := read_request(connection):
                if not answer(connection, request):
                    return

        with raw_server(serve) as url:
            yield url


def whole(body: bytes, status: str = "200 OK", *headers: str, kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def says(answer: bytes) -> Callable[[socket.socket, bytes], bool]:
    def send(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(answer)
        return True

    return send


def repeats(start: bytes, piece: bytes, pause_s: float = 0.0) -> Callable[[socket.socket, bytes], bool]:
    def send(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(start)
        waiting = threading.Event()
        while True:
            connection.sendall(piece)
            waiting.wait(pause_s)

    return send


def hangs(connection: socket.socket, _: bytes) -> bool:
    connection.recv(1)
    return False


def hangs_up(*_: object) -> bool:
    return False


def session(number: int, **more: Any) -> dict[str, Any]:
    now = int(time.time())  # noqa: TID251 - a server of its own
    return {
        "id": f"cs_{number}",
        "object": "checkout.session",
        "mode": "payment",
        "status": "open",
        "payment_status": "unpaid",
        "url": f"http://127.0.0.1:9/pay/cs_{number}",
        "created": now,
        "expires_at": now + 86_400,
        **more,
    }


class Sketch:
    """About the API: creates and lists sessions, and spoils what comes after some requests."""

    def __init__(
        self,
        spoil: Callable[[socket.socket, bytes], bool] | None = None,
        after: int = 0,
        change: Callable[[Any], Any] = lambda value: value,
        headers: tuple[str, ...] = (),
    ) -> None:
        self.spoil, self.after, self.change, self.headers = spoil, after, change, headers
        self.count = 0

    def __call__(self, connection: socket.socket, request: bytes) -> bool:
        self.count += 1
        if self.spoil is not None and self.count > self.after:
            return self.spoil(connection, request)
        line = request.split(b"\r\n", 1)[0]
        value: Any = session(self.count)
        if line.startswith((b"GET /checkout/sessions?", b"GET /checkout/sessions ")):
            value = {"object": "list", "url": "/checkout/sessions", "has_more": False, "data": []}
        number = f"Request-Id: req_{self.count}"
        connection.sendall(whole(json.dumps(self.change(value)).encode(), "200 OK", number, *self.headers))
        return True


CHUNKED: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BOMB: Final = whole(gzip.compress(b" " * 50_000_000), "200 OK", "Content-Encoding: gzip")
WIDE: Final = b"[" + b"{}," * 300_000 + b"{}]"
DEEP: Final = b"[" * 100_000 + b"]" * 100_000
LONG: Final = 4 * 1024 * 1024 - 50_000
COMMANDS: Final = b'{"error": "\\n::stop-commands::x"}'
PAGE: Final = b"<b>" * 20_000 + b"</i>" * 20_000
ANY: Final = frozenset({0, 1, 2})
SOME: Final = frozenset({0, 1})
FAILS: Final = frozenset({1})
NOTHING: Final = frozenset({2})


def trickles(connection: socket.socket, request: bytes) -> bool:
    return repeats(HEAD + b"Content-Length: 99999\r\n\r\n", b" ", 1.0)(connection, request)


def slow(connection: socket.socket, request: bytes) -> bool:
    threading.Event().wait(3)
    return Sketch()(connection, request)


TARGETS: Final[dict[str, Hostile]] = {
    "a byte a second": Hostile(trickles, NOTHING),
    "a byte a second, later": Hostile(Sketch(trickles, 30), SOME),
    "endless interim responses": Hostile(repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), NOTHING),
    "endless interim responses, later": Hostile(Sketch(repeats(b"", b"HTTP/1.1 100 Go\r\n\r\n"), 20), FAILS),
    "an endless chunk extension": Hostile(repeats(CHUNKED + b"1;", b"x" * 999), NOTHING),
    "endless chunk extensions, later": Hostile(
        Sketch(repeats(CHUNKED, b"1;" + b"x" * 9_999 + b"\r\na\r\n"), 20), FAILS
    ),
    "an endless body": Hostile(repeats(HEAD + b"\r\n", b" " * 65_536), NOTHING),
    "an endless body, later": Hostile(Sketch(repeats(HEAD + b"\r\n", b" " * 65_536), 20), FAILS),
    "endless headers": Hostile(repeats(HEAD, b"X: y\r\n"), NOTHING),
    "a compressed bomb": Hostile(Sketch(says(BOMB), 20), FAILS),
    "silent": Hostile(hangs, NOTHING),
    "silent after forty requests": Hostile(Sketch(hangs, 40), SOME),
    "hangs up": Hostile(hangs_up, NOTHING),
    "hangs up after forty requests": Hostile(Sketch(hangs_up, 40), FAILS),
    "answers of three seconds": Hostile(slow, SOME),
    "wide JSON": Hostile(Sketch(says(whole(WIDE)), 20), FAILS),
    "wide JSON in objects": Hostile(Sketch(change=lambda value: {**value, "more": [{}] * 100_000}), SOME),
    "4 MiB of no JSON": Hostile(Sketch(says(whole(b"x" * LONG)), 20), FAILS),
    "4 MiB of one text": Hostile(Sketch(change=lambda value: {**value, "more": "x" * LONG}), SOME),
    "4 MiB of one wide text": Hostile(Sketch(change=lambda value: {**value, "more": "\U0001f600" + "x" * LONG}), SOME),
    "nested too deeply": Hostile(Sketch(says(whole(DEEP)), 20), FAILS),
    "a page that is hard to parse": Hostile(Sketch(says(whole(PAGE, kind="text/html")), 20), FAILS),
    "NULs": Hostile(Sketch(says(whole(b"\x00" * 1_000)), 20), FAILS),
    "commands for a runner": Hostile(Sketch(says(whole(b'{"error": "\\n::stop-commands::x"}', "500 No")), 20), FAILS),
    "addresses that are none": Hostile(Sketch(change=lambda value: {**value, "url": "http://[::1"}), FAILS),
    "half characters": Hostile(Sketch(change=lambda value: {**value, "id": "\ud800"}), FAILS),
    "huge numbers": Hostile(Sketch(change=lambda value: {**value, "created": 10**400}), FAILS),
    "ids of other types": Hostile(Sketch(change=lambda value: {**value, "id": [1], "status": {}}), FAILS),
    "a redirect": Hostile(says(whole(b"", "302 Found", "Location: http://127.0.0.1:9/")), NOTHING),
    "redirects, later": Hostile(Sketch(says(whole(b"", "302 Found", "Location: http://[")), 20), FAILS),
    "too many requests": Hostile(says(whole(b"", "429 Slow", "Retry-After: 0")), NOTHING),
    "too many requests for an hour": Hostile(says(whole(b"", "429 Slow", "Retry-After: 3600")), NOTHING),
    "unavailable": Hostile(says(whole(b"", "503 No", "Retry-After: 1")), NOTHING),
    "no HTTP": Hostile(says(b"SSH-2.0-OpenSSH_9.6\r\n"), NOTHING),
    "lists that go on for ever": Hostile(
        Sketch(change=lambda value: {**value, "has_more": True, "data": [session(1), session(2)]}), FAILS
    ),
}
