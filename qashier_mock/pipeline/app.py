"""The pipeline as an ASGI app: route, authenticate, read, parse, validate, call, encode. One error door.

Connexion loads the documents, builds the operation models, resolves the handlers and is the shell of the app; what one
request needs is compiled once, at start, because Connexion would work it out again for each request.

A request is refused in this order: unknown path 404, method 405, credentials, a planned fault, size 413, media type
415, parameters and body 400, what `Hooks.admit` refuses. What depends on an account's state is refused after that, by
the handler. Whatever is refused or fails goes through `Hooks.render_error`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson

from qashier_mock.pipeline import bodies, sending, wording
from qashier_mock.pipeline.beginning import have_a_task
from qashier_mock.pipeline.delays import Delays
from qashier_mock.pipeline.document import Document
from qashier_mock.pipeline.exchange import Call, Fault, Hooks
from qashier_mock.pipeline.framework import METHODS, ConnexionMiddleware, LifespanMiddleware, Resolver, SpecMiddleware
from qashier_mock.pipeline.garbage import garbage_left
from qashier_mock.pipeline.logs import log_unexpected
from qashier_mock.pipeline.operations import CompiledOperation, compile_operation, handlers_by_name
from qashier_mock.pipeline.refusal import Reason, Refused
from qashier_mock.pipeline.reply import DROPPED, WHOLE, Reply
from qashier_mock.pipeline.routing import Pages, Router
from qashier_mock.pipeline.schemas import Unsupported
from qashier_mock.pipeline.scope import RESPOND
from qashier_mock.pipeline.sending import Headers, answer_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY: Final = 2 * 1024 * 1024
"""Bytes of a request body at most; an operation's `x-max-body` says otherwise."""

ReplyCheck = Callable[[CompiledOperation, Reply, bytes, Sequence[tuple[bytes, bytes]]], None]
"""Raises for a reply (its operation, itself, its body, its headers) that the document does not describe."""


def create_pipeline(
    documents: Sequence[tuple[Document, Sequence[str]]],
    handlers: object | Sequence[object],
    hooks: Hooks,
    *,
    pages: Mapping[str, ASGIApp | None] | None = None,
    lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
    judge: ReplyCheck | None = None,
    timer: Callable[[], float] = time.perf_counter,
) -> CompiledApp:
    """Compile documents and handlers into an ASGI app.

    Args:
        documents: Each with the base paths it is served under; "" is the root.
        handlers: One or more objects or mappings whose attributes named by an operationId are its handlers:
            `async def operation_id(call, **arguments) -> Reply`. They begin without a task of their own: what needs
            one, as `asyncio.timeout` does, awaits `have_a_task()` first.
        hooks: What the pipeline asks of its owner.
        pages: Foreign ASGI apps by path prefix (`/pay`); they get what no document has. The longest prefix wins, base
            paths of documents included. Their replies get a Request-Id too.
        lifespan: Called once at start; the context lasts as long as the app.
        judge: Called with each reply that goes out; what it raises leaves the app. For tests.
        timer: Seconds, for `Call.started`.

    Raises:
        Unsupported: A document uses what is not done here, has an operation without a handler, or a handler has no
            operation.
    """
    named = handlers_by_name(handlers)

    def find(operation_id: str) -> Any:
        if operation_id not in named:
            raise Unsupported(f"no handler is named {operation_id!r}")
        return named[operation_id]

    foreign = Pages(pages or {}, [base_path for _, base_paths in documents for base_path in base_paths])
    app = CompiledApp(hooks, foreign, judge=judge, timer=timer)
    for document, base_paths in documents:
        app.add_api(document.specification(), resolver=Resolver(function_resolver=find), base_paths=tuple(base_paths))
    idle = sorted(named.keys() - {operation.operation_id for operation in app.operations})
    if idle:
        raise Unsupported(f"no operation is named {', '.join(map(repr, idle))}, but there is a handler of that name")

    @contextlib.asynccontextmanager
    async def within(_: Any) -> AsyncIterator[None]:
        async with lifespan() if lifespan is not None else contextlib.nullcontext():
            yield

    # `add_api` has been called on the compiled app directly: the shell would load each document once for each base path
    # and have no way to take one that is known to be valid. All that it does at run time is the lifespan, so requests
    # need not pass through it.
    app.shell = ConnexionMiddleware(app, import_name=__name__, middlewares=[LifespanMiddleware], lifespan=within)
    return app


class CompiledApp(SpecMiddleware):  # type: ignore[misc]  # Connexion ships no types
    """The ASGI app: what happens to one request, from its head to its answer."""

    shell: ASGIApp  # Connexion's own app around this one, which sees to the lifespan

    def __init__(self, hooks: Hooks, pages: Pages, *, judge: ReplyCheck | None, timer: Callable[[], float]) -> None:
        self._hooks = hooks
        self._pages = pages
        self._delays = Delays()
        self._timer = timer
        self._router = Router()
        self._static = self._router.static
        self._judge = judge
        self.operations: list[CompiledOperation] = []

    def add_api(self, specification: Any, *, resolver: Any = None, base_paths: Sequence[str] = ("",), **_: Any) -> None:
        """Compile every operation of a document."""
        for path, item in specification["paths"].items():
            for method in item:
                if method not in METHODS:
                    continue
                operation = compile_operation(specification, path, method, resolver or Resolver())
                self.operations.append(operation)
                for base_path in base_paths:
                    self._router.add(base_path, operation)

    def parse_body(self, operation_id: str, body: Mapping[str, Any]) -> Any:
        """Return what an operation's handler would be given for a body that came another way, such as by a form.

        Raises:
            Refused: It is not what the document describes.
        """
        (parser,) = (each.body for each in self.operations if each.operation_id == operation_id and each.body)
        return parser.parse(orjson.dumps(body))[0]

    async def __call__(  # noqa: C901 - one request from top to bottom reads best in one place
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            await (self.shell if scope["type"] == "lifespan" else _refuse_websocket)(scope, receive, send)
            return
        started = self._timer()
        request_id = self._hooks.new_request_id()
        raw_path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        values: Sequence[bytes] = ()
        route = self._static.get(raw_path)
        if route is None:
            route, values = self._router.match(raw_path)
            if route is None:
                await self._serve_unrouted(raw_path, request_id, scope, receive, send, started=started)
                return
        method: str = scope["method"]
        operation = route.operations.get(method)
        if operation is None:
            error = _method_not_allowed(method, route.allow)
            await self._refuse(error, request_id, scope, receive, send, started=started)
            return
        headers = Headers(scope["headers"])
        query, name = scope["query_string"], operation.operation_id
        call = Call(name, operation.path, request_id, started, None, method, raw_path, query, headers.one, {})
        try:
            reply = await self._answer(operation, call, values, headers, receive)
            body = sending.encode(reply)
        except bodies.ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the one error door
            reply = self._render(error, call)
            body = sending.encode(reply)
        extra = self._hooks.observe(call, reply, body)
        if self._judge is not None and reply.transmit is not DROPPED:
            self._judge(operation, reply, body, answer_of(reply, body, request_id, extra).headers)
        if reply.transmit is not WHOLE:
            await sending.cut_short(reply.transmit, answer_of(reply, body, request_id, extra), scope, receive, send)
            return
        if call.raw_body is None and headers.announce_body():
            await sending.send_beside_body(answer_of(reply, body, request_id, extra), headers, scope, receive, send)
            return
        respond = (scope.get("extensions") or {}).get(RESPOND)
        if respond is not None and method != "HEAD" and len(body) <= sending.PIECE:
            await respond(reply.status, sending.header_block(reply, body, request_id, extra), body)
            return
        await sending.send_in_pieces(answer_of(reply, body, request_id, extra), send)

    async def _answer(
        self,
        operation: CompiledOperation,
        call: Call,
        values: Sequence[bytes],
        headers: Headers,
        receive: Receive,
        *,
        is_faulted: bool = False,
    ) -> Reply:
        """Return the reply to a call, or raise an error for `render_error`."""
        hooks = self._hooks
        if operation.is_secured and not is_faulted:
            call.principal = hooks.authenticate(headers.all(b"authorization"))
            planned = hooks.intercept(call)
            fault = None if planned is None else await planned
            if fault is not None:
                perform = partial(self._answer, operation, call, values, headers, receive, is_faulted=True)
                return await self._apply_fault(fault, call, perform)
        if operation.body is not None:
            limit = operation.max_body or MAX_BODY
            call.raw_body = await bodies.read(receive, headers.one.get(b"content-length"), limit)
            if call.raw_body or operation.body.required:
                bodies.check_media_type(headers.all(b"content-type"), headers.all(b"content-encoding"))
        self._parse(operation, call, values, headers)
        if operation.body is not None and call.raw_body is not None and len(call.raw_body) > bodies.LARGE:
            with garbage_left(len(call.raw_body)):
                call.arguments["body"], call.unknown_fields = await operation.body.parse_large(call.raw_body)
                hooks.admit(call)
                return await operation.handler(call, **call.arguments)
        hooks.admit(call)
        return await operation.handler(call, **call.arguments)

    async def _apply_fault(self, fault: Fault, call: Call, perform: Callable[[], Awaitable[Reply]]) -> Reply:
        """Return the reply to a call that has a fault planned."""
        if fault.delay_s:
            await self._delays.hold(fault.delay_s)
        reply = fault.reply or Reply(503)
        if fault.perform:
            try:
                done = await perform()
            except bodies.ClientGone:
                raise
            except Exception as error:  # noqa: BLE001 - the one error door
                done = self._render(error, call)
            reply = fault.reply or done
        if fault.transmit is not WHOLE:
            reply = dataclasses.replace(reply, transmit=fault.transmit)
        return reply

    @staticmethod
    def _parse(operation: CompiledOperation, call: Call, values: Sequence[bytes], headers: Headers) -> None:
        """Parse and validate parameters and body; a large body is parsed later, in pieces."""
        arguments: dict[str, Any] = {}
        for index, value in enumerate(values):
            scalar = operation.path_parameters[index]
            arguments[scalar.argument] = scalar.parse(value.decode(errors="replace"))
        operation.query.parse(call.query, arguments)
        for name, scalar in operation.headers:
            scalar.parse_header(headers.all(name), arguments)
        if operation.body is not None:
            if call.raw_body and len(call.raw_body) <= bodies.LARGE:
                arguments["body"], call.unknown_fields = operation.body.parse(call.raw_body)
            elif not call.raw_body and operation.body.required:
                raise bodies.missing()
        call.arguments = arguments

    async def _serve_unrouted(
        self, raw_path: bytes, request_id: str, scope: Scope, receive: Receive, send: Send, *, started: float
    ) -> None:
        """Serve a page, or refuse a path that neither a document nor a page has."""
        page = self._pages.find(raw_path, scope["headers"])
        if page is None:
            await self._refuse(_path_unknown(raw_path), request_id, scope, receive, send, started=started)
        else:
            await self._serve_page(page, request_id, scope, receive, send)

    def _render(self, error: Exception, call: Call | None) -> Reply:
        """Render an error. One that the hooks do not know is logged, and answered as an internal error."""
        try:
            return self._hooks.render_error(error, call)
        except Exception as unknown:  # noqa: BLE001 - whatever it is, the client gets an answer
            log_unexpected(unknown, call.operation_id if call else "-", call.request_id if call else "-")
        hidden = Refused(Reason.INTERNAL_ERROR, "The mock has failed; its log tells how. Please report it.")
        try:
            return self._hooks.render_error(hidden, call)
        except Exception as unknown:  # noqa: BLE001
            log_unexpected(unknown, "render_error", call.request_id if call else "-")
            return Reply(500, {"error": {"type": "api_error", "code": "internal_error", "message": hidden.message}})

    async def _refuse(
        self,
        error: Refused,
        request_id: str,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        started: float | None = None,
    ) -> None:
        """Refuse a request that has no operation. With `started`, the hooks observe it."""
        reply = self._render(error, None)
        body = sending.encode(reply)
        headers = Headers(scope["headers"])
        if started is not None:
            path = scope.get("raw_path") or quote(scope["path"]).encode()
            method, query = scope["method"], scope["query_string"]
            call = Call("", path.decode("latin-1"), request_id, started, None, method, path, query, headers.one, {})
            self._hooks.observe(call, reply, body)
        await sending.send_beside_body(answer_of(reply, body, request_id), headers, scope, receive, send)

    async def _serve_page(self, page: ASGIApp, request_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        has_started = is_gone = False
        is_unread = sending.closes_on_a_body(Headers(scope["headers"]), scope)

        async def take() -> Message:
            nonlocal is_unread, is_gone
            message = await receive()
            is_gone = message["type"] == "http.disconnect"
            is_unread = is_unread and message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def stamp(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                message["headers"] = [*message.get("headers", ()), (b"request-id", request_id.encode())]
            elif is_unread and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await sending.drain(take)
                message = {"type": "http.response.body"}
            await send(message)

        try:
            await have_a_task()
            await page(scope, take, stamp)
        except Exception as error:  # noqa: BLE001 - a page may not take the server's own error page
            log_unexpected(error, "page", request_id)
        if not has_started and not is_gone:
            hidden = Refused(Reason.INTERNAL_ERROR, "The mock has failed; its log tells how. Please report it.")
            await self._refuse(hidden, request_id, scope, receive, send)


def _path_unknown(raw_path: bytes) -> Refused:
    shown = wording.shorten(raw_path[: 2 * wording.VALUE_LIMIT].decode("latin-1"), wording.VALUE_LIMIT)
    return Refused(Reason.PATH_UNKNOWN, f"There is nothing at {shown}; check the path.")


def _method_not_allowed(method: str, allow: bytes) -> Refused:
    text = f"{wording.name(method)} is not allowed here; use {allow.decode()}."
    return Refused(Reason.METHOD_NOT_ALLOWED, text, headers=((b"allow", allow),))


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1003})
