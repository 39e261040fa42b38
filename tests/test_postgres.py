"""One database and several processes: what they do at the same time, and what becomes of one that dies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import psycopg
import pytest
import pytest_asyncio
from mock_harness import NOW, Client, basket
from store_harness import ACCOUNTS, NOWHERE, VERSION_1_ROWS, Mock, Place, Play, a_long_life, until

from qashier_mock.app import MockApp, Settings
from qashier_mock.core.errors import IdempotencyKeyInUse, SessionNotOpen
from qashier_mock.core.journal import JournalEntry
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import AccountClock, CheckoutSession, EventType, Status
from qashier_mock.core.paging import ListQuery
from qashier_mock.core.request import RequestRef
from qashier_mock.core.sources import ManualClock
from qashier_mock.stores import factory
from qashier_mock.stores.base import StoreUnavailable
from qashier_mock.stores.factory import StoreUrlError, is_shared, open_store
from qashier_mock.stores.postgres import PostgresStore
from qashier_mock.stores.schema import VERSION, VERSION_1

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.asyncio

ONE, _ = ACCOUNTS
SOON = 0.4
"""Seconds after which a process that gives no sign of life is taken for dead, here."""


class Processes:
    """Several mocks on one database, each as if in a process of its own; their machines' clock is one."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = ManualClock(NOW)
        self.stores: list[PostgresStore] = []

    async def start(self, **policy: Any) -> Mock:
        store = PostgresStore(self.url, alive_for=SOON)
        await store.open()
        self.stores.append(store)
        return Mock(store, self.clock, **policy)

    async def kill(self, mock: Mock) -> None:
        """End a process without letting it say goodbye."""
        store = mock.store
        assert isinstance(store, PostgresStore)
        self.stores.remove(store)
        tasks = [each for each in (store._beating, store._journals._task) if each is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store._close_connections()


@pytest_asyncio.fixture
async def processes(database: Place) -> AsyncIterator[Processes]:
    processes = Processes(database.url)
    yield processes
    for store in processes.stores:
        await store.close()


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
        assert (await other.service.retrieve(ONE, session.id, RequestRef("req_3")))[0].status is won
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
    page = await behind.service.list_sessions(ONE, ListQuery())
    assert [each.id for each in page.sessions] == [third.id, second.id, first.id]


async def test_one_key_at_the_same_time_opens_one_session(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    created = await asyncio.gather(*((one, other)[each % 2].create(key="a key") for each in range(12)))
    assert len({session.id for session in created}) == 1
    async with one.store.transaction(ONE) as tx:
        assert tx.next_sequence() == 1


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
        await tx.save_profile(tx.profile())
        assert (await other.service.retrieve(ONE, session.id, RequestRef("req_2")))[0] == session
        assert (await other.service.list_sessions(ONE, ListQuery())).sessions == (session,)
        assert not await other.store.has_faults(ONE)


async def test_readers_at_the_same_time_expire_a_session_once(processes: Processes) -> None:
    mocks = [await processes.start() for _ in range(3)]
    session = await mocks[0].create()
    processes.clock.now += 86_400
    found = await asyncio.gather(*(mocks[each % 3].service.find(session.id) for each in range(12)))
    assert {each and each[1].status for each in found} == {Status.EXPIRED}
    assert len(await mocks[0].accounts.events(ONE)) == 1


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
            return not store._journals._waiting

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


# The outbox, and clocks that are moved


async def fill_outbox(mock: Mock, number: int) -> None:
    await mock.accounts.add_endpoint(ONE, NOWHERE, secret=None, types=tuple(EventType))
    for _ in range(number):
        await mock.pay(await mock.create())


async def test_a_delivery_is_claimed_by_one_process(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    await fill_outbox(one, 3)
    async with one.store.transaction(ONE) as tx:
        claimed = {each.id for each in await tx.claim_deliveries(NOW, 2)}
    async with other.store.transaction(ONE) as tx:
        assert await tx.is_attempted_elsewhere()
        (rest,) = await tx.claim_deliveries(NOW, 9)
        assert rest.id not in claimed
        assert not await tx.is_claimed(next(iter(claimed)))


async def test_flush_waits_for_what_another_process_attempts(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    await fill_outbox(one, 1)
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
    await fill_outbox(one, 2)
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
    await fill_outbox(one, 1)
    (delivery_id,) = [each.id for each in (await one.accounts.snapshot(ONE)).pending]
    release = asyncio.Event()

    async def slow(*_: object) -> tuple[int | None, str | None]:
        await release.wait()
        return None, "too late"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one.dispatcher, "_post", slow)
        flushing = asyncio.create_task(one.dispatcher.flush(ONE))

        async def is_claimed() -> bool:
            async with other.store.transaction(ONE, reading=True) as tx:
                return await tx.is_attempted_elsewhere()

        await until(is_claimed)
        assert isinstance(other.store, PostgresStore)
        assert isinstance(one.store, PostgresStore)
        await other.store.release_worker(one.store.worker)
        async with other.store.transaction(ONE) as tx:
            (stolen,) = await tx.claim_deliveries(NOW, 9)
        release.set()
        await until(lambda: attempts_made(one, 1))
        async with other.store.transaction(ONE) as tx:
            assert await tx.is_claimed(stolen.id)
            await tx.remove_delivery(stolen.id)
        assert [each.delivery_id for each in await flushing] == [delivery_id]
    assert (await one.accounts.snapshot(ONE)).pending == ()


async def attempts_made(mock: Mock, number: int) -> bool:
    return len(await mock.accounts.attempts(ONE)) == number


async def test_two_moves_of_one_clock_add_up(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    await one.create()
    await asyncio.gather(*((one, other)[each % 2].clocks.advance(ONE, by=100) for each in range(8)))
    reading = await one.accounts.clock(ONE)
    assert (reading.now, reading.frozen) == (NOW + 800, False)


async def test_a_clock_that_a_dead_process_was_moving_can_be_moved_on(processes: Processes) -> None:
    one, other = await processes.start(), await processes.start()
    await one.create()
    async with one.store.transaction(ONE) as tx:
        assert (await tx.change()).begin_move(tx.worker, stands=False)
        await one.service.set_clock(tx, AccountClock(frozen_at=NOW + 500))
    async with other.store.transaction(ONE) as tx:
        assert not (await tx.change()).begin_move(tx.worker, stands=False)
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


# A database that goes


class Wire:
    """A way to the database that can be cut: while it is, nobody answers there.

    Attributes:
        answers_no_commit: It is cut when the database answers a COMMIT, which is done then.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self._socket = f"{query['host'][0]}/.s.PGSQL.5432"
        self._ends: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._options = query["options"][0]
        self.answers_no_commit = False

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres?options={quote(self._options)}&sslmode=disable"

    async def connect(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for end in list(self._ends):
            end.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self._socket)
        self._ends |= {writer, far_writer}
        try:
            answers = self._pass_on(far_reader, writer, are_answers=True)
            await asyncio.gather(self._pass_on(reader, far_writer), answers)
        finally:
            self._ends -= {writer, far_writer}

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, are_answers: bool = False
    ) -> None:
        try:
            while content := await reader.read(65_536):
                if self.answers_no_commit and are_answers and b"COMMIT\0" in content:
                    await self.cut()
                writer.write(content)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def wired(url: str) -> AsyncIterator[Wire]:
    wire = Wire(url)
    await wire.connect()
    try:
        yield wire
    finally:
        await wire.cut()


async def test_a_database_that_was_gone_is_used_again_without_a_restart(database: Place) -> None:
    async with wired(database.url) as wire:
        store = PostgresStore(wire.url)
        await store.open()
        app = MockApp(Settings(seed=1), clock=ManualClock(NOW), validate_responses=True, store=store)
        client = Client(app, None, "sk_test_1")  # type: ignore[arg-type]  # only its asynchronous half is used
        kept = (await client.asend("POST", "/checkout/sessions", basket())).json()
        await wire.cut()
        for method, path, body in (
            ("POST", "/checkout/sessions", basket()),
            ("GET", f"/checkout/sessions/{kept['id']}", None),
            ("GET", "/checkout/sessions", None),
            ("POST", f"/_mock/v1/sessions/{kept['id']}/pay", {"outcome": "succeeded"}),
        ):
            answer = await client.asend(method, path, body)
            assert (answer.status, answer.error["code"]) == (503, "unavailable")
        await wire.connect()
        assert (await client.asend("GET", f"/checkout/sessions/{kept['id']}")).json() == kept
        assert [each["id"] for each in (await client.asend("GET", "/checkout/sessions")).json()["data"]] == [kept["id"]]
        await store.close()


async def test_what_came_of_an_attempt_is_recorded_when_the_database_is_back(database: Place) -> None:
    async with wired(database.url) as wire:
        store = PostgresStore(wire.url)
        await store.open()
        mock = Mock(store)
        await fill_outbox(mock, 1)

        async def answer(*_: object) -> tuple[int | None, str | None]:
            await wire.cut()
            asyncio.get_running_loop().call_later(0.5, lambda: tasks.append(asyncio.create_task(wire.connect())))
            return 200, None

        tasks: list[asyncio.Task[None]] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.dispatcher, "_post", answer)
            (attempt,) = await mock.dispatcher.flush(ONE)
        assert attempt.status == 200
        assert (await mock.accounts.snapshot(ONE)).pending == ()
        await store.close()


async def test_a_clock_whose_move_lost_the_database_goes_on_when_that_is_back(database: Place) -> None:
    async with wired(database.url) as wire:
        store = PostgresStore(wire.url)
        await store.open()
        mock = Mock(store)

        async def flush(_: object) -> list[Any]:
            await wire.cut()
            return []

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.dispatcher, "flush", flush)
            with pytest.raises(StoreUnavailable):
                await mock.clocks.advance(ONE, by=10)
        await wire.connect()

        async def goes() -> bool:
            return not (await mock.accounts.clock(ONE)).frozen

        await until(goes)
        await store.close()


async def test_a_clock_that_is_moved_again_after_the_database_was_gone_goes_on_too(database: Place) -> None:
    """The first move stopped the clock and could not let it go on: that is not how the account wants it."""
    async with wired(database.url) as wire:
        store = PostgresStore(wire.url)
        await store.open()
        mock = Mock(store)

        async def flush(_: object) -> list[Any]:
            await wire.cut()
            return []

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.dispatcher, "flush", flush)
            with pytest.raises(StoreUnavailable):
                await mock.clocks.advance(ONE, by=10)
        await wire.connect()
        await mock.clocks.advance(ONE, by=7)
        while mock.dispatcher._repairs:
            await asyncio.wait(mock.dispatcher._repairs)
        reading = await mock.accounts.clock(ONE)
        assert (reading.now, reading.frozen) == (NOW + 7, False)
        await store.close()


@pytest.mark.parametrize("steps", [0, 1])
async def test_a_clock_goes_on_where_the_answer_to_a_step_of_it_was_lost(database: Place, steps: int) -> None:
    """It was stopped, or stands at a deadline already."""
    async with wired(database.url) as wire:
        store = PostgresStore(wire.url)
        await store.open()
        mock = Mock(store)
        await mock.create()
        original = mock.service.set_clock
        left = steps

        async def set_clock(*to: Any) -> Any:
            nonlocal left
            wire.answers_no_commit = left == 0
            left -= 1
            return await original(*to)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.service, "set_clock", set_clock)
            with pytest.raises(StoreUnavailable):
                await mock.clocks.advance(ONE, by=100_000)
        wire.answers_no_commit = False
        await wire.connect()

        async def goes() -> bool:
            return not (await mock.accounts.clock(ONE)).frozen

        await until(goes)
        await store.close()


async def test_a_connection_that_the_database_closed_meanwhile_fails_nobody(processes: Processes) -> None:
    mock = await processes.start()
    await asyncio.gather(*(mock.create() for _ in range(8)))
    await end_connections(processes.url)
    await mock.create()
    await asyncio.gather(*(mock.create() for _ in range(8)))


async def end_connections(url: str) -> None:
    """End every connection to a place, as an administrator would."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND application_name = current_setting('application_name')"
        )


async def test_a_command_that_loses_the_database_on_the_way_has_not_happened(database: Place) -> None:
    async with wired(database.url) as wire:
        store = PostgresStore(wire.url)
        await store.open()
        mock = Mock(store)
        session = await mock.create()

        async def lose() -> None:
            async with store.transaction(ONE) as tx:
                assert await tx.session(session.id) == session
                await tx.remove_delivery("none")
                await wire.cut()

        with pytest.raises(StoreUnavailable):
            await lose()
        await wire.connect()
        assert (await mock.pay(session)).status is Status.COMPLETE
        await store.close()


async def test_a_commit_whose_answer_is_lost_is_repeated_by_its_key(database: Place) -> None:
    """It was done: only who repeats the command with its key learns of it."""
    async with wired(database.url) as wire:
        store = PostgresStore(wire.url)
        await store.open()
        mock = Mock(store)
        wire.answers_no_commit = True
        with pytest.raises(StoreUnavailable):
            await mock.create(key="order-1")
        wire.answers_no_commit = False
        await wire.connect()
        (there,) = (await mock.service.list_sessions(ONE, ListQuery())).sessions
        assert await mock.create(key="order-1") == there
        assert len((await mock.service.list_sessions(ONE, ListQuery())).sessions) == 1
        await store.close()


async def test_a_full_disk_is_no_mistake_of_ours(processes: Processes) -> None:
    mock = await processes.start()
    session = await mock.create()
    async with await psycopg.AsyncConnection.connect(processes.url, autocommit=True) as connection:
        await connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left' USING ERRCODE = 'disk_full'; END $$"
        )
        await connection.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON mock_events FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        with pytest.raises(StoreUnavailable, match="No space left"):
            await mock.pay(session)
        assert (await mock.service.retrieve(ONE, session.id, RequestRef("req_1")))[0].status is Status.OPEN
        await connection.execute("DROP TRIGGER full_disk ON mock_events")
    assert (await mock.pay(session)).status is Status.COMPLETE


# Opening


async def test_a_database_of_a_newer_version_is_refused(processes: Processes) -> None:
    await processes.start()
    async with await psycopg.AsyncConnection.connect(processes.url, autocommit=True) as connection:
        await connection.execute("INSERT INTO mock_schema (version) VALUES (%s)", (VERSION + 1,))
    with pytest.raises(StoreUnavailable, match=rf"newer version of qashier-mock \(schema {VERSION + 1}; this one"):
        await PostgresStore(processes.url).open()


async def test_a_database_of_an_older_version_is_upgraded_with_all_that_is_in_it(processes: Processes) -> None:
    async with await psycopg.AsyncConnection.connect(processes.url, autocommit=True) as connection:
        serial = "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"
        await connection.execute("CREATE TABLE mock_schema (version BIGINT NOT NULL PRIMARY KEY)")
        await connection.execute("INSERT INTO mock_schema (version) VALUES (1)")
        for statement in VERSION_1:
            await connection.execute(statement.format(serial=serial, bytes="BYTEA").encode())
        for columns, *values in VERSION_1_ROWS:
            marks = ", ".join(["%s"] * len(values))
            await connection.execute(f"INSERT INTO {columns} VALUES ({marks})".encode(), values)  # noqa: S608
    mock = await processes.start()
    session = (await mock.service.retrieve(ONE, "cs_test_old", RequestRef("req_1")))[0]
    assert session.status is Status.COMPLETE
    assert (await mock.create(key="key 1")).id == "cs_test_old"
    (attempt,) = await mock.dispatcher.flush(ONE)
    assert attempt.delivery_id == "dlv_old"


async def test_a_database_that_cannot_be_reached_is_told_without_the_password() -> None:
    with pytest.raises(StoreUnavailable, match=r"PostgreSQL at 127.0.0.1 \(database shop\) cannot be used") as refused:
        await PostgresStore("postgresql://mock:s3cret@127.0.0.1:1/shop").open()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("url", ["postgresql://u:s3cret word@host/db", "postgresql://u:s3cret@host/db?nonsense=1"])
async def test_a_url_that_the_driver_does_not_understand_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(StoreUrlError, match="no URL of a PostgreSQL database") as refused:
        open_store(url)
    assert "s3cret" not in str(refused.value)


async def test_a_url_of_postgresql_names_a_shared_store() -> None:
    assert isinstance(open_store("postgresql://host/db"), PostgresStore)
    assert isinstance(open_store("postgres://host/db"), PostgresStore)
    assert is_shared("postgresql://host/db")


async def test_a_missing_driver_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "find_spec", lambda _: None)
    with pytest.raises(StoreUrlError, match=re.escape("pip install qashier-mock[postgres]")):
        open_store("postgresql://host/db")


@asynccontextmanager
async def another_database(url: str, encoding: str) -> AsyncIterator[str]:
    """The URL of a database with that encoding on the same server."""
    name = f"mock_{encoding.lower()}"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0".encode()
        )
        yield url.replace("/postgres?", f"/{name}?").partition("&options=")[0]
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def test_a_database_that_cannot_hold_every_text_is_refused(database: Place) -> None:
    async with another_database(database.url, "LATIN1") as url:
        with pytest.raises(StoreUnavailable, match="encoding LATIN1, which cannot hold every text") as refused:
            await PostgresStore(url).open()
        assert "CREATE DATABASE mock ENCODING 'UTF8' TEMPLATE template0" in str(refused.value)


async def test_every_text_is_kept_whatever_encoding_the_client_is_told(
    database: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    async with another_database(database.url, "SQL_ASCII") as ascii_:
        for url in (database.url, ascii_):
            store = PostgresStore(url)
            await store.open()
            mock = Mock(store)
            session = await mock.create(success_url="https://shop.example/\N{TEACUP WITHOUT HANDLE}")
            assert (await mock.pay(session)).status is Status.COMPLETE
            kept = (await mock.service.retrieve(ONE, session.id, RequestRef("req_1")))[0]
            assert kept.success_url == session.success_url
            await store.close()


async def test_a_role_that_may_not_create_is_told_the_statement_to_run(database: Place) -> None:
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
        await connection.execute("CREATE ROLE poor LOGIN")
        (schema,) = await (await connection.execute("SELECT current_schema()")).fetchone() or ("",)
        await connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO poor".encode())
        with pytest.raises(StoreUnavailable, match=f"GRANT USAGE, CREATE ON SCHEMA {schema} TO poor;") as refused:
            await PostgresStore(database.url.replace("postgres:@", "poor:@")).open()
        assert "\n" not in str(refused.value)
        await connection.execute(f"REVOKE ALL ON SCHEMA {schema} FROM poor".encode())
        await connection.execute("DROP ROLE poor")


async def test_a_table_that_is_dropped_is_the_stores_trouble(processes: Processes) -> None:
    mock = await processes.start()
    session = await mock.create()
    async with await psycopg.AsyncConnection.connect(processes.url, autocommit=True) as connection:
        await connection.execute("ALTER TABLE mock_events RENAME TO gone")
        with pytest.raises(StoreUnavailable, match="Somebody has changed the tables"):
            await mock.pay(session)
        await connection.execute("ALTER TABLE gone RENAME TO mock_events")
    assert (await mock.pay(session)).status is Status.COMPLETE


async def test_a_command_waits_no_longer_than_it_says_for_all_that_it_waits_for(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For others of this process, which wait for somebody else themselves, and then for that one."""
    for module in ("pool", "postgres"):
        monkeypatch.setattr(f"qashier_mock.stores.{module}.LONGEST_WAIT", 0.6)
    mock = await processes.start()
    await mock.create()
    seconds = asyncio.get_running_loop().time
    async with await psycopg.AsyncConnection.connect(processes.url) as connection:
        await connection.execute("SELECT 1 FROM mock_accounts FOR UPDATE")
        began = seconds()
        found = await asyncio.gather(*(mock.create() for _ in range(3)), return_exceptions=True)
        taken = seconds() - began
        await connection.rollback()
    assert [type(each) for each in found] == [StoreUnavailable] * 3
    assert taken < 1.1
    await mock.create()


class Pooler:
    """Gives each transaction the server's connection that was used last, as poolers do in transaction mode."""

    def __init__(self, url: str) -> None:
        self._socket = f"{parse_qs(urlsplit(url).query)['host'][0]}/.s.PGSQL.5432"
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._server: asyncio.Server | None = None
        self.url = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable&gssencmode=disable"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for _, writer in self._idle:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = await reader.readexactly(4)
        startup = length + await reader.readexactly(int.from_bytes(length) - 4)
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = await asyncio.open_unix_connection(
            self._socket
        )
        waiting = startup
        try:
            while True:
                if server is None:
                    server = self._idle.pop()
                server[1].write(waiting)
                status = await self._answer(server[0], writer) if waiting[:1] in {b"", b"Q", b"S", b"\0"} else b"T"
                if status == b"I":
                    self._idle.append(server)
                    server = None
                kind = await reader.readexactly(1)
                length = await reader.readexactly(4)
                waiting = kind + length + await reader.readexactly(int.from_bytes(length) - 4)
                if kind == b"X":
                    return
        except asyncio.IncompleteReadError:
            pass
        finally:
            if server is not None:
                server[1].close()
            writer.close()

    @staticmethod
    async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Pass an answer on; whether the server is within a transaction then."""
        while True:
            kind = await reader.readexactly(1)
            length = await reader.readexactly(4)
            content = await reader.readexactly(int.from_bytes(length) - 4)
            writer.write(kind + length + content)
            if kind == b"Z":
                await writer.drain()
                return content


async def test_a_pooler_that_shares_connections_between_transactions_is_refused(database: Place) -> None:
    pooler = Pooler(database.url)
    await pooler.start()
    with pytest.raises(StoreUnavailable, match="behind a pooler that gives each transaction another connection"):
        await PostgresStore(pooler.url).open()
    await pooler.stop()


# Indexes


async def test_every_query_can_find_its_rows_through_an_index(database: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planner that may not read a table from end to end finds another way for each query."""
    asked: dict[str, tuple[Any, ...]] = {}
    original: Callable[..., Awaitable[Any]] = psycopg.AsyncConnection.execute

    async def execute(connection: Any, sql: Any, values: Any = None, **options: Any) -> Any:
        if isinstance(sql, str) and sql.startswith(("SELECT", "UPDATE", "DELETE")):
            asked[sql] = tuple(values or ())
        return await original(connection, sql, values, **options)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", execute)
    await Play(database).run(a_long_life())
    store = PostgresStore(database.url)
    await store.open()
    await store.due_accounts(NOW)
    await store.close()
    monkeypatch.undo()
    assert len(asked) > 30
    async with await psycopg.AsyncConnection.connect(database.url, autocommit=True) as connection:
        await connection.execute("SET enable_seqscan = off")
        for sql, values in asked.items():
            cursor = await connection.execute(f"EXPLAIN {sql}".encode(), values)
            plan = "\n".join(row[0] for row in await cursor.fetchall())
            assert "Seq Scan" not in plan or "mock_workers" in sql or "mock_schema" in sql, (sql, plan)
        # Whoever looks for the few that are held or attempted does not look through those that wait.
        await connection.execute("RESET enable_seqscan")
        await connection.execute(
            "INSERT INTO mock_deliveries (account, id, endpoint_id, due, is_held, body) "
            "SELECT 1, 'dlv_waiting' || n, 'we_1', n, 0, repeat('x', 200) FROM generate_series(1, 5000) n"
        )
        for few in ("is_held = 1", "worker <>"):
            ((sql, values),) = [(sql, values) for sql, values in asked.items() if few in sql]
            cursor = await connection.execute(f"EXPLAIN (ANALYZE) {sql}".encode(), values)
            plan = "\n".join(row[0] for row in await cursor.fetchall())
            assert "using mock_deliveries_" in plan, plan
            assert "mock_deliveries_due" not in plan, plan
