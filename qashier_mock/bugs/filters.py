"""LIS: filters, walks and cursors that find too much, too little, or the wrong place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from qashier_mock.bugs.listing import ALL, Paging, on_query, sliced, without_cursor
from qashier_mock.bugs.parts import Json, Parts
from qashier_mock.bugs.table import defect
from qashier_mock.bugs.traffic import Answer, Request
from qashier_mock.core.errors import CursorUnknown
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import AccountId, CheckoutSession, EventType, PaymentStatus, Status
from qashier_mock.core.paging import CreatedRange, ListQuery, Page
from qashier_mock.pipeline import Call, Reply


def _kept_if(parts: Parts, keeps: Callable[[CheckoutSession, Status], bool]) -> None:
    """Filter by status in another way."""

    async def page(inner: Paging, _tx: Any, query: ListQuery, cursor: int | None) -> Page:
        status = query.status
        if status is None:
            return await inner(query, cursor)
        everything = await inner(replace(query, status=None, limit=ALL), cursor)
        return sliced([session for session in everything.sessions if keeps(session, status)], query)

    parts.on_transaction("page", page)


def _on_unknown_cursor(parts: Parts, answer: Callable[[ListQuery], ListQuery | None]) -> None:
    """Answer a cursor that names no session of any account with the page of another query, or with an empty one."""

    async def list_sessions(inner: Callable[..., Any], account: AccountId, query: ListQuery) -> object:
        try:
            return await inner(account, query)
        except CursorUnknown:
            if await parts.service.find(query.starting_after or query.ending_before or "") is not None:
                raise
            other = answer(query)
        return Page((), has_more=False) if other is None else await inner(account, other)

    parts.around(parts.service, "list_sessions", list_sessions)


@defect("LIS-8")
def status_filter_forgets_the_clock(parts: Parts) -> None:
    """The filter `status` works on the status as of the last request: what expired by the clock is found as open."""
    by_clock: set[str] = set()

    def advance(
        inner: Callable[..., tuple[CheckoutSession, EventType | None]],
        session: CheckoutSession,
        trigger: Trigger,
        now: int,
    ) -> tuple[CheckoutSession, EventType | None]:
        if trigger is Trigger.DEADLINE_PASSED:
            by_clock.add(session.id)
        return inner(session, trigger, now)

    def keeps(session: CheckoutSession, status: Status) -> bool:
        return status is (Status.OPEN if session.id in by_clock else session.status)

    parts.on_advance(advance)
    _kept_if(parts, keeps)


@defect("LIS-8")
def complete_includes_expired(parts: Parts) -> None:
    """`status=complete` also finds expired sessions: whatever is not open."""

    def keeps(session: CheckoutSession, status: Status) -> bool:
        return session.status is status or (status is Status.COMPLETE and session.status is Status.EXPIRED)

    _kept_if(parts, keeps)


@defect("LIS-8")
def complete_means_paid(parts: Parts) -> None:
    """`status=complete` leaves out sessions with a total of 0, because nobody paid them."""

    def keeps(session: CheckoutSession, status: Status) -> bool:
        is_free = session.payment_status is PaymentStatus.NO_PAYMENT_REQUIRED
        return session.status is status and not (status is Status.COMPLETE and is_free)

    _kept_if(parts, keeps)


@defect("LIS-8")
def status_filter_ignored(parts: Parts) -> None:
    """The filter `status` finds the sessions of every status."""
    _kept_if(parts, lambda _session, _status: True)


def _with_bounds(parts: Parts, change: Callable[[dict[str, int]], None]) -> None:
    """Change the bounds of `created` as the handler gets them."""

    async def handle(inner: Callable[..., Awaitable[Reply]], call: Call, **parameters: Any) -> Reply:
        if "created" in parameters:
            bounds = dict(parameters["created"])
            change(bounds)
            parameters["created"] = bounds
        return await inner(call, **parameters)

    parts.around(parts.api, "list_checkout_sessions", handle)


def _moved_bound(parts: Parts, bound: str, by: int) -> None:
    def move(bounds: dict[str, int]) -> None:
        if bound in bounds:
            bounds[bound] += by

    _with_bounds(parts, move)


@defect("LIS-9")
def created_gt_inclusive(parts: Parts) -> None:
    """`created[gt]` keeps the sessions of that very second."""
    _moved_bound(parts, "gt", -1)


@defect("LIS-9")
def created_gte_exclusive(parts: Parts) -> None:
    """`created[gte]` leaves out the sessions of that very second."""
    _moved_bound(parts, "gte", 1)


@defect("LIS-9")
def created_lt_inclusive(parts: Parts) -> None:
    """`created[lt]` keeps the sessions of that very second."""
    _moved_bound(parts, "lt", 1)


@defect("LIS-9")
def created_lte_exclusive(parts: Parts) -> None:
    """`created[lte]` leaves out the sessions of that very second."""
    _moved_bound(parts, "lte", -1)


@defect("LIS-9")
def last_bound_counts(parts: Parts) -> None:
    """Of several bounds of `created` only one counts."""

    def keep_one(bounds: dict[str, int]) -> None:
        for name in list(bounds)[:-1]:
            del bounds[name]

    _with_bounds(parts, keep_one)


def _is_empty(page: Json) -> bool:
    return not page["data"]


@defect("LIS-10")
def empty_list_is_not_found(parts: Parts) -> None:
    """A list of nothing is answered with 404."""

    def not_found(request: Request, answer: Answer) -> None:
        if request.is_list and answer.status == 200 and _is_empty(answer.json):
            answer.status = 404
            message = "No checkout session matches."
            answer.json = {"error": {"type": "invalid_request_error", "code": "not_found", "message": message}}

    parts.on_answer(not_found)


@defect("LIS-10")
def empty_list_is_null(parts: Parts) -> None:
    """`data` of a list of nothing is null."""

    def clear(page: Json) -> None:
        if _is_empty(page):
            page["data"] = None

    parts.on_payload(parts.api, "list_checkout_sessions", clear)


@defect("LIS-10")
def empty_list_has_more(parts: Parts) -> None:
    """A list of nothing says that it has more."""

    def promise(page: Json) -> None:
        page["has_more"] = page["has_more"] or _is_empty(page)

    parts.on_payload(parts.api, "list_checkout_sessions", promise)


@defect("LIS-11")
def pages_by_offset(parts: Parts) -> None:
    """The page after a cursor is counted off from the top: where sessions came meanwhile, entries come again."""
    offsets: dict[tuple[str, int, Status | None, CreatedRange], int] = {}

    async def page(inner: Paging, tx: Any, query: ListQuery, cursor: int | None) -> Page:
        if query.ending_before is not None:
            return await inner(query, cursor)
        offset = 0 if cursor is None else offsets.get((tx.account, cursor, query.status, query.created))
        if offset is None:
            return await inner(query, cursor)
        everything = await inner(replace(without_cursor(query), limit=ALL), None)
        found = sliced(list(everything.sessions[offset:]), query)
        for place, session in enumerate(found.sessions, offset + 1):
            offsets[tx.account, session.sequence, query.status, query.created] = place
        return found

    parts.on_transaction("page", page)


@defect("LIS-12")
def cursor_drops_the_status(parts: Parts) -> None:
    """Where a cursor is given, the filter `status` is ignored."""

    def drop(query: ListQuery, cursor: int | None) -> tuple[ListQuery, int | None]:
        return query if cursor is None else replace(query, status=None), cursor

    on_query(parts, drop)


@defect("LIS-12")
def cursor_drops_the_interval(parts: Parts) -> None:
    """Where a cursor is given, the bounds of `created` are ignored."""

    def drop(query: ListQuery, cursor: int | None) -> tuple[ListQuery, int | None]:
        return query if cursor is None else replace(query, created=CreatedRange()), cursor

    on_query(parts, drop)


def _on_filtered_cursor(parts: Parts, answer: Callable[[Paging, ListQuery], Awaitable[Page]]) -> None:
    """Answer otherwise where the cursor's session is one that the filters leave out."""

    async def page(inner: Paging, tx: Any, query: ListQuery, cursor: int | None) -> Page:
        if cursor is None:
            return await inner(query, cursor)
        marked = (await tx.sessions())[cursor]
        since, until = query.created.since, query.created.until
        is_kept = (
            query.status in {None, marked.status}
            and (since is None or marked.created >= since)
            and (until is None or marked.created < until)
        )
        return await inner(query, cursor) if is_kept else await answer(inner, query)

    parts.on_transaction("page", page)


@defect("LIS-12")
def filtered_cursor_unknown(parts: Parts) -> None:
    """A cursor that the filters leave out is refused as unknown."""

    async def refuse(_inner: Paging, query: ListQuery) -> Page:
        raise CursorUnknown("starting_after", query.starting_after or query.ending_before or "")

    _on_filtered_cursor(parts, refuse)


@defect("LIS-12")
def filtered_cursor_starts_over(parts: Parts) -> None:
    """A cursor that the filters leave out marks no place: the page is the first one."""

    async def start_over(inner: Paging, query: ListQuery) -> Page:
        return await inner(without_cursor(query), None)

    _on_filtered_cursor(parts, start_over)


@defect("LIS-13")
def both_cursors_accepted(parts: Parts) -> None:
    """Where both cursors are given, `ending_before` is ignored."""

    async def list_sessions(inner: Callable[..., Any], account: AccountId, query: ListQuery) -> object:
        return await inner(account, replace(query, ending_before=None) if query.starting_after else query)

    parts.around(parts.service, "list_sessions", list_sessions)


@defect("LIS-13")
def unknown_cursor_ignored(parts: Parts) -> None:
    """A cursor that names no session is ignored: the page is the first one."""
    _on_unknown_cursor(parts, without_cursor)


@defect("LIS-13")
def unknown_cursor_gives_nothing(parts: Parts) -> None:
    """A cursor that names no session is answered with an empty page."""
    _on_unknown_cursor(parts, lambda _query: None)


@defect("LIS-14")
def entries_without_lines(parts: Parts) -> None:
    """An entry of a list has no lines."""
    parts.on_entries(lambda session: session["line_items"].update(data=[]))


@defect("LIS-14")
def entries_never_paid(parts: Parts) -> None:
    """An entry of a list shows a paid session as `unpaid`."""

    def forget(session: Json) -> None:
        if session["payment_status"] == "paid":
            session["payment_status"] = "unpaid"

    parts.on_entries(forget)
