"""Requests and answers as a defect sees them on the wire, and the layer of an ASGI app that hands them over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import orjson
from starlette import requests
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qashier_mock.pipeline.scope import ABORT, RESPOND

Headers: TypeAlias = list[tuple[bytes, bytes]]

SESSIONS: Final = "/checkout/sessions"


class HungUp(Exception):
    """Raised by a layer that closes the connection without an answer."""


class HttpMessage:
    """What a request and an answer have in common."""

    headers: Headers

    def header(self, name: bytes) -> bytes | None:
        """The last value of a header, or None."""
        return next((value for other, value in reversed(self.headers) if other == name), None)

    def set_header(self, name: bytes, value: bytes | None) -> None:
        """Give a header one value; None removes it."""
        self.headers = with_header(self.headers, name, value)


@dataclass(slots=True)
class Request(HttpMessage):
    """One request, read whole.

    Attributes:
        path: As received, without the base path.
    """

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes

    @property
    def is_create(self) -> bool:
        """Whether it is to open a session."""
        return self.method == "POST" and self.path == SESSIONS

    @property
    def is_list(self) -> bool:
        """Whether it asks for a page of sessions."""
        return self.method == "GET" and self.path == SESSIONS

    @property
    def is_retrieve(self) -> bool:
        """Whether it asks for one session."""
        return self.method == "GET" and self.path.startswith(SESSIONS + "/")

    @property
    def is_expire(self) -> bool:
        """Whether it is to expire a session."""
        return self.method == "POST" and self.path.startswith(SESSIONS + "/") and self.path.endswith("/expire")


@dataclass(slots=True)
class Answer(HttpMessage):
    """One answer, before it is sent. `json` reads and replaces its body."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body, or None where it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    @json.setter
    def json(self, value: Any) -> None:
        self.body = orjson.dumps(value)

    @property
    def error(self) -> dict[str, Any]:
        """What the envelope of a refusal holds; empty where there is none."""
        value = self.json
        error = value.get("error") if isinstance(value, dict) else None
        return error if isinstance(error, dict) else {}


Respond: TypeAlias = Callable[[Request], Awaitable[Answer]]
Layer: TypeAlias = Callable[[Request, Respond], Awaitable[Answer]]
"""Answers a request, as a rule by handing it on and changing it before or its answer after."""


def with_header(headers: Headers, name: bytes, value: bytes | None) -> Headers:
    """Headers in which `name` has one value, or with None, none."""
    kept = [(other, old) for other, old in headers if other != name]
    return kept if value is None else [*kept, (name, value)]


class Traffic:
    """An app with layers around some of its paths."""

    def __init__(
        self, app: ASGIApp, layers: Sequence[Layer], *, bases: Sequence[str], leaves_out: Sequence[str]
    ) -> None:
        """Wrap `app`.

        Args:
            app: What answers.
            layers: The first is the innermost.
            bases: Base paths to remove from a request's `path`.
            leaves_out: Prefixes of paths without layers.
        """
        self._app = app
        self._layers = tuple(layers)
        self._bases = sorted((base for base in bases if base), key=len, reverse=True)
        self._leaves_out = tuple(leaves_out)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(self._leaves_out):
            await self._app(scope, receive, send)
            return
        try:
            body = await requests.Request(scope, receive).body()
        except requests.ClientDisconnect:
            return
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw_path.decode("latin-1")
        base = next((base for base in self._bases if path.startswith(base + "/")), "")
        request = Request(scope["method"], path.removeprefix(base), scope["query_string"], list(scope["headers"]), body)

        async def ask(asked: Request) -> Answer:
            return await _ask(self._app, scope, receive, asked)

        respond: Respond = ask
        for layer in self._layers:
            respond = _within(layer, respond)
        try:
            answer = await respond(request)
        except HungUp:
            await _hang_up(scope, receive)
            return
        headers = answer.headers
        if any(name == b"content-length" for name, _ in headers):
            headers = with_header(headers, b"content-length", b"%d" % len(answer.body))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def _within(layer: Layer, respond: Respond) -> Respond:
    async def around(request: Request) -> Answer:
        return await layer(request, respond)

    return around


async def _ask(app: ASGIApp, scope: Scope, receive: Receive, request: Request) -> Answer:
    """Have the app answer a request that has been read, and maybe changed."""
    headers = request.headers
    if request.header(b"content-length") is not None:
        headers = with_header(headers, b"content-length", b"%d" % len(request.body))
    pending: list[bytes] = [request.body]
    answer = Answer(500)
    chunks: list[bytes] = []

    async def replay() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message.get("headers", ()))
        else:
            chunks.append(message.get("body", b""))

    extensions = {name: value for name, value in (scope.get("extensions") or {}).items() if name != RESPOND}
    await app({**scope, "query_string": request.query, "headers": headers, "extensions": extensions}, replay, collect)
    answer.body = b"".join(chunks)
    return answer


async def _hang_up(scope: Scope, receive: Receive) -> None:
    extensions = scope.get("extensions") or {}
    if ABORT not in extensions:
        raise ConnectionError("a defect closes the connection, and the server has no way to do so")
    extensions[ABORT]()
    while (await receive())["type"] != "http.disconnect":
        pass
