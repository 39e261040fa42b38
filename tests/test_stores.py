"""The stores: whatever is asked of one, the others answer the same; and what is kept is kept."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mock_harness import NOW, Client, basket, drive
from store_harness import (
    ACCOUNTS,
    COMMANDS,
    NOWHERE,
    VERSION_1_ROWS,
    Command,
    Mock,
    Place,
    Play,
    a_long_life,
    until,
)

from qashier_mock.app import MockApp, Settings
from qashier_mock.core.account import AccountState, ClockMove
from qashier_mock.core.advice import Advice, AdviceKind, AdviceNote
from qashier_mock.core.delivery import Attempt, Delivery, Outcome
from qashier_mock.core.errors import IdTaken, SessionNotFound, SessionNotOpen
from qashier_mock.core.faults import FaultAction, FaultRule
from qashier_mock.core.journal import CAPACITY, JournalEntry
from qashier_mock.core.model import (
    AccountClock,
    AccountId,
    CheckoutSession,
    Event,
    EventType,
    LineItem,
    PaymentStatus,
    Profile,
    Status,
    WebhookEndpoint,
)
from qashier_mock.core.paging import ListQuery
from qashier_mock.core.request import RequestRef
from qashier_mock.core.sources import ManualClock
from qashier_mock.stores import rows
from qashier_mock.stores.base import ATTEMPTS_KEPT, Store, StoreUnavailable
from qashier_mock.stores.factory import StoreUrlError, is_shared, open_store
from qashier_mock.stores.memory import MemoryStore
from qashier_mock.stores.schema import VERSION, VERSION_1
from qashier_mock.stores.sql_store import SqlStore
from qashier_mock.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable

pytest_plugins = ["store_fixtures"]

ONE, TWO = ACCOUNTS


@pytest_asyncio.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    """An open store at each kind of place."""
    store = place.store()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def mock(store: Store) -> Mock:
    return Mock(store)


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


# Values


SESSION = CheckoutSession(
    id="cs_test_1",
    account=ONE,
    sequence=0,
    currency="JPY",
    line_items=(
        LineItem("Tea \N{TEACUP WITHOUT HANDLE} \0", "Green, 日本", "JPY", 350, 2),
        LineItem("Free", None, "JPY", 0, 1),
    ),
    amount_total=700,
    created=NOW,
    expires_at=NOW + 1_800,
    status=Status.OPEN,
    payment_status=PaymentStatus.UNPAID,
    success_url="https://shop.example/thanks",
    return_url="https://shop.example/order",
    cancel_url="https://shop.example/basket",
    url="http://mock.test/pay/cs_test_1",
)
RULE = FaultRule(
    id="flt_1",
    action=FaultAction.STATUS,
    operation="create_checkout_session",
    webhook="*",
    seconds=1.5,
    status=429,
    retry_after=7,
    times=3,
    probability=0.25,
    applied=2,
)
ENDPOINT = WebhookEndpoint("we_1", "http://shop.example/hooks", (EventType.EXPIRED,), "whsec_\N{KEY}")
NOTE = AdviceNote(Advice(AdviceKind.UNKNOWN_FIELD, "A message", "metadata", "mode"), "req_9", NOW, 4)
DELIVERY = Delivery("dlv_1", "evt_1", "we_1", NOW, 3, is_held=True, is_dropped=True, is_missigned=True)
ATTEMPT = Attempt(
    delivery_id="dlv_1",
    event_id="evt_1",
    event_type="checkout.session.expired",
    session_id="cs_test_1",
    endpoint_id="we_1",
    url="http://shop.example/hooks",
    number=3,
    at=NOW,
    due=NOW - 5,
    status=500,
    error="it hurt",
    duration_ms=12.25,
    outcome=Outcome.FAILED,
    next_try=NOW + 60,
)
EVENT = Event(
    "evt_1",
    EventType.EXPIRED,
    ONE,
    NOW + 9,
    dataclasses.replace(SESSION, status=Status.EXPIRED, payment_status=PaymentStatus.NO_PAYMENT_REQUIRED),
    "req_1",
    "key 1",
)
STATE = AccountState(
    profile=Profile(clock=AccountClock(offset=-5, frozen_at=NOW), strict=True, seed=2**53 - 1, drawn=12),
    faults=(RULE,),
    endpoints=(ENDPOINT,),
    advice=(NOTE,),
    sessions=3,
    newest=NOW,
    deadline=NOW + 1,
    ticks=4,
    oldest_answer=NOW - 7,
    attempts=5,
    delivery_due=NOW + 2,
    move=ClockMove(6, stands=True),
)
ENTRY = JournalEntry(
    "req_1", "retrieve", "GET", b"/checkout/\xff\0?x=1", 200, NOW, 0.25, "key 1", b"\xff\0", b'{"id": "\xc3\xa9"}'
)


def fields_left_out(value: Any) -> list[str]:
    """The fields of a value, and of the values in it, that stand at their defaults."""
    found = []
    for each in dataclasses.fields(value):
        held = getattr(value, each.name)
        default = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
        if held == default:
            found.append(f"{type(value).__name__}.{each.name}")
        for inner in held if isinstance(held, list | tuple) else [held]:
            if dataclasses.is_dataclass(inner):
                found += fields_left_out(inner)
    return found


@pytest.mark.parametrize(
    ("value", "again"),
    [
        pytest.param(SESSION, rows.unpack_session(rows.pack_session(SESSION), ONE), id="session"),
        pytest.param(STATE, rows.unpack_state(rows.pack(STATE)), id="state"),
        pytest.param(DELIVERY, rows.unpack_delivery(rows.pack(DELIVERY)), id="delivery"),
        pytest.param(ATTEMPT, rows.unpack_attempt(rows.pack(ATTEMPT)), id="attempt"),
        pytest.param(
            EVENT,
            rows.unpack_event([*rows.pack_session(SESSION), "evt_1", EVENT.type.value, rows.pack_event(EVENT)], ONE),
            id="event",
        ),
    ],
)
def test_nothing_of_a_value_is_lost_in_its_row(value: Any, again: Any) -> None:
    """A field that is added to a value and forgotten here stands at its default in the samples: name it there."""
    assert fields_left_out(value) == []
    assert again == value


def test_nothing_of_a_journal_entry_is_lost_in_its_row() -> None:
    assert rows.unpack_entry(rows.pack_entry(ENTRY)) == ENTRY


# Transactions


@pytest.mark.asyncio
async def test_a_new_account_has_the_defaults(store: Store) -> None:
    async with store.transaction(ONE, reading=True) as tx:
        assert tx.profile() == Profile()
        assert (tx.next_sequence(), tx.newest(), tx.next_deadline()) == (0, 0, None)
        assert [*await tx.sessions(), *await tx.records(), *await tx.events()] == []
    assert not await store.has_faults(ONE)
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
            await tx.add_session(dataclasses.replace(SESSION, sequence=1))
            await tx.save_profile(Profile(drawn=99))
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


async def found(tx: Any, session_id: str) -> CheckoutSession:
    session: CheckoutSession | None = await tx.session(session_id)
    assert session is not None
    return session


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
        await tx.clear()
        assert await tx.is_taken("cs_test_01199")
    async with store.transaction(TWO) as tx:
        assert await tx.reserve(["cs_test_01199"]) is None, "nobody holds it now"


@pytest.mark.asyncio
async def test_what_an_account_holds_another_cannot_reserve(mock: Mock) -> None:
    await fill_outbox(mock, 1)
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
    (delivery_id,) = await fill_outbox(mock, 1)
    await mock.accounts.restore(ONE, await mock.accounts.snapshot(ONE))
    (event,) = await mock.accounts.events(ONE)
    for held in (event.id, delivery_id):
        async with mock.store.transaction(TWO) as tx:
            assert await tx.reserve([held]) == held
    with pytest.raises(IdTaken):
        await mock.accounts.restore(TWO, await mock.accounts.snapshot(ONE))


@pytest.mark.asyncio
async def test_an_event_or_a_delivery_of_another_account_cannot_be_taken_over(mock: Mock) -> None:
    (delivery_id,) = await fill_outbox(mock, 1)
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
            drive(mock.service.retrieve(visitor, "cs_test_none", RequestRef("req_1")))
        mock.store.record(visitor, ENTRY)
    assert isinstance(mock.store, MemoryStore)
    assert len(mock.store._every()) <= 52
    assert drive(mock.store.journal(AccountId("acct_499"))) == (ENTRY,), "the latest are still there"
    assert drive(mock.service.retrieve(ONE, session.id, RequestRef("req_1")))[0] == session


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
        assert await tx.attempts_made() == 230
        assert [each.number for each in await tx.attempts()] == list(range(180, 230))
        assert [each.number for each in await tx.attempts(after=228)] == [228, 229]
        assert await tx.attempts(after=230) == ()


# The outbox


async def fill_outbox(mock: Mock, number: int) -> list[str]:
    """Events that are to be delivered to one endpoint; the ids of the deliveries, in the order of their due times."""
    await mock.accounts.add_endpoint(ONE, NOWHERE, secret=None, types=tuple(EventType))
    for _ in range(number):
        await mock.pay(await mock.create())
    async with mock.store.transaction(ONE) as tx:
        pending = await tx.pending_deliveries()
    return [each.id for each in sorted(pending, key=lambda each: (each.due, each.id))]


@pytest.mark.asyncio
async def test_a_claimed_delivery_is_nobody_elses(mock: Mock) -> None:
    first, second, third = await fill_outbox(mock, 3)
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
        delivery = await tx.delivery(first)
        assert delivery is not None
        await tx.put_delivery(dataclasses.replace(delivery, due=NOW + 10))
        await tx.remove_delivery(second)
        assert not await tx.is_claimed(first)
        assert not await tx.is_claimed(second)
        assert await tx.is_claimed(third)
        assert await tx.next_delivery_due() == NOW + 10
        assert [each.id for each in await tx.claim_deliveries(NOW + 10, 9)] == [first]


@pytest.mark.asyncio
async def test_what_is_held_is_not_let_go_while_it_is_attempted(mock: Mock) -> None:
    held, _ = await fill_outbox(mock, 2)
    async with mock.store.transaction(ONE) as tx:
        delivery = await tx.delivery(held)
        assert delivery is not None
        await tx.put_delivery(dataclasses.replace(delivery, is_held=True))
        assert [each.id for each in await tx.held_deliveries(delivery.endpoint_id)] == [held]
        await tx.claim_deliveries(NOW, 9)
        assert await tx.held_deliveries(delivery.endpoint_id) == ()


@pytest.mark.asyncio
async def test_an_endpoint_that_is_removed_takes_its_deliveries_along(mock: Mock) -> None:
    await fill_outbox(mock, 2)
    (endpoint,) = await mock.accounts.endpoints(ONE)
    await mock.accounts.remove_endpoint(ONE, endpoint.id)
    async with mock.store.transaction(ONE) as tx:
        assert await tx.pending_deliveries() == ()
        assert await tx.next_delivery_due() is None


@pytest.mark.asyncio
async def test_what_a_process_had_claimed_when_it_died_is_delivered_by_the_next(place: Place) -> None:
    """The account's clock stands, so that no lease by that clock would ever end."""
    before = Mock(place.store())
    await before.store.open()
    await before.clocks.advance(ONE, frozen=True)
    claimed = await fill_outbox(before, 2)
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
        assert (await tx.change()).begin_move(tx.worker, stands=False)
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
        assert (await tx.change()).begin_move(tx.worker, stands=True)
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
                if tx.next_deadline() is not None:
                    return False
        return True

    async with mock.dispatcher.running():
        await until(are_expired)
    await mock.store.close()


# The journal


@pytest.mark.asyncio
async def test_a_journal_holds_the_last_thousand_requests(store: Store) -> None:
    for number in range(CAPACITY + 300):
        store.record(ONE, ENTRY._replace(request_id=f"req_{number}"))
    store.record(TWO, ENTRY)
    kept = await store.journal(ONE)
    assert [each.request_id for each in kept] == [f"req_{number}" for number in range(300, CAPACITY + 300)]
    assert kept[0] == ENTRY._replace(request_id="req_300")
    assert await store.journal(TWO) == (ENTRY,)
    async with store.transaction(ONE) as tx:
        await tx.clear()
    assert await store.journal(ONE) == ()


@pytest.mark.asyncio
async def test_journals_of_ever_new_visitors_are_not_counted_for_good(
    lasting: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qashier_mock.stores.sql_store._COUNTED", 10)
    store = lasting.store()
    assert isinstance(store, SqlStore)
    await store.open()
    for number in range(30):
        store.record(AccountId(f"acct_{number}"), ENTRY)
    assert await store.journal(AccountId("acct_0")) == (ENTRY,)
    assert len(store._unpruned) == 10
    await store.close()


@pytest.mark.asyncio
async def test_many_sessions_at_once_are_as_one_after_the_other(store: Store) -> None:
    sessions = [
        dataclasses.replace(SESSION, id=f"cs_test_{number}", sequence=number, status=Status.OPEN) for number in range(3)
    ]
    async with store.transaction(ONE) as tx:
        await tx.add_sessions([])
        await tx.add_sessions(sessions)
        assert tx.next_sequence() == 3
        assert tx.next_deadline() == SESSION.expires_at
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


# A file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mock.db"


def test_a_file_that_is_in_use_is_refused(file: Path) -> None:
    store = SqliteStore(file)
    drive(store.open())
    with pytest.raises(StoreUnavailable, match="Another server uses it"):
        drive(SqliteStore(file).open())
    drive(store.close())
    drive(store.open())
    drive(store.close())


def test_a_file_of_a_newer_version_is_refused(file: Path) -> None:
    store = SqliteStore(file)
    drive(store.open())
    drive(store.close())
    with sqlite3.connect(file) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()
    with pytest.raises(
        StoreUnavailable, match=rf"newer version of qashier-mock \(schema {VERSION + 1}; this one knows"
    ):
        drive(SqliteStore(file).open())


def test_a_file_of_another_program_is_refused_and_left_alone(file: Path) -> None:
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE orders (id)")
    database.close()
    content = file.read_bytes()
    with pytest.raises(StoreUnavailable, match="another program"):
        drive(SqliteStore(file).open())
    assert file.read_bytes() == content


def test_a_file_is_made_for_its_owner_alone(file: Path) -> None:
    store = SqliteStore(file)
    drive(store.open())
    assert {path.stat().st_mode & 0o777 for path in file.parent.glob("mock.db*")} == {0o600}
    drive(store.close())


def test_a_file_with_a_damaged_schema_is_refused_in_one_line(file: Path) -> None:
    store = SqliteStore(file)
    drive(store.open())
    drive(store.close())
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE nonsense (' WHERE name = 'mock_workers'")
    database.close()
    with pytest.raises(StoreUnavailable, match=re.escape(str(file))) as refused:
        drive(SqliteStore(file).open())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("table", "column"), [("accounts", "head"), ("sessions", "body"), ("sessions", "status")])
def test_a_damaged_row_is_the_stores_trouble_and_no_mistake_of_ours(file: Path, table: str, column: str) -> None:
    mock = Mock(SqliteStore(file))
    drive(mock.store.open())
    session = drive(mock.create())
    drive(mock.store.close())
    with sqlite3.connect(file) as database:
        database.execute(f"UPDATE mock_{table} SET {column} = '{{\"broken'")  # noqa: S608
    database.close()
    drive(mock.store.open())
    with pytest.raises(StoreUnavailable, match="A row of the store is damaged") as refused:
        drive(mock.service.retrieve(ONE, session.id, RequestRef("req_1")))
    assert "\n" not in str(refused.value)
    drive(mock.store.close())


def delete(file: Path) -> None:
    file.unlink()


def replace_by_a_copy(file: Path) -> None:
    copy = file.with_name("copy.db")
    copy.write_bytes(file.read_bytes())
    copy.replace(file)


def cut(file: Path) -> None:
    os.truncate(file, 100)


@pytest.mark.parametrize(
    ("harm", "told"), [(delete, "was deleted or moved"), (replace_by_a_copy, "was replaced"), (cut, "was cut")]
)
def test_nothing_is_acknowledged_once_the_file_is_gone(file: Path, harm: Callable[[Path], None], told: str) -> None:
    mock = Mock(SqliteStore(file))
    drive(mock.store.open())
    drive(mock.create())
    assert isinstance(mock.store, SqliteStore)
    assert mock.store._database is not None
    mock.store._database.execute("PRAGMA wal_checkpoint")
    drive(mock.create())
    harm(file)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=told):
            drive(mock.create())
    drive(mock.store.close())


def test_what_is_no_database_is_refused(file: Path) -> None:
    file.write_bytes(b"a diary, not a database" * 100)
    with pytest.raises(StoreUnavailable, match="no SQLite file"):
        drive(SqliteStore(file).open())


def test_a_file_in_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="Is its folder there"):
        drive(SqliteStore(tmp_path / "nowhere" / "mock.db").open())


def test_a_file_of_an_older_version_is_upgraded_with_all_that_is_in_it(file: Path) -> None:
    with sqlite3.connect(file) as database:
        for statement in VERSION_1:
            database.execute(statement.format(serial="INTEGER PRIMARY KEY AUTOINCREMENT", bytes="BLOB"))
        for columns, *values in VERSION_1_ROWS:
            database.execute(f"INSERT INTO {columns} VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608
        database.execute("PRAGMA user_version = 1")
        database.execute(f"PRAGMA application_id = {0x51534D4B}")
    database.close()
    mock = Mock(SqliteStore(file))
    drive(mock.store.open())
    session = drive(mock.service.retrieve(ONE, "cs_test_old", RequestRef("req_1")))[0]
    assert (session.status, session.payment_status, session.amount_total) == (Status.COMPLETE, PaymentStatus.PAID, 360)
    replayed = drive(mock.create(key="key 1"))
    assert (replayed.id, replayed.status) == ("cs_test_old", Status.OPEN)
    (event,) = drive(mock.accounts.events(ONE))
    assert (event.id, event.session) == ("evt_old", session)
    (attempt,) = asyncio.run(mock.dispatcher.flush(ONE))
    assert (attempt.delivery_id, attempt.url) == ("dlv_old", NOWHERE)
    drive(mock.store.close())
    with sqlite3.connect(file) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)
    database.close()


def test_every_query_finds_its_rows_through_an_index(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is done, no query reads a table from end to end, and none that wants a few rows sorts many."""
    asked: set[str] = set()
    original = SqliteStore.open

    async def open_and_listen(store: SqliteStore) -> None:
        await original(store)
        assert store._database is not None
        store._database.set_trace_callback(asked.add)

    monkeypatch.setattr(SqliteStore, "open", open_and_listen)
    asyncio.run(Play(Place("sqlite", f"sqlite:///{file}")).run(a_long_life()))
    queries = [sql for sql in asked if sql.startswith(("SELECT", "UPDATE", "DELETE"))]
    assert len(queries) > 100
    with sqlite3.connect(file) as database:
        for sql in queries:
            plan = [step for *_, step in database.execute(f"EXPLAIN QUERY PLAN {sql}")]
            assert not [step for step in plan if step.startswith("SCAN")], (sql, plan)
            assert "LIMIT" not in sql or not [step for step in plan if "TEMP B-TREE" in step], (sql, plan)
    database.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_an_attempt_is_no_more_work_where_many_wait(kind: str, new_place: Callable[[str], Place]) -> None:
    """Work is what Python executes and what the database does, in steps: time would depend on the machine."""
    few, many = (asyncio.run(work_of_an_attempt(new_place(kind).store(), waiting)) for waiting in (50, 2_000))
    assert many < 1.5 * few


async def work_of_an_attempt(store: Store, waiting: int) -> int:
    """Steps of all that an outbox is asked for one attempt."""
    steps = 0

    def step(*_: object) -> Any:
        nonlocal steps
        steps += 1
        return step

    def instruct() -> int:
        step()
        return 0

    await store.open()
    async with store.transaction(ONE) as tx:
        for each in range(waiting):
            await tx.put_delivery(Delivery(f"dlv_{each:05}", f"evt_{each}", "we_1", NOW + each // 2))
    if isinstance(store, SqliteStore):
        assert store._database is not None
        store._database.set_progress_handler(instruct, 1)
    before = sys.gettrace()
    sys.settrace(step)
    try:
        async with store.transaction(ONE) as tx:
            (delivery,) = await tx.claim_deliveries(NOW, 1)
        async with store.transaction(ONE) as tx:
            await tx.put_delivery(dataclasses.replace(delivery, due=NOW + 60, number=1))
            assert await tx.held_deliveries(delivery.endpoint_id) == ()
            assert not await tx.is_attempted_elsewhere()
            assert await tx.next_delivery_due() == NOW
    finally:
        sys.settrace(before)
    await store.close()
    return steps


# What cannot be done now


@pytest.mark.asyncio
async def test_a_full_disk_refuses_a_command_whole_and_takes_the_next(file: Path) -> None:
    mock = Mock(SqliteStore(file))
    store = mock.store
    await store.open()
    assert isinstance(store, SqliteStore)
    assert store._database is not None
    kept = [await mock.create(key=f"key {each}") for each in range(20)]
    (pages,) = store._database.execute("PRAGMA page_count").fetchone()
    store._database.execute(f"PRAGMA max_page_count = {pages}")

    async def create_on() -> None:
        while len(kept) < 1_000:
            kept.append(await mock.create(key=f"key {len(kept)}"))

    with pytest.raises(StoreUnavailable, match="The disk is full; make room"):
        await create_on()
    refused = len(kept)
    page = await mock.service.list_sessions(ONE, ListQuery(limit=100))
    assert [each.id for each in page.sessions] == [each.id for each in reversed(kept)][:100], "reading goes on"
    assert (await mock.service.retrieve(ONE, kept[3].id, RequestRef("req_1")))[0] == kept[3]
    store._database.execute("PRAGMA max_page_count = 1000000")
    kept.append(await mock.create(key=f"key {refused}"))
    again = [await mock.create(key=f"key {each}") for each in range(len(kept))]
    assert again == kept, "what was acknowledged is there, once, and what was refused left nothing"
    assert [each.sequence for each in kept] == list(range(len(kept)))
    await store.close()


def test_a_store_that_fails_is_told_in_the_envelope(file: Path, runner: asyncio.Runner, clock: ManualClock) -> None:
    store = SqliteStore(file)
    runner.run(store.open())
    client = Client(MockApp(Settings(seed=1), clock=clock, validate_responses=True, store=store), runner, "sk_test_1")
    session = client.create()
    assert store._database is not None
    store._database.execute("PRAGMA query_only = ON")
    refused = client.post("/checkout/sessions", basket())
    assert (refused.status, refused.error["type"], refused.error["code"]) == (503, "api_error", "unavailable")
    assert str(file) not in refused.error["message"]
    assert client.pay(session["id"]).status == 503
    assert client.retrieve(session["id"]) == session
    store._database.execute("PRAGMA query_only = OFF")
    assert client.pay(session["id"]).status == 200
    runner.run(store.close())


# URLs


@pytest.mark.parametrize(
    ("url", "kind"),
    [("memory", MemoryStore), ("sqlite:///mock.db", SqliteStore), ("sqlite:////var/lib/mock.db", SqliteStore)],
)
def test_a_url_names_a_store(url: str, kind: type[Store]) -> None:
    assert isinstance(open_store(url), kind)
    assert not is_shared(url)


def test_a_sqlite_url_names_a_file() -> None:
    for url, path in (("sqlite:///a/mock.db", "a/mock.db"), ("sqlite:////a/mock.db", "/a/mock.db")):
        store = open_store(url)
        assert isinstance(store, SqliteStore)
        assert store._path == Path(path)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///folder/", "names no file"),
        ("sqlite://mock.db", "sqlite:///FILE"),
        ("redis://localhost", "not redis:"),
        ("mysql://root:secret@db/mock", "not mysql:"),
        ("", "a store is memory"),
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str, says: str) -> None:
    with pytest.raises(StoreUrlError, match=says) as refused:
        open_store(url)
    assert "secret" not in str(refused.value)
