"""A mock behind a real socket: the server itself, and one in a thread of its own for tests.

`MockServer` is a context manager. Talking to it goes over HTTP alone (`client.py`), so that works alike on a mock in a
thread, in a container and on another machine.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from socket import socket
from typing import Final, Self

import uvicorn

from qashier_mock.address import BACKLOG, Listener, bind, url_of
from qashier_mock.app import MockApp, Settings
from qashier_mock.machine import steady
from qashier_mock.pipeline.protocol import make_protocol
from qashier_mock.stores.base import Store
from qashier_mock.unpatched import refuse_green_threads

_GRACE: Final = 3
"""Seconds that requests under way have to end when the server stops."""

_TICK_S: Final = 1.0
_DATE_TICK: Final = 0
"""The Date header is made anew in each tick; to uvicorn, those whose number 10 divides do so."""

POLL_INTERVAL_S: Final = 0.002
"""Seconds between two checks whether a stopping server is done."""

_START_LIMIT: Final = 60
"""Seconds to wait for a server in a thread to get ready, or to end."""


_log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Uvicorn, which leaves signals to whoever runs it, says when it can answer, and stops as soon as it is told.

    Uvicorn itself looks ten times a second whether it is to stop, and sleeps as long again before it has.
    """

    def __init__(self, app: MockApp) -> None:
        """Prepare to serve `app`; to be made where the event loop runs that it is to `begin` in."""
        tls = app.settings.tls
        config = uvicorn.Config(
            app.asgi,
            http=make_protocol(app.hooks),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=_GRACE,
            ssl_certfile=None if tls is None else tls[0],
            ssl_keyfile=None if tls is None else tls[1],
        )
        super().__init__(config)
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        self._app = app
        self._is_ready = asyncio.Event()
        self._stop_requested = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._is_ready.set()

    async def begin(self, listener: Listener) -> asyncio.Task[None]:
        """Serve in a task, which is returned once this can answer (`started`) or has ended."""
        serving = asyncio.create_task(self.serve(sockets=list(listener.sockets)))
        waiting = asyncio.create_task(self._is_ready.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return serving

    def stop(self, *, force: bool = False) -> None:
        """Take no connection any more, and end when those under way have got their answers, or at once with `force`.

        To be called in the thread of the event loop.
        """
        self._app.is_closing = True
        self.should_exit = True
        self.force_exit = self.force_exit or force
        self._stop_requested.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(_DATE_TICK):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop_requested.wait(), _TICK_S)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.config.timeout_graceful_shutdown or 0)
        connections = self.server_state.connections
        while connections and not self.force_exit and loop.time() < deadline:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(POLL_INTERVAL_S)
        if connections:
            _log.error("the server stops; requests without an answer: %d", len(connections))
        for task in self.server_state.tasks:
            task.cancel("the server stops")  # a request without a connection has nobody who waits for its answer
        if not self.force_exit:
            await self.lifespan.shutdown()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether uvicorn logs what we have not: it shows the traceback of each request that we cut short as we stop."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


def new_event_loop(store: Store | None = None) -> asyncio.AbstractEventLoop:
    """The fastest event loop there is here that a store works on."""
    try:
        import uvloop  # noqa: PLC0415 - there is none on Windows
    except ImportError:
        # The driver of a shared store needs a loop that watches sockets, unlike Windows' usual one.
        selects = store is not None and store.is_shared
        loop = asyncio.SelectorEventLoop() if selects else asyncio.new_event_loop()
        loop.time = steady  # type: ignore[method-assign]  # its own is `time.monotonic`, which a test may have stopped
        return loop
    return uvloop.new_event_loop()


def on_stop_signals(stop: Callable[[], None]) -> None:
    """Call `stop` in the running event loop, in the main thread, for SIGINT and for SIGTERM."""
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(each, stop)
        except NotImplementedError:  # the event loops of Windows have none
            signal.signal(each, lambda *_: loop.call_soon_threadsafe(stop))


class MockServer:
    """A mock in a thread of its own, on a free port of 127.0.0.1.

    Use it as a context manager, or call `start()` and `stop()`. Every key that begins with `sk_test_` is an account of
    its own, so one server serves any number of tests at a time.

    Attributes:
        url: Where it listens, without a trailing slash.
    """

    def __init__(
        self, settings: Settings | None = None, *, host: str = "127.0.0.1", port: int = 0, store: Store | None = None
    ) -> None:
        """Prepare a server; nothing is bound yet. Port 0 picks a free one; without a `store`, state is in memory."""
        self._settings = settings or Settings()
        self._store = store
        self._host, self._port = host, port
        self._server: Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self.url = ""

    def start(self) -> Self:
        """Listen, and return once the server can answer.

        Raises:
            AddressUnavailable: The address cannot be bound.
            RuntimeError: The server could not start, its cause is chained; it runs already; or gevent or
                eventlet has patched threading.
        """
        if self._thread is not None:
            raise RuntimeError("the mock server runs already")
        refuse_green_threads("a mock server")
        self._server, self._failure = None, None
        self._ready.clear()
        listener = bind(self._host, self._port)
        self.url = url_of(listener, scheme="http" if self._settings.tls is None else "https")
        self._thread = threading.Thread(target=self._run, args=(listener,), name="qashier-mock", daemon=True)
        self._thread.start()
        self._ready.wait(_START_LIMIT)
        if self._server is None or not self._server.started:
            self.stop()
            raise RuntimeError("the mock server could not start") from self._failure
        return self

    def stop(self) -> None:
        """End the server and its thread, and free the port; harmless when it has ended already."""
        if self._server is not None and self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._server.stop)
        if self._thread is not None:
            self._thread.join(_START_LIMIT)
            self._thread = None

    def _run(self, listener: Listener) -> None:
        try:
            app = MockApp(self._settings, store=self._store)
            app.listen_on(self.url, host=self._host)
            with asyncio.Runner(loop_factory=partial(new_event_loop, app.store)) as runner:
                self._loop = runner.get_loop()
                runner.run(self._serve(app, listener))
        except BaseException as error:  # noqa: BLE001 - told to whoever started the thread
            self._failure = error
        finally:
            listener.close()
            self._ready.set()

    async def _serve(self, app: MockApp, listener: Listener) -> None:
        self._server = Server(app)  # before a store that may take its time, so that it can be stopped meanwhile
        await app.open()
        serving = await self._server.begin(listener)
        self._ready.set()
        await serving

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
