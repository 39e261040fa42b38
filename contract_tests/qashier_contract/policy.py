"""The open choices: what the documentation leaves to an implementation, as a tester fixed it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from qashier_contract.errors import CheckError
from qashier_contract.values import is_integer

_CHOICES: Final = {
    "idempotency_reuse": ("replay", "reject"),
    "idempotency_in_flight": ("wait", "conflict"),
    "unknown_fields": ("ignore", "reject"),
    "signature_encoding": ("base64", "hex"),
}
_WANTED: Final = {
    "status": "a status from 400 to 499",
    "currencies": 'a list of codes such as ["SGD"]',
    "signature": "the name of a header",
}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Answers to what the documentation leaves open. None means: any answer that the contract allows."""

    status_invalid: int | None = None
    status_rule: int | None = None
    status_not_open: int | None = None
    idempotency_reuse: str | None = None
    idempotency_in_flight: str | None = None
    unknown_fields: str | None = None
    signature_header: str = "x-qashier-sign"
    signature_encoding: str = "base64"
    currencies: tuple[str, ...] | None = None


def read_policy(path: Path) -> Policy:
    """A policy from a TOML file.

    Raises:
        CheckError: It cannot be read, or names what is not an open choice.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckError(f"{path}: {error}") from error
    known = {entry.name for entry in fields(Policy)}
    if unknown := sorted(set(table) - known):
        raise CheckError(f"{path}: {unknown[0]} is not an open choice; there are {', '.join(sorted(known))}")
    for name, value in table.items():
        if not _is_choice(name, value):
            wanted = " or ".join(_CHOICES[name]) if name in _CHOICES else _WANTED[name.partition("_")[0]]
            raise CheckError(f"{path}: {name} must be {wanted}, not {value!r}")
    if "currencies" in table:
        table["currencies"] = tuple(table["currencies"])
    return Policy(**table)


def _is_choice(name: str, value: object) -> bool:
    if name in _CHOICES:
        return value in _CHOICES[name]
    if name.startswith("status_"):
        return is_integer(value) and 400 <= value < 500
    if name == "currencies":
        return isinstance(value, list) and all(isinstance(code, str) for code in value)
    return isinstance(value, str)
