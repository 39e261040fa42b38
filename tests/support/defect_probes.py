"""A small probe for each clause of the contract: kept by the correct mock, broken by each defect of that clause.

A probe looks at one clause and as little else as it can; it says what it missed by raising `Broken`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import orjson
from defect_caller import BASE, CANCEL_URL, DAY, NOW, RETURN_URL, SESSIONS, SUCCESS_URL, Json, Mock, expect, line, order

CHANGED = {"status", "payment_status"}

Probe = Callable[[Mock], Coroutine[Any, Any, None]]
PROBES: dict[str, Probe] = {}


def probe(clause: str) -> Callable[[Probe], Probe]:
    def enter(function: Probe) -> Probe:
        assert clause not in PROBES
        PROBES[clause] = function
        return function

    return enter


def lasting(session: Json) -> Json:
    return {name: value for name, value in session.items() if name not in CHANGED}


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


# AUTH


@probe("AUTH-1")
async def no_credentials(mock: Mock) -> None:
    for method, path in (
        ("GET", SESSIONS),
        ("GET", f"{SESSIONS}/x"),
        ("POST", SESSIONS),
        ("POST", f"{SESSIONS}/x/expire"),
    ):
        seen = await mock.send(method, path, key=None)
        expect(seen.status == 401 and seen.headers.get("www-authenticate"), f"{method} {path}: {seen.status}")


@probe("AUTH-2")
async def basic_with_an_empty_password(mock: Mock) -> None:
    credentials = basic(f"{mock.key}:")
    for method, body in (("GET", None), ("POST", order())):
        seen = await mock.send(method, SESSIONS, body, authorization=credentials)
        expect(seen.status == 200, f"{method}: {seen.status}")


@probe("AUTH-3")
async def bearer_means_the_same_account(mock: Mock) -> None:
    made = await mock.send("POST", SESSIONS, order(), authorization=basic(f"{mock.key}:"))
    seen = await mock.send("GET", f"{SESSIONS}/{made.json['id']}", authorization=f"Bearer {mock.key}")
    expect(seen.status == 200, seen.status)


@probe("AUTH-4")
async def anything_else_is_no_key(mock: Mock) -> None:
    for value in (
        basic(f"{mock.key}:password"),
        basic("nonsense:"),
        basic(":"),
        "Basic !",
        "Bearer nonsense",
        f"Digest {mock.key}",
        mock.key,
    ):
        seen = await mock.send("GET", SESSIONS, authorization=value)
        expect(seen.status == 401, f"{value}: {seen.status}")


@probe("AUTH-5")
async def accounts_do_not_meet(mock: Mock) -> None:
    session = await mock.create()
    own = await mock.create(key=mock.other)
    for method, path in (("GET", f"{SESSIONS}/{session['id']}"), ("POST", f"{SESSIONS}/{session['id']}/expire")):
        seen = await mock.send(method, path, key=mock.other)
        expect(seen.status == 404, f"{method}: {seen.status}")
    for parameters in ({}, {"status": "open"}):
        expect(await mock.ids(key=mock.other, **parameters) == [own["id"]], f"list with {parameters}")
    for name in ("starting_after", "ending_before"):
        expect((await mock.try_list(key=mock.other, **{name: session["id"]})).refused, name)


# HTTP


@probe("HTTP-1")
async def every_answer_has_its_request_id(mock: Mock) -> None:
    session = await mock.create()
    answers = [
        await mock.try_list(),
        await mock.try_list(limit=0),
        await mock.send("GET", f"{SESSIONS}/{session['id']}"),
        await mock.send("GET", f"{SESSIONS}/unknown"),
        await mock.send("GET", "/unknown"),
        await mock.send("GET", SESSIONS, key=None),
    ]
    ids = [seen.headers.get("request-id", "") for seen in answers]
    expect(all(re.fullmatch("req_[A-Za-z0-9_]+", each) for each in ids), ids)
    expect(len(set(ids)) == len(ids), ids)


@probe("HTTP-2")
async def every_body_is_json(mock: Mock) -> None:
    session = await mock.create()
    for path in ("/unknown", SESSIONS, f"{SESSIONS}/{session['id']}", f"{SESSIONS}/unknown"):
        seen = await mock.send("GET", path)
        expect(seen.headers.get("content-type") == "application/json", f"{path}: {seen.headers.get('content-type')}")
        expect(seen.json is not None, path)


@probe("HTTP-3")
async def errors_tell_what_to_change(mock: Mock) -> None:
    wrong = [
        (await mock.try_create(without="success_url"), "success_url"),
        (await mock.try_create(line(quantity=0)), "line_items[0].quantity"),
        (await mock.try_list(limit=0), "limit"),
        (await mock.send("GET", f"{SESSIONS}/unknown"), "id"),
    ]
    for seen, param in wrong:
        expect(seen.refused and isinstance(seen.json, dict), seen.body)
        error = seen.json.get("error", {})
        expect(error.get("message"), seen.body)
        expect(error.get("param") == param, seen.body)


@probe("HTTP-4")
async def what_is_no_request_of_the_api(mock: Mock) -> None:
    expect((await mock.send("GET", "/unknown")).status == 404, "unknown path")
    for path, allow in ((SESSIONS, {"GET", "POST"}), (f"{SESSIONS}/x", {"GET"}), (f"{SESSIONS}/x/expire", {"POST"})):
        seen = await mock.send("DELETE", path)
        expect(seen.status == 405, f"{path}: {seen.status}")
        expect(set(seen.headers.get("allow", "").split(", ")) == allow, f"{path}: {seen.headers.get('allow')}")
    body = orjson.dumps(order())
    expect((await mock.send("POST", SESSIONS, body[:-1])).status == 400, "broken JSON")
    expect((await mock.send("POST", SESSIONS, body, content_type="text/plain")).status == 415, "media type")
    expect((await mock.send("POST", SESSIONS, body + b" " * 2**21)).status == 413, "too large")
    for kind in ("application/json; charset=utf-8", ""):
        expect((await mock.send("POST", SESSIONS, body, content_type=kind)).status == 200, f"as {kind!r}")


@probe("HTTP-5")
async def what_is_refused_changes_nothing(mock: Mock) -> None:
    session = await mock.create()
    body = orjson.dumps(order())
    refused = [
        await mock.try_create(expires_at=NOW + 1),
        await mock.try_create(line(), line(currency="MYR")),
        await mock.try_create(line(quantity=0)),
        await mock.send("POST", SESSIONS, body, content_type="text/plain"),
        await mock.send("POST", SESSIONS, body[:-1]),
        await mock.try_expire(session, idempotency="k" * 256),
        await mock.send("DELETE", f"{SESSIONS}/{session['id']}"),
    ]
    expect(all(seen.refused for seen in refused), [seen.status for seen in refused])
    expect(await mock.ids() == [session["id"]], "another session")
    expect((await mock.retrieve(session))["status"] == "open", "another status")
    expect(await mock.events() == [], "an event")


@probe("HTTP-6")
async def no_input_breaks_the_server(mock: Mock) -> None:
    body = orjson.dumps(order())
    for sent in (
        body[:-1],
        b"[" * 2000 + b"]" * 2000,
        body.replace(b"450", b"1" + b"0" * 25),
        body.replace(b"Coffee", b"\xff\xfe"),
        body.replace(b"Coffee", b"\\ud800"),
        orjson.dumps(order(line(name="Coffee \N{HOT BEVERAGE}\N{SLICE OF PIZZA}"))),
        b"",
        b"null",
    ):
        expect((await mock.send("POST", SESSIONS, sent)).status < 500, sent[:80])
    for path in (f"{SESSIONS}/a%00b", f"{SESSIONS}/{'x' * 300}", f"{SESSIONS}?created[gte][x]=1", f"{SESSIONS}?%zz=1"):
        expect((await mock.send("GET", path)).status < 500, path)


# CRE


@probe("CRE-1")
async def a_valid_request_succeeds(mock: Mock) -> None:
    session = await mock.create()
    kinds = {
        "id": str, "currency": str, "line_items": dict, "object": str, "amount_total": int, "created": int,
        "expires_at": int, "mode": str, "payment_status": str, "status": str, "return_url": str, "success_url": str,
        "url": str,
    }  # fmt: skip
    for name, kind in kinds.items():
        expect(type(session.get(name)) is kind, f"{name}: {session.get(name)!r}")


@probe("CRE-2")
async def three_fields_are_required(mock: Mock) -> None:
    for name in ("line_items", "success_url", "return_url"):
        expect((await mock.try_create(without=name)).refused, name)


@probe("CRE-3")
async def a_new_session_is_open(mock: Mock) -> None:
    for amount in (450, 0):
        session = await mock.create(line(amount=amount))
        seen = [session.get(name) for name in ("status", "object", "mode")]
        expect(seen == ["open", "checkout.session", "payment"], seen)


@probe("CRE-4")
async def created_is_now(mock: Mock) -> None:
    expect((await mock.create())["created"] == NOW, "created")


@probe("CRE-5")
async def a_day_by_default(mock: Mock) -> None:
    session = await mock.create()
    expect(session["expires_at"] - session["created"] == DAY, session["expires_at"])


@probe("CRE-6")
async def a_given_expiry_is_kept(mock: Mock) -> None:
    expect((await mock.create(expires_at=NOW + 4_321))["expires_at"] == NOW + 4_321, "expires_at")


@probe("CRE-7")
async def an_expiry_has_bounds(mock: Mock) -> None:
    for seconds, is_right in ((-60, False), (1_799, False), (1_800, True), (DAY, True), (DAY + 1, False)):
        seen = await mock.try_create(expires_at=NOW + seconds)
        expect(seen.status == 200 if is_right else seen.refused, f"{seconds}: {seen.status}")


@probe("CRE-8")
async def urls_come_back(mock: Mock) -> None:
    session = await mock.create()
    expect(session["success_url"] == SUCCESS_URL, session["success_url"])
    expect(session["return_url"] == RETURN_URL, session["return_url"])


@probe("CRE-9")
async def a_session_has_a_page(mock: Mock) -> None:
    url = (await mock.create())["url"]
    expect(url.startswith(BASE + "/"), url)
    expect((await mock.send("GET", url.removeprefix(BASE), key=None)).status == 200, url)


@probe("CRE-10")
async def ids_are_unique_and_safe(mock: Mock) -> None:
    ids = [session["id"] for session in await mock.sessions(12)]
    expect(len(set(ids)) == len(ids), ids)
    expect(all(re.fullmatch("cs_test_[A-Za-z0-9_-]+", each) for each in ids), ids)


@probe("CRE-11")
async def amounts_and_quantities(mock: Mock) -> None:
    for quantity in ("2", 0, -1, 1.5, True, 10_001):
        expect((await mock.try_create(line(quantity=quantity))).refused, f"quantity {quantity!r}")  # type: ignore[arg-type]
    for amount in ("2", -1, 12.5, True, 100_000_000):
        expect((await mock.try_create(line(amount=amount))).refused, f"unit_amount {amount!r}")  # type: ignore[arg-type]
    await mock.create(line(quantity=10_000))
    await mock.create(line(amount=99_999_999))


@probe("CRE-12")
async def currencies(mock: Mock) -> None:
    for code in ("sgd", " SGD", "SGD ", "ZZZ", "SG", "SGDX", ""):
        expect((await mock.try_create(line(currency=code))).refused, code)
    await mock.create(line(currency="MYR"))


@probe("CRE-13")
async def one_currency(mock: Mock) -> None:
    expect((await mock.try_create(line(), line(currency="MYR"))).refused, "two lines")
    expect((await mock.try_create(line(), line(), line(currency="MYR"))).refused, "three lines")


@probe("CRE-14")
async def one_to_a_hundred_lines(mock: Mock) -> None:
    expect((await mock.send("POST", SESSIONS, {**order(), "line_items": []})).refused, "no line")
    await mock.create(*[line()] * 100)
    for count in (101, 150):
        expect((await mock.try_create(*[line()] * count)).refused, f"{count} lines")


@probe("CRE-15")
async def urls_are_absolute(mock: Mock) -> None:
    for url in ("javascript:alert(1)", "/thanks", "shop.example", "https:///thanks", "https://", "ftp://shop.example/"):
        for name in ("success_url", "return_url", "cancel_url"):
            expect((await mock.try_create(**{name: url})).refused, f"{name} {url}")


@probe("CRE-16")
async def a_line_has_its_fields(mock: Mock) -> None:
    await mock.create(line())
    await mock.create(line(description="Beans"))
    holders: dict[str, Callable[[Json], Json]] = {
        "quantity": lambda body: body,
        "price_data": lambda body: body,
        "currency": lambda body: body["price_data"],
        "unit_amount": lambda body: body["price_data"],
        "product_data": lambda body: body["price_data"],
        "name": lambda body: body["price_data"]["product_data"],
    }
    for name, holder in holders.items():
        broken = line()
        del holder(broken)[name]
        expect((await mock.try_create(broken)).refused, name)


@probe("CRE-17")
async def cancel_url_is_optional(mock: Mock) -> None:
    await mock.create(cancel_url=CANCEL_URL)
    await mock.create(without="cancel_url")


@probe("CRE-18")
async def types(mock: Mock) -> None:
    wrong = [
        order(cancel_url=None),
        order(expires_at=None),
        order(expires_at=str(NOW + 3_600)),
        order(line(description=None)),
        order(line(name=42)),  # type: ignore[arg-type]
        {**order(), "line_items": line()},
    ]
    for body in wrong:
        expect((await mock.send("POST", SESSIONS, body)).refused, body)


@probe("CRE-19")
async def texts_have_limits(mock: Mock) -> None:
    long = "https://shop.example/"
    for body in (
        order(line(name="")),
        order(line(name="n" * 251)),
        order(line(description="")),
        order(line(description="d" * 1_001)),
        order(success_url=long.ljust(2_049, "x")),
    ):
        expect((await mock.send("POST", SESSIONS, body)).refused, body)
    for body in (
        order(line(name="n" * 250)),
        order(line(name="\N{CJK UNIFIED IDEOGRAPH-8336}" * 250)),
        order(line(description="d" * 1_000)),
        order(success_url=long.ljust(2_048, "x")),
    ):
        expect((await mock.send("POST", SESSIONS, body)).status == 200, body)


# AMT


def lines_of(session: Json) -> list[Json]:
    lines: list[Json] = session["line_items"]["data"]
    return lines


BASKET = (line("Tea", 300, 3), line("Cake", 550, 1, description="By the slice"), line("Bread", 420, 2))


@probe("AMT-1")
async def the_total_is_the_sum(mock: Mock) -> None:
    session = await mock.create(*BASKET)
    expect(session["amount_total"] == sum(each["amount_total"] for each in lines_of(session)), session["amount_total"])


@probe("AMT-2")
async def a_line_is_price_times_quantity(mock: Mock) -> None:
    amounts = [each["amount_total"] for each in lines_of(await mock.create(*BASKET))]
    expect(sorted(amounts) == [550, 840, 900], amounts)


@probe("AMT-3")
async def one_currency_throughout(mock: Mock) -> None:
    session = await mock.create(line(currency="MYR"))
    seen = [session["currency"], lines_of(session)[0]["currency"]]
    expect(seen == ["MYR", "MYR"], seen)


@probe("AMT-4")
async def lines_come_back(mock: Mock) -> None:
    quantities = [3, 1, 2, 7, 5, 9, 4, 8, 6, 10, 12, 11]
    lines = [line("Tea" if count % 2 else f"Cake {count}", 300, count) for count in quantities]
    session = await mock.create(*lines)
    expect([each["quantity"] for each in lines_of(session)] == quantities, session["line_items"])
    expect(session["line_items"]["object"] == "list", session["line_items"])


@probe("AMT-5")
async def lines_are_described(mock: Mock) -> None:
    described = "Whole beans, " * 20
    session = await mock.create(line("Tea"), line("Coffee", description=described))
    expect([each["description"] for each in lines_of(session)] == ["Tea", described], session["line_items"])


@probe("AMT-6")
async def nothing_to_pay(mock: Mock) -> None:
    free, sold, expired = await mock.create(line(amount=0)), await mock.create(), await mock.create()
    expect(free["payment_status"] == "no_payment_required", free["payment_status"])
    expect(sold["payment_status"] == "unpaid", sold["payment_status"])
    await mock.pay(free)
    expect((await mock.retrieve(free))["payment_status"] == "no_payment_required", "after completing")
    await mock.expire(expired)
    expect((await mock.retrieve(expired))["payment_status"] == "unpaid", "after expiring")


@probe("AMT-7")
async def amounts_are_exact(mock: Mock) -> None:
    for amount, quantity in ((450, 2), (99_999_999, 10_000), (33_333_333, 7), (2**21 + 1, 2**10)):
        session = await mock.create(line(amount=amount, quantity=quantity))
        for seen in (session["amount_total"], lines_of(session)[0]["amount_total"]):
            expect(type(seen) is int and seen == amount * quantity, f"{amount} x {quantity}: {seen}")


# RET


@probe("RET-1")
async def a_session_is_as_last_written(mock: Mock) -> None:
    session = await mock.create(expires_at=NOW + 4_321)
    expect(await mock.retrieve(session) == session, "after create")
    expired = await mock.expire(session)
    expect(await mock.retrieve(session) == expired, "after expire")


@probe("RET-2")
async def an_unknown_session(mock: Mock) -> None:
    for session_id in ("unknown", "cs_test_000000000000000000000000"):
        expect((await mock.send("GET", f"{SESSIONS}/{session_id}")).status == 404, session_id)


@probe("RET-3")
async def reading_has_no_effect(mock: Mock) -> None:
    session = await mock.create()
    first = await mock.retrieve(session)
    await mock.page()
    expect(await mock.retrieve(session) == first, "after reading")
    await mock.show(session)
    await mock.show(session, "/redirect")
    expect(await mock.retrieve(session) == first, "after opening the page")


@probe("RET-4")
async def little_ever_changes(mock: Mock) -> None:
    paid, expired = await mock.create(), await mock.create()
    await mock.pay(paid)
    await mock.expire(expired)
    for session in (paid, expired):
        expect(lasting(await mock.retrieve(session)) == lasting(session), "something else")


# LIS


@probe("LIS-1")
async def a_list_has_its_shape(mock: Mock) -> None:
    session = await mock.create()
    page = await mock.page()
    expect(page == {"object": "list", "data": [session], "has_more": False, "url": SESSIONS}, page)


@probe("LIS-2")
async def limit_has_bounds(mock: Mock) -> None:
    for limit in (0, -1, 101, "ten", "1.5", ""):
        expect((await mock.try_list(limit=limit)).refused, limit)
    await mock.sessions(11)
    for limit in (1, 100):
        await mock.page(limit=limit)
    expect(len(await mock.ids()) == 10, "by default")


@probe("LIS-3")
async def a_page_is_full(mock: Mock) -> None:
    await mock.sessions(101)
    for limit in (1, 7, 99, 100):
        expect(len(await mock.ids(limit=limit)) == limit, limit)


@probe("LIS-4")
async def newest_first(mock: Mock) -> None:
    sessions = await mock.sessions(3)
    await mock.advance(60)
    sessions += await mock.sessions(2)
    await mock.expire(sessions[1])
    expect(await mock.ids() == [session["id"] for session in reversed(sessions)], "another order")


async def _seven(mock: Mock) -> list[str]:
    """Ids of sessions, newest first, three of them of the same second."""
    sessions = await mock.sessions(2)
    for count in (3, 2):
        await mock.advance(60)
        sessions += await mock.sessions(count)
    return [session["id"] for session in reversed(sessions)]


@probe("LIS-5")
async def starting_after_goes_on(mock: Mock) -> None:
    ids = await _seven(mock)
    for place, cursor in enumerate(ids):
        found = await mock.ids(starting_after=cursor, limit=3)
        expect(found == ids[place + 1 : place + 4], f"after {place}: {found}")


@probe("LIS-6")
async def ending_before_goes_back(mock: Mock) -> None:
    ids = await _seven(mock)
    for place, cursor in enumerate(ids):
        found = await mock.ids(ending_before=cursor, limit=3)
        expect(found == ids[max(0, place - 3) : place], f"before {place}: {found}")


@probe("LIS-7")
async def has_more(mock: Mock) -> None:
    ids = await _seven(mock)
    await mock.expire({"id": ids[0]})
    for parameters, more in (
        ({"limit": 6}, True),
        ({"limit": 7}, False),
        ({"limit": 3, "starting_after": ids[2]}, True),
        ({"limit": 3, "starting_after": ids[3]}, False),
        ({"limit": 3, "ending_before": ids[4]}, True),
        ({"limit": 3, "ending_before": ids[3]}, False),
        ({"limit": 2, "status": "expired"}, False),
        ({"limit": 5, "status": "open"}, True),
    ):
        expect((await mock.page(**parameters))["has_more"] is more, parameters)


@probe("LIS-8")
async def status_filters(mock: Mock) -> None:
    shown, expired, paid, free = [await mock.create(line(amount=amount)) for amount in (1, 2, 3, 0)]
    late = await mock.create(expires_at=NOW + 1_800)
    await mock.expire(expired)
    await mock.pay(paid)
    await mock.pay(free)
    await mock.advance(1_800)
    for status, sessions in (("open", [shown]), ("complete", [free, paid]), ("expired", [late, expired])):
        found = await mock.ids(status=status)
        expect(found == [session["id"] for session in sessions], f"{status}: {found}")


@probe("LIS-9")
async def created_filters(mock: Mock) -> None:
    ids: list[str] = []
    for _ in range(4):
        ids.insert(0, (await mock.create())["id"])
        await mock.advance(10)
    at = NOW + 10
    for parameters, wanted in (
        ({"created__gt": at}, ids[:2]),
        ({"created__gte": at}, ids[:3]),
        ({"created__lt": at}, ids[3:]),
        ({"created__lte": at}, ids[2:]),
        ({"created__gte": at, "created__lt": at + 20}, ids[1:3]),
        ({"created__lt": at + 20, "created__gte": at}, ids[1:3]),
    ):
        found = await mock.ids(**parameters)
        expect(found == wanted, f"{parameters}: {found}")


@probe("LIS-10")
async def nothing_matches(mock: Mock) -> None:
    await mock.create()
    for parameters in ({"status": "complete"}, {"created__gt": NOW}):
        seen = await mock.try_list(**parameters)
        expect(seen.status == 200, seen.status)
        expect(seen.json.get("data") == [] and seen.json.get("has_more") is False, seen.json)


@probe("LIS-11")
async def a_walk_meets_every_session_once(mock: Mock) -> None:
    ids = await _seven(mock)
    for name, place in (("starting_after", -1), ("ending_before", 0)):
        page = await mock.ids(limit=2) if name == "starting_after" else await mock.ids(limit=2, starting_after=ids[4])
        met: list[str] = []
        while page:
            met += page
            expect(len(met) <= 30, "a walk without end")
            if name == "starting_after":
                await mock.create()
            page = await mock.ids(limit=2, **{name: page[place]})
        if name == "starting_after":
            expect(met == ids, f"{len(met)} met")
        else:
            expect(len(set(met)) == len(met) and set(ids) <= set(met), f"{len(met)} met")


@probe("LIS-12")
async def filters_and_cursors_combine(mock: Mock) -> None:
    ids = await _seven(mock)
    for place in (2, 4):
        await mock.expire({"id": ids[place]})
    for parameters, wanted in (
        ({"status": "open", "starting_after": ids[1]}, [3, 5, 6]),
        ({"status": "open", "starting_after": ids[2]}, [3, 5, 6]),
        ({"status": "expired", "starting_after": ids[3]}, [4]),
        ({"status": "open", "ending_before": ids[4]}, [0, 1, 3]),
        ({"created__lt": NOW + 120, "starting_after": ids[0]}, [2, 3, 4, 5, 6]),
        ({"created__gte": NOW + 60, "starting_after": ids[3]}, [4]),
        ({"created__gte": NOW + 60, "starting_after": ids[6]}, []),
    ):
        found = await mock.ids(**parameters)
        expect(found == [ids[place] for place in wanted], f"{parameters}: {found}")


@probe("LIS-13")
async def cursors_that_make_no_sense(mock: Mock) -> None:
    ids = await _seven(mock)
    expect((await mock.try_list(starting_after=ids[5], ending_before=ids[1])).refused, "both")
    for name in ("starting_after", "ending_before"):
        expect((await mock.try_list(**{name: "cs_test_unknown"})).refused, name)


@probe("LIS-14")
async def an_entry_is_the_session(mock: Mock) -> None:
    session = await mock.create()
    await mock.pay(session)
    expect((await mock.page())["data"] == [await mock.retrieve(session)], "another session")


@probe("LIS-15")
async def a_filter_that_says_nothing_is_refused(mock: Mock) -> None:
    for query in ("status=paid", "status=", f"created[from]={NOW}", "created[gte]=yesterday", "created[lt]="):
        expect((await mock.send("GET", f"{SESSIONS}?{query}")).refused, query)


# EXP


@probe("EXP-1")
async def an_open_session_can_be_expired(mock: Mock) -> None:
    session = await mock.create()
    expired = await mock.expire(session)
    expect((expired.get("id"), expired.get("status")) == (session["id"], "expired"), expired)


@probe("EXP-2")
async def an_expired_session_cannot_be_expired(mock: Mock) -> None:
    expired, late = await mock.create(), await mock.create(expires_at=NOW + 1_800)
    await mock.expire(expired)
    expect((await mock.try_expire(expired)).refused, "twice")
    await mock.advance(1_800)
    expect((await mock.try_expire(late)).refused, "after its time")


@probe("EXP-3")
async def a_complete_session_cannot_be_expired(mock: Mock) -> None:
    session = await mock.create()
    await mock.pay(session)
    expect((await mock.try_expire(session)).refused, "expired")
    expect((await mock.retrieve(session))["status"] == "complete", "changed")


@probe("EXP-4")
async def an_unknown_session_cannot_be_expired(mock: Mock) -> None:
    expect((await mock.try_expire({"id": "cs_test_unknown"})).status == 404, "status")


@probe("EXP-5")
async def an_expired_session_cannot_be_paid(mock: Mock) -> None:
    expired, late = await mock.create(), await mock.create(expires_at=NOW + 1_800)
    await mock.expire(expired)
    await mock.advance(1_800)
    for session in (expired, late):
        expect((await mock.try_pay(session)).refused, "paid")
        expect((await mock.retrieve(session))["status"] == "expired", "changed")


def _text(html: str) -> str:
    return re.sub("<[^>]*>", " ", html.partition("<body")[2]).lower()


@probe("EXP-6")
async def the_page_of_an_expired_session(mock: Mock) -> None:
    session = await mock.create()
    await mock.expire(session)
    page = (await mock.show(session)).text
    expect("expired" in _text(page) and "<form" not in page, "the page")


@probe("EXP-7")
async def a_session_expires_on_time(mock: Mock) -> None:
    session = await mock.create(expires_at=NOW + 1_800)
    await mock.advance(1_799)
    expect((await mock.page())["data"][0]["status"] == "open", "a second early")
    await mock.advance(1)
    expect((await mock.page())["data"][0]["status"] == "expired", "in a list")
    expect((await mock.retrieve(session))["status"] == "expired", "retrieved")


@probe("EXP-8")
async def expiring_early_leaves_the_deadline(mock: Mock) -> None:
    session = await mock.create()
    await mock.advance(60)
    for seen in (await mock.expire(session), await mock.retrieve(session)):
        expect(seen["expires_at"] == session["expires_at"], seen["expires_at"])


# PAY


@probe("PAY-1")
async def paying_completes(mock: Mock) -> None:
    session, sold = await mock.create(), await mock.create()
    await mock.pay(session)
    found = await mock.retrieve(session)
    expect((found["status"], found["payment_status"]) == ("complete", "paid"), found)
    expect((await mock.press(sold, "card=approved")).headers.get("location") == SUCCESS_URL, "where the customer goes")


@probe("PAY-2")
async def a_complete_session_cannot_be_paid_again(mock: Mock) -> None:
    session = await mock.create()
    await mock.pay(session)
    expect((await mock.try_pay(session)).refused, "paid twice")
    page = (await mock.show(session)).text
    expect("paid" in _text(page) and "<form" not in page, "the page")


@probe("PAY-3")
async def a_payment_may_fail(mock: Mock) -> None:
    for outcome in ("failed", "canceled"):
        session = await mock.create()
        await mock.pay(session, outcome)
        found = await mock.retrieve(session)
        expect((found["status"], found["payment_status"]) == ("open", "unpaid"), f"{outcome}: {found}")
        await mock.pay(session)


@probe("PAY-4")
async def the_way_back(mock: Mock) -> None:
    with_cancel, without = await mock.create(cancel_url=CANCEL_URL), await mock.create()
    expect(f'href="{CANCEL_URL}"' in (await mock.show(with_cancel)).text, "no way back")
    links = re.findall('<a [^>]*href="([^"]*)"', (await mock.show(without)).text)
    expect(not any("shop.example" in link.lower() for link in links), links)


@probe("PAY-5")
async def the_customer_comes_back(mock: Mock) -> None:
    for decision, status in (("authorise", "complete"), ("cancel", "open")):
        session = await mock.create(cancel_url=CANCEL_URL)
        seen = await mock.press(session, f"decision={decision}", "/redirect")
        expect(seen.headers.get("location") == RETURN_URL, f"{decision}: {seen.headers.get('location')}")
        expect((await mock.retrieve(session))["status"] == status, decision)


@probe("PAY-6")
async def opening_the_page_changes_nothing(mock: Mock) -> None:
    session = await mock.create()
    for method in ("GET", "HEAD", "GET", "GET"):
        seen = await mock.send(method, f"/pay/{session['id']}", key=None)
        expect(seen.status == 200, f"{method}: {seen.status}")
        expect(await mock.retrieve(session) == session, method)


@probe("PAY-7")
async def the_page_shows_what_is_bought(mock: Mock) -> None:
    session = await mock.create(line("Beans", 1_450, 3, description="Whole beans"), line("Mug", 999, 2))
    text = re.sub(r"<[^>]*>", " ", (await mock.show(session)).text)
    for part in ("63.48", "Whole beans", "3 ", "Mug", "2 "):
        expect(re.search(rf"(?<![0-9]){re.escape(part)}", text), part)


# CON


@probe("CON-1")
async def one_ending_wins(mock: Mock) -> None:
    for ways in ((mock.try_expire, mock.try_pay), (mock.try_expire,) * 2, (mock.try_pay,) * 2):
        session = await mock.create()
        seen = await asyncio.gather(*(way(session) for way in ways))
        expect(sorted(each.status for each in seen) == [200, 409], [each.status for each in seen])


@probe("CON-2")
async def concurrent_creates(mock: Mock) -> None:
    made = [session["id"] for session in await asyncio.gather(*(mock.create() for _ in range(4)))]
    expect(len(set(made)) == 4, made)
    expect(sorted(await mock.ids()) == sorted(made), "the list")


# EVT


async def _ended(mock: Mock, **changes: Any) -> tuple[Json, Json]:
    """A session that was paid, and one that was expired."""
    paid, expired = await mock.create(**changes), await mock.create(**changes)
    await mock.pay(paid)
    await mock.expire(expired)
    return paid, expired


@probe("EVT-1")
async def an_event_has_its_shape(mock: Mock) -> None:
    await _ended(mock)
    await _ended(mock)
    events = await mock.events()
    names = {"id", "api_version", "type", "account", "created", "request", "data"}
    for event in events:
        expect(event.keys() >= names and event["request"].keys() >= {"id", "idempotency_key"}, event)
        expect(re.fullmatch("evt_[A-Za-z0-9]+", event["id"]), event["id"])
        expect(event["api_version"] == "1.0.0" and event["created"] == NOW, event)
    expect(len({event["id"] for event in events}) == len(events), "ids")


@probe("EVT-2")
async def ending_sends_one_event(mock: Mock) -> None:
    paid, expired = await _ended(mock)
    free, late = await mock.create(line(amount=0)), await mock.create(expires_at=NOW + 1_800)
    await mock.pay(free)
    await mock.advance(1_800)
    events = await mock.events()
    for session, word in ((paid, "completed"), (expired, "expired"), (free, "completed"), (late, "expired")):
        types = [event["type"] for event in events if event["data"]["object"]["id"] == session["id"]]
        expect(types == [f"checkout.session.{word}"], f"{word}: {types}")


@probe("EVT-3")
async def an_event_shows_the_session_as_it_became(mock: Mock) -> None:
    sessions = await _ended(mock)
    for session, event in zip(sessions, await mock.events(), strict=True):
        expect(event["data"]["object"] == await mock.retrieve(session), event["data"])


@probe("EVT-4")
async def an_event_names_its_request(mock: Mock) -> None:
    paid, expired = await mock.create(idempotency="k1"), await mock.create(idempotency="k2")
    await mock.pay(paid)
    seen = await mock.try_expire(expired, idempotency="k3")
    requests = [event["request"] for event in await mock.events()]
    by_request = {"id": seen.headers["request-id"], "idempotency_key": "k3"}
    expect(requests == [{"id": None, "idempotency_key": None}, by_request], requests)


@probe("EVT-5")
async def nothing_else_sends_an_event(mock: Mock) -> None:
    opened, paid, expired = [await mock.create() for _ in range(3)]
    await mock.pay(opened, "failed")
    await mock.pay(opened, "canceled")
    await mock.pay(paid)
    for _ in range(2):
        await mock.try_expire(expired, idempotency="k1")
    await mock.try_expire(expired)
    await mock.try_expire(paid)
    await mock.try_pay(paid)
    events = [event["data"]["object"]["id"] for event in await mock.events()]
    expect(events == [paid["id"], expired["id"]], events)
    await mock.advance(DAY)
    events = [event["data"]["object"]["id"] for event in await mock.events()]
    expect(events == [paid["id"], expired["id"], opened["id"]], events)


@probe("EVT-6")
async def events_are_delivered(mock: Mock) -> None:
    before, later = await _ended(mock)
    first, second = await mock.listen(500, 503, 404, *[500] * 20), await mock.listen(name="other")
    await mock.flush()
    expect(not first.received, "what arose before")
    session = await mock.create()
    await mock.pay(session)
    await mock.flush()
    expect(len(first.received) == len(second.received) == 1, "at once, to every endpoint")
    kind = first.received[0].headers["content-type"]
    expect(first.received[0].method == "POST" and kind.startswith("application/json"), kind)
    times, now = [0], 0
    for seconds in (10, 50, 100, 200, 1_000, 2_000, 10_000, 20_000, 60_000, 100_000):
        await mock.advance(seconds)
        now += seconds
        times += [now] * (len(first.received) - len(times))
    expect(len(times) > 5 and times[1] <= 60, times)
    delays = [b - a for a, b in pairwise(times)]
    expect(delays == sorted(delays) and delays[-1] > delays[0], delays)
    expect(len({event["id"] for event in first.events}) == 1, "another id")
    expect(len(second.received) == 1, "again after a 2xx")
    del before, later


@probe("EVT-7")
async def deliveries_are_signed(mock: Mock) -> None:
    secrets = ["secret", " whsec_ü\n", base64.b64encode(b"sixteen bytes 16").decode()]
    endpoints = [await mock.listen(500, secret=secret, name=f"hook{n}") for n, secret in enumerate(secrets)]
    await _ended(mock)
    await mock.flush()
    await mock.advance(60)
    for secret, endpoint in zip(secrets, endpoints, strict=True):
        expect(endpoint.received, "nothing delivered")
        for request in endpoint.received:
            digest = hmac.new(secret.encode(), request.content, hashlib.sha256).digest()
            signature = request.headers.get("x-qashier-sign")
            expect(signature == base64.b64encode(digest).decode(), f"{secret!r}: {signature}")


@probe("EVT-8")
async def one_account_one_name(mock: Mock) -> None:
    await _ended(mock)
    names = {event["account"] for event in await mock.events()}
    expect(len(names) == 1, names)


# IDM


@probe("IDM-1")
async def the_same_key_gets_the_same_answer(mock: Mock) -> None:
    first = await mock.try_create(idempotency="k1")
    await mock.expire(first.json)
    again = await mock.try_create(idempotency="k1")
    expect((again.status, again.json) == (first.status, first.json), again.body)
    expect(len(await mock.ids()) == 1, "done again")


@probe("IDM-2")
async def other_keys_are_other_requests(mock: Mock) -> None:
    keys = ["key", "Key", "other", "k" * 200, "k" * 199 + "l"]
    ids = [(await mock.create(idempotency=key))["id"] for key in keys]
    expect(len(set(ids)) == len(ids), ids)


@probe("IDM-3")
async def a_key_has_255_characters(mock: Mock) -> None:
    await mock.create(idempotency="k" * 255)
    expect((await mock.try_create(idempotency="k" * 256)).refused, "256 characters")


@probe("IDM-4")
async def a_key_is_forgotten(mock: Mock) -> None:
    first = await mock.create(idempotency="k1")
    for seconds, is_known in ((7_200, True), (DAY - 7_201, True), (1, False)):
        await mock.advance(seconds)
        seen = await mock.create(idempotency="k1")
        expect((seen["id"] == first["id"]) is is_known, f"{seconds} s later")


@probe("IDM-5")
async def an_expire_is_replayed(mock: Mock) -> None:
    session = await mock.create()
    first, again = [await mock.try_expire(session, idempotency="k1") for _ in range(2)]
    expect((again.status, again.json) == (200, first.json), again.body)


@probe("IDM-6")
async def the_same_key_at_once(mock: Mock) -> None:
    seen = await asyncio.gather(*(mock.try_create(idempotency="k1") for _ in range(2)))
    expect({each.status for each in seen} <= {200, 409}, [each.status for each in seen])
    made = [each.json for each in seen if each.status == 200]
    expect(made and all(each == made[0] for each in made), made)
    expect(await mock.ids() == [made[0]["id"]], "the list")


@probe("IDM-7")
async def keys_belong_to_an_account(mock: Mock) -> None:
    first = await mock.create(idempotency="k1")
    second = await mock.create(idempotency="k1", key=mock.other)
    expect(first["id"] != second["id"], "another account's answer")


@probe("IDM-8")
async def a_refusal_does_not_use_a_key_up(mock: Mock) -> None:
    expect((await mock.try_create(line(quantity=0), idempotency="k1")).refused, "the wrong request")
    await mock.create(idempotency="k1")


@probe("IDM-9")
async def a_key_for_another_request(mock: Mock) -> None:
    first = await mock.create(idempotency="k1")
    other = await mock.try_create(line("Tea"), idempotency="k1")
    expect(other.refused or other.json["id"] == first["id"], "another body")
    await mock.try_expire(first, idempotency="k1")
    expect(await mock.ids() == [first["id"]], "a second session")
    expect((await mock.retrieve(first))["status"] == "open", "another operation")
