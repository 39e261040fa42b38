"""LIS: pages that are shaped, cut, ordered or continued wrongly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from qashier_mock.bugs.changes import LIST, list_parameters, method, page, paging, query, reply, schema
from qashier_mock.bugs.parts import Inner, Parts
from qashier_mock.bugs.table import Change, defect, row
from qashier_mock.core.model import CheckoutSession
from qashier_mock.core.paging import CreatedRange, ListQuery, Page
from qashier_mock.pipeline import Call, Reply

LIMIT = "parameters.PageLimit.schema"

ALL = 2**62
"""A limit that no account reaches."""


def sliced(sessions: Sequence[CheckoutSession], asked: ListQuery) -> Page:
    """The page of what lies beyond the cursor, as the correct code would cut it."""
    shown = sessions[-asked.limit :] if asked.ending_before is not None else sessions[: asked.limit]
    return Page(tuple(shown), len(sessions) > asked.limit)


def without_cursor(asked: ListQuery) -> ListQuery:
    """The query from the top."""
    return replace(asked, starting_after=None, ending_before=None)


def _ordered_by(key: Callable[[CheckoutSession], Any]) -> Change:
    """List in another order, cursors included; sessions with an equal key stay newest first."""

    async def ordered(_parts: Parts, inner: Inner, tx: Any, asked: ListQuery, cursor: int | None) -> Page:
        everything = await inner(replace(without_cursor(asked), limit=ALL), None)
        found = sorted(everything.sessions, key=key)
        if cursor is not None:
            marked = key((await tx.sessions())[cursor])
            is_beyond = marked.__gt__ if asked.ending_before is not None else marked.__lt__
            found = [session for session in found if is_beyond(key(session))]
        return sliced(found, asked)

    return paging(ordered)


def _without_words(parameters: dict[str, str]) -> None:
    if not parameters.get("limit", "1").lstrip("-").isdecimal():
        del parameters["limit"]


def _at_most_100(parameters: dict[str, str]) -> None:
    limit = parameters.get("limit", "")
    if limit.isdecimal() and int(limit[:19]) > 100:
        parameters["limit"] = "100"


# fmt: off
row("LIS-1", "list-url-with-prefix", "`url` of a list is the path with the prefix of production.",
    reply(LIST, lambda shown: shown.update(url="/v3/payment/qpay/checkout/sessions")))
row("LIS-1", "has-more-left-out", "A list that has no more says nothing of `has_more`.",
    reply(LIST, lambda shown: None if shown["has_more"] else shown.pop("has_more")))
row("LIS-2", "limit-above-100-cut", "A `limit` above 100 is taken for 100 instead of refused.",
    list_parameters(_at_most_100))
row("LIS-2", "limit-zero-accepted", "A `limit` of 0 is accepted, and answered with an empty page.",
    schema(LIMIT, minimum=0))
row("LIS-2", "limit-100-refused", "A `limit` of 100 is refused: the bound itself is left out.",
    schema(LIMIT, maximum=99))
row("LIS-2", "limit-20-by-default", "Without `limit` a page has 20 entries.", schema(LIMIT, default=20))
row("LIS-2", "limit-words-ignored", "A `limit` that is no number is ignored instead of refused.",
    list_parameters(_without_words))
row("LIS-3", "limit-100-gives-99", "A page for `limit=100` has 99 entries at most.",
    query(lambda asked: replace(asked, limit=99 if asked.limit == 100 else asked.limit)))
row("LIS-3", "pages-of-50-at-most", "A page has 50 entries at most, though `limit` asks for more and more match.",
    query(lambda asked: replace(asked, limit=min(50, asked.limit))))
row("LIS-4", "oldest-first", "A list is oldest first, and its cursors go that way.",
    _ordered_by(lambda session: session.sequence))
row("LIS-4", "ties-oldest-first", "Sessions of the same second come in the order of their creation.",
    _ordered_by(lambda session: (-session.created, session.sequence)))
row("LIS-5", "starting-after-inclusive", "The page after a cursor begins with the cursor itself.",
    query(lambda asked: asked, cursor=lambda asked, place: place + (asked.starting_after is not None)))
row("LIS-5", "starting-after-skips-one", "The page after a cursor leaves out the entry that comes next.",
    query(lambda asked: asked, cursor=lambda asked, place: place - (asked.starting_after is not None)))
row("LIS-6", "ending-before-inclusive", "The page before a cursor ends with the cursor itself.",
    query(lambda asked: asked, cursor=lambda asked, place: place - (asked.ending_before is not None)))
row("LIS-6", "ending-before-oldest-first", "The page before a cursor is oldest first, as it was read.",
    page(lambda shown, asked: replace(shown, sessions=shown.sessions[::-1]) if asked.ending_before else shown))
row("LIS-7", "has-more-on-a-full-page",
    "`has_more` is true for each page of exactly `limit` entries, also when it is the last one.",
    page(lambda shown, asked: replace(shown, has_more=len(shown.sessions) == asked.limit)))
row("LIS-7", "has-more-never-backwards", "`has_more` is false for each page before a cursor.",
    page(lambda shown, asked: replace(shown, has_more=shown.has_more and not asked.ending_before)))
# fmt: on


@defect("LIS-1", method("api", LIST))
async def list_is_an_array(_parts: Parts, inner: Inner, call: Call, **parameters: Any) -> Reply:
    """A list is answered with the bare array of its entries."""
    answered: Reply = await inner(call, **parameters)
    return replace(answered, payload=answered.payload["data"])


@defect("LIS-3", paging)
async def one_entry_too_many(_parts: Parts, inner: Inner, _tx: Any, asked: ListQuery, cursor: int | None) -> Page:
    """A page that is not the last one shows the entry too that was read to find out."""
    found = await inner(replace(asked, limit=asked.limit + 1), cursor)
    return Page(found.sessions, has_more=len(found.sessions) > asked.limit)


@defect("LIS-4")
def last_changed_first(parts: Parts) -> None:
    """A list has the session on top that changed last, instead of the one created last."""
    changes: dict[str, int] = {}
    numbers = count()

    async def changed(inner: Inner, _tx: Any, before: CheckoutSession, session: CheckoutSession) -> None:
        changes[session.id] = next(numbers)
        await inner(before, session)

    parts.on_transaction("replace_session", changed)
    _ordered_by(lambda session: (-changes.get(session.id, -1), -session.sequence))(parts)


@defect("LIS-5", paging)
async def starting_after_skips_the_second(
    _parts: Parts, inner: Inner, tx: Any, asked: ListQuery, cursor: int | None
) -> object:
    """The page after a cursor leaves out what was created in the same second as the cursor."""
    if cursor is not None and asked.starting_after is not None:
        marked = (await tx.sessions())[cursor].created
        until = marked if asked.created.until is None else min(asked.created.until, marked)
        asked = replace(asked, created=replace(asked.created, until=until))
    return await inner(asked, cursor)


@defect("LIS-6", paging)
async def ending_before_from_the_top(
    _parts: Parts, inner: Inner, _tx: Any, asked: ListQuery, cursor: int | None
) -> object:
    """The page before a cursor holds the newest entries, instead of those directly before it."""
    if asked.ending_before is None:
        return await inner(asked, cursor)
    everything = (await inner(replace(asked, limit=ALL), cursor)).sessions
    return Page(everything[: asked.limit], len(everything) > asked.limit)


@defect("LIS-7", paging)
async def has_more_without_filters(_parts: Parts, inner: Inner, _tx: Any, asked: ListQuery, cursor: int | None) -> Page:
    """`has_more` counts the sessions that the filters leave out."""
    found: Page = await inner(asked, cursor)
    unfiltered = await inner(replace(asked, status=None, created=CreatedRange()), cursor)
    return replace(found, has_more=unfiltered.has_more)
