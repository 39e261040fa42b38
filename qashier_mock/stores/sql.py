"""What a unit of work on an SQL database finds and keeps: all statements on one account, alike for each database."""

# ruff: noqa: S608 - statements are put together from names that stand in this room; values go beside them

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any, Final, TypeVar

from qashier_mock.core.delivery import Attempt, Delivery
from qashier_mock.core.idempotency import IdempotencyRecord
from qashier_mock.core.model import CheckoutSession, Event, Status
from qashier_mock.core.paging import Interval
from qashier_mock.stores import rows
from qashier_mock.stores.base import ATTEMPTS_KEPT, FORGOTTEN_AT_ONCE
from qashier_mock.stores.database import AT_ONCE, SqlUnit
from qashier_mock.stores.rows import SESSION, Unpack

T = TypeVar("T")

_PRUNE_EVERY: Final = 100
"""Attempts that are added before those that are too many are removed."""

# The last columns of a query say in which order `_slices` goes through what it finds.
_JOINED: Final = ", ".join(f"s.{column}" for column in SESSION.split(", "))
_SESSIONS: Final = f"SELECT {SESSION} FROM mock_sessions WHERE account = ?"
_RECORDS: Final = (
    f"SELECT {_JOINED}, r.key, r.fingerprint, r.answered_at, r.status, r.payment_status, r.answered_at, r.place "
    "FROM mock_records r JOIN mock_sessions s ON s.id = r.session_id AND s.account = r.account WHERE r.account = ?"
)
_EVENTS: Final = (
    f"SELECT {_JOINED}, e.id, e.type, e.body, e.place "
    "FROM mock_events e JOIN mock_sessions s ON s.id = e.session_id AND s.account = e.account WHERE e.account = ?"
)
_DELIVERIES: Final = "SELECT body, due, id FROM mock_deliveries WHERE account = ?"

_FIRST_OPEN: Final = " AND status = 'open' ORDER BY expires_at, sequence LIMIT 1"


def _insertion(table: str, columns: str, *, replacing: str | None = None) -> str:
    """A statement that adds a row of an account, in the place of the one that has the same `replacing`."""
    names = columns.split(", ")
    sql = f"INSERT INTO mock_{table} (account, {columns}) VALUES (?{', ?' * len(names)})"
    if replacing is None:
        return sql
    changes = ", ".join(f"{each} = excluded.{each}" for each in names)
    return f"{sql} ON CONFLICT (account, {replacing}) DO UPDATE SET {changes}"


_ADD_SESSION: Final = _insertion("sessions", SESSION)
_PUT_RECORD: Final = _insertion(
    "records", "key, place, fingerprint, session_id, status, payment_status, answered_at", replacing="key"
)
_ADD_EVENT: Final = _insertion("events", "id, place, type, session_id, body")
_PUT_DELIVERY: Final = _insertion("deliveries", "id, endpoint_id, due, is_held, worker, body", replacing="id")
_ADD_ATTEMPT: Final = _insertion("attempts", "place, body")
_NOTE_UNCONFIRMED: Final = _insertion("unconfirmed", "session_id", replacing="session_id")
_HOLD: Final = _insertion("ids", "id", replacing="id")
_RESERVE: Final = (
    "INSERT INTO mock_reserved (account, id) VALUES (abs(?), ?) "
    "ON CONFLICT (id) DO UPDATE SET account = excluded.account"
)


class SqlTransaction(SqlUnit):
    """See `Transaction`, in whose order it is."""

    __slots__ = ()

    async def session(self, session_id: str) -> CheckoutSession | None:
        return await self._first(rows.unpack_session, f"{_SESSIONS} AND id = ?", rows.as_text(session_id))

    async def add_session(self, session: CheckoutSession) -> None:
        await self._write(_ADD_SESSION, *rows.pack_session(session))
        (await self.change()).note_session(session)

    async def replace_session(self, before: CheckoutSession, session: CheckoutSession) -> None:
        state = await self.change()
        changed = await self._run(
            "UPDATE mock_sessions SET status = ?, payment_status = ? WHERE account = ? AND id = ? AND status = ? "
            "RETURNING id",
            *(session.status.value, session.payment_status.value),
            *(self.row.number, session.id, before.status.value),
        )
        if not changed:
            raise RuntimeError(f"session {session.id} is no longer {before.status}, although its account is locked")
        if before.is_open and not session.is_open and state.deadline == session.expires_at:
            state.deadline = await self._one(f"SELECT expires_at FROM mock_sessions WHERE account = ?{_FIRST_OPEN}")

    async def overdue(self, now: int) -> CheckoutSession | None:
        for _ in range(2):  # without a lock first, and then as things stand with one
            if self.state.deadline is None or self.state.deadline > now:
                return None
            await self.change()
        return await self._first(rows.unpack_session, _SESSIONS + _FIRST_OPEN)

    async def _walk(self, interval: Interval, status: Status | None, limit: int) -> Sequence[CheckoutSession]:
        of_status, value = ("", ()) if status is None else (" AND status = ?", (status.value,))
        order = "DESC" if interval.newest_first else "ASC"
        sql = f"{_SESSIONS} AND sequence >= ? AND sequence < ?{of_status} ORDER BY sequence {order} LIMIT ?"
        return await self._every(rows.unpack_session, sql, interval.first, interval.end, *value, limit)

    async def _first_since(self, created: int) -> int:
        later = "SELECT sequence FROM mock_sessions WHERE account = ? AND created >= ?"
        found = await self._one(f"{later} ORDER BY created, sequence LIMIT 1", created)
        return self.state.sessions if found is None else found

    async def sessions(self) -> Sequence[CheckoutSession]:
        return await self._slices(rows.unpack_session, _SESSIONS, "sequence")

    async def recall(self, key: str) -> IdempotencyRecord | None:
        return await self._first(rows.unpack_record, f"{_RECORDS} AND r.key = ?", key)

    async def remember(self, record: IdempotencyRecord) -> None:
        state, session = await self.change(), record.session
        await self._write(
            _PUT_RECORD,
            *(record.key, state.ticks, record.fingerprint),
            *(session.id, session.status.value, session.payment_status.value, record.answered_at),
        )
        state.ticks += 1
        if state.oldest_answer is None or record.answered_at < state.oldest_answer:
            state.oldest_answer = record.answered_at

    async def forget(self, until: int) -> None:
        if self.state.oldest_answer is None or self.state.oldest_answer > until:
            return
        state = await self.change()
        some = f"SELECT key FROM mock_records WHERE account = ? AND answered_at <= ? LIMIT {FORGOTTEN_AT_ONCE}"
        await self._write(f"DELETE FROM mock_records WHERE account = ? AND key IN ({some})", self.row.number, until)
        oldest = "SELECT answered_at FROM mock_records WHERE account = ? ORDER BY answered_at LIMIT 1"
        state.oldest_answer = await self._one(oldest)

    async def records(self) -> Sequence[IdempotencyRecord]:
        return await self._slices(rows.unpack_record, _RECORDS, "r.answered_at, r.place")

    async def add_event(self, event: Event) -> None:
        state = await self.change()
        values = (event.id, state.ticks, event.type.value, event.session.id, rows.pack_event(event))
        await self._write(_ADD_EVENT, *values)
        state.ticks += 1

    async def event(self, event_id: str) -> Event | None:
        return await self._first(rows.unpack_event, f"{_EVENTS} AND e.id = ?", rows.as_text(event_id))

    async def first_event(self) -> Event | None:
        return await self._first(rows.unpack_event, f"{_EVENTS} ORDER BY e.place LIMIT 1")

    async def events(self, *, session_id: str | None = None) -> Sequence[Event]:
        of_session, value = ("", ()) if session_id is None else (" AND e.session_id = ?", (rows.as_text(session_id),))
        return await self._slices(rows.unpack_event, _EVENTS + of_session, "e.place", *value)

    async def put_delivery(self, delivery: Delivery) -> None:
        values = (delivery.id, delivery.endpoint_id, delivery.due, int(delivery.is_held), None, rows.pack(delivery))
        await self._write(_PUT_DELIVERY, *values)
        self._is_due_known = False

    async def remove_delivery(self, delivery_id: str) -> None:
        await self._write("DELETE FROM mock_deliveries WHERE account = ? AND id = ?", delivery_id)
        self._is_due_known = False

    async def remove_deliveries(self, endpoint_id: str) -> None:
        await self._write("DELETE FROM mock_deliveries WHERE account = ? AND endpoint_id = ?", endpoint_id)
        self._is_due_known = False

    async def claim_deliveries(self, now: int, limit: int) -> Sequence[Delivery]:
        await self.change()
        due = await self.next_delivery_due()
        if due is None or due > now:
            return ()
        self._is_due_known = False
        found = await self._run(
            "UPDATE mock_deliveries SET worker = ? WHERE account = ? AND id IN (SELECT id FROM mock_deliveries "
            "WHERE account = ? AND worker IS NULL AND due <= ? ORDER BY due, id LIMIT ?) RETURNING body",
            *(self.worker, self.row.number, self.row.number, now, limit),
        )
        return sorted(self._read(rows.unpack_delivery, found), key=attrgetter("due", "id"))

    async def is_claimed(self, delivery_id: str) -> bool | None:
        found = await self._all("SELECT worker FROM mock_deliveries WHERE account = ? AND id = ?", delivery_id)
        return found[0][0] == self.worker if found else None

    async def is_attempted_elsewhere(self) -> bool:
        sql = "SELECT 1 FROM mock_deliveries WHERE account = ? AND worker IS NOT NULL AND worker <> ? LIMIT 1"
        return bool(await self._all(sql, self.worker))

    async def next_delivery_due(self) -> int | None:
        if not self._is_due_known:
            sql = "SELECT due FROM mock_deliveries WHERE account = ? AND worker IS NULL ORDER BY due, id LIMIT 1"
            (await self.change()).delivery_due = await self._one(sql)
            self._is_due_known = True
        return self.state.delivery_due

    async def held_deliveries(self, endpoint_id: str) -> Sequence[Delivery]:
        sql = f"{_DELIVERIES} AND endpoint_id = ? AND is_held = 1 AND worker IS NULL ORDER BY due, id"
        return await self._every(rows.unpack_delivery, sql, endpoint_id)

    async def pending_deliveries(self) -> Sequence[Delivery]:
        return await self._slices(rows.unpack_delivery, _DELIVERIES, "due, id")

    async def release(self, worker: int) -> None:
        """Release what a process that is gone has claimed of this account."""
        state = await self.change()
        await self._write("UPDATE mock_deliveries SET worker = NULL WHERE account = ? AND worker = ?", worker)
        self._is_due_known = False
        if state.move is not None and state.move.worker == worker:
            state.move.worker = None

    async def add_attempt(self, attempt: Attempt) -> None:
        state = await self.change()
        await self._write(_ADD_ATTEMPT, state.attempts, rows.pack(attempt))
        state.attempts += 1
        if state.attempts % _PRUNE_EVERY == 0:
            too_old = "DELETE FROM mock_attempts WHERE account = ? AND place < ?"
            await self._write(too_old, state.attempts - ATTEMPTS_KEPT)

    async def attempts(self, *, after: int = 0) -> Sequence[Attempt]:
        sql = "SELECT body, place FROM mock_attempts WHERE account = ? AND place >= ?"
        return await self._slices(rows.unpack_attempt, sql, "place", max(after, self.state.attempts - ATTEMPTS_KEPT))

    async def unconfirmed(self) -> Collection[str]:
        sql = "SELECT session_id FROM mock_unconfirmed WHERE account = ?"
        return await self._slices(lambda row, _account: str(row[0]), sql, "session_id")

    async def set_unconfirmed(self, session_id: str, *, unconfirmed: bool) -> None:
        if unconfirmed:
            await self._write(_NOTE_UNCONFIRMED, session_id)
        elif await self._all("SELECT 1 FROM mock_unconfirmed WHERE account = ? AND session_id = ?", session_id):
            await self._write("DELETE FROM mock_unconfirmed WHERE account = ? AND session_id = ?", session_id)

    async def hold(self, ids: Collection[str]) -> None:
        for each in ids:
            await self._write(_HOLD, each)

    async def free(self, ids: Collection[str]) -> None:
        for each in ids:
            await self._write("DELETE FROM mock_ids WHERE account = ? AND id = ?", each)

    async def reserve(self, ids: Collection[str]) -> str | None:
        await self.change()
        # Whoever else is at this point waits until this transaction has ended, and sees then what it has done.
        await self._run("INSERT INTO mock_under_way (account, key) VALUES ('', 'reserve')")
        await self._run("DELETE FROM mock_under_way WHERE account = '' AND key = 'reserve'")
        wanted = list(ids)
        for chunk in [wanted[begin : begin + AT_ONCE] for begin in range(0, len(wanted), AT_ONCE)]:
            # What a long command that was cut off has left has no account.
            are_they = f"account <> ? AND id IN ({_marks(chunk)}) AND account IN (SELECT no FROM mock_accounts)"
            tables = ("sessions", "events", "deliveries", "ids")
            find = " UNION ".join(f"SELECT id FROM mock_{table} WHERE {are_they}" for table in tables)
            foreign = {each for (each,) in await self._run(find, *(self.row.number, *chunk) * len(tables))}
            if foreign:
                return next(each for each in chunk if each in foreign)
            await self._pause()
        await self._delete_all(["reserved"], abs(self.row.number))
        for each in wanted:
            await self._write(_RESERVE, each)
        return None

    async def is_taken(self, object_id: str) -> bool:
        sql = "SELECT 1 FROM mock_sessions WHERE id = ? UNION ALL SELECT 1 FROM mock_reserved WHERE id = ?"
        return bool(await self._run(sql, object_id, object_id))

    # what queries find

    async def _slices(self, unpack: Unpack[T], sql: str, by: str, *values: Any) -> Sequence[T]:
        """All that a query finds; a long command lets others have their turn meanwhile.

        The query goes as far as its condition. `by` names its last columns: they order the rows, no two alike.
        """
        if not self._long:
            return await self._every(unpack, f"{sql} ORDER BY {by}", *values)
        found: list[T] = []
        last: rows.Row = ()
        while True:
            beyond = f" AND ({by}) > ({_marks(last)})" if last else ""
            some = await self._all(f"{sql}{beyond} ORDER BY {by} LIMIT {AT_ONCE}", *values, *last)
            found += self._read(unpack, some)
            if len(some) < AT_ONCE:
                return tuple(found)
            last = some[-1][-len(by.split(", ")) :]
            await asyncio.sleep(0)

    async def _every(self, unpack: Unpack[T], sql: str, *values: Any) -> Sequence[T]:
        return tuple(self._read(unpack, await self._all(sql, *values)))

    async def _first(self, unpack: Unpack[T], sql: str, *values: Any) -> T | None:
        found = await self._all(sql, *values)
        return rows.read(unpack, found[0], self.account) if found else None

    def _read(self, unpack: Unpack[T], found: Sequence[rows.Row]) -> list[T]:
        return [rows.read(unpack, row, self.account) for row in found]

    async def _one(self, sql: str, *values: Any) -> int | None:
        """The one number that a query finds, or None."""
        found = await self._all(sql, *values)
        return found[0][0] if found else None


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
