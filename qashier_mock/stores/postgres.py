"""State in PostgreSQL: it survives, and any number of processes and machines work on it.

Only what other engines that speak its protocol know as well is used here: rows are locked with `FOR UPDATE`; there
are no advisory locks, no notifications, no extension. A command locks the row of its account, so commands on one
account happen one after the other, whichever process they came to. A command that only reads takes no lock.

No process is special. Each says every second that it lives. What a process has claimed when it dies (deliveries that
it was attempting, a clock that it was moving) is anybody's again some seconds later, and whoever looks first sees to
it. All of that is measured by the clock of the database, the one that the processes have in common.

While the database is gone every command fails with `StoreUnavailable`, and the first one after it is back succeeds:
connections that broke are replaced when they are needed. (The pool of the driver's own package reconnects in the
background with delays that double, and after some time gives up.)
"""

# ruff: noqa: S608 - statements are put together from names that stand in this file; values go beside them

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from types import TracebackType
from typing import Any, Final
from weakref import WeakValueDictionary

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from qashier_mock.core.errors import ApiError, IdempotencyKeyInUse
from qashier_mock.core.journal import CAPACITY, JournalEntry
from qashier_mock.core.model import AccountId
from qashier_mock.stores import rows
from qashier_mock.stores.base import DUE_AT_ONCE, StoreUnavailable
from qashier_mock.stores.rows import Head, Row
from qashier_mock.stores.schema import VERSION, newer, statements
from qashier_mock.stores.sql import Held, Journals, Shared, SqlTransaction

_log = logging.getLogger(__name__)

_Connection = psycopg.AsyncConnection[tuple[Any, ...]]

CONNECTIONS: Final = 10
"""Connections of one process at most; whoever finds none free waits."""

_WAIT: Final = 10.0
"""Seconds to wait for a free connection, and for another command on the same account to end."""

_CONNECT_TIMEOUT: Final = 3
"""Seconds in which a connection must be made, where the URL says nothing else."""

_SESSION: Final = (
    # A process that stands still (a debugger, a suspended machine) must not keep an account locked for ever.
    f"SET lock_timeout = '{int(_WAIT)}s'",
    f"SET idle_in_transaction_session_timeout = '{int(2 * _WAIT)}s'",
)

_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""The lock of the account's row is what orders commands; each statement after it sees what those before have done."""

_ALIVE_FOR: Final = 5.0
"""Seconds after its last sign of life that a process is taken for dead."""

_BEAT_EVERY: Final = 1.0
"""Seconds between two signs of life."""

_JOURNAL_EVERY: Final = 0.1
"""Seconds that a request waits at most until it stands in the journal's table."""

_PRUNE_AFTER: Final = 250
"""Entries that a journal may hold beyond its capacity until the oldest are removed."""

_HANDED_OUT_FOR: Final = 5
"""Seconds until an account is due again that was handed out as due and not seen to."""

_MIGRATIONS_TRIED: Final = 5

_NOW: Final = "CAST(EXTRACT(EPOCH FROM now()) * 1000 AS BIGINT)"
"""The database's clock, milliseconds."""

_HEAD: Final = "SELECT no, head, wake_at FROM mock_accounts WHERE id = ?"


class PostgresUrlError(ValueError):
    """A URL that the driver does not understand. It is not quoted: it may hold a password."""


class PostgresStore:
    """Every account, in a database: see `Store`."""

    name = "postgresql"
    look_every: float | None = 1.0
    incarnation = ""

    def __init__(self, url: str, *, alive_for: float = _ALIVE_FOR) -> None:
        """Keep state in the database at `url`. Nothing is connected to yet.

        Args:
            url: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, with any of libpq's parameters.
            alive_for: Seconds after its last sign of life that this process is taken for dead by others.

        Raises:
            PostgresUrlError: It is no such URL.
        """
        try:
            known = conninfo_to_dict(url)
        except psycopg.Error:
            raise PostgresUrlError(
                "that is no URL of a PostgreSQL database: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with "
                "% and two digits for each character of the password that has a meaning in a URL"
            ) from None
        self._where = f"PostgreSQL at {known.get('host', 'localhost')} (database {known.get('dbname', 'by default')})"
        options = {} if "connect_timeout" in known else {"connect_timeout": _CONNECT_TIMEOUT}
        self._pool = _Pool(url, self._where, options, size=CONNECTIONS)
        self._heart = _Pool(url, self._where, options, size=1)  # a sign of life waits for no command
        self._alive_for = alive_for
        self._shared = Shared(Journals(self._wake_journal))
        self._journal_waits = asyncio.Event()
        self._journal_turn = asyncio.Lock()
        self._unpruned: dict[AccountId, int] = {}  # entries since a journal was last cut to its capacity
        self._tasks: list[asyncio.Task[None]] = []
        # Commands on one account wait for each other here and not in the database, where each would wait with a
        # connection that others could use.
        self._turns: WeakValueDictionary[AccountId, asyncio.Lock] = WeakValueDictionary()
        self._regular_since: float | None = None  # since when, by the event loop's clock, signs of life got through

    # opening and closing

    async def open(self) -> None:
        """Connect, bring the database to this version, and say that this process lives.

        Raises:
            StoreUnavailable: It cannot be reached, or is a newer version's.
        """
        self._journal_waits = asyncio.Event()
        self._journal_turn = asyncio.Lock()
        self._pool.open()
        self._heart.open()
        try:
            await self._migrate()
            async with self._rows() as rows_:
                (row,) = await rows_.all(
                    f"INSERT INTO mock_workers (alive_until) VALUES ({_NOW} + ?) RETURNING no", self._lease_ms()
                )
        except BaseException:
            await self._close_connections()
            raise
        self._shared.worker = row[0]
        self.incarnation = str(row[0])
        self._regular_since = asyncio.get_running_loop().time()
        self._tasks = [asyncio.create_task(self._beat()), asyncio.create_task(self._write_journals())]

    async def _migrate(self) -> None:
        for attempt in range(_MIGRATIONS_TRIED):
            try:
                async with self._rows() as rows_:
                    await self._migrate_with(rows_)
            except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateObject, psycopg.errors.DuplicateTable):
                # Another process makes the same tables at this moment: look again at what there is then.
                if attempt == _MIGRATIONS_TRIED - 1:
                    raise
                await asyncio.sleep(0.2 * (attempt + 1))
            else:
                return

    async def _migrate_with(self, rows_: _PostgresRows) -> None:
        await rows_.run(_BEGIN)
        await rows_.run("CREATE TABLE IF NOT EXISTS mock_schema (version BIGINT NOT NULL PRIMARY KEY)")
        found = await rows_.all("SELECT version FROM mock_schema ORDER BY version DESC LIMIT 1")
        version = found[0][0] if found else 0
        if version > VERSION:
            raise StoreUnavailable(newer(self._where, version))
        if version < VERSION:
            # Of several processes one gets to insert this row; the others wait for it, and fail.
            await rows_.run("INSERT INTO mock_schema (version) VALUES (?)", VERSION)
            for statement in statements(
                version, serial="BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", bytes_="BYTEA"
            ):
                await rows_.run(statement)
        await rows_.run("COMMIT")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            self._tasks = []
            try:
                await self._flush_journals()
                await self._bury(self._shared.worker)
            except StoreUnavailable as error:
                _log.warning("the store is gone before it was closed: %s", error)
        await self._close_connections()

    async def _close_connections(self) -> None:
        await self._pool.close()
        await self._heart.close()

    def _lease_ms(self) -> int:
        return int(self._alive_for * 1000)

    # signs of life

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_BEAT_EVERY, self._alive_for / 5))
            try:
                async with self._heart.rows() as rows_:
                    await rows_.run(
                        f"INSERT INTO mock_workers (no, alive_until) VALUES (?, {_NOW} + ?) "
                        "ON CONFLICT (no) DO UPDATE SET alive_until = excluded.alive_until",
                        self._shared.worker,
                        self._lease_ms(),
                    )
            except StoreUnavailable:
                self._regular_since = None
                continue
            except Exception:  # noqa: BLE001 - the next one may get through
                _log.exception("no sign of life could be given")
                continue
            if self._regular_since is None:
                self._regular_since = loop.time()

    async def _bury_dead(self) -> None:
        """Make what dead processes had claimed anybody's again.

        After the database was gone nobody's sign of life is fresh: then this waits until those that live had time to
        give one.
        """
        since = self._regular_since
        if since is None or asyncio.get_running_loop().time() - since < self._alive_for:
            return
        async with self._rows() as rows_:
            dead = await rows_.all(f"SELECT no FROM mock_workers WHERE alive_until < {_NOW}")
        for (worker,) in dead:
            await self._bury(worker)

    async def _bury(self, worker: int) -> None:
        async with self._rows() as rows_:
            claimed = await rows_.all(
                "SELECT id FROM mock_accounts WHERE mover = ? UNION "
                "SELECT a.id FROM mock_deliveries d JOIN mock_accounts a ON a.no = d.account WHERE d.worker = ?",
                worker,
                worker,
            )
        for (account,) in claimed:
            async with self._unit(AccountId(account)) as tx:
                await tx.abandon(worker)
        async with self._rows() as rows_:
            await rows_.run("DELETE FROM mock_workers WHERE no = ?", worker)

    # transactions

    def _rows(self) -> AbstractAsyncContextManager[_PostgresRows]:
        """A connection for statements that are each a transaction of their own, or that begin one themselves."""
        return self._pool.rows()

    def _unit(self, account: AccountId, *, reading: bool = False, key: str | None = None) -> _Unit:
        turn = None
        if not reading and key is None:
            turn = self._turns.get(account)
            if turn is None:
                turn = self._turns[account] = asyncio.Lock()
        return _Unit(account, self._pool, self._shared, turn, reading=reading, key=key)

    def transaction(
        self, account: AccountId, *, reading: bool = False, key: str | None = None
    ) -> AbstractAsyncContextManager[SqlTransaction]:
        return self._unit(account, reading=reading, key=key)

    def is_faultless(self, account: AccountId) -> bool:  # noqa: ARG002 - another process may have made some
        return False

    async def has_faults(self, account: AccountId) -> bool:
        async with self._rows() as rows_:
            found = await rows_.all(_HEAD, account)
        return bool(found) and bool(rows.unpack_head(found[0][1]).faults)

    async def owner(self, session_id: str) -> AccountId | None:
        if not rows.is_text(session_id):
            return None
        async with self._rows() as rows_:
            found = await rows_.all(
                "SELECT a.id FROM mock_sessions s JOIN mock_accounts a ON a.no = s.account WHERE s.id = ?", session_id
            )
        return AccountId(found[0][0]) if found else None

    async def due_accounts(self, machine_now: int) -> Mapping[AccountId, int]:
        await self._bury_dead()
        async with self._rows() as rows_:
            found = await rows_.all(
                "UPDATE mock_accounts SET wake_at = ? WHERE no IN (SELECT no FROM mock_accounts WHERE wake_at <= ? "
                "ORDER BY wake_at LIMIT ? FOR UPDATE SKIP LOCKED) RETURNING id",
                machine_now + _HANDED_OUT_FOR,
                machine_now,
                DUE_AT_ONCE,
            )
        return {AccountId(account): machine_now for (account,) in found}

    # the journals

    def record(self, account: AccountId, entry: JournalEntry) -> None:
        self._shared.journals.add(account, entry)

    async def journal(self, account: AccountId) -> Sequence[JournalEntry]:
        await self._flush_journals()
        async with self._rows() as rows_:
            found = await rows_.all(
                "SELECT body, path, request, response FROM mock_journal WHERE account = ? ORDER BY no DESC LIMIT ?",
                account,
                CAPACITY,
            )
        return tuple([rows.unpack_entry(row) for row in reversed(found)])

    def _wake_journal(self) -> None:
        self._journal_waits.set()

    async def _write_journals(self) -> None:
        while True:
            await self._journal_waits.wait()
            await asyncio.sleep(_JOURNAL_EVERY)
            try:
                await self._flush_journals()
            except StoreUnavailable:
                await asyncio.sleep(_BEAT_EVERY)
            except Exception:  # noqa: BLE001 - a request that cannot be written must not keep the next from it
                _log.exception("requests are missing in the journal")

    async def _flush_journals(self) -> None:
        async with self._journal_turn:  # who wants to read waits for what is being written, too
            self._journal_waits.clear()
            entries = self._shared.journals.take()
            if not entries:
                return
            packed = [(account, *rows.pack_entry(entry)) for account, entry in entries]
            try:
                async with self._rows() as rows_:
                    await rows_.run(_BEGIN)
                    await rows_.many(
                        "INSERT INTO mock_journal (account, body, path, request, response) VALUES (?, ?, ?, ?, ?)",
                        packed,
                    )
                    await self._prune(rows_, entries)
                    await rows_.run("COMMIT")
            except (StoreUnavailable, asyncio.CancelledError):  # the latter when the store is closed
                self._shared.journals.put_back(entries)
                raise

    async def _prune(self, rows_: _PostgresRows, entries: Sequence[tuple[AccountId, JournalEntry]]) -> None:
        for account, _ in entries:
            self._unpruned[account] = self._unpruned.get(account, 0) + 1
        for account in [each for each, count in self._unpruned.items() if count >= _PRUNE_AFTER]:
            await rows_.run(
                "DELETE FROM mock_journal WHERE account = ? AND no <= "
                "(SELECT no FROM mock_journal WHERE account = ? ORDER BY no DESC LIMIT 1 OFFSET ?)",
                account,
                account,
                CAPACITY,
            )
            del self._unpruned[account]


class _Pool:
    """A few connections, made when they are needed and kept for the next."""

    def __init__(self, url: str, where: str, options: Mapping[str, Any], *, size: int) -> None:
        self._url = url
        self.where = where
        self._options = options
        self._size = size
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(size)
        self._is_open = False

    def open(self) -> None:
        self._free = asyncio.Semaphore(self._size)
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def take(self) -> _Connection:
        """A connection, to be given back.

        Raises:
            StoreUnavailable: None gets free, or none can be made.
        """
        await _have_a_task()
        if not self._is_open:
            raise StoreUnavailable(f"{self.where} is not open.")
        try:
            async with asyncio.timeout(_WAIT):
                await self._free.acquire()
        except TimeoutError:
            raise StoreUnavailable(f"{self.where} does not keep up: no connection got free in time.") from None
        try:
            while self._idle:
                connection = self._idle.pop()
                if not _has_ended(connection):
                    return connection
                await connection.close()
            return await self._connect()
        except BaseException:
            self._free.release()
            raise

    async def _connect(self) -> _Connection:
        try:
            connection: _Connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, **self._options)
            try:
                for statement in _SESSION:
                    await connection.execute(statement)
            except BaseException:
                await connection.close()
                raise
        except psycopg.Error as error:
            raise self.translated(error) from error
        return connection

    async def give(self, connection: _Connection, *, is_sound: bool) -> None:
        """Take a connection back; one that is in the middle of something is closed."""
        try:
            if is_sound and self._is_open and connection.info.transaction_status is TransactionStatus.IDLE:
                self._idle.append(connection)
            else:
                await connection.close()
        finally:
            self._free.release()

    @asynccontextmanager
    async def rows(self) -> AsyncIterator[_PostgresRows]:
        connection = await self.take()
        is_sound = False
        try:
            yield _PostgresRows(self, connection, None)
            is_sound = True
        finally:
            await self.give(connection, is_sound=is_sound)

    def translated(self, error: psycopg.Error) -> Exception:
        """What is the database's or the network's trouble as `StoreUnavailable`; a mistake of ours as it is."""
        if not isinstance(error, psycopg.OperationalError | psycopg.InternalError | psycopg.InterfaceError):
            return error
        told = " ".join(str(error).split())
        return StoreUnavailable(f"{self.where} cannot be used: {told or type(error).__name__}")


class _PostgresRows:
    """See `Rows`."""

    __slots__ = ("_connection", "_key", "_pool")

    def __init__(self, pool: _Pool, connection: _Connection, key: str | None) -> None:
        self._pool = pool
        self._connection = connection
        self._key = key

    async def all(self, sql: str, *values: Any) -> list[Row]:
        try:
            cursor = await self._connection.execute(_spelled(sql), values)
            return [*await cursor.fetchall()]
        except psycopg.Error as error:
            raise self._pool.translated(error) from error

    async def run(self, sql: str, *values: Any) -> int:
        try:
            return (await self._connection.execute(_spelled(sql), values)).rowcount
        except psycopg.Error as error:
            raise self._pool.translated(error) from error

    async def many(self, sql: str, values: Sequence[Row]) -> None:
        """Run a statement with each of the values."""
        try:
            async with self._connection.cursor() as cursor:
                await cursor.executemany(_spelled(sql), values)
        except psycopg.Error as error:
            raise self._pool.translated(error) from error

    async def held(self, account: AccountId) -> Held:
        """The account's row; without a number where there is none."""
        found = await self.all(_HEAD, account)
        if not found:
            return Held(None, Head())
        number, head, wake_at = found[0]
        return Held(number, rows.unpack_head(head), wake_at)

    async def own(self, account: AccountId, held: Held) -> Held:  # noqa: ARG002 - it may have changed since
        await self.run(_BEGIN)
        if self._key is not None:
            await self._claim(account, self._key)
        found = await self.all(f"{_HEAD} FOR UPDATE", account)
        if not found:
            await self.run(
                "INSERT INTO mock_accounts (id, head) VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
                account,
                rows.pack_head(Head()),
            )
            found = await self.all(f"{_HEAD} FOR UPDATE", account)
        number, head, wake_at = found[0]
        return Held(number, rows.unpack_head(head), wake_at)

    async def _claim(self, account: AccountId, key: str) -> None:
        """Say that this key is under way, to nobody but those who ask for it: the row is gone with the transaction."""
        try:
            await self._connection.execute("SET LOCAL lock_timeout = '1ms'")
            await self._connection.execute("INSERT INTO mock_under_way (account, key) VALUES (%s, %s)", (account, key))
        except psycopg.errors.LockNotAvailable:
            raise IdempotencyKeyInUse from None
        except psycopg.Error as error:
            raise self._pool.translated(error) from error
        await self.run("DELETE FROM mock_under_way WHERE account = ? AND key = ?", account, key)
        await self.run(f"SET LOCAL lock_timeout = '{int(_WAIT)}s'")


async def _have_a_task() -> None:
    """A server may start requests without a task of their own; what waits for a database needs one."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)


def _has_ended(connection: _Connection) -> bool:
    """Whether the database has closed a connection that nobody uses: nothing else is ever to be read from one."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@lru_cache(maxsize=1_000)
def _spelled(sql: str) -> str:
    """A statement with the driver's own marks for values."""
    return sql.replace("?", "%s")


class _Unit:
    """A transaction as a context: see `Store`."""

    __slots__ = ("_account", "_connection", "_key", "_pool", "_reading", "_rows", "_shared", "_turn", "_tx")

    def __init__(
        self,
        account: AccountId,
        pool: _Pool,
        shared: Shared,
        turn: asyncio.Lock | None,
        *,
        reading: bool,
        key: str | None,
    ) -> None:
        self._turn = turn
        self._account = account
        self._pool = pool
        self._shared = shared
        self._reading = reading
        self._key = key

    async def __aenter__(self) -> SqlTransaction:
        await _have_a_task()
        if self._turn is not None:
            try:
                async with asyncio.timeout(_WAIT):
                    await self._turn.acquire()
            except TimeoutError:
                raise StoreUnavailable(f"{self._pool.where} does not keep up with this account.") from None
        try:
            self._connection = await self._pool.take()
        except BaseException:
            self._pass_turn()
            raise
        self._rows = _PostgresRows(self._pool, self._connection, self._key)
        try:
            if self._reading:
                held = await self._rows.held(self._account)
            else:
                held = await self._rows.own(self._account, Held(None, Head()))
        except BaseException as error:
            await self._leave(error)
            raise
        self._tx = SqlTransaction(self._account, self._rows, held, self._shared, is_owned=not self._reading)
        return self._tx

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, ApiError):
            await self._leave(error)
            return
        try:
            await self._tx.finish()
            if self._is_within():
                await self._rows.run("COMMIT")
        except BaseException as failure:
            await self._leave(failure)
            raise
        await self._give(is_sound=True)

    async def _give(self, *, is_sound: bool) -> None:
        self._pass_turn()
        await self._pool.give(self._connection, is_sound=is_sound)

    def _pass_turn(self) -> None:
        if self._turn is not None:
            self._turn.release()

    def _is_within(self) -> bool:
        """Whether a transaction has begun and not ended."""
        return self._connection.info.transaction_status is not TransactionStatus.IDLE

    async def _leave(self, error: BaseException) -> None:
        """Undo what was done, and give the connection back."""
        is_sound = isinstance(error, Exception) and not self._connection.closed
        if is_sound and self._is_within():
            try:
                await self._rows.run("ROLLBACK")
            except StoreUnavailable:
                is_sound = False  # the database undoes it when the connection ends
        await self._give(is_sound=is_sound)
