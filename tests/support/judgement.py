"""Validate replies against the document: a reply outside it fails the test that caused it.

The document is open, since a service may add properties. The mock adds none, so its closed view judges here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from openapi_schema_validator import OAS30ReadValidator

from qashier_mock.pipeline.export import JSON, convert
from qashier_mock.pipeline.operations import CompiledOperation
from qashier_mock.pipeline.reply import Reply


class ReplyOutsideDocument(AssertionError):
    """A reply has a status, a header or a body that the document does not describe."""


class Judge:
    """Validates replies with another engine than the one that validates requests."""

    def __init__(self) -> None:
        self._closed: dict[int, tuple[Mapping[str, Any], Any]] = {}

    def __call__(
        self, operation: CompiledOperation, reply: Reply, body: bytes, headers: Sequence[tuple[bytes, bytes]]
    ) -> None:
        """Raise `ReplyOutsideDocument` for a reply that the operation does not document."""
        where = f"{operation.operation_id}, {reply.status}"
        described = _response(operation.responses, reply.status)
        if described is None:
            raise ReplyOutsideDocument(f"{where}: the document has no such status")
        media = described.get("content", {}).get("application/json")
        if media is None and body:
            raise ReplyOutsideDocument(f"{where}: the document has no body for it")
        if media is not None:
            if not body:
                raise ReplyOutsideDocument(f"{where}: the document has a body for it")
            self._judge(media.get("schema", {}), orjson.loads(body), f"{where}, body")
        sent = {name.decode().lower(): value.decode("latin-1") for name, value in headers}
        for name, header in described.get("headers", {}).items():
            value = sent.get(name.lower())
            if value is None:
                if header.get("required"):
                    raise ReplyOutsideDocument(f"{where}: the header {name} is missing")
                continue
            schema = header.get("schema", {})
            typed = int(value) if schema.get("type") == "integer" and value.isdigit() else value
            self._judge(schema, typed, f"{where}, header {name}")

    def _judge(self, schema: Mapping[str, Any], value: Any, where: str) -> None:
        for error in self._validator_of(schema).iter_errors(value):
            path = "/".join(str(step) for step in error.absolute_path)
            raise ReplyOutsideDocument(f"{where} at /{path}: {error.message[:500]}")

    def _validator_of(self, schema: Mapping[str, Any]) -> Any:
        """Make the validator of a schema once; the schema is kept with it, so that its identity stays its own."""
        if id(schema) not in self._closed:
            bare = {key: sub for key, sub in schema.items() if key != "components"}
            self._closed[id(schema)] = (schema, OAS30ReadValidator(closed_schema(bare)))
        return self._closed[id(schema)][1]


def _response(responses: Mapping[str, Any], status: int) -> Any:
    for key in (str(status), f"{status // 100}XX", "default"):
        if key in responses:
            return responses[key]
    return None


def closed(document: Mapping[str, Any]) -> JSON:
    """Return a document whose objects have no more properties than it names, and whose extensible enums have ended.

    The public document is open, because a service may add to its answers. The mock adds nothing: its own answers are
    judged by this view.

    Args:
        document: An OpenAPI 3.0 document, its references as they are or resolved.
    """
    shut: JSON = convert(document, "document", _closed_schema)
    return shut


def closed_schema(schema: Mapping[str, Any]) -> JSON:
    """Return the closed view of one schema, as `closed` does for a document."""
    shut: JSON = convert(schema, "schema", _closed_schema)
    return shut


def _closed_schema(schema: JSON) -> JSON:
    """Close one schema; those below are closed already. What shares its object with others (`allOf`) stays open."""
    if "properties" in schema and "allOf" not in schema and schema.get("additionalProperties", True) is True:
        schema["additionalProperties"] = False
    if "x-extensible-enum" in schema:
        schema["enum"] = schema.pop("x-extensible-enum")
    parts = schema.get("allOf", ())
    if len(parts) > 1 or "properties" in schema:
        for part in parts:
            part.pop("additionalProperties", None)
    return schema
