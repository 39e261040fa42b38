"""What a failing test's report shows of its account: requests, events, deliveries and advice, a line for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from json import loads
from typing import Final, TypeVar

from qashier_mock import answers

T = TypeVar("T")

_ENTRY_WIDTH: Final = 300
"""Characters of a body that a report shows."""


def sections(
    *,
    requests: Sequence[answers.Request],
    events: Sequence[answers.Event],
    deliveries: Sequence[answers.Delivery],
    advice: Sequence[answers.Advice],
    limit: int,
) -> dict[str, str]:
    """Title and text of each section that has something to say, with the last `limit` entries of each kind."""
    texts = {
        "requests": _last("requests", requests, limit, _request_line),
        "events": _last("events", events, limit, _event_line),
        "deliveries": _last("delivery attempts", deliveries, limit, _delivery_line),
        "advice": _last("pieces of advice", advice, limit, _advice_line),
    }
    if not requests:
        texts["requests"] = "none: nothing has used this account's base_url and api_key"
    return {title: text for title, text in texts.items() if text}


def _last(what: str, entries: Sequence[T], limit: int, line: Callable[[T], str]) -> str:
    lines = [line(entry) for entry in entries[-limit:]]
    if len(entries) > limit:
        lines.insert(0, f"the last {limit} of {len(entries)} {what}:")
    return "\n".join(lines)


def _request_line(entry: answers.Request) -> str:
    status = "no answer" if entry["status"] is None else str(entry["status"])
    key = "" if entry["idempotency_key"] is None else f"  Idempotency-Key {entry['idempotency_key']}"
    text = f"{status} {entry['method']} {entry['path']}  {entry['duration_ms']:g} ms{key}  {entry['request_id']}"
    if entry["status"] is None or entry["status"] >= 400:  # noqa: PLR2004 - the client's and the server's errors
        if entry["request_body"]:
            text += f"\n    sent: {_cut(entry['request_body'])}"
        if entry["response_body"]:
            text += f"\n    {_reason(entry['response_body'])}"
    return text


def _reason(body: str) -> str:
    """The message of an error envelope; what is none is shown as it is."""
    try:
        error = loads(body)["error"]
        return f"{error['code']}: {error['message']}"
    except (ValueError, TypeError, LookupError):
        return f"answered: {_cut(body)}"


def _event_line(event: answers.Event) -> str:
    session = event["data"]["object"]
    return f"{_at(event['created'])} {event['type']} {session['id']}  {session['payment_status']}  {event['id']}"


def _delivery_line(attempt: answers.Delivery) -> str:
    what = attempt["outcome"] if attempt["status"] is None else f"{attempt['outcome']} ({attempt['status']})"
    # A query may well hold a token.
    text = f"{_at(attempt['at'])} {what}, attempt {attempt['number']}: {attempt['type']} {attempt['session']}"
    text += f" to {attempt['url'].partition('?')[0]}  {attempt['duration_ms']:g} ms"
    if attempt["error"]:
        text += f"\n    {_cut(attempt['error'])}"
    if attempt["next_try"] is not None:
        text += f"\n    next try {_at(attempt['next_try'])}"
    return text


def _advice_line(advice: answers.Advice) -> str:
    often = f", {advice['count']} times" if advice["count"] > 1 else ""
    first = f" (first: {advice['request_id']})" if advice["request_id"] else ""
    return f"{advice['kind']}{often}: {advice['message']}{first}"


def _at(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _ENTRY_WIDTH else text[:_ENTRY_WIDTH] + " …"
