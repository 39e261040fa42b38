"""What a defect can change in one app: its rules, its store, the public methods of its parts, and its traffic.

Everything is changed on the objects of one app and never in a module. A broken mock and a correct one can run side by
side in a process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import orjson
from starlette.types import ASGIApp

from qashier_mock.accounts import AccountService
from qashier_mock.bugs.traffic import Answer, Layer, Traffic
from qashier_mock.core.model import AccountId, CheckoutSession, EventType
from qashier_mock.core.paging import ListQuery, Page
from qashier_mock.core.rules import DEFAULT_RULES, Rules
from qashier_mock.core.sources import SeededIds
from qashier_mock.pipeline.document import Document
from qashier_mock.pipeline.exchange import Hooks
from qashier_mock.pipeline.sending import answer_of, encode
from qashier_mock.service import CheckoutService
from qashier_mock.stores.base import Store
from qashier_mock.web import hosted
from qashier_mock.web.api import ApiHandlers
from qashier_mock.web.control import ControlHandlers
from qashier_mock.webhooks import Dispatcher

Json: TypeAlias = dict[str, Any]
Inner: TypeAlias = Callable[..., Any]
"""What a wrapper is called in place of; as a rule it calls that in the end."""

Wrapper: TypeAlias = Callable[..., Any]
"""Called as `wrapper(inner, *arguments)` in place of `inner(*arguments)`."""

Documents: TypeAlias = list[tuple[Document, tuple[str, ...]]]
PartName: TypeAlias = Literal["service", "accounts", "dispatcher", "hooks", "api", "control"]


@dataclass(slots=True)
class Parts:
    """One app with its defects.

    A defect is applied first: it registers what to change, in the words of `changes.py`. Then the app is composed: it
    takes `rules` and `store_over`, calls `install` once its parts are made, and `wrap` in the end. What a defect has
    registered may use the parts when it is called.

    Attributes:
        methods: Wrappers of public methods: the part, the method, and what is called in its place.
        transactions: Wrappers of the methods of each unit of work, of any store.
        document: Changes of the public API's document before it is compiled; it must stay a valid one.
        traffic: Layers around every path but the pages' and the control API's.
        page_finds: Wrappers of how the hosted pages find a session.
    """

    rules: Rules = DEFAULT_RULES
    store: Store = field(init=False)
    service: CheckoutService = field(init=False)
    accounts: AccountService = field(init=False)
    dispatcher: Dispatcher = field(init=False)
    hooks: Hooks = field(init=False)
    api: ApiHandlers = field(init=False)
    control: ControlHandlers = field(init=False)
    ids: SeededIds = field(init=False)
    methods: list[tuple[PartName, str, Wrapper]] = field(default_factory=list)
    transactions: dict[str, list[Wrapper]] = field(default_factory=dict)
    document: list[Callable[[Json], None]] = field(default_factory=list)
    traffic: list[Layer] = field(default_factory=list)
    page_traffic: list[Layer] = field(default_factory=list)
    page_finds: list[Wrapper] = field(default_factory=list)
    _unwrapped: tuple[str, ...] = ()
    _bases: tuple[str, ...] = ()

    def refusal(self, error: Exception) -> Answer:
        """The answer to a request that a layer refuses, while the app runs."""
        reply = self.hooks.render_error(error, None)
        return Answer(*answer_of(reply, encode(reply), self.hooks.new_request_id()))

    def store_over(self, store: Store) -> Store:
        """The store for the services."""
        self.store = _Store(store, self.transactions) if self.transactions else store
        return self.store

    def install(self, *, documents: Documents, pages: dict[str, ASGIApp], **parts: Any) -> None:
        """Apply the changes once the parts are made: to them, to the first of the documents and to the pages."""
        for name, part in parts.items():
            setattr(self, name, part)
        for part_name, method, wrapper in self.methods:
            part = getattr(self, part_name)
            setattr(part, method, partial(wrapper, getattr(part, method)))
        document, self._bases = documents[0]
        if self.document:
            content = orjson.loads(orjson.dumps(document.content))
            for change in self.document:
                change(content)
            documents[0] = (Document(content, proven=True, name="qashier.yaml"), self._bases)
        if self.page_finds:
            seen: Any = _Wrapped(self.service, {"find": self.page_finds})
            pages["/pay"] = hosted.create_pages(seen)
        if self.page_traffic:
            pages["/pay"] = Traffic(pages["/pay"], self.page_traffic, bases=(), leaves_out=())
        self._unwrapped = ("/_mock", *pages)

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """The finished app with the layers around the public API."""
        return Traffic(app, self.traffic, bases=self._bases, leaves_out=self._unwrapped) if self.traffic else app


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the checkout service that is about to be done.

    Attributes:
        subject: The body of a create, the id of a session, or the query of a list.
        by: Who asks; the trigger of `apply`; None for a list.
    """

    parts: Parts
    account: AccountId
    subject: Any
    by: Any
    _inner: Inner

    async def do(self, **changes: Any) -> Any:
        """Do it, with some attributes changed."""
        changed = replace(self, **changes)
        return await self._inner(changed.account, changed.subject, *([] if changed.by is None else [changed.by]))

    async def stored(self, session_id: str | None = None) -> tuple[CheckoutSession | None, int]:
        """The session as it is kept, though its deadline may have passed, and the account's now."""
        async with self.parts.store.transaction(self.account) as tx:
            return await tx.session(session_id or self.subject), self.parts.service.now(tx)

    async def is_repeated(self) -> bool:
        """Whether the request's idempotency key is remembered."""
        if self.by.idempotency_key is None:
            return False
        async with self.parts.store.transaction(self.account) as tx:
            record = await tx.recall(self.by.idempotency_key)
            return record is not None and record.is_remembered(self.parts.service.now(tx))

    async def record_expiry(self, session: CheckoutSession) -> None:
        """Send `checkout.session.expired` for a session, whether it has expired or not."""
        async with self.parts.store.transaction(self.account) as tx:
            await self.parts.service.record_event(tx, session, EventType.EXPIRED, self.parts.service.now(tx), self.by)


ALL: Final = 2**62
"""A limit that no account reaches."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A page that a store is about to be asked for.

    Attributes:
        cursor: The sequence of the session that the query's cursor names.
        marked: That session.
    """

    account: AccountId
    query: ListQuery
    cursor: int | None
    marked: CheckoutSession | None
    _inner: Inner

    async def page(self, **changes: Any) -> Page:
        """The correct page, or that of a changed query."""
        found: Page = await self._inner(replace(self.query, **changes), self.cursor)
        return found

    async def all(self, **changes: Any) -> Sequence[CheckoutSession]:
        """All that lies beyond the cursor."""
        return (await self.page(limit=ALL, **changes)).sessions

    def cut(self, sessions: Sequence[CheckoutSession]) -> Page:
        """The page of what lies beyond the cursor, as the correct code would cut it."""
        limit = self.query.limit
        shown = sessions[-limit:] if self.query.ending_before is not None else sessions[:limit]
        return Page(tuple(shown), len(sessions) > limit)

    def from_the_top(self) -> Listing:
        """The same without a cursor."""
        return replace(self, query=without_cursor(self.query), cursor=None, marked=None)


def without_cursor(query: ListQuery) -> ListQuery:
    """The query from the top."""
    return replace(query, starting_after=None, ending_before=None)


class _Wrapped:
    """An object with `wrapper(inner, self, …)` called in place of some of its methods."""

    def __init__(self, inner: Any, wrappers: Mapping[str, Sequence[Wrapper]]) -> None:
        self._inner = inner
        self._wrappers = wrappers

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        for wrapper in self._wrappers.get(name, ()):
            method = partial(wrapper, method, self)
        return method


class _Store(_Wrapped):
    """A store with wrappers around the methods of its units of work."""

    @asynccontextmanager
    async def transaction(self, account: AccountId, **how: Any) -> AsyncIterator[Any]:
        async with self._inner.transaction(account, **how) as tx:
            yield _Wrapped(tx, self._wrappers)
