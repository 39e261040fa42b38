"""JSON values as they come: reading them, and comparing them as JSON does, not as Python does.

A target may answer anything, so every look inside a value checks what it finds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Mapping

Json: TypeAlias = Any
"""What `json.loads` gives."""


class NotJson:
    """The type of `NOT_JSON`."""

    def __repr__(self) -> str:
        return "<not JSON>"


NOT_JSON: Final = NotJson()
"""Stands for a body that is no JSON; `None` is what JSON calls null."""


def read_json(body: bytes) -> Json:
    """The JSON value of a body, or `NOT_JSON`. Of a repeated key the last one counts; NaN and Infinity are no JSON."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        return json.loads(body.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError):
        return NOT_JSON


def differences(first: Mapping[str, Json], second: Mapping[str, Json]) -> list[str]:
    """The names of the properties in which two sessions differ. 1 and 1.0 and true are three values."""
    return [
        name
        for name in sorted({*first, *second})
        if name not in first or name not in second or not same(first[name], second[name])
    ]


def same(first: Json, second: Json) -> bool:
    """Whether two JSON values are equal, numbers by their type as well."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return type(first) is type(second) and bool(first == second)


def is_integer(value: Json) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
