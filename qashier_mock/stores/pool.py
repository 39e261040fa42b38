"""Connections to PostgreSQL, and what its errors mean.

The driver has a pool of its own, `psycopg_pool`. That one reconnects in the background, with delays that double, while
commands wait without learning why; it gives up after some time. This one connects when a command needs it, so that the
command fails at once, with the reason, and the first one after the database is back succeeds.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus

from qashier_mock.address import has_news
from qashier_mock.stores.base import StoreUnavailable

Connection = psycopg.AsyncConnection[tuple[Any, ...]]

LONGEST_WAIT: Final = 10.0
"""Seconds that a command waits at most, in all: for others on its account, for a connection, and for a lock."""

_CONNECTION: Final[Mapping[str, int | str]] = {
    "connect_timeout": 3,
    # A database's host that is cut off says nothing: without these a command would wait a quarter of an hour for it.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""Seconds, and milliseconds for `tcp_user_timeout`, where the URL says nothing else; libpq's own names."""


class Pool:
    """A few connections, made when they are needed and kept for the next."""

    def __init__(self, url: str, where: str, known: Mapping[str, Any], *, size: int) -> None:
        self._url = url
        self.where = where
        self._options: dict[str, Any] = {name: value for name, value in _CONNECTION.items() if name not in known}
        self._options["client_encoding"] = "utf8"  # whatever URL and environment say
        self._size = size
        self._idle: list[Connection] = []
        self._role = ""
        self._is_open = False

    def open(self) -> None:
        self._free = asyncio.Semaphore(self._size)
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def take(self) -> Connection:
        """A connection, to be given back. Raises `StoreUnavailable` where none can be made."""
        if not self._is_open:
            raise StoreUnavailable(f"{self.where} is not open.")
        await self._free.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.closed and not has_news(connection.fileno()):
                    return connection
                await connection.close()
            return await self._connect()
        except BaseException:
            self._free.release()
            raise

    async def _connect(self) -> Connection:
        # A process that stands still, as in a debugger, must not keep an account locked for ever.
        most_ms = int(LONGEST_WAIT * 1000)
        limits = f"SET lock_timeout = {most_ms}; SET idle_in_transaction_session_timeout = {2 * most_ms}"
        try:
            connection: Connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, **self._options)
            try:
                await connection.execute(limits.encode())
            except BaseException:
                await connection.close()
                raise
        except psycopg.Error as error:
            raise self.translated(error) from error
        self._role = connection.info.user
        return connection

    async def give(self, connection: Connection) -> None:
        """Take a connection back; one that is in the middle of something is closed."""
        try:
            if self._is_open and connection.info.transaction_status is TransactionStatus.IDLE:
                self._idle.append(connection)
            else:
                await connection.close()
        finally:
            self._free.release()

    def translated(self, error: psycopg.Error) -> Exception:
        """Trouble of the database or the network as `StoreUnavailable`; a mistake of ours as it is."""
        told = " ".join(str(error).split()) or type(error).__name__
        match error:
            case psycopg.errors.InsufficientPrivilege() | psycopg.errors.InvalidSchemaName():
                told += f" Run: {self._grant(told)}"
            case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
                told += " Somebody has changed the tables: put them back, or give --store another database."
            case psycopg.OperationalError() | psycopg.InternalError() | psycopg.InterfaceError():
                pass
            case _:
                return error
        return StoreUnavailable(f"{self.where} cannot be used: {told}")

    def _grant(self, told: str) -> str:
        """The statement that gives the role what it lacks."""
        if "for table" in told or "for sequence" in told:
            every = f"IN SCHEMA public TO {self._role};"
            return f"GRANT ALL ON ALL TABLES {every} GRANT ALL ON ALL SEQUENCES {every}"
        found = re.search(r"for schema (\w+)", told)
        return f"GRANT USAGE, CREATE ON SCHEMA {found[1] if found else 'public'} TO {self._role};"
