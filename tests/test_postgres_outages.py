"""A database that goes: what is refused meanwhile, and what goes on when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import psycopg
import pytest
from judgement import Judge
from mock_harness import NOW, Client, basket
from processes_harness import Processes
from store_harness import ACCOUNTS, Mock, Place, until

from qashier_mock.app import MockApp, Settings
from qashier_mock.core.model import Status
from qashier_mock.core.paging import ListQuery
from qashier_mock.core.sources import ManualClock
from qashier_mock.stores.base import StoreUnavailable
from qashier_mock.stores.postgres import PostgresStore

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.asyncio

ONE, _ = ACCOUNTS


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


async def lose_the_database_in_a_move(mock: Mock, wire: Wire) -> None:
    """Move a clock by ten seconds, lose the database while its webhooks are flushed, and get it back."""

    async def flush(_: object) -> list[Any]:
        await wire.cut()
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mock.dispatcher, "flush", flush)
        with pytest.raises(StoreUnavailable):
            await mock.clocks.advance(ONE, by=10)
    await wire.connect()


async def test_a_database_that_was_gone_is_used_again_without_a_restart(database: Place) -> None:
    async with wired(database.url) as wire:
        store = PostgresStore(wire.url)
        await store.open()
        app = MockApp(Settings(seed=1), clock=ManualClock(NOW), judge=Judge(), store=store)
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
        await mock.fill_outbox(1)

        async def answer(*_: object) -> tuple[int | None, str | None]:
            await wire.cut()
            asyncio.get_running_loop().call_later(0.5, lambda: tasks.append(asyncio.create_task(wire.connect())))
            return 200, None

        tasks: list[asyncio.Task[None]] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mock.dispatcher, "_try", answer)
            (attempt,) = await mock.dispatcher.flush(ONE)
        assert attempt.status == 200
        assert (await mock.accounts.snapshot(ONE)).pending == []
        await store.close()


async def test_a_clock_whose_move_lost_the_database_goes_on_when_that_is_back(database: Place) -> None:
    async with wired(database.url) as wire:
        store = PostgresStore(wire.url)
        await store.open()
        mock = Mock(store)
        await lose_the_database_in_a_move(mock, wire)

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
        await lose_the_database_in_a_move(mock, wire)
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
        (there,) = (await mock.service.list_sessions(ONE, ListQuery(10))).sessions
        assert await mock.create(key="order-1") == there
        assert len((await mock.service.list_sessions(ONE, ListQuery(10))).sessions) == 1
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
        assert (await mock.service.retrieve(ONE, session.id, "req_1"))[0].status is Status.OPEN
        await connection.execute("DROP TRIGGER full_disk ON mock_events")
    assert (await mock.pay(session)).status is Status.COMPLETE
