"""Requests and answers as a defect sees them on the wire, and the layer of an ASGI app that hands them over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

import orjson
from starlette import requests
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qashier_mock.pipeline.scope import RESPOND
from qashier_mock.pipeline.sending import hang_up

Headers: TypeAlias = list[tuple[bytes, bytes]]

SESSIONS: Final = "/checkout/sessions"


class HungUp(Exception):
    """Raised by a layer that closes the connection without an answer."""


class HttpMessage:
    """What a request and an answer have in common."""

    headers: Headers
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """The last value of a header, or None."""
        return next((value for other, value in reversed(self.headers) if other == name), None)

    def set_header(self, name: bytes, value: bytes | None) -> None:
        """Give a header one value; None removes it."""
        kept = [(other, old) for other, old in self.headers if other != name]
        self.headers = kept if value is None else [*kept, (name, value)]

    def measure(self) -> None:
        """Say in `Content-Length`, if there is one, how long the body is now."""
        if self.header(b"content-length") is not None:
            self.set_header(b"content-length", b"%d" % len(self.body))


@dataclass(slots=True)
class Request(HttpMessage):
    """One request, read whole; its path is as received, without the base path."""

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes

    @property
    def is_create(self) -> bool:
        return self.method == "POST" and self.path == SESSIONS

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and self.path == SESSIONS

    @property
    def is_retrieve(self) -> bool:
        return self.method == "GET" and self.path.startswith(SESSIONS + "/")

    @property
    def is_expire(self) -> bool:
        return self.method == "POST" and self.path.startswith(SESSIONS + "/") and self.path.endswith("/expire")


@dataclass(slots=True)
class Answer(HttpMessage):
    """One answer, before it is sent."""

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

    @property
    def error(self) -> dict[str, Any]:
        """What the envelope of a refusal holds; empty where there is none."""
        value = self.json
        error = value.get("error") if isinstance(value, dict) else None
        return error if isinstance(error, dict) else {}


Respond: TypeAlias = Callable[[Request], Awaitable[Answer]]
Layer: TypeAlias = Callable[[Respond, Request], Awaitable[Answer]]
"""Answers a request, as a rule by handing it on and changing it before or its answer after."""


class Traffic:
    """An app with layers around some of its paths."""

    def __init__(
        self, app: ASGIApp, layers: Sequence[Layer], *, bases: Sequence[str], leaves_out: Sequence[str]
    ) -> None:
        """Wrap `app` in layers, the first of them innermost.

        `bases` are base paths that a request's `path` is shown without; paths that begin with one of `leaves_out` have
        no layers.
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

        respond: Respond = partial(_ask, self._app, scope, receive)
        for layer in self._layers:
            respond = partial(layer, respond)
        try:
            answer = await respond(request)
        except HungUp:
            await hang_up(scope, receive)
            return
        answer.measure()
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})


async def _ask(app: ASGIApp, scope: Scope, receive: Receive, request: Request) -> Answer:
    """Have the app answer a request that has been read, and maybe changed."""
    request.measure()
    pending: list[bytes] = [request.body]
    answer = Answer(500)

    async def replay() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    async def collect(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message.get("headers", ()))
        else:
            answer.body += message.get("body", b"")

    extensions = {name: value for name, value in (scope.get("extensions") or {}).items() if name != RESPOND}
    changed = {"query_string": request.query, "headers": request.headers, "extensions": extensions}
    await app({**scope, **changed}, replay, collect)
    return answer
