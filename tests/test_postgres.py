"""One database and several processes: what they do at the same time, and what becomes of one that dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import psycopg
import pytest
from mock_harness import NOW
from processes_harness import Processes
from store_harness import ACCOUNTS, Mock, Place, until

from qashier_mock.core.errors import IdempotencyKeyInUse, SessionNotOpen
from qashier_mock.core.journal import JournalEntry
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import CheckoutSession, Status
from qashier_mock.core.paging import ListQuery
from qashier_mock.core.sources import ManualClock
from qashier_mock.stores.postgres import CONNECTIONS, PostgresStore

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.asyncio

ONE, _ = ACCOUNTS


async def outcome(command: Awaitable[CheckoutSession]) -> Status | type[Exception]:
    try:
        return (await command).status
    except SessionNotOpen as error:
        return type(error)


# At the same time


async def test_of_a_payment_and_an_expiry_at_the_same_time_one_wins(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    wins = []
    for _ in range(15):
        session = await one.create()
        ended = await asyncio.gather(
            outcome(one.service.apply(ONE, session.id, Trigger.PAYMENT_SUCCEEDED)),
            outcome(other.expire(session)),
        )
        (won,) = [each for each in ended if isinstance(each, Status)]
        assert SessionNotOpen in ended
        assert (await other.service.retrieve(ONE, session.id, "req_3"))[0].status is won
        wins.append(won)
    events = await one.accounts.events(ONE)
    assert [event.session.status for event in events] == wins, "one event each"


async def test_sessions_created_at_the_same_time_are_all_there_in_one_order(processes: Processes) -> None:
    mocks = [await processes.start() for _ in range(3)]
    created = await asyncio.gather(*(mocks[each % 3].create() for each in range(30)))
    assert len({session.id for session in created}) == 30
    page = await mocks[0].service.list_sessions(ONE, ListQuery(limit=100))
    assert [each.sequence for each in page.sessions] == list(reversed(range(30)))
    assert {each.id for each in page.sessions} == {session.id for session in created}


async def test_a_machine_whose_clock_is_behind_does_not_disturb_the_order(processes: Processes) -> None:
    ahead = await processes.start()
    behind = Mock(processes.stores[0], ManualClock(NOW - 3))
    first = await ahead.create()
    second = await behind.create()
    assert second.created == first.created == NOW
    third = await ahead.create()
    page = await behind.service.list_sessions(ONE, ListQuery(10))
    assert [each.id for each in page.sessions] == [third.id, second.id, first.id]


async def test_one_key_at_the_same_time_opens_one_session(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    created = await asyncio.gather(*((one, other)[each % 2].create(key="a key") for each in range(12)))
    assert len({session.id for session in created}) == 1
    async with one.store.transaction(ONE) as tx:
        assert tx.state.sessions == 1


async def test_a_key_under_way_is_a_conflict_where_the_policy_says_so(processes: Processes) -> None:
    one = await processes.start(idempotency_in_flight="conflict")
    other = await processes.start(idempotency_in_flight="conflict")
    async with one.store.transaction(ONE, key="a key"):
        with pytest.raises(IdempotencyKeyInUse):
            await other.create(key="a key")
        waiting = asyncio.create_task(other.create(key="another key"))
    assert (await waiting).sequence == 0, "another key only waits"
    session = await one.create(key="a key")
    assert await other.create(key="a key") == session, "and what has ended is replayed"


async def test_reading_waits_for_nobody(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    session = await one.create()
    async with one.store.transaction(ONE) as tx:
        (await tx.change()).profile = tx.state.profile
        assert (await other.service.retrieve(ONE, session.id, "req_2"))[0] == session
        assert (await other.service.list_sessions(ONE, ListQuery(10))).sessions == (session,)
        async with other.store.transaction(ONE, reading=True) as reading:
            assert not reading.state.faults


async def test_readers_at_the_same_time_expire_a_session_once(processes: Processes) -> None:
    mocks = [await processes.start() for _ in range(3)]
    session = await mocks[0].create()
    processes.clock.now += 86_400
    found = await asyncio.gather(*(mocks[each % 3].service.find(session.id) for each in range(12)))
    assert {each and each[1].status for each in found} == {Status.EXPIRED}
    assert len(await mocks[0].accounts.events(ONE)) == 1


async def test_a_command_that_is_cancelled_while_it_is_undone_holds_nobody_up(processes: Processes) -> None:
    mock = await processes.start()
    await mock.create()

    async def undone() -> None:
        task = asyncio.current_task()
        assert task is not None
        async with mock.store.transaction(ONE) as tx:
            await tx.change()
            task.cancel()
            raise ValueError

    for _ in range(CONNECTIONS + 1):
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(undone())
    await mock.create()


async def test_requests_of_all_processes_stand_in_one_journal(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    entry = JournalEntry("req_1", "retrieve", "GET", b"/", 200, NOW, 0.25, None, None, b"{}")
    one.store.record(ONE, entry)
    await one.store.journal(ONE)
    other.store.record(ONE, entry._replace(request_id="req_2"))
    assert [each.request_id for each in await other.store.journal(ONE)] == ["req_1", "req_2"]
    one.store.record(ONE, entry._replace(request_id="req_3"))

    async def is_there() -> bool:
        return len(await other.store.journal(ONE)) == 3

    await until(is_there)


async def test_who_reads_a_journal_waits_for_what_is_being_written_to_it(processes: Processes) -> None:
    mock = await processes.start()
    store = processes.stores[0]
    async with await psycopg.AsyncConnection.connect(processes.url) as connection:
        await connection.execute("LOCK TABLE mock_journal IN SHARE MODE")  # may be read, but not written
        entry = JournalEntry("req_1", "retrieve", "GET", b"/", 200, NOW, 0.25, None, None, b"{}")
        store.record(ONE, entry)

        async def is_being_written() -> bool:
            return not store._requests

        await until(is_being_written)
        reading = asyncio.create_task(store.journal(ONE))
        for _ in range(5):
            await mock.create()  # takes longer than to read
        await connection.rollback()
    assert await reading == (entry,)


async def test_processes_that_start_at_the_same_time_share_the_tables(database: Place) -> None:
    stores = [PostgresStore(database.url) for _ in range(5)]
    await asyncio.gather(*(store.open() for store in stores))
    numbers = {store.worker for store in stores}
    await asyncio.gather(*(store.close() for store in stores))
    assert len(numbers) == 5
