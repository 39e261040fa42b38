"""LIS: pages, cursors and filters that find too much, too little, or the wrong place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from qashier_mock.bugs.changes import (
    LIST,
    answer,
    command,
    entries,
    is_free,
    list_parameters,
    method,
    moved,
    page,
    paging,
    query,
    reply,
    schema,
    several,
)
from qashier_mock.bugs.parts import Inner, Parts
from qashier_mock.bugs.table import Change, defect, row
from qashier_mock.bugs.traffic import Answer, Request
from qashier_mock.core.errors import CursorUnknown
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import AccountId, CheckoutSession, Status
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


def _kept_if(keeps: Callable[[CheckoutSession, Status], bool]) -> Change:
    """Filter by status in another way."""

    async def filtered(_parts: Parts, inner: Inner, _tx: Any, asked: ListQuery, cursor: int | None) -> object:
        status = asked.status
        if status is None:
            return await inner(asked, cursor)
        everything = await inner(replace(asked, status=None, limit=ALL), cursor)
        return sliced([session for session in everything.sessions if keeps(session, status)], asked)

    return paging(filtered)


def _bounds(change: Callable[[dict[str, int]], None]) -> Change:
    """Change the bounds of `created` as the handler gets them."""

    async def handle(_parts: Parts, inner: Inner, call: Call, **parameters: Any) -> object:
        bounds = {name: value for name, value in parameters.items() if name.startswith("created_")}
        others = {name: value for name, value in parameters.items() if name not in bounds}
        change(bounds)
        return await inner(call, **others, **bounds)

    return method("api", LIST)(handle)


def _moved_bound(bound: str, by: int) -> Change:
    name = f"created_{bound}"
    return _bounds(lambda bounds: bounds.update({name: bounds[name] + by} if name in bounds else {}))


def _keep_one(bounds: dict[str, int]) -> None:
    for name in list(bounds)[:-1]:
        del bounds[name]


def _unknown_cursor(other: Callable[[ListQuery], ListQuery | None]) -> Change:
    """Answer a cursor that names no session of any account with the page of another query, or with an empty one."""

    async def list_sessions(parts: Parts, inner: Inner, account: AccountId, asked: ListQuery) -> object:
        try:
            return await inner(account, asked)
        except CursorUnknown:
            if await parts.service.find(asked.starting_after or asked.ending_before or "") is not None:
                raise
        instead = other(asked)
        return Page((), has_more=False) if instead is None else await inner(account, instead)

    return command("list_sessions")(list_sessions)


def _filtered_cursor(instead: Callable[[Inner, ListQuery], Awaitable[Page]]) -> Change:
    """Answer otherwise where the cursor's session is one that the filters leave out."""

    async def judged(_parts: Parts, inner: Inner, tx: Any, asked: ListQuery, cursor: int | None) -> Page:
        marked = None if cursor is None else (await tx.sessions())[cursor]
        since, until = asked.created.since, asked.created.until
        is_kept = marked is None or (
            asked.status in {None, marked.status}
            and (since is None or marked.created >= since)
            and (until is None or marked.created < until)
        )
        return await (inner(asked, cursor) if is_kept else instead(inner, asked))

    return paging(judged)


def _is_bound(name: str) -> bool:
    return name in {f"created[{bound}]" for bound in ("gt", "gte", "lt", "lte")}


def _ignored(is_ignored: Callable[[str, str], bool]) -> Change:
    """Leave some parameters of a list out, by name and value, before they are validated."""

    def drop(parameters: dict[str, str]) -> None:
        for name, value in list(parameters.items()):
            if is_ignored(name, value):
                del parameters[name]

    return list_parameters(drop)


@defect("LIS-8")
def status_filter_forgets_the_clock(parts: Parts) -> None:
    """The filter `status` works on the status as of the last request: what expired by the clock is found as open."""
    by_clock: set[str] = set()

    def note(session: CheckoutSession, trigger: Trigger, _now: int) -> CheckoutSession:
        if trigger is Trigger.DEADLINE_PASSED:
            by_clock.add(session.id)
        return session

    def keeps(session: CheckoutSession, status: Status) -> bool:
        return status is (Status.OPEN if session.id in by_clock else session.status)

    several(moved(note), _kept_if(keeps))(parts)


@defect("LIS-10", answer)
def empty_list_is_not_found(asked: Request, answered: Answer) -> None:
    """A list of nothing is answered with 404."""
    if asked.is_list and answered.status == 200 and not answered.json["data"]:
        answered.status = 404
        message = "No checkout session matches."
        answered.json = {"error": {"type": "invalid_request_error", "code": "not_found", "message": message}}


@defect("LIS-11")
def pages_by_offset(parts: Parts) -> None:
    """The page after a cursor is counted off from the top: where sessions came meanwhile, entries come again."""
    offsets: dict[tuple[str, int, Status | None, CreatedRange], int] = {}

    async def counted(inner: Inner, tx: Any, asked: ListQuery, cursor: int | None) -> object:
        offset = 0 if cursor is None else offsets.get((tx.account, cursor, asked.status, asked.created))
        if asked.ending_before is not None or offset is None:
            return await inner(asked, cursor)
        everything = await inner(replace(without_cursor(asked), limit=ALL), None)
        found = sliced(everything.sessions[offset:], asked)
        for place, session in enumerate(found.sessions, offset + 1):
            offsets[tx.account, session.sequence, asked.status, asked.created] = place
        return found

    parts.on_transaction("page", counted)


def _beside_a_cursor(change: Callable[[ListQuery], ListQuery]) -> Change:
    return query(lambda asked: change(asked) if asked.starting_after or asked.ending_before else asked)


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
row("LIS-8", "complete-includes-expired", "`status=complete` also finds expired sessions: whatever is not open.",
    _kept_if(lambda session, status: session.status is status
             or (status is Status.COMPLETE and session.status is Status.EXPIRED)))
row("LIS-8", "complete-means-paid",
    "`status=complete` leaves out sessions with a total of 0, because nobody paid them.",
    _kept_if(lambda session, status: session.status is status
             and not (status is Status.COMPLETE and is_free(session))))
row("LIS-8", "status-filter-ignored", "The filter `status` finds the sessions of every status.",
    _kept_if(lambda _session, _status: True))
row("LIS-9", "created-gt-inclusive", "`created[gt]` keeps the sessions of that very second.", _moved_bound("gt", -1))
row("LIS-9", "created-gte-exclusive", "`created[gte]` leaves out the sessions of that very second.",
    _moved_bound("gte", 1))
row("LIS-9", "created-lt-inclusive", "`created[lt]` keeps the sessions of that very second.", _moved_bound("lt", 1))
row("LIS-9", "created-lte-exclusive", "`created[lte]` leaves out the sessions of that very second.",
    _moved_bound("lte", -1))
row("LIS-9", "last-bound-counts", "Of several bounds of `created` only one counts.", _bounds(_keep_one))
row("LIS-10", "empty-list-is-null", "`data` of a list of nothing is null.",
    reply(LIST, lambda page: page.update(data=page["data"] or None)))
row("LIS-10", "empty-list-has-more", "A list of nothing says that it has more.",
    reply(LIST, lambda page: page.update(has_more=page["has_more"] or not page["data"])))
row("LIS-12", "cursor-drops-the-status", "Where a cursor is given, the filter `status` is ignored.",
    _beside_a_cursor(lambda asked: replace(asked, status=None)))
row("LIS-12", "cursor-drops-the-interval", "Where a cursor is given, the bounds of `created` are ignored.",
    _beside_a_cursor(lambda asked: replace(asked, created=CreatedRange())))
row("LIS-12", "filtered-cursor-starts-over",
    "A cursor that the filters leave out marks no place: the page is the first one.",
    _filtered_cursor(lambda inner, asked: inner(without_cursor(asked), None)))
row("LIS-13", "unknown-cursor-ignored", "A cursor that names no session is ignored: the page is the first one.",
    _unknown_cursor(without_cursor))
row("LIS-13", "unknown-cursor-gives-nothing", "A cursor that names no session is answered with an empty page.",
    _unknown_cursor(lambda _asked: None))
row("LIS-14", "entries-without-lines", "An entry of a list has no lines.",
    entries(lambda session: session["line_items"].update(data=[])))
row("LIS-14", "entries-never-paid", "An entry of a list shows a paid session as `unpaid`.",
    entries(lambda session: session.update(
        payment_status="unpaid" if session["payment_status"] == "paid" else session["payment_status"])))
row("LIS-15", "status-filter-unknown-accepted",
    "A `status` that is none of the three is ignored: the list has the sessions of every status.",
    _ignored(lambda name, value: name == "status" and value != "" and value not in set(Status)))
row("LIS-15", "status-filter-empty-accepted", "An empty `status` is ignored instead of refused.",
    _ignored(lambda name, value: name == "status" and not value))
row("LIS-15", "unknown-bound-of-created-ignored", "An unknown bound of `created`, such as `created[from]`, is ignored.",
    _ignored(lambda name, _value: name.startswith("created[") and not _is_bound(name)))
row("LIS-15", "bound-that-is-no-integer-ignored", "A bound of `created` that is no integer is ignored.",
    _ignored(lambda name, value: _is_bound(name) and not value.isdecimal()))
# fmt: on


@defect("LIS-12", _filtered_cursor)
async def filtered_cursor_unknown(_inner: Inner, asked: ListQuery) -> Page:
    """A cursor that the filters leave out is refused as unknown."""
    raise CursorUnknown("starting_after", asked.starting_after or asked.ending_before or "")


@defect("LIS-13", command("list_sessions"))
async def both_cursors_accepted(_parts: Parts, inner: Inner, account: AccountId, asked: ListQuery) -> object:
    """Where both cursors are given, `ending_before` is ignored."""
    return await inner(account, replace(asked, ending_before=None) if asked.starting_after else asked)
