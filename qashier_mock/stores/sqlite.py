"""State in one SQLite file: it survives a restart and a crash, and one process works on it.

The file is used through the standard library and inline: a statement takes microseconds, and a thread to wait for it
would take longer than that. So a transaction never suspends, as in memory, and each command is atomic on the one event
loop. The file is locked for as long as it is open, which also saves the index of the log that readers in other
processes would need.

Durability: the log is written before a command is answered (WAL), and not forced to the disk each time (`synchronous`
NORMAL). What was acknowledged survives the death of the process at any moment, because the system holds what was
written. When the machine itself loses power, the last commands before it may be gone, never half of one, and the file
is sound. Forcing each commit to the disk (FULL) would also keep those and make each write a hundred times slower, which
is a bad trade for a mock.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from qashier_mock.core.errors import ApiError
from qashier_mock.core.journal import CAPACITY, JournalEntry
from qashier_mock.core.model import AccountId
from qashier_mock.stores import rows
from qashier_mock.stores.base import DUE_AT_ONCE, StoreUnavailable
from qashier_mock.stores.rows import Head, Row
from qashier_mock.stores.schema import VERSION, newer, statements
from qashier_mock.stores.sql import Held, Journals, Shared, SqlTransaction

_log = logging.getLogger(__name__)

_APPLICATION_ID: Final = 0x51534D4B
"""Stands in the header of a file, so that another program's is not taken for one of ours."""

_JOURNAL_EVERY: Final = 0.1
"""Seconds that a request waits at most until it stands in the journal's table."""

_HEADS_KEPT: Final = 10_000
"""Accounts whose heads are remembered; nobody else can change them in the file."""

_HANDED_OUT_FOR: Final = 5
"""Seconds until an account is due again that was handed out as due and not seen to."""


class SqliteStore:
    """Every account, in a file: see `Store`."""

    name = "sqlite"
    look_every: float | None = 1.0
    incarnation = ""

    def __init__(self, path: Path) -> None:
        """Keep state in the file at `path`, which is made if there is none. Nothing is opened yet."""
        self._path = path
        self._database: sqlite3.Connection | None = None
        self._heads: dict[AccountId, Held] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._shared = Shared(Journals(self._schedule_journal))
        self._is_journal_told = False  # that requests are missing in it
        self._unpruned: dict[AccountId, int] = {}  # entries since a journal was last cut to its capacity

    # opening and closing

    async def open(self) -> None:
        """Lock the file, bring it to this version, and take over what the process before has left.

        Raises:
            StoreUnavailable: It cannot be opened, is in use, is no file of ours, or a newer version's.
        """
        try:
            self._database = database = sqlite3.connect(
                self._path, isolation_level=None, timeout=0, cached_statements=256
            )
            self._lock(database)
            self._migrate(database)
        except sqlite3.Error as error:
            await self.close()
            raise StoreUnavailable(_told(self._path, error)) from error
        except StoreUnavailable:
            await self.close()
            raise
        await self._take_over()

    def _lock(self, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        (marked,) = database.execute("PRAGMA application_id").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and marked != _APPLICATION_ID:
            raise StoreUnavailable(f"{self._path} is an SQLite file of another program; give --store another file.")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise StoreUnavailable(newer(str(self._path), version))
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA cache_size = -65536")
        database.execute("PRAGMA temp_store = MEMORY")
        database.execute("BEGIN EXCLUSIVE")
        database.execute("COMMIT")

    def _migrate(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == VERSION:
            return
        database.execute("BEGIN")
        for statement in statements(version, serial="INTEGER PRIMARY KEY AUTOINCREMENT", bytes_="BLOB"):
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {VERSION}")
        database.execute("COMMIT")

    async def _take_over(self) -> None:
        """Make what earlier processes had claimed anybody's again: as the file was free, they are gone."""
        rows_ = self._rows()
        gone = [row[0] for row in await rows_.all("SELECT no FROM mock_workers")]
        rows_.begin()
        await rows_.run("INSERT INTO mock_workers (alive_until) VALUES (0)")
        self._shared.worker = (await rows_.all("SELECT max(no) FROM mock_workers"))[0][0]
        self.incarnation = str(self._shared.worker)
        rows_.commit()
        for worker in gone:
            claimed = await rows_.all(
                "SELECT id FROM mock_accounts WHERE mover = ? UNION "
                "SELECT a.id FROM mock_deliveries d JOIN mock_accounts a ON a.no = d.account WHERE d.worker = ?",
                worker,
                worker,
            )
            for (account,) in claimed:
                async with self.transaction(AccountId(account)) as tx:
                    await tx.abandon(worker)
            rows_.begin()
            await rows_.run("DELETE FROM mock_workers WHERE no = ?", worker)
            rows_.commit()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._database is not None:
            self._write_journal()
            self._database.close()
            self._database = None
        self._heads.clear()

    # transactions

    def _rows(self) -> _SqliteRows:
        if self._database is None:
            raise StoreUnavailable(f"{self._path} is not open.")
        return _SqliteRows(self._path, self._database)

    def transaction(
        self,
        account: AccountId,
        *,
        reading: bool = False,  # noqa: ARG002 - a transaction never suspends, so that nobody ever waits for another
        key: str | None = None,  # noqa: ARG002 - and no key is ever found under way
    ) -> AbstractAsyncContextManager[SqlTransaction]:
        return _Unit(account, self._rows(), self._heads, self._shared)

    def is_faultless(self, account: AccountId) -> bool:
        held = self._heads.get(account)
        return held is not None and not held.head.faults

    async def has_faults(self, account: AccountId) -> bool:
        async with self.transaction(account) as tx:
            return bool(tx.faults())

    async def owner(self, session_id: str) -> AccountId | None:
        if not rows.is_text(session_id):
            return None
        found = await self._rows().all(
            "SELECT a.id FROM mock_sessions s JOIN mock_accounts a ON a.no = s.account WHERE s.id = ?", session_id
        )
        return AccountId(found[0][0]) if found else None

    async def due_accounts(self, machine_now: int) -> Mapping[AccountId, int]:
        rows_ = self._rows()
        found = await rows_.all(
            "SELECT no, id FROM mock_accounts WHERE wake_at <= ? ORDER BY wake_at LIMIT ?", machine_now, DUE_AT_ONCE
        )
        if not found:
            return {}
        until = machine_now + _HANDED_OUT_FOR
        rows_.begin()
        try:
            for number, account in found:
                await rows_.run("UPDATE mock_accounts SET wake_at = ? WHERE no = ?", until, number)
                held = self._heads.get(AccountId(account))
                if held is not None:
                    held.wake_at = until
            rows_.commit()
        except StoreUnavailable:
            rows_.roll_back()
            self._heads.clear()
            raise
        return {AccountId(account): machine_now for _, account in found}

    # the journals

    def record(self, account: AccountId, entry: JournalEntry) -> None:
        self._shared.journals.add(account, entry)

    async def journal(self, account: AccountId) -> Sequence[JournalEntry]:
        self._write_journal()
        found = await self._rows().all(
            "SELECT body, path, request, response FROM mock_journal WHERE account = ? ORDER BY no DESC LIMIT ?",
            account,
            CAPACITY,
        )
        return tuple([rows.unpack_entry(row) for row in reversed(found)])

    def _schedule_journal(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_JOURNAL_EVERY, self._write_journal)

    def _write_journal(self) -> None:
        """Write what is waiting; what the file does not take is lost, since nobody can be told any more."""
        entries = self._shared.journals.take()
        if not entries or self._database is None:
            return
        database = self._database
        try:
            database.execute("BEGIN")
            database.executemany(
                "INSERT INTO mock_journal (account, body, path, request, response) VALUES (?, ?, ?, ?, ?)",
                [(account, *rows.pack_entry(entry)) for account, entry in entries],
            )
            for account, _ in entries:
                self._unpruned[account] = self._unpruned.get(account, 0) + 1
            for account in [each for each, count in self._unpruned.items() if count >= _PRUNE_AFTER]:
                database.execute(
                    "DELETE FROM mock_journal WHERE account = ?1 AND no <= "
                    "(SELECT no FROM mock_journal WHERE account = ?1 ORDER BY no DESC LIMIT 1 OFFSET ?2)",
                    (account, CAPACITY),
                )
                del self._unpruned[account]
            database.execute("COMMIT")
        except sqlite3.Error as error:
            if database.in_transaction:
                database.execute("ROLLBACK")
            if not self._is_journal_told:
                _log.warning("requests are missing in the journal: %s", _told(self._path, error))
            self._is_journal_told = True
        else:
            self._is_journal_told = False


_PRUNE_AFTER: Final = 250
"""Entries that a journal may hold beyond its capacity until the oldest are removed."""


class _SqliteRows:
    """See `Rows`. A transaction begins with the first change; what only reads needs none."""

    __slots__ = ("_database", "_path")

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database

    async def all(self, sql: str, *values: Any) -> list[Row]:
        try:
            return self._database.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._translated(error) from error

    async def run(self, sql: str, *values: Any) -> int:
        try:
            return self._database.execute(sql, values).rowcount
        except sqlite3.Error as error:
            raise self._translated(error) from error

    async def own(self, account: AccountId, held: Held) -> Held:
        self.begin()
        if held.number is None:
            await self.run("INSERT INTO mock_accounts (id, head) VALUES (?, ?)", account, rows.pack_head(held.head))
            (row,) = await self.all("SELECT no FROM mock_accounts WHERE id = ?", account)
            held.number = row[0]
        return held

    async def held(self, account: AccountId) -> Held:
        """The account's row; without a number where there is none."""
        found = await self.all("SELECT no, head, wake_at FROM mock_accounts WHERE id = ?", account)
        if not found:
            return Held(None, Head())
        number, head, wake_at = found[0]
        return Held(number, rows.unpack_head(head), wake_at)

    def begin(self) -> None:
        if not self._database.in_transaction:
            self._end("BEGIN")

    def commit(self) -> None:
        if self._database.in_transaction:
            self._end("COMMIT")

    def roll_back(self) -> None:
        """Undo what was done; where even that fails, the file undoes it when it is opened next."""
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    def _end(self, statement: str) -> None:
        try:
            self._database.execute(statement)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> Exception:
        """What is the file's or the disk's trouble as `StoreUnavailable`; a mistake of ours as it is."""
        is_ours = isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InterfaceError)
        return error if is_ours else StoreUnavailable(_told(self._path, error))


class _Unit:
    """A transaction as a context: see `Store`."""

    __slots__ = ("_account", "_heads", "_rows", "_shared", "_tx")

    def __init__(self, account: AccountId, rows_: _SqliteRows, heads: dict[AccountId, Held], shared: Shared) -> None:
        self._account = account
        self._rows = rows_
        self._heads = heads
        self._shared = shared

    async def __aenter__(self) -> SqlTransaction:
        # Taken away for as long as it may be changed: it is put back only as the file has it.
        held = self._heads.pop(self._account, None) or await self._rows.held(self._account)
        self._tx = SqlTransaction(self._account, self._rows, held, self._shared, is_owned=False)
        return self._tx

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, ApiError):
            self._rows.roll_back()
            return
        try:
            await self._tx.finish()
            self._rows.commit()
        except BaseException:
            self._rows.roll_back()
            raise
        if len(self._heads) >= _HEADS_KEPT:
            self._heads.clear()
        self._heads[self._account] = self._tx.held


def _told(path: Path, error: sqlite3.Error) -> str:
    """What went wrong with a file, and what to check."""
    advice = {
        "SQLITE_BUSY": "Another server uses it; stop that one, or give --store another file.",
        "SQLITE_CANTOPEN": "Is its folder there, and may it be written?",
        "SQLITE_FULL": "The disk is full; make room.",
        "SQLITE_NOTADB": "It is no SQLite file; give --store another one.",
        "SQLITE_READONLY": "It may not be written.",
    }
    name: str = getattr(error, "sqlite_errorname", "")
    hint = next((text for code, text in advice.items() if name.startswith(code)), "Check the file and its disk.")
    return f"{path} cannot be used: {error}. {hint}"
