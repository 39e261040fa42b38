"""The live log of `serve`: a line for each request, webhook attempt and expiry.

Lines are collected and written together a moment later, so that a request hardly pays for its own. Keys are blotted
out, a webhook's query is left out, and control characters are escaped: what a client sends cannot steer a terminal.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson

from qashier_mock.core.advice import Advice
from qashier_mock.core.delivery import Attempt
from qashier_mock.core.journal import redacted
from qashier_mock.core.model import Event

_WRITE_AFTER_S: Final = 0.1
"""Seconds that a line waits for others to be written with."""

_UNPRINTABLE: Final = re.compile(r"[^ -~\xa1-\uffff]")
_KEY: Final = re.compile(r"sk_(test|live)_[A-Za-z0-9_-]+")
"""A key in a message of ours; `sk_test_…` in one is none."""

_LONGEST: Final = 300
"""Characters of one text in a line."""

_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]")
"""What stands escaped in JSON: standard error may have any encoding."""

_RED, _GREEN, _YELLOW, _DIM, _PLAIN = "\033[31m", "\033[32m", "\033[33m", "\033[2m", "\033[0m"
_REFUSED: Final = 400


class SeenRequest(NamedTuple):
    """A request that was answered.

    Attributes:
        method: Its method.
        path: As received, with its query.
        status: What was answered; None: the answer was lost on purpose.
        duration_ms: Real milliseconds.
        message: What was wrong; empty where nothing was.
        advice: What is new of it to the account.
        account: What its key is recognised by; empty where it had none.
    """

    method: str
    path: bytes
    status: int | None
    duration_ms: float
    message: str = ""
    advice: Sequence[Advice] = ()
    account: str = ""


class LiveLog:
    """Writes lines, in text or as JSON."""

    def __init__(
        self,
        write: Callable[[str], object],
        now: Callable[[], float],
        *,
        as_json: bool,
        colour: bool = False,
        drain: Callable[[], object] = lambda: None,
    ) -> None:
        """Begin with nothing to write.

        Args:
            write: Writes text to where people look; must not wait for them.
            now: The machine's time, epoch seconds.
            as_json: Write JSON objects instead of text.
            colour: Whether text may be coloured.
            drain: Waits a little for what was handed to `write` to arrive.
        """
        self._write = write
        self._now = now
        self._as_json = as_json
        self._colour = colour
        self._drain = drain
        self._waiting: list[tuple[Callable[[float, Any], str], Any]] = []
        self._began = 0.0
        self._second = -1
        self._clock = ""
        self._moment = (-1.0, "")

    # what is told

    def request(self, seen: SeenRequest) -> None:
        """Tell of a request."""
        self._later(self._request_line, seen)

    def attempt(self, attempt: Attempt) -> None:
        """Tell of an attempt to deliver a webhook."""
        self._later(self._attempt_line, attempt)

    def expired(self, event: Event) -> None:
        """Tell of a session whose deadline has passed."""
        self._later(self._expired_line, event.session.id)

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._write("".join([line(self._began, what) for line, what in waiting]))

    def close(self) -> None:
        """Write what waits, and wait a little for it to arrive."""
        self.flush()
        self._drain()

    # how it is written

    def _later(self, line: Callable[[float, Any], str], what: Any) -> None:
        self._waiting.append((line, what))
        if len(self._waiting) == 1:
            self._began = self._now()  # one look at the clock does for all that are written together
            try:
                asyncio.get_running_loop().call_later(_WRITE_AFTER_S, self.flush)
            except RuntimeError:  # nothing runs that could write it later
                self.flush()

    def _request_line(self, at: float, seen: SeenRequest) -> str:
        path = _clean((redacted(seen.path) if b"sk_" in seen.path else seen.path).decode("latin-1"))
        message = _clean(_KEY.sub(r"sk_\1_***", seen.message)) if seen.message else ""
        advice = [f"{each.kind.value}: {_clean(each.message)}" for each in seen.advice] if seen.advice else ()
        if self._as_json:
            told: dict[str, object] = {
                "method": seen.method,
                "path": path,
                "status": seen.status,
                "duration_ms": round(seen.duration_ms, 1),
            }
            if seen.account:
                told["account"] = seen.account
            if message:
                told["message"] = message
            if advice:
                told["advice"] = advice
            return self._line(at, "request", "", told)
        status = "no answer" if seen.status is None else str(seen.status)
        bad = seen.status is None or seen.status >= _REFUSED
        text = f"{seen.method} {path} {self._in(_RED if bad else _GREEN, status)} {seen.duration_ms:.1f} ms"
        if seen.account:
            text += self._in(_DIM, f" {seen.account}")
        line = self._line(at, "request", f"{text} {message}" if message else text, {})
        if not advice:
            return line
        return line + "".join([f"         {self._in(_YELLOW, 'advice')} {each}\n" for each in advice])

    def _attempt_line(self, at: float, attempt: Attempt) -> str:
        url = _clean(attempt.url.partition("?")[0])
        error = _clean(attempt.error or "")
        if self._as_json:
            told = {"event_id": attempt.event_id, "type": attempt.event_type, "session": attempt.session_id, "url": url}
            came = {"attempt": attempt.number, "status": attempt.status, "outcome": attempt.outcome.value}
            more = {"error": error, "next_try": attempt.next_try}
            return self._line(at, "webhook", "", {**told, **came, **{name: v for name, v in more.items() if v}})
        is_good = attempt.outcome.value == "delivered"
        answer = str(attempt.status) if attempt.status is not None else attempt.outcome.value
        text = f"webhook {attempt.event_type} {attempt.session_id} to {url}, attempt {attempt.number}: "
        text += self._in(_GREEN if is_good else _RED, answer) + (f" {error}" if error else "")
        text += f", next try in {attempt.next_try - attempt.at} s" if attempt.next_try is not None else ""
        return self._line(at, "webhook", text, {})

    def _expired_line(self, at: float, session_id: str) -> str:
        return self._line(at, "expired", f"{session_id} expired", {"session": session_id})

    def _line(self, at: float, event: str, text: str, fields: dict[str, object]) -> str:
        if self._as_json:
            if self._moment[0] != at:  # the same for all lines that are written together
                self._moment = (at, f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%fZ}")
            return _as_json({"event": event, "at": self._moment[1], **fields}) + "\n"
        if int(at) != self._second:
            self._second = int(at)
            self._clock = self._in(_DIM, f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}")
        return f"{self._clock} {text}\n"

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colour and text else text


def left_out_line(lines: int, *, as_json: bool) -> str:
    """What stands where lines are missing that nobody read in time."""
    if as_json:
        return _as_json({"event": "left_out", "lines": lines}) + "\n"
    return f"{lines} lines were left out: nobody read them in time\n"


def _as_json(fields: Mapping[str, object]) -> str:
    text = orjson.dumps(fields).decode().replace("…", "\\u2026")  # most lines have just that, in their account
    return text if text.isascii() else _BEYOND_ASCII.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _clean(text: str) -> str:
    """One line that steers no terminal."""
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    if text.isascii() and text.isprintable():
        return text
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
