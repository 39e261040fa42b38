"""How a run is told to end early: by Ctrl-C, or because its time is up.

A signal handler that raises can do so anywhere: in a callback of the garbage collector, where the exception is
swallowed, or while a lock is held. So ours only sets a flag, and wakes whoever waits; who sends or waits looks at it.
"""

from __future__ import annotations

import selectors
import signal
import socket
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


class OutOfTime(Exception):
    """The budget is spent: nothing more may be sent."""


class Interrupted(OutOfTime):
    """Somebody pressed Ctrl-C, or the job was cancelled: nothing more may be sent."""


class Stop:
    """Whether a run was told to stop: `is_set`. Waiting for something ends at once when it is."""

    def __init__(self) -> None:
        self.is_set = False
        self._reader, self._writer = socket.socketpair()
        for each in (self._reader, self._writer):
            each.setblocking(False)
        weakref.finalize(self, _close, self._reader, self._writer)

    def request(self) -> None:
        """Stop. Takes no lock, so that a signal handler may call it."""
        self.is_set = True
        with suppress(OSError):
            self._writer.send(b"!")

    def clear(self) -> None:
        """Go on: what comes next, such as the clean-up, may be stopped anew."""
        self.is_set = False
        with suppress(BlockingIOError):
            while self._reader.recv(64):
                pass

    def check(self) -> None:
        """Raise if a stop was asked for.

        Raises:
            Interrupted: It was.
        """
        if self.is_set:
            raise Interrupted

    def sleep(self, seconds: float) -> None:
        """Wait so long, or until the stop.

        Raises:
            Interrupted: The stop came.
        """
        self.wait_for(None, seconds)

    def wait_for(
        self, connection: socket.socket | None, seconds: float, *, read: bool = True, write: bool = False
    ) -> bool:
        """Wait until a socket can be read from, or written to; whether it can.

        Raises:
            Interrupted: The stop came first.
        """
        self.check()
        events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        with _Selector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            if connection is not None:
                selector.register(connection, events)
            ready = [key.fileobj for key, _ in selector.select(max(0.0, seconds))]
        self.check()
        return connection in ready


_Selector: Final = getattr(selectors, "PollSelector", selectors.SelectSelector)
"""Poll needs no descriptor of its own, and knows no limit on the number of one; Windows has `select` alone."""


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        each.close()


@contextmanager
def stopping_on_signals(stop: Stop) -> Iterator[None]:
    """Let SIGINT and SIGTERM set a stop, instead of raising wherever the program happens to be.

    Only the main thread may handle signals; from another one this does nothing. A signal that is ignored, as SIGINT
    is for a job in the background of a shell script, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def told(*_: object) -> None:
        stop.request()

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, told)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def remaining_s(deadline_ns: int) -> float:
    """Seconds until a moment of the monotonic clock; negative once it has passed."""
    return (deadline_ns - time.monotonic_ns()) / 1e9
