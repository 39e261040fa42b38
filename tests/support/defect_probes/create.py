"""Probes of CRE."""

from __future__ import annotations

import re
from collections.abc import Callable

from defect_caller import BASE, CANCEL_URL, DAY, NOW, RETURN_URL, SESSIONS, SUCCESS_URL, Json, Mock, expect, line, order

from defect_probes.table import probe


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
