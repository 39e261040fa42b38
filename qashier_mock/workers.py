"""Several processes behind one listening socket, over a store that they share.

The parent binds the socket, forks, and then only watches: it takes no connection itself. All workers accept from the
same socket, so a connection that waits there waits for whoever is free, and none is lost when a worker dies. (With
`SO_REUSEPORT` each would have a queue of its own, which dies with it; and a second server could take the same port.)

A worker that dies is reported and not replaced: the others go on, and what it had claimed in the store is theirs a few
seconds later. A parent that dies takes its workers along.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from qashier_mock.address import Listener
from qashier_mock.app import MockApp
from qashier_mock.pipeline.garbage import collect_seldom
from qashier_mock.server import Server, new_event_loop, on_stop_signals
from qashier_mock.stores.base import StoreUnavailable

_log = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_STOP_TIMEOUT_S: Final = 15.0
"""Seconds that workers have to end once they were told to, until they are killed."""

POLL_INTERVAL: Final = 0.02
"""Seconds between two checks whether they have."""

Prepare = Callable[[MockApp], Awaitable[None]]


class WorkersFailed(Exception):
    """The workers could not start, or all of them have died; the message says why."""


def run_workers(
    listener: Listener,
    count: int,
    *,
    make_app: Callable[[], MockApp],
    ready: Callable[[], None],
    prepare: Prepare | None = None,
) -> None:
    """Serve with `count` processes until SIGINT or SIGTERM; returns once all have ended cleanly.

    It forks: call it while this process has one thread and no event loop, with the heavy modules imported, which the
    workers then need not do again.

    Each worker makes its app in its own process; the store must be one that can be shared. `ready` is called once every
    worker can answer. The first one does `prepare` before; an error that it raises ends the start.

    Raises:
        WorkersFailed: A worker could not start, or none is left.
    """
    workers = _Workers()
    previous = {each: signal.signal(each, workers.stop) for each in _SIGNALS}
    try:
        workers.start(listener, count, make_app, prepare)
        if workers.wait_until_ready():
            ready()
        workers.watch()
    finally:
        workers.end()
        for each, handler in previous.items():
            signal.signal(each, handler)


@dataclass(slots=True)
class _Workers:
    """The workers, as their parent sees them."""

    is_stopping: bool = False  # they have been told to end
    _alive: dict[int, int] = field(default_factory=dict)  # process id -> number of the worker
    _start_reports: int = -1  # where workers say how their start went
    _parent_pipe: int = -1  # closed by the system when this process dies, which is how the workers learn of it

    def start(self, listener: Listener, count: int, make_app: Callable[[], MockApp], prepare: Prepare | None) -> None:
        self._start_reports, reports = os.pipe()
        parent_pipe, self._parent_pipe = os.pipe()
        gc.freeze()  # what is there is there for good: collecting garbage in a worker need not touch, and so copy, it
        for number in range(count):
            # A signal that comes now is for the parent's handler, or for the worker's own, but not for a copy of the
            # parent's in the worker.
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            if self.is_stopping:
                break
            pid = os.fork()
            if pid == 0:
                for each in _SIGNALS:
                    signal.signal(each, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
                os.close(self._start_reports)
                os.close(self._parent_pipe)
                _Worker(listener, reports, parent_pipe).run(make_app, prepare if number == 0 else None)
            self._alive[pid] = number
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(reports)
        os.close(parent_pipe)
        listener.close()  # the workers have it; this process must not keep it open when they are gone

    def wait_until_ready(self) -> bool:
        """Wait for every worker's report; whether all can answer, and nobody has asked to stop."""
        missing = len(self._alive)
        with os.fdopen(self._start_reports, "r", encoding="utf-8") as reports:
            self._start_reports = -1
            for line in reports:
                error = json.loads(line)["error"]
                if error is not None and not self.is_stopping:
                    raise WorkersFailed(error)
                missing -= 1
                if not missing:
                    return not self.is_stopping
        if self.is_stopping:
            return False
        raise WorkersFailed("a worker has died while it started; its log says why")

    def watch(self) -> None:
        """Wait until all have ended, as they should once they were told to."""
        while self._alive and not self.is_stopping:
            pid, status = os.wait()
            self._log_exit(pid, status)
        if not self.is_stopping:
            raise WorkersFailed("no worker is left")

    def _log_exit(self, pid: int, status: int) -> None:
        number = self._alive.pop(pid, None)
        if number is not None and not self.is_stopping:
            code = os.waitstatus_to_exitcode(status)
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            _log.error("worker %d (process %d) has ended %s; %d are left", number, pid, how, len(self._alive))

    def stop(self, *_: Any) -> None:
        """Tell all to end; the second time, kill them."""
        self._signal_workers(signal.SIGKILL if self.is_stopping else signal.SIGTERM)
        self.is_stopping = True

    def _signal_workers(self, what: signal.Signals) -> None:
        for pid in self._alive:
            with suppress(ProcessLookupError):
                os.kill(pid, what)

    def end(self) -> None:
        """Wait for all to end, and kill those that do not."""
        if not self.is_stopping:
            self.stop()
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while self._alive:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                self._log_exit(pid, status)
            elif time.monotonic() > deadline:
                self._signal_workers(signal.SIGKILL)
                deadline = float("inf")
            else:
                time.sleep(POLL_INTERVAL)
        for each in (self._start_reports, self._parent_pipe):
            if each >= 0:
                os.close(each)


@dataclass(slots=True)
class _Worker:
    """One worker, in its own process."""

    _listener: Listener
    _start_reports: int
    _parent_pipe: int

    def run(self, make_app: Callable[[], MockApp], prepare: Prepare | None) -> NoReturn:
        """Serve, and end the process; nothing of the parent's is ever run here."""
        code = 1
        try:
            app = make_app()
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self._serve(app, prepare))
            code = 0
        except StoreUnavailable as error:
            self._report(str(error))
        except BaseException as error:  # noqa: BLE001 - the process ends here, and says why
            _log.exception("a worker has failed")
            self._report(f"a worker could not start: {type(error).__name__}: {error}")
        finally:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    async def _serve(self, app: MockApp, prepare: Prepare | None) -> None:
        await app.open()
        server = Server(app)

        def parent_has_died() -> None:
            loop.remove_reader(self._parent_pipe)
            server.stop()

        on_stop_signals(server.stop)  # a terminal may tell it the whole group, and the parent once more
        loop = asyncio.get_running_loop()
        loop.add_reader(self._parent_pipe, parent_has_died)
        serving = await server.begin(self._listener)
        if server.started:
            try:
                if prepare is not None:
                    await prepare(app)
                collect_seldom()
                self._report(None)
            except Exception as error:  # noqa: BLE001 - told to whoever starts the server
                self._report(str(error))
                server.stop()
        await serving

    def _report(self, error: str | None) -> None:
        """Tell the parent how the start went. Only the first report counts."""
        if self._start_reports < 0:
            return
        with suppress(BrokenPipeError):
            os.write(self._start_reports, json.dumps({"error": error}).encode() + b"\n")
        os.close(self._start_reports)
        self._start_reports = -1
