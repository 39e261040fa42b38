"""A proxy that passes HTTP on to one target unchanged, and tells what it saw.

h11 reads and writes both halves, as RFC 9110 and RFC 9112 have them: chunked bodies, interim responses, header lines
that occur twice, HTTP/1.0. Bodies are streamed as they come, whatever their content coding. Only what belongs to a
connection is set anew: the hop-by-hop headers and `Host`. No `Via` is added: the target is to see what it would see
without the proxy.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import h11

from qashier_contract.addresses import Origin, origin_of
from qashier_contract.drive.traffic.exchanges import Seen
from qashier_contract.history import NOT_RECORDED, Reply
from qashier_contract.listening import listen
from qashier_contract.transport import decoded, path_of

RECORDED_MOST: Final = 8 * 1024 * 1024
"""The longest body that is kept. A longer one is passed on all the same."""
_HEAD_MOST: Final = 256 * 1024
_PIECE: Final = 65_536
_LINGER_S: Final = 2.0
"""How long a client may go on with a request that was answered before it was read, so that it reads the answer."""
_CONNECT_S: Final = 10.0
_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
        b"host",
    }
)
"""Headers of a connection, not of a message. How a body is framed, h11 says anew."""
_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})

Headers: TypeAlias = "list[tuple[bytes, bytes]]"


class _TargetGone(Exception):
    """The target hung up, or answered what is no HTTP."""


@dataclass(slots=True)
class _Body:
    """What a body was, as far as it fits."""

    pieces: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size <= RECORDED_MOST:
            self.pieces.append(piece)

    @property
    def whole(self) -> bytes | None:
        return b"".join(self.pieces) if self.size <= RECORDED_MOST else None


class _Half:
    """One connection: h11's half of it, and the socket."""

    def __init__(
        self, role: type[h11.CLIENT | h11.SERVER], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=_HEAD_MOST)
        self.reader, self.writer = reader, writer

    async def next_event(self) -> h11.Event | type[h11.PAUSED]:
        """The next event of the peer; `ConnectionClosed` when it hangs up.

        Raises:
            RemoteProtocolError: What came is no HTTP, or was cut off.
            OSError: The connection was reset.
        """
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            self.http.receive_data(await self.reader.read(_PIECE))

    async def send(self, event: h11.Event) -> None:
        """Send an event to the peer.

        Raises:
            OSError: The connection was reset.
        """
        data = self.http.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()

    @property
    def is_done(self) -> bool:
        """Whether one request was answered, and the next one may come."""
        return self.http.our_state is h11.DONE and self.http.their_state is h11.DONE

    async def end(self) -> None:
        """Hang up once the peer has what was sent, or does not come to read it."""
        try:
            self.writer.close()
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(self.writer.wait_closed(), _LINGER_S)
        finally:
            self.abort()

    def abort(self) -> None:
        """Hang up, so that nobody takes for whole what is not."""
        self.writer.transport.abort()


_TURNS: Final = 5
"""Turns of the event loop in which a connection that was just accepted gets its reader, or an aborted one ends."""


class ForwardingProxy:
    """Passes requests on to a target, whose path comes before theirs.

    `seen` is told of each request when it is over, on the event loop.
    """

    def __init__(self, target_url: str, seen: Callable[[Seen], None]) -> None:
        origin = origin_of(target_url)
        if origin is None:
            raise ValueError(f"{target_url} is not an http(s) URL")
        self.origin: Origin = origin
        self.target_url = target_url.rstrip("/")
        self._prefix = path_of(self.target_url).rstrip("/").encode("ascii", "replace")
        self._netloc = urlsplit(target_url).netloc.encode("idna" if not target_url.isascii() else "ascii")
        self.seen, self.numbers = seen, count(1)
        self._servers: list[asyncio.Server] = []
        self._halves: set[_Half] = set()
        self._tls = ssl.create_default_context() if origin.scheme == "https" else None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port, a free one for 0.

        Raises:
            OSError: The address cannot be had.
        """
        for each in listen(host, port):
            self._servers.append(await asyncio.start_server(self._serve, sock=each))
        number: int = self._servers[0].sockets[0].getsockname()[1]
        return number

    async def stop(self) -> None:
        """Listen no more, and hang up."""
        for listener in [each for server in self._servers for each in server.sockets]:
            with suppress(NotImplementedError):  # Windows' event loop accepts in another way
                asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(_TURNS):  # a server that closes loses a connection that it has just accepted
            await asyncio.sleep(0)
        for server in self._servers:
            server.close()
        for half in tuple(self._halves):
            half.abort()
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    # One client.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Half(h11.SERVER, reader, writer)
        self._halves.add(client)
        passing = _Passing(self, client)
        try:
            while await passing.one():
                client.http.start_next_cycle()
        except (OSError, h11.ProtocolError, asyncio.CancelledError):
            client.abort()
        finally:
            passing.close()
            await client.end()
            self._halves.discard(client)

    async def connect(self) -> _Half:
        """A new connection to the target.

        Raises:
            OSError: There is none to be had.
        """
        opening = asyncio.open_connection(
            self.origin.host,
            self.origin.port,
            ssl=self._tls,
            server_hostname=self.origin.host if self._tls else None,
        )
        try:
            reader, writer = await asyncio.wait_for(opening, _CONNECT_S)
        except TimeoutError:
            raise OSError(f"no connection within {_CONNECT_S:.0f} s") from None
        half = _Half(h11.CLIENT, reader, writer)
        self._halves.add(half)
        return half

    def drop(self, half: _Half) -> None:
        """Hang up a connection to the target."""
        self._halves.discard(half)
        half.abort()

    def request_for_target(self, request: h11.Request) -> h11.Request:
        """A request as it goes on."""
        target = request.target
        if target.startswith((b"http://", b"https://")):
            target = path_of(target.decode("ascii", "replace")).encode("ascii", "replace")
        headers = [(b"Host", self._netloc), *_passed_on(request.headers.raw_items())]
        return h11.Request(method=request.method, target=self._prefix + target, headers=headers)

    def url_of(self, request: h11.Request) -> str:
        """The absolute URL of a request as it went on."""
        base = f"{self.origin.scheme}://{self._netloc.decode('ascii', 'replace')}"
        return base + request.target.decode("ascii", "replace")


class _Passing:
    """Passes the requests of one client on, one after another, over a connection of its own to the target."""

    def __init__(self, proxy: ForwardingProxy, client: _Half) -> None:
        self.proxy = proxy
        self.client = client
        self._target: _Half | None = None

    def close(self) -> None:
        if self._target is not None:
            self.proxy.drop(self._target)
            self._target = None

    async def one(self) -> bool:
        """Pass one request on, and its answer back; whether another one may follow.

        Raises:
            OSError: The client hung up.
            ProtocolError: The client sends what is no HTTP.
        """
        try:
            event = await self.client.next_event()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint, str(error))
            return False
        if not isinstance(event, h11.Request):
            return False
        if event.method == b"CONNECT":
            await self._refuse(501, "there is no CONNECT here")
            return False
        request = self.proxy.request_for_target(event)
        sent, exchange = _Body(), _Answer(number=next(self.proxy.numbers), sent_ns=time.monotonic_ns())
        try:
            await self._exchange(request, sent, exchange)
        except _TargetGone as gone:
            exchange.failure = f"connection dropped: {gone}"
            if exchange.head is None:
                await self._refuse(502, f"the target does not answer: {gone}")
            else:
                self.client.abort()
        finally:
            self.proxy.seen(_seen(self.proxy.url_of(request), event, sent, exchange))
        if self._target is not None:
            if self._target.is_done:
                self._target.http.start_next_cycle()
            else:
                self.close()
        return self.client.is_done

    async def _refuse(self, status: int, why: str) -> None:
        body = f'{{"error": {{"message": "qashier-mock watch: {why[:200]}"}}}}\n'.replace("\\", "/").encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        if self.client.http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self.client.send(h11.Response(status_code=status, headers=headers))
            await self.client.send(h11.Data(data=body))
            await self.client.send(h11.EndOfMessage())

    async def _exchange(self, request: h11.Request, sent: _Body, answer: _Answer) -> None:
        target, is_new = await self._connection()
        pump = asyncio.create_task(self._pump(target, request, sent))
        try:
            try:
                await self._answer(target, answer)
            except _TargetGone:
                # A connection may be closed while it is idle. What changes nothing is sent again on a new one.
                may_try_again = not is_new and answer.head is None and request.method in _SAFE and sent.size == 0
                if not may_try_again or not (pump.done() and pump.exception() is None):
                    raise
                self.close()
                target, _ = await self._connection()
                await self._write(target, [request, h11.EndOfMessage()])
                await self._answer(target, answer)
            with suppress(TimeoutError, OSError, h11.ProtocolError):
                await asyncio.wait_for(pump, _LINGER_S)
            if self.client.http.their_state is h11.SEND_BODY:
                with suppress(TimeoutError, OSError, h11.ProtocolError):
                    await asyncio.wait_for(self._discard(), _LINGER_S)
        finally:
            pump.cancel()
            with suppress(asyncio.CancelledError, OSError, h11.ProtocolError):
                await pump

    async def _connection(self) -> tuple[_Half, bool]:
        if self._target is not None and (self._target.reader.at_eof() or self._target.writer.is_closing()):
            self.close()
        if self._target is not None:
            return self._target, False
        try:
            self._target = await self.proxy.connect()
        except OSError as error:
            raise _TargetGone(f"no connection ({error.strerror or error})") from None
        return self._target, True

    async def _pump(self, target: _Half, request: h11.Request, sent: _Body) -> None:
        """Pass a request on to the target, as it comes."""
        is_heard = await self._write(target, [request])
        while True:
            event = await self.client.next_event()
            if isinstance(event, h11.Data):
                sent.add(bytes(event.data))
                is_heard = is_heard and await self._write(target, [h11.Data(data=event.data)])
            elif isinstance(event, h11.EndOfMessage):
                if is_heard:
                    await self._write(target, [h11.EndOfMessage(headers=event.headers.raw_items())])
                return
            else:
                raise OSError("the client hung up")

    async def _discard(self) -> None:
        """Read the rest of a request that nobody listens to, so that the client comes to read its answer."""
        while isinstance(await self.client.next_event(), h11.Data):
            pass

    @staticmethod
    async def _write(target: _Half, events: Iterable[h11.Event]) -> bool:
        """Send to the target; no if it listens no more: it may have answered before that."""
        try:
            for event in events:
                await target.send(event)
        except (OSError, h11.LocalProtocolError):
            return False
        return True

    async def _answer(self, target: _Half, answer: _Answer) -> None:
        """Pass the answer back to the client, as it comes.

        Raises:
            _TargetGone: It ended too early, or is no HTTP.
        """
        while True:
            try:
                event = await target.next_event()
            except h11.RemoteProtocolError as error:
                raise _TargetGone(str(error)) from None
            except OSError as error:
                raise _TargetGone(error.strerror or type(error).__name__) from None
            if isinstance(event, h11.InformationalResponse):
                if self.client.http.their_http_version != b"1.0" and event.status_code != 101:
                    await self.client.send(event)
            elif isinstance(event, h11.Response):
                answer.head = event
                headers = _passed_on(event.headers.raw_items())
                back = h11.Response(status_code=event.status_code, reason=event.reason, headers=headers)
                await self.client.send(back)
            elif isinstance(event, h11.Data):
                answer.body.add(bytes(event.data))
                await self.client.send(h11.Data(data=event.data))
            elif isinstance(event, h11.EndOfMessage):
                answer.received_ns = time.monotonic_ns()
                await self.client.send(h11.EndOfMessage(headers=event.headers.raw_items()))
                return
            else:
                raise _TargetGone("it hung up")


@dataclass(slots=True)
class _Answer:
    """What became of a request, which was the so many-th of all."""

    number: int
    sent_ns: int
    head: h11.Response | None = None
    body: _Body = field(default_factory=_Body)
    received_ns: int = 0
    failure: str | None = None

    @property
    def reply(self) -> Reply | None:
        """The answer as it is judged, without content coding; None if it was not whole, or too long to be kept."""
        whole = self.body.whole
        if self.head is None or not self.received_ns or whole is None:
            return None
        return decoded(self.head, whole)


def _seen(url: str, asked: h11.Request, sent: _Body, answer: _Answer) -> Seen:
    reply, body = answer.reply, sent.whole
    if body is None:  # too long to be kept: what it was answered tells nothing
        reply, body = None, b""
    framed = any(name in {b"content-length", b"transfer-encoding"} for name, _ in asked.headers)
    return Seen(
        method=asked.method.decode("ascii"),
        url=url,
        headers=[(n.decode("latin-1"), v.decode("latin-1")) for n, v in asked.headers.raw_items()],
        body=body if framed else None,
        reply=reply,
        failure=None if reply is not None else answer.failure or NOT_RECORDED,
        sent_ns=answer.sent_ns,
        received_ns=answer.received_ns or time.monotonic_ns(),
        number=answer.number,
    )


def _passed_on(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Headers without those of the connection, and those that `Connection` names."""
    named = {
        word.strip().lower() for name, value in headers if name.lower() == b"connection" for word in value.split(b",")
    }
    return [(name, value) for name, value in headers if name.lower() not in _HOP and name.lower() not in named]
