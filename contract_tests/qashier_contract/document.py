"""The shapes of `openapi/qashier.yaml`, with a relaxed view to judge any target by and a closed one for our own mock.

An implementation may add properties. What is left after relaxing is what the documentation states: which properties
there are, of which type, and which words an enum has. Bounds and forms are clauses of their own. The mock adds nothing
to its answers, so the closed view ends what the document leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft4Validator
from jsonschema.exceptions import relevance

from qashier_contract.values import Json

_PACKAGES: Final = Path(__file__).resolve().parent.parent
_PLACES: Final = (_PACKAGES.parent / "openapi", _PACKAGES / "qashier_mock" / "openapi")

_KEPT: Final = frozenset({"type", "required", "properties", "items", "enum", "allOf", "anyOf", "oneOf", "$ref"})


class DocumentMissing(Exception):
    """`qashier.yaml` is neither beside this package nor in the installed mock."""


@cache
def document() -> dict[str, Any]:
    """The public contract, as it is in the file.

    Raises:
        DocumentMissing: The file is not where it should be.
    """
    for place in _PLACES:
        path = place / "qashier.yaml"
        if path.is_file():
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            loaded: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe loader, in C where there is one
            return loaded
    looked = " or ".join(str(place) for place in _PLACES)
    raise DocumentMissing(f"qashier.yaml is not in {looked}")


def closed_document() -> dict[str, Any]:
    """The contract with its open answers closed and its extensible enums ended: what our own mock answers exactly."""
    closed: dict[str, Any] = _closed(document())
    return closed


def _closed(node: Json) -> Json:
    if isinstance(node, list):
        return [_closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    names = {"x-extensible-enum": "enum"}
    copied = {names.get(word, word): _closed(value) for word, value in node.items()}
    if copied.get("additionalProperties") is True:
        copied["additionalProperties"] = False
    return copied


def _resolve(reference: str) -> Json:
    node: Json = document()
    for step in reference.removeprefix("#/").split("/"):
        node = node[step.replace("~1", "/").replace("~0", "~")]
    return node


def relaxed(schema: Json) -> Json:
    """The schema without what an implementation is free to do otherwise, its references resolved.

    What is left of OpenAPI 3.0 is JSON Schema draft 4, of which it is a dialect; `nullable` becomes a second type.
    """
    if "$ref" in schema:
        return relaxed(_resolve(schema["$ref"]))
    kept: dict[str, Json] = {}
    for word, value in schema.items():
        if word == "x-extensible-enum":
            kept["enum"] = value  # what the documentation names today
        if word not in _KEPT:
            continue
        if word == "type" and schema.get("nullable"):
            kept[word] = [value, "null"]
        elif word == "properties":
            kept[word] = {name: relaxed(inner) for name, inner in value.items()}
        elif word == "items":
            kept[word] = relaxed(value)
        elif word in {"allOf", "anyOf", "oneOf"}:
            kept[word] = [relaxed(inner) for inner in value]
        else:
            kept[word] = value
    return kept


@cache
def _validator(name: str) -> Any:
    return Draft4Validator(_relaxed_component(name))


@dataclass(frozen=True, slots=True)
class ShapeError:
    """Where a value leaves a shape: the path, which rule (`type`, `enum`), and what the rule wants.

    A property that is missing counts as one of the wrong type, at its own path.
    """

    path: tuple[str | int, ...]
    rule: str
    wanted: Json


def shape_errors(name: str, value: Json) -> tuple[ShapeError, ...]:
    """Where a value leaves the relaxed shape of a schema of the document, the most telling place first."""
    found: list[ShapeError] = []
    for error in sorted(_validator(name).iter_errors(value), key=relevance):
        path, rule = tuple(error.absolute_path), str(error.validator)
        if rule == "required":
            known = error.schema.get("properties", {})
            missing = [each for each in error.validator_value if each not in error.instance]
            found += [ShapeError((*path, each), "type", known.get(each, {}).get("type", "JSON")) for each in missing]
        elif rule == "enum":
            found.append(ShapeError(path, rule, error.validator_value))
        else:
            found.append(ShapeError(path, "type", error.schema.get("type", "object")))
    return tuple(found)


def named(name: str, value: Json) -> Json:
    """A value without the properties that the document does not name, at every depth."""
    return _pruned(_relaxed_component(name), value)


@cache
def _relaxed_component(name: str) -> Json:
    return relaxed({"$ref": f"#/components/schemas/{name}"})


def _pruned(schema: Json, value: Json) -> Json:
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        return {name: _pruned(known[name], inner) for name, inner in sorted(value.items()) if name in known}
    if isinstance(value, list) and "items" in schema:
        return [_pruned(schema["items"], inner) for inner in value]
    return value


@cache
def currencies() -> frozenset[str]:
    """The active ISO 4217 codes."""
    return frozenset(_resolve("#/components/schemas/CurrencyCode")["enum"])
