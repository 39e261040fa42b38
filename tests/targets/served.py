"""The reference server with some quirks, with a socket and without one."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from qashier_contract.history import Reply
from qashier_contract.target import Transport

from tests.targets import defects, variants
from tests.targets.reference import Reference
from tests.targets.values import HangUp, Request


def tampered(*quirks: str) -> Reference:
    """The server with some defects and variants, which are tampered with in this order."""
    reference = Reference()
    for quirk in quirks:
        (defects.TAMPERINGS | variants.TAMPERINGS)[quirk](reference)
    return reference


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    reference: Reference

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().setup()

    def _body(self) -> bytes:
        if (self.headers.get("Transfer-Encoding") or "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def _serve(self) -> None:
        body = self._body()
        try:
            answer = self.reference.answer(Request(self.command, self.path, self.headers, body))
        except HangUp:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.status != 204 and self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def within(*quirks: str) -> Transport:
    """The server with some quirks, without a socket: what carries requests to it."""
    reference = tampered(*quirks)

    def carry(
        method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes | None
    ) -> tuple[Reply | None, str | None]:
        message = http.client.HTTPMessage()
        for name, value in headers:
            message[name] = value
        target = url.removeprefix(reference.base) or "/"
        if not target.startswith(("/", "?")):
            return None, "no connection: nobody listens there"
        try:
            answer = reference.answer(Request(method, target, message, body or b""))
        except HangUp:
            return None, "connection dropped"
        pairs = tuple((name.lower(), value) for name, value in answer.headers.items())
        return Reply(status=answer.status, headers=pairs, body=answer.body), None

    return carry


@contextmanager
def serving(*quirks: str) -> Iterator[str]:
    """The server with some quirks, on loopback; its URL."""
    reference = tampered(*quirks)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"reference": reference}))
    reference.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield reference.base
    finally:
        server.shutdown()
        server.server_close()
