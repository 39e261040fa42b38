"""The document for people and tools: `/docs` shows it and sends its requests, `/openapi.json` is it.

Nothing comes from another host. A renderer of the well-known kind would bring more code than the whole mock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from qashier_mock.web.rendering import Pages

_PAGES: Final = Pages("docs", "inspector.css", "docs.js", filters={"json": lambda value: json.dumps(value, indent=2)})
_DEEPEST: Final = 6
_MOST_LISTED: Final = 8
_LIMITS: Final = ("enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "default")


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter or a property, for a person.

    Attributes:
        name: Its name, or its path within a body (`line_items[].quantity`).
        type: Its type in words.
        required: Whether it must be there.
        text: What it is.
        limits: What it may be, in words; empty where anything of its type goes.
        place: Where it is sent, `path`, `query` or `header`; empty for a property.
        example: What stands in the form; empty where nothing does.
    """

    name: str
    type: str
    required: bool
    text: str
    limits: str
    place: str = ""
    example: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A documented answer."""

    status: str
    text: str
    fields: Sequence[Field]
    example: Any


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation, for a person."""

    id: str
    method: str
    path: str
    summary: str
    text: str
    parameters: Sequence[Field]
    body: Sequence[Field]
    body_example: Any
    answers: Sequence[Answer]


def create_docs(content: Mapping[str, Any]) -> ASGIApp:
    """Make the application for `/docs` and `/openapi.json` of a document, its references unresolved."""
    docs = Docs(content)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method not in {"GET", "HEAD"}:
            response = Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"allow": "GET, HEAD"})
        elif request.scope["path"] == "/openapi.json":
            response = Response(docs.json, media_type="application/json")
        elif request.scope["path"] == "/docs":
            response = _PAGES.render("docs.html", title=content["info"]["title"], operations=docs.operations)
        else:
            response = Response("There is no such page. The document is at /docs.", HTTPStatus.NOT_FOUND)
        await response(scope, receive, send)

    return app


class Docs:
    """A document, made ready to be shown when it is first asked for."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    @cached_property
    def json(self) -> bytes:
        """The document as JSON; its first server is the one that it came from."""
        servers = [{"url": "/", "description": "This server"}, *self._content["servers"]]
        return json.dumps({**self._content, "servers": servers}).encode()

    @cached_property
    def operations(self) -> Sequence[Operation]:
        """Every operation, in the order of the document."""
        return [
            self._operation(method, path, each)
            for path, item in self._content["paths"].items()
            for method, each in item.items()
        ]

    def _operation(self, method: str, path: str, described: Mapping[str, Any]) -> Operation:
        parameters = [self._parameter(self._resolved(each)) for each in described.get("parameters", ())]
        media = self._resolved(described.get("requestBody", {})).get("content", {}).get("application/json", {})
        answers = [self._answer(status, self._resolved(each)) for status, each in described["responses"].items()]
        return Operation(
            id=described["operationId"],
            method=method.upper(),
            path=path,
            summary=described.get("summary", ""),
            text=described.get("description", ""),
            parameters=parameters,
            body=list(self._fields(media.get("schema", {}))),
            body_example=self._example(media),
            answers=answers,
        )

    def _parameter(self, described: Mapping[str, Any]) -> Field:
        schema = self._resolved(described.get("schema", {}))
        example = self._example(described)
        return Field(
            described["name"],
            _type(schema),
            described.get("required", False),
            described.get("description", ""),
            _limits(schema),
            described["in"],
            "" if example is None else str(example),
        )

    def _answer(self, status: str, described: Mapping[str, Any]) -> Answer:
        media = described.get("content", {}).get("application/json", {})
        fields = list(self._fields(media.get("schema", {})))
        return Answer(status, described.get("description", ""), fields, self._example(media))

    def _fields(self, schema: Mapping[str, Any], path: str = "", depth: int = 0) -> Iterator[Field]:
        schema = self._resolved(schema)
        if "items" in schema and path:
            yield from self._fields(schema["items"], f"{path}[]", depth)
        if depth >= _DEEPEST:
            return
        for name, each in schema.get("properties", {}).items():
            inner = self._resolved(each)
            whole = f"{path}.{name}" if path else name
            is_required = name in schema.get("required", ())
            yield Field(whole, _type(inner), is_required, inner.get("description", ""), _limits(inner))
            yield from self._fields(inner, whole, depth + 1)

    def _example(self, described: Mapping[str, Any]) -> Any:
        """The first example of a body or a parameter; None where there is none."""
        if "example" in described:
            return described["example"]
        for each in described.get("examples", {}).values():
            return self._resolved(each).get("value")
        return None

    def _resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """A node with its reference followed and, of `allOf`, its parts put together."""
        while "$ref" in node:
            found: Any = self._content
            for step in node["$ref"].removeprefix("#/").split("/"):
                found = found[step.replace("~1", "/").replace("~0", "~")]
            node = found
        merged: dict[str, Any] = {name: value for name, value in node.items() if name != "allOf"}
        for part in node.get("allOf", ()):
            resolved = self._resolved(part)
            properties = {**resolved.get("properties", {}), **merged.get("properties", {})}
            merged = {**resolved, **merged, "properties": properties}
        return merged


def _type(schema: Mapping[str, Any]) -> str:
    word = str(schema.get("type", "object"))
    return f"{word} or null" if schema.get("nullable") else word


def _limits(schema: Mapping[str, Any]) -> str:
    told = []
    for name in _LIMITS:
        if name in schema:
            value = schema[name]
            shown = _listed(value) if name == "enum" else str(value)
            told.append(f"{name} {shown}")
    return "; ".join(told)


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values[:_MOST_LISTED])) + (" …" if len(values) > _MOST_LISTED else "")
