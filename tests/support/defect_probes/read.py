"""Probes of RET."""

from __future__ import annotations

from defect_caller import NOW, SESSIONS, Mock, expect

from defect_probes.table import lasting, probe


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
