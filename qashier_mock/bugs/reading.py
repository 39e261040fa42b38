"""RET: reads that show something else, change something, or tire of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from qashier_mock.bugs.parts import Json, Parts
from qashier_mock.bugs.table import defect
from qashier_mock.bugs.traffic import Answer, Request, Respond
from qashier_mock.core.errors import SessionNotOpen
from qashier_mock.core.lifecycle import LONGEST_LIFE, Trigger, advance
from qashier_mock.core.model import AccountId, CheckoutSession
from qashier_mock.pipeline import Reply
from qashier_mock.web.wire import error_to_json


@defect("RET-1")
def retrieve_is_cached(parts: Parts) -> None:
    """Retrieve remembers an open session, and expire forgets to tell it: a session that was read before shows open."""
    cached: dict[str, CheckoutSession] = {}
    expired: set[str] = set()

    async def retrieve(
        inner: Callable[..., Awaitable[CheckoutSession]], account: AccountId, session_id: str, request: object
    ) -> CheckoutSession:
        session = await inner(account, session_id, request)
        if session.is_open:
            cached[session_id] = session
        return cached.get(session_id, session) if session_id in expired else session

    async def expire(inner: Callable[..., Any], account: AccountId, session_id: str, request: object) -> object:
        session = await inner(account, session_id, request)
        expired.add(session_id)
        return session

    parts.around(parts.service, "retrieve", retrieve)
    parts.around(parts.service, "expire", expire)


@defect("RET-1")
def expire_is_not_saved(parts: Parts) -> None:
    """Expire answers with the expired session and saves nothing: retrieve shows it open."""

    async def expire(inner: Callable[..., Any], account: AccountId, session_id: str, request: object) -> object:
        session, now = await parts.stored(account, session_id)
        if session is None or not session.is_open or now >= session.expires_at:
            return await inner(account, session_id, request)
        return advance(session, Trigger.EXPIRE_REQUESTED, now)[0]

    parts.around(parts.service, "expire", expire)


@defect("RET-1")
def retrieve_shows_the_default_expiry(parts: Parts) -> None:
    """Retrieve shows `expires_at` 24 hours after `created`, whatever the create answered."""

    def change(session: Json) -> None:
        session["expires_at"] = session["created"] + LONGEST_LIFE

    parts.on_payload(parts.api, "retrieve_checkout_session", change)


@defect("RET-2")
def unknown_id_is_a_bad_request(parts: Parts) -> None:
    """Retrieving an unknown id is answered with 400 instead of 404."""
    parts.on_unknown("retrieve_checkout_session", lambda error, _id: Reply(400, error_to_json(error)))


@defect("RET-2")
def unknown_id_is_empty(parts: Parts) -> None:
    """Retrieving an unknown id is answered with 200 and an empty object."""
    parts.on_unknown("retrieve_checkout_session", lambda _error, _id: Reply(200, {}))


def _per_read(parts: Parts, change: Callable[[Json, int], None]) -> None:
    """Change what retrieve shows by how often the session was retrieved before."""
    reads: dict[str, int] = {}

    def show(session: Json) -> None:
        before = reads.get(session["id"], 0)
        reads[session["id"]] = before + 1
        change(session, before)

    parts.on_payload(parts.api, "retrieve_checkout_session", show)


@defect("RET-3")
def reading_prolongs(parts: Parts) -> None:
    """Each retrieve shows an `expires_at` a minute later than the one before."""
    _per_read(parts, lambda session, before: session.update(expires_at=session["expires_at"] + 60 * before))


@defect("RET-3")
def reading_renews_the_url(parts: Parts) -> None:
    """Each retrieve after the first shows another `url`."""

    def renew(session: Json, before: int) -> None:
        if before:
            session["url"] += f"?visit={before}"

    _per_read(parts, renew)


@defect("RET-3")
def opening_the_page_pays(parts: Parts) -> None:
    """Opening the hosted page of a session, without pressing anything, completes it."""

    async def layer(request: Request, respond: Respond) -> Answer:
        session_id = request.path.removeprefix("/pay/")
        found = await parts.service.find(session_id) if request.method == "GET" else None
        if found is not None:
            try:
                await parts.service.apply(found[0], session_id, Trigger.PAYMENT_SUCCEEDED)
            except SessionNotOpen:
                return await respond(request)
        return await respond(request)

    parts.on_pages(layer)


@defect("RET-4")
def url_gone_when_complete(parts: Parts) -> None:
    """A complete session shows its `url` no more: it is empty."""

    def hide(session: Json) -> None:
        if session["status"] == "complete":
            session["url"] = ""

    parts.on_sessions(hide, in_events=False)


@defect("RET-4")
def lines_gone_when_expired(parts: Parts) -> None:
    """An expired session shows its lines no more."""

    def hide(session: Json) -> None:
        if session["status"] == "expired":
            session["line_items"]["data"] = []

    parts.on_sessions(hide, in_events=False)
