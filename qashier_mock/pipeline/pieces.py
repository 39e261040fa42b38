"""Read large bodies in pieces, so that other requests go on, and memory stays within a few times the body.

A large body is an object with long arrays. The reader finds where their elements end, parses and validates about 64 KiB
of them, and lets other requests go on. It stops at the first invalid element. The number of values in an element is
bounded, because `[[[]]]` takes thirty times its size once it is parsed, and so is that of an object's properties.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import orjson

from qashier_mock.pipeline.refusal import Reason, Refused
from qashier_mock.pipeline.schemas import Schema

JSON = dict[str, Any]

PIECE: Final = 64 * 1024
"""Bytes of elements that are parsed at once; a single element may be larger."""
MAX_ELEMENT: Final = 4 * 1024 * 1024
"""Bytes of one element, and of a property that is no array."""
MAX_VALUES: Final = 50_000
"""Values in one of them, and properties of a body."""
DEPTH: Final = 250
"""Levels of nesting. orjson reads more, but nobody could write them again: it stops at 254."""
TURN: Final = 8_192
"""Brackets, commas and strings that are scanned before other requests go on."""
NAMES: Final = 256
"""Properties that are read before other requests go on."""

_OPENING: Final = frozenset(b"[{")
_CLOSING: Final = frozenset(b"]}")
_COMMA, _QUOTE = b',"'

_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEY: Final = re.compile(rb"[ \t\n\r]*(" + _STRING + rb")[ \t\n\r]*:[ \t\n\r]*")
_TOKEN: Final = re.compile(_STRING + rb'|[\[\]{},"]')  # a quote alone begins a string that does not end
_BLANK: Final = re.compile(rb"[ \t\n\r]*")


class PieceReader:
    """Reads the bodies of one schema, which takes objects only."""

    __slots__ = ("_counted", "_items", "_whole")

    def __init__(self, source: JSON) -> None:
        arrays = {
            name: sub
            for name, sub in source.get("properties", {}).items()
            if sub.get("type") == "array" and "items" in sub
        }
        self._items = {name: Schema(sub["items"]) for name, sub in arrays.items()}
        bare = {name: {key: each for key, each in sub.items() if key != "items"} for name, sub in arrays.items()}
        self._counted = {name for name, sub in bare.items() if sub.keys() & {"minItems", "maxItems", "uniqueItems"}}
        self._whole = Schema({**source, "properties": {**source["properties"], **bare}} if bare else source)

    async def read(self, raw: bytes) -> JSON:
        """Return the value of a body.

        Raises:
            Refused: Not JSON, not valid, or with an element that is too large.
        """
        at = _skip(raw, 0)
        if raw[at : at + 1] != b"{":
            raise _not_json(at)
        value: JSON = {}
        at = _skip(raw, at + 1)
        mark = raw[at : at + 1]
        while mark != b"}":
            key = _KEY.match(raw, at + (mark == b","))
            if key is None or (mark != b"," and value):
                raise _not_json(at)
            name, at = _parse(raw, key.start(1), key.end(1)), key.end()
            if name in self._items and raw[at : at + 1] == b"[":
                value[name], at = await self._read_array(raw, at + 1, name)
            else:
                end = await _find_end(raw, at)
                value[name], at = _parse(raw, at, end), end
            if not len(value) % NAMES:
                if len(value) > MAX_VALUES:
                    raise _too_much(f"has more than {MAX_VALUES} properties; send fewer")
                await asyncio.sleep(0)
            at = _skip(raw, at)
            mark = raw[at : at + 1]
        if _skip(raw, at + 1) != len(raw):
            raise _not_json(at)
        # The elements have been judged, and judging takes time for each, whatever is asked of it.
        plain = self._items.keys() - self._counted
        bare = {name: [] if name in plain and isinstance(each, list) else each for name, each in value.items()}
        if not self._whole.is_valid(bare):
            raise self._whole.refusal(value)
        return value

    async def _read_array(self, raw: bytes, start: int, name: str) -> tuple[list[Any], int]:
        """Return the elements of the array that has begun before `start`, and where it ends."""
        schema, at = self._items[name], start
        elements: list[Any] = []
        while True:
            end = await _find_end(raw, at, at_least=PIECE)
            is_last = raw[end : end + 1] == b"]"
            if _skip(raw, at) < end or not is_last or at > start:
                for each in _parse(raw, at, end, is_array=True):
                    if not schema.is_valid(each):
                        raise schema.refusal(each, at=(name, len(elements)))
                    elements.append(each)
            if is_last:
                return elements, end + 1
            at = end + 1
            await asyncio.sleep(0)


def _skip(raw: bytes, at: int) -> int:
    match = _BLANK.match(raw, at)
    return at if match is None else match.end()


def _parse(raw: bytes, start: int, end: int, *, is_array: bool = False) -> Any:
    piece = raw[start:end]
    if is_array and not piece.strip():
        raise _not_json(start)  # nothing stands between two commas, or behind the last
    try:
        return orjson.loads(b"[" + piece + b"]" if is_array else piece)
    except orjson.JSONDecodeError:
        raise _not_json(start) from None


async def _find_end(raw: bytes, start: int, *, at_least: int = 0) -> int:  # noqa: C901 - one loop, one look at each token
    """Return where a value ends: at the comma or bracket behind it. With `at_least`, of so many bytes of values.

    Raises:
        Refused: It ends nowhere, is too large, or is nested too deeply.
    """
    depth = values = 0
    last = start  # where the value that is looked at begins
    for count, token in enumerate(_TOKEN.finditer(raw, start), 1):
        at, mark = token.start(), raw[token.start()]
        if token.end() - last > MAX_ELEMENT:
            raise _too_much(f"has a value of more than {MAX_ELEMENT} bytes; send a smaller one")
        if mark in _OPENING:
            depth += 1
            values += 1
        elif mark in _CLOSING:
            if not depth:
                return at
            depth -= 1
        elif mark == _COMMA and not depth:
            if at - start >= at_least:
                return at
            last, values = at, 0
        elif mark == _COMMA:
            values += 1
        elif mark == _QUOTE and token.end() == at + 1:
            break
        if depth > DEPTH:
            raise _too_much(f"is nested too deeply; {DEPTH} levels are enough for anything")
        if values > MAX_VALUES:
            raise _too_much(f"has a value that holds more than {MAX_VALUES} values; send a smaller one")
        if not count % TURN:
            await asyncio.sleep(0)
    raise _not_json(start)


def _too_much(what: str) -> Refused:
    return Refused(Reason.BODY_INVALID, f"The body {what}.")


def _not_json(at: int) -> Refused:
    return Refused(Reason.BODY_INVALID, f"The body is not valid JSON somewhere behind byte {at}. Send a JSON object.")
