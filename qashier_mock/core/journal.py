"""What an account asked of the API: the last 1,000 requests, with keys redacted."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

CAPACITY: Final = 1_000
"""Requests that an account's journal holds."""

_BODY_LIMIT: Final = 16_384
_KEY: Final = re.compile(rb"sk_(test|live)_[^\s\"'\\&<>]+")


class JournalEntry(NamedTuple):
    """One request and its answer.

    Attributes:
        operation: The operationId; None where no operation takes the path or the method.
        path: As received, with its query.
        status: What was answered, or None when the answer was lost on purpose.
        at: Epoch seconds of the account's clock.
        duration_ms: Real milliseconds.
        request_body: At most 16 KiB of it.
        response_body: Likewise.
        advice: The kinds of advice that were new to the account.
    """

    request_id: str
    operation: str | None
    method: str
    path: bytes
    status: int | None
    at: int
    duration_ms: float
    idempotency_key: str | None
    request_body: bytes | None
    response_body: bytes | None
    advice: tuple[str, ...] = ()


def redacted(content: bytes) -> bytes:
    """`content` with API keys blotted out and cut to what the journal keeps; the common case costs one search."""
    if _KEY.search(content):  # faster than looking for "sk_", which most of a body is similar to
        content = _KEY.sub(rb"sk_\1_***", content)
    return content if len(content) <= _BODY_LIMIT else content[:_BODY_LIMIT]
