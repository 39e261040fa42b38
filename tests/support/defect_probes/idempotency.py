"""Probes of IDM."""

from __future__ import annotations

import asyncio

from defect_caller import DAY, Mock, expect, line

from defect_probes.table import probe


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
