"""A web server that takes webhooks in: a thread that accepts, one for each connection, and a way to end them all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Lock, Thread
from typing import Any, Final, cast

from qashier_mock import answers
from qashier_mock.address import reachable
from qashier_mock.unpatched import socket

_LONGEST_CHUNK_LINE: Final = 1_024
_LARGEST_BODY: Final = 16 * 1024 * 1024
_SILENCE_S: Final = 5.0
"""Seconds of silence after which a sender's connection, which occupies a thread, is closed."""

_MOST_SILENT: Final = 64
"""Connections, each with its thread, that have sent no whole head yet; the oldest makes room for the next."""


@dataclass(frozen=True, slots=True)
class ReceivedWebhook:
    """One delivery, as it came.

    Attributes:
        event: The parsed body.
        body: The bytes that were signed.
        headers: Names in lower case.
        path: Where it was sent to.
    """

    event: answers.Event
    body: bytes
    headers: Mapping[str, str]
    path: str

    def is_signed_with(self, secret: str, *, header: str = "x-qashier-sign", encoding: str = "base64") -> bool:
        """Whether its signature, written in `base64` or `hex`, is the one that `secret` makes of its body (EVT-7)."""
        from hmac import compare_digest  # noqa: PLC0415 - few tests ask, and these two cost start-up time

        from qashier_mock.core.signing import sign  # noqa: PLC0415

        return compare_digest(
            sign(self.body, secret, encoding=encoding).encode(), self.headers.get(header, "").encode()
        )


class WebhookServer(ThreadingHTTPServer):
    """A thread that accepts, one per connection, and a way to end them all at once."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, bind: str, take_in: Callable[[ReceivedWebhook], int | None]) -> None:
        self.take_in = take_in
        self._connections: dict[socket.socket, Thread] = {}
        self._silent: dict[socket.socket, None] = {}  # those of them that have sent no whole head yet
        self._lock = Lock()
        self._is_stopping = False
        super().__init__((bind, 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.address_family, _, _, _, address = socket.getaddrinfo(bind, 0, type=self.socket_type)[0]
        self.server_address = cast("tuple[str, int]", address)
        self.socket = socket.socket(self.address_family, self.socket_type)
        self.server_bind()
        self.server_activate()

    def server_bind(self) -> None:
        # HTTPServer would ask the name service for its own name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def run(self) -> None:
        """Accept until stopped; unlike `serve_forever`, without looking up twice a second."""
        while not self._is_stopping:
            self.handle_request()

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="qashier-mock-receiver",
            daemon=True,
        )
        with self._lock:
            if len(self._silent) >= _MOST_SILENT:
                oldest = next(iter(self._silent))
                del self._silent[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
            self._connections[request] = thread
            self._silent[request] = None
            thread.start()

    def heard(self, request: Any) -> None:
        """A connection has sent a whole head."""
        with self._lock:
            self._silent.pop(request, None)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.pop(request, None)
            self._silent.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that break: tests break them on purpose."""

    def stop_accepting(self) -> None:
        """End `run` by connecting to it, since it waits for a connection."""
        self._is_stopping = True
        with socket.create_connection((reachable(self.server_name), self.server_port)):
            return

    def end_connections(self) -> None:
        """Break every connection, and wait for its thread."""
        with self._lock:
            connections = dict(self._connections)
        for connection, thread in connections.items():
            with suppress(OSError):  # it may have ended meanwhile
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebhookServer

    timeout = _SILENCE_S

    def do_POST(self) -> None:
        self.server.heard(self.connection)
        try:
            body = self._chunks() if "chunked" in self.headers.get("Transfer-Encoding", "").lower() else self._whole()
        except ValueError:  # where the body ends is not known, so nothing can follow it
            self.close_connection = True
            self._send(400)
            return
        try:
            event = json.loads(body)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            self._send(400)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.server.take_in(ReceivedWebhook(cast("answers.Event", event), body, headers, self.path))
        if status is None:
            self.close_connection = True
        else:
            self._send(status)

    def _whole(self) -> bytes:
        """Read a body of a length that was told; ValueError for a length that is none, or too large."""
        return self._read(self._size(self.headers.get("Content-Length", "0"), 10))

    def _chunks(self) -> bytes:
        content = bytearray()
        while size := self._size(self.rfile.readline(_LONGEST_CHUNK_LINE).partition(b";")[0].decode("latin-1"), 16):
            content += self._read(size, before=len(content))
            self.rfile.readline(_LONGEST_CHUNK_LINE)
        while self.rfile.readline(_LONGEST_CHUNK_LINE).strip():
            pass  # trailers
        return bytes(content)

    @staticmethod
    def _size(text: str, base: int) -> int:
        if not text.strip().isalnum():  # a sign, a blank or an underline would please `int`
            raise ValueError(f"{text!r} is not a length")
        return int(text, base)

    def _read(self, size: int, *, before: int = 0) -> bytes:
        if before + size > _LARGEST_BODY:
            raise ValueError(f"more than {_LARGEST_BODY} bytes")
        content = self.rfile.read(size)
        if len(content) < size:
            raise ValueError("the body ended early")
        return content

    def _send(self, status: int) -> None:
        self.send_response_only(status)
        if status != 204:  # noqa: PLR2004 - the status without a body has no length either
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""
