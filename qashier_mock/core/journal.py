"""What an account asked of the API: the last 1,000 requests, with keys redacted."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

CAPACITY: Final = 1_000
"""Requests that an account's journal holds."""

BODY_LIMIT: Final = 16_384
"""Bytes of a body that a journal keeps."""

PAGE: Final = "hosted_page"
"""Stands for the operation of a request for a session's hosted page; no document names that."""

_KEY: Final = re.compile(rb"sk_(test|live)_[^\s\"'\\&<>]+")

# "sk_test_" and "sk_live_" in base64, as far as they do not depend on what is before them: it may begin at any of three
# places in a group of four characters. The rest of the key, and whatever is encoded behind it, goes with it.
_ENCODED_KEY: Final = re.compile(
    rb"(?:c2tf(?:dGVzdF|bGl2ZV)|NrX(?:3Rlc3Rf|2xpdmVf)|za19(?:0ZXN0X|saXZlX))[A-Za-z0-9+/=_-]*"
)


class JournalEntry(NamedTuple):
    """One request and its answer.

    As it is recorded it holds what was received; `redacted` makes of it what may be shown or written anywhere. That is
    done when the journal is read or written to a database, for most requests are never looked at.

    Attributes:
        operation: The operationId; None where no operation takes the path or the method.
        path: As received, with its query.
        status: What was answered, or None when the answer was lost on purpose.
        at: Epoch seconds of the account's clock.
        duration_ms: Real milliseconds.
        request_body: At most `BODY_LIMIT` of it.
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

    @property
    def is_of_a_page(self) -> bool:
        """Whether the customer's browser sent it, for the hosted page; the integration did not."""
        return self.operation == PAGE

    def redacted(self) -> JournalEntry:
        """The entry with every API key blotted out, as it is or in base64."""
        key = self.idempotency_key
        return self._replace(
            path=redacted(self.path),
            idempotency_key=None if key is None else redacted(key.encode("latin-1")).decode("latin-1"),
            request_body=None if self.request_body is None else redacted(self.request_body),
            response_body=None if self.response_body is None else redacted(self.response_body),
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.request_id}: {self.operation}, {self.status}>"


def cut(content: bytes | None) -> bytes | None:
    """What a journal keeps of a body."""
    return content if content is None or len(content) <= BODY_LIMIT else content[:BODY_LIMIT]


def redacted(content: bytes) -> bytes:
    """`content` with API keys blotted out."""
    return _ENCODED_KEY.sub(b"***", _KEY.sub(rb"sk_\1_***", content))
