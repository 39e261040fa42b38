"""A webhook receiver: a small server in threads of its own, which answers as it is told and records every delivery.

h11 reads what comes, as RFC 9110 and RFC 9112 have it: chunked bodies, `Expect: 100-continue`, HTTP/1.0, several
requests on one connection. Whatever comes, a connection is bounded in time and in bytes.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final, Self

import h11

from qashier_contract.history import TOO_LATE, Delivery, Endpoint, Recorder
from qashier_contract.interrupts import OutOfTime
from qashier_contract.listening import Door, close, listen, url_of
from qashier_contract.pace import Pace

DROP: Final = 0
"""Stands for a connection that is closed without an answer."""
HOLD_S: Final = 11.5
"""How long an answer is held that comes too late: a 2xx, to who waits for it longer than he should."""
PATIENCE_S: Final = 10.0
"""How long is waited for a delivery that is sent at once, on a busy machine."""
_LITTLE_PATIENCE_S: Final = 1.0
"""How long, after one was waited for in vain."""
_SINK: Final = "/elsewhere"
"""Where its redirects lead: there everything is fine, but no delivery belongs there."""
_BODY_MOST: Final = 4 * 1024 * 1024
_SILENCE_S: Final = 30.0
"""How long a connection may say nothing."""
_CONNECTIONS_MOST: Final = 256
_LOOK_S: Final = 0.1
"""How often whoever waits for a delivery looks whether the run was stopped."""


@dataclass(slots=True)
class _Hook:
    endpoint: Endpoint
    answer: Callable[[int], int]
    """The status for the n-th request, from 0."""
    door: Door | None = None
    """Its own port, where it has one."""
    deliveries: list[Delivery] = field(default_factory=list)


class Receiver:
    """A webhook receiver. Each endpoint is a path of its own; one behind a door is on a port of its own, too.

    Args:
        recorder: Where the deliveries go.
        host: Where it listens.
        port: 0 picks a free one.
        public_url: How the target reaches it, if not at that address; `url` is how it does.
        pace: Until when may be waited, and what ends waiting early.
        hold_s: How long an answer is held that comes too late.
        patience_s: How long is waited for a delivery that is sent at once.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        public_url: str | None = None,
        pace: Pace | None = None,
        hold_s: float = HOLD_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.recorder = recorder
        self.clock: int | None = None
        """The time of the account `clock_of`, as the driver that moves it knows it."""
        self.clock_of = 0
        self.reached = 0
        self._hooks: dict[str, _Hook] = {}
        self._pace = pace or Pace()
        self._hold_s, self._patience_s = hold_s, patience_s
        self._news = threading.Condition()
        self._over = threading.Event()
        self._host, self._listeners = host, listen(host, port)
        self.url = (public_url or url_of(host, self._listeners[0].getsockname()[1])).rstrip("/")
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for listener in self._listeners:
            self._accept_at(listener)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.close()
        doors = [hook.door.listener for hook in self._hooks.values() if hook.door is not None]
        for listener in (*self._listeners, *doors):
            close(listener)
        with self._news:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(1)

    def close(self) -> None:
        """Note that nothing is waited for from now on, at the endpoints that are left: perhaps not for long enough."""
        with self._news:
            for hook in self._hooks.values():
                seen = hook.endpoint
                if seen in self.recorder.endpoints and seen.removed_ns is None and seen.closed_ns is None:
                    self._change(hook, replace(seen, closed_ns=time.monotonic_ns()))

    def add(
        self, name: str, account: int, secret: str | None, answer: Callable[[int], int], *, has_door: bool = False
    ) -> str:
        """A new path, and its URL. The name may have a query. What comes there is answered with `answer(n)`.

        Raises:
            OSError: There is no port for its door.
        """
        door = Door(self._host) if has_door else None
        url = f"{self.url if door is None else url_of(self._host, door.port)}/{name}"
        endpoint = Endpoint(url=url, account=account, registered_ns=time.monotonic_ns(), secret=secret)
        with self._news:
            self._hooks[name] = _Hook(endpoint, answer, door)
        if door is not None:
            self._accept_at(door.listener)
        return url

    def shut(self, name: str) -> bool:
        """Refuse every connection to an endpoint behind a door, and end those that are there; whether that can be."""
        hook = self._hooks[name]
        if hook.door is None:
            return False
        try:
            hook.door.shut()
        except OSError:
            return False
        with self._news:
            for connection in self._connections:
                with suppress(OSError):
                    if connection.getsockname()[1] == hook.door.port:
                        connection.shutdown(socket.SHUT_RDWR)
            self._change(hook, replace(hook.endpoint, refused_ns=(time.monotonic_ns(),)))
        return True

    def open(self, name: str) -> None:
        """Listen again at an endpoint behind a door, if it was shut."""
        hook = self._hooks[name]
        if hook.door is not None and len(hook.endpoint.refused_ns) == 1:
            with self._news:
                refused_ns = (*hook.endpoint.refused_ns, time.monotonic_ns())
                self._change(hook, replace(hook.endpoint, refused_ns=refused_ns))
            hook.door.open()
            self._accept_at(hook.door.listener)

    def registered(self, name: str, endpoint_id: str | None) -> None:
        """The target has the endpoint from now on."""
        with self._news:
            hook = self._hooks[name]
            hook.endpoint = replace(hook.endpoint, id=endpoint_id, registered_ns=time.monotonic_ns())
            self.recorder.endpoints.append(hook.endpoint)

    def removed(self, name: str) -> None:
        """The target has forgotten the endpoint by now."""
        with self._news:
            hook = self._hooks[name]
            self._change(hook, replace(hook.endpoint, removed_ns=time.monotonic_ns()))

    def _change(self, hook: _Hook, endpoint: Endpoint) -> None:
        self.recorder.endpoints[self.recorder.endpoints.index(hook.endpoint)] = endpoint
        hook.endpoint = endpoint

    def hold(self, seconds: float) -> None:
        """Wait, while who is kept waiting gives up.

        Raises:
            OutOfTime: The budget ends first.
            Interrupted: The stop came.
        """
        self._pace.sleep(max(0.0, seconds))

    def count(self, name: str) -> int:
        """How many deliveries an endpoint had so far."""
        with self._news:
            return len(self._hooks[name].deliveries)

    def wait(self, name: str, count: int, seconds: float | None = None, *, naming: str = "") -> bool:
        """Wait until an endpoint has so many deliveries, or so many that name something; whether it has.

        Who was waited for in vain once, is not given as long again.

        Raises:
            OutOfTime: The budget ended first.
            Interrupted: The stop came.
        """
        patience = self._patience_s if seconds is None else seconds
        end = time.monotonic() + patience
        with self._news:
            deliveries, named = self._hooks[name].deliveries, naming.encode()
            while sum(named in one.body for one in deliveries) < count and (left := end - time.monotonic()) > 0:
                self._pace.stop.check()
                if self._pace.remaining_s <= 0:
                    raise OutOfTime
                self._news.wait(min(_LOOK_S, left))
            came = sum(named in one.body for one in deliveries) >= count
        if seconds is None and not came:
            self._patience_s = min(self._patience_s, _LITTLE_PATIENCE_S)
        return came

    # ── what comes in ───────────────────────────────────────────────────────────────────────────────────────────────

    def _accept_at(self, listener: socket.socket) -> None:
        name = "qashier-contract-receiver"
        self._threads.append(threading.Thread(target=self._accept, args=(listener,), name=name, daemon=True))
        self._threads[-1].start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                if self._over.is_set() or listener.fileno() < 0:
                    return
                continue
            self.reached += 1
            with self._news:
                is_full = len(self._connections) >= _CONNECTIONS_MOST
                if not is_full:
                    self._connections.add(connection)
            if is_full:
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(_SILENCE_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            parser = h11.Connection(h11.SERVER)
            while self._answer_one(connection, parser):
                parser.start_next_cycle()
        except (OSError, h11.ProtocolError):
            pass  # who hangs up, or speaks no HTTP, gets no answer
        finally:
            with self._news:
                self._connections.discard(connection)
            connection.close()

    def _answer_one(self, connection: socket.socket, parser: h11.Connection) -> bool:
        """Answer the next request of a connection; whether another may follow."""
        came = self._read_request(connection, parser)
        if came is None:
            return False
        request, body = came
        headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw_items())
        status = self._receive(request.method.decode("ascii"), request.target.decode("ascii", "replace"), headers, body)
        if status == TOO_LATE and not self._over.wait(self._hold_s):
            status = 200
        if status in {DROP, TOO_LATE}:
            return False
        self._send(connection, parser, status)
        return parser.our_state is h11.DONE and parser.their_state is h11.DONE

    @staticmethod
    def _read_request(connection: socket.socket, parser: h11.Connection) -> tuple[h11.Request, bytes] | None:
        """The next request of a connection and its body; None if no whole one comes."""
        until = time.monotonic() + _SILENCE_S
        request, body = None, bytearray()
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                if parser.they_are_waiting_for_100_continue:
                    go_on = parser.send(h11.InformationalResponse(status_code=100, headers=[]))
                    connection.sendall(go_on or b"")
                if time.monotonic() > until:
                    return None
                parser.receive_data(connection.recv(65_536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > _BODY_MOST:
                    return None
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request, bytes(body)
            else:
                return None

    @staticmethod
    def _send(connection: socket.socket, parser: h11.Connection, status: int) -> None:
        headers = [("Content-Length", "0")] if status != HTTPStatus.NO_CONTENT else []
        if 300 <= status < 400:
            headers.append(("Location", _SINK))
        reason = HTTPStatus(status).phrase.encode()
        head = parser.send(h11.Response(status_code=status, headers=headers, reason=reason))
        connection.sendall((head or b"") + (parser.send(h11.EndOfMessage()) or b""))

    def _receive(self, method: str, path: str, headers: tuple[tuple[str, str], ...], body: bytes) -> int:
        received_ns = time.monotonic_ns()
        if path.lower().startswith("http://"):  # a whole URL, which every server has to take
            path = "/" + path.partition("//")[2].partition("/")[2]
        if path == _SINK or (method != "POST" and not body):  # a look whether anybody is there delivers nothing
            return 200
        with self._news:
            # A query of the endpoint has to come along; one that a target adds is left open.
            hook = self._hooks.get(path[1:]) or self._hooks.get(path[1:].partition("?")[0])
            if hook is None:
                return 404
            status = hook.answer(len(hook.deliveries))
            delivery = Delivery(
                number=self.recorder.next_number(),
                endpoint=hook.endpoint,
                method=method,
                headers=headers,
                body=body,
                received_ns=received_ns,
                answered=status,
                clock=self.clock if hook.endpoint.account == self.clock_of else None,
            )
            hook.deliveries.append(delivery)
            self.recorder.deliver(delivery)
            self._news.notify_all()
            return status
