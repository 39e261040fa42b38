"""The OpenAPI documents as tests read them, and ways through them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from openapi_schema_validator import OAS30Validator

from qashier_mock.pipeline.export import bundle

JSON = dict[str, Any]
OPENAPI = Path(__file__).parents[2] / "openapi"
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
TYPES = {"object", "array", "string", "integer", "number", "boolean"}
DATA = {
    "example",
    "examples",
    "enum",
    "default",
    "x-clauses",
    "x-extensible-enum",
}  # what stands below these is no schema


def load(name: str) -> JSON:
    content: JSON = yaml.load((OPENAPI / name).read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return content


PUBLIC = load("qashier.yaml")
CONTROL = load("control.yaml")
DOCUMENTS = {"qashier": PUBLIC, "control": bundle(CONTROL, load)}

both = pytest.mark.parametrize("name", ["qashier", "control"])


def walk(node: Any, path: str = "") -> Iterator[tuple[str, JSON]]:
    """Every object of a document that is no data, with where it stands."""
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            if key not in DATA:
                yield from walk(value, f"{path}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from walk(value, f"{path}/{index}")


def schemas(document: JSON) -> Iterator[tuple[str, JSON]]:
    for path, node in walk(document):
        kind = node.get("type")
        if isinstance(kind, str) and kind in TYPES:
            yield path, node


def resolved(document: JSON, node: JSON) -> JSON:
    while "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def operations(document: JSON) -> Iterator[tuple[str, JSON]]:
    for item in document["paths"].values():
        for method, operation in item.items():
            if method in METHODS:
                yield operation["operationId"], operation


def reachable(document: JSON, node: Any, seen: set[int] | None = None) -> Iterator[tuple[str, JSON]]:
    """Every object below a node, references followed, with the name of the component or the field it stands at."""
    seen = set() if seen is None else seen
    if isinstance(node, list):
        for each in node:
            yield from reachable(document, each, seen)
    elif isinstance(node, dict):
        name = node["$ref"].rpartition("/")[2] if isinstance(node.get("$ref"), str) else ""
        node = resolved(document, node) if name else node
        if id(node) not in seen:
            seen.add(id(node))
            yield name, node
            for key, value in node.items():
                if key not in DATA:
                    yield from reachable(document, value, seen)


def bodies(document: JSON, *, of: str) -> Iterator[JSON]:
    """The media types of all `requests` or `answers` of the operations, webhooks aside."""
    for _, operation in operations(document):
        carriers = [operation["requestBody"]] if "requestBody" in operation else []
        if of == "answers":
            carriers = [resolved(document, response) for response in operation["responses"].values()]
        for carrier in carriers:
            yield from carrier.get("content", {}).values()


def examples(document: JSON) -> Iterator[tuple[str, JSON, Any]]:
    """Every example of a document: where it stands, its schema, its value."""
    for path, node in walk(document):
        if "schema" in node:
            named = {"": {"value": node["example"]}} if "example" in node else node.get("examples", {})
            for name, example in named.items():
                yield f"{path}/{name}", node["schema"], resolved(document, example)["value"]


def valid_in_30(document: JSON, schema: JSON, value: Any) -> bool:
    return bool(OAS30Validator({**schema, "components": document["components"]}).is_valid(value))


def valid_in_31(document: JSON, schema: JSON, value: Any) -> bool:
    whole = {**schema, "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(whole).is_valid(value)
