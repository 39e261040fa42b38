"""A unit of work on an SQL database: how it begins, locks the account's row, and ends.

Databases differ in that, and in how statements get there: each store has its own `Connection`. The statements are the
same for all, with `?` for each value.
"""

# ruff: noqa: S608 - statements are put together from names that stand in this room; values go beside them

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self

from qashier_mock.core.account import AccountState
from qashier_mock.core.errors import ApiError
from qashier_mock.core.model import AccountId
from qashier_mock.stores import rows
from qashier_mock.stores.base import Transaction
from qashier_mock.stores.rows import Row

_TABLES: Final = ("sessions", "records", "events", "deliveries", "attempts", "unconfirmed", "ids")
"""Where an account has rows, besides its own and its journal."""

AT_ONCE: Final = 250
"""Rows that a long command reads, writes or deletes at once: some 5 ms where they have many indexes."""

READ_ACCOUNT: Final = "SELECT no, head, wake_at FROM mock_accounts WHERE id = ?"
ADD_ACCOUNT: Final = "INSERT INTO mock_accounts (id, head) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"


@dataclass(slots=True)
class AccountRow:
    """An account's own row."""

    number: int = 0  # 0: there is none
    head: str = rows.pack(AccountState())  # the state as the database has it
    wake_at: int | None = None  # when something is due: see `AccountState.wake_at`
    state: AccountState = field(default_factory=AccountState)

    @classmethod
    def of(cls, found: Sequence[Row], account: AccountId) -> AccountRow:
        """What `READ_ACCOUNT` found."""
        return rows.read(_unpack_account, found[0], account) if found else cls()


def _unpack_account(row: Row, _account: AccountId) -> AccountRow:
    number, head, wake_at = row
    return AccountRow(number, head, wake_at, rows.unpack(AccountState, head))


class Connection(AbstractAsyncContextManager["Connection"], Protocol):
    """A connection to a database, for as long as `async with` lasts; what was not committed then is undone.

    Attributes:
        suspends: Whether other tasks of this process run while a statement does.
    """

    suspends: bool

    async def run(self, sql: str, *values: Any) -> list[Row]:
        """Run a statement; return the rows that it finds or returns."""

    async def many(self, sql: str, values: Sequence[Row]) -> None:
        """Run a statement with each of the values."""

    async def begin(self) -> None:
        """Begin a transaction, unless there is one."""

    async def commit(self) -> None:
        """Commit the transaction, if there is one."""

    async def enter(self, account: AccountId, *, reading: bool, long: bool) -> tuple[AccountRow, bool]:
        """Begin a unit of work: the account's row, and whether it is locked. See `Store.transaction`."""

    async def lock(self, account: AccountId, row: AccountRow) -> AccountRow:
        """Begin a transaction and lock the account's row, which is made if there is none; `row` is as it was read."""

    async def leave(self, account: AccountId, row: AccountRow | None, kind: type[BaseException] | None) -> None:
        """End a unit of work; `row` is the account's as it was committed, None if nothing was. See `__aexit__`."""


@dataclass(slots=True, eq=False, repr=False)
class SqlUnit(Transaction):
    """One account's unit of work, but for what it reads and writes: that is `SqlTransaction`.

    A command that writes locks the account's own row first, so those on one account happen one after the other.
    """

    account: AccountId
    worker: int
    _connection: Connection
    _drop_journal: Callable[[AccountId], None]  # that still waits to be written
    _reading: bool
    _long: bool
    row: AccountRow = field(init=False)
    state: AccountState = field(init=False)
    _is_locked: bool = field(init=False)
    _is_due_known: bool = True  # else the state's `delivery_due` has to be found again
    _cleared: int = 0  # the number that the account had before it was cleared
    _writes: str = ""  # the statement that writes
    _waiting: list[Row] = field(default_factory=list)  # what is still to be written

    async def __aenter__(self) -> Self:
        # Without a lock the row is read again once something is to be changed.
        self.row, self._is_locked = await self._connection.enter(self.account, reading=self._reading, long=self._long)
        self.state = self.row.state
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        row = None
        try:
            if error is None or isinstance(error, ApiError):
                kind = None
                await self._flush()
                if self._cleared:
                    await self._end_clearing()
                await self._write_back()
                await self._connection.commit()
                row = self.row
        except BaseException as failure:
            kind = type(failure)
            raise
        finally:
            await self._connection.leave(self.account, row, kind)

    async def change(self) -> AccountState:
        if not self._is_locked:
            self.row = await self._connection.lock(self.account, self.row)
            self.state, self._is_locked = self.row.state, True
        return self.state

    async def _write_back(self) -> None:
        """Put the state into the account's row, if it has changed."""
        if not self._is_locked:
            return
        delivery_due, state, row = await self.next_delivery_due(), self.state, self.row
        wake_at, head = state.wake_at(state.deadline, delivery_due), rows.pack(state)
        if (head, wake_at) != (row.head, row.wake_at):
            mover = None if state.move is None else state.move.worker
            update = "UPDATE mock_accounts SET head = ?, wake_at = ?, mover = ? WHERE no = ?"
            await self._run(update, head, wake_at, mover, row.number)
            row.head, row.wake_at = head, wake_at

    # all that an account has

    async def clear(self) -> None:
        """See `Transaction.clear`.

        Where statements suspend, it is one transaction. Elsewhere it is many: what is written from here on stands under
        the negative of the account's number, and one commit makes that its number. A process that is killed before has
        done nothing, and one that is killed after it leaves rows that nobody finds until the next clearing.
        """
        state = await self.change()
        self.state = self.row.state = AccountState(drawn=state.drawn)
        self._cleared, self._is_due_known = self.row.number, True
        if not self._connection.suspends:
            self.row.number = -self._cleared
        await self._delete_all(_TABLES, self.row.number)

    async def _end_clearing(self) -> None:
        self._drop_journal(self.account)
        await self._run("DELETE FROM mock_journal WHERE account = ?", self.account)
        if self.row.number != self._cleared:
            await self._run("UPDATE mock_accounts SET no = -no WHERE no = ?", self._cleared)
            await self._write_back()
            await self._pause()
            await self._delete_all(_TABLES, self._cleared)

    async def _pause(self) -> None:
        """In a long command, let other tasks run; where statements do not suspend, commit before that."""
        if self._long and self._connection.suspends:
            await asyncio.sleep(0)
        elif self._long:
            await self._connection.commit()
            await asyncio.sleep(0)
            await self._connection.begin()

    # statements

    async def _write(self, sql: str, *values: Any) -> None:
        """Change rows of the account, together with others that the same statement changes."""
        if not self._is_locked:
            await self.change()
        if sql != self._writes or len(self._waiting) >= AT_ONCE:
            await self._flush()
            self._writes = sql
        self._waiting.append((self.row.number, *values))

    async def _flush(self) -> None:
        """Write what is still to be written."""
        values, self._waiting = self._waiting, []
        if len(values) == 1:
            await self._connection.run(self._writes, *values[0])
        elif values:
            await self._connection.many(self._writes, values)
            await self._pause()

    async def _delete_all(self, tables: Sequence[str], number: int) -> None:
        """Delete all rows of an account; where statements do not suspend, some at a time."""
        await self.change()
        for table in tables:
            if self._connection.suspends:
                await self._run(f"DELETE FROM mock_{table} WHERE account = ?", number)
                continue
            some = f"SELECT rowid FROM mock_{table} WHERE account = ? LIMIT {AT_ONCE}"
            while await self._run(f"DELETE FROM mock_{table} WHERE rowid IN ({some}) RETURNING 1", number):
                await self._pause()

    async def _all(self, sql: str, *values: Any) -> list[Row]:
        """What a statement finds whose first value is the number of the account."""
        return await self._run(sql, self.row.number, *values)

    async def _run(self, sql: str, *values: Any) -> list[Row]:
        """Carry out a statement, after what is still to be written; the rows that it finds or returns."""
        if self._waiting:
            await self._flush()
        return await self._connection.run(sql, *values)
