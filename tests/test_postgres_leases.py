"""What a process claims in a database: deliveries and clocks, and what becomes of them when it dies."""

from __future__ import annotations

import asyncio

import pytest
from mock_harness import NOW
from processes_harness import SOON, Processes
from store_harness import ACCOUNTS, NOWHERE, Mock, until

from qashier_mock import service
from qashier_mock.core.model import AccountClock, EventType, Status
from qashier_mock.core.paging import ListQuery
from qashier_mock.stores.postgres import PostgresStore

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.asyncio

ONE, _ = ACCOUNTS


async def test_a_delivery_is_claimed_by_one_process(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    await one.fill_outbox(3)
    async with one.store.transaction(ONE) as tx:
        claimed = {each.id for each in await tx.claim_deliveries(NOW, 2)}
    async with other.store.transaction(ONE) as tx:
        assert await tx.is_attempted_elsewhere()
        (rest,) = await tx.claim_deliveries(NOW, 9)
        assert rest.id not in claimed
        assert not await tx.is_claimed(next(iter(claimed)))


async def test_flush_waits_for_what_another_process_attempts(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    await one.fill_outbox(1)
    async with one.store.transaction(ONE) as tx:
        (delivery,) = await tx.claim_deliveries(NOW, 9)
    flushing = asyncio.create_task(other.dispatcher.flush(ONE))
    await asyncio.sleep(0.1)
    assert not flushing.done()
    async with one.store.transaction(ONE) as tx:
        await tx.put_delivery(delivery)
    attempts = await flushing
    assert [each.delivery_id for each in attempts] == [delivery.id]


async def test_what_a_dead_process_had_claimed_another_delivers(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    await other.clocks.advance(ONE, frozen=True)
    await one.fill_outbox(2)
    async with one.store.transaction(ONE) as tx:
        claimed = {each.id for each in await tx.claim_deliveries(NOW, 9)}
    async with other.dispatcher.running():
        await asyncio.sleep(3 * SOON)
        assert await other.accounts.attempts(ONE) == (), "it lives"
        await processes.kill(one)

        async def are_attempted() -> bool:
            return {each.delivery_id for each in await other.accounts.attempts(ONE)} == claimed

        await until(are_attempted)


async def test_a_process_that_was_taken_for_dead_does_not_undo_what_another_did(processes: Processes) -> None:
    """Its attempt is recorded, since it was made; what comes next is the other's to say."""
    one, other = await processes.start(), await processes.start()
    await one.fill_outbox(1)
    (delivery_id,) = [each.id for each in (await one.accounts.snapshot(ONE)).pending]
    release = asyncio.Event()

    async def slow(*_: object) -> tuple[int | None, str | None]:
        await release.wait()
        return None, "too late"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one.dispatcher, "_try", slow)
        flushing = asyncio.create_task(one.dispatcher.flush(ONE))

        async def is_claimed() -> bool:
            async with other.store.transaction(ONE, reading=True) as tx:
                return await tx.is_attempted_elsewhere()

        await until(is_claimed)
        assert isinstance(other.store, PostgresStore)
        assert isinstance(one.store, PostgresStore)
        await other.store.release_workers(f"no = {one.store.worker}")
        async with other.store.transaction(ONE) as tx:
            (stolen,) = await tx.claim_deliveries(NOW, 9)
        release.set()
        await until(lambda: attempts_made(one, 1))
        async with other.store.transaction(ONE) as tx:
            assert await tx.is_claimed(stolen.id)
            await tx.remove_delivery(stolen.id)
        assert [each.delivery_id for each in await flushing] == [delivery_id]
    assert (await one.accounts.snapshot(ONE)).pending == []


async def attempts_made(mock: Mock, number: int) -> bool:
    return len(await mock.accounts.attempts(ONE)) == number


async def test_two_moves_of_one_clock_add_up(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    await one.create()
    await asyncio.gather(*((one, other)[each % 2].clocks.advance(ONE, by=100) for each in range(8)))
    reading = await one.accounts.clock(ONE)
    assert (reading.now, reading.frozen) == (NOW + 800, False)


async def test_whoever_moves_a_clock_tells_of_all_that_expires_on_the_way(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few at a time; other processes have their turn in between, and expire none of them."""
    monkeypatch.setattr(service, "EXPIRED_AT_ONCE", 2)
    one, other = await processes.start(), await processes.start()
    sessions = [await one.create(expires_at=NOW + 1_800 + number // 9) for number in range(20)]
    moving = asyncio.create_task(one.clocks.advance(ONE, by=3_600))
    created = 0
    while not moving.done():
        assert (await other.create()).is_open
        created += 1
    found = await other.service.find(sessions[-1].id)
    assert found is not None
    assert found[1].status is Status.EXPIRED
    assert await moving == [each.id for each in sessions]
    assert [each.session.id for each in await other.accounts.events(ONE)] == [each.id for each in sessions]
    assert created > 3, "others had their turn"


async def test_nobody_waits_for_webhooks_of_what_expires_while_a_clock_is_moved(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is due at an instant expires before the first of them goes out, though it is a few at a time."""
    monkeypatch.setattr(service, "EXPIRED_AT_ONCE", 2)
    one, other = await processes.start(), await processes.start()
    for _ in range(5):
        await one.create()
    await one.accounts.add_endpoint(ONE, NOWHERE, secret=None, types=tuple(EventType))
    begun, going_on = asyncio.Event(), asyncio.Event()

    async def hang(*_: object) -> tuple[None, str]:
        begun.set()
        await going_on.wait()
        return None, "nobody there"

    monkeypatch.setattr(one.dispatcher, "_try", hang)
    moving = asyncio.create_task(one.clocks.advance(ONE, by=86_400))
    await begun.wait()
    page = await asyncio.wait_for(other.service.list_sessions(ONE, ListQuery(10)), 10)
    assert [each.status for each in page.sessions] == [Status.EXPIRED] * 5
    going_on.set()
    assert len(await moving) == 5


async def test_a_clock_that_a_dead_process_was_moving_can_be_moved_on(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    await one.create()
    async with one.store.transaction(ONE) as tx:
        assert (await tx.change()).begin_move(tx.worker, ends_frozen=False)
        await one.service.set_clock(tx, AccountClock(frozen_at=NOW + 500))
    async with other.store.transaction(ONE) as tx:
        assert not (await tx.change()).begin_move(tx.worker, ends_frozen=False)
    async with other.dispatcher.running():
        moving = asyncio.create_task(other.clocks.advance(ONE, by=10))
        await asyncio.sleep(2 * SOON)
        assert not moving.done(), "it lives"
        await processes.kill(one)
        await moving
    reading = await other.accounts.clock(ONE)
    assert (reading.now, reading.frozen) == (NOW + 510, False)


async def test_an_account_is_handed_out_to_one_process(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    for each in range(5):
        await one.create(ACCOUNTS[each % 2])
    processes.clock.now += 100_000
    found = await asyncio.gather(
        *(mock.store.due_accounts(processes.clock.now) for mock in (one, other) for _ in range(3))
    )
    assert sorted(account for each in found for account in each) == sorted(ACCOUNTS)
