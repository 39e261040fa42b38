"""What every store on an SQL database does in the same way: who works on it, what is due, and the journals.

Each process registers as a worker. When one dies, the next that notices releases what that one had claimed: deliveries
under way, a clock on the move. Journals are written a little later, so that no request waits for it.
"""

# ruff: noqa: S608 - statements are put together from names that stand in this room; values go beside them

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from qashier_mock.core.journal import CAPACITY, JournalEntry
from qashier_mock.core.model import AccountId
from qashier_mock.stores import rows
from qashier_mock.stores.base import DUE_AT_ONCE, Store, StoreUnavailable
from qashier_mock.stores.database import Connection
from qashier_mock.stores.sql import SqlTransaction

_log = logging.getLogger(__name__)

_HANDED_OUT_FOR: Final = 5
"""Seconds until an account is due again that was handed out as due and not seen to."""

_WRITE_EVERY: Final = 0.1
"""Seconds at most until a request is written to its journal."""

_WRITE_AGAIN_AFTER: Final = 1.0
"""Seconds until the next try, where the store could not be used."""

_MOST_WAITING: Final = 10_000
"""Requests that wait to be written, at most."""

_PRUNE_AFTER: Final = 250
"""Entries beyond its capacity that a journal may hold before the oldest are removed."""

_COUNTED: Final = 2_000
"""Journals whose growth is counted. Beyond that, the one that was written to longest ago is cut, and dropped where the
account has nothing else: ever new keys must not fill the disk."""

_OWNER: Final = "SELECT a.id FROM mock_sessions s JOIN mock_accounts a ON a.no = s.account WHERE s.id = ?"
_CLAIMED_BY: Final = (
    "SELECT id FROM mock_accounts WHERE mover = ? UNION "
    "SELECT a.id FROM mock_deliveries d JOIN mock_accounts a ON a.no = d.account WHERE d.worker = ?"
)
_READ: Final = "SELECT body, path, request, response FROM mock_journal WHERE account = ? ORDER BY no DESC LIMIT ?"
_WRITE: Final = "INSERT INTO mock_journal (account, body, path, request, response) VALUES (?, ?, ?, ?, ?)"
_CUT: Final = (
    "DELETE FROM mock_journal WHERE account = ? AND no <= "
    "(SELECT no FROM mock_journal WHERE account = ? ORDER BY no DESC LIMIT 1 OFFSET ?)"
)
_DROP: Final = "DELETE FROM mock_journal WHERE account = ? AND NOT EXISTS (SELECT 1 FROM mock_accounts WHERE id = ?)"


class SqlStore(Store):
    """Every account, in a database: see `Store`."""

    look_every = 1.0
    skipping_locked = ""
    """The end of a query that locks the rows it finds, and leaves out those that others have locked."""

    def __init__(self) -> None:
        self.worker = 0
        self._requests: deque[tuple[AccountId, JournalEntry]] = deque(maxlen=_MOST_WAITING)  # that are to be written
        self._writing: asyncio.Task[None] | None = None
        self._write_lock = asyncio.Lock()
        self._unpruned: dict[AccountId, int] = {}  # requests since a journal was last cut to its capacity

    @abstractmethod
    def connection(self, account: AccountId | None = None, *, key: str | None = None) -> Connection:
        """A connection. None other of this process writes to `account` meanwhile, or has `key` under way."""

    def transaction(
        self, account: AccountId, *, reading: bool = False, long: bool = False, key: str | None = None
    ) -> SqlTransaction:
        connection = self.connection(None if reading else account, key=key)
        return SqlTransaction(account, self.worker, connection, self._drop_requests, reading, long)

    # workers

    async def _register(self, lease: str) -> None:
        """Say that this process works on the database, until `lease`, an expression of the database's clock."""
        ((self.worker,),) = await self._run(f"INSERT INTO mock_workers (alive_until) VALUES ({lease}) RETURNING no")
        self.incarnation = str(self.worker)

    async def release_workers(self, which: str) -> None:
        """Release what some workers have claimed, and forget them; `which` is a condition on `mock_workers`."""
        for (worker,) in await self._run(f"SELECT no FROM mock_workers WHERE {which}"):
            for (account,) in await self._run(_CLAIMED_BY, worker, worker):
                async with self.transaction(AccountId(account)) as tx:
                    await tx.release(worker)
            await self._run("DELETE FROM mock_workers WHERE no = ?", worker)

    # questions about all accounts

    async def owner(self, session_id: str) -> AccountId | None:
        found = await self._run(_OWNER, rows.as_text(session_id))
        return AccountId(found[0][0]) if found else None

    async def accounts(self) -> Sequence[AccountId]:
        return [AccountId(each) for (each,) in await self._run("SELECT id FROM mock_accounts ORDER BY abs(no)")]

    async def due_accounts(self, machine_now: int) -> Mapping[AccountId, int]:
        found = await self._run(
            "UPDATE mock_accounts SET wake_at = ? WHERE no IN (SELECT no FROM mock_accounts WHERE wake_at <= ? "
            f"ORDER BY wake_at LIMIT ? {self.skipping_locked}) RETURNING id",
            *(machine_now + _HANDED_OUT_FOR, machine_now, DUE_AT_ONCE),
        )
        return {AccountId(account): machine_now for (account,) in found}

    async def _run(self, sql: str, *values: Any) -> list[rows.Row]:
        """Run a statement that is a transaction of its own."""
        async with self.connection() as connection:
            return await connection.run(sql, *values)

    # the journals

    def record(self, account: AccountId, entry: JournalEntry) -> None:
        self._requests.append((account, entry))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write_later())

    async def journal(self, account: AccountId, *, most: int = CAPACITY) -> Sequence[JournalEntry]:
        await self._write_requests()
        found = await self._run(_READ, account, most)
        return tuple([rows.read(rows.unpack_entry, row, account) for row in reversed(found)])

    def _drop_requests(self, account: AccountId) -> None:
        self._requests = deque([each for each in self._requests if each[0] != account], _MOST_WAITING)

    async def _end_journals(self) -> None:
        """Write all that waits, and stop."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
            self._writing = None
        try:
            await self._write_requests()
        except StoreUnavailable as error:
            _log.warning("the store is gone before it was closed, and requests are missing in the journal: %s", error)

    async def _write_later(self) -> None:
        delay = _WRITE_EVERY
        while self._requests:
            await asyncio.sleep(delay)
            try:
                await self._write_requests()
                delay = _WRITE_EVERY
            except StoreUnavailable as error:
                if delay != _WRITE_AGAIN_AFTER:
                    _log.warning("requests are missing in the journal until the store can be used again: %s", error)
                delay = _WRITE_AGAIN_AFTER
            except Exception:  # noqa: BLE001 - a request that cannot be written must not keep the next from it
                _log.exception("requests are missing in the journal")

    async def _write_requests(self) -> None:
        """Write all that waits. A second caller waits for what the first one is writing."""
        async with self._write_lock:
            written = [*self._requests]
            if not written:
                return
            self._requests.clear()
            try:
                async with self.connection() as connection:
                    await connection.begin()
                    await connection.many(_WRITE, [(account, *rows.pack_entry(entry)) for account, entry in written])
                    await self._prune([account for account, _ in written], connection)
                    await connection.commit()
            except (StoreUnavailable, asyncio.CancelledError):  # the latter when the store is closed
                self._requests = deque([*written, *self._requests], _MOST_WAITING)
                raise

    async def _prune(self, written: Sequence[AccountId], connection: Connection) -> None:
        for account in written:
            self._unpruned[account] = self._unpruned.pop(account, 0) + 1
        beyond = list(self._unpruned)[: max(0, len(self._unpruned) - _COUNTED)]
        grown = [each for each, count in self._unpruned.items() if count >= _PRUNE_AFTER]
        for account in {*grown, *beyond}:
            if account in beyond:
                await connection.run(_DROP, account, account)
            await connection.run(_CUT, account, account, CAPACITY)
            del self._unpruned[account]
