"""What is wrong with a JSON value, by a Draft 4 schema. Violations are found one by one, on demand.

jsonschema-rs says whether a value is valid, which is fast. To say what is wrong, it collects every violation with a
copy of the value: for a body of 10 MB that took 1.1 GB. Here nothing is copied.

Values are what orjson reads: exactly dict, list, str, int, float, bool and None. References have been resolved.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

JSON = dict[str, Any]
Path = tuple[str | int, ...]

TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
BRANCH_LIMIT: Final = 20
"""Violations of one alternative that are looked at, to find out which alternative was meant."""


@dataclasses.dataclass(frozen=True, slots=True)
class Violation:
    """One violation.

    Attributes:
        kind: The keyword that is broken.
        path: Where the value stands.
        schema: The schema that the keyword belongs to.
        name: The property that is missing, or that is not allowed.
        branches: The violations of each alternative, for `anyOf` and `oneOf`.
    """

    kind: str
    path: Path
    schema: JSON
    value: Any
    name: str | None = None
    branches: tuple[Sequence[Violation], ...] = ()


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of JSON Schema: `$` is the end of the text, not a place before a last line break."""
    return re.compile(re.sub(r"(?<!\\)\$\Z", r"\\Z", pattern), re.ASCII)


def _are_unique(values: Sequence[Any]) -> bool:
    return len({_frozen(value) for value in values}) == len(values)


def _frozen(value: Any) -> Any:
    """Return something hashable that is equal where JSON values are: 1 is 1.0, but not true."""
    if isinstance(value, dict):
        return frozenset((name, _frozen(each)) for name, each in value.items())
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return (value, "bool") if isinstance(value, bool) else value


def violations(schema: JSON, value: Any, path: Path) -> Iterator[Violation]:
    """Find the violations of a value that stands at `path`, one after the other."""
    is_scalar = type(value) not in {dict, list}
    kinds = schema.get("type", TYPES)
    if not any(type(value) in TYPES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield Violation("type", path, schema, value)
        if not is_scalar:
            return  # nothing more of it is looked at, however large it is
    if "enum" in schema and _frozen(value) not in {_frozen(each) for each in schema["enum"]}:
        yield Violation("enum", path, schema, value)
    for kind, find in _FINDERS.items():
        if type(value) is kind:
            yield from find(schema, value, path)
    yield from _of_alternatives(schema, value, path)


def _of_size(schema: JSON, value: Any, path: Path, what: str) -> Iterator[Violation]:
    if len(value) < schema.get(f"min{what}", 0):
        yield Violation(f"min{what}", path, schema, value)
    if len(value) > schema.get(f"max{what}", len(value)):
        yield Violation(f"max{what}", path, schema, value)


def _of_string(schema: JSON, value: str, path: Path) -> Iterator[Violation]:
    yield from _of_size(schema, value, path, "Length")
    if "pattern" in schema and not compile_pattern(schema["pattern"]).search(value):
        yield Violation("pattern", path, schema, value)


def _of_array(schema: JSON, value: list[Any], path: Path) -> Iterator[Violation]:
    yield from _of_size(schema, value, path, "Items")
    if "items" in schema:
        for index, each in enumerate(value):
            yield from violations(schema["items"], each, (*path, index))
    if schema.get("uniqueItems") and not _are_unique(value):
        yield Violation("uniqueItems", path, schema, value)


def _of_number(schema: JSON, value: float, path: Path) -> Iterator[Violation]:
    low, high = schema.get("minimum", value), schema.get("maximum", value)
    if value < low or (value == low and "minimum" in schema and schema.get("exclusiveMinimum")):
        yield Violation("minimum", path, schema, value)
    if value > high or (value == high and "maximum" in schema and schema.get("exclusiveMaximum")):
        yield Violation("maximum", path, schema, value)
    if "multipleOf" in schema and value % schema["multipleOf"]:
        yield Violation("multipleOf", path, schema, value)


def _of_object(schema: JSON, value: JSON, path: Path) -> Iterator[Violation]:
    yield from _of_size(schema, value, path, "Properties")
    properties, additional = schema.get("properties", {}), schema.get("additionalProperties", True)
    foreign = min((name for name in value if name not in properties), default=None) if additional is False else None
    missing = [name for name in schema.get("required", ()) if name not in value]
    # A misspelt name is both unknown and missing: it says more to name what was sent.
    if foreign is not None and missing:
        yield Violation("additionalProperties", path, schema, value, foreign)
    for name in missing:
        yield Violation("required", path, schema, value, name)
    # Of a closed object in the order of what was sent, else of the schema.
    for name in properties if additional is True else value:
        if name in value and (name in properties or isinstance(additional, dict)):
            yield from violations(properties.get(name, additional), value[name], (*path, name))
    if foreign is not None and not missing:
        yield Violation("additionalProperties", path, schema, value, foreign)


def _of_alternatives(schema: JSON, value: Any, path: Path) -> Iterator[Violation]:
    for sub in schema.get("allOf", ()):
        for found in violations(sub, value, path):
            # What is expected here is what the schema as a whole wants, with the words that it has for it.
            yield dataclasses.replace(found, schema=schema) if found.schema is sub else found
    for kind in ("anyOf", "oneOf"):
        if kind in schema:
            branches = [list(islice(violations(sub, value, path), BRANCH_LIMIT)) for sub in schema[kind]]
            fitting = sum(not branch for branch in branches)
            if not fitting or (kind == "oneOf" and fitting > 1):
                yield Violation(kind, path, schema, value, branches=tuple(branch for branch in branches if branch))
    if "not" in schema and next(violations(schema["not"], value, path), None) is None:
        yield Violation("not", path, schema, value)


Find = Callable[[JSON, Any, Path], Iterator[Violation]]
_FINDERS: Final[Mapping[type, Find]] = {
    dict: _of_object,
    list: _of_array,
    str: _of_string,
    int: _of_number,
    float: _of_number,
}
