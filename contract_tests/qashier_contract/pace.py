"""How fast, until when, and how much may be sent to a target, and recorded of it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Final

from qashier_contract.history import Exchange, Reply
from qashier_contract.interrupts import OutOfTime, Stop, remaining_s
from qashier_contract.values import NOT_JSON

_MOST_RECORDED: Final = 256 * 1024 * 1024
"""How much memory what was recorded may take, about."""
KEPT_MOST: Final = 1024 * 1024
"""How many bytes are kept of a body that is neither JSON nor a page: nothing in it is judged."""
_VALUE_BYTES: Final = 72
"""About what one value of a JSON body takes once it is parsed."""
_VALUES_EACH: Final = 25
"""How many values take as long to judge as an exchange without any."""
_HEAVIEST: Final = 100
RELOADS_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0)
"""After how many seconds a page is asked for again that leads to itself: a payment may take a while."""
_PATIENCE_S: Final = 15.0
"""How long is waited in all where pages ask for others by themselves."""


class OutOfRoom(OutOfTime):
    """As much was recorded as may be: nothing more may be sent."""


class OutOfSessions(Exception):
    """As many sessions were opened as the tester allows."""


def kept(reply: Reply) -> Reply:
    """A reply of the API as it is recorded. Of a long body that is JSON all is kept: a correct one may be long."""
    if len(reply.body) <= KEPT_MOST or reply.json is not NOT_JSON:
        return reply
    cut = replace(reply, body=reply.body[:KEPT_MOST])
    return cut if cut.json is NOT_JSON else reply


def weight_of(exchange: Exchange) -> int:
    """How long an exchange takes to judge, beside others: a list of many sessions takes as long as they would."""
    values = exchange.reply.body.count(b",") if exchange.reply else 0
    return 1 + min(values // _VALUES_EACH, _HEAVIEST)


def _size_of(exchange: Exchange) -> int:
    """How much memory an exchange takes, about, once its bodies are parsed."""
    size = 0
    for body in (exchange.request.body, exchange.reply.body if exchange.reply else None):
        if body:
            # A single character beyond Latin-1 makes each of a text take up to four bytes.
            is_wide = not body.isascii() or b"\\u" in body
            values = sum(map(body.count, (b",", b"[", b"{")))
            size += len(body) * (5 if is_wide else 2) + _VALUE_BYTES * values
    return size


def retry_after_s(reply: Reply) -> float:
    """How many seconds a reply asks to wait."""
    value = reply.header("retry-after") or ""
    if value.strip().isdigit():
        return float(value)
    try:
        there = parsedate_to_datetime(value)
        here = parsedate_to_datetime(reply.header("date") or "")
    except (TypeError, ValueError):
        return 1.0
    return max(0.0, (there - here).total_seconds())


class Pace:
    """How fast, until when, and how much may be sent. One for all threads.

    Args:
        rate: Requests per second, None for as fast as they come.
        deadline_ns: On the monotonic clock, None for never.
        most_sessions: How many creates may be sent, None for any number.
        stop: What ends the run early.

    Attributes:
        room: How many bytes may still be recorded.
        weight: What was recorded, by how long it takes to judge.
        judging_ns: How much of the time is to be left for each unit of that weight: judging takes time as well.
    """

    def __init__(
        self,
        *,
        rate: float | None = None,
        deadline_ns: int | None = None,
        most_sessions: int | None = None,
        stop: Stop | None = None,
    ) -> None:
        self.stop = stop or Stop()
        self.room = _MOST_RECORDED
        self.judging_ns = 0
        self.weight = 0
        self.deadline_ns = deadline_ns
        self.rate = rate
        self.most_sessions = most_sessions
        self.sent = 0
        self._patience_s = _PATIENCE_S
        self._next_ns = 0
        self._held_until_ns = 0
        self._lock = threading.Lock()

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline."""
        if self.deadline_ns is None:
            return float("inf")
        return remaining_s(self.deadline_ns - self.weight * self.judging_ns)

    def take(self, *, opens_session: bool = False) -> None:
        """Wait for one's turn.

        Raises:
            OutOfTime: The deadline has passed, or the turn would come after it.
            Interrupted: The stop came.
            OutOfRoom: As much was recorded as may be.
            OutOfSessions: A session may not be opened any more.
        """
        self.stop.check()
        if self.room <= 0:
            raise OutOfRoom
        with self._lock:
            if opens_session and self.most_sessions is not None:
                if self.most_sessions <= 0:
                    raise OutOfSessions
                self.most_sessions -= 1
            now = time.monotonic_ns()
            turn = max(now, self._next_ns, self._held_until_ns)
            if self.deadline_ns is not None and turn >= self.deadline_ns - self.weight * self.judging_ns:
                raise OutOfTime
            if self.rate:
                self._next_ns = turn + int(1e9 / self.rate)
            self.sent += 1
        if turn > now:
            self.stop.sleep((turn - now) / 1e9)

    def sleep(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            OutOfTime: The budget ends first.
            Interrupted: The stop came.
        """
        if seconds >= self.remaining_s:
            raise OutOfTime
        self.stop.sleep(seconds)

    def wait_for_page(self, seconds: float) -> bool:
        """Let time pass before a page is asked for that another one leads to by itself; False if that took too long.

        Raises:
            OutOfTime: The budget ends first.
            Interrupted: The stop came.
        """
        with self._lock:
            self._patience_s -= seconds
            is_patient = self._patience_s >= 0
        if is_patient and seconds:
            self.sleep(seconds)
        return is_patient

    def keep(self, exchange: Exchange) -> None:
        """Note how much memory an exchange takes, once its bodies are parsed, and how long it takes to judge."""
        size, weight = _size_of(exchange), weight_of(exchange)
        with self._lock:
            self.room -= size
            self.weight += weight

    def hold(self, seconds: float) -> None:
        """Let nobody send for a while: the target asked for it.

        Raises:
            OutOfTime: The budget ends before the wait does.
        """
        if seconds >= self.remaining_s:
            raise OutOfTime
        with self._lock:
            self._held_until_ns = max(self._held_until_ns, time.monotonic_ns() + int(seconds * 1e9))
