"""Why the pipeline refuses a request, and what in the request is to blame."""

from __future__ import annotations

import enum
from typing import Final

MESSAGE_LIMIT: Final = 300
"""Characters of a message at most."""


class Reason(enum.StrEnum):
    """Why the pipeline itself refuses a request."""

    PATH_UNKNOWN = "path_unknown"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_LARGE = "body_too_large"
    MEDIA_TYPE_UNSUPPORTED = "media_type_unsupported"
    BODY_INVALID = "body_invalid"
    PARAMETER_MISSING = "parameter_missing"
    PARAMETER_INVALID = "parameter_invalid"
    PARAMETER_UNKNOWN = "parameter_unknown"
    PROTOCOL_ERROR = "protocol_error"
    """What came is no HTTP request that can be answered: there is no call."""
    INTERNAL_ERROR = "internal_error"
    """An exception that nobody knows. It has been logged; the reply must not tell of it. Meant to be a 500."""


class Refused(Exception):
    """The pipeline refuses a request.

    Attributes:
        reason: Why; the error renderer turns it into status and code.
        message: Cut at `MESSAGE_LIMIT`, control characters escaped; says what to change.
        param: The place to blame as a path (`line_items[0].quantity`, `limit`, `created[gte]`, `Idempotency-Key`),
            a missing one included; None where no single place is to blame.
        headers: What the reply must carry, such as Allow.
    """

    def __init__(
        self, reason: Reason, message: str, *, param: str | None = None, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        self.reason = reason
        self.message = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
        super().__init__(self.message)
        self.param = param
        self.headers = headers
