"""State in PostgreSQL: it survives, and any number of processes and machines work on it.

Only what other engines with its protocol know, too, is used here: rows are locked with `FOR UPDATE`; there are no
advisory locks, no notifications, no extension. A command locks the row of its account, so commands on one account
happen one after the other, whichever process they came to. A command that only reads takes no lock.

No process is special. Each renews its lease every second, by the database's clock, which all of them share. Whoever
looks first once a lease has ended releases what that process had claimed.
"""

# ruff: noqa: S608 - statements are put together from names that stand in this file; values go beside them

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from math import inf
from typing import Any, Final, Self
from weakref import WeakValueDictionary

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from qashier_mock.core.errors import IdempotencyKeyInUse
from qashier_mock.core.model import AccountId
from qashier_mock.pipeline.beginning import have_a_task
from qashier_mock.stores.base import StoreUnavailable, StoreUrlError
from qashier_mock.stores.database import ADD_ACCOUNT, READ_ACCOUNT, AccountRow
from qashier_mock.stores.pool import LONGEST_WAIT, Pool
from qashier_mock.stores.rows import Row
from qashier_mock.stores.schema import VERSION, statements
from qashier_mock.stores.sql_store import SqlStore

_log = logging.getLogger(__name__)

CONNECTIONS: Final = 10
"""Connections of one process at most; whoever finds none free waits."""

_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""The lock of the account's row orders commands; each statement after it sees what commands before have done."""

_BEGIN_ONE_MOMENT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""Each statement sees what the first one saw."""

_ALIVE_FOR: Final = 5.0
"""Seconds that a lease lasts, unless it is renewed: then a process is taken for dead."""

_NOW: Final = "CAST(EXTRACT(EPOCH FROM now()) * 1000 AS BIGINT)"
"""The database's clock, milliseconds."""


class PostgresStore(SqlStore):
    """Every account, in a database: see `Store`."""

    name = "postgresql"
    is_shared = True
    skipping_locked = "FOR UPDATE SKIP LOCKED"

    def __init__(self, url: str, *, alive_for: float = _ALIVE_FOR) -> None:
        """Keep state in the database at `url`, which is not connected to yet; the lease lasts `alive_for` seconds.

        Raises:
            StoreUrlError: It is no URL that libpq takes.
        """
        super().__init__()
        try:
            known = conninfo_to_dict(url)
        except psycopg.Error:
            raise StoreUrlError(  # without the URL, which may hold a password
                "that is no URL of a PostgreSQL database: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with "
                "% and two digits for each character of the password that has a meaning in a URL"
            ) from None
        self._where = f"PostgreSQL at {known.get('host', 'localhost')} (database {known.get('dbname', 'by default')})"
        self._pool = Pool(url, self._where, known, size=CONNECTIONS)
        self._heart = Pool(url, self._where, known, size=1)  # the lease is renewed however many commands wait
        self._alive_for = alive_for
        self._alive_until = f"{_NOW} + {int(alive_for * 1000)}"
        self._beating: asyncio.Task[None] | None = None
        # Commands on one account wait for each other here and not in the database, where each would wait with a
        # connection that others could use.
        self._turns: WeakValueDictionary[AccountId, asyncio.Lock] = WeakValueDictionary()
        self._regular_since = inf  # since when, by the event loop's clock, the lease could be renewed

    # opening and closing

    async def open(self) -> None:
        """Connect, bring the database to this version, and take a lease.

        Raises:
            StoreUnavailable: It cannot be reached or used, or is of another version.
        """
        self._pool.open()
        self._heart.open()
        try:
            await self._refuse_unusable()
            await self._migrate()
            await self._register(self._alive_until)
        except BaseException:
            await self._close_connections()
            raise
        self._regular_since = asyncio.get_running_loop().time()
        self._beating = asyncio.create_task(self._beat())

    async def _refuse_unusable(self) -> None:
        """Refuse a database that cannot hold every text, and a pooler that shares connections between transactions."""
        async with self.connection() as one, self.connection() as other:
            ((encoding,),) = await one.run("SHOW server_encoding")
            if encoding not in {"UTF8", "SQL_ASCII"}:
                raise StoreUnavailable(
                    f"{self._where} has the encoding {encoding}, which cannot hold every text. Make another one: "
                    "CREATE DATABASE mock ENCODING 'UTF8' TEMPLATE template0."
                )
            before = await one.run("SELECT pg_backend_pid()")
            await other.begin()  # a pooler hands out the connection that was used last
            await other.run("SELECT 1")
            if before != await one.run("SELECT pg_backend_pid()"):
                raise StoreUnavailable(
                    f"{self._where} is behind a pooler that gives each transaction another connection. Connect to the "
                    "database itself, or set the pooler to pool_mode = session."
                )

    async def _migrate(self) -> None:
        for wait in (0.2, 0.4, 0.6, 0.8):
            # Where another process makes the same tables at this moment, look again at what there is then.
            with suppress(errors.UniqueViolation, errors.DuplicateObject, errors.DuplicateTable):
                return await self._make_tables()
            await asyncio.sleep(wait)
        return await self._make_tables()

    async def _make_tables(self) -> None:
        async with self.connection() as connection:
            await connection.begin()
            await connection.run("CREATE TABLE IF NOT EXISTS mock_schema (version BIGINT NOT NULL PRIMARY KEY)")
            ((version,),) = await connection.run("SELECT coalesce(max(version), 0) FROM mock_schema")
            serial = "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"
            steps = statements(self._where, version, serial=serial, bytes_="BYTEA")
            if steps:
                # Of several processes one gets to insert this row; the others wait for it, and fail.
                await connection.run("INSERT INTO mock_schema (version) VALUES (?)", VERSION)
            for statement in steps:
                await connection.run(statement)
            await connection.commit()

    async def close(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            self._beating = None
            await self._end_journals()
            try:
                await self.release_workers(f"no = {self.worker}")
            except StoreUnavailable as error:
                _log.warning("the store is gone before it was closed: %s", error)
        await self._close_connections()

    async def _close_connections(self) -> None:
        await self._pool.close()
        await self._heart.close()

    # the lease

    async def _beat(self) -> None:
        sign = (
            f"INSERT INTO mock_workers (no, alive_until) VALUES (?, {self._alive_until}) "
            "ON CONFLICT (no) DO UPDATE SET alive_until = excluded.alive_until"
        )
        while True:
            await asyncio.sleep(self._alive_for / 5)
            try:
                async with _PostgresConnection(self._heart, asyncio.Lock()) as connection:
                    await connection.run(sign, self.worker)
                self._regular_since = min(self._regular_since, asyncio.get_running_loop().time())
            except StoreUnavailable:
                self._regular_since = inf
            except Exception:  # noqa: BLE001 - the next one may get through
                _log.exception("the lease could not be renewed")

    async def due_accounts(self, machine_now: int) -> Mapping[AccountId, int]:
        # Once the database is back, all leases have ended: processes that live get the time to renew theirs first.
        if asyncio.get_running_loop().time() - self._regular_since >= self._alive_for:
            await self.release_workers(f"alive_until < {_NOW}")
        return await super().due_accounts(machine_now)

    # transactions

    def connection(self, account: AccountId | None = None, *, key: str | None = None) -> _PostgresConnection:
        turn = asyncio.Lock()
        if account is not None and key is None:
            turn = self._turns.setdefault(account, turn)
        return _PostgresConnection(self._pool, turn, key)


class _PostgresConnection:
    """See `Connection`."""

    __slots__ = ("_connection", "_deadline", "_key", "_pool", "_turn")
    suspends = True

    def __init__(self, pool: Pool, turn: asyncio.Lock, key: str | None = None) -> None:
        """Work with a connection of `pool`, once `turn` is free. Nobody else may have `key` under way."""
        self._pool = pool
        self._turn = turn
        self._key = key

    async def __aenter__(self) -> Self:
        await have_a_task()
        self._deadline = asyncio.get_running_loop().time() + LONGEST_WAIT
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._turn.acquire()
                try:
                    self._connection = await self._pool.take()
                except BaseException:
                    self._turn.release()
                    raise
        except TimeoutError:
            raise StoreUnavailable(f"{self._pool.where} does not keep up with the commands.") from None
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None and not issubclass(kind, Exception):
                await self._connection.close()  # it may be in the middle of a statement
            elif self._is_within():
                with suppress(psycopg.Error):  # the database undoes it when the connection ends
                    await self._connection.rollback()
        finally:
            self._turn.release()
            await self._pool.give(self._connection)

    async def enter(self, account: AccountId, *, reading: bool, long: bool) -> tuple[AccountRow, bool]:
        await self.__aenter__()
        try:
            if not reading:
                return await self.lock(account, AccountRow()), True
            if long:
                await self.run(_BEGIN_ONE_MOMENT)
            return AccountRow.of(await self.run(READ_ACCOUNT, account), account), False
        except BaseException as error:
            await self.__aexit__(type(error))
            raise

    async def leave(self, _account: AccountId, _row: AccountRow | None, kind: type[BaseException] | None) -> None:
        await self.__aexit__(kind)

    async def run(self, sql: str, *values: Any) -> list[Row]:
        try:
            cursor = await self._connection.execute(_spelled(sql), values)
            return [] if cursor.description is None else [*await cursor.fetchall()]
        except psycopg.Error as error:
            raise self._pool.translated(error) from error

    async def many(self, sql: str, values: Sequence[Row]) -> None:
        try:
            async with self._connection.cursor() as cursor:
                await cursor.executemany(_spelled(sql), values)
        except psycopg.Error as error:
            raise self._pool.translated(error) from error

    def _is_within(self) -> bool:
        """Whether a transaction has begun and not ended."""
        return self._connection.info.transaction_status is not TransactionStatus.IDLE

    async def begin(self) -> None:
        if not self._is_within():
            await self.run(_BEGIN)

    async def commit(self) -> None:
        if self._is_within():
            await self.run("COMMIT")

    async def lock(self, account: AccountId, row: AccountRow) -> AccountRow:
        await self.begin()
        left_ms = max(int((self._deadline - asyncio.get_running_loop().time()) * 1000), 100)
        if self._key is not None:
            await self._claim(account, self._key)
        if self._key is not None or left_ms < LONGEST_WAIT * 900:
            await self.run(f"SET LOCAL lock_timeout = '{left_ms}ms'")
        while not (locked := await self.run(f"{READ_ACCOUNT} FOR UPDATE", account)):
            await self.run(ADD_ACCOUNT, account, row.head)
        return AccountRow.of(locked, account)

    async def _claim(self, account: AccountId, key: str) -> None:
        """Claim a key for this transaction: no other can insert the row until it ends, and then the row is gone."""
        await self.run("SET LOCAL lock_timeout = '1ms'")
        try:
            await self.run("INSERT INTO mock_under_way (account, key) VALUES (?, ?)", account, key)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, errors.LockNotAvailable):
                raise IdempotencyKeyInUse from None
            raise
        await self.run("DELETE FROM mock_under_way WHERE account = ? AND key = ?", account, key)


@lru_cache(maxsize=1_000)
def _spelled(sql: str) -> str:
    """A statement with the driver's own marks for values."""
    return sql.replace("%", "%%").replace("?", "%s")
