"""What a defect can change in one app: its rules, its store, the public methods of its parts, and its traffic.

Everything is changed on the objects of one app and never in a module. A broken mock and a correct one can run side by
side in a process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import orjson
from starlette.types import ASGIApp

from qashier_mock.accounts import AccountService
from qashier_mock.bugs.traffic import Answer, Layer, Traffic
from qashier_mock.core.idempotency import IdempotencyRecord
from qashier_mock.core.model import AccountId, CheckoutSession, EventType
from qashier_mock.core.request import RequestRef
from qashier_mock.core.rules import DEFAULT_RULES, Rules
from qashier_mock.core.sources import IdSource
from qashier_mock.pipeline import Document, Hooks
from qashier_mock.service import CheckoutService
from qashier_mock.stores.base import Store, Transaction
from qashier_mock.web import hosted
from qashier_mock.web.api import ApiHandlers
from qashier_mock.web.control import ControlHandlers
from qashier_mock.webhooks import Dispatcher

Json: TypeAlias = dict[str, Any]
Inner: TypeAlias = Callable[..., Any]
"""What a wrapper is called in place of; as a rule it calls that in the end."""

Wrapper: TypeAlias = Callable[..., Any]
"""Called as `wrapper(inner, *arguments)` in place of `inner(*arguments)`."""

Documents: TypeAlias = list[tuple[Document | Path, tuple[str, ...]]]
PartName: TypeAlias = Literal["service", "accounts", "dispatcher", "hooks", "api", "control"]


@dataclass(slots=True)
class Parts:
    """One app with its defects.

    A defect is applied first: it registers what to change. Then the app is composed: it takes `rules` and `store_over`,
    calls `install` once its parts are made, and `wrap` in the end. What a defect has registered may use the parts when
    it is called.

    Attributes:
        document: Changes of the public API's document before it is compiled; it must stay a valid one.
        traffic: Layers around the public API: every path but the pages' and the control API's.
        page_traffic: Layers around the hosted pages.
        page_sessions: Have the hosted pages, and nothing else, see other sessions than there are.
        rules: The rules for the services.
        store: Where everything is kept, as the services see it.
    """

    rules: Rules = DEFAULT_RULES
    store: Store = field(init=False)
    service: CheckoutService = field(init=False)
    accounts: AccountService = field(init=False)
    dispatcher: Dispatcher = field(init=False)
    hooks: Hooks = field(init=False)
    api: ApiHandlers = field(init=False)
    control: ControlHandlers = field(init=False)
    ids: IdSource = field(init=False)
    _methods: list[tuple[PartName, str, Wrapper]] = field(default_factory=list)
    _transactions: dict[str, list[Wrapper]] = field(default_factory=dict)
    document: list[Callable[[Json], None]] = field(default_factory=list)
    traffic: list[Layer] = field(default_factory=list)
    page_traffic: list[Layer] = field(default_factory=list)
    page_sessions: list[Callable[[CheckoutSession], CheckoutSession]] = field(default_factory=list)
    _unwrapped: tuple[str, ...] = ()
    _bases: tuple[str, ...] = ()

    # what a defect registers

    def on_rule(self, name: str, wrapper: Wrapper) -> None:
        """Have `wrapper(inner, …)` called in place of a rule (`core/rules.py`)."""
        self.rules = replace(self.rules, **{name: partial(wrapper, getattr(self.rules, name))})

    def on_transaction(self, name: str, wrapper: Wrapper) -> None:
        """Have `wrapper(inner, tx, …)` called in place of the method `name` of each unit of work, of any store."""
        self._transactions.setdefault(getattr(Transaction, name).__name__, []).append(wrapper)

    def on_method(self, part: PartName, name: str, wrapper: Wrapper) -> None:
        """Have `wrapper(inner, …)` called in place of a public method of a part."""
        self._methods.append((part, name, wrapper))

    # what a defect asks while the app runs

    async def stored(self, account: AccountId, session_id: str) -> tuple[CheckoutSession | None, int]:
        """A session as it is kept, though its deadline may have passed, and the account's now."""
        async with self.store.transaction(account) as tx:
            return await tx.session(session_id), self.service.now(tx)

    async def remembered(self, account: AccountId, request: RequestRef) -> IdempotencyRecord | None:
        """What the request's idempotency key was used for, as far as that is remembered."""
        if request.idempotency_key is None:
            return None
        async with self.store.transaction(account) as tx:
            record = await tx.recall(request.idempotency_key)
            return record if record is not None and record.is_remembered(self.service.now(tx)) else None

    async def record_expiry(self, account: AccountId, session: CheckoutSession, request: RequestRef | None) -> None:
        """Send `checkout.session.expired` for a session, whether it has expired or not."""
        async with self.store.transaction(account) as tx:
            await self.service.record_event(tx, session, EventType.EXPIRED, self.service.now(tx), request)

    def refusal(self, error: Exception) -> Answer:
        """The answer to a request that a layer refuses."""
        reply = self.hooks.render_error(error, None)
        body = orjson.dumps(reply.payload)
        request_id = self.hooks.new_request_id().encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b""), (b"request-id", request_id)]
        return Answer(reply.status, [*headers, *reply.headers], body)

    # what the app asks while it is composed

    def store_over(self, store: Store) -> Store:
        """The store for the services."""
        self.store = _Store(store, self._transactions) if self._transactions else store
        return self.store

    def install(self, *, documents: Documents, pages: dict[str, ASGIApp], ids: IdSource, **parts: Any) -> None:
        """Apply the changes of methods, documents and pages, once the parts are made.

        Args:
            documents: What the pipeline will compile, each with its base paths, the public API's first; changed here.
            pages: Foreign apps by path prefix; the hosted pages are at `/pay`; changed here.
            ids: What ids are drawn from.
            parts: Each part by its `PartName`.
        """
        self.ids = ids
        for name, part in parts.items():
            setattr(self, name, part)
        for part_name, method, wrapper in self._methods:
            part = getattr(self, part_name)
            setattr(part, method, partial(wrapper, getattr(part, method)))
        source, self._bases = documents[0]
        if self.document:
            content = orjson.loads(orjson.dumps(Document.load(source).content))
            for change in self.document:
                change(content)
            documents[0] = (Document(content, proven=True, name="qashier.yaml"), self._bases)
        if self.page_sessions:
            pages["/pay"] = hosted.create_pages(self._page_service())
        if self.page_traffic:
            pages["/pay"] = Traffic(pages["/pay"], self.page_traffic, bases=(), leaves_out=())
        self._unwrapped = ("/_mock", *pages)

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """The finished app with the layers around the public API."""
        return Traffic(app, self.traffic, bases=self._bases, leaves_out=self._unwrapped) if self.traffic else app

    def _page_service(self) -> CheckoutService:
        service = copy(self.service)

        async def find(session_id: str) -> tuple[AccountId, CheckoutSession] | None:
            found = await self.service.find(session_id)
            if found is None:
                return None
            account, session = found
            for change in self.page_sessions:
                session = change(session)
            return account, session

        # Found by name in the copy before its class; the original's own methods stay what they are.
        vars(service)["find"] = find
        return service


def changed_json(body: bytes, change: Callable[[Json], object]) -> bytes:
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


def each_of(change: Callable[[Json], object], values: Iterable[Json]) -> None:
    """Change each of some JSON objects."""
    for value in values:
        change(value)


class _Store:
    """A store with wrappers around the methods of its units of work."""

    def __init__(self, inner: Store, wrappers: dict[str, list[Wrapper]]) -> None:
        self._inner = inner
        self._wrappers = wrappers

    @asynccontextmanager
    async def transaction(self, account: AccountId, **how: Any) -> AsyncIterator[Any]:
        async with self._inner.transaction(account, **how) as tx:
            yield _Transaction(tx, self._wrappers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Transaction:
    def __init__(self, inner: Any, wrappers: dict[str, list[Wrapper]]) -> None:
        self._inner = inner
        self._wrappers = wrappers

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        for wrapper in self._wrappers.get(name, ()):
            method = partial(wrapper, method, self)
        return method
