"""A webhook receiver: a small server in a thread, which answers as it is told and records every delivery."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final, Self

from qashier_contract.history import TOO_LATE, Delivery, Endpoint, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DROP: Final = 0
"""Stands for a connection that is closed without an answer."""
HOLD_S: Final = 11.5
"""How long an answer is held that comes too late: a 2xx, to who waits for it longer than he should."""
_SINK: Final = "/elsewhere"
"""Where its redirects lead: there everything is fine, but no delivery belongs there."""
_PATIENCE_S: Final = 10.0
"""How long is waited for a delivery that is sent at once, on a busy machine."""
_LITTLE_PATIENCE_S: Final = 1.0
"""How long, after one was waited for in vain."""


@dataclass(slots=True)
class _Hook:
    endpoint: Endpoint
    answer: Callable[[int], int]
    """The status for the n-th request, from 0."""
    deliveries: list[Delivery] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """Many deliveries come at once; by default the sixth connection has to be tried again, a second later or never."""

    def handle_error(self, *_: object) -> None:
        """Quiet: who hangs up before he is answered is expected to."""


class Receiver:
    """A webhook receiver on the standard library. Each endpoint is a path of its own.

    Args:
        recorder: Where the deliveries go.
        host: Where it listens.
        port: 0 picks a free one.
        public_url: How the target reaches it, if not at that address.
    """

    def __init__(
        self, recorder: Recorder, *, host: str = "127.0.0.1", port: int = 0, public_url: str | None = None
    ) -> None:
        self.recorder = recorder
        self.clock: int | None = None
        """The time of the account `clock_of`, as the driver that moves it knows it."""
        self.clock_of = 0
        self._hooks: dict[str, _Hook] = {}
        self._patience_s = _PATIENCE_S
        self._news = threading.Condition()
        self._over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status = receiver._receive(self.command, self.path, tuple(self.headers.items()), body)
                if status == TOO_LATE and not receiver._over.wait(HOLD_S):
                    status = 200
                if status in {DROP, TOO_LATE}:
                    self.close_connection = True
                    return
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", _SINK)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT = do_GET = do_PATCH = _take  # noqa: N815 - the base class's names

            def log_message(self, *_: object) -> None:
                """Quiet: the recorder is the log."""

        self._server = _Server((host, port), Handler)
        self.url = (public_url or f"http://{host}:{self._server.server_address[1]}").rstrip("/")
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, account: int, secret: str | None, answer: Callable[[int], int]) -> str:
        """A new path, and its URL. What comes there is answered with `answer(n)`."""
        url = f"{self.url}/{name}"
        endpoint = Endpoint(url=url, account=account, registered_ns=time.monotonic_ns(), secret=secret)
        with self._news:
            self._hooks[f"/{name}"] = _Hook(endpoint, answer)
        return url

    def registered(self, name: str, endpoint_id: str | None) -> None:
        """The target has the endpoint from now on."""
        with self._news:
            hook = self._hooks[f"/{name}"]
            hook.endpoint = replace(hook.endpoint, id=endpoint_id, registered_ns=time.monotonic_ns())
            self.recorder.endpoints.append(hook.endpoint)

    def removed(self, name: str) -> None:
        """The target has forgotten the endpoint by now."""
        with self._news:
            hook = self._hooks[f"/{name}"]
            gone = replace(hook.endpoint, removed_ns=time.monotonic_ns())
            self.recorder.endpoints[self.recorder.endpoints.index(hook.endpoint)] = gone
            hook.endpoint = gone

    def _receive(self, method: str, path: str, headers: tuple[tuple[str, str], ...], body: bytes) -> int:
        received_ns = time.monotonic_ns()
        if path == _SINK:
            return 200
        with self._news:
            hook = self._hooks.get(path.partition("?")[0])
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

    def hold(self, seconds: float) -> None:
        """Wait, while who is kept waiting gives up."""
        self._over.wait(max(0.0, seconds))

    def count(self, name: str) -> int:
        """How many deliveries an endpoint had so far."""
        with self._news:
            return len(self._hooks[f"/{name}"].deliveries)

    def wait(self, name: str, count: int, seconds: float | None = None) -> bool:
        """Wait until an endpoint has so many deliveries; whether it has.

        Who was waited for in vain once, is not given as long again.
        """
        with self._news:
            patience = self._patience_s if seconds is None else seconds
            came = self._news.wait_for(lambda: len(self._hooks[f"/{name}"].deliveries) >= count, patience)
            if seconds is None and not came:
                self._patience_s = _LITTLE_PATIENCE_S
            return came

    def wait_for_each(self, names: Iterable[str], count: int) -> None:
        """Wait until each of some endpoints has so many deliveries."""
        for name in names:
            self.wait(name, count)
