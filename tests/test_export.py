"""Documents made from documents: OpenAPI 3.1 out of 3.0, one file out of several, closed answers out of open ones."""

from __future__ import annotations

import copy
import re

import pytest
from judgement import closed
from openapi_harness import CONTROL, DOCUMENTS, JSON, PUBLIC, both, walk
from openapi_spec_validator import OpenAPIV31SpecValidator

from qashier_mock.pipeline.export import bundle, to_openapi31


@both
def test_the_export_is_valid_openapi_31_and_leaves_its_source_alone(name: str) -> None:
    before = copy.deepcopy(DOCUMENTS[name])
    exported = to_openapi31(DOCUMENTS[name])
    assert before == DOCUMENTS[name]
    OpenAPIV31SpecValidator(exported).validate()
    assert exported["openapi"] == "3.1.0"
    for _, node in walk(exported):
        assert "nullable" not in node
        assert not isinstance(node.get("exclusiveMinimum"), bool)
    assert exported.get("webhooks", {}).keys() == before.get("x-webhooks", {}).keys()
    assert "x-webhooks" not in exported


def test_the_export_says_nullable_const_and_bounds_in_the_words_of_31() -> None:
    schema: JSON = {
        "type": "object",
        "properties": {
            "nullable": {"type": "string", "nullable": True, "enum": ["a"], "example": "a"},
            "plain": {"type": "string", "nullable": False, "enum": ["a"]},
            "above": {
                "type": "number",
                "minimum": 0,
                "exclusiveMinimum": True,
                "maximum": 1,
                "exclusiveMaximum": False,
            },
            "data": {"type": "object", "default": {"nullable": True}, "example": {"nullable": True}},
            "enum": {"type": "array", "items": {"type": "integer", "nullable": True}},
        },
        "additionalProperties": {"allOf": [{"type": "boolean", "nullable": True}]},
    }
    exported = to_openapi31({"openapi": "3.0.3", "components": {"schemas": {"It": schema}}})["components"]["schemas"][
        "It"
    ]
    assert exported["properties"] == {
        "nullable": {"type": ["string", "null"], "enum": ["a", None], "examples": ["a"]},
        "plain": {"type": "string", "const": "a"},
        "above": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "data": {"type": "object", "default": {"nullable": True}, "examples": [{"nullable": True}]},
        "enum": {"type": "array", "items": {"type": ["integer", "null"]}},
    }
    assert exported["additionalProperties"] == {"allOf": [{"type": ["boolean", "null"]}]}


def test_the_export_reaches_schemas_wherever_they_stand() -> None:
    leaf = {"type": "string", "nullable": True}
    media = {"content": {"application/json": {"schema": leaf, "example": {"nullable": True}}}}
    operation = {
        "parameters": [{"name": "a", "in": "query", "schema": leaf}],
        "requestBody": media,
        "responses": {"200": {"description": "", "headers": {"schema": {"schema": leaf}}, **media}},
        "callbacks": {"later": {"{$request.body#/url}": {"post": {"requestBody": media}}}},
    }
    document = {"openapi": "3.0.3", "paths": {"/a": {"post": operation}}, "x-webhooks": {"get": {"get": operation}}}
    exported = to_openapi31(document)
    for converted in (exported["paths"]["/a"]["post"], exported["webhooks"]["get"]["get"]):
        new_media = {
            "content": {"application/json": {"schema": {"type": ["string", "null"]}, "example": {"nullable": True}}}
        }
        new_leaf = {"type": ["string", "null"]}
        assert converted["parameters"][0]["schema"] == new_leaf
        assert converted["requestBody"] == new_media
        assert converted["responses"]["200"]["headers"] == {"schema": {"schema": new_leaf}}
        assert converted["responses"]["200"]["content"] == new_media["content"]
        assert converted["callbacks"]["later"]["{$request.body#/url}"]["post"]["requestBody"] == new_media


def test_the_export_refuses_nullable_without_a_type() -> None:
    with pytest.raises(ValueError, match="needs a type"):
        to_openapi31({"components": {"schemas": {"It": {"nullable": True}}}})


def test_the_bundle_refers_to_no_other_file_and_repeats_no_shape() -> None:
    bundled = DOCUMENTS["control"]
    references = [node["$ref"] for _, node in walk(bundled) if isinstance(node.get("$ref"), str)]
    assert all(reference.startswith("#/components/") for reference in references)
    shared = PUBLIC["components"]["schemas"].keys() & bundled["components"]["schemas"].keys()
    assert {"CheckoutSession", "CheckoutEvent", "ErrorEnvelope", "LineItem"} <= shared
    assert not shared & CONTROL["components"]["schemas"].keys()
    assert all(bundled["components"]["schemas"][name] == PUBLIC["components"]["schemas"][name] for name in shared)


def test_bundling_changes_neither_document() -> None:
    main, other = copy.deepcopy(CONTROL), copy.deepcopy(PUBLIC)
    bundled = bundle(main, lambda _: other)
    bundled["components"]["schemas"]["ErrorEnvelope"]["properties"].clear()
    assert main == CONTROL
    assert other == PUBLIC


def test_bundling_follows_files_into_files_and_survives_cycles() -> None:
    files: dict[str, JSON] = {
        "a.yaml": {"components": {"schemas": {"A": {"items": {"$ref": "b.yaml#/components/schemas/B"}}}}},
        "b.yaml": {"components": {"schemas": {"B": {"not": {"$ref": "a.yaml#/components/schemas/A"}}}}},
    }
    main = {"paths": {"/": {"$ref": "a.yaml#/components/schemas/A"}}, "components": {"x-kept": {"a": 1}}}
    assert bundle(main, files.__getitem__) == {
        "paths": {"/": {"$ref": "#/components/schemas/A"}},
        "components": {
            "x-kept": {"a": 1},
            "schemas": {
                "A": {"items": {"$ref": "#/components/schemas/B"}},
                "B": {"not": {"$ref": "#/components/schemas/A"}},
            },
        },
    }


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"paths": {"$ref": "other.yaml#/components/schemas/Gone"}}, "other.yaml has no component schemas/Gone"),
        ({"paths": {"$ref": "#/components/schemas/Gone"}}, "the document has no component schemas/Gone"),
        ({"paths": {"$ref": "other.yaml"}}, "must lead to a named component"),
        ({"paths": {"$ref": "other.yaml#/paths/~1"}}, "must lead to a named component"),
        (
            {
                "paths": {"$ref": "other.yaml#/components/schemas/A"},
                "components": {"schemas": {"A": {"type": "string"}}},
            },
            "two components are called schemas/A: in other.yaml and the document itself",
        ),
    ],
)
def test_bundling_refuses_what_it_would_get_wrong(document: JSON, complaint: str) -> None:
    other = {"components": {"schemas": {"A": {"type": "integer"}}}}
    with pytest.raises(ValueError, match=re.escape(complaint)):
        bundle(document, lambda _: other)


def test_the_closed_view_closes_each_object_once_and_ends_extensible_enums() -> None:
    inner: JSON = {
        "type": "object",
        "additionalProperties": True,
        "properties": {"kind": {"type": "string", "x-extensible-enum": ["a"]}},
    }
    schema: JSON = {
        "type": "object",
        "properties": {"inner": inner, "free": {"type": "object"}, "map": {"additionalProperties": {"type": "string"}}},
    }
    shared: JSON = {"properties": {"a": {}}, "allOf": [{"properties": {"b": {}}}]}
    schema["properties"]["shared"] = shared
    document = {"openapi": "3.0.3", "paths": {}, "components": {"schemas": {"It": schema}}}
    before = copy.deepcopy(document)
    shut = closed(document)["components"]["schemas"]["It"]
    assert document == before
    assert shut["additionalProperties"] is False
    assert shut["properties"].pop("shared") == shared
    assert shut["properties"] == {
        "inner": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"kind": {"type": "string", "enum": ["a"]}},
        },
        "free": {"type": "object"},
        "map": {"additionalProperties": {"type": "string"}},
    }
