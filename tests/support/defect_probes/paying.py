"""Probes of PAY."""

from __future__ import annotations

import re

from defect_caller import CANCEL_URL, RETURN_URL, SUCCESS_URL, Mock, expect, line

from defect_probes.table import probe, text_of


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
    expect("paid" in text_of(page) and "<form" not in page, "the page")


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
