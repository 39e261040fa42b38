"""One account's unit of work on an SQL database, whichever it is.

A database differs from another in how statements get there, how a row is locked and how a transaction ends. All of
that is `Rows`, which each store implements; the statements are the same for all and written here, with `?` for each
value.

Nearly every command needs the head of its account, and a command that writes locks that row first: commands on one
account happen one after the other, commands on others beside it.
"""

# ruff: noqa: S608 - statements are put together from names that stand in this file; values go beside them

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from qashier_mock.core.advice import Advice, AdviceNote, PollWatch
from qashier_mock.core.delivery import Attempt, Delivery
from qashier_mock.core.faults import FaultRule
from qashier_mock.core.idempotency import IdempotencyRecord
from qashier_mock.core.journal import JournalEntry
from qashier_mock.core.model import AccountId, CheckoutSession, Event, EventType, Profile, Status, WebhookEndpoint
from qashier_mock.core.paging import Interval, ListQuery, Page, take
from qashier_mock.stores import rows
from qashier_mock.stores.base import ATTEMPTS_KEPT
from qashier_mock.stores.rows import SESSION, ClockMove, Head, Row

_ENTRIES_WAITING: Final = 10_000
"""Requests that wait to be written to their journals, at most."""

_CHUNK: Final = 500
"""Values that one statement lists at most."""

_PRUNE_EVERY: Final = 100
"""Rows that are added to a bounded table before the surplus is removed."""

_POLLS_KEPT: Final = 10_000
"""Accounts whose polling is watched."""

_JOINED: Final = ", ".join(f"s.{column}" for column in SESSION.split(", "))

ABANDON: Final = "UPDATE mock_deliveries SET worker = NULL WHERE account = ? AND worker = ?"


@dataclass(slots=True)
class Held:
    """An account's own row: its number, its head, and when the row says that it has something due."""

    number: int | None
    head: Head
    wake_at: int | None = None


class Rows(Protocol):
    """How statements get to a database."""

    async def all(self, sql: str, *values: Any) -> list[Row]:
        """The rows that a query finds."""

    async def run(self, sql: str, *values: Any) -> int:
        """Change rows; how many."""

    async def own(self, account: AccountId, held: Held) -> Held:
        """Begin a transaction if there is none, and lock the account's row, which is made if there is none.

        Returns:
            The row as it is then; `held` is how it was read before.
        """


class Journals:
    """What is to be written to the journals a little later, so that no request waits for it."""

    def __init__(self, schedule: Callable[[], None], *, limit: int = _ENTRIES_WAITING) -> None:
        """Collect at most `limit` entries; `schedule` is called when there are some after there were none."""
        self._schedule = schedule
        self._waiting: deque[tuple[AccountId, JournalEntry]] = deque(maxlen=limit)

    def add(self, account: AccountId, entry: JournalEntry) -> None:
        """Write that later. When too many wait already, the oldest is not remembered."""
        if not self._waiting:
            self._schedule()
        self._waiting.append((account, entry))

    def drop(self, account: AccountId) -> None:
        """Write nothing of that account."""
        kept = [each for each in self._waiting if each[0] != account]
        self._waiting.clear()
        self._waiting.extend(kept)

    def take(self) -> list[tuple[AccountId, JournalEntry]]:
        """All that is to be written now."""
        taken = [*self._waiting]
        self._waiting.clear()
        return taken

    def put_back(self, entries: Sequence[tuple[AccountId, JournalEntry]]) -> None:
        """Write that later all the same."""
        later = [*self._waiting]
        self._waiting.clear()
        self._waiting.extend([*entries, *later])
        self._schedule()


@dataclass(slots=True)
class Shared:
    """What all units of work of a store have in common.

    Attributes:
        journals: What is still to be written to the journals.
        worker: This process, as the store numbers those that work on it.
        polls: Watches over polling, which need not outlive the process.
    """

    journals: Journals
    worker: int = 0
    polls: dict[AccountId, PollWatch] = field(default_factory=dict)


class SqlTransaction:
    """See `Transaction`."""

    __slots__ = ("_held", "_is_changed", "_is_due_known", "_is_owned", "_rows", "_seen", "_shared", "account")

    def __init__(self, account: AccountId, rows_: Rows, held: Held, shared: Shared, *, is_owned: bool) -> None:
        """Work on `account`.

        Args:
            account: Whose.
            rows_: How to get at the database.
            held: The account's row, as it was read.
            shared: Of the store.
            is_owned: The row is locked; else it is read again once something is to be changed.
        """
        self.account = account
        self._rows = rows_
        self._held = held
        self._shared = shared
        self._is_owned = is_owned
        self._is_changed = False
        self._is_due_known = True  # else the head's `delivery_due` has to be found again
        self._seen: dict[str, str] = {}  # the status that a session was read with

    @property
    def held(self) -> Held:
        """The account's row as it is now."""
        return self._held

    async def own(self) -> Head:
        """The head, locked."""
        if not self._is_owned:
            self._held = await self._rows.own(self.account, self._held)
            self._is_owned = True
        return self._held.head

    async def _change(self) -> Head:
        """The head, to be changed."""
        self._is_changed = True
        return self._held.head if self._is_owned else await self.own()

    async def _write(self, sql: str, *values: Any) -> int:
        """Run a statement whose first value is the account's number."""
        if not self._is_owned:
            await self.own()
        return await self._rows.run(sql, self._held.number, *values)

    async def _all(self, sql: str, *values: Any) -> list[Row]:
        """Run a query whose first value is the account's number."""
        return await self._rows.all(sql, self._held.number, *values)

    async def _one(self, sql: str, *values: Any) -> Row | None:
        found = await self._rows.all(sql, self._held.number, *values)
        return found[0] if found else None

    async def finish(self) -> None:
        """Write the head back, if it has changed; to be called before the commit."""
        held = self._held
        if not self._is_owned:
            return
        await self.next_delivery_due()
        wake_at = held.head.wake_at()
        if not self._is_changed and wake_at == held.wake_at:
            return
        move = held.head.move
        await self._rows.run(
            "UPDATE mock_accounts SET head = ?, wake_at = ?, mover = ? WHERE no = ?",
            rows.pack_head(held.head),
            wake_at,
            None if move is None else move.worker,
            held.number,
        )
        held.wake_at = wake_at

    def profile(self) -> Profile:
        return self._held.head.profile

    async def save_profile(self, profile: Profile) -> None:
        (await self._change()).profile = profile

    # sessions

    def next_sequence(self) -> int:
        return self._held.head.sessions

    def newest(self) -> int:
        return self._held.head.newest

    def _session(self, row: Row) -> CheckoutSession:
        self._seen[row[0]] = row[2]
        return rows.unpack_session(row, self.account)

    async def session(self, session_id: str) -> CheckoutSession | None:
        if not rows.is_text(session_id):
            return None
        row = await self._one(f"SELECT {SESSION} FROM mock_sessions WHERE account = ? AND id = ?", session_id)
        return None if row is None else self._session(row)

    async def add_session(self, session: CheckoutSession) -> None:
        await self._write(
            f"INSERT INTO mock_sessions (account, {SESSION}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *rows.pack_session(session),
        )
        head = await self._change()
        head.sessions = session.sequence + 1
        head.newest = session.created
        self._seen[session.id] = session.status.value
        if session.is_open and (head.deadline is None or session.expires_at < head.deadline):
            head.deadline = session.expires_at

    async def replace_session(self, session: CheckoutSession) -> None:
        before = self._seen[session.id]
        await self.own()
        changed = await self._rows.run(
            "UPDATE mock_sessions SET status = ?, payment_status = ? WHERE account = ? AND id = ? AND status = ?",
            session.status.value,
            session.payment_status.value,
            self._held.number,
            session.id,
            before,
        )
        if changed != 1:
            raise RuntimeError(f"session {session.id} is no longer {before}, although its account is locked")
        self._seen[session.id] = session.status.value
        head = await self._change()
        if before == Status.OPEN.value and not session.is_open and head.deadline == session.expires_at:
            earliest = await self._one(
                "SELECT expires_at FROM mock_sessions WHERE account = ? AND status = 'open' "
                "ORDER BY expires_at, sequence LIMIT 1"
            )
            head.deadline = None if earliest is None else earliest[0]

    async def overdue(self, now: int) -> CheckoutSession | None:
        deadline = self._held.head.deadline
        if deadline is None or deadline > now:
            return None
        deadline = (await self.own()).deadline
        if deadline is None or deadline > now:
            return None
        row = await self._one(
            f"SELECT {SESSION} FROM mock_sessions WHERE account = ? AND status = 'open' "
            "ORDER BY expires_at, sequence LIMIT 1"
        )
        return None if row is None else self._session(row)

    def next_deadline(self) -> int | None:
        return self._held.head.deadline

    async def page(self, query: ListQuery, cursor: int | None) -> Page:
        interval = Interval(
            await self._first_since(query.created.since, otherwise=0),
            await self._first_since(query.created.until, otherwise=self._held.head.sessions),
            newest_first=True,
        ).after_cursor(query, cursor)
        order = "DESC" if interval.newest_first else "ASC"
        if query.status is None:
            found = await self._all(
                f"SELECT {SESSION} FROM mock_sessions WHERE account = ? AND sequence >= ? AND sequence < ? "
                f"ORDER BY sequence {order} LIMIT ?",
                interval.first,
                interval.end,
                query.limit + 1,
            )
        else:
            found = await self._all(
                f"SELECT {SESSION} FROM mock_sessions WHERE account = ? AND status = ? AND sequence >= ? "
                f"AND sequence < ? ORDER BY sequence {order} LIMIT ?",
                query.status.value,
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
        return self._held.head.sessions if row is None else int(row[0])

    async def sessions(self) -> Sequence[CheckoutSession]:
        found = await self._all(f"SELECT {SESSION} FROM mock_sessions WHERE account = ? ORDER BY sequence")
        return tuple([rows.unpack_session(row, self.account) for row in found])

    # idempotency

    _RECORDS: Final = (
        f"SELECT {_JOINED}, r.key, r.fingerprint, r.answered_at, r.status, r.payment_status FROM mock_records r "
        "JOIN mock_sessions s ON s.id = r.session_id WHERE r.account = ?"
    )

    async def recall(self, key: str) -> IdempotencyRecord | None:
        row = await self._one(f"{self._RECORDS} AND r.key = ?", key)
        return None if row is None else rows.unpack_record(row, self.account)

    async def remember(self, record: IdempotencyRecord) -> None:
        head = await self._change()
        await self._write(
            "INSERT INTO mock_records "
            "(account, key, place, fingerprint, session_id, status, payment_status, answered_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account, key) DO UPDATE SET place = excluded.place, "
            "fingerprint = excluded.fingerprint, session_id = excluded.session_id, status = excluded.status, "
            "payment_status = excluded.payment_status, answered_at = excluded.answered_at",
            record.key,
            head.ticks,
            record.fingerprint,
            record.session.id,
            record.session.status.value,
            record.session.payment_status.value,
            record.answered_at,
        )
        head.ticks += 1
        if head.oldest_answer is None or record.answered_at < head.oldest_answer:
            head.oldest_answer = record.answered_at

    async def forget(self, until: int) -> None:
        oldest = self._held.head.oldest_answer
        if oldest is None or oldest > until:
            return
        head = await self._change()
        await self._write("DELETE FROM mock_records WHERE account = ? AND answered_at <= ?", until)
        row = await self._one("SELECT answered_at FROM mock_records WHERE account = ? ORDER BY answered_at LIMIT 1")
        head.oldest_answer = None if row is None else row[0]

    async def records(self) -> Sequence[IdempotencyRecord]:
        found = await self._all(f"{self._RECORDS} ORDER BY r.place")
        return tuple([rows.unpack_record(row, self.account) for row in found])

    # events and their delivery

    _EVENTS: Final = (
        f"SELECT {_JOINED}, e.id, e.type, e.body FROM mock_events e JOIN mock_sessions s ON s.id = e.session_id "
        "WHERE e.account = ?"
    )

    async def add_event(self, event: Event) -> None:
        head = await self._change()
        await self._write(
            "INSERT INTO mock_events (account, place, id, type, session_id, body) VALUES (?, ?, ?, ?, ?, ?)",
            head.ticks,
            event.id,
            event.type.value,
            event.session.id,
            rows.pack_event(event),
        )
        head.ticks += 1

    async def event(self, event_id: str) -> Event | None:
        if not rows.is_text(event_id):
            return None
        row = await self._one(f"{self._EVENTS} AND e.id = ?", event_id)
        return None if row is None else rows.unpack_event(row, self.account)

    async def events(self, *, session_id: str | None = None, event_type: EventType | None = None) -> Sequence[Event]:
        sql, values = self._EVENTS, []
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

    def endpoints(self) -> Sequence[WebhookEndpoint]:
        return tuple(self._held.head.endpoints)

    async def put_endpoint(self, endpoint: WebhookEndpoint) -> None:
        if _put((await self._change()).endpoints, endpoint):
            await self._reserve(endpoint.id)

    async def remove_endpoint(self, endpoint_id: str) -> None:
        head = await self._change()
        head.endpoints = [each for each in head.endpoints if each.id != endpoint_id]
        await self._write("DELETE FROM mock_deliveries WHERE account = ? AND endpoint_id = ?", endpoint_id)
        self._is_due_known = False

    async def delivery(self, delivery_id: str) -> Delivery | None:
        row = await self._one("SELECT body FROM mock_deliveries WHERE account = ? AND id = ?", delivery_id)
        return None if row is None else rows.unpack_delivery(row[0])

    async def put_delivery(self, delivery: Delivery) -> None:
        await self._write(
            "INSERT INTO mock_deliveries (account, id, endpoint_id, due, is_held, body) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (account, id) DO UPDATE SET due = excluded.due, is_held = excluded.is_held, "
            "body = excluded.body, worker = NULL",
            delivery.id,
            delivery.endpoint_id,
            delivery.due,
            int(delivery.is_held),
            rows.pack_delivery(delivery),
        )
        self._is_due_known = False

    async def remove_delivery(self, delivery_id: str) -> None:
        await self._write("DELETE FROM mock_deliveries WHERE account = ? AND id = ?", delivery_id)
        self._is_due_known = False

    async def claim_deliveries(self, now: int, limit: int) -> Sequence[Delivery]:
        await self.own()
        due = await self.next_delivery_due()
        if due is None or due > now:
            return ()
        found = await self._all(
            "SELECT id, body FROM mock_deliveries WHERE account = ? AND worker IS NULL AND due <= ? "
            "ORDER BY due, id LIMIT ?",
            now,
            limit,
        )
        for chunk in _chunks([row[0] for row in found]):
            await self._rows.run(
                f"UPDATE mock_deliveries SET worker = ? WHERE account = ? AND id IN ({_marks(chunk)})",
                self._shared.worker,
                self._held.number,
                *chunk,
            )
        self._is_due_known = False
        return tuple([rows.unpack_delivery(row[1]) for row in found])

    async def is_claimed(self, delivery_id: str) -> bool:
        row = await self._one(
            "SELECT 1 FROM mock_deliveries WHERE account = ? AND id = ? AND worker = ?",
            delivery_id,
            self._shared.worker,
        )
        return row is not None

    async def is_attempted_elsewhere(self) -> bool:
        row = await self._one(
            "SELECT 1 FROM mock_deliveries WHERE account = ? AND worker IS NOT NULL AND worker <> ? LIMIT 1",
            self._shared.worker,
        )
        return row is not None

    async def next_delivery_due(self) -> int | None:
        if not self._is_due_known:
            row = await self._one(
                "SELECT due FROM mock_deliveries WHERE account = ? AND worker IS NULL ORDER BY due, id LIMIT 1"
            )
            (await self._change()).delivery_due = None if row is None else row[0]
            self._is_due_known = True
        return self._held.head.delivery_due

    async def held_deliveries(self, endpoint_id: str) -> Sequence[Delivery]:
        found = await self._all(
            "SELECT body FROM mock_deliveries WHERE account = ? AND endpoint_id = ? AND is_held = 1 "
            "AND worker IS NULL ORDER BY due, id",
            endpoint_id,
        )
        return tuple([rows.unpack_delivery(row[0]) for row in found])

    async def pending_deliveries(self) -> Sequence[Delivery]:
        found = await self._all("SELECT body FROM mock_deliveries WHERE account = ? ORDER BY due, id")
        return tuple([rows.unpack_delivery(row[0]) for row in found])

    async def abandon(self, worker: int) -> None:
        """Take back what a process that is gone has claimed of this account."""
        head = await self._change()
        await self._write(ABANDON, worker)
        self._is_due_known = False
        if head.move is not None and head.move.worker == worker:
            head.move.worker = None

    async def add_attempt(self, attempt: Attempt) -> None:
        head = await self._change()
        await self._write(
            "INSERT INTO mock_attempts (account, place, body) VALUES (?, ?, ?)",
            head.attempts,
            rows.pack_attempt(attempt),
        )
        head.attempts += 1
        if head.attempts % _PRUNE_EVERY == 0:
            await self._write(
                "DELETE FROM mock_attempts WHERE account = ? AND place < ?", head.attempts - ATTEMPTS_KEPT
            )

    async def attempts_made(self) -> int:
        return self._held.head.attempts

    async def attempts(self, *, after: int = 0) -> Sequence[Attempt]:
        found = await self._all(
            "SELECT body FROM mock_attempts WHERE account = ? AND place >= ? ORDER BY place",
            max(after, self._held.head.attempts - ATTEMPTS_KEPT),
        )
        return tuple([rows.unpack_attempt(row[0]) for row in found])

    async def begin_clock_move(self, *, stands: bool) -> bool:
        head = await self.own()
        if head.move is not None and head.move.worker != self._shared.worker:
            return False
        (await self._change()).move = ClockMove(self._shared.worker, stands)
        return True

    async def end_clock_move(self) -> None:
        move = (await self.own()).move
        if move is not None and move.worker in (None, self._shared.worker):
            (await self._change()).move = None

    async def abandoned_clock_move(self, *, by_us: bool = False) -> bool | None:
        move = self._held.head.move
        if move is None or not (move.worker is None or (by_us and move.worker == self._shared.worker)):
            return None
        return move.stands

    # faults and advice

    def faults(self) -> Sequence[FaultRule]:
        return tuple(self._held.head.faults)

    async def put_fault(self, rule: FaultRule) -> None:
        if _put((await self._change()).faults, rule):
            await self._reserve(rule.id)

    async def remove_fault(self, rule_id: str) -> None:
        head = await self._change()
        head.faults = [each for each in head.faults if each.id != rule_id]

    async def note_advice(self, advice: Advice, request_id: str | None, at: int, *, count: int = 1) -> bool:
        head = await self._change()
        for note in head.advice:
            if note.advice.subject == advice.subject:
                note.count += count
                return False
        head.advice.append(AdviceNote(advice, request_id, at, count))
        return True

    async def advice(self) -> Sequence[AdviceNote]:
        return tuple([replace(note) for note in self._held.head.advice])

    async def unconfirmed(self) -> Collection[str]:
        found = await self._all("SELECT session_id FROM mock_unconfirmed WHERE account = ? ORDER BY session_id")
        return tuple([str(row[0]) for row in found])

    async def set_unconfirmed(self, session_id: str, *, unconfirmed: bool) -> None:
        if unconfirmed:
            await self._write(
                "INSERT INTO mock_unconfirmed (account, session_id) VALUES (?, ?) ON CONFLICT DO NOTHING", session_id
            )
        elif await self._one("SELECT 1 FROM mock_unconfirmed WHERE account = ? AND session_id = ?", session_id):
            await self._write("DELETE FROM mock_unconfirmed WHERE account = ? AND session_id = ?", session_id)

    def polls(self) -> PollWatch:
        watches = self._shared.polls
        found = watches.get(self.account)
        if found is None:
            if len(watches) >= _POLLS_KEPT:
                watches.clear()
            found = watches[self.account] = PollWatch()
        return found

    # ids

    async def reserve(self, ids: Collection[str]) -> str | None:
        await self.own()
        foreign: set[str] = set()
        reserved: dict[int, list[str]] = {}
        for chunk in _chunks(list(ids)):
            listed = f"account <> ? AND id IN ({_marks(chunk)})"
            foreign.update(row[0] for row in await self._all(f"SELECT id FROM mock_sessions WHERE {listed}", *chunk))
            for number, object_id in await self._all(f"SELECT account, id FROM mock_reserved WHERE {listed}", *chunk):
                reserved.setdefault(number, []).append(object_id)
        for number, candidates in reserved.items():
            foreign |= await self._held_by(number, candidates)
        for each in ids:
            if each in foreign:
                return each
        for each in sorted(ids):  # in one order everywhere, so that two snapshots cannot wait for each other
            await self._reserve(each)
        return None

    async def _reserve(self, object_id: str) -> None:
        await self._write(
            "INSERT INTO mock_reserved (account, id) VALUES (?, ?) "
            "ON CONFLICT (id) DO UPDATE SET account = excluded.account",
            object_id,
        )

    async def _held_by(self, number: int, ids: Sequence[str]) -> set[str]:
        """Which of the ids another account has given to something else than a session that it still has."""
        found: set[str] = set()
        for (head,) in await self._rows.all("SELECT head FROM mock_accounts WHERE no = ?", number):
            unpacked = rows.unpack_head(head)
            found |= {each.id for each in unpacked.endpoints} | {each.id for each in unpacked.faults}
        for chunk in _chunks(ids):
            for table in ("mock_events", "mock_deliveries"):
                sql = f"SELECT id FROM {table} WHERE account = ? AND id IN ({_marks(chunk)})"
                found.update(row[0] for row in await self._rows.all(sql, number, *chunk))
        return found.intersection(ids)

    async def is_taken(self, object_id: str) -> bool:
        found = await self._rows.all(
            "SELECT 1 FROM mock_sessions WHERE id = ? UNION ALL SELECT 1 FROM mock_reserved WHERE id = ?",
            object_id,
            object_id,
        )
        return bool(found)

    async def clear(self) -> None:
        head = await self._change()
        for table in ("sessions", "records", "events", "deliveries", "attempts", "unconfirmed"):
            await self._write(f"DELETE FROM mock_{table} WHERE account = ?")
        await self._rows.run("DELETE FROM mock_journal WHERE account = ?", self.account)
        self._shared.journals.drop(self.account)
        self._shared.polls.pop(self.account, None)
        self._seen.clear()
        self._held.head = Head(profile=Profile(drawn=head.profile.drawn))
        self._is_due_known = True


def _put(values: list[Any], value: Any) -> bool:
    """Put a value in the place of the one with its id, or at the end; whether it is new."""
    for index, each in enumerate(values):
        if each.id == value.id:
            values[index] = value
            return False
    values.append(value)
    return True


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(values), _CHUNK):
        yield values[begin : begin + _CHUNK]


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
