"""Which slice of a list answers a query. Laws over every list, judged against the plainest possible reading of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_harness import ACCOUNT, NOW, drive, make_service, order, request

from qashier_mock.core.errors import CursorsExclusive, CursorUnknown
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import CheckoutSession, Status
from qashier_mock.core.paging import CreatedRange, Interval, ListQuery, take
from qashier_mock.core.sources import ManualClock
from qashier_mock.service import CheckoutService

BOUNDS = st.none() | st.integers(-3, 3)
STATUSES = st.none() | st.sampled_from(Status)
STEPS = st.lists(st.tuples(st.sampled_from(["create", "pay", "expire"]), st.integers(0, 1)), max_size=14)
LIMITS = st.integers(1, 4)


@given(BOUNDS, BOUNDS, BOUNDS, BOUNDS, st.integers(-5, 5))
def test_lis_9_a_range_holds_what_all_of_its_bounds_hold(
    gt: int | None, gte: int | None, lt: int | None, lte: int | None, created: int
) -> None:
    found = CreatedRange.of(gt=gt, gte=gte, lt=lt, lte=lte)
    within = (found.since is None or created >= found.since) and (found.until is None or created < found.until)
    assert within == (
        (gt is None or created > gt)
        and (gte is None or created >= gte)
        and (lt is None or created < lt)
        and (lte is None or created <= lte)
    )


@given(st.lists(st.integers(), max_size=8), st.integers(1, 5), st.booleans())
def test_lis_3_and_7_a_page_takes_up_to_its_limit_and_knows_whether_there_is_more(
    walk: list[int],
    limit: int,
    newest_first: bool,  # noqa: FBT001
) -> None:
    entries, has_more = take(walk, limit, newest_first=newest_first)
    assert list(entries) == (walk[:limit] if newest_first else walk[:limit][::-1])
    assert has_more == (len(walk) > limit)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_lis_5_6_and_12_a_cursor_leaves_what_lies_beyond_it_even_outside_the_interval(
    first: int, end: int, cursor: int
) -> None:
    interval = Interval(first, end, newest_first=True)
    inside = range(first, end)
    after = interval.after_cursor(ListQuery(10, starting_after="x"), cursor)
    before = interval.after_cursor(ListQuery(10, ending_before="x"), cursor)
    assert list(range(after.first, after.end)) == [each for each in inside if each < cursor]
    assert list(range(before.first, before.end)) == [each for each in inside if each > cursor]
    assert (after.newest_first, before.newest_first) == (True, False)
    assert interval.after_cursor(ListQuery(10), None) is interval


@dataclass
class Shop:
    """A service with some sessions, and what it should answer: every session, filtered by the letter."""

    service: CheckoutService
    clock: ManualClock

    def create(self) -> CheckoutSession:
        return drive(self.service.create(ACCOUNT, order(), request()))[0]

    def everyone(self) -> list[CheckoutSession]:
        """Newest first."""
        return list(drive(self.service.list_sessions(ACCOUNT, ListQuery(limit=100))).sessions)

    def walk(
        self, query: Callable[[str | None], ListQuery], on_page: Callable[[], object] = lambda: None
    ) -> list[Sequence[CheckoutSession]]:
        """The pages that following the cursor of the last entry in the walk's direction meets."""
        pages: list[Sequence[CheckoutSession]] = []
        cursor = None
        while True:
            asked = query(cursor)
            page = drive(self.service.list_sessions(ACCOUNT, asked))
            pages.append(page.sessions)
            if not page.has_more:
                return pages
            assert len(page.sessions) == asked.limit
            cursor = page.sessions[0 if asked.ending_before is not None else -1].id
            on_page()


def opened(steps: list[tuple[str, int]]) -> Shop:
    shop = Shop(*make_service())
    for step, seconds in steps:
        shop.clock.now += seconds
        session = shop.create()
        if step == "pay":
            drive(shop.service.apply(ACCOUNT, session.id, Trigger.PAYMENT_SUCCEEDED))
        elif step == "expire":
            drive(shop.service.expire(ACCOUNT, session.id, request()))
    return shop


def is_kept(session: CheckoutSession, status: Status | None, created: CreatedRange) -> bool:
    return (
        status in (None, session.status)
        and (created.since is None or session.created >= created.since)
        and (created.until is None or session.created < created.until)
    )


RANGES = st.builds(
    lambda since, until: CreatedRange(None if since is None else NOW + since, None if until is None else NOW + until),
    BOUNDS,
    BOUNDS,
)


@given(STEPS, LIMITS, STATUSES, RANGES, st.booleans())
def test_lis_11_walking_meets_every_match_once_either_way(
    steps: list[tuple[str, int]],
    limit: int,
    status: Status | None,
    created: CreatedRange,
    newest_first: bool,  # noqa: FBT001
) -> None:
    shop = opened(steps)
    everyone = shop.everyone()
    expected = [each for each in everyone if is_kept(each, status, created)]
    oldest = shop.everyone()[-1].id if everyone else None
    if newest_first:
        pages = shop.walk(lambda cursor: ListQuery(limit, starting_after=cursor, status=status, created=created))
    elif oldest is None:
        return
    else:
        pages = shop.walk(
            lambda cursor: ListQuery(limit, ending_before=cursor or oldest, status=status, created=created)
        )
        pages.reverse()
        expected = [each for each in expected if each.id != oldest]
    assert [each for page in pages for each in page] == expected


@given(STEPS, LIMITS, STATUSES, st.integers(0, 3))
def test_lis_11_sessions_that_arrive_meanwhile_disturb_no_walk(
    steps: list[tuple[str, int]], limit: int, status: Status | None, arriving: int
) -> None:
    """Towards the old end none of them is met; towards the new end each of those that were there is, once."""
    shop = opened(steps)
    everyone = shop.everyone()
    if not everyone:
        return
    there = [each for each in everyone if status in (None, each.status)]

    def arrive() -> None:
        for _ in range(arriving):
            shop.clock.now += 1
            shop.create()

    pages = shop.walk(lambda cursor: ListQuery(limit, starting_after=cursor, status=status), arrive)
    assert [each for page in pages for each in page] == there

    def arrive_once(turns: list[None]) -> None:
        if turns:
            turns.pop()
            arrive()

    oldest, turns = everyone[-1].id, [None] * 3
    back = shop.walk(
        lambda cursor: ListQuery(limit, ending_before=cursor or oldest, status=status), lambda: arrive_once(turns)
    )
    met = [each for page in reversed(back) for each in page]
    assert [each for each in met if each in everyone] == [each for each in there if each.id != oldest]
    assert len({each.id for each in met}) == len(met)
    assert met == sorted(met, key=lambda each: each.sequence, reverse=True)


@given(STEPS, STATUSES, st.integers(0, 13), st.booleans(), LIMITS)
def test_lis_5_6_12_a_page_is_directly_beside_its_cursor(
    steps: list[tuple[str, int]],
    status: Status | None,
    place: int,
    after: bool,  # noqa: FBT001
    limit: int,
) -> None:
    shop = opened(steps)
    everyone = shop.everyone()
    if place >= len(everyone):
        return
    cursor = everyone[place].id
    query = (
        ListQuery(limit, starting_after=cursor, status=status)
        if after
        else ListQuery(limit, ending_before=cursor, status=status)
    )
    page = drive(shop.service.list_sessions(ACCOUNT, query))
    beyond = everyone[place + 1 :] if after else everyone[:place]
    matching = [each for each in beyond if status in (None, each.status)]
    assert list(page.sessions) == (matching[:limit] if after else matching[-limit:])
    assert page.has_more == (len(matching) > limit)


def test_lis_13_cursors_are_told_apart() -> None:
    service, _ = make_service()
    session = drive(service.create(ACCOUNT, order(), request()))[0]
    with pytest.raises(CursorsExclusive):
        drive(service.list_sessions(ACCOUNT, ListQuery(10, starting_after=session.id, ending_before=session.id)))
    with pytest.raises(CursorUnknown, match="starting_after") as refused:
        drive(service.list_sessions(ACCOUNT, ListQuery(10, starting_after="cs_test_2")))
    assert refused.value.param == "starting_after"
    with pytest.raises(CursorUnknown, match="ending_before"):
        drive(service.list_sessions(ACCOUNT, ListQuery(10, ending_before="cs_test_2")))
