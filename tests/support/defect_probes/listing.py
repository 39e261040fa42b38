"""Probes of LIS."""

from __future__ import annotations

from defect_caller import NOW, SESSIONS, Mock, expect, line

from defect_probes.table import probe


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
