"""The store in a file: which files it takes, and what happens to one while it is served."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judgement import Judge
from mock_harness import NOW, Client, basket, drive
from store_harness import ACCOUNTS, FIRST_ROWS, NOWHERE, Mock, Place, Play, a_long_life, add_a_step

from qashier_mock.accounts import AccountSnapshot
from qashier_mock.app import MockApp, Settings
from qashier_mock.core.delivery import Delivery
from qashier_mock.core.errors import SessionNotFound
from qashier_mock.core.model import PaymentStatus, Profile, Status
from qashier_mock.core.paging import ListQuery
from qashier_mock.core.sources import ManualClock
from qashier_mock.stores import database as unit_of_work
from qashier_mock.stores import sqlite
from qashier_mock.stores.base import Store, StoreUnavailable
from qashier_mock.stores.schema import FIRST, TABLES, VERSION
from qashier_mock.stores.sqlite import SqliteStore

pytest_plugins = ["store_fixtures"]

ONE, TWO = ACCOUNTS


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


def test_a_file_from_before_the_first_release_is_refused(file: Path) -> None:
    drive((store := SqliteStore(file)).open())
    drive(store.close())
    with sqlite3.connect(file) as database:
        database.execute(f"PRAGMA user_version = {FIRST - 1}")
    database.close()
    with pytest.raises(
        StoreUnavailable, match=rf"before the first release of .*\(schema {FIRST - 1}; .*a snapshot brings"
    ):
        drive(store.open())


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
        drive(mock.service.retrieve(ONE, session.id, "req_1"))
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


def test_a_file_of_the_first_version_is_upgraded_with_all_that_is_in_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = add_a_step(monkeypatch, sqlite)
    with sqlite3.connect(file) as database:
        for statement in TABLES:
            database.execute(statement.format(serial="INTEGER PRIMARY KEY AUTOINCREMENT", bytes="BLOB"))
        for columns, *values in FIRST_ROWS:
            database.execute(f"INSERT INTO {columns} VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608
        database.execute(f"PRAGMA user_version = {FIRST}")
        database.execute(f"PRAGMA application_id = {0x51534D4B}")
    database.close()
    mock = Mock(SqliteStore(file))
    drive(mock.store.open())
    session = drive(mock.service.retrieve(ONE, "cs_test_old", "req_1"))[0]
    assert (session.status, session.payment_status, session.amount_total) == (Status.COMPLETE, PaymentStatus.PAID, 360)
    replayed = drive(mock.create(key="key 1"))
    assert (replayed.id, replayed.status) == ("cs_test_old", Status.OPEN)
    (event,) = drive(mock.accounts.events(ONE))
    assert (event.id, event.session) == ("evt_old", session)
    (attempt,) = asyncio.run(mock.dispatcher.flush(ONE))
    assert (attempt.delivery_id, attempt.url) == ("dlv_old", NOWHERE)
    drive(mock.store.close())
    with sqlite3.connect(file) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (version,)
        assert database.execute("SELECT added FROM mock_accounts").fetchall() == [(None,)]
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
    assert any("e.id = " in sql for sql in queries)
    with sqlite3.connect(file) as database:
        for sql in queries:
            plan = [step for *_, step in database.execute(f"EXPLAIN QUERY PLAN {sql}")]
            assert not [step for step in plan if step.startswith("SCAN")], (sql, plan)
            assert "LIMIT" not in sql or not [step for step in plan if "TEMP B-TREE" in step], (sql, plan)
            assert "e.id = " not in sql or "SEARCH e USING INDEX mock_events_id (id=? AND account=?)" in plan, (
                sql,
                plan,
            )
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
    assert (await mock.service.retrieve(ONE, kept[3].id, "req_1"))[0] == kept[3]
    store._database.execute("PRAGMA max_page_count = 1000000")
    kept.append(await mock.create(key=f"key {refused}"))
    again = [await mock.create(key=f"key {each}") for each in range(len(kept))]
    assert again == kept, "what was acknowledged is there, once, and what was refused left nothing"
    assert [each.sequence for each in kept] == list(range(len(kept)))
    await store.close()


def test_a_store_that_fails_is_told_in_the_envelope(file: Path, runner: asyncio.Runner, clock: ManualClock) -> None:
    store = SqliteStore(file)
    runner.run(store.open())
    client = Client(MockApp(Settings(seed=1), clock=clock, judge=Judge(), store=store), runner, "sk_test_1")
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


@pytest.mark.asyncio
async def test_nobody_finds_what_a_reset_that_was_cut_off_has_left(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was decided, and some rows remain; they go when the account is reset again."""
    monkeypatch.setattr(unit_of_work, "AT_ONCE", 2)
    mock = Mock(SqliteStore(file))
    await mock.store.open()
    sessions = [await mock.create(key=f"key-{number}") for number in range(7)]
    others = await mock.create(TWO)
    before = await mock.accounts.snapshot(ONE)
    resetting = asyncio.create_task(mock.accounts.reset(ONE))
    for _ in range(2):
        await asyncio.sleep(0)
    resetting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await resetting
    await mock.store.close()
    assert 1 < sessions_in(file) < 8

    mock = Mock(SqliteStore(file))
    await mock.store.open()
    with pytest.raises(SessionNotFound):
        await mock.pay(sessions[-1])
    assert await mock.service.find(sessions[-1].id) is None
    snapshot = await mock.accounts.snapshot(ONE)
    assert (snapshot.sessions, snapshot.records) == ([], [])
    assert (await mock.create()).id not in {each.id for each in sessions}
    assert (await mock.pay(others)).status is Status.COMPLETE
    await mock.accounts.restore(ONE, before)
    assert (await mock.accounts.snapshot(ONE)).sessions == sessions
    await mock.accounts.reset(ONE)
    await mock.store.close()
    assert sessions_in(file) == 1


def sessions_in(file: Path) -> int:
    with sqlite3.connect(file) as database:
        ((number,),) = database.execute("SELECT count(*) FROM mock_sessions").fetchall()
    database.close()
    return int(number)


@pytest.mark.asyncio
async def test_a_snapshot_whose_server_dies_is_put_in_wholly_or_not_at_all(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever that is: others have their turn in between, so that it takes several transactions."""
    monkeypatch.setattr(unit_of_work, "AT_ONCE", 2)
    mock = Mock(SqliteStore(file))
    await mock.store.open()
    await mock.fill_outbox(2)
    await mock.create(key="kept")
    await mock.clocks.advance(ONE, by=1, frozen=True)
    new = await contents(mock)
    await mock.create(key="gone")
    await mock.pay(await mock.create())
    old = await contents(mock)
    await mock.store.close()
    assert old != new

    found = []
    for turns in itertools.count():
        copy = tmp_path / f"{turns}.db"
        shutil.copy(file, copy)
        mock = Mock(SqliteStore(copy))
        await mock.store.open()
        restoring = asyncio.create_task(mock.accounts.restore(ONE, new))
        for _ in range(turns):
            await asyncio.sleep(0)
        is_done = restoring.done()
        restoring.cancel()
        await asyncio.gather(restoring, return_exceptions=True)
        await mock.store.close()
        mock = Mock(SqliteStore(copy))
        await mock.store.open()
        found.append(await contents(mock))
        assert (await mock.create()).sequence == len(found[-1].sessions)
        await mock.store.close()
        if is_done:
            break
    assert found == [old] * found.count(old) + [new] * found.count(new)
    assert min(found.count(old), found.count(new)) > 5


async def contents(mock: Mock) -> AccountSnapshot:
    snapshot = await mock.accounts.snapshot(ONE)
    pending = sorted(snapshot.pending, key=lambda each: each.id)
    return dataclasses.replace(snapshot, profile=Profile(), drawn=0, pending=pending)
