"""A HAR 1.2 file as a trace: what a browser, mitmproxy, Charles and others record.

Only the traffic of one API is kept. What a file does not hold, a body say, is never taken for what was sent: such an
exchange has no answer, or is left out. Each is told in a note.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from qashier_contract.drive.traffic.exchanges import Seen, Traffic, base_of
from qashier_contract.errors import CheckError
from qashier_contract.history import NOT_RECORDED, SESSIONS_PATH, History, Reply
from qashier_contract.trace.file import Trace
from qashier_contract.values import NOT_JSON, read_json

_FRACTION: Final = re.compile(r"\.(\d+)")
_WITHOUT_BODY: Final = frozenset({*range(100, 200), 204, 205, *range(300, 400)})
_MAY_HAVE_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class HarError(CheckError):
    """A file is no HAR, a damaged one, or one without the traffic that is asked for."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A trace, and what a reader should know of how it was recorded."""

    trace: Trace
    notes: tuple[str, ...] = ()


def is_har(document: Any) -> bool:
    """Whether a JSON document looks like a HAR file."""
    log = document.get("log") if isinstance(document, dict) else None
    return isinstance(log, dict) and isinstance(log.get("entries"), list)


def read(document: Any, name: str, *, base_url: str | None = None, one_account: bool = False) -> Recorded:
    """The traffic of one API in a HAR document that came from the file `name`.

    `base_url` says where `/checkout/sessions` hangs; by default at the only place where it does in the file.

    Raises:
        HarError: The document is damaged, or has no traffic of the API, or that of several.
    """
    entries = [_Entry(entry, f"{name}: log.entries[{n}]") for n, entry in enumerate(document["log"]["entries"])]
    entries.sort(key=lambda entry: entry.started_ns)
    base = (base_url or _only_base(entries, name)).rstrip("/")
    keeps_credentials = any("authorization" in entry.request_headers for entry in entries if base_of(entry.url) == base)
    traffic = Traffic(base, one_account=one_account, keeps_credentials=keeps_credentials)
    left_out: Counter[str] = Counter()
    exchanges = []
    for entry in entries:
        if not traffic.is_of_the_api(entry.method, entry.url):
            continue
        seen, reason = entry.seen()
        if reason:
            left_out[reason] += 1
        exchange = None if seen is None else traffic.exchange(seen)
        if exchange is not None:
            exchanges.append(exchange)
    if not exchanges:
        raise HarError(f"{name} has no request below {base}{SESSIONS_PATH}")
    start_ns = exchanges[0].sent_ns
    history = History(exchanges=tuple(exchanges), terms=traffic.terms(start_ns, start_ns))
    notes = [f"{count} {reason}" for reason, count in left_out.items()]
    if not keeps_credentials:
        notes.append("The file holds no credentials: all requests are taken for one account's.")
    elif traffic.accounts > 1 and not one_account:
        notes.append(f"{traffic.accounts} keys were used: each is taken for another account. If not: --one-account.")
    return Recorded(trace=Trace(history=history, target=base), notes=tuple(notes))


def _only_base(entries: Iterable[_Entry], name: str) -> str:
    found = Counter(base for entry in entries if (base := base_of(entry.url)) is not None)
    if not found:
        raise HarError(f"{name} has no request to {SESSIONS_PATH}; --base-url says where the API hangs")
    if len(found) > 1:
        counts = ", ".join(f"{base} ({count})" for base, count in found.most_common())
        raise HarError(f"{name} has requests to {len(found)} APIs: {counts}; choose one with --base-url")
    return next(iter(found))


class _Entry:
    """One entry of a file."""

    def __init__(self, entry: Any, where: str) -> None:
        self._entry = _object(entry, where)
        self._request = _object(self._entry.get("request"), f"{where}.request")
        response = self._entry.get("response")
        self._response: Mapping[str, Any] = response if isinstance(response, dict) else {}
        self.method = _text(self._request.get("method"), f"{where}.request.method").upper()
        self.url = _text(self._request.get("url"), f"{where}.request.url")
        self.started_ns = _moment_ns(self._entry.get("startedDateTime"), f"{where}.startedDateTime")
        self.request_headers = _names(self._request.get("headers"))

    @property
    def _ended_ns(self) -> int:
        took_ms = self._entry.get("time")
        if not isinstance(took_ms, int | float) or not math.isfinite(took_ms) or took_ms < 0:
            took_ms = 0
        # Times in a file are cut, mostly to milliseconds, so that a request may have begun up to one later.
        fraction = _FRACTION.search(str(self._entry["startedDateTime"]))
        grain_ns = 10 ** max(0, 9 - len(fraction[1])) if fraction else 10**9
        return self.started_ns + grain_ns + math.ceil(took_ms * 1e6)

    def seen(self) -> tuple[Seen | None, str | None]:
        """What the entry holds, None if that is not enough; and what is missing."""
        body, is_whole = self._sent()
        if not is_whole:
            return None, "requests without the body that was sent were left out."
        reply, reason = self._reply()
        if reason is not None and reply is not None:
            return None, reason
        seen = Seen(
            method=self.method,
            url=self.url,
            headers=_headers(self._request.get("headers")),
            body=body,
            reply=reply,
            failure=None if reply is not None else NOT_RECORDED,
            sent_ns=self.started_ns,
            received_ns=self._ended_ns,
        )
        return seen, reason

    def _sent(self) -> tuple[bytes | None, bool]:
        """The body that was sent, and whether the file holds it."""
        posted = self._request.get("postData")
        if isinstance(posted, dict):
            text, params = posted.get("text"), posted.get("params")
            if isinstance(text, str) and (text or not params):
                return _bytes(text, posted.get("encoding") or posted.get("_encoding")), True
            if isinstance(params, list) and params:
                pairs = [(p.get("name", ""), p.get("value", "")) for p in params if isinstance(p, dict)]
                return urlencode(pairs).encode(), True
        size = self._request.get("bodySize")
        said = self.request_headers.get("content-length", "")
        is_missing = (isinstance(size, int) and size > 0) or (said.isdigit() and int(said) > 0)
        # Nobody reads the body of an expire.
        return None, not is_missing or self.method not in _MAY_HAVE_BODY or self.url.endswith("/expire")

    def _reply(self) -> tuple[Reply | None, str | None]:
        """The answer; or None, or one that tells nothing, with the reason."""
        status = self._response.get("status")
        if not isinstance(status, int) or not 100 <= status <= 599:
            return None, "requests have no answer in the file."
        headers = tuple((name.lower(), value) for name, value in _headers(self._response.get("headers")))
        content = self._response.get("content")
        content = content if isinstance(content, dict) else {}
        text = content.get("text")
        body = _bytes(text if isinstance(text, str) else "", content.get("encoding"))
        reply = Reply(status=status, headers=headers, body=body)
        if status == 304 or self._entry.get("_fromCache") or self._response.get("_fetchedViaServiceWorker"):
            return reply, "answers from a cache were left out."
        if self.method == "HEAD" or status in _WITHOUT_BODY or _is_whole(body, content, dict(headers)):
            return reply, None
        return None, "answers have no whole body in the file, and were not judged."


def _is_whole(body: bytes, content: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Whether a file holds all of a body. Chromium has none that the page did not read, and calls its size -1."""
    size = content.get("size")
    if body:
        return not isinstance(size, int) or size <= len(body) or read_json(body) is not NOT_JSON
    return size == 0 or headers.get("content-length") == "0"


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise HarError(f"{where} must be an object")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise HarError(f"{where} must be text")
    return value


def _moment_ns(value: Any, where: str) -> int:
    try:
        moment = datetime.fromisoformat(_text(value, where))
    except ValueError:
        raise HarError(f"{where} must be a time such as 2026-01-31T12:00:00.000Z, not {value!r}") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = moment - datetime.fromtimestamp(0, UTC)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000


def _headers(value: Any) -> Sequence[tuple[str, str]]:
    return [
        (header["name"], header["value"])
        for header in (value if isinstance(value, list) else ())
        if isinstance(header, dict) and isinstance(header.get("name"), str) and isinstance(header.get("value"), str)
    ]


def _names(value: Any) -> Mapping[str, str]:
    return {name.lower(): text for name, text in _headers(value)}


def _bytes(text: str, encoding: Any) -> bytes:
    if encoding == "base64":
        try:
            return base64.b64decode(text)
        except (binascii.Error, ValueError):
            return b""
    return text.encode("utf-8", "surrogatepass")
