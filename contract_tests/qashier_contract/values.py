"""JSON values as they come: reading them, and comparing them as JSON does, not as Python does.

A target may answer anything, so every look inside a value checks what it finds.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeAlias, TypeGuard

Json: TypeAlias = Any
"""What `json.loads` gives."""


class NotJson:
    """The type of `NOT_JSON`."""

    def __repr__(self) -> str:
        return "<not JSON>"


DEPTH_MOST: Final = 64
"""How deeply a value may be nested; no answer of the API has more than six levels."""
NOT_JSON: Final = NotJson()
"""Stands for a body that is no JSON; `None` is what JSON calls null."""


def read_json(body: bytes) -> Json:
    """The JSON value of a body, or `NOT_JSON`. Of a repeated key the last one counts; NaN and Infinity are no JSON."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        text = body.decode("utf-8")
        return NOT_JSON if _is_too_deep(text) else json.loads(text, parse_constant=refuse)
    except ValueError:
        return NOT_JSON


def _is_too_deep(text: str) -> bool:
    """Whether a text is nested so deeply that comparing or writing the value could exhaust the stack."""
    if text.count("[") + text.count("{") <= DEPTH_MOST:
        return False
    brackets = re.sub(r"[^][{}]+", "", re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.DOTALL))
    for _ in range(DEPTH_MOST):
        inner = brackets.replace("[]", "").replace("{}", "")
        if not inner:
            return False
        if inner == brackets:
            break  # it ends nowhere
        brackets = inner
    return True


def has_repeated_keys(body: bytes) -> bool:
    """Whether an object in a JSON text has a key twice; false for what is no JSON."""
    repeated = False

    def note(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        nonlocal repeated
        found = dict(pairs)
        repeated = repeated or len(found) < len(pairs)
        return found

    try:
        text = body.decode("utf-8")
        if not _is_too_deep(text):
            json.loads(text, object_pairs_hook=note)
    except ValueError:
        return False
    return repeated


def same(first: Json, second: Json) -> bool:
    """Whether two JSON values are equal, numbers by their type as well."""
    kind = type(first)
    if kind is not type(second):
        return False
    if kind is dict:
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    if kind is list:
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return bool(first == second)


def is_integer(value: Json) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def is_of_type(value: Json, name: str) -> bool:
    """Whether a value is of a JSON type. 2.0 is a number and no integer."""
    if name in {"integer", "number"}:
        return is_integer(value) or (name == "number" and isinstance(value, float))
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool}
    return name == "JSON" or isinstance(value, kinds[name])


def differing_paths(first: Json, second: Json) -> list[tuple[str | int, ...]]:
    """Where two JSON values differ: the paths to the innermost values that do, members before items."""
    if isinstance(first, dict) and isinstance(second, dict):
        found: list[tuple[str | int, ...]] = [(name,) for name in sorted(first.keys() ^ second.keys())]
        for name in sorted(first.keys() & second.keys()):
            found += [(name, *path) for path in differing_paths(first[name], second[name])]
        return found
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return [
            (place, *path)
            for place, (one, other) in enumerate(zip(first, second, strict=True))
            for path in differing_paths(one, other)
        ]
    return [] if same(first, second) else [()]


def as_words(value: Json, *, most: int = 160) -> str:
    """A value as JSON for people, of about `most` characters. What is left out is counted, and no token is cut."""
    text = _dumped(value)
    if len(text) <= most:
        return text
    if isinstance(value, str):
        return f"{_dumped(_beginning(value, most * 2 // 3) + '…')} of {len(value)} characters"
    if not isinstance(value, dict | list):
        return f"{text[: most * 2 // 3]}… of {len(text)} characters"
    shown: list[str] = []
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in members:
        words = as_words(inner, most=max(24, most // 3))
        shown.append(f"{_dumped(name)}: {words}" if isinstance(value, dict) else words)
        if sum(len(part) + 2 for part in shown) > most - 24:
            break
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    rest = f", … {len(value)} in all" if len(shown) < len(value) else ""
    return f"{opening}{', '.join(shown)}{rest}{closing}"


def _dumped(value: Json) -> str:
    # Half a surrogate pair is valid in JSON text, and in no output.
    text = repr(value) if isinstance(value, NotJson) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _beginning(text: str, most: int) -> str:
    """The beginning of a long text, up to where a word ends, or else a part of a URL."""
    for marks in (" \n\t", "/?&=,;"):
        cut = max(text.rfind(mark, most // 2, most) for mark in marks)
        if cut > 0:
            return text[: cut + 1]
    return text[:most]
