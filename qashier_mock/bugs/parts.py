"""What a defect gets hold of: the parts of one composed app, and the ways to change them.

Everything is changed on the objects of one app and never in a module, so that a broken mock and a correct one live side
by side in a process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson

from qashier_mock.bugs.traffic import Answer, Layer, Request, Respond, Traffic
from qashier_mock.core.errors import SessionNotFound
from qashier_mock.core.model import AccountId, CheckoutSession, CreateSession
from qashier_mock.pipeline import Call, Document, Hooks, Reply
from qashier_mock.web import hosted

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from qashier_mock.accounts import AccountService
    from qashier_mock.service import CheckoutService
    from qashier_mock.stores.base import Store
    from qashier_mock.web.api import ApiHandlers
    from qashier_mock.web.control import ControlHandlers
    from qashier_mock.webhooks import Dispatcher

Json: TypeAlias = dict[str, Any]
Wrapper: TypeAlias = Callable[..., Any]
"""Called as `wrapper(inner, *arguments)` in place of `inner(*arguments)`."""

RACE_S: Final = 0.02
"""Seconds that a defect waits between looking and acting, so that requests at the same time meet there."""


@dataclass(slots=True)
class Parts:
    """The parts of one app, before its pipeline is compiled.

    Attributes:
        store: Where everything is kept.
        hooks: What the pipeline is handed.
        api: The handlers of the public API.
        control: Those of the control API.
        documents: What the pipeline compiles, each with its base paths; the public API's is the first.
        pages: Foreign apps by path prefix; the hosted pages are at `/pay`.
    """

    store: Store
    service: CheckoutService
    accounts: AccountService
    dispatcher: Dispatcher
    hooks: Hooks
    api: ApiHandlers
    control: ControlHandlers
    documents: list[tuple[Document | Path, tuple[str, ...]]]
    pages: dict[str, ASGIApp]
    _later: list[Callable[[], None]] = field(default_factory=list)
    _transactions: dict[str, list[Wrapper]] = field(default_factory=dict)
    _traffic: list[Layer] = field(default_factory=list)
    _page_traffic: list[Layer] = field(default_factory=list)
    _page_sessions: list[Callable[[CheckoutSession], CheckoutSession]] = field(default_factory=list)

    # the ways to change them

    def around(self, part: object, name: str, wrapper: Wrapper) -> None:
        """Have `wrapper(inner, …)` called in place of the method `name` of a part."""
        self._later.append(lambda: setattr(part, name, partial(wrapper, getattr(part, name))))

    def on_rule(self, name: str, wrapper: Wrapper) -> None:
        """Have `wrapper(inner, …)` called in place of a rule of the services (`core/rules.py`)."""
        for part in (self.service, self.dispatcher):
            part._rules = replace(part._rules, **{name: partial(wrapper, getattr(part._rules, name))})

    def on_transaction(self, name: str, wrapper: Wrapper) -> None:
        """Have `wrapper(inner, tx, …)` called in place of the method `name` of each unit of work, of any store."""
        self._transactions.setdefault(name, []).append(wrapper)

    def on_document(self, change: Callable[[Json], None]) -> None:
        """Change the document of the public API before it is compiled; it must stay a valid one."""
        source, bases = self.documents[0]
        content = orjson.loads(orjson.dumps(Document.load(source).content))
        change(content)
        self.documents[0] = (Document(content, proven=True, name="qashier.yaml"), bases)

    def on_traffic(self, layer: Layer) -> None:
        """Put a layer around the public API: every path but the pages' and the control API's."""
        self._traffic.append(layer)

    def on_pages(self, layer: Layer) -> None:
        """Put a layer around the hosted pages."""
        self._page_traffic.append(layer)

    # what many defects change

    def on_request(self, change: Callable[[Request], None]) -> None:
        """Change the requests of the public API before they are looked at."""

        async def layer(request: Request, respond: Respond) -> Answer:
            change(request)
            return await respond(request)

        self.on_traffic(layer)

    def on_answer(self, change: Callable[[Request, Answer], None]) -> None:
        """Change the answers of the public API before they are sent."""

        async def layer(request: Request, respond: Respond) -> Answer:
            answer = await respond(request)
            change(request, answer)
            return answer

        self.on_traffic(layer)

    def on_create_body(self, change: Callable[[Json], None]) -> None:
        """Change the JSON objects that creates bring, before they are validated."""

        def rewrite(request: Request) -> None:
            if request.is_create:
                request.body = _rewritten(request.body, change)

        self.on_request(rewrite)

    def on_create_lines(self, change: Callable[[Json], None]) -> None:
        """Change each line item that creates bring, before they are validated."""

        def rewrite(body: Json) -> None:
            lines = body.get("line_items")
            for line in lines if isinstance(lines, list) else ():
                if isinstance(line, dict):
                    change(line)

        self.on_create_body(rewrite)

    def on_schema(self, path: str, **keywords: Any) -> None:
        """Give a schema of the public API other keywords; None removes one.

        Args:
            path: Below `components`, as in `schemas.Quantity` or `parameters.Limit.schema`.
            keywords: What it is to say.
        """

        def change(document: Json) -> None:
            schema = document["components"]
            for step in path.split("."):
                schema = schema[step]
            for keyword, value in keywords.items():
                if value is None:
                    del schema[keyword]
                else:
                    schema[keyword] = value

        self.on_document(change)

    def on_opening(self, wrapper: Wrapper) -> None:
        """Change how a session is opened: `wrapper(inner, params, *, now, …)` returns it."""
        self.on_rule("open_session", wrapper)

    def on_opened(self, change: Callable[[CheckoutSession, CreateSession], CheckoutSession]) -> None:
        """Change each session that is opened, before anything else sees it."""

        def opening(inner: Callable[..., CheckoutSession], params: CreateSession, **how: Any) -> CheckoutSession:
            return change(inner(params, **how), params)

        self.on_opening(opening)

    def on_advance(self, wrapper: Wrapper) -> None:
        """Change what a trigger does to a session: `wrapper(inner, session, trigger, now)`."""
        self.on_rule("advance", wrapper)

    def on_sessions(self, change: Callable[[Json], None], *, in_events: bool = True) -> None:
        """Change each session as JSON, wherever the API, the control API or, if so wanted, an event shows it."""
        for handlers, operation in (
            (self.api, "create_checkout_session"),
            (self.api, "retrieve_checkout_session"),
            (self.api, "expire_checkout_session"),
            (self.control, "pay_session"),
        ):
            self.on_payload(handlers, operation, change)
        self.on_entries(change)
        if in_events:
            self.on_events(lambda event: change(event["data"]["object"]))

    def on_entries(self, change: Callable[[Json], None]) -> None:
        """Change each session as a list of the API shows it."""
        self.on_payload(self.api, "list_checkout_sessions", lambda page: _each(change, page["data"]))

    def on_events(self, change: Callable[[Json], None]) -> None:
        """Change each event as JSON, as it is delivered and as the control API lists it."""

        def render(inner: Callable[..., bytes], event: Any) -> bytes:
            rendered = orjson.loads(inner(event))
            change(rendered)
            return orjson.dumps(rendered)

        self.around(self.dispatcher, "render", render)
        self.on_payload(self.control, "list_events", lambda page: _each(change, page["data"]))

    def on_page_sessions(self, change: Callable[[CheckoutSession], CheckoutSession]) -> None:
        """Have the hosted pages, and nothing else, see other sessions than there are."""
        self._page_sessions.append(change)

    def on_unknown(self, operation: str, answer: Callable[[SessionNotFound, str], Reply]) -> None:
        """Answer otherwise where an operation of the public API is asked for a session that no account has."""

        async def handle(inner: Callable[..., Awaitable[Reply]], call: Call, **arguments: Any) -> Reply:
            try:
                return await inner(call, **arguments)
            except SessionNotFound as error:
                if await self.service.find(arguments["id"]) is not None:
                    raise
                return answer(error, arguments["id"])

        self.around(self.api, operation, handle)

    def on_payload(self, handlers: object, operation: str, change: Callable[[Json], None]) -> None:
        """Change what one operation answers when it succeeds."""

        async def handle(inner: Callable[..., Awaitable[Reply]], call: Call, **arguments: Any) -> Reply:
            reply = await inner(call, **arguments)
            payload = orjson.loads(reply.payload if isinstance(reply.payload, bytes) else orjson.dumps(reply.payload))
            change(payload)
            return replace(reply, payload=payload)

        self.around(handlers, operation, handle)

    async def stored(self, account: AccountId, session_id: str) -> tuple[CheckoutSession | None, int]:
        """A session as it is kept, though its deadline may have passed, and the account's now."""
        async with self.store.transaction(account) as tx:
            return await tx.session(session_id), self.service.now(tx)

    def refusal(self, error: Exception) -> Answer:
        """The answer to a request that a layer refuses."""
        reply = self.hooks.render_error(error, None)
        body = orjson.dumps(reply.payload)
        request_id = self.hooks.new_request_id().encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b""), (b"request-id", request_id)]
        return Answer(reply.status, [*headers, *reply.headers], body)

    # for `apply_bugs`

    def install(self) -> None:
        """Bring the changes into force, once all defects have said theirs."""
        if self._transactions:
            store: Any = _Store(self.store, self._transactions)
            self.service._store = store
            self.accounts._store = store
            self.dispatcher._store = store
        for step in self._later:
            step()
        if self._page_sessions:
            self.pages["/pay"] = hosted.create_pages(self._page_service())
        if self._page_traffic:
            self.pages["/pay"] = Traffic(self.pages["/pay"], self._page_traffic, bases=(), leaves_out=())

    def _page_service(self) -> CheckoutService:
        service = copy(self.service)

        async def find(session_id: str) -> tuple[AccountId, CheckoutSession] | None:
            found = await self.service.find(session_id)
            if found is None:
                return None
            account, session = found
            for change in self._page_sessions:
                session = change(session)
            return account, session

        # Found by name in the copy before its class; the original's own methods stay what they are.
        vars(service)["find"] = find
        return service

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """The finished app with the layers of `on_traffic`."""
        if not self._traffic:
            return app
        return Traffic(app, self._traffic, bases=self.documents[0][1], leaves_out=("/_mock", *self.pages))


def _each(change: Callable[[Json], None], values: Sequence[Json]) -> None:
    for value in values:
        change(value)


def _rewritten(body: bytes, change: Callable[[Json], None]) -> bytes:
    """A JSON object, changed; anything else, and what is not changed, stays byte for byte."""
    try:
        value = orjson.loads(body)
        before = orjson.dumps(value)
    except (orjson.JSONDecodeError, TypeError):
        return body
    if not isinstance(value, dict):
        return body
    change(value)
    after = orjson.dumps(value)
    return body if after == before else after


class _Store:
    """A store whose units of work are tampered with."""

    def __init__(self, inner: Store, wrappers: dict[str, list[Wrapper]]) -> None:
        self._inner = inner
        self._wrappers = wrappers

    def transaction(self, account: AccountId, **how: Any) -> _Unit:
        return _Unit(self._inner.transaction(account, **how), self._wrappers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Unit:
    def __init__(self, inner: Any, wrappers: dict[str, list[Wrapper]]) -> None:
        self._inner = inner
        self._wrappers = wrappers

    async def __aenter__(self) -> _Transaction:
        return _Transaction(await self._inner.__aenter__(), self._wrappers)

    async def __aexit__(self, *error: object) -> Any:
        return await self._inner.__aexit__(*error)


class _Transaction:
    def __init__(self, inner: Any, wrappers: dict[str, list[Wrapper]]) -> None:
        self._inner = inner
        self._wrappers = wrappers

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        for wrapper in self._wrappers.get(name, ()):
            method = partial(wrapper, method, self)
        return method
