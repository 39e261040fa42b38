"""Defects of retrieving and of listing sessions."""

from __future__ import annotations

import operator
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.targets.tampering import (
    Defect,
    Inner,
    Tampering,
    both,
    fresh,
    replaced,
    result,
    setting,
    shown,
    status,
    unlocked,
    without,
    wrapped,
)
from tests.targets.values import BOUNDS, Account, Refused, Request, Session, broken, not_found

CURSORS: Final = {"starting_after", "ending_before"}
FILTERS: Final = {"status", *(f"created[{bound}]" for bound in BOUNDS)}
STATUSES: Final = {"open", "complete", "expired"}


def asked(change: Any) -> Tampering:
    """What a list is asked for."""
    return wrapped("list", lambda inner, account, query: inner(account, change(query)))


def listed(change: Any) -> Tampering:
    """What a list shows: `change(body)` gives other values."""
    return result("list", lambda body: {**body, **change(body)})


def window(*, after: int = 0, before: int = 0) -> Tampering:
    """Where a page begins, in steps from the cursor."""
    return wrapped(
        "window",
        lambda inner, sessions, place, *, backwards: inner(
            sessions, place + (before if backwards else after), backwards=backwards
        ),
    )


def cut(change: Any) -> Tampering:
    """One page: `change(page, more, limit, backwards)`."""
    return wrapped(
        "cut",
        lambda inner, sessions, limit, *, backwards: change(
            *inner(sessions, limit, backwards=backwards), limit, backwards
        ),
    )


def stale_after_expire(inner: Inner, account: Account, session_id: str) -> Session:
    session = inner(account, session_id)
    answer = dict(session)
    session["status"] = "open"
    return answer


def prolongs(inner: Inner, account: Account, session_id: str) -> Session:
    session: Session = inner(account, session_id)
    session["expires_at"] += session["status"] == "open"
    return session


def earlier(inner: Inner, account: Account, session: Session, step: str, method: str) -> str:
    if session["status"] == "open" and not session["_failed"]:
        session["expires_at"] -= 1
    return str(inner(account, session, step, method))


def other_address(inner: Inner, account: Account, session: Session, status: str, **named: Any) -> None:
    inner(account, session, status, **named)
    if status == "complete":
        session["success_url"] += "?paid=1"


def one_more(
    inner: Inner, sessions: Sequence[Session], limit: int, *, backwards: bool
) -> tuple[Sequence[Session], bool]:
    return inner(sessions, limit + 1, backwards=backwards)[0], inner(sessions, limit, backwards=backwards)[1]


def unfiltered_more(inner: Inner, account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    everything = inner(account, without(*FILTERS)(dict(query)))
    return {**inner(account, query), "has_more": everything["has_more"]}


def limit_first(
    inner: Inner, sessions: Sequence[Session], filters: dict[str, Any], limit: int, *, backwards: bool
) -> tuple[Sequence[Session], bool]:
    page, more = inner.server.cut(sessions, limit, backwards=backwards)
    return [session for session in page if inner.server.keeps(filters, session)], more


def none_is_404(inner: Inner, account: Account, query: dict[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = inner(account, query)
    if not body["data"]:
        raise not_found("There are none.")
    return body


def skips(inner: Inner, account: Account, query: dict[str, str]) -> dict[str, Any]:
    if query.get("limit") != "2" or "starting_after" not in query:
        return dict(inner(account, query))
    body = inner(account, {**query, "limit": "3"})
    return {**body, "data": body["data"][len(body["data"]) - 2 if len(body["data"]) > 2 else 0 :]}


def cursor_in_filter(inner: Inner, account: Account, query: dict[str, str]) -> dict[str, Any]:
    server = inner.server
    body: dict[str, Any] = inner(account, query)
    for name in CURSORS & query.keys():
        if not server.keeps(server.filters(query), server.find(account, query[name])):
            raise broken("No such session is in the list.", name)
    return body


def from_the_start(inner: Inner, sessions: Sequence[Session], cursor: str, name: str) -> int:
    try:
        return int(inner(sessions, cursor, name))
    except Refused:
        return -1


def any_status(query: dict[str, str]) -> dict[str, str]:
    return query if query.get("status", "open") in STATUSES else without("status")(query)


def lower(query: dict[str, str], name: str) -> dict[str, str]:
    return {name: query[name].lower()} if name in query else {}


def any_bound(inner: Inner, query: str) -> dict[str, str]:
    known = [
        pair
        for pair in query.split("&")
        if not re.match(r"created(\[|%5B)(?!(gt|gte|lt|lte)(\]|%5D)=)", pair, re.IGNORECASE)
    ]
    return dict(inner("&".join(known)))


def in_order(filters: dict[str, Any]) -> dict[str, Any]:
    """The bounds of an interval that is none, the other way round."""
    least, most = filters.get("gte", 0), filters.get("lte", 0)
    return {**filters, "gte": most, "lte": least} if {"gte", "lte"} <= filters.keys() and least > most else filters


def pattern(name: str, sign: str, meaning: str) -> Tampering:
    """One operation takes an id for a pattern in which a sign has a meaning of its own."""

    def outer(inner: Inner, account: Account, wanted: str) -> Any:
        text = re.escape(wanted).replace(re.escape(sign), meaning)
        named = (str(session["id"]) for session in account.sessions if re.fullmatch(text, str(session["id"])))
        return inner(account, next(named, wanted))

    return wrapped(name, outer)


def place_by_pattern(inner: Inner, sessions: Sequence[Session], cursor: str, name: str) -> int:
    return 0 if cursor == "%" and sessions else int(inner(sessions, cursor, name))


def place_by_any_sign(inner: Inner, sessions: Sequence[Session], cursor: str, name: str) -> int:
    text = re.escape(cursor).replace("_", ".")
    named = (str(session["id"]) for session in sessions if re.fullmatch(text, str(session["id"])))
    return int(inner(sessions, next(named, cursor), name))


def turned_backwards(inner: Inner, account: Account, query: dict[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = inner(account, query)
    for entry in body["data"] if "ending_before" in query else ():
        entry["line_items"]["data"].reverse()
    return body


def answered_again(of: str) -> Tampering:
    """A GET with an idempotency key is answered from memory, where its path ends so."""
    kept: dict[str, Any] = {}

    def perform(inner: Inner, account: Account, route: str, session_id: str, seen: Request) -> Any:
        key = seen.headers.get("Idempotency-Key")
        if key is None or seen.method != "GET" or route != of:
            return inner(account, route, session_id, seen)
        return kept.setdefault(key, inner(account, route, session_id, seen))

    return wrapped("perform", perform)


def of_whoever_asked_last(inner: Inner, account: Account, query: dict[str, str]) -> Any:
    inner.server.__dict__["queried_last"] = query
    time.sleep(0.004)
    return inner(account, inner.server.__dict__["queried_last"])


def as_texts(compare: Any) -> Any:
    return lambda created, bound: compare(str(created), str(bound))


def in_dollars(session: Session) -> dict[str, Any]:
    """A session whose lines have the currency of most."""
    lines = [{**line, "currency": "SGD"} for line in session["line_items"]["data"]]
    return {"line_items": {**session["line_items"], "data": lines}}


READ_DEFECTS: Final = {
    "retrieve stale after expire": Defect("RET-1", wrapped("expire", stale_after_expire)),
    "retrieve rounds amounts": Defect(
        "RET-1", shown(lambda session: {"amount_total": round(session["amount_total"], -1)}, where="retrieve")
    ),
    "unknown is 400": Defect("RET-2", status(400, code="session_not_found")),
    "retrieve prolongs": Defect("RET-3", wrapped("retrieve", prolongs)),
    "page view expires": Defect("RET-3", wrapped("viewed", earlier)),
    "success_url changes on paying": Defect("RET-4", wrapped("change", other_address)),
    "list without url": Defect("LIS-1", result("list", without("url"))),
    "has_more as string": Defect("LIS-1", listed(lambda body: {"has_more": str(body["has_more"]).lower()})),
    "limit 101 accepted": Defect("LIS-2", setting(limits=(1, 10**9))),
    "limit 0 accepted": Defect("LIS-2", setting(limits=(0, 100))),
    "limit 100 refused": Defect("LIS-2", setting(limits=(1, 99))),
    "default limit 20": Defect("LIS-2", setting(limit_default=20)),
    "limit abc is default": Defect(
        "LIS-2", asked(lambda query: query if query.get("limit", "0").isdigit() else without("limit")(query))
    ),
    "limit plus one": Defect("LIS-3", wrapped("cut", one_more)),
    "limit 100 gives 99": Defect("LIS-3", cut(lambda page, more, *_: (page[:99], more))),
    "oldest first": Defect("LIS-4", result("newest_first", lambda sessions: sessions[::-1])),
    "same second in creation order": Defect(
        "LIS-4",
        replaced("newest_first", lambda account: sorted(account.sessions, key=lambda one: -int(one["created"]))),
    ),
    "sorted by id": Defect(
        "LIS-4", result("newest_first", lambda sessions: sorted(sessions, key=lambda session: str(session["id"])))
    ),
    "starting_after inclusive": Defect("LIS-5", window(after=-1)),
    "starting_after skips one": Defect("LIS-5", window(after=1)),
    "ending_before inclusive": Defect("LIS-6", window(before=1)),
    "ending_before from the top": Defect(
        "LIS-6", wrapped("cut", lambda inner, sessions, limit, **_: inner(sessions, limit, backwards=False))
    ),
    "ending_before reversed": Defect(
        "LIS-6", cut(lambda page, more, _, backwards: (page[::-1] if backwards else page, more))
    ),
    "has_more when full": Defect("LIS-7", cut(lambda page, _, limit, *__: (page, len(page) == limit))),
    "has_more never backwards": Defect("LIS-7", cut(lambda page, more, _, backwards: (page, more and not backwards))),
    "has_more ignores filter": Defect("LIS-7", wrapped("list", unfiltered_more)),
    "status filter stale": Defect(
        "LIS-8",
        wrapped(
            "keeps",
            lambda inner, filters, session: inner(
                filters, {**session, "status": session["status"].replace("expired", "open")}
            ),
        ),
    ),
    "status filter ignored": Defect("LIS-8", result("filters", without("status"))),
    "gt is gte": Defect("LIS-9", setting(bounds={**BOUNDS, "gt": operator.ge})),
    "lte is lt": Defect("LIS-9", setting(bounds={**BOUNDS, "lte": operator.lt})),
    "bounds do not combine": Defect(
        "LIS-9",
        result(
            "filters",
            lambda filters: without(*[bound for bound in BOUNDS if bound in filters][1:])(filters),
        ),
    ),
    "bounds in any order": Defect("LIS-9", result("filters", in_order)),
    "empty list is 404": Defect("LIS-10", wrapped("list", none_is_404)),
    "walk skips": Defect("LIS-11", wrapped("list", skips)),
    "filter after limit": Defect("LIS-8", wrapped("chosen", limit_first)),
    "cursor must match filter": Defect("LIS-12", wrapped("list", cursor_in_filter)),
    "filter dropped with cursor": Defect(
        "LIS-12", asked(lambda query: without(*FILTERS)(query) if CURSORS & query.keys() else query)
    ),
    "both cursors accepted": Defect(
        "LIS-13", asked(lambda query: without("ending_before")(query) if query.keys() >= CURSORS else query)
    ),
    "unknown cursor is start": Defect("LIS-13", wrapped("place", from_the_start)),
    "entry without lines": Defect(
        "LIS-14", shown(lambda session: {"line_items": {**session["line_items"], "data": []}}, where="entry")
    ),
    "lines of entries in one currency": Defect("LIS-14", shown(in_dollars, where="entry")),
    "id of retrieve is a pattern": Defect("RET-2", pattern("retrieve", "%", ".*")),
    "id of expire is a pattern": Defect("EXP-4", pattern("expire", "%", ".*")),
    "underscore of retrieve is any sign": Defect("RET-2", pattern("retrieve", "_", ".")),
    "underscore of expire is any sign": Defect("EXP-4", pattern("expire", "_", ".")),
    "underscore of a cursor is any sign": Defect("LIS-13", wrapped("place", place_by_any_sign)),
    "asterisk of retrieve is anything": Defect("RET-2", pattern("retrieve", "*", ".*")),
    "dot of retrieve is any sign": Defect("RET-2", pattern("retrieve", ".", ".")),
    "id ends at a null": Defect(
        "RET-2", wrapped("retrieve", lambda inner, account, wanted: inner(account, wanted.partition("\0")[0]))
    ),
    "limit of whoever asked last": Defect("LIS-3", both(unlocked, wrapped("list", of_whoever_asked_last))),
    "lines turned by ending_before": Defect("LIS-14", wrapped("list", turned_backwards)),
    "retrieve with a key answered from memory": Defect("RET-1", fresh(lambda: answered_again("retrieve"))),
    "list with a key answered from memory": Defect("LIS-8", fresh(lambda: answered_again("sessions"))),
    "bounds compared as texts": Defect(
        "LIS-9", setting(bounds={bound: as_texts(compare) for bound, compare in BOUNDS.items()})
    ),
    "cursor is a pattern": Defect("LIS-13", wrapped("place", place_by_pattern)),
    "entry with old status": Defect(
        "LIS-14",
        shown(
            lambda session: {
                "status": "open",
                "payment_status": {"paid": "unpaid"}.get(session["payment_status"], session["payment_status"]),
            },
            where="entry",
        ),
    ),
    "unknown status is any": Defect("LIS-15", asked(any_status)),
    "status of any case": Defect("LIS-15", asked(lambda query: {**query, **lower(query, "status")})),
    "dates taken for bounds": Defect(
        "LIS-15",
        asked(lambda query: {name: re.sub("^[0-9]{4}-[0-9-]+$", "0", value) for name, value in query.items()}),
    ),
    "first of several statuses": Defect(
        "LIS-15", asked(lambda query: {name: value.partition(",")[0] for name, value in query.items()})
    ),
    "unknown bound of created ignored": Defect("LIS-15", wrapped("queried", any_bound)),
}
