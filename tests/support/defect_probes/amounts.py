"""Probes of AMT."""

from __future__ import annotations

from defect_caller import Json, Mock, expect, line

from defect_probes.table import probe


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
