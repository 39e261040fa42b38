"""Defects of expiring and paying, of the hosted page, and of requests that overlap."""

from __future__ import annotations

import html
import re
import time
from dataclasses import replace
from typing import Any, Final

from tests.targets.reference import Reference
from tests.targets.tampering import Defect, Inner, Tampering, both, replaced, result, unlocked, wrapped
from tests.targets.values import Account, Session, not_open


def before_expire(inner: Inner, account: Account, session_id: str) -> Session:
    before = dict(inner.server.find(account, session_id))
    inner(account, session_id)
    return before


def expire_if(status: str, act: Any) -> Tampering:
    """What is done with a session of this status that shall expire."""

    def expire(inner: Inner, account: Account, session_id: str) -> Session:
        session = inner.server.find(account, session_id)
        return dict(act(inner.server, account, session) if session["status"] == status else inner(account, session_id))

    return wrapped("expire", expire)


def expires_complete(server: Reference, account: Account, session: Session) -> Session:
    server.finish(account, session, "expired", by_api=True)
    return session


def refused_but_done(_: Reference, __: Account, session: Session) -> Session:
    refused = not_open(session)
    session["status"] = "expired"
    raise refused


def expires_unknown(inner: Inner, account: Account, session_id: str) -> Session:
    if all(session["id"] != session_id for session in account.sessions):
        return {"id": session_id, "status": "expired"}
    return dict(inner(account, session_id))


def reads(name: str, of: Any) -> Tampering:
    """A request that lets sessions expire whose time has come."""

    def read(inner: Inner, account: Account, wanted: Any) -> Any:
        inner.server.expire_due(account, [session for session in account.sessions if of(session, wanted)])
        return inner(account, wanted)

    return wrapped(name, read)


def changed(change: Any) -> Tampering:
    """A session whose status changed: `change(server, account, session, by_api)`, before anybody is told."""

    def outer(inner: Inner, account: Account, session: Session, status: str, *, by_api: bool) -> None:
        inner(account, session, status, by_api=by_api)
        change(inner.server, account, session, by_api)

    return wrapped("change", outer)


def ends_now(server: Reference, account: Account, session: Session, by_api: bool) -> None:  # noqa: FBT001 - as it is told
    if by_api:
        session["expires_at"] = account.now


def unescaped(found: re.Match[str]) -> str:
    return html.unescape(found[0])


def stays_unpaid(_: Reference, __: Account, session: Session, ___: bool) -> None:  # noqa: FBT001
    if session["payment_status"] == "paid":
        session["payment_status"] = "unpaid"


def led(act: str, target: Any) -> Tampering:
    """Where a button leads to."""

    def pressed(inner: Inner, account: Account, session: Session, name: str) -> str:
        leads_to = inner(account, session, name)
        return str(target(session) if name == act else leads_to)

    return wrapped("pressed", pressed)


def failed_expires(inner: Inner, account: Account, session: Session, outcome: str) -> Session:
    inner(account, session, outcome)
    if outcome != "succeeded":
        inner.server.finish(account, session, "expired")
    return session


def viewed(pays: Any) -> Tampering:
    """An open session that looking at its page pays, if `pays(session, step, method)`."""

    def outer(inner: Inner, account: Account, session: Session, step: str, method: str) -> str:
        if session["status"] == "open" and pays(session, step, method):
            inner.server.pay(account, session, "succeeded")
        return str(inner(account, session, step, method))

    return wrapped("viewed", outer)


def third(session: Session, step: str, _: str) -> bool:
    session["_views"] = session.get("_views", 0) + (not step)
    return bool(session["_views"] == 3 and not step)


def drawn(change: Any) -> Tampering:
    """A page of other line items, or of another status: `change(session)` gives other values."""
    return wrapped("drawn", lambda inner, session, step: inner({**session, **change(session)}, step))


def drawn_lines(**values: Any) -> Tampering:
    return drawn(
        lambda session: {"line_items": {"data": [{**line, **values} for line in session["line_items"]["data"]]}}
    )


def locked_after_a_cancel(act: str) -> Tampering:
    """Who gave up at the payment method cannot do one thing on the pages any more."""

    def pressed(inner: Inner, account: Account, session: Session, name: str) -> str:
        if name == act and session.get("_gave_up"):
            raise not_open(session)
        session["_gave_up"] = session.get("_gave_up") or name == "cancel"
        return str(inner(account, session, name))

    return wrapped("pressed", pressed)


noted_cancel: Final = locked_after_a_cancel("nothing")


def void(inner: Inner, session: Session, step: str) -> str:
    return "<p>This payment is void.</p>" if step and session.get("_gave_up") else str(inner(session, step))


def for_the_last(inner: Inner, account: Account, route: str, session_id: str, seen: Any) -> Any:
    """What is asked for is kept for all requests at once."""
    asked = inner.server.__dict__
    asked["session_id"] = session_id
    if route == "expire":
        time.sleep(0.004)
        session_id = asked["session_id"]
    return inner(account, route, session_id, seen)


def drawn_last(inner: Inner, session: Session, step: str) -> str:
    inner.server.__dict__["drawn_last"] = session
    time.sleep(0.004)
    return str(inner(inner.server.__dict__["drawn_last"], step))


def slow(inner: Inner, *args: Any, **named: Any) -> Any:
    time.sleep(0.004)
    return inner(*args, **named)


def counted_id(account: Account) -> str:
    session_id = f"cs_test_{len(account.sessions):06d}{account.name[-6:]}Aa"
    time.sleep(0.004)
    return session_id


def pays_what_is_free(inner: Inner, account: Account, session: Session, act: str) -> str:
    leads_to = str(inner(account, session, act))
    if act == "cancel" and not session["amount_total"]:
        inner.server.pay(account, session, "succeeded")
    return leads_to


STATE_DEFECTS: Final = {
    "cancelled at the method, what is free is complete": Defect("PAY-3", wrapped("pressed", pays_what_is_free)),
    "no way back to return_url": Defect(
        "PAY-4", wrapped("way_back", lambda inner, one: None if inner(one) == one["return_url"] else inner(one))
    ),
    "percent signs of the way back encoded": Defect(
        "PAY-4", result("way_back", lambda url: url and url.replace("%", "%25"))
    ),
    "expire returns open": Defect("EXP-1", wrapped("expire", before_expire)),
    "expire does nothing": Defect(
        "EXP-1", expire_if("open", lambda _server, _account, session: {**session, "status": "expired"})
    ),
    "expire twice": Defect("EXP-2", expire_if("expired", lambda _server, _account, session: session)),
    "expire complete": Defect("EXP-3", expire_if("complete", expires_complete)),
    "expire complete refused but done": Defect("EXP-3", expire_if("complete", refused_but_done)),
    "expire unknown is 200": Defect("EXP-4", wrapped("expire", expires_unknown)),
    "expired can be paid": Defect("EXP-5", replaced("payable", lambda session: session["status"] != "complete")),
    "page of expired looks open": Defect(
        "EXP-6", drawn(lambda session: {"status": session["status"].replace("expired", "open")})
    ),
    "expires one second late": Defect("EXP-7", result("deadline", lambda deadline: deadline + 1)),
    "expires one second early": Defect("EXP-7", result("deadline", lambda deadline: deadline - 1)),
    "expires only when read": Defect(
        "EXP-7",
        both(
            replaced("sweep", lambda _: None),
            wrapped("due", lambda inner, account: inner(replace(account, sessions=[]))),
            reads("retrieve", lambda session, wanted: session["id"] == wanted),
            reads("list", lambda _session, _query: True),
        ),
    ),
    "never expires": Defect("EXP-7", replaced("deadline", lambda _: float("inf"))),
    "expires_at becomes now": Defect("EXP-8", changed(ends_now)),
    "paid stays unpaid": Defect("PAY-1", changed(stays_unpaid)),
    "success page first": Defect("PAY-1", led("card", lambda session: session["return_url"])),
    "paid twice": Defect("PAY-2", replaced("payable", lambda session: session["status"] != "expired")),
    "page of paid silent": Defect(
        "PAY-2", result("drawn", lambda text: text.replace("This session is paid.", "Thank you."))
    ),
    "declined leads to success": Defect("PAY-3", led("declined", lambda session: session["success_url"])),
    "failed payment expires": Defect("PAY-3", wrapped("pay", failed_expires)),
    "failed payment blocks": Defect(
        "PAY-3", wrapped("payable", lambda inner, session: inner(session) and not session["_failed"])
    ),
    "authorise locked after a cancel": Defect("PAY-3", locked_after_a_cancel("authorise")),
    "way to the method locked after a cancel": Defect("PAY-3", locked_after_a_cancel("redirect")),
    "no payment at the method after a cancel": Defect("PAY-3", both(noted_cancel, wrapped("drawn", void))),
    "session of whoever asked last": Defect("EXP-1", both(unlocked, wrapped("perform", for_the_last))),
    "page of whoever asked last": Defect("PAY-7", both(unlocked, wrapped("drawn", drawn_last))),
    "round sums as powers of ten": Defect(
        "PAY-7",
        wrapped(
            "price",
            lambda inner, one: f"{one['amount_total'] / 100:g}" if one["amount_total"] % 100 == 0 else inner(one),
        ),
    ),
    "no way back": Defect("PAY-4", replaced("way_back", lambda _: None)),
    "way back not escaped": Defect("PAY-4", result("drawn", lambda text: re.sub('href="[^"]*"', unescaped, text))),
    "way back to success": Defect("PAY-4", replaced("way_back", lambda session: session["success_url"])),
    "third view pays": Defect("PAY-6", viewed(third)),
    "head of the page pays": Defect("PAY-6", viewed(lambda _session, _step, method: method == "HEAD")),
    "page of the first line": Defect(
        "PAY-7", drawn(lambda session: {"line_items": {"data": session["line_items"]["data"][:1]}})
    ),
    "page without total": Defect("PAY-7", replaced("price", lambda _: "")),
    "page without descriptions": Defect("PAY-7", drawn_lines(description="Item")),
    "page without quantities": Defect("PAY-7", drawn_lines(quantity=1)),
    "cancel returns to success": Defect("PAY-5", led("cancel", lambda session: session["success_url"])),
    "authorised returns to success": Defect("PAY-5", led("authorise", lambda session: session["success_url"])),
    "method is 404": Defect("PAY-5", led("redirect", lambda session: f"/pay/{session['id']}/methods")),
    "method leads back to the page": Defect("PAY-5", led("redirect", lambda session: f"/pay/{session['id']}")),
    "racy": Defect("CON-1", both(unlocked, wrapped("change", slow))),
    "racy ids": Defect("CON-2", both(unlocked, replaced("new_id", counted_id))),
}
