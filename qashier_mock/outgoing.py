"""The one outgoing HTTP call: a POST whose answer's status is all that counts.

It speaks to the event loop directly. The mock often runs in a thread of a test process, and libraries such as respx,
pytest-httpx, vcrpy and responses replace the insides of HTTP clients there: a webhook that was sent with one of those
clients would be swallowed, or counted as the test's own request.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import certifi
from httptools import HttpParserError, HttpResponseParser

_HEAD_LIMIT: Final = 64 * 1024
"""Bytes of an answer that are read while its status is awaited, and as many of its body."""

_BODY_TIMEOUT: Final = 1.0
"""Seconds to wait for the rest of an answer once its status is known."""

_CLOSING_TIMEOUT: Final = 0.2
"""Seconds to wait for a receiver to take the rest of a request that it has answered already, or to say goodbye."""

_FINAL: Final = 200
"""Statuses below it are interim: another one follows."""


class NoAnswer(OSError):
    """What came back is no answer; the message says what did."""


class Outgoing:
    """Posts to receivers, a connection for each call."""

    def __init__(self, *, ca_file: Path | None = None) -> None:
        """Trust the authorities whose certificates (PEM) are in a file, too.

        Raises:
            OSError: It cannot be read.
            ssl.SSLError: It holds no certificate.
        """
        self._ca_file = ca_file
        # Made on first use where it can only succeed: it costs as much as ten deliveries.
        self._trust: ssl.SSLContext | None = None if ca_file is None else _trust(ca_file)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Post `body`; the status of the answer. No redirect is followed, and no proxy used.

        There is no limit of time here: whoever calls sets one.

        Raises:
            OSError: No connection, no trust in its certificate, or no answer (`NoAnswer`).
            ValueError: The URL names no place.
        """
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError(f"{url!r} names no host")
        is_tls = parts.scheme.lower() == "https"
        if is_tls and self._trust is None:
            self._trust = _trust(None)
        transport, answer = await asyncio.get_running_loop().create_connection(
            _Answer,
            parts.hostname,
            parts.port or (443 if is_tls else 80),
            ssl=self._trust if is_tls else None,
        )
        try:
            transport.write(_request(url, body, headers))
            status = await answer.status
            # A receiver that is cut off in the middle of its answer would complain to its owner.
            await asyncio.wait({answer.end}, timeout=_BODY_TIMEOUT)
            transport.close()
            await asyncio.wait({answer.lost}, timeout=_CLOSING_TIMEOUT)
        except BaseException:
            transport.abort()
            raise
        if not answer.lost.done():  # the event loop may end before the receiver reads on
            transport.abort()
            await answer.lost
        return status


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()  # the system's authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR
    if "SSL_CERT_FILE" not in os.environ and "SSL_CERT_DIR" not in os.environ:
        context.load_verify_locations(certifi.where())  # small containers have none of their own
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _request(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    parts = urlsplit(url)
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    host = parts.netloc.rpartition("@")[2]
    lines = [f"POST {target} HTTP/1.1", f"host: {host}", "accept: */*", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


class _Answer(asyncio.Protocol):
    """One answer as it comes in.

    Attributes:
        status: Its status, once its head has been read.
        end: Done when nothing more of it is to come, or wanted.
        lost: Done when the connection is closed.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.status: asyncio.Future[int] = loop.create_future()
        self.end: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._parser = HttpResponseParser(self)
        self._received = 0

    # of the connection

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        try:
            if not self.end.done():
                self._parser.feed_data(data)
        except HttpParserError as error:
            self._finish(NoAnswer(f"the answer is no HTTP: {error}"))
        if self._received > _HEAD_LIMIT:
            self._finish(NoAnswer(f"no status in the first {_HEAD_LIMIT // 1024} KiB of the answer"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc or NoAnswer("the connection was closed without an answer"))
        if not self.lost.done():  # it may have been cancelled
            self.lost.set_result(None)

    def _finish(self, failure: Exception) -> None:
        if not self.status.done():
            self.status.set_exception(failure)
        if not self.end.done():
            self.end.set_result(None)

    # of the parser

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= _FINAL and not self.status.done():
            self._received = 0
            self.status.set_result(status)

    def on_message_complete(self) -> None:
        if self.status.done() and not self.end.done():
            self.end.set_result(None)
