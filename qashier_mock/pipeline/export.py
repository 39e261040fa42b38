"""Documents made from documents: one file out of several, OpenAPI 3.1 out of 3.0.

Pure: nothing is read or changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

JSON = dict[str, Any]

VERSION_31: Final = "3.1.0"

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

# Where the schemas of a document stand: for each kind of object, which fields lead to objects of which kind. A kind in
# brackets stands for a list of it, one in braces for a map to it. What is not named here holds no schema.
_GRAMMAR: Final[Mapping[str, Mapping[str, str]]] = {
    "document": {"paths": "{path}", "x-webhooks": "{path}", "components": "components"},
    "components": {
        "schemas": "{schema}",
        "responses": "{response}",
        "parameters": "{parameter}",
        "requestBodies": "{body}",
        "headers": "{parameter}",
        "callbacks": "{callback}",
    },
    "path": {"parameters": "[parameter]", **dict.fromkeys(_METHODS, "operation")},
    "operation": {
        "parameters": "[parameter]",
        "requestBody": "body",
        "responses": "{response}",
        "callbacks": "{callback}",
    },
    "callback": {"*": "path"},
    "parameter": {"schema": "schema", "content": "{media}"},
    "body": {"content": "{media}"},
    "response": {"headers": "{parameter}", "content": "{media}"},
    "media": {"schema": "schema", "encoding": "{encoding}"},
    "encoding": {"headers": "{parameter}"},
    "schema": {
        "properties": "{schema}",
        "additionalProperties": "schema",
        "items": "schema",
        "not": "schema",
        "allOf": "[schema]",
        "anyOf": "[schema]",
        "oneOf": "[schema]",
    },
}


def to_openapi31(document: Mapping[str, Any]) -> JSON:
    """Return the OpenAPI 3.1 document that means the same as an OpenAPI 3.0 document.

    `nullable` becomes a type, an enum of one value a `const`, a boolean `exclusiveMinimum` or `exclusiveMaximum` the
    number itself, a schema's `example` its `examples`, and `x-webhooks` the `webhooks` that it stands for.

    Raises:
        ValueError: A schema is `nullable` without a `type`, which in 3.0 means nothing.
    """
    exported: JSON = convert(document, "document", _schema31)
    exported["openapi"] = VERSION_31
    if "x-webhooks" in exported:
        exported["webhooks"] = exported.pop("x-webhooks")
    return exported


def convert(node: Any, kind: str, change: Callable[[JSON], JSON]) -> Any:
    """Copy what stands where the grammar expects `kind` (`document`, `schema` …), its schemas changed, inner first."""
    if kind.startswith("["):
        return [convert(each, kind[1:-1], change) for each in node]
    if kind.startswith("{"):
        return {name: convert(each, kind[1:-1], change) for name, each in node.items()}
    if not isinstance(node, dict) or "$ref" in node:  # `additionalProperties: false`; what is referred to is elsewhere
        return _copy(node)
    fields = _GRAMMAR[kind]
    copied: JSON = {}
    for name, value in node.items():
        below = fields.get(name) or ("" if name.startswith("x-") else fields.get("*"))
        copied[name] = convert(value, below, change) if below else _copy(value)
    return change(copied) if kind == "schema" else copied


def _schema31(schema: JSON) -> JSON:
    """Convert one schema's own keywords; those below are converted already."""
    if schema.pop("nullable", False):
        if "type" not in schema:
            raise ValueError(f"a nullable schema needs a type beside it: {schema}")
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema and None not in schema["enum"]:
            schema["enum"].append(None)
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if schema.pop(exclusive, False):
            schema[exclusive] = schema.pop(bound)
    if len(schema.get("enum", ())) == 1:
        [schema["const"]] = schema.pop("enum")
    if "example" in schema:
        schema["examples"] = [schema.pop("example")]
    return schema


def bundle(document: Mapping[str, Any], load: Callable[[str], Mapping[str, Any]]) -> JSON:
    """Return a document that refers to no other file: components of files beside it become its own.

    It refers to them as `other.yaml#/components/…`; `load` returns the content of such a file, given its name.

    Raises:
        ValueError: A reference leads elsewhere than to a named component, or to none, or two components of the same
            section and name would meet.
    """
    bundled = _Bundle(files={"": document}, load=load)
    for section, named in document.get("components", {}).items():
        for name in named:
            bundled.take("", section, name)
    rest: JSON = {name: bundled.relocated(value, "") for name, value in document.items() if name != "components"}
    return {**rest, "components": bundled.components} if bundled.components else rest


@dataclass(slots=True)
class _Bundle:
    """What one bundle has so far: the files it was made from, its components, and the file of each."""

    files: dict[str, Mapping[str, Any]]
    load: Callable[[str], Mapping[str, Any]]
    components: dict[str, JSON] = field(default_factory=dict)
    origins: dict[tuple[str, str], str] = field(default_factory=dict)

    def take(self, file: str, section: str, name: str) -> None:
        """Make a component of `file` one of the bundle's; a reference to its namesake elsewhere stands for that one."""
        if file not in self.files:
            self.files[file] = self.load(file)
        try:
            component = self.files[file]["components"][section][name]
        except KeyError:
            raise ValueError(f"{file or 'the document'} has no component {section}/{name}") from None
        target = _target(component, file)
        if target is not None and target[0] != file and target[1:] == (section, name):
            self.take(*target)
            return
        known = self.origins.setdefault((section, name), file)
        if known != file:
            where = " and ".join(sorted(each or "the document itself" for each in (known, file)))
            raise ValueError(f"two components are called {section}/{name}: in {where}")
        named = self.components.setdefault(section, {})
        if name not in named:
            named[name] = None  # its place, before what it refers to takes theirs; also ends cycles
            named[name] = self.relocated(component, file)

    def relocated(self, node: Any, file: str) -> Any:
        """Copy what stands in `file`, its references leading to components of the bundle."""
        if isinstance(node, list):
            return [self.relocated(each, file) for each in node]
        if not isinstance(node, dict):
            return node
        target = _target(node, file)
        if target is None:
            return {name: self.relocated(value, file) for name, value in node.items()}
        self.take(*target)
        return {**node, "$ref": f"#/components/{target[1]}/{target[2]}"}


def _target(node: Any, file: str) -> tuple[str, str, str] | None:
    """Return file, section and name of what a reference in `file` leads to; None for what is no reference."""
    reference = node.get("$ref") if isinstance(node, dict) else None
    if not isinstance(reference, str):
        return None
    path, _, pointer = reference.partition("#")
    parts = pointer.split("/")
    if len(parts) != 4 or parts[:2] != ["", "components"]:  # noqa: PLR2004 - "", components, section, name
        raise ValueError(f"a reference must lead to a named component, {reference!r} does not")
    return path or file, parts[2], parts[3]


def _copy(value: Any) -> Any:
    """Copy JSON: what YAML's aliases share is written out, so that nobody changes two places at once."""
    return orjson.loads(orjson.dumps(value))
