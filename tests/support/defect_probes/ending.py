"""Probes of EXP."""

from __future__ import annotations

from defect_caller import NOW, Mock, expect

from defect_probes.table import probe, text_of


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


@probe("EXP-6")
async def the_page_of_an_expired_session(mock: Mock) -> None:
    session = await mock.create()
    await mock.expire(session)
    page = (await mock.show(session)).text
    expect("expired" in text_of(page) and "<form" not in page, "the page")


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
