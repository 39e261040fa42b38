"""The API request behind a command, as far as the service needs to know it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from qashier_mock.core.advice import Advice


class RequestRef(NamedTuple):
    """The API request that a command came with.

    Attributes:
        id: Its `Request-Id`.
        fingerprint: Identifies operation, session and parsed body, to tell a repeat from another request (IDM-9).
        advice: Advice about the request itself; strict accounts refuse it instead.
    """

    id: str
    idempotency_key: str | None = None
    fingerprint: bytes = b""
    advice: Sequence[Advice] = ()
