"""HTTP/1.1 over a socket: one request out, one answer in. Never judges, and never raises for what a server answers.

h11 reads the answers, as RFC 9110 and RFC 9112 have them: chunked bodies, interim responses, HTTP/1.0, header lines
that occur twice. Requests are written here, because a checker sends what a polite client refuses to: odd paths, bytes
outside of ASCII in a header, the last byte later than the rest. An answer that comes before the whole request was
written is read.

Every exchange is bounded in time and in bytes, whatever the server does.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from importlib import metadata
from typing import Final, TypeAlias, TypeVar

import h11

from qashier_contract.addresses import Origin, origin_of
from qashier_contract.history import CLOSED_IDLE, TIMED_OUT, Reply
from qashier_contract.interrupts import Interrupted, Stop, remaining_s

BODY_MOST: Final = 4 * 1024 * 1024
"""The longest body that is read. The longest correct one, a session of 100 lines with all text escaped, has 1.2 MB."""
_READ_MOST: Final = 8 * 1024 * 1024
"""How many bytes one answer may take on the wire, chunk extensions and interim responses included."""
_HEAD_MOST: Final = 256 * 1024
_INTERIM_MOST: Final = 64
_PIECE: Final = 65_536
_CONNECT_S: Final = 10.0
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
_BETWEEN_CHUNKS_S: Final = 0.1
"""What takes the first chunk for the whole must not find the second one there."""
_CODINGS: Final = "gzip, deflate"
"""What is offered, and decoded."""
_KNOWN_CODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})
"""What versions of OpenSSL call an answer in plain HTTP."""
_TOO_LONG: Final = f"an answer of more than {BODY_MOST // 1024 // 1024} MiB"

_T = TypeVar("_T")
Outcome: TypeAlias = "tuple[Reply | None, str | None]"
"""The reply to a request, or why there is none."""


def path_of(url: str) -> str:
    """What follows the host of a URL, as it was given: `urlsplit` would drop an empty query, and more."""
    rest = url[url.index("//") + 2 :]
    start = min((place for mark in "/?#" if (place := rest.find(mark)) >= 0), default=len(rest))
    path = rest[start:].partition("#")[0]
    return path if path.startswith("/") else f"/{path}"


@cache
def user_agent() -> str:
    """How the checker names itself: firewalls refuse who says nothing."""
    try:
        return f"qashier-mock/{metadata.version('qashier-mock')}"
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return "qashier-mock"


class _Failed(Exception):
    """There is no whole answer; the message says why."""


class HttpTransport:
    """Carries requests over HTTP/1.1. Each thread has connections of its own, and keeps them open."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._local = threading.local()
        self._lock = threading.Lock()
        self._opened: list[_Connection] = []
        self._keeps_alive = True
        """Whether connections are used again: not once the server closed one without having said so."""

    def carry(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        *,
        deadline_ns: int,
        is_chunked: bool = False,
        gate: Callable[[], None] | None = None,
    ) -> Outcome:
        """Send one request, and read its answer.

        Args:
            method: The HTTP method.
            url: An absolute URL.
            headers: What to send beside `Host`, `User-Agent`, `Accept-Encoding` and what frames the body.
            body: The body, None for none.
            deadline_ns: When to give up, on the monotonic clock.
            is_chunked: Whether the body goes out in chunks, one some time after the other, instead of with its length.
            gate: Called before the last byte goes out.

        Raises:
            Interrupted: The stop came before the answer.
        """
        origin = origin_of(url)
        if origin is None:
            if gate is not None:
                gate()
            return None, "no address to send it to"
        try:
            connection = self._connection(origin, deadline_ns)
        except TimeoutError:
            return None, TIMED_OUT
        except OSError as error:
            return None, f"no connection: {_in_words(error)}"
        is_used = connection.is_used
        held = 1
        written = _framed(method, path_of(url), _host(url), headers, body, is_chunked=is_chunked)
        try:
            if is_chunked and gate is None:
                gate, held = partial(self._stop.sleep, _BETWEEN_CHUNKS_S), len(body or b"") // 2 + len(_LAST_CHUNK)
            return connection.exchange(method, written, deadline_ns=deadline_ns, gate=gate, held=held), None
        except _Failed as error:
            connection.close()
            if is_used and not connection.has_read and str(error).startswith("connection dropped"):
                self._keeps_alive = False
                return None, CLOSED_IDLE
            return None, str(error)
        except Interrupted:
            connection.close()
            raise

    def _connection(self, origin: Origin, deadline_ns: int) -> _Connection:
        held: dict[Origin, _Connection] = self._local.__dict__.setdefault("held", {})
        connection = held.get(origin)
        if connection is not None and connection.is_open:
            # Something to read, or the end: the server hung up while the connection was idle.
            if self._keeps_alive and not self._stop.wait_for(connection.socket, 0):
                return connection
            connection.close()
        connection = _Connection(origin, self._stop)
        held[origin] = connection
        connection.connect(deadline_ns)
        with self._lock:
            self._opened = [other for other in self._opened if other.is_open]
            self._opened.append(connection)
        return connection

    def close(self) -> None:
        """Close every connection."""
        for connection in self._opened:
            connection.close()


class _Connection:
    def __init__(self, origin: Origin, stop: Stop) -> None:
        self.origin = origin
        self.is_open = False
        self.is_used = False
        self.has_read = False
        """Whether anything came of the last answer."""
        self._stop = stop

    def connect(self, deadline_ns: int) -> None:
        """Connect, with the first address of the host that takes it.

        Raises:
            OSError: None does.
            Interrupted: The stop came first.
        """
        deadline_ns = min(deadline_ns, time.monotonic_ns() + int(_CONNECT_S * 1e9))
        failed: OSError | None = None
        addresses = self._addresses(deadline_ns)
        for tried, (family, kind, protocol, _, address) in enumerate(addresses):
            self.socket = socket.socket(family, kind, protocol)
            share_ns = (deadline_ns - time.monotonic_ns()) // (len(addresses) - tried)
            try:
                self._connect_to(address, time.monotonic_ns() + share_ns)
            except OSError as error:
                failed = error
            else:
                self.is_open = True
                return
            finally:
                if not self.is_open:
                    self.socket.close()
        raise failed or OSError("the host has no address")

    def _addresses(self, deadline_ns: int) -> Sequence[tuple[int, int, int, str, tuple[str, int]]]:
        found: list[object] = []

        def resolve() -> None:
            try:
                found.append(socket.getaddrinfo(self.origin.host, self.origin.port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:
                found.append(error)

        if re.fullmatch(r"[\d.]+|.*:.*|localhost", self.origin.host):
            resolve()
        else:
            # Looking up a name can neither be given a limit nor be interrupted.
            thread = threading.Thread(target=resolve, daemon=True)
            thread.start()
            while thread.is_alive() and remaining_s(deadline_ns) > 0:
                self._stop.check()
                thread.join(0.05)
        if not found:
            raise TimeoutError("looking up the name of the host took too long")
        if isinstance(found[0], Exception):
            raise OSError(str(found[0]))
        return found[0]  # type: ignore[return-value]  # what getaddrinfo gives

    def _connect_to(self, address: tuple[str, int], deadline_ns: int) -> None:
        self.socket.setblocking(False)
        # Latency is what a budget is spent on: the kernel must not hold back small writes.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BlockingIOError):
            self.socket.connect(address)
        if not self._stop.wait_for(self.socket, remaining_s(deadline_ns), read=False, write=True):
            raise TimeoutError(TIMED_OUT)
        code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        if self.origin.scheme == "https":
            self.socket = _tls().wrap_socket(
                self.socket, server_hostname=self.origin.host, do_handshake_on_connect=False
            )
            self._patiently(self.socket.do_handshake, deadline_ns)

    def _patiently(self, act: Callable[[], _T], deadline_ns: int) -> _T:
        """Do what may have to wait for the other side, as TLS does in both directions.

        Raises:
            TimeoutError: It took too long.
        """
        while remaining_s(deadline_ns) > 0:
            try:
                return act()
            except (BlockingIOError, ssl.SSLWantReadError):
                self._stop.wait_for(self.socket, remaining_s(deadline_ns))
            except ssl.SSLWantWriteError:
                self._stop.wait_for(self.socket, remaining_s(deadline_ns), read=False, write=True)
        raise TimeoutError(TIMED_OUT)

    def exchange(
        self, method: str, written: bytes, *, deadline_ns: int, gate: Callable[[], None] | None, held: int
    ) -> Reply:
        """Write a request and read the answer. The last bytes are `held` back until the gate is passed.

        Raises:
            _Failed: There is no whole answer.
            Interrupted: The stop came first.
        """
        self.is_used, self.has_read = True, False
        answer = _Answer(method)
        if gate is None:
            is_written = self._write(written, answer, deadline_ns)
        else:
            is_written = self._write(written[:-held], answer, deadline_ns)
            gate()
            is_written = is_written and self._write(written[-held:], answer, deadline_ns)
        self._acknowledge_at_once()
        while not answer.is_complete:
            self._read_into(answer, deadline_ns)
        if not is_written or not answer.keeps_alive:
            self.close()
        return answer.reply()

    def _write(self, content: bytes, answer: _Answer, deadline_ns: int) -> bool:
        """Write, and read what comes meanwhile; whether all was written: the server may have hung up, or answered."""
        left = memoryview(content)
        while left:
            try:
                left = left[self.socket.send(left) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                if not self._stop.wait_for(self.socket, remaining_s(deadline_ns), write=True):
                    raise _Failed(TIMED_OUT) from None
                try:
                    piece = self.socket.recv(_PIECE)
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    continue
                except OSError:
                    return False
                answer.take(piece)
                if answer.is_complete:
                    return False
            except OSError:
                return False
        return True

    def _read_into(self, answer: _Answer, deadline_ns: int) -> None:
        try:
            piece = self._patiently(partial(self.socket.recv, _PIECE), deadline_ns)
        except TimeoutError:
            raise _Failed(TIMED_OUT) from None
        except OSError as error:
            raise _Failed(f"connection dropped: {type(error).__name__}") from None
        self.has_read = self.has_read or bool(piece)
        answer.take(piece)

    def _acknowledge_at_once(self) -> None:
        """Do not let the kernel hold back the acknowledgement of an answer's head.

        A server that writes head and body one after the other, without TCP_NODELAY, would send the body up to 40 ms
        later. The kernel forgets the option, so that it is set for each answer.
        """
        if sys.platform == "linux":
            with suppress(OSError):  # whether there is still a connection is for reading to find out
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self.socket.close()


class _Answer:
    """An answer as it comes in."""

    def __init__(self, method: str) -> None:
        self.is_complete = False
        self.keeps_alive = False
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_MOST)
        # The parser has to know what was asked, as the answer to HEAD has no body. What goes out is written elsewhere.
        self._parser.send(
            h11.Request(method=method if method == "HEAD" else "GET", target="/", headers=[("Host", "-")])
        )
        self._parser.send(h11.EndOfMessage())
        self._head: h11.Response | None = None
        self._body = bytearray()
        self._read = 0
        self._interim = 0

    def take(self, piece: bytes) -> None:
        """Take what was read; nothing read is the end of the connection.

        Raises:
            _Failed: It is no HTTP, it ended too early, or there is too much of it.
        """
        self._read += len(piece)
        if self._read > _READ_MOST:
            raise _Failed(_TOO_LONG)
        try:
            self._parser.receive_data(piece)
            self._take_events()
        except h11.RemoteProtocolError as error:
            if not piece:
                raise _Failed("connection dropped: it ended before the answer did") from None
            raise _Failed(f"connection dropped: no valid HTTP ({error})") from None
        if not piece and not self.is_complete:
            raise _Failed("connection dropped: it ended before the answer did")

    def _take_events(self) -> None:
        while True:
            event = self._parser.next_event()
            if isinstance(event, h11.InformationalResponse):
                self._interim += 1
                if self._interim > _INTERIM_MOST:
                    raise _Failed(f"connection dropped: more than {_INTERIM_MOST} interim responses")
            elif isinstance(event, h11.Response):
                self._head = event
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > BODY_MOST:
                    raise _Failed(_TOO_LONG)
            elif isinstance(event, h11.EndOfMessage):
                self.is_complete = True
                self.keeps_alive = self._parser.their_state is h11.DONE and not self._parser.trailing_data[0]
                return
            else:  # more is needed, or the connection is closed
                return

    def reply(self) -> Reply:
        """The whole answer.

        Raises:
            _Failed: Its content coding is broken.
        """
        if self._head is None:
            raise _Failed("connection dropped: it ended before the answer did")
        return _decoded(self._head, bytes(self._body))


def decoded(head: h11.Response, body: bytes) -> Reply | None:
    """An answer without its content codings; None if it cannot be had: another coding, or a broken one."""
    try:
        return _decoded(head, body) if not set(_codings(head)) - _KNOWN_CODINGS else None
    except _Failed:
        return None


def _codings(head: h11.Response) -> list[str]:
    named = (value.decode("latin-1") for name, value in head.headers if name == b"content-encoding")
    return [coding.strip().lower() for value in named for coding in value.split(",")]


def _decoded(head: h11.Response, body: bytes) -> Reply:
    """An answer without its content codings. One that was not offered stays, and so does what came after it."""
    headers = tuple((name.decode("ascii").lower(), value.decode("latin-1")) for name, value in head.headers)
    for coding in reversed(_codings(head)):
        if not body or coding not in _KNOWN_CODINGS:
            break
        body = _inflated(body, 16 + zlib.MAX_WBITS if "gzip" in coding else zlib.MAX_WBITS)
    return Reply(status=head.status_code, headers=headers, body=body)


def _inflated(body: bytes, window: int) -> bytes:
    content = b""
    while body:  # gzip may have several members
        try:
            inflater = zlib.decompressobj(window)
            content += inflater.decompress(body, BODY_MOST + 1 - len(content))
        except zlib.error as error:
            if window != zlib.MAX_WBITS:
                raise _Failed(f"connection dropped: a broken content coding ({error})") from None
            return _inflated(body, -zlib.MAX_WBITS)  # "deflate" without the frame of zlib, as many servers send it
        if len(content) > BODY_MOST:
            raise _Failed(_TOO_LONG)
        if not inflater.eof:
            raise _Failed("connection dropped: the content coding ended too early")
        body = inflater.unused_data if window > zlib.MAX_WBITS else b""
    return content


def _framed(
    method: str,
    path: str,
    host: str,
    headers: Sequence[tuple[str, str]],
    body: bytes | None,
    *,
    is_chunked: bool,
) -> bytes:
    """A request as it goes over the wire."""
    given = {name.lower() for name, _ in headers}
    usual = (("Host", host), ("User-Agent", user_agent()), ("Accept-Encoding", _CODINGS))
    named = [(name, value) for name, value in usual if name.lower() not in given] + list(headers)
    content = body or b""
    if is_chunked:
        named.append(("Transfer-Encoding", "chunked"))
        size = max(1, len(content) // 2)
        pieces = [content[start : start + size] for start in range(0, len(content), size)]
        content = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    elif body is not None or method in {"POST", "PUT", "PATCH"}:
        named.append(("Content-Length", str(len(content))))
    if in_lower_case(headers):
        named = [(name.lower(), value) for name, value in named]
    lines = [f"{method} {_one_line(path)} HTTP/1.1", *(f"{name}: {_one_line(value)}" for name, value in named)]
    head = "".join(f"{line}\r\n" for line in lines)
    try:
        return head.encode("utf-8", "surrogateescape") + b"\r\n" + content
    except UnicodeEncodeError:  # half of a surrogate pair, which a target sent
        return head.encode("utf-8", "replace") + b"\r\n" + content


def in_lower_case(headers: Sequence[tuple[str, str]]) -> bool:
    """Whether there are headers, all with names in lower case: then what goes along is spelt so too."""
    return bool(headers) and all(name == name.lower() for name, _ in headers)


def _one_line(text: str) -> str:
    """A text that ends no line: what a target sent back must not become a second request."""
    return re.sub(r"[\r\n]", lambda found: f"%{ord(found[0]):02X}", text)


def _host(url: str) -> str:
    return re.split(r"[/?#]", url[url.index("//") + 2 :], maxsplit=1)[0].rpartition("@")[2]


def _in_words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
        return "it speaks no TLS: write http:// instead of https://"
    return str(error)


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
