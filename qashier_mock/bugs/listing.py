"""LIS: pages that are shaped, cut, ordered or continued wrongly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlencode

from qashier_mock.bugs.parts import Json, Parts
from qashier_mock.bugs.table import defect
from qashier_mock.bugs.traffic import Request
from qashier_mock.core.model import CheckoutSession
from qashier_mock.core.paging import CreatedRange, ListQuery, Page
from qashier_mock.pipeline import Call, Reply

Paging = Callable[[ListQuery, int | None], Awaitable[Page]]

ALL = 2**62
"""A limit that no account reaches."""


def on_page(parts: Parts, change: Callable[[Page, ListQuery], Page]) -> None:
    """Change the page that a store answers with."""

    async def page(inner: Paging, _tx: Any, query: ListQuery, cursor: int | None) -> Page:
        return change(await inner(query, cursor), query)

    parts.on_transaction("page", page)


def on_query(parts: Parts, change: Callable[[ListQuery, int | None], tuple[ListQuery, int | None]]) -> None:
    """Change what a store is asked: the query, and the position of its cursor."""

    async def page(inner: Paging, _tx: Any, query: ListQuery, cursor: int | None) -> Page:
        return await inner(*change(query, cursor))

    parts.on_transaction("page", page)


def sliced(sessions: list[CheckoutSession], query: ListQuery) -> Page:
    """The page of what lies beyond the cursor, as the correct code would cut it."""
    if query.ending_before is not None:
        return Page(tuple(sessions[-query.limit :]), len(sessions) > query.limit)
    return Page(tuple(sessions[: query.limit]), len(sessions) > query.limit)


def _ordered_by(parts: Parts, key: Callable[[CheckoutSession], Any]) -> None:
    """List in another order, cursors included; sessions with an equal key stay newest first."""

    async def page(inner: Paging, tx: Any, query: ListQuery, cursor: int | None) -> Page:
        everything = await inner(replace(query, limit=ALL, starting_after=None, ending_before=None), None)
        found = sorted(everything.sessions, key=key)
        if cursor is not None:
            marked = key((await tx.sessions())[cursor])
            is_beyond = marked.__gt__ if query.ending_before is not None else marked.__lt__
            found = [session for session in found if is_beyond(key(session))]
        return sliced(found, query)

    parts.on_transaction("page", page)


def on_parameters(parts: Parts, change: Callable[[dict[str, str]], None]) -> None:
    """Change the query of lists before it is looked at."""

    def rewrite(request: Request) -> None:
        if not request.is_list:
            return
        pairs = parse_qsl(request.query.decode("latin-1"), keep_blank_values=True)
        parameters = dict(pairs)
        if len(parameters) < len(pairs):
            return
        before = dict(parameters)
        change(parameters)
        if parameters != before:
            request.query = urlencode(parameters).encode()

    parts.on_request(rewrite)


def without_cursor(query: ListQuery) -> ListQuery:
    return replace(query, starting_after=None, ending_before=None)


@defect("LIS-1")
def list_is_an_array(parts: Parts) -> None:
    """A list is answered with the bare array of its entries."""

    async def handle(inner: Callable[..., Awaitable[Reply]], call: Call, **parameters: Any) -> Reply:
        reply = await inner(call, **parameters)
        return replace(reply, payload=reply.payload["data"])

    parts.around(parts.api, "list_checkout_sessions", handle)


@defect("LIS-1")
def list_url_with_prefix(parts: Parts) -> None:
    """`url` of a list is the path with the prefix of production."""
    change = "/v3/payment/qpay/checkout/sessions"
    parts.on_payload(parts.api, "list_checkout_sessions", lambda page: page.update(url=change))


@defect("LIS-1")
def has_more_left_out(parts: Parts) -> None:
    """A list that has no more says nothing of `has_more`."""

    def leave_out(page: Json) -> None:
        if not page["has_more"]:
            del page["has_more"]

    parts.on_payload(parts.api, "list_checkout_sessions", leave_out)


@defect("LIS-2")
def limit_above_100_cut(parts: Parts) -> None:
    """A `limit` above 100 is taken for 100 instead of refused."""

    def cut(parameters: dict[str, str]) -> None:
        limit = parameters.get("limit", "")
        if limit.isdecimal() and int(limit[:19]) > 100:
            parameters["limit"] = "100"

    on_parameters(parts, cut)


@defect("LIS-2")
def limit_zero_accepted(parts: Parts) -> None:
    """A `limit` of 0 is accepted, and answered with an empty page."""
    parts.on_schema("parameters.Limit.schema", minimum=0)


@defect("LIS-2")
def limit_100_refused(parts: Parts) -> None:
    """A `limit` of 100 is refused: the bound itself is left out."""
    parts.on_schema("parameters.Limit.schema", maximum=99)


@defect("LIS-2")
def limit_20_by_default(parts: Parts) -> None:
    """Without `limit` a page has 20 entries."""
    parts.on_schema("parameters.Limit.schema", default=20)


@defect("LIS-2")
def limit_words_ignored(parts: Parts) -> None:
    """A `limit` that is no number is ignored instead of refused."""

    def ignore(parameters: dict[str, str]) -> None:
        if not parameters.get("limit", "1").lstrip("-").isdecimal():
            del parameters["limit"]

    on_parameters(parts, ignore)


@defect("LIS-3")
def limit_100_gives_99(parts: Parts) -> None:
    """A page for `limit=100` has 99 entries at most."""
    on_query(parts, lambda query, cursor: (replace(query, limit=99 if query.limit == 100 else query.limit), cursor))


@defect("LIS-3")
def one_entry_too_many(parts: Parts) -> None:
    """A page that is not the last one shows the entry too that was read to find out."""

    async def page(inner: Paging, _tx: Any, query: ListQuery, cursor: int | None) -> Page:
        found = await inner(replace(query, limit=query.limit + 1), cursor)
        return Page(found.sessions, has_more=len(found.sessions) > query.limit)

    parts.on_transaction("page", page)


@defect("LIS-3")
def pages_of_50_at_most(parts: Parts) -> None:
    """A page has 50 entries at most, though `limit` asks for more and more match."""
    on_query(parts, lambda query, cursor: (replace(query, limit=min(50, query.limit)), cursor))


@defect("LIS-4")
def oldest_first(parts: Parts) -> None:
    """A list is oldest first, and its cursors go that way."""
    _ordered_by(parts, lambda session: session.sequence)


@defect("LIS-4")
def ties_oldest_first(parts: Parts) -> None:
    """Sessions of the same second come in the order of their creation."""
    _ordered_by(parts, lambda session: (-session.created, session.sequence))


@defect("LIS-4")
def last_changed_first(parts: Parts) -> None:
    """A list has the session on top that changed last, instead of the one created last."""
    changes: dict[str, int] = {}
    numbers = count()

    async def changed(inner: Callable[..., Any], _tx: Any, session: CheckoutSession) -> None:
        changes[session.id] = next(numbers)
        await inner(session)

    parts.on_transaction("replace_session", changed)
    _ordered_by(parts, lambda session: (-changes.get(session.id, -1), -session.sequence))


@defect("LIS-5")
def starting_after_inclusive(parts: Parts) -> None:
    """The page after a cursor begins with the cursor itself."""

    def shift(query: ListQuery, cursor: int | None) -> tuple[ListQuery, int | None]:
        return query, cursor if cursor is None or query.starting_after is None else cursor + 1

    on_query(parts, shift)


@defect("LIS-5")
def starting_after_skips_one(parts: Parts) -> None:
    """The page after a cursor leaves out the entry that comes next."""

    def shift(query: ListQuery, cursor: int | None) -> tuple[ListQuery, int | None]:
        return query, cursor if cursor is None or query.starting_after is None else cursor - 1

    on_query(parts, shift)


@defect("LIS-5")
def starting_after_skips_the_second(parts: Parts) -> None:
    """The page after a cursor leaves out what was created in the same second as the cursor."""

    async def page(inner: Paging, tx: Any, query: ListQuery, cursor: int | None) -> Page:
        if cursor is None or query.starting_after is None:
            return await inner(query, cursor)
        marked = (await tx.sessions())[cursor].created
        until = query.created.until
        earlier = replace(query.created, until=marked if until is None else min(until, marked))
        return await inner(replace(query, created=earlier), cursor)

    parts.on_transaction("page", page)


@defect("LIS-6")
def ending_before_inclusive(parts: Parts) -> None:
    """The page before a cursor ends with the cursor itself."""

    def shift(query: ListQuery, cursor: int | None) -> tuple[ListQuery, int | None]:
        return query, cursor if cursor is None or query.ending_before is None else cursor - 1

    on_query(parts, shift)


@defect("LIS-6")
def ending_before_from_the_top(parts: Parts) -> None:
    """The page before a cursor holds the newest entries, instead of those directly before it."""

    async def page(inner: Paging, _tx: Any, query: ListQuery, cursor: int | None) -> Page:
        if query.ending_before is None:
            return await inner(query, cursor)
        everything = await inner(replace(query, limit=ALL), cursor)
        return Page(everything.sessions[: query.limit], len(everything.sessions) > query.limit)

    parts.on_transaction("page", page)


@defect("LIS-6")
def ending_before_oldest_first(parts: Parts) -> None:
    """The page before a cursor is oldest first, as it was read."""

    def reverse(page: Page, query: ListQuery) -> Page:
        return page if query.ending_before is None else replace(page, sessions=page.sessions[::-1])

    on_page(parts, reverse)


@defect("LIS-7")
def has_more_on_a_full_page(parts: Parts) -> None:
    """`has_more` is true for each page of exactly `limit` entries, also when it is the last one."""
    on_page(parts, lambda page, query: replace(page, has_more=len(page.sessions) == query.limit))


@defect("LIS-7")
def has_more_never_backwards(parts: Parts) -> None:
    """`has_more` is false for each page before a cursor."""
    on_page(parts, lambda page, query: page if query.ending_before is None else replace(page, has_more=False))


@defect("LIS-7")
def has_more_without_filters(parts: Parts) -> None:
    """`has_more` counts the sessions that the filters leave out."""

    async def page(inner: Paging, _tx: Any, query: ListQuery, cursor: int | None) -> Page:
        found = await inner(query, cursor)
        unfiltered = await inner(replace(query, status=None, created=CreatedRange()), cursor)
        return replace(found, has_more=unfiltered.has_more)

    parts.on_transaction("page", page)
