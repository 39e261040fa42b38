"""What the mock refuses, and why.

The family tree; a leaf is one situation, and carries the `code` that the document lists::

    ApiError
     ├── AuthenticationError     CredentialsMissing, CredentialsInvalid, LiveKeyRefused
     ├── InvalidRequestError
     │    ├── RequestInvalid     the schema's or HTTP's business: body_invalid, parameter_missing, not_found …;
     │    │                      SnapshotInvalid
     │    ├── SessionNotFound, ObjectNotFound
     │    └── RuleBroken         ExpiresAtOutOfRange, CurrencyMixed, CurrencyUnavailable, CursorUnknown …
     ├── ConflictError           SessionNotOpen, IdempotencyKeyInUse, IdempotencyKeyReused, IdTaken
     ├── RateLimited
     └── ServiceUnavailable

An error names its `kind`, not its status: which status a kind has is a `Policy` (decision of whoever runs the mock).
Source: "How the mock refuses" of the contract, HTTP-3.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from qashier_mock.core.advice import Advice


class ErrorType(StrEnum):
    """The value of `error.type` in the envelope."""

    AUTHENTICATION = "authentication_error"
    INVALID_REQUEST = "invalid_request_error"
    CONFLICT = "conflict_error"
    RATE_LIMIT = "rate_limit_error"
    API = "api_error"


class ErrorKind(StrEnum):
    """The situations whose status is fixed by HTTP or chosen by the policy."""

    UNAUTHENTICATED = "unauthenticated"
    INVALID = "invalid"
    NOT_FOUND = "not_found"
    METHOD = "method"
    TOO_LARGE = "too_large"
    MEDIA_TYPE = "media_type"
    RULE = "rule"
    NOT_OPEN = "not_open"
    CONFLICT = "conflict"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"


class ApiError(Exception):
    """Something that the API answers with a 4xx (or 503), told so that a person knows what to change.

    Attributes:
        code: The machine's word for it, one of the document's enum.
        message: One or two sentences: what was wrong and what would have been right.
        param: The path of the field to blame (`line_items[0].quantity`), if one is.
        kind: The situation, from which the policy derives the status.
        type: The `error.type` of the envelope.
        advice: Advice about the refused request that is new to the account.
    """

    type: ClassVar[ErrorType] = ErrorType.API
    kind: ErrorKind
    code: str
    message: str
    param: str | None = None
    advice: Sequence[Advice] = ()

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        if message is not None:
            self.message = message
        if param is not None:
            self.param = param
        super().__init__(self.message)


class AuthenticationError(ApiError):
    """The request does not prove who sends it (AUTH-1, AUTH-4)."""

    type = ErrorType.AUTHENTICATION
    kind = ErrorKind.UNAUTHENTICATED


class CredentialsMissing(AuthenticationError):
    """No `Authorization` header."""

    code = "credentials_missing"
    message = (
        "No API key was sent. Send it as HTTP Basic user name with an empty password (curl -u sk_test_…:), "
        "or as Authorization: Bearer sk_test_…"
    )


class CredentialsInvalid(AuthenticationError):
    """An `Authorization` header that names no key."""

    code = "credentials_invalid"


class LiveKeyRefused(AuthenticationError):
    """A live key was sent to a mock (AUTH-4)."""

    code = "live_key_refused"
    message = (
        "This is a mock: a live key must never be sent here. Nothing was stored or logged; still, consider rolling "
        "the key if the connection left your machine, and use any sk_test_… key instead."
    )


class InvalidRequestError(ApiError):
    """The request itself has to change."""

    type = ErrorType.INVALID_REQUEST


class RequestInvalid(InvalidRequestError):
    """What a schema, or HTTP itself, can refuse; `code` and `kind` are given by whoever noticed."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "parameter_invalid",
        kind: ErrorKind = ErrorKind.INVALID,
        param: str | None = None,
    ) -> None:
        super().__init__(message, param=param)
        self.code = code
        self.kind = kind


class SnapshotInvalid(RequestInvalid):
    """A snapshot contradicts itself, or is none."""

    def __init__(self, what: str, param: str) -> None:
        message = f"This is not a snapshot of an account: {what}. Send what GET answered."
        super().__init__(message, kind=ErrorKind.RULE, param=param)


class SessionNotFound(InvalidRequestError):
    """No session of this account has that id (RET-2, EXP-4, AUTH-5)."""

    code = "session_not_found"
    kind = ErrorKind.NOT_FOUND

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"No checkout session of this account has the id {shown(session_id)}. "
            "Check the id, and that it was created with this same API key.",
            param="id",
        )


class ObjectNotFound(InvalidRequestError):
    """No event, endpoint or fault rule of this account has that id."""

    code = "not_found"
    kind = ErrorKind.NOT_FOUND

    def __init__(self, what: str, object_id: str) -> None:
        super().__init__(f"No {what} of this account has the id {shown(object_id)}.", param="id")


class RuleBroken(InvalidRequestError):
    """A rule that a schema cannot say."""

    kind = ErrorKind.RULE


class ExpiresAtOutOfRange(RuleBroken):
    """`expires_at` outside 1,800 to 86,400 seconds after creation (CRE-7)."""

    code = "expires_at_out_of_range"

    def __init__(self, expires_at: int, *, earliest: int, latest: int) -> None:
        super().__init__(
            f"expires_at {expires_at} is outside what is allowed now: from {earliest} (30 minutes after creation) "
            f"to {latest} (24 hours after creation), in epoch seconds.",
            param="expires_at",
        )


class CurrencyMixed(RuleBroken):
    """Lines of more than one currency (CRE-13)."""

    code = "currency_mixed"

    def __init__(self, index: int, currency: str, expected: str) -> None:
        super().__init__(
            f"Every line item must have the same currency: line 0 has {expected}, line {index} has {currency}.",
            param=f"line_items[{index}].price_data.currency",
        )


class CurrencyUnavailable(RuleBroken):
    """A currency that this account may not charge, by policy."""

    code = "parameter_invalid"
    kind = ErrorKind.INVALID

    def __init__(self, index: int, currency: str, allowed: str) -> None:
        super().__init__(
            f"This account cannot charge {currency}; it is limited to {allowed}.",
            param=f"line_items[{index}].price_data.currency",
        )


class CursorUnknown(RuleBroken):
    """A cursor that names no session of this account (LIS-13)."""

    code = "cursor_unknown"

    def __init__(self, name: str, session_id: str) -> None:
        super().__init__(
            f"{name} must be the id of a checkout session of this account; {shown(session_id)} is not.", param=name
        )


class CursorsExclusive(RuleBroken):
    """Both cursors at once (LIS-13)."""

    code = "cursors_exclusive"
    message = "Give starting_after or ending_before, not both."
    param = "ending_before"


class ConflictError(ApiError):
    """The request is valid, but in conflict with the present state."""

    type = ErrorType.CONFLICT
    kind = ErrorKind.CONFLICT


class SessionNotOpen(ConflictError):
    """The session has already reached a terminal status (EXP-2, EXP-3, PAY-2)."""

    code = "session_not_open"
    kind = ErrorKind.NOT_OPEN

    def __init__(self, session_id: str, status: str) -> None:
        super().__init__(
            f"Checkout session {session_id} is {status}; only an open session can be paid or expired. "
            "Create a new session for a new attempt.",
            param="id",
        )


class IdempotencyKeyInUse(ConflictError):
    """Another request with the same key is under way (IDM-6)."""

    code = "idempotency_key_in_use"
    message = "A request with this Idempotency-Key is still being processed. Try again shortly."
    param = "Idempotency-Key"


class IdempotencyKeyReused(ConflictError):
    """The key was used for a different request, and the policy (or strict mode) refuses that (IDM-9)."""

    code = "idempotency_key_reused"
    message = (
        "This Idempotency-Key was used for a different request in the last 24 hours. Use a fresh key for each "
        "operation, and the same key only to repeat it."
    )
    param = "Idempotency-Key"


class IdTaken(ConflictError):
    """A snapshot holds an id that belongs to another account."""

    code = "id_taken"

    def __init__(self, object_id: str) -> None:
        super().__init__(f"The id {shown(object_id)} belongs to another account of this server; nothing was restored.")


class RateLimited(ApiError):
    """429, by a fault rule."""

    type = ErrorType.RATE_LIMIT
    kind = ErrorKind.RATE_LIMITED
    code = "rate_limited"


class ServiceUnavailable(ApiError):
    """503: a fault rule, or a store that is gone."""

    kind = ErrorKind.UNAVAILABLE
    code = "unavailable"


_SHOWN_LENGTH = 60


def shown(value: str) -> str:
    """A caller's text, safe and short enough to stand in a message: escaped, quoted, cut at 60 characters."""
    escaped = value[:_SHOWN_LENGTH].encode("unicode_escape").decode("ascii").replace('"', '\\"')
    return f'"{escaped}"' if len(value) <= _SHOWN_LENGTH else f'"{escaped}…"'
