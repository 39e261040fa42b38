"""The live log of `serve`: a line for each request, webhook attempt and expiry.

Lines are collected and written together a moment later, so that a request hardly pays for its own. Keys are blotted
out, a webhook's query is left out, and control characters are escaped: what a client sends cannot steer a terminal.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import orjson

from qashier_mock.core.advice import Advice
from qashier_mock.core.delivery import Attempt
from qashier_mock.core.journal import redacted
from qashier_mock.core.model import Event

_WRITE_AFTER_S: Final = 0.1
"""Seconds that a line waits for others to be written with."""

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\xa0\U00010000-\U0010ffff]")
"""Written so, and not as all but what is printable, because Python needs 3 ms more to compile that."""
_KEY: Final = re.compile(r"sk_(test|live)_[A-Za-z0-9_-]+")
"""A key in a message of ours; `sk_test_…` in one is none."""

_LONGEST: Final = 300
"""Characters of one text in a line."""

_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]")
"""What stands escaped in JSON: standard error may have any encoding."""

_COLOURS: Final = ("\033[31m", "\033[32m", "\033[33m", "\033[2m", "\033[0m")
"""Red, green, yellow, dim, plain."""
_REFUSED: Final = 400


class SeenRequest(NamedTuple):
    """A request that was answered.

    Attributes:
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
        """Begin with nothing to write; `now` is the machine's time, epoch seconds.

        `write` writes text to where people look and must not wait for them; `drain` waits a little for it to arrive.
        """
        self._write = write
        self._now = now
        self._as_json = as_json
        self._drain = drain
        self._red, self._green, self._yellow, self._dim, self._plain = _COLOURS if colour else [""] * len(_COLOURS)
        self._waiting: list[SeenRequest | Attempt | Event] = []
        self._began = 0.0

    # what is told

    def tell(self, what: SeenRequest | Attempt | Event) -> None:
        """Tell of a request, an attempt to deliver a webhook, or a session whose deadline has passed."""
        self._waiting.append(what)
        if len(self._waiting) == 1:
            self._began = self._now()  # one look at the clock does for all that are written together
            try:
                asyncio.get_running_loop().call_later(_WRITE_AFTER_S, self.flush)
            except RuntimeError:  # nothing runs that could write it later
                self.flush()

    def flush(self) -> None:
        """Write what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            at = datetime.fromtimestamp(self._began, UTC)
            line = self._json_line if self._as_json else self._text_line
            begin = f"{at:%Y-%m-%dT%H:%M:%S.%fZ}" if self._as_json else f"{self._dim}{at:%H:%M:%S}{self._plain}"
            self._write("".join([line(begin, what) for what in waiting]))

    def close(self) -> None:
        """Write what waits, and wait a little for it to arrive."""
        self.flush()
        self._drain()

    # how it is written

    def _text_line(self, begin: str, what: SeenRequest | Attempt | Event) -> str:
        if not isinstance(what, SeenRequest):
            told = self._attempt_text(what) if isinstance(what, Attempt) else f"{what.session.id} expired"
            return f"{begin} {told}\n"
        method, raw_path, status, duration_ms, message, advice, account = what
        text = (
            f"{begin} {method} {_shown_path(raw_path)} {self._colour_of(status)}{status or 'no answer'}{self._plain}"
            f" {duration_ms:.1f} ms"
        )
        if account:
            text += f"{self._dim} {account}{self._plain}"
        if message:
            text += f" {_shown_message(message)}"
        for each in advice:
            text += f"\n         {self._yellow}advice{self._plain} {each.kind.value}: {_clean(each.message)}"
        return text + "\n"

    def _attempt_text(self, attempt: Attempt) -> str:
        url = _clean(attempt.url.partition("?")[0])
        colour = self._green if attempt.outcome.value == "delivered" else self._red
        answer = str(attempt.status) if attempt.status is not None else attempt.outcome.value
        text = f"webhook {attempt.event_type} {attempt.session_id} to {url}, attempt {attempt.number}: "
        text += f"{colour}{answer}{self._plain}" + (f" {_clean(attempt.error)}" if attempt.error else "")
        return text + (f", next try in {attempt.next_try - attempt.at} s" if attempt.next_try is not None else "")

    def _json_line(self, begin: str, what: SeenRequest | Attempt | Event) -> str:
        if not isinstance(what, SeenRequest):
            is_attempt = isinstance(what, Attempt)
            fields = _attempt_fields(what) if isinstance(what, Attempt) else {"session": what.session.id}
            return _as_json({"event": "webhook" if is_attempt else "expired", "at": begin, **fields}) + "\n"
        method, raw_path, status, duration_ms, message, advice, account = what
        told: dict[str, object] = {
            "event": "request",
            "at": begin,
            "method": method,
            "path": _shown_path(raw_path),
            "status": status,
            "duration_ms": round(duration_ms, 1),
        }
        if account:
            told["account"] = account
        if message:
            told["message"] = _shown_message(message)
        if advice:
            told["advice"] = [f"{each.kind.value}: {_clean(each.message)}" for each in advice]
        return _as_json(told) + "\n"

    def _colour_of(self, status: int | None) -> str:
        return self._green if status is not None and status < _REFUSED else self._red


def _attempt_fields(attempt: Attempt) -> dict[str, object]:
    url = _clean(attempt.url.partition("?")[0])
    told = {"event_id": attempt.event_id, "type": attempt.event_type, "session": attempt.session_id, "url": url}
    came = {"attempt": attempt.number, "status": attempt.status, "outcome": attempt.outcome.value}
    more = {"error": _clean(attempt.error or ""), "next_try": attempt.next_try}
    return {**told, **came, **{name: value for name, value in more.items() if value}}


def _shown_path(path: bytes) -> str:
    text = path.decode("latin-1")
    if "sk_" not in text and len(text) <= _LONGEST and text.isascii() and text.isprintable():
        return text  # as nearly all of them
    return _clean(redacted(path).decode("latin-1"))


def _shown_message(message: str) -> str:
    return _clean(_KEY.sub(r"sk_\1_***", message))


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
