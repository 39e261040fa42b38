"""The stores: whatever is asked of one, the others answer the same; and what is kept is kept."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mock_harness import NOW, drive
from store_harness import ACCOUNTS, COMMANDS, NOWHERE, Command, Mock, Place, Play, a_long_life
from store_samples import ATTEMPT, ENTRY, RULE, SESSION

from qashier_mock import service
from qashier_mock.app import MockApp, Settings
from qashier_mock.core.errors import IdTaken, SessionNotFound, SessionNotOpen
from qashier_mock.core.journal import CAPACITY
from qashier_mock.core.model import AccountId, EventType, Profile, Status
from qashier_mock.stores import database, sql
from qashier_mock.stores.base import ATTEMPTS_KEPT, Store
from qashier_mock.stores.memory import MemoryStore
from qashier_mock.stores.sql_store import SqlStore

pytest_plugins = ["store_fixtures"]

ONE, TWO = ACCOUNTS


# All stores are one: whatever is done, each answers as the memory does


NUMBERS = st.integers(0, 7)
PLAYS = st.lists(st.tuples(st.sampled_from(COMMANDS), NUMBERS, NUMBERS, NUMBERS), max_size=40)


def play(new_place: Callable[[str], Place], kind: str, commands: list[Command]) -> list[Any]:
    return asyncio.run(Play(new_place(kind)).run(commands))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(commands=PLAYS)
@example(commands=a_long_life())
def test_a_file_answers_as_the_memory_does(commands: list[Command], new_place: Callable[[str], Place]) -> None:
    assert play(new_place, "sqlite", commands) == play(new_place, "memory", commands)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(commands=PLAYS)
@example(commands=a_long_life())
def test_a_database_answers_as_the_memory_does(commands: list[Command], new_place: Callable[[str], Place]) -> None:
    assert play(new_place, "postgresql", commands) == play(new_place, "memory", commands)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgresql"])
def test_what_is_done_in_slices_is_the_same_as_at_once(
    kind: str, new_place: Callable[[str], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = play(new_place, "memory", a_long_life())
    for place, name in (
        (sql, "AT_ONCE"),
        (database, "AT_ONCE"),
        (service, "EXPIRED_AT_ONCE"),
    ):
        monkeypatch.setattr(place, name, 2)
    assert play(new_place, kind, a_long_life()) == at_once


@pytest.mark.asyncio
async def test_a_command_waits_for_no_more_expiries_than_one_transaction_may_make(
    mock: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is about what is overdue: that expires before anybody sees it, earliest deadline first."""
    monkeypatch.setattr(service, "EXPIRED_AT_ONCE", 2)
    overdue = [await mock.create(expires_at=NOW + 1_800 + number) for number in range(9)]
    lasting = await mock.create()
    mock.clock.now += 3_600

    async def expired() -> list[str]:
        async with mock.store.transaction(ONE, reading=True) as tx:
            return [event.session.id for event in await tx.events() if event.type is EventType.EXPIRED]

    ids = [each.id for each in overdue]
    assert (await mock.create()).sequence == 10
    assert await expired() == ids[:2]
    assert (await mock.pay(lasting)).status is Status.COMPLETE
    assert await expired() == ids[:4]
    await mock.service.sweep_some(ONE)
    assert await expired() == ids[:6]
    with pytest.raises(SessionNotOpen):
        await mock.pay(overdue[6])
    assert await expired() == ids[:8]
    found = await mock.service.find(ids[8])
    assert found is not None
    assert found[1].status is Status.EXPIRED
    assert await expired() == ids


# Transactions


@pytest.mark.asyncio
async def test_what_a_long_command_reads_belongs_to_one_moment(lasting: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have their turn meanwhile, and those on its account are not seen by it."""
    monkeypatch.setattr(sql, "AT_ONCE", 2)
    mock = Mock(lasting.store())
    await mock.store.open()
    sessions = [await mock.create() for _ in range(5)]
    async with mock.store.transaction(ONE, reading=True, long=True) as tx:
        paying = asyncio.create_task(mock.pay(sessions[0]))
        others = asyncio.create_task(mock.create(TWO))
        await asyncio.wait_for(others, 10)
        assert await tx.sessions() == tuple(sessions)
        assert await tx.events() == ()
    await paying
    assert [each.session.id for each in await mock.accounts.events(ONE)] == [sessions[0].id]
    await mock.store.close()


@pytest.mark.asyncio
async def test_a_new_account_has_the_defaults(store: Store) -> None:
    async with store.transaction(ONE, reading=True) as tx:
        assert tx.state.profile == Profile()
        assert (tx.state.sessions, tx.state.newest, tx.state.deadline) == (0, 0, None)
        assert [*await tx.sessions(), *await tx.records(), *await tx.events()] == []
    async with store.transaction(ONE, reading=True) as tx:
        assert not tx.state.faults
    assert await store.journal(ONE) == ()


@pytest.mark.asyncio
async def test_what_failed_on_the_way_has_not_happened(lasting: Place) -> None:
    mock = Mock(lasting.store())
    await mock.store.open()
    session = await mock.create(key="kept")
    before = await mock.accounts.snapshot(ONE)

    async def fail() -> None:
        async with mock.store.transaction(ONE) as tx:
            await tx.replace_session(session, dataclasses.replace(session, status=Status.COMPLETE))
            await tx.add_session(dataclasses.replace(session, id="cs_test_other", sequence=1))
            (await tx.change()).drawn = 99
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await mock.accounts.snapshot(ONE) == before
    assert (await mock.create()).sequence == 1
    await mock.store.close()


@pytest.mark.asyncio
async def test_a_refusal_keeps_what_was_done_before_it(mock: Mock) -> None:
    session = await mock.create()
    mock.clock.now += 86_400
    with pytest.raises(SessionNotOpen):
        await mock.pay(session)
    async with mock.store.transaction(ONE) as tx:
        assert [event.type for event in await tx.events()] == [EventType.EXPIRED]


def test_memory_and_a_file_never_suspend(new_place: Callable[[str], Place]) -> None:
    """So a command is atomic on the event loop, and needs no lock."""
    for kind in ("memory", "sqlite"):
        mock = Mock(new_place(kind).store())
        drive(mock.store.open())
        session = drive(mock.create(key="a key"))
        assert drive(mock.pay(session)).status is Status.COMPLETE
        drive(mock.store.close())


@pytest.mark.asyncio
@pytest.mark.parametrize("session_id", ["cs_test_none", "", "a\0b", "\ud800", "é"])
async def test_an_id_that_cannot_be_one_names_nothing(mock: Mock, session_id: str) -> None:
    await mock.create()
    assert await mock.store.owner(session_id) is None
    async with mock.store.transaction(ONE) as tx:
        assert await tx.session(session_id) is None
        assert await tx.event(session_id) is None
        assert await tx.events(session_id=session_id) == ()


@pytest.mark.asyncio
async def test_ids_of_a_snapshot_are_not_drawn_again(store: Store) -> None:
    async with store.transaction(ONE) as tx:
        assert await tx.reserve([f"cs_test_{each:05}" for each in range(1_200)]) is None
        assert await tx.is_taken("cs_test_01199")
        assert not await tx.is_taken("cs_test_01200")
    async with store.transaction(ONE, long=True) as tx:
        await tx.clear()
    async with store.transaction(ONE) as tx:
        assert await tx.is_taken("cs_test_01199")
    async with store.transaction(TWO) as tx:
        assert await tx.reserve(["cs_test_01199"]) is None, "nobody holds it now"


@pytest.mark.asyncio
async def test_ids_that_are_gone_do_not_fill_the_store(mock: Mock) -> None:
    """Of snapshots that were replaced, and of endpoints and rules that were removed."""
    for number in range(5):
        async with mock.store.transaction(ONE) as tx:
            assert await tx.reserve([f"cs_test_{number}", "cs_test_always"]) is None
        endpoint = await mock.accounts.add_endpoint(ONE, NOWHERE, secret=None, types=tuple(EventType))
        await mock.accounts.remove_endpoint(ONE, endpoint.id)
        rule = await mock.accounts.add_fault(ONE, RULE)
        await mock.accounts.remove_faults(ONE, rule.id)
        await mock.accounts.add_fault(ONE, RULE)
        await mock.accounts.reset(ONE)
    async with mock.store.transaction(TWO) as tx:
        assert await tx.reserve(["cs_test_4"]) is None
    async with mock.store.transaction(ONE) as tx:
        assert await tx.reserve(["cs_test_always"]) is None
    if isinstance(mock.store, MemoryStore):
        reserved = {*mock.store.reserved}
    else:
        assert isinstance(mock.store, SqlStore)
        async with mock.store.connection() as connection:
            reserved = {object_id for (object_id,) in await connection.run("SELECT id FROM mock_reserved")}
    assert reserved == {"cs_test_always", "cs_test_4"}


@pytest.mark.asyncio
async def test_what_an_account_holds_another_cannot_reserve(mock: Mock) -> None:
    await mock.fill_outbox(1)
    session = await mock.create(ONE)
    rule = await mock.accounts.add_fault(ONE, RULE)
    (endpoint,) = await mock.accounts.endpoints(ONE)
    for held in (session.id, rule.id, endpoint.id):
        async with mock.store.transaction(TWO) as tx:
            assert await tx.reserve(["cs_test_free", held]) == held
            assert not await tx.is_taken("cs_test_free")
        async with mock.store.transaction(ONE) as tx:
            assert await tx.reserve([held]) is None
    await mock.accounts.remove_faults(ONE)
    async with mock.store.transaction(TWO) as tx:
        assert await tx.reserve([rule.id]) is None


@pytest.mark.asyncio
async def test_an_event_that_was_restored_is_held_too(mock: Mock) -> None:
    (delivery_id,) = await mock.fill_outbox(1)
    await mock.accounts.restore(ONE, await mock.accounts.snapshot(ONE))
    (event,) = await mock.accounts.events(ONE)
    for held in (event.id, delivery_id):
        async with mock.store.transaction(TWO) as tx:
            assert await tx.reserve([held]) == held
    with pytest.raises(IdTaken):
        await mock.accounts.restore(TWO, await mock.accounts.snapshot(ONE))


@pytest.mark.asyncio
async def test_an_event_or_a_delivery_of_another_account_cannot_be_taken_over(mock: Mock) -> None:
    (delivery_id,) = await mock.fill_outbox(1)
    (event,) = await mock.accounts.events(ONE)
    mine = await mock.accounts.snapshot(ONE)
    async with mock.store.transaction(TWO) as tx:
        assert await tx.reserve(["evt_free", event.id]) == event.id
        assert await tx.reserve([delivery_id]) == delivery_id
    await mock.accounts.restore(ONE, mine)
    assert await mock.accounts.events(ONE) == (event,)


def test_accounts_that_never_had_anything_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qashier_mock.stores.memory._VISITORS_KEPT", 50)
    mock = Mock(MemoryStore())
    session = drive(mock.create(ONE))
    for number in range(500):
        visitor = AccountId(f"acct_{number}")
        with pytest.raises(SessionNotFound):
            drive(mock.service.retrieve(visitor, "cs_test_none", "req_1"))
        mock.store.record(visitor, ENTRY)
    assert isinstance(mock.store, MemoryStore)
    assert len(mock.store._every()) <= 52
    assert drive(mock.store.journal(AccountId("acct_499"))) == (ENTRY,), "the latest are still there"
    assert drive(mock.service.retrieve(ONE, session.id, "req_1"))[0] == session


def test_a_visitor_that_begins_to_have_something_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qashier_mock.stores.memory._VISITORS_KEPT", 2)
    mock = Mock(MemoryStore())
    rule = drive(mock.accounts.add_fault(ONE, RULE))
    for number in range(10):
        assert drive(mock.accounts.faults(AccountId(f"acct_{number}"))) == ()
    assert drive(mock.accounts.faults(ONE)) == (rule,)
    assert not mock.store.is_faultless(ONE)


@pytest.mark.asyncio
async def test_only_the_last_attempts_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("memory", "sql"):
        monkeypatch.setattr(f"qashier_mock.stores.{module}.ATTEMPTS_KEPT", 50)
    assert ATTEMPTS_KEPT == 10_000
    async with store.transaction(ONE) as tx:
        for number in range(230):
            await tx.add_attempt(dataclasses.replace(ATTEMPT, number=number))
        assert tx.state.attempts == 230
        assert [each.number for each in await tx.attempts()] == list(range(180, 230))
        assert [each.number for each in await tx.attempts(after=228)] == [228, 229]
        assert await tx.attempts(after=230) == ()


# The outbox


# The journal


@pytest.mark.asyncio
async def test_a_journal_holds_the_last_thousand_requests(store: Store) -> None:
    for number in range(CAPACITY + 300):
        store.record(ONE, ENTRY._replace(request_id=f"req_{number}"))
    store.record(TWO, ENTRY)
    kept = await store.journal(ONE)
    assert await store.journal(ONE, most=2) == kept[-2:]
    assert [each.request_id for each in kept] == [f"req_{number}" for number in range(300, CAPACITY + 300)]
    assert kept[0] == ENTRY._replace(request_id="req_300")
    assert await store.journal(TWO) == (ENTRY,)
    async with store.transaction(ONE, long=True) as tx:
        await tx.clear()
    assert await store.journal(ONE) == ()


@pytest.mark.asyncio
async def test_journals_of_ever_new_visitors_are_neither_counted_nor_kept_for_good(
    lasting: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of accounts that have anything are kept."""
    monkeypatch.setattr("qashier_mock.stores.sql_store._COUNTED", 10)
    mock = Mock(lasting.store())
    store = mock.store
    assert isinstance(store, SqlStore)
    await store.open()
    await mock.create()
    store.record(ONE, ENTRY)
    visitors = [AccountId(f"acct_{number}") for number in range(30)]
    for visitor in (visitors[0], *visitors[1:25], visitors[0], *visitors[25:]):
        store.record(visitor, ENTRY)
    kept = [visitors.index(each) for each in visitors if await store.journal(each)]
    assert kept == [0, 21, 22, 23, 24, 25, 26, 27, 28, 29]
    assert await store.journal(ONE) == (ENTRY,)
    assert len(store._unpruned) == 10
    await store.close()


@pytest.mark.asyncio
async def test_sessions_are_counted_and_kept_in_the_order_of_their_creation(store: Store) -> None:
    sessions = [
        dataclasses.replace(SESSION, id=f"cs_test_{number}", sequence=number, status=Status.OPEN) for number in range(3)
    ]
    async with store.transaction(ONE) as tx:
        for session in sessions:
            await tx.add_session(session)
        assert tx.state.sessions == 3
        assert tx.state.deadline == SESSION.expires_at
    async with store.transaction(ONE, reading=True) as tx:
        assert await tx.sessions() == tuple(sessions)


@pytest.mark.asyncio
async def test_a_journal_is_written_without_anybody_reading_it(lasting: Place) -> None:
    store = lasting.store()
    await store.open()
    store.record(ONE, ENTRY)
    await store.close()
    await store.open()
    assert await store.journal(ONE) == (ENTRY,)
    await store.close()


@pytest.mark.asyncio
async def test_request_ids_do_not_come_again_after_a_restart(lasting: Place) -> None:
    """Although the seed is the same: events and journals of before still name those that were given out."""
    given = []
    for _ in range(2):
        app = MockApp(Settings(seed=1), store=lasting.store())
        await app.open()
        given += [app.hooks.new_request_id() for _ in range(3)]
        await app.store.close()
    assert len(set(given)) == 6
