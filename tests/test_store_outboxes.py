"""What every store keeps for later: deliveries, deadlines, clocks on the move, and who sees to them."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mock_harness import NOW
from store_harness import ACCOUNTS, NOWHERE, Mock, Place, until

from qashier_mock.core.delivery import Attempt
from qashier_mock.core.model import AccountClock, AccountId, EventType
from qashier_mock.stores.base import StoreUnavailable, Transaction

pytest_plugins = ["store_fixtures"]

ONE, TWO = ACCOUNTS


@pytest.mark.asyncio
async def test_a_claimed_delivery_is_nobody_elses(mock: Mock) -> None:
    first, second, third = await mock.fill_outbox(3)
    async with mock.store.transaction(ONE) as tx:
        assert await tx.claim_deliveries(NOW - 1, 9) == ()
        assert [each.id for each in await tx.claim_deliveries(NOW, 2)] == [first, second]
        assert [each.id for each in await tx.claim_deliveries(NOW, 9)] == [third]
        assert await tx.claim_deliveries(NOW, 9) == ()
        assert await tx.next_delivery_due() is None
        assert await tx.is_claimed(first)
        assert not await tx.is_attempted_elsewhere()
        assert len(await tx.pending_deliveries()) == 3
    async with mock.store.transaction(ONE) as tx:
        (delivery,) = [each for each in await tx.pending_deliveries() if each.id == first]
        await tx.put_delivery(dataclasses.replace(delivery, due=NOW + 10))
        await tx.remove_delivery(second)
        assert await tx.is_claimed(first) is False
        assert await tx.is_claimed(second) is None
        assert await tx.is_claimed(third)
        assert await tx.next_delivery_due() == NOW + 10
        assert [each.id for each in await tx.claim_deliveries(NOW + 10, 9)] == [first]


@pytest.mark.asyncio
async def test_a_claim_is_released_if_the_answer_to_its_commit_is_lost(
    mock: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (delivery_id,) = await mock.fill_outbox(1)
    begin, losses = mock.store.transaction, iter([StoreUnavailable("the connection is gone")])

    @asynccontextmanager
    async def losing(account: AccountId, **options: Any) -> AsyncIterator[Transaction]:
        async with begin(account, **options) as tx:
            yield tx
            is_claimed = await tx.is_claimed(delivery_id)
        if is_claimed and (loss := next(losses, None)) is not None:
            raise loss

    async def is_released() -> bool:
        async with mock.store.transaction(ONE) as tx:
            return await tx.is_claimed(delivery_id) is False

    monkeypatch.setattr(type(mock.store), "transaction", lambda _, *asked, **options: losing(*asked, **options))
    with pytest.raises(StoreUnavailable):
        await mock.dispatcher.flush(ONE)
    await until(is_released)
    (attempt,) = await mock.dispatcher.flush(ONE)
    assert attempt.delivery_id == delivery_id


@pytest.mark.asyncio
async def test_what_is_held_is_not_let_go_while_it_is_attempted(mock: Mock) -> None:
    held, _ = await mock.fill_outbox(2)
    async with mock.store.transaction(ONE) as tx:
        (delivery,) = [each for each in await tx.pending_deliveries() if each.id == held]
        await tx.put_delivery(dataclasses.replace(delivery, is_held=True))
        assert [each.id for each in await tx.held_deliveries(delivery.endpoint_id)] == [held]
        await tx.claim_deliveries(NOW, 9)
        assert await tx.held_deliveries(delivery.endpoint_id) == ()


@pytest.mark.asyncio
async def test_an_endpoint_that_is_removed_takes_its_deliveries_along(mock: Mock) -> None:
    await mock.fill_outbox(2)
    (endpoint,) = await mock.accounts.endpoints(ONE)
    await mock.accounts.remove_endpoint(ONE, endpoint.id)
    async with mock.store.transaction(ONE) as tx:
        assert await tx.pending_deliveries() == ()
        assert await tx.next_delivery_due() is None


@pytest.mark.asyncio
async def test_what_a_process_had_claimed_when_it_died_is_delivered_by_the_next(place: Place) -> None:
    """The account's clock ends_frozen, so that no lease by that clock would ever end."""
    before = Mock(place.store())
    await before.store.open()
    await before.clocks.advance(ONE, frozen=True)
    claimed = await before.fill_outbox(2)
    async with before.store.transaction(ONE) as tx:
        assert len(await tx.claim_deliveries(NOW, 9)) == 2
    await before.store.close()
    after = Mock(place.store(), before.clock)
    await after.store.open()
    async with after.dispatcher.running():
        attempts = await attempted(after, 2)
    await after.store.close()
    assert sorted(each.delivery_id for each in attempts) == sorted(claimed)


@pytest.mark.asyncio
async def test_a_deadline_that_passed_while_nothing_ran_is_kept_at_the_start(place: Place) -> None:
    before = Mock(place.store())
    await before.store.open()
    await before.accounts.add_endpoint(ONE, NOWHERE, secret=None, types=tuple(EventType))
    session = await before.create()
    await before.store.close()
    after = Mock(place.store(), before.clock)
    after.clock.now += 100_000
    await after.store.open()
    async with after.dispatcher.running():
        (attempt,) = await attempted(after, 1)
    await after.store.close()
    assert (attempt.session_id, attempt.event_type) == (session.id, "checkout.session.expired")


async def attempted(mock: Mock, number: int) -> list[Attempt]:
    """Wait for so many attempts."""

    async def are_there() -> bool:
        return len(await mock.accounts.attempts(ONE)) >= number

    await until(are_there)
    return list(await mock.accounts.attempts(ONE))


@pytest.mark.asyncio
async def test_a_clock_goes_on_that_a_process_was_moving_when_it_died(lasting: Place) -> None:
    before = Mock(lasting.store())
    await before.store.open()
    await before.create()
    async with before.store.transaction(ONE) as tx:
        assert (await tx.change()).begin_move(tx.worker, ends_frozen=False)
        await before.service.set_clock(tx, AccountClock(frozen_at=NOW + 500))
    await before.store.close()
    after = Mock(lasting.store(), before.clock)
    await after.store.open()

    async def goes() -> bool:
        return not (await after.accounts.clock(ONE)).frozen

    async with after.dispatcher.running():
        await until(goes)
    assert (await after.accounts.clock(ONE)).now == NOW + 500
    after.clock.now += 7
    assert (await after.accounts.clock(ONE)).now == NOW + 507
    await after.store.close()


@pytest.mark.asyncio
async def test_a_clock_that_was_to_stand_in_the_end_goes_on_standing(lasting: Place) -> None:
    before = Mock(lasting.store())
    await before.store.open()
    async with before.store.transaction(ONE) as tx:
        assert (await tx.change()).begin_move(tx.worker, ends_frozen=True)
        await before.service.set_clock(tx, AccountClock(frozen_at=NOW + 500))
    await before.store.close()
    after = Mock(lasting.store(), before.clock)
    await after.store.open()
    assert await after.clocks.advance(ONE, by=10) == []
    reading = await after.accounts.clock(ONE)
    await after.store.close()
    assert (reading.now, reading.frozen) == (NOW + 510, True)


@pytest.mark.asyncio
async def test_an_account_is_due_when_the_machines_clock_says_so(lasting: Place) -> None:
    mock = Mock(lasting.store())
    store = mock.store
    await store.open()
    await mock.clocks.advance(ONE, by=1_000)
    session = await mock.create(ONE)
    await mock.create(TWO)
    await mock.clocks.advance(TWO, frozen=True)
    due = session.expires_at - 1_000
    assert await store.due_accounts(due - 1) == {}
    assert await store.due_accounts(due) == {ONE: due}
    assert await store.due_accounts(due + 1) == {}, "handed out already"
    assert await store.due_accounts(due + 5) == {ONE: due + 5}, "but nobody has seen to it"
    mock.clock.now = due
    await mock.service.sweep(ONE)
    assert await store.due_accounts(due + 100_000) == {}
    await store.close()


@pytest.mark.asyncio
async def test_more_accounts_than_are_handed_out_at_once_are_seen_to_one_after_the_other(lasting: Place) -> None:
    """However many are due at the same time, none waits until it is time to look again."""
    mock = Mock(lasting.store())
    await mock.store.open()
    mock.store.look_every = 3_600
    accounts = [AccountId(f"acct_{each}") for each in range(230)]
    for account in accounts:
        await mock.create(account)
    mock.clock.now += 100_000

    async def are_expired() -> bool:
        for account in reversed(accounts):
            async with mock.store.transaction(account, reading=True) as tx:
                if tx.state.deadline is not None:
                    return False
        return True

    async with mock.dispatcher.running():
        await until(are_expired)
    await mock.store.close()
