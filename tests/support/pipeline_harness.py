"""What the tests of the pipeline share: a small document, hooks that remember, and an in-process client."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import itertools
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import orjson

from qashier_mock.pipeline.app import create_pipeline
from qashier_mock.pipeline.document import Document
from qashier_mock.pipeline.exchange import Call, Fault
from qashier_mock.pipeline.protocol import make_protocol
from qashier_mock.pipeline.refusal import Reason, Refused
from qashier_mock.pipeline.reply import Reply

OPENAPI = Path(__file__).parents[2] / "openapi"
KEY = b"Bearer good"
STATUS = {
    Reason.PATH_UNKNOWN: 404,
    Reason.METHOD_NOT_ALLOWED: 405,
    Reason.BODY_TOO_LARGE: 413,
    Reason.MEDIA_TYPE_UNSUPPORTED: 415,
    Reason.INTERNAL_ERROR: 500,
}

TEXT = {"type": "string", "minLength": 1, "maxLength": 5}
ANSWERS: dict[str, Any] = {
    "200": {"description": "done", "content": {"application/json": {"schema": {"type": "object"}}}},
    "400": {"description": "refused", "content": {"application/json": {"schema": {"type": "object"}}}},
    "401": {"description": "refused", "content": {"application/json": {"schema": {"type": "object"}}}},
}
TINY: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "tiny", "version": "1"},
    "security": [{"key": []}],
    "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    "paths": {
        "/things": {
            "get": {
                "operationId": "list_things",
                "x-clauses": ["LIS-1"],
                "tags": ["Things"],
                "parameters": [
                    {
                        "name": "limit",
                        "in": "query",
                        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
                    },
                    {"name": "status", "in": "query", "schema": {"type": "string", "enum": ["open", "complete"]}},
                    {"name": "cursor", "in": "query", "schema": {"type": "string", "maxLength": 20}},
                    {"name": "fresh", "in": "query", "schema": {"type": "boolean"}},
                    {
                        "name": "created[gt]",
                        "in": "query",
                        "schema": {"type": "integer", "minimum": 0, "maximum": 4102444800},
                    },
                    {
                        "name": "created[gte]",
                        "in": "query",
                        "schema": {"type": "integer", "minimum": 0, "maximum": 4102444800},
                    },
                ],
                "responses": ANSWERS,
            },
            "post": {
                "operationId": "create_thing",
                "parameters": [
                    {
                        "name": "Idempotency-Key",
                        "in": "header",
                        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
                    }
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "name": TEXT,
                                    "note": {"type": "string", "nullable": True},
                                    "secret": {"type": "string", "writeOnly": True},
                                    "lines": {
                                        "type": "array",
                                        "maxItems": 3,
                                        "items": {
                                            "type": "object",
                                            "required": ["quantity"],
                                            "properties": {
                                                "quantity": {"type": "integer", "minimum": 1, "maximum": 9},
                                                "data": {"type": "object", "properties": {"label": TEXT}},
                                            },
                                        },
                                    },
                                    "closed": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "properties": {"colour": TEXT},
                                    },
                                    "free": {"type": "object"},
                                    "either": {
                                        "oneOf": [
                                            {
                                                "type": "object",
                                                "required": ["delay"],
                                                "additionalProperties": False,
                                                "properties": {"delay": {"type": "integer", "maximum": 5}},
                                            },
                                            {
                                                "type": "object",
                                                "required": ["drop"],
                                                "additionalProperties": False,
                                                "properties": {"drop": {"type": "boolean"}},
                                            },
                                        ]
                                    },
                                },
                            }
                        }
                    },
                },
                "responses": ANSWERS,
            },
        },
        "/things/{id}": {
            "get": {
                "operationId": "get_thing",
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                "responses": ANSWERS,
            },
            "delete": {
                "operationId": "delete_thing",
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                "responses": {**ANSWERS, "204": {"description": "gone"}},
            },
        },
        "/things/{id}/close": {
            "post": {
                "operationId": "close_thing",
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                "responses": ANSWERS,
            }
        },
        "/things/newest": {"get": {"operationId": "get_newest", "responses": ANSWERS}},
        "/settings": {
            "put": {
                "operationId": "put_settings",
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"type": "object", "properties": {"on": {"type": "boolean"}}}}
                    }
                },
                "responses": ANSWERS,
            }
        },
        "/health": {"get": {"operationId": "get_health", "security": [], "responses": ANSWERS}},
    },
}


def tiny(change: Callable[[dict[str, Any]], object] | None = None) -> dict[str, Any]:
    """Return the tiny document, changed."""
    document = copy.deepcopy(TINY)
    if change is not None:
        change(document)
    return document


async def echo(call: Call, **arguments: Any) -> Reply:
    """Answer with what arrived."""
    return Reply(200, {"operation": call.operation_id, "arguments": arguments})


def echoes(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return an echoing handler for each operation of a document."""
    methods = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
    return {
        operation["operationId"]: echo
        for item in document["paths"].values()
        for method, operation in item.items()
        if method in methods
    }


class CredentialsMissing(Exception):
    """What these hooks raise for a caller without the key."""


@dataclasses.dataclass
class Hooks:
    """Hooks that remember what they were told."""

    fault: Fault | None = None
    seen: list[tuple[Call, Reply, bytes]] = dataclasses.field(default_factory=list)
    unrouted: list[tuple[Call, Reply, bytes]] = dataclasses.field(default_factory=list)
    authorizations: list[list[bytes]] = dataclasses.field(default_factory=list)
    intercepted: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    ids: Any = dataclasses.field(default_factory=lambda: itertools.count(1))

    def new_request_id(self) -> str:
        return f"req_{next(self.ids)}"

    def authenticate(self, authorization: Sequence[bytes]) -> Any:
        self.authorizations.append(list(authorization))
        if list(authorization) != [KEY]:
            raise CredentialsMissing
        return "acct_1"

    async def intercept(self, call: Call) -> Fault | None:
        self.intercepted.append(dict(call.arguments))
        return self.fault

    def admit(self, call: Call) -> None:
        if call.arguments.get("id") == "refused-by-admit":
            raise CredentialsMissing

    def render_error(self, error: Exception, call: Call | None) -> Reply:  # noqa: ARG002
        if isinstance(error, CredentialsMissing):
            return Reply(401, {"error": {"code": "credentials_missing", "message": "Send a key."}})
        if isinstance(error, Refused):
            detail = {"code": str(error.reason), "message": error.message}
            if error.param is not None:
                detail["param"] = error.param
            return Reply(STATUS.get(error.reason, 400), {"error": detail}, error.headers)
        raise error

    def observe(self, call: Call, reply: Reply, body: bytes) -> Sequence[tuple[bytes, bytes]]:
        (self.seen if call.operation_id else self.unrouted).append((call, reply, body))
        return ((b"x-observed", b"yes"),)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])

    @property
    def param(self) -> str | None:
        param: str | None = self.json["error"].get("param")
        return param

    def header(self, name: str) -> str | None:
        values = [value.decode() for key, value in self.headers if key == name.encode()]
        assert len(values) <= 1, f"{name} came twice"
        return values[0] if values else None


def ask(
    app: Any,
    method: str,
    target: str | bytes,
    *,
    body: Any = None,
    headers: Sequence[tuple[bytes, bytes]] = (),
    key: bytes | None = KEY,
    chunks: Sequence[bytes] | None = None,
    extensions: dict[str, Any] | None = None,
) -> Answer:
    """Send one request to an app in this process; a body that is not bytes is sent as JSON."""
    path, _, query = (target.encode() if isinstance(target, str) else target).partition(b"?")
    raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    all_headers = [(b"host", b"mock"), *headers]
    if key is not None:
        all_headers.append((b"authorization", key))
    if raw:
        all_headers.append((b"content-length", str(len(raw)).encode()))
    pieces = list(chunks) if chunks is not None else [raw]
    incoming = [
        {"type": "http.request", "body": piece, "more_body": i + 1 < len(pieces)} for i, piece in enumerate(pieces)
    ]
    sent: list[dict[str, Any]] = []
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "headers": all_headers,
        "extensions": {} if extensions is None else extensions,
    }

    async def receive() -> Any:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    bodies = b"".join(message.get("body", b"") for message in sent[1:])
    assert sent[0]["type"] == "http.response.start"
    return Answer(sent[0]["status"], sent[0]["headers"], bodies)


@contextlib.contextmanager
def serving(app: Any, hooks: Any, *, keep_alive_s: int = 5, **limits: float) -> Iterator[int]:
    """Serve an app by uvicorn with the pipeline's protocol, in a thread, and give its port."""
    import uvicorn  # noqa: PLC0415 - slow to import

    with socket.create_server(("127.0.0.1", 0)) as listener:
        options: dict[str, Any] = {
            "http": make_protocol(hooks, **limits),
            "ws": "none",
            "log_config": None,
            "access_log": False,
        }
        server = uvicorn.Server(
            uvicorn.Config(app, timeout_graceful_shutdown=1, timeout_keep_alive=keep_alive_s, **options)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


class Wire:
    """A connection of bytes, for requests that no HTTP client would send."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, *, head: bool = False) -> Answer:
        """Read one answer, 100 Continue aside."""
        while True:
            header = self._until(b"\r\n\r\n")
            first, *lines = header.split(b"\r\n")
            status = int(first.split(b" ")[1])
            if status != 100:
                break
        headers = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
        length = int(dict(headers)[b"content-length"])
        body = b"" if head else self._exactly(length)
        return Answer(status, headers, body)

    def ends(self) -> bool:
        """Whether the server closes the connection without another byte."""
        return not self._buffer and self.socket.recv(1) == b""

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError(f"closed after {self._buffer[:200]!r}")
        self._buffer += data


def bearer_info(token: str) -> dict[str, str] | None:
    """Who has a bearer token: Connexion finds this function by its name."""
    return {"sub": token} if token.startswith("sk_test_") else None


GOOD = {"name": "Kopi"}


def build(hooks: Hooks | None = None, handlers: Any = None, document: Any = None, **options: Any) -> Any:
    document = document or tiny()
    return create_pipeline(
        [(Document(document), ["", "/v1"])], handlers or echoes(document), hooks or Hooks(), **options
    )


def replying(reply: Reply | Exception, operation: str = "get_thing") -> dict[str, Any]:
    async def handler(call: Call, **_: Any) -> Reply:
        if isinstance(reply, Exception):
            raise reply
        return reply

    return {**echoes(TINY), operation: handler}


def operation(document: dict[str, Any], path: str = "/things", method: str = "get") -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path][method]
    return found


def limited(limit: int) -> dict[str, Any]:
    """The tiny document, with a limit for the bodies of its creates."""
    return tiny(lambda document: operation(document, "/things", "post").update({"x-max-body": limit}))


def body_schema(document: dict[str, Any]) -> dict[str, Any]:
    content = operation(document, "/things", "post")["requestBody"]["content"]
    schema: dict[str, Any] = content["application/json"]["schema"]
    return schema


def parameter(document: dict[str, Any], index: int) -> dict[str, Any]:
    found: dict[str, Any] = operation(document)["parameters"][index]
    return found
