"""One account's unit of work on an SQL database, whichever it is.

A database differs from another in how statements get there, how a row is locked and how a transaction ends. All of
that is `Rows` (`database.py`), which each store implements; the statements are the same, with `?` for each value.

Nearly every command needs the account's own row, and a command that writes locks that row first: commands on one
account happen one after the other, commands on others beside it.
"""

# ruff: noqa: S608 - statements are put together from names that stand in this room; values go beside them

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from qashier_mock.core.advice import PollWatch
from qashier_mock.core.delivery import Attempt, Delivery
from qashier_mock.core.idempotency import IdempotencyRecord
from qashier_mock.core.model import AccountId, CheckoutSession, Event, EventType, Profile, Status
from qashier_mock.core.paging import Interval, ListQuery, Page, take
from qashier_mock.stores import rows
from qashier_mock.stores.base import ATTEMPTS_KEPT, Transaction
from qashier_mock.stores.database import AccountRow, Rows, Shared
from qashier_mock.stores.rows import SESSION, Row
from qashier_mock.stores.state import AccountState

_CHUNK: Final = 500
"""Values that one statement lists at most."""

_PRUNE_EVERY: Final = 100
"""Attempts that are added before those that are too many are removed."""

_POLLS_KEPT: Final = 10_000
"""Accounts whose polling is watched."""

_JOINED: Final = ", ".join(f"s.{column}" for column in SESSION.split(", "))

_RECORDS: Final = (
    f"SELECT {_JOINED}, r.key, r.fingerprint, r.answered_at, r.status, r.payment_status FROM mock_records r "
    "JOIN mock_sessions s ON s.id = r.session_id WHERE r.account = ?"
)

_EVENTS: Final = (
    f"SELECT {_JOINED}, e.id, e.type, e.body FROM mock_events e JOIN mock_sessions s ON s.id = e.session_id "
    "WHERE e.account = ?"
)

_INSERT_SESSION: Final = f"INSERT INTO mock_sessions (account, {SESSION}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

_FIRST_OPEN: Final = "FROM mock_sessions WHERE account = ? AND status = 'open' ORDER BY expires_at, sequence LIMIT 1"


class SqlTransaction(Transaction):
    """See `Transaction`."""

    __slots__ = (
        "_is_changed",
        "_is_due_known",
        "_is_locked",
        "_rows",
        "_seen",
        "_shared",
        "account",
        "row",
        "state",
        "worker",
    )

    def __init__(self, account: AccountId, rows_: Rows, row: AccountRow, shared: Shared, *, is_locked: bool) -> None:
        """Work on `account`.

        Args:
            account: Whose.
            rows_: How to get at the database.
            row: The account's row, as it was read.
            shared: Of the store.
            is_locked: The row is locked; else it is read again once something is to be changed.
        """
        self.account = account
        self.worker = shared.worker
        self.row = row
        self.state = row.state
        self._rows = rows_
        self._shared = shared
        self._is_locked = is_locked
        self._is_changed = False
        self._is_due_known = True  # else the state's `delivery_due` has to be found again
        self._seen: dict[str, str] = {}  # the status that a session was read with

    async def lock(self) -> AccountState:
        """The state, locked."""
        if not self._is_locked:
            self.row = await self._rows.lock(self.account, self.row)
            self.state = self.row.state
            self._is_locked = True
        return self.state

    async def change(self) -> AccountState:
        self._is_changed = True
        return self.state if self._is_locked else await self.lock()

    async def _write(self, sql: str, *values: Any) -> int:
        """Run a statement whose first value is the account's number."""
        if not self._is_locked:
            await self.lock()
        return await self._rows.run(sql, self.row.number, *values)

    async def _insert(self, table: str, *, replacing: str | None = None, **values: Any) -> None:
        """Add a row of the account; where there is one with the same `replacing`, put it in its place."""
        await self._write(_insertion(table, tuple(values), replacing), *values.values())

    async def _delete(self, table: str, where: str = "", *values: Any) -> None:
        await self._write(f"DELETE FROM mock_{table} WHERE account = ?{where}", *values)
        self._is_due_known = self._is_due_known and table != "deliveries"

    async def _all(self, sql: str, *values: Any) -> list[Row]:
        """Run a query whose first value is the account's number."""
        return await self._rows.all(sql, self.row.number, *values)

    async def _one(self, sql: str, *values: Any) -> Row | None:
        found = await self._all(sql, *values)
        return found[0] if found else None

    async def finish(self) -> None:
        """Write the state back, if it has changed; to be called before the commit."""
        if not self._is_locked:
            return
        await self.next_delivery_due()
        state, wake_at = self.state, self.state.wake_at()
        if not self._is_changed and wake_at == self.row.wake_at:
            return
        await self._rows.run(
            "UPDATE mock_accounts SET head = ?, wake_at = ?, mover = ? WHERE no = ?",
            rows.pack(state),
            wake_at,
            None if state.move is None else state.move.worker,
            self.row.number,
        )
        self.row.wake_at = wake_at

    # sessions

    def _session(self, row: Row) -> CheckoutSession:
        self._seen[row[0]] = row[2]
        return rows.unpack_session(row, self.account)

    async def session(self, session_id: str) -> CheckoutSession | None:
        if not rows.is_text(session_id):
            return None
        row = await self._one(f"SELECT {SESSION} FROM mock_sessions WHERE account = ? AND id = ?", session_id)
        return None if row is None else self._session(row)

    async def add_session(self, session: CheckoutSession) -> None:
        await self._write(_INSERT_SESSION, *rows.pack_session(session))
        state = await self.change()
        state.sessions = session.sequence + 1
        state.newest = session.created
        self._seen[session.id] = session.status.value
        if session.is_open and (state.deadline is None or session.expires_at < state.deadline):
            state.deadline = session.expires_at

    async def replace_session(self, session: CheckoutSession) -> None:
        before = self._seen[session.id]
        state = await self.change()
        changed = await self._rows.run(
            "UPDATE mock_sessions SET status = ?, payment_status = ? WHERE account = ? AND id = ? AND status = ?",
            session.status.value,
            session.payment_status.value,
            self.row.number,
            session.id,
            before,
        )
        if changed != 1:
            raise RuntimeError(f"session {session.id} is no longer {before}, although its account is locked")
        self._seen[session.id] = session.status.value
        if before == Status.OPEN.value and not session.is_open and state.deadline == session.expires_at:
            earliest = await self._one(f"SELECT expires_at {_FIRST_OPEN}")
            state.deadline = None if earliest is None else earliest[0]

    async def overdue(self, now: int) -> CheckoutSession | None:
        if not self._may_be_overdue(now):
            return None
        await self.lock()
        if not self._may_be_overdue(now):
            return None
        row = await self._one(f"SELECT {SESSION} {_FIRST_OPEN}")
        return None if row is None else self._session(row)

    def _may_be_overdue(self, now: int) -> bool:
        return self.state.deadline is not None and self.state.deadline <= now

    def next_deadline(self) -> int | None:
        return self.state.deadline

    async def page(self, query: ListQuery, cursor: int | None) -> Page:
        interval = Interval(
            await self._first_since(query.created.since, otherwise=0),
            await self._first_since(query.created.until, otherwise=self.state.sessions),
            newest_first=True,
        ).after_cursor(query, cursor)
        order = "DESC" if interval.newest_first else "ASC"
        of_status, status = ("", []) if query.status is None else (" AND status = ?", [query.status.value])
        found = await self._all(
            f"SELECT {SESSION} FROM mock_sessions WHERE account = ?{of_status} AND sequence >= ? AND sequence < ? "
            f"ORDER BY sequence {order} LIMIT ?",
            *status,
            interval.first,
            interval.end,
            query.limit + 1,
        )
        chosen, has_more = take(found, query.limit, newest_first=interval.newest_first)
        return Page(tuple([rows.unpack_session(row, self.account) for row in chosen]), has_more)

    async def _first_since(self, created: int | None, *, otherwise: int) -> int:
        """The sequence of the first session created at or after an instant: sequences grow with creation."""
        if created is None:
            return otherwise
        row = await self._one(
            "SELECT sequence FROM mock_sessions WHERE account = ? AND created >= ? ORDER BY created, sequence LIMIT 1",
            created,
        )
        return self.state.sessions if row is None else int(row[0])

    async def sessions(self) -> Sequence[CheckoutSession]:
        found = await self._all(f"SELECT {SESSION} FROM mock_sessions WHERE account = ? ORDER BY sequence")
        return tuple([rows.unpack_session(row, self.account) for row in found])

    # idempotency

    async def recall(self, key: str) -> IdempotencyRecord | None:
        row = await self._one(f"{_RECORDS} AND r.key = ?", key)
        return None if row is None else rows.unpack_record(row, self.account)

    async def remember(self, record: IdempotencyRecord) -> None:
        state = await self.change()
        await self._insert(
            "records",
            replacing="key",
            key=record.key,
            place=state.ticks,
            fingerprint=record.fingerprint,
            session_id=record.session.id,
            status=record.session.status.value,
            payment_status=record.session.payment_status.value,
            answered_at=record.answered_at,
        )
        state.ticks += 1
        if state.oldest_answer is None or record.answered_at < state.oldest_answer:
            state.oldest_answer = record.answered_at

    async def forget(self, until: int) -> None:
        oldest = self.state.oldest_answer
        if oldest is None or oldest > until:
            return
        state = await self.change()
        await self._delete("records", " AND answered_at <= ?", until)
        row = await self._one("SELECT answered_at FROM mock_records WHERE account = ? ORDER BY answered_at LIMIT 1")
        state.oldest_answer = None if row is None else row[0]

    async def records(self) -> Sequence[IdempotencyRecord]:
        return tuple([rows.unpack_record(row, self.account) for row in await self._all(f"{_RECORDS} ORDER BY r.place")])

    # events and their delivery

    async def add_event(self, event: Event) -> None:
        state = await self.change()
        await self._insert(
            "events",
            place=state.ticks,
            id=event.id,
            type=event.type.value,
            session_id=event.session.id,
            body=rows.pack_event(event),
        )
        state.ticks += 1

    async def event(self, event_id: str) -> Event | None:
        if not rows.is_text(event_id):
            return None
        row = await self._one(f"{_EVENTS} AND e.id = ?", event_id)
        return None if row is None else rows.unpack_event(row, self.account)

    async def events(self, *, session_id: str | None = None, event_type: EventType | None = None) -> Sequence[Event]:
        sql, values = _EVENTS, []
        if session_id is not None:
            if not rows.is_text(session_id):
                return ()
            sql += " AND e.session_id = ?"
            values.append(session_id)
        if event_type is not None:
            sql += " AND e.type = ?"
            values.append(event_type.value)
        found = await self._all(f"{sql} ORDER BY e.place", *values)
        return tuple([rows.unpack_event(row, self.account) for row in found])

    async def remove_deliveries(self, endpoint_id: str) -> None:
        await self._delete("deliveries", " AND endpoint_id = ?", endpoint_id)

    async def delivery(self, delivery_id: str) -> Delivery | None:
        found = await self._deliveries(" AND id = ?", delivery_id)
        return found[0] if found else None

    async def put_delivery(self, delivery: Delivery) -> None:
        await self._insert(
            "deliveries",
            replacing="id",
            id=delivery.id,
            endpoint_id=delivery.endpoint_id,
            due=delivery.due,
            is_held=int(delivery.is_held),
            body=rows.pack(delivery),
            worker=None,
        )
        self._is_due_known = False

    async def remove_delivery(self, delivery_id: str) -> None:
        await self._delete("deliveries", " AND id = ?", delivery_id)

    async def claim_deliveries(self, now: int, limit: int) -> Sequence[Delivery]:
        await self.lock()
        due = await self.next_delivery_due()
        if due is None or due > now:
            return ()
        found = await self._deliveries(" AND worker IS NULL AND due <= ? ORDER BY due, id LIMIT ?", now, limit)
        for chunk in _chunks([each.id for each in found]):
            await self._rows.run(
                f"UPDATE mock_deliveries SET worker = ? WHERE account = ? AND id IN ({_marks(chunk)})",
                self.worker,
                self.row.number,
                *chunk,
            )
        self._is_due_known = False
        return found

    async def is_claimed(self, delivery_id: str) -> bool:
        return bool(await self._deliveries(" AND id = ? AND worker = ?", delivery_id, self.worker))

    async def is_attempted_elsewhere(self) -> bool:
        return bool(await self._deliveries(" AND worker IS NOT NULL AND worker <> ? LIMIT 1", self.worker))

    async def next_delivery_due(self) -> int | None:
        if not self._is_due_known:
            row = await self._one(
                "SELECT due FROM mock_deliveries WHERE account = ? AND worker IS NULL ORDER BY due, id LIMIT 1"
            )
            (await self.change()).delivery_due = None if row is None else row[0]
            self._is_due_known = True
        return self.state.delivery_due

    async def held_deliveries(self, endpoint_id: str) -> Sequence[Delivery]:
        where = " AND endpoint_id = ? AND is_held = 1 AND worker IS NULL ORDER BY due, id"
        return await self._deliveries(where, endpoint_id)

    async def pending_deliveries(self) -> Sequence[Delivery]:
        return await self._deliveries(" ORDER BY due, id")

    async def _deliveries(self, where: str, *values: Any) -> Sequence[Delivery]:
        found = await self._all(f"SELECT body FROM mock_deliveries WHERE account = ?{where}", *values)
        return tuple([rows.unpack_delivery(row[0]) for row in found])

    async def release(self, worker: int) -> None:
        """Make what a process that is gone has claimed of this account anybody's again."""
        state = await self.change()
        await self._write("UPDATE mock_deliveries SET worker = NULL WHERE account = ? AND worker = ?", worker)
        self._is_due_known = False
        if state.move is not None and state.move.worker == worker:
            state.move.worker = None

    async def add_attempt(self, attempt: Attempt) -> None:
        state = await self.change()
        await self._insert("attempts", place=state.attempts, body=rows.pack(attempt))
        state.attempts += 1
        if state.attempts % _PRUNE_EVERY == 0:
            await self._delete("attempts", " AND place < ?", state.attempts - ATTEMPTS_KEPT)

    async def attempts(self, *, after: int = 0) -> Sequence[Attempt]:
        found = await self._all(
            "SELECT body FROM mock_attempts WHERE account = ? AND place >= ? ORDER BY place",
            max(after, self.state.attempts - ATTEMPTS_KEPT),
        )
        return tuple([rows.unpack_attempt(row[0]) for row in found])

    # advice

    async def unconfirmed(self) -> Collection[str]:
        found = await self._all("SELECT session_id FROM mock_unconfirmed WHERE account = ? ORDER BY session_id")
        return tuple([str(row[0]) for row in found])

    async def set_unconfirmed(self, session_id: str, *, unconfirmed: bool) -> None:
        if unconfirmed:
            await self._insert("unconfirmed", replacing="session_id", session_id=session_id)
        elif await self._one("SELECT 1 FROM mock_unconfirmed WHERE account = ? AND session_id = ?", session_id):
            await self._delete("unconfirmed", " AND session_id = ?", session_id)

    def polls(self) -> PollWatch:
        watches = self._shared.polls
        found = watches.get(self.account)
        if found is None:
            if len(watches) >= _POLLS_KEPT:
                watches.clear()
            found = watches[self.account] = PollWatch()
        return found

    # ids

    async def hold(self, object_id: str) -> None:
        await self._write(
            "INSERT INTO mock_reserved (account, id) VALUES (?, ?) "
            "ON CONFLICT (id) DO UPDATE SET account = excluded.account",
            object_id,
        )

    async def reserve(self, ids: Collection[str]) -> str | None:
        await self.lock()
        # Whoever else is at this point waits until this transaction has ended, and sees then what it has done.
        await self._rows.run("INSERT INTO mock_under_way (account, key) VALUES ('', 'reserve')")
        await self._rows.run("DELETE FROM mock_under_way WHERE account = '' AND key = 'reserve'")
        foreign: set[str] = set()
        for chunk in _chunks(list(ids)):
            marks = _marks(chunk)
            for table in ("sessions", "events", "deliveries"):
                sql = f"SELECT id FROM mock_{table} WHERE account <> ? AND id IN ({marks})"
                foreign |= {row[0] for row in await self._all(sql, *chunk)}
            sql = f"SELECT id, account FROM mock_reserved WHERE account <> ? AND id IN ({marks})"
            for object_id, number in await self._all(sql, *chunk):
                ((head,),) = await self._rows.all("SELECT head FROM mock_accounts WHERE no = ?", number)
                state = rows.unpack_state(head)
                if object_id in {each.id for each in state.endpoints} | {each.id for each in state.faults}:
                    foreign.add(object_id)
        for each in ids:
            if each in foreign:
                return each
        for each in ids:
            await self.hold(each)
        return None

    async def is_taken(self, object_id: str) -> bool:
        found = await self._rows.all(
            "SELECT 1 FROM mock_sessions WHERE id = ? UNION ALL SELECT 1 FROM mock_reserved WHERE id = ?",
            object_id,
            object_id,
        )
        return bool(found)

    async def clear(self) -> None:
        state = await self.change()
        for table in ("sessions", "records", "events", "deliveries", "attempts", "unconfirmed"):
            await self._delete(table)
        await self._rows.run("DELETE FROM mock_journal WHERE account = ?", self.account)
        self._shared.journals.drop(self.account)
        self._shared.polls.pop(self.account, None)
        self._seen.clear()
        self.state = self.row.state = AccountState(Profile(drawn=state.profile.drawn))
        self._is_due_known = True


@lru_cache(maxsize=100)
def _insertion(table: str, columns: Sequence[str], replacing: str | None) -> str:
    """A statement that adds a row with `account` and these columns."""
    sql = f"INSERT INTO mock_{table} (account, {', '.join(columns)}) VALUES (?{', ?' * len(columns)})"
    if replacing is None:
        return sql
    changes = ", ".join(f"{each} = excluded.{each}" for each in columns)
    return f"{sql} ON CONFLICT (account, {replacing}) DO UPDATE SET {changes}"


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(values), _CHUNK):
        yield values[begin : begin + _CHUNK]


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
