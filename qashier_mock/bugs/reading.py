"""RET, LIS: reads, pages, cursors and filters that show too much, too little or something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from qashier_mock.bugs import changes
from qashier_mock.bugs.changes import LIST, RETRIEVE, is_free
from qashier_mock.bugs.parts import Command, Inner, Json, Listing, Parts
from qashier_mock.bugs.table import Change, anew, defect, row, several
from qashier_mock.bugs.traffic import Request
from qashier_mock.core.errors import CursorUnknown
from qashier_mock.core.lifecycle import LONGEST_LIFE, Trigger, advance
from qashier_mock.core.model import CheckoutSession, Status
from qashier_mock.core.paging import CreatedRange, ListQuery, Page
from qashier_mock.pipeline.exchange import Call
from qashier_mock.service import Advised

LIMIT = "parameters.PageLimit.schema"
_NO_MATCH = b'{"error":{"type":"invalid_request_error","code":"not_found","message":"No checkout session matches."}}'
BOUNDS = {f"created[{bound}]" for bound in ("gt", "gte", "lt", "lte")}


@anew
def _per_read(change: Callable[[Json, int], object]) -> Change:
    """Change what retrieve shows by how often the session was retrieved before."""
    reads: Counter[str] = Counter()

    def show(session: Json) -> None:
        change(session, reads[session["id"]])
        reads[session["id"]] += 1

    return changes.reply(RETRIEVE, show)


def _parameters(convert: Callable[[str, str], str | None]) -> Change:
    """Give the parameters of lists other values before they are looked at, from name and value; None leaves one out."""

    def rewrite(asked: Request) -> None:
        sent = parse_qsl(asked.query.decode("latin-1"), keep_blank_values=True)
        converted = [(name, value) for name, old in sent if (value := convert(name, old)) is not None]
        if asked.is_list and converted != sent and len(dict(sent)) == len(sent):  # one that is given twice is refused
            asked.query = urlencode(converted).encode()

    return changes.request(rewrite)


def _ignored(is_ignored: Callable[[str, str], bool]) -> Change:
    """Leave some parameters of lists out, by name and value."""
    return _parameters(lambda name, value: None if is_ignored(name, value) else value)


def _at_most_100(name: str, value: str) -> str:
    return "100" if name == "limit" and value.isdecimal() and int(value[:19]) > 100 else value


def _bounds(change: Callable[[dict[str, int]], dict[str, int]]) -> Change:
    """Change the bounds of `created` as the handler gets them."""

    async def handle(_parts: Parts, inner: Inner, call: Call, **parameters: Any) -> object:
        bounds = {name: value for name, value in parameters.items() if name.startswith("created_")}
        others = {name: value for name, value in parameters.items() if name not in bounds}
        return await inner(call, **others, **change(bounds))

    return changes.method("api", LIST)(handle)


def _moved_bound(bound: str, by: int) -> Change:
    return _bounds(lambda bounds: {name: old + by * name.endswith(f"_{bound}") for name, old in bounds.items()})


def _ordered_by(key: Callable[[CheckoutSession], Any]) -> Change:
    """List in another order, cursors included; sessions with an equal key stay newest first."""

    async def ordered(asked: Listing) -> Page:
        found = sorted(await asked.from_the_top().all(), key=key)
        if asked.marked is not None:
            marked = key(asked.marked)
            is_beyond = marked.__gt__ if asked.query.ending_before is not None else marked.__lt__
            found = [session for session in found if is_beyond(key(session))]
        return asked.cut(found)

    return changes.paging(ordered)


def _kept_if(keeps: Callable[[CheckoutSession, Status], bool]) -> Change:
    """Filter by status in another way."""

    async def filtered(asked: Listing) -> Page:
        status = asked.query.status
        if status is None:
            return await asked.page()
        return asked.cut([session for session in await asked.all(status=None) if keeps(session, status)])

    return changes.paging(filtered)


def _filtered_cursor(instead: Callable[[Listing], Awaitable[Page]]) -> Change:
    """Answer otherwise where the cursor's session is one that the filters leave out."""

    async def judged(asked: Listing) -> Page:
        marked, status, created = asked.marked, asked.query.status, asked.query.created
        is_kept = marked is None or (
            status in {None, marked.status}
            and (created.since is None or marked.created >= created.since)
            and (created.until is None or marked.created < created.until)
        )
        return await (asked.page() if is_kept else instead(asked))

    return changes.paging(judged)


def _beside_a_cursor(change: Callable[[ListQuery], ListQuery]) -> Change:
    return changes.query(lambda asked: change(asked) if asked.starting_after or asked.ending_before else asked)


# fmt: off
row("RET-1", "retrieve-shows-the-default-expiry", "Retrieve shows `expires_at` 24 hours after creation, always.",
    changes.reply(RETRIEVE, lambda session: session.update(expires_at=session["created"] + LONGEST_LIFE)))
row("RET-2", "unknown-id-is-a-bad-request", "Retrieving an unknown id is answered with 400 instead of 404.",
    changes.unknown_id(RETRIEVE, 400))
row("RET-2", "unknown-id-is-empty", "Retrieving an unknown id is answered with 200 and an empty object.",
    changes.unknown_id(RETRIEVE, 200, lambda _session_id: {}))
row("RET-3", "reading-prolongs", "Each retrieve shows an `expires_at` a minute later than the one before.",
    _per_read(lambda session, before: session.update(expires_at=session["expires_at"] + 60 * before)))
row("RET-3", "reading-renews-the-url", "Each retrieve after the first shows another `url`.",
    _per_read(lambda session, before: session.update(
        url=session["url"] + (f"?visit={before}" if before else ""))))
row("RET-4", "url-gone-when-complete", "A complete session shows its `url` no more: it is empty.",
    changes.shown(lambda session: session.update(url="" if session["status"] == "complete" else session["url"])))
row("RET-4", "lines-gone-when-expired", "An expired session shows its lines no more.",
    changes.shown(lambda session: session["line_items"].update(
        data=[] if session["status"] == "expired" else session["line_items"]["data"])))
row("LIS-1", "list-is-an-array", "A list is answered with the bare array of its entries.",
    changes.answer_if(lambda asked, answered: asked.is_list and answered.status == 200,
                      body=lambda page: orjson.dumps(orjson.loads(page)["data"])))
row("LIS-1", "list-url-with-prefix", "`url` of a list is the path with the prefix of production.",
    changes.reply(LIST, lambda shown: shown.update(url="/v3/payment/qpay/checkout/sessions")))
row("LIS-1", "has-more-left-out", "A list that has no more says nothing of `has_more`.",
    changes.reply(LIST, lambda shown: None if shown["has_more"] else shown.pop("has_more")))
row("LIS-2", "limit-above-100-cut", "A `limit` above 100 is taken for 100 instead of refused.",
    _parameters(_at_most_100))
row("LIS-2", "limit-zero-accepted", "A `limit` of 0 is accepted, and answered with an empty page.",
    changes.schema(LIMIT, minimum=0))
row("LIS-2", "limit-100-refused", "A `limit` of 100 is refused: the bound itself is left out.",
    changes.schema(LIMIT, maximum=99))
row("LIS-2", "limit-20-by-default", "Without `limit` a page has 20 entries.", changes.schema(LIMIT, default=20))
row("LIS-2", "limit-words-ignored", "A `limit` that is no number is ignored instead of refused.",
    _ignored(lambda name, value: name == "limit" and not value.lstrip("-").isdecimal()))
row("LIS-3", "limit-100-gives-99", "A page for `limit=100` has 99 entries at most.",
    changes.query(lambda asked: replace(asked, limit=99 if asked.limit == 100 else asked.limit)))
row("LIS-3", "pages-of-50-at-most", "A page has 50 entries at most, though `limit` asks for more and more match.",
    changes.query(lambda asked: replace(asked, limit=min(50, asked.limit))))
row("LIS-4", "oldest-first", "A list is oldest first, and its cursors go that way.",
    _ordered_by(lambda session: session.sequence))
row("LIS-4", "ties-oldest-first", "Sessions of the same second come in the order of their creation.",
    _ordered_by(lambda session: (-session.created, session.sequence)))
row("LIS-5", "starting-after-inclusive", "The page after a cursor begins with the cursor itself.",
    changes.query(lambda asked: asked, cursor=lambda asked: int(asked.starting_after is not None)))
row("LIS-5", "starting-after-skips-one", "The page after a cursor leaves out the entry that comes next.",
    changes.query(lambda asked: asked, cursor=lambda asked: -(asked.starting_after is not None)))
row("LIS-6", "ending-before-inclusive", "The page before a cursor ends with the cursor itself.",
    changes.query(lambda asked: asked, cursor=lambda asked: -(asked.ending_before is not None)))
row("LIS-6", "ending-before-oldest-first", "The page before a cursor is oldest first, as it was read.",
    changes.page(lambda shown, asked: replace(shown, sessions=shown.sessions[::-1]) if asked.ending_before else shown))
row("LIS-7", "has-more-on-a-full-page", "`has_more` is true for each page of exactly `limit` entries, even the last.",
    changes.page(lambda shown, asked: replace(shown, has_more=len(shown.sessions) == asked.limit)))
row("LIS-7", "has-more-never-backwards", "`has_more` is false for each page before a cursor.",
    changes.page(lambda shown, asked: replace(shown, has_more=shown.has_more and not asked.ending_before)))
row("LIS-8", "complete-includes-expired", "`status=complete` also finds expired sessions: whatever is not open.",
    _kept_if(lambda session, status: session.status is status
             or (status is Status.COMPLETE and session.status is Status.EXPIRED)))
row("LIS-8", "complete-means-paid", "`status=complete` leaves out sessions with a total of 0: nobody paid them.",
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
row("LIS-9", "last-bound-counts", "Of several bounds of `created` only one counts.",
    _bounds(lambda bounds: dict([*bounds.items()][-1:])))
row("LIS-10", "empty-list-is-null", "`data` of a list of nothing is null.",
    changes.reply(LIST, lambda page: page.update(data=page["data"] or None)))
row("LIS-10", "empty-list-is-not-found", "A list of nothing is answered with 404.",
    changes.answer_if(lambda asked, answered: asked.is_list and answered.status == 200 and not answered.json["data"],
                      status=404, body=lambda _page: _NO_MATCH))
row("LIS-10", "empty-list-has-more", "A list of nothing says that it has more.",
    changes.reply(LIST, lambda page: page.update(has_more=page["has_more"] or not page["data"])))
row("LIS-12", "cursor-drops-the-status", "Where a cursor is given, the filter `status` is ignored.",
    _beside_a_cursor(lambda asked: replace(asked, status=None)))
row("LIS-12", "cursor-drops-the-interval", "Where a cursor is given, the bounds of `created` are ignored.",
    _beside_a_cursor(lambda asked: replace(asked, created=CreatedRange())))
row("LIS-12", "filtered-cursor-starts-over", "A cursor that the filters leave out is ignored: the page is the first.",
    _filtered_cursor(lambda asked: asked.from_the_top().page()))
row("LIS-13", "unknown-cursor-ignored", "A cursor that names no session is ignored: the page is the first one.",
    changes.foreign_cursor(is_known=False))
row("LIS-13", "unknown-cursor-gives-nothing", "A cursor that names no session is answered with an empty page.",
    changes.foreign_cursor(is_known=False, shows_nothing=True))
row("LIS-14", "entries-without-lines", "An entry of a list has no lines.",
    changes.entries(lambda session: session["line_items"].update(data=[])))
row("LIS-14", "entries-never-paid", "An entry of a list shows a paid session as `unpaid`.",
    changes.entries(lambda session: session.update(
        payment_status="unpaid" if session["payment_status"] == "paid" else session["payment_status"])))
row("LIS-15", "status-filter-unknown-accepted", "A `status` that is none of the three is ignored instead of refused.",
    _ignored(lambda name, value: name == "status" and value != "" and value not in set(Status)))
row("LIS-15", "status-filter-empty-accepted", "An empty `status` is ignored instead of refused.",
    _ignored(lambda name, value: name == "status" and not value))
row("LIS-15", "unknown-bound-of-created-ignored", "An unknown bound of `created`, such as `created[from]`, is ignored.",
    _ignored(lambda name, _value: name.startswith("created[") and name not in BOUNDS))
row("LIS-15", "bound-that-is-no-integer-ignored", "A bound of `created` that is no integer is ignored.",
    _ignored(lambda name, value: name in BOUNDS and not value.isdecimal()))
# fmt: on


@defect("RET-1")
def retrieve_is_cached() -> Change:
    """Retrieve remembers an open session, and expire forgets to tell it: a session that was read before shows open."""
    cached: dict[str, CheckoutSession] = {}
    expired: set[str] = set()

    async def retrieve(asked: Command) -> Advised:
        session, advice = await asked.do()
        if session.is_open:
            cached[session.id] = session
        return (cached.get(session.id, session) if session.id in expired else session), advice

    async def expire(asked: Command) -> object:
        answer = await asked.do()
        expired.add(asked.subject)
        return answer

    return several(changes.command("retrieve")(retrieve), changes.command("expire")(expire))


@defect("RET-1", changes.command("expire"))
async def expire_is_not_saved(asked: Command) -> object:
    """Expire answers with the expired session and saves nothing: retrieve shows it open."""
    session, now = await asked.stored()
    if session is None or not session.is_open or now >= session.expires_at:
        return await asked.do()
    return advance(session, Trigger.EXPIRE_REQUESTED, now)[0], ()


@defect("LIS-3", changes.paging)
async def one_entry_too_many(asked: Listing) -> Page:
    """A page that is not the last one shows the entry too that was read to find out."""
    found = await asked.page(limit=asked.query.limit + 1)
    return Page(found.sessions, has_more=len(found.sessions) > asked.query.limit)


@defect("LIS-4")
def last_changed_first() -> Change:
    """A list has the session on top that changed last, instead of the one created last."""
    moves: dict[str, int] = {}
    numbers = count()

    async def changed(_parts: Parts, inner: Inner, _tx: Any, before: CheckoutSession, session: CheckoutSession) -> None:
        moves[session.id] = next(numbers)
        await inner(before, session)

    order = _ordered_by(lambda session: (-moves.get(session.id, -1), -session.sequence))
    return several(changes.transaction("replace_session")(changed), order)


@defect("LIS-5", changes.paging)
async def starting_after_skips_the_second(asked: Listing) -> Page:
    """The page after a cursor leaves out what was created in the same second as the cursor."""
    if asked.marked is None or asked.query.starting_after is None:
        return await asked.page()
    created = asked.query.created
    until = min(asked.marked.created, asked.marked.created if created.until is None else created.until)
    return await asked.page(created=replace(created, until=until))


@defect("LIS-6", changes.paging)
async def ending_before_from_the_top(asked: Listing) -> Page:
    """The page before a cursor holds the newest entries, instead of those directly before it."""
    if asked.query.ending_before is None:
        return await asked.page()
    everything = await asked.all()
    return Page(tuple(everything[: asked.query.limit]), len(everything) > asked.query.limit)


@defect("LIS-7", changes.paging)
async def has_more_without_filters(asked: Listing) -> Page:
    """`has_more` counts the sessions that the filters leave out."""
    unfiltered = await asked.page(status=None, created=CreatedRange())
    return replace(await asked.page(), has_more=unfiltered.has_more)


@defect("LIS-8")
def status_filter_forgets_the_clock() -> Change:
    """The filter `status` works on the status as of the last request: what expired by the clock is found as open."""
    by_clock: set[str] = set()

    def note(session: CheckoutSession, trigger: Trigger, _now: int) -> CheckoutSession:
        if trigger is Trigger.DEADLINE_PASSED:
            by_clock.add(session.id)
        return session

    def keeps(session: CheckoutSession, status: Status) -> bool:
        return status is (Status.OPEN if session.id in by_clock else session.status)

    return several(changes.moved(note), _kept_if(keeps))


@defect("LIS-11")
def pages_by_offset() -> Change:
    """The page after a cursor is counted off from the top: where sessions came meanwhile, entries come again."""
    offsets: dict[tuple[str, int, Status | None, CreatedRange], int] = {}

    async def counted(asked: Listing) -> Page:
        filters = (asked.query.status, asked.query.created)
        offset = 0 if asked.cursor is None else offsets.get((asked.account, asked.cursor, *filters))
        if asked.query.ending_before is not None or offset is None:
            return await asked.page()
        found = asked.cut((await asked.from_the_top().all())[offset:])
        for place, session in enumerate(found.sessions, offset + 1):
            offsets[asked.account, session.sequence, *filters] = place
        return found

    return changes.paging(counted)


@defect("LIS-12", _filtered_cursor)
async def filtered_cursor_unknown(asked: Listing) -> Page:
    """A cursor that the filters leave out is refused as unknown."""
    raise CursorUnknown("starting_after", asked.query.starting_after or asked.query.ending_before or "")


@defect("LIS-13", changes.command("list_sessions"))
async def both_cursors_accepted(asked: Command) -> object:
    """Where both cursors are given, `ending_before` is ignored."""
    query = asked.subject
    return await asked.do(subject=replace(query, ending_before=None) if query.starting_after else query)
