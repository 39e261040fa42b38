"""What every store on an SQL database does in the same way: who works on it, and what is due.

Each process registers as a worker. When one dies, the next that notices releases what that one had claimed: deliveries
under way, a clock on the move.
"""

# ruff: noqa: S608 - statements are put together from names that stand in this room; values go beside them

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final

from qashier_mock.core.journal import CAPACITY, JournalEntry
from qashier_mock.core.model import AccountId
from qashier_mock.stores import rows
from qashier_mock.stores.base import DUE_AT_ONCE, Store
from qashier_mock.stores.database import Connection
from qashier_mock.stores.journals import Journals
from qashier_mock.stores.sql import SqlTransaction

_HANDED_OUT_FOR: Final = 5
"""Seconds until an account is due again that was handed out as due and not seen to."""

_CLAIMED_BY: Final = (
    "SELECT id FROM mock_accounts WHERE mover = ? UNION "
    "SELECT a.id FROM mock_deliveries d JOIN mock_accounts a ON a.no = d.account WHERE d.worker = ?"
)


class SqlStore(Store):
    """Every account, in a database: see `Store`."""

    look_every = 1.0
    skipping_locked = ""
    """The end of a query that locks the rows it finds, and leaves out those that others have locked."""

    def __init__(self) -> None:
        self.worker = 0
        self._journals = Journals(self.connection)

    @abstractmethod
    def connection(self, account: AccountId | None = None, *, key: str | None = None) -> Connection:
        """A connection. None other of this process writes to `account` meanwhile, or has `key` under way."""

    def transaction(
        self, account: AccountId, *, reading: bool = False, long: bool = False, key: str | None = None
    ) -> SqlTransaction:
        connection = self.connection(None if reading else account, key=key)
        return SqlTransaction(account, self.worker, connection, self._journals.drop, reading, long)

    # workers

    async def _register(self, lease: str) -> None:
        """Say that this process works on the database, until `lease`, an expression of the database's clock."""
        async with self.connection() as connection:
            ((worker,),) = await connection.run(f"INSERT INTO mock_workers (alive_until) VALUES ({lease}) RETURNING no")
        self.worker = worker
        self.incarnation = str(worker)

    async def release_workers(self, which: str) -> None:
        """Release what some workers have claimed, and forget them; `which` is a condition on `mock_workers`."""
        async with self.connection() as connection:
            found = await connection.run(f"SELECT no FROM mock_workers WHERE {which}")
            claimed = [(worker, await connection.run(_CLAIMED_BY, worker, worker)) for (worker,) in found]
        for worker, accounts in claimed:
            for (account,) in accounts:
                async with self.transaction(AccountId(account)) as tx:
                    await tx.release(worker)
            async with self.connection() as connection:
                await connection.run("DELETE FROM mock_workers WHERE no = ?", worker)

    # questions about all accounts

    async def owner(self, session_id: str) -> AccountId | None:
        sql = "SELECT a.id FROM mock_sessions s JOIN mock_accounts a ON a.no = s.account WHERE s.id = ?"
        async with self.connection() as connection:
            found = await connection.run(sql, rows.as_text(session_id))
        return AccountId(found[0][0]) if found else None

    async def accounts(self) -> Sequence[AccountId]:
        async with self.connection() as connection:
            return [
                AccountId(account)
                for (account,) in await connection.run("SELECT id FROM mock_accounts ORDER BY abs(no)")
            ]

    async def due_accounts(self, machine_now: int) -> Mapping[AccountId, int]:
        async with self.connection() as connection:
            found = await connection.run(
                "UPDATE mock_accounts SET wake_at = ? WHERE no IN (SELECT no FROM mock_accounts WHERE wake_at <= ? "
                f"ORDER BY wake_at LIMIT ? {self.skipping_locked}) RETURNING id",
                machine_now + _HANDED_OUT_FOR,
                machine_now,
                DUE_AT_ONCE,
            )
        return {AccountId(account): machine_now for (account,) in found}

    # the journals

    def record(self, account: AccountId, entry: JournalEntry) -> None:
        self._journals.add(account, entry)

    async def journal(self, account: AccountId, *, most: int = CAPACITY) -> Sequence[JournalEntry]:
        return await self._journals.read(account, most)
