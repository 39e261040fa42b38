"""The policy: where Qashier's documentation is silent, each choice is a named field with a default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Final

from qashier_mock.core.errors import ErrorKind

_STATUS: Final = {
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.METHOD: 405,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.MEDIA_TYPE: 415,
    ErrorKind.CONFLICT: 409,
    ErrorKind.RATE_LIMITED: 429,
    ErrorKind.UNAVAILABLE: 503,
}

CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "idempotency_reuse": ("replay", "reject"),
    "idempotency_in_flight": ("wait", "conflict"),
    "unknown_fields": ("ignore", "reject"),
    "signature_encoding": ("base64", "hex"),
}

_CLIENT_ERRORS: Final = range(400, 500)
_CODE: Final = re.compile(r"[A-Z]{3}")


class PolicyError(ValueError):
    """A policy file says something that is no choice; the message names what would be."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the mock does where the documentation is silent; the defaults are the contract's own.

    Attributes:
        status_invalid: Status of what a schema refuses.
        status_rule: Status of a broken rule that a schema cannot say (expiry window, one currency, cursors).
        status_not_open: Status when a session is no longer open.
        idempotency_reuse: A key with another request: `replay` the first answer or `reject` (409).
        idempotency_in_flight: A key whose first request is under way: `wait` for it or `conflict` (409).
        unknown_fields: Unknown properties of a body: `ignore` (with an advice) or `reject` (400).
        signature_header: The header that carries a webhook's signature.
        signature_encoding: How the signature is written there: `base64` or `hex`.
        currencies: What the accounts may charge; empty means every ISO 4217 code.
    """

    status_invalid: int = 400
    status_rule: int = 422
    status_not_open: int = 409
    idempotency_reuse: str = "replay"
    idempotency_in_flight: str = "wait"
    unknown_fields: str = "ignore"
    signature_header: str = "x-qashier-sign"
    signature_encoding: str = "base64"
    currencies: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str) -> Policy:
        """A policy from TOML; `ValueError` says why it is none."""
        import tomllib  # noqa: PLC0415 - few servers have a policy

        return cls.parse(tomllib.loads(text))

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> Policy:
        """A policy from a TOML table.

        Raises:
            PolicyError: An unknown field (the nearest known one is named) or a value that is no choice.
        """
        known = [each.name for each in fields(cls)]
        values: dict[str, Any] = {}
        for name, value in table.items():
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else f"; the known fields are {', '.join(known)}"
                raise PolicyError(f"unknown policy field {name!r}{hint}")
            values[name] = _checked(name, value)
        return cls(**values)

    def status(self, kind: ErrorKind) -> int:
        """The HTTP status of a kind of refusal."""
        if kind is ErrorKind.INVALID:
            return self.status_invalid
        if kind is ErrorKind.RULE:
            return self.status_rule
        if kind is ErrorKind.NOT_OPEN:
            return self.status_not_open
        return _STATUS[kind]


def _checked(name: str, value: Any) -> Any:
    if name.startswith("status_"):
        if isinstance(value, bool) or not isinstance(value, int) or value not in _CLIENT_ERRORS:
            raise PolicyError(f"policy field {name} must be a status from 400 to 499, not {value!r}")
        return value
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise PolicyError(f"policy field {name} must be one of {', '.join(CHOICES[name])}, not {value!r}")
        return value
    if name == "currencies":
        if not isinstance(value, list) or not all(isinstance(code, str) and _CODE.fullmatch(code) for code in value):
            raise PolicyError(f'policy field currencies must be a list of codes such as ["SGD"], not {value!r}')
        return tuple(value)
    if not isinstance(value, str) or not value.isascii() or not value.replace("-", "").isalnum():
        raise PolicyError(f"policy field {name} must be a header name such as x-qashier-sign, not {value!r}")
    return value.lower()
