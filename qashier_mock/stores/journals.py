"""The journals in a database. They are written a little later, so that no request waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from qashier_mock.core.journal import CAPACITY, JournalEntry
from qashier_mock.core.model import AccountId
from qashier_mock.stores import rows
from qashier_mock.stores.base import StoreUnavailable
from qashier_mock.stores.database import Connection

_log = logging.getLogger(__name__)

_WRITE_EVERY: Final = 0.1
"""Seconds at most until a request is written to its journal."""

_WRITE_AGAIN_AFTER: Final = 1.0
"""Seconds until the next try, where the store could not be used."""

_MOST_WAITING: Final = 10_000
"""Requests that wait to be written, at most."""

_PRUNE_AFTER: Final = 250
"""Entries beyond its capacity that a journal may hold before the oldest are removed."""

_COUNTED: Final = 2_000
"""Journals whose growth is counted. Beyond that, the one that was written to longest ago is cut to its capacity, and
dropped where the account has nothing else: ever new keys must not fill the disk."""

_DROP: Final = "DELETE FROM mock_journal WHERE account = ? AND NOT EXISTS (SELECT 1 FROM mock_accounts WHERE id = ?)"
_CUT: Final = (
    "DELETE FROM mock_journal WHERE account = ? AND no <= "
    "(SELECT no FROM mock_journal WHERE account = ? ORDER BY no DESC LIMIT 1 OFFSET ?)"
)
_INSERT: Final = "INSERT INTO mock_journal (account, body, path, request, response) VALUES (?, ?, ?, ?, ?)"
_SELECT: Final = "SELECT body, path, request, response FROM mock_journal WHERE account = ? ORDER BY no DESC LIMIT ?"


class Journals:
    """The journals of all accounts."""

    def __init__(self, connection: Callable[[], Connection]) -> None:
        self._connect = connection
        self._waiting: list[tuple[AccountId, JournalEntry]] = []
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._is_failing = False
        self._unpruned: dict[AccountId, int] = {}  # entries since a journal was last cut to its capacity

    def add(self, account: AccountId, entry: JournalEntry) -> None:
        """Have an entry written. When too many wait, the oldest is dropped."""
        self._waiting.append((account, entry))
        if len(self._waiting) > _MOST_WAITING:
            del self._waiting[0]
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write_later())

    def drop(self, account: AccountId) -> None:
        """Drop what waits of an account."""
        self._waiting = [each for each in self._waiting if each[0] != account]

    async def read(self, account: AccountId, most: int) -> Sequence[JournalEntry]:
        """See `Store.journal`."""
        await self._flush()
        async with self._connect() as connection:
            found = await connection.run(_SELECT, account, most)
        return rows.read(rows.unpack_entry, reversed(found), account)

    async def close(self) -> None:
        """Write all that waits, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        try:
            await self._flush()
        except StoreUnavailable as error:
            _log.warning("the store is gone before it was closed, and requests are missing in the journal: %s", error)

    async def _write_later(self) -> None:
        while self._waiting:
            await asyncio.sleep(_WRITE_AGAIN_AFTER if self._is_failing else _WRITE_EVERY)
            try:
                await self._flush()
            except StoreUnavailable as error:
                if not self._is_failing:
                    _log.warning("requests are missing in the journal until the store can be used again: %s", error)
                self._is_failing = True
            except Exception:  # noqa: BLE001 - a request that cannot be written must not keep the next from it
                _log.exception("requests are missing in the journal")

    async def _flush(self) -> None:
        """Write all that waits. A second caller waits for what the first one is writing."""
        async with self._turn:
            entries, self._waiting = self._waiting, []
            if not entries:
                return
            try:
                await self._write(entries)
            except (StoreUnavailable, asyncio.CancelledError):  # the latter when the store is closed
                self._waiting = [*entries, *self._waiting][-_MOST_WAITING:]
                raise
            self._is_failing = False

    async def _write(self, entries: Sequence[tuple[AccountId, JournalEntry]]) -> None:
        async with self._connect() as connection:
            await connection.begin()
            await connection.many(_INSERT, [(account, *rows.pack_entry(entry)) for account, entry in entries])
            await self._prune([account for account, _ in entries], connection)
            await connection.commit()

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
