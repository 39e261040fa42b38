"""Find fields of a body that its schema does not name. They are allowed, but often a typing error."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from qashier_mock.pipeline import wording

JSON = dict[str, Any]

MAX_UNKNOWN: Final = 20
"""Unknown fields that are reported of one body."""


@dataclasses.dataclass(frozen=True, slots=True)
class UnknownField:
    """A property of the body that the schema does not name, and the nearest name that it does."""

    path: str
    nearest: str | None


def compile_walker(schema: JSON) -> Walker | None:
    """Compile the search for fields that a schema does not name.

    None where nothing can be unknown: free objects, objects that take no others, scalars. A schema with alternatives
    knows the fields of all.
    """
    known, items = _shape(schema)
    names = None if known is None or schema.get("additionalProperties") is False else frozenset(known)
    below: dict[str, Walker] = {}
    for name, sub in (known or {}).items():
        deeper = compile_walker(sub)
        if deeper is not None:
            below[name] = deeper
    each = compile_walker(items) if items is not None else None
    return None if names is None and not below and each is None else Walker(names, below, each)


def close(schema: JSON) -> JSON | None:
    """Return a schema that takes what is valid by this one and has no unknown field, and nothing else.

    None where alternatives have fields: what one does not name another may.
    """
    if compile_walker(schema) is None:
        return schema
    if any(key in schema for key in ("allOf", "anyOf", "oneOf", "not")):
        return None
    closed = dict(schema)
    if "properties" in schema:
        closed["properties"] = {name: close(sub) for name, sub in schema["properties"].items()}
        closed["additionalProperties"] = False
    if "items" in schema:
        closed["items"] = close(schema["items"])
    below = [*closed.get("properties", {}).values(), closed.get("items", {})]
    return None if None in below else closed


class Walker:
    """The search for unknown fields in a value of one schema."""

    __slots__ = ("_below", "_each", "_names")

    def __init__(self, names: frozenset[str] | None, below: Mapping[str, Walker], each: Walker | None) -> None:
        self._names = names
        self._below = tuple(below.items())
        self._each = each

    def find(self, value: Any, path: str, found: list[UnknownField]) -> None:
        """Add the fields that the schema does not name to `found`, at most `MAX_UNKNOWN` in all."""
        names = self._names
        if type(value) is dict:
            if names is not None and not value.keys() <= names:
                found.extend(
                    UnknownField(wording.path([name], prefix=path), wording.nearest(name, names))
                    for name in sorted(value.keys() - names)[: MAX_UNKNOWN - len(found)]
                )
            for name, deeper in self._below:
                deeper.find(value.get(name), f"{path}.{name}" if path else name, found)
        elif self._each is not None and type(value) is list:
            for i, element in enumerate(value):
                self._each.find(element, f"{path}[{i}]", found)


def _shape(schema: JSON) -> tuple[JSON | None, JSON | None]:
    """Return the named properties of an object (None if it is free) and the schema of an array's elements."""
    known: JSON | None = dict(schema["properties"]) if "properties" in schema else None
    items: JSON | None = schema.get("items")
    for key in ("allOf", "anyOf", "oneOf"):
        for sub in schema.get(key, ()):
            more, more_items = _shape(sub)
            items = items or more_items
            if more is not None:
                known = {**more, **(known or {})}
    if schema.get("additionalProperties", False) is not False:
        known = None
    return known, items
