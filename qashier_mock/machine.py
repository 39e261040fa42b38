"""The machine's time, out of reach of what a test patches in its own process.

freezegun replaces functions of `time` wherever a module holds one, and time-machine changes what the functions
themselves do. The mock often runs in a thread of the test process, where every account and every webhook would stand
still or leap with the test. So the calendar time is asked of the system directly, and time that passes is read from a
clock that neither of them touches.

The only room that reads a clock of the machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Final

_RECHECK_EVERY: Final = 0.5
"""Seconds between two looks at the calendar time."""


if sys.platform == "win32":
    import ctypes

    _WINDOWS_EPOCH_S: Final = 11_644_473_600
    """Seconds from 1601, where Windows begins to count, to 1970."""

    def wall() -> float:
        """The calendar time, epoch seconds. It may be set forward and back at any moment."""
        ticks = ctypes.c_uint64()
        ctypes.windll.kernel32.GetSystemTimePreciseAsFileTime(ctypes.byref(ticks))
        return ticks.value / 10_000_000 - _WINDOWS_EPOCH_S

    def steady() -> float:
        """Seconds since some moment; they pass evenly, whatever happens to the calendar time."""
        milliseconds: int = ctypes.windll.kernel32.GetTickCount64()
        return milliseconds / 1000

else:
    from ctypes import CDLL, Structure, byref, c_long

    class _Timespec(Structure):
        _fields_ = (("seconds", c_long), ("nanoseconds", c_long))

    _clock_gettime = CDLL(None).clock_gettime

    def wall() -> float:
        """The calendar time, epoch seconds. It may be set forward and back at any moment."""
        # Not `time.clock_gettime`: time-machine changes what that says about CLOCK_REALTIME.
        read = _Timespec()
        _clock_gettime(time.CLOCK_REALTIME, byref(read))
        seconds: float = read.seconds + read.nanoseconds / 1e9
        return seconds

    # Not `time.monotonic`, which freezegun stops. No function of Python's: each request asks five times.
    steady: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    """Seconds since some moment; they pass evenly, whatever happens to the calendar time."""


class MachineClock:
    """Epoch seconds that never go back and never stand still.

    It follows the calendar time when that is set forward, or when the machine has slept. When the calendar time is set
    back it goes on evenly: waiting until the calendar has caught up would stop deadlines and webhooks for as long.
    """

    def __init__(self, *, wall: Callable[[], float] = wall, steady: Callable[[], float] = steady) -> None:
        """Begin at the calendar time of now."""
        self._wall = wall
        self._steady = steady
        self._checked_at = steady()
        self._ahead = wall() - self._checked_at

    def __call__(self) -> float:
        """Epoch seconds; never less than it returned before."""
        now = self._steady()
        if now - self._checked_at >= _RECHECK_EVERY:
            self._checked_at = now
            self._ahead = max(self._ahead, self._wall() - now)
        return now + self._ahead
