"""Writing to a pipe or a terminal that may stand still, from a thread that is allowed to wait for it."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

_MOST: Final = 1 << 20
"""Characters that may wait to be written; what comes on top is left out."""


class BackgroundWriter:
    """Takes lines at once and writes them in order, in a thread that starts with the first of them.

    Where nobody reads, lines are left out instead of the caller waiting; the next ones that fit begin with how many.
    """

    def __init__(self, write: Callable[[str], object], *, left_out: Callable[[int], str]) -> None:
        """Begin with nothing to write. `write` may take any time; `left_out` says how many lines are missing."""
        self._write = write
        self._left_out_line = left_out
        self._left_out = 0
        self._texts: deque[str] = deque()
        self._characters = 0  # of those that wait and of the one that is being written
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def __call__(self, text: str) -> None:
        """Write whole lines soon."""
        with self._changed:
            if self._characters + len(text) > _MOST:
                self._left_out += text.count("\n")
                return
            if self._left_out:
                text = self._left_out_line(self._left_out) + text
                self._left_out = 0
            self._texts.append(text)
            self._characters += len(text)
            if self._thread is None or not self._thread.is_alive():  # a forked process has lost its thread
                self._thread = threading.Thread(target=self._run, name="qashier-mock-log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drain(self, limit_s: float) -> bool:
        """Wait until all is written, at most some seconds; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._characters, limit_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._texts)
                text = self._texts.popleft()
            try:
                self._write(text)
            finally:
                with self._changed:
                    self._characters -= len(text)
                    self._changed.notify_all()


def write_to_stderr(text: str) -> None:
    """Write to standard error past its buffer, whose lock would stop the whole process at its end.

    An error is passed over: where nobody reads any more or the disk is full, serving goes on.
    """
    try:
        buffer = getattr(sys.stderr, "buffer", None)
        if buffer is None:  # a test's or a notebook's
            sys.stderr.write(text)
            return
        raw = getattr(buffer, "raw", buffer)
        rest = text.encode(sys.stderr.encoding or "utf-8", "backslashreplace")
        while rest:
            written = raw.write(rest)
            if not written:  # it does not wait for a reader
                return
            rest = rest[written:]
    except (OSError, ValueError):
        return
