"""A receiver of webhooks for tests: a small web server in threads of its own, on the standard library.

    with WebhookReceiver() as webhooks:
        account.deliver_webhooks_to(webhooks.url, secret=webhooks.secret)
        account.pay(session["id"])
        event = webhooks.wait_for("checkout.session.completed")

It answers 200 to everything, unless told to fail, to hang or to hang up. A waiting caller is woken by what arrives;
nothing here sleeps or polls.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Condition, Lock, Thread
from types import TracebackType
from typing import Any, Final, Self, cast, get_args

from qashier_mock import answers
from qashier_mock.address import bracketed, reachable
from qashier_mock.unpatched import refuse_gevent, socket

# pytest shows the line of a test that a wait of ours failed in, not our own frames; --full-trace shows them all.
__tracebackhide__: Final = True

_LONGEST_CHUNK_LINE: Final = 1_024
_LARGEST_BODY: Final = 16 * 1024 * 1024
_SILENCE_S: Final = 5.0
"""Seconds of silence after which a sender's connection, which occupies a thread, is closed."""


class WebhookTimeout(TimeoutError):
    """The expected webhook did not arrive; the message lists what did."""


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

        from qashier_mock.webhooks import sign  # noqa: PLC0415

        return compare_digest(
            sign(self.body, secret, encoding=encoding).encode(), self.headers.get(header, "").encode()
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    """How to answer a delivery: with a status, or by closing the connection (None), at once or after a release."""

    status: int | None = 200
    hangs: bool = False


@dataclass(slots=True)
class _Scripted:
    answer: _Answer
    left: int


@dataclass(eq=False, slots=True)
class _Wait:
    """One waiting caller: for which type and session, and whether it has given up."""

    event_type: str | None
    session_id: str | None
    is_given_up: bool = False

    def __str__(self) -> str:
        what = self.event_type or "webhook"
        return what if self.session_id is None else f"{what} of {self.session_id}"


@dataclass(eq=False, slots=True)
class _Arrival:
    event: answers.Event
    webhook: ReceivedWebhook | None
    is_claimed: bool = field(default=False)


class WebhookReceiver:
    """Receives webhooks on a free port, until it is closed.

    Attributes:
        url: Where it receives.
        secret: What to have its webhooks signed with; it takes others and unsigned ones too.
    """

    def __init__(
        self,
        *,
        bind: str = "127.0.0.1",
        host: str | None = None,
        secret: str = "whsec_receiver",  # noqa: S107 - it protects nothing
        answer_with: Callable[[ReceivedWebhook], int] | None = None,
    ) -> None:
        """Prepare a receiver; nothing is bound yet.

        Args:
            bind: The address of this machine to listen on.
            host: What the mock calls this machine, where that differs, as for a mock in a container.
            secret: What its webhooks are to be signed with.
            answer_with: Gives the status to answer a webhook with, in the thread of its connection; None: what
                `answer`, `hang_up` and `hang` say.
        """
        self._answer_with = answer_with
        self.secret = secret
        self.url = ""
        self._bind, self._host = bind, host or reachable(bind)
        self._arrivals: list[_Arrival] = []
        self._changed = Condition()
        self._script: deque[_Scripted] = deque()
        self._usual = _Answer()
        self._releases = 0
        self._is_closed = False
        self._server: _Server | None = None
        self._thread: Thread | None = None

    def start(self) -> Self:
        """Listen, and receive from now on.

        Raises:
            RuntimeError: gevent has patched threading.
        """
        refuse_gevent("a receiver of webhooks")
        self._server = _Server(self._bind, self._take_in)
        self.url = f"http://{bracketed(self._host)}:{self._server.server_port}/webhooks"
        self._thread = Thread(target=self._server.run, name="qashier-mock-receiver", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Free the port, and end all that waits or hangs. What was received stays readable."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._server is not None and self._thread is not None:
            self._server.stop_accepting()
            self._thread.join()
            self._server.end_connections()
            self._server.server_close()
            self._server = self._thread = None

    # what came

    @property
    def received(self) -> list[answers.Event]:
        """Every event as delivered, in order of arrival. An event that came twice is in it twice."""
        with self._changed:
            return [arrival.event for arrival in self._arrivals]

    @property
    def deliveries(self) -> list[ReceivedWebhook]:
        """Every request with its body and headers, in order of arrival."""
        with self._changed:
            return [arrival.webhook for arrival in self._arrivals if arrival.webhook is not None]

    def wait_for(
        self, event_type: answers.EventType | None = None, *, session: str | None = None, timeout: float = 5.0
    ) -> answers.Event:
        """Wait for a webhook, which may have come already. Each is returned once: asking again waits for the next.

        Args:
            event_type: Which type; None: any.
            session: The id of the session that it must be about; None: any.
            timeout: Real seconds to wait at most.

        Raises:
            WebhookTimeout: It did not arrive in time.
            ValueError: There is no such type.
        """
        return self._wait(_wait(event_type, session), timeout)

    async def await_for(
        self,
        event_type: answers.EventType | None = None,
        *,
        session: str | None = None,
        timeout: float = 5.0,  # noqa: ASYNC109 - as in wait_for
    ) -> answers.Event:
        """`wait_for` for a test whose event loop has to go on meanwhile, under asyncio and Trio alike."""
        from anyio.to_thread import run_sync  # noqa: PLC0415 - whoever awaits has an event loop already

        wait = _wait(event_type, session)
        try:
            return await run_sync(self._wait, wait, timeout, abandon_on_cancel=True)
        finally:
            with self._changed:
                wait.is_given_up = True
                self._changed.notify_all()

    def include(self, events: Sequence[answers.Event]) -> None:
        """Put the events that arose before the receiver was registered in front of all others."""
        with self._changed:
            self._arrivals[:0] = [_Arrival(event, None) for event in events]
            self._changed.notify_all()

    # how it answers

    def answer(self, status: int = 200, *, times: int | None = None) -> None:
        """Answer with a status from now on, or just so many times.

        Args:
            status: 200 to 599; anything but 2xx makes the mock try again.
            times: How often, before it answers as before; None: for good, in the place of everything that was scripted.
        """
        if not 200 <= status <= 599:  # noqa: PLR2004 - those that end an exchange
            raise ValueError(f"a webhook is answered with a status from 200 to 599, not with {status}")
        self._answer_so(_Answer(status), times)

    def hang_up(self, *, times: int | None = None) -> None:
        """Close the connection without an answer, from now on or just so many times."""
        self._answer_so(_Answer(None), times)

    def hang(self, *, times: int | None = None) -> None:
        """Give no answer before `release()`, from now on or just so many times; the mock waits for 10 real seconds."""
        self._answer_so(_Answer(hangs=True), times)

    def release(self) -> None:
        """Answer what hangs with 200, and stop hanging."""
        with self._changed:
            self._releases += 1
            self._script = deque(each for each in self._script if not each.answer.hangs)
            if self._usual.hangs:
                self._usual = _Answer()
            self._changed.notify_all()

    def _answer_so(self, answer: _Answer, times: int | None) -> None:
        with self._changed:
            if times is None:
                self._script.clear()
                self._usual = answer
            elif times > 0:
                self._script.append(_Scripted(answer, times))

    # internals

    def _take_in(self, webhook: ReceivedWebhook) -> int | None:
        """Note a delivery, wake whoever waits for it, and return the status to answer with."""
        if self._answer_with is not None:
            status = self._answer_with(webhook)
            with self._changed:
                self._arrivals.append(_Arrival(webhook.event, webhook))
                self._changed.notify_all()
            return status
        with self._changed:
            answer = self._next_answer()
            self._arrivals.append(_Arrival(webhook.event, webhook))
            self._changed.notify_all()
            if answer.hangs:
                releases = self._releases
                self._changed.wait_for(lambda: self._is_closed or self._releases > releases)
            return answer.status

    def _next_answer(self) -> _Answer:
        if not self._script:
            return self._usual
        scripted = self._script[0]
        scripted.left -= 1
        if scripted.left == 0:
            self._script.popleft()
        return scripted.answer

    def _wait(self, wait: _Wait, timeout: float) -> answers.Event:
        with self._changed:
            found = self._changed.wait_for(
                lambda: self._claim(wait) or (_NOBODY if self._is_closed or wait.is_given_up else None), timeout
            )
            if found is None or found is _NOBODY:
                raise WebhookTimeout(self._disappointment(wait, timeout))
            return found.event

    def _claim(self, wait: _Wait) -> _Arrival | None:
        if wait.is_given_up:
            return None
        for arrival in self._arrivals:
            if not arrival.is_claimed and _is_meant(arrival.event, wait):
                arrival.is_claimed = True
                return arrival
        return None

    def _disappointment(self, wait: _Wait, timeout: float) -> str:
        came = [f"{each.event['type']} of {_session_of(each.event)}" for each in self._arrivals]
        claimed = sum(each.is_claimed for each in self._arrivals)
        told = f"{len(came)} came: {', '.join(came)}; {claimed} of them had been waited for" if came else "none came"
        until = "before the receiver was closed" if self._is_closed else f"within {timeout:g} s"
        return f"no {wait} came {until} ({told})"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.url or 'no address'}, {len(self._arrivals)} received>"


_NOBODY: Final = _Arrival(cast("answers.Event", {}), None)


def _wait(event_type: str | None, session_id: str | None) -> _Wait:
    types = get_args(answers.EventType)
    if event_type is not None and event_type not in types:
        near = get_close_matches(event_type, types, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the types are {' and '.join(types)}"
        raise ValueError(f"no webhook has the type {event_type!r}; {hint}")
    return _Wait(event_type, session_id)


def _is_meant(event: answers.Event, wait: _Wait) -> bool:
    return wait.event_type in {None, event.get("type")} and wait.session_id in {None, _session_of(event)}


def _session_of(event: Mapping[str, Any]) -> str | None:
    """The session's id; a test may well send what is no event."""
    data = event.get("data")
    session = data.get("object") if isinstance(data, dict) else None
    return session.get("id") if isinstance(session, dict) else None


class _Server(ThreadingHTTPServer):
    """A thread that accepts, one per connection, and a way to end them all at once."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, bind: str, take_in: Callable[[ReceivedWebhook], int | None]) -> None:
        self.take_in = take_in
        self._connections: dict[socket.socket, Thread] = {}
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
            self._connections[request] = thread
            thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.pop(request, None)
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
    server: _Server

    timeout = _SILENCE_S

    def do_POST(self) -> None:
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
            raise ValueError(f"{text!r} is no length")
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
