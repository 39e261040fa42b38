"""State in one SQLite file: it survives a restart and a crash, and one process works on it.

The file is used inline, through the standard library: a statement takes microseconds, less than handing it to a
thread. So a transaction never suspends, as in memory, and each command is atomic on the one event loop. Only a long
command lets others have their turn, and commands on its account wait for it: it reads, deletes and writes some hundred
rows at a time, with no transaction open in between. The file stays locked while it is open; that also saves the index
of the log.

Durability: the log is written before a command is answered (WAL), and not forced to the disk each time (`synchronous`
NORMAL). What was acknowledged survives the death of the process at any moment. When the machine loses power, the last
commands before may be gone, never half of one. Forcing each commit to the disk (FULL) would keep those, too, and make
each write a hundred times slower, which is a bad trade for a mock.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Self

from qashier_mock.core.model import AccountId
from qashier_mock.stores.base import StoreUnavailable
from qashier_mock.stores.database import ADD_ACCOUNT, READ_ACCOUNT, AccountRow
from qashier_mock.stores.rows import Row
from qashier_mock.stores.schema import VERSION, statements
from qashier_mock.stores.sql_store import SqlStore

_APPLICATION_ID: Final = 0x51534D4B
"""Stands in the header of a file, so that another program's is not taken for one of ours."""

_SETTINGS: Final = {"journal_mode": "WAL", "synchronous": "NORMAL", "cache_size": -65536, "temp_store": "MEMORY"}

_ROWS_KEPT: Final = 10_000
"""Accounts whose rows are cached, at most. No other process can change them in the file."""

_DISK: Final = SimpleNamespace(open=os.open, close=os.close, stat=os.stat)
"""The machine's disk, whatever a test puts in the place of `os`."""


class SqliteStore(SqlStore):
    """Every account, in a file: see `Store`. It is its own only `Connection`, too.

    A transaction begins with the first change; what only reads needs none.
    """

    name = "sqlite"
    suspends = False

    def __init__(self, path: Path) -> None:
        """Keep state in the file at `path`, which is made if there is none. Nothing is opened yet."""
        super().__init__()
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._inode = self._size = 0
        self._kept: dict[AccountId, AccountRow] = {}  # as the file has them
        self._long: dict[AccountId, asyncio.Event] = {}  # long commands, and what ends with each

    async def open(self) -> None:
        """Lock the file, bring it to this version, and release what the process before had claimed.

        Raises:
            StoreUnavailable: It cannot be opened, is in use or damaged, is no file of ours, or of another version.
        """
        try:
            with suppress(FileExistsError):  # it holds secrets, so that nobody else may read it
                _DISK.close(_DISK.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
            self._database = sqlite3.connect(self._path, isolation_level=None, timeout=0, cached_statements=256)
            self._prepare(self._database)
            self._inode, self._size = _DISK.stat(self._path).st_ino, 0
            await self._register("0")
            # As the file was free, every other process that has worked on it is gone.
            await self.release_workers(f"no <> {self.worker}")
        except (OSError, sqlite3.Error, StoreUnavailable) as error:
            self._close_file()
            if isinstance(error, StoreUnavailable):
                raise
            raise StoreUnavailable(_told(self._path, error)) from error

    def _prepare(self, database: sqlite3.Connection) -> None:
        """Lock the file, and bring it to this version."""
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        (marked,) = database.execute("PRAGMA application_id").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and marked != _APPLICATION_ID:
            raise StoreUnavailable(f"{self._path} is an SQLite file of another program; give --store another file.")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        steps = statements(str(self._path), version, serial="INTEGER PRIMARY KEY AUTOINCREMENT", bytes_="BLOB")
        for name, value in _SETTINGS.items():
            database.execute(f"PRAGMA {name} = {value}")
        database.execute("BEGIN EXCLUSIVE")
        for statement in (*steps, f"PRAGMA application_id = {_APPLICATION_ID}", f"PRAGMA user_version = {VERSION}"):
            database.execute(statement)
        database.execute("COMMIT")

    async def close(self) -> None:
        if self._database is not None:
            await self._end_journals()
            self._close_file()

    def _close_file(self) -> None:
        database, self._database = self._database, None
        self._kept.clear()
        if database is not None:
            with suppress(sqlite3.Error):  # a file that is damaged or gone cannot be tidied up either
                database.close()

    def is_faultless(self, account: AccountId) -> bool:
        row = self._kept.get(account)
        return row is not None and not row.state.faults

    async def due_accounts(self, machine_now: int) -> Mapping[AccountId, int]:
        found = await super().due_accounts(machine_now)
        for account in found:
            self._kept.pop(account, None)
        return found

    def connection(self, account: AccountId | None = None, *, key: str | None = None) -> Self:  # noqa: ARG002
        return self  # nobody is to be waited for, as a transaction never suspends

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Undo what was not committed. Where that fails, SQLite does it when the file is opened next."""
        if self._database is not None and self._database.in_transaction:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise StoreUnavailable(f"{self._path} is not open.")
        return self._database

    async def run(self, sql: str, *values: Any) -> list[Row]:
        try:
            return self._opened().execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._translated(error) from error

    async def many(self, sql: str, values: Sequence[Row]) -> None:
        try:
            self._opened().executemany(sql, values)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    async def begin(self) -> None:
        if not self._opened().in_transaction:
            await self.run("BEGIN")

    async def commit(self) -> None:
        if self._opened().in_transaction:
            self._check_file()
            await self.run("COMMIT")

    async def enter(self, account: AccountId, *, reading: bool, long: bool) -> tuple[AccountRow, bool]:  # noqa: ARG002
        while (other := self._long.get(account)) is not None:
            await other.wait()
        # Taken away for as long as it may be changed: it is put back only as the file has it.
        row = self._kept.pop(account, None) or AccountRow.of(await self.run(READ_ACCOUNT, account), account)
        if long:
            self._long[account] = asyncio.Event()
        return row, False

    async def lock(self, account: AccountId, row: AccountRow) -> AccountRow:
        await self.begin()
        if not row.number:
            ((row.number,),) = await self.run(f"{ADD_ACCOUNT} RETURNING no", account, row.head)
        return row

    async def leave(self, account: AccountId, row: AccountRow | None, _kind: type[BaseException] | None) -> None:
        if (long := self._long.pop(account, None)) is not None:
            long.set()
        if row is None:
            await self.__aexit__()
        else:
            if len(self._kept) >= _ROWS_KEPT:
                self._kept.clear()
            self._kept[account] = row

    def _check_file(self) -> None:
        """Refuse to go on with a file that was deleted, replaced or cut; SQLite itself would not notice."""
        try:
            now = _DISK.stat(self._path)
        except OSError:
            what = "deleted or moved"
        else:
            if now.st_ino == self._inode and now.st_size >= self._size:
                self._size = now.st_size
                return
            what = "replaced" if now.st_ino != self._inode else "cut"
        raise StoreUnavailable(
            f"{self._path} was {what} while it was served. Nothing is kept any more: restart the server."
        )

    def _translated(self, error: sqlite3.Error) -> Exception:
        """Trouble of the file or the disk as `StoreUnavailable`; a mistake of ours as it is."""
        is_ours = isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InterfaceError)
        return error if is_ours else StoreUnavailable(_told(self._path, error))


def _told(path: Path, error: sqlite3.Error | OSError) -> str:
    """What went wrong with a file, and what to check, on one line."""
    advice = {
        "SQLITE_BUSY": "Another server uses it; stop that one, or give --store another file.",
        "SQLITE_CANTOPEN": "Is its folder there, and may it be written?",
        "SQLITE_CORRUPT": "Put back a copy of it, or give --store another file.",
        "SQLITE_FULL": "The disk is full; make room.",
        "SQLITE_NOTADB": "It is no SQLite file; give --store another one.",
        "SQLITE_READONLY": "It may not be written.",
    }
    name = "SQLITE_CANTOPEN" if isinstance(error, OSError) else getattr(error, "sqlite_errorname", "")
    hint = next((text for code, text in advice.items() if name.startswith(code)), "Check the file and its disk.")
    reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
    return f"{path} cannot be used: {reason}. {hint}"
