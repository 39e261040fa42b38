"""Values as Python source: literals that may hold expressions, long repetitive ones folded, broken into lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from qashier_contract.values import Json

WIDTH: Final = 100
"""How many columns generated source has."""
_FOLD_FROM: Final = 64
"""Texts shorter than this are shown as they are."""
_LONGEST_PERIOD: Final = 24
_REPEATED: Final = re.compile(rf"(.{{1,{_LONGEST_PERIOD}}}?)\1{{7,}}", re.DOTALL)


class Code(str):
    """An expression, to be written as it stands."""

    __slots__ = ()


def literal(value: Json, *, indent: int = 0, used: int = 0) -> str:
    """A value as source: what `json.loads` gives, bytes, or `Code`, nested in any way.

    `indent` says how far the statement is indented, `used` how much of its first line is taken.
    """
    flat = _flat(value)
    if "\n" not in flat and indent + used + len(flat) <= WIDTH:
        return flat
    inner = " " * (indent + 4)
    if isinstance(value, dict) and value:
        parts = []
        for name, item in value.items():
            head = f"{_flat(name)}: "
            parts.append(f"{inner}{head}{literal(item, indent=indent + 4, used=len(head) + 1)},\n")
        return "{\n" + "".join(parts) + " " * indent + "}"
    if isinstance(value, list) and value:
        folded = _folded_list(value, indent)
        if folded is not None:
            return folded
        parts = [f"{inner}{literal(item, indent=indent + 4, used=1)},\n" for item in value]
        return "[\n" + "".join(parts) + " " * indent + "]"
    return flat


def _flat(value: Json) -> str:
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flat(name)}: {_flat(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        folded = _folded_list(value, None)
        return folded or "[" + ", ".join(_flat(item) for item in value) + "]"
    if isinstance(value, str | bytes):
        return _text(value)
    return repr(value)


def called(source: str, method: str) -> str:
    """A method of a value that is called, as source: a text that is written as a product needs parentheses."""
    return f"({source}).{method}()" if re.search(r"[\"'] \* \d+$", source) else f"{source}.{method}()"


def _folded_list(items: Sequence[Json], indent: int | None) -> str | None:
    """`[item] * n` for a list of many equal items; None for another."""
    if len(items) < 4 or any(item != items[0] or type(item) is not type(items[0]) for item in items):
        return None
    one = _flat([items[0]]) if indent is None else literal([items[0]], indent=indent, used=8)
    return f"{one} * {len(items)}"


def _text(value: str | bytes) -> str:
    """A text or bytes as source; what repeats is written as a product."""
    if len(value) < _FOLD_FROM:
        return quoted(value)
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    terms: list[str] = []
    start = 0

    def take(part: str, times: int) -> None:
        shown = quoted(part.encode("latin-1") if isinstance(value, bytes) else part)
        terms.extend([shown if times == 1 else f"{shown} * {times}"] if part else [])

    for match in _REPEATED.finditer(text):
        if len(match[0]) >= _FOLD_FROM // 2:
            take(text[start : match.start()], 1)
            take(match[1], len(match[0]) // len(match[1]))
            start = match.end()
    take(text[start:], 1)
    return terms[0] if len(terms) == 1 else f"({' + '.join(terms)})"


def quoted(value: str | bytes) -> str:
    """A text or bytes as source, in double quotes where nothing speaks against it."""
    shown = repr(value)
    if '"' in shown or "\\'" in shown or not shown.endswith("'"):
        return shown
    return shown.replace("'", '"')
