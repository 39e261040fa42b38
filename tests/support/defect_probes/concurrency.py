"""Probes of CON."""

from __future__ import annotations

import asyncio

from defect_caller import Mock, expect

from defect_probes.table import probe


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
