"""What units of work on an SQL database need: the account's row, a way in, and what those of a store share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from qashier_mock.core.advice import PollWatch
from qashier_mock.core.model import AccountId
from qashier_mock.stores import rows
from qashier_mock.stores.journals import JournalWriter
from qashier_mock.stores.rows import Row
from qashier_mock.stores.state import AccountState

READ_ACCOUNT: Final = "SELECT no, head, wake_at FROM mock_accounts WHERE id = ?"


@dataclass(slots=True)
class AccountRow:
    """An account's own row: its number, its state, and when the row says that it has something due."""

    number: int | None = None
    state: AccountState = field(default_factory=AccountState)
    wake_at: int | None = None

    @classmethod
    def of(cls, found: Sequence[Row]) -> AccountRow:
        """What `READ_ACCOUNT` found; without a number where that is nothing."""
        if not found:
            return cls()
        ((number, head, wake_at),) = found
        return cls(number, rows.unpack_state(head), wake_at)


class Rows(Protocol):
    """How statements get to a database."""

    async def all(self, sql: str, *values: Any) -> list[Row]:
        """The rows that a query finds."""

    async def run(self, sql: str, *values: Any) -> int:
        """Change rows; how many."""

    async def many(self, sql: str, values: Sequence[Row]) -> None:
        """Run a statement with each of the values."""

    async def begin(self) -> None:
        """Begin a transaction, unless there is one."""

    async def commit(self) -> None:
        """End the transaction, if there is one."""

    async def enter(self, account: AccountId, *, reading: bool) -> tuple[AccountRow, bool]:
        """Begin a unit of work: the account's row, and whether it is locked."""

    async def lock(self, account: AccountId, row: AccountRow) -> AccountRow:
        """Begin a transaction, and lock the account's row, which is made if there is none.

        Returns:
            The row as it is then; `row` is how it was read before.
        """

    async def leave(self, account: AccountId, row: AccountRow | None, *, is_sound: bool) -> None:
        """End a unit of work: undo what was not committed, and give back what it was done with.

        Args:
            account: Whose unit of work it was.
            row: The account's row as it was committed, None if nothing was.
            is_sound: What failed, if anything did, was a command and not the way it got here.
        """


@dataclass(slots=True)
class Shared:
    """What all units of work of a store have in common.

    Attributes:
        journals: What is still to be written to the journals.
        worker: This process, as the store numbers those that work on it.
        polls: Watches over polling, which need not outlive the process.
    """

    journals: JournalWriter
    worker: int = 0
    polls: dict[AccountId, PollWatch] = field(default_factory=dict)
