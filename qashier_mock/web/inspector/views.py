"""What the inspector shows."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from qashier_mock.core.faults import FaultAction
from qashier_mock.core.journal import JournalEntry
from qashier_mock.core.model import AccountId, Status
from qashier_mock.core.paging import ListQuery
from qashier_mock.web import wire
from qashier_mock.web.inspector.door import Handler
from qashier_mock.web.inspector.news import News
from qashier_mock.web.inspector.parts import PAGES, PREFIX, InspectorParts, account_of_path, path_of

Ask = Callable[[AccountId], Awaitable[Sequence[Any]]]

PAGE_SIZE: Final = 50
ROWS: Final = 200
"""Events, attempts and requests that one page shows, the newest."""


class Views:
    """What each address shows."""

    def __init__(self, parts: InspectorParts) -> None:
        self._parts = parts
        self._inspection = parts.inspection

    async def to_front(self, request: Request) -> Response:  # noqa: ARG002 - every handler gets its request
        """Lead on to the first page."""
        return RedirectResponse(f"{PREFIX}/", HTTPStatus.SEE_OTHER)

    async def show_accounts(self, request: Request) -> Response:  # noqa: ARG002
        """Every account that has something."""
        found = await self._inspection.accounts()
        return PAGES.render(
            "accounts.html", live="", accounts=found, hints=self._parts.hints, address=self._parts.address()
        )

    async def show_sessions(self, request: Request) -> Response:
        """An account's sessions: a page of them, those of one status, or what a search found."""
        account = account_of_path(request)
        asked = request.query_params
        text = asked.get("q", "").strip()
        status = Status(asked["status"]) if asked.get("status") in set(Status) else None
        if text:
            return await self._page(
                request,
                "sessions.html",
                sessions=await self._inspection.search(account, text),
                q=text,
                status_shown=None,
            )
        query = ListQuery(
            limit=PAGE_SIZE,
            starting_after=asked.get("after"),
            ending_before=None if asked.get("after") else asked.get("before"),
            status=status,
        )
        page = await self._inspection.sessions(account, query)
        newer = asked.get("after") is not None or (query.ending_before is not None and page.has_more)
        older = page.has_more if query.ending_before is None else True
        return await self._page(
            request, "sessions.html", sessions=page.sessions, q="", status_shown=status, newer=newer, older=older
        )

    async def show_session(self, request: Request) -> Response:
        """A session and its timeline."""
        history = await self._inspection.session(account_of_path(request), request.path_params["session"])
        endpoints = {each.id: each for each in await self._parts.accounts.endpoints(account_of_path(request))}
        signature = self._parts.dispatcher.signature
        return await self._page(request, "session.html", history=history, endpoints=endpoints, signature=signature)

    def listing(self, template: str, name: str, ask: Ask, *, newest_first: bool = False) -> Handler:
        """What shows all that an account has of a kind, oldest first, or the newest `ROWS` alone, the latest on top.

        The template knows them by `name`, and how many there are as `total`.
        """

        async def show(request: Request) -> Response:
            found = await ask(account_of_path(request))
            shown = found[::-1][:ROWS] if newest_first else found
            return await self._page(request, template, **{name: shown, "total": len(found)})

        return show

    async def _page(self, request: Request, template: str, **values: Any) -> Response:
        account = account_of_path(request)
        return PAGES.render(
            template,
            account=account,
            hint=self._parts.hints.get(account, account),
            clock=await self._parts.accounts.clock(account),
            live=f"?account={account}",
            here=path_of(request),
            below=f"{PREFIX}/accounts/{account}",
            curl=self._curl,
            actions=list(FaultAction),
            listen=f"qashier-mock listen --url {self._parts.address()}",
            body_of=lambda event: wire.event_to_bytes(event).decode(),
            **values,
        )

    def _curl(self, entry: JournalEntry) -> str:
        """A shell command that sends a request of the journal again; the key comes from the environment."""
        words = ["curl", "-i", "-X", entry.method]
        body = entry.request_body
        if entry.idempotency_key is not None:
            words += ["-H", f"Idempotency-Key: {entry.idempotency_key}"]
        if body:
            words += ["-H", "Content-Type: application/json", "--data-binary", body.decode("utf-8", "replace")]
        words.append(self._parts.address() + entry.path.decode("latin-1"))
        return f'curl -u "$QASHIER_API_KEY:" {shlex.join(words[1:])}'

    async def stream(self, request: Request) -> Response:
        """Server-sent events: one whenever there is news of an account, or of any."""
        asked = request.query_params.get("account")
        account = None if asked is None else AccountId(asked)

        return News(partial(self._inspection.version, account), self._parts.is_closing)
