"""State in memory: fast, gone with the process.

A transaction never suspends, so each command is atomic on the app's single event loop and needs no lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import islice
from operator import attrgetter
from typing import Any, Final, Self

from sortedcontainers import SortedList

from qashier_mock.core.account import AccountState
from qashier_mock.core.delivery import Attempt, Delivery
from qashier_mock.core.idempotency import IdempotencyRecord
from qashier_mock.core.journal import CAPACITY, JournalEntry
from qashier_mock.core.model import AccountId, CheckoutSession, Event, Status
from qashier_mock.core.paging import Interval
from qashier_mock.pipeline.garbage import let_go
from qashier_mock.stores.base import ATTEMPTS_KEPT, FORGOTTEN_AT_ONCE, Store, Transaction

_VISITORS_KEPT: Final = 2_000
"""Accounts with nothing but a journal that are kept: whoever calls with ever new keys must not fill the memory."""


class MemoryAccount(Transaction):
    """One account's state, and at the same time its unit of work: see `Transaction`, in whose order it is.

    What many accounts never use, and what is large even when empty, is made on first use: there may be more accounts
    than any of them has sessions.
    """

    __slots__ = (
        "_attempts", "_by_status", "_deadlines", "_deliveries", "_due", "_events", "_held", "_records", "_reserved",
        "_sessions", "_store", "_unconfirmed", "account", "journal", "state",
    )  # fmt: skip
    worker = 0

    def __init__(self, account: AccountId, store: MemoryStore) -> None:
        self.account = account
        self._store = store
        self._reserved: Collection[str] = ()
        self._empty(drawn=0)

    def _empty(self, *, drawn: int) -> None:
        self.state = AccountState(drawn=drawn)
        self._sessions: list[CheckoutSession] = []  # by sequence
        self._by_status: defaultdict[Status, SortedList] = defaultdict(SortedList)  # of sequences
        self._deadlines: list[tuple[int, int]] = []  # a heap of (expires_at, sequence); ended sessions leave it late
        self._records: dict[str, IdempotencyRecord] = {}  # in the order of their answers
        self._events: list[Event] = []
        self._deliveries: dict[str, Delivery] = {}
        self._due: SortedList | None = None  # of (due, delivery id), without those that are claimed
        self._held: dict[str, None] = {}  # ids of deliveries that are held, as they were put
        self._attempts: list[Attempt] = []
        self._unconfirmed: dict[str, None] = {}
        self.journal: deque[JournalEntry] | None = None

    def is_new(self) -> bool:
        """Whether the account has nothing yet but a journal."""
        return not self._sessions and self.state == AccountState()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        return None

    async def change(self) -> AccountState:
        return self.state

    async def session(self, session_id: str) -> CheckoutSession | None:
        session = self._store.sessions.get(session_id)
        return session if session is not None and session.account == self.account else None

    async def add_session(self, session: CheckoutSession) -> None:
        self._sessions.append(session)
        self._store.sessions[session.id] = session
        self._by_status[session.status].add(session.sequence)
        if session.is_open:
            heappush(self._deadlines, (session.expires_at, session.sequence))
        self.state.note_session(session)

    async def replace_session(self, before: CheckoutSession, session: CheckoutSession) -> None:
        self._sessions[session.sequence] = session
        self._store.sessions[session.id] = session
        if before.status is not session.status:
            self._by_status[before.status].remove(session.sequence)
            self._by_status[session.status].add(session.sequence)
        while self._deadlines and not self._sessions[self._deadlines[0][1]].is_open:
            heappop(self._deadlines)
        self.state.deadline = self._deadlines[0][0] if self._deadlines else None

    async def overdue(self, now: int) -> CheckoutSession | None:
        deadline = self.state.deadline
        return None if deadline is None or deadline > now else self._sessions[self._deadlines[0][1]]

    async def _walk(self, interval: Interval, status: Status | None, limit: int) -> Sequence[CheckoutSession]:
        first, end, sessions = interval.first, interval.end, self._sessions
        places: Iterable[int] = range(first, end)[:: -1 if interval.newest_first else 1]
        if status is not None:
            places = self._by_status[status].irange(first, end, inclusive=(True, False), reverse=interval.newest_first)
        return [sessions[place] for place in islice(places, limit)]

    async def _first_since(self, created: int) -> int:
        return bisect_left(self._sessions, created, key=attrgetter("created"))

    async def sessions(self) -> Sequence[CheckoutSession]:
        return tuple(self._sessions)

    async def recall(self, key: str) -> IdempotencyRecord | None:
        return self._records.get(key)

    async def remember(self, record: IdempotencyRecord) -> None:
        self._records.pop(record.key, None)
        self._records[record.key] = record

    async def forget(self, until: int) -> None:
        old: list[str] = []
        # Looked through once: a dict finds its first value late when many are gone.
        for key, record in islice(self._records.items(), FORGOTTEN_AT_ONCE):
            if record.answered_at > until:
                break
            old.append(key)
        for key in old:
            del self._records[key]

    async def records(self) -> Sequence[IdempotencyRecord]:
        return tuple(self._records.values())

    async def add_event(self, event: Event) -> None:
        self._events.append(event)
        self._store.events[event.id] = event

    async def event(self, event_id: str) -> Event | None:
        event = self._store.events.get(event_id)
        return event if event is not None and event.account == self.account else None

    async def first_event(self) -> Event | None:
        return self._events[0] if self._events else None

    async def events(self, *, session_id: str | None = None) -> Sequence[Event]:
        return tuple([event for event in self._events if session_id in (None, event.session.id)])

    async def put_delivery(self, delivery: Delivery) -> None:
        await self.remove_delivery(delivery.id)
        self._deliveries[delivery.id] = delivery
        self._store.ids[delivery.id] = self.account
        if self._due is None:
            self._due = SortedList()
        self._due.add((delivery.due, delivery.id))
        if delivery.is_held:
            self._held[delivery.id] = None

    async def remove_delivery(self, delivery_id: str) -> None:
        delivery = self._deliveries.pop(delivery_id, None)
        if delivery is not None and self._due is not None:
            del self._store.ids[delivery_id]
            self._held.pop(delivery_id, None)
            self._due.discard((delivery.due, delivery_id))

    async def remove_deliveries(self, endpoint_id: str) -> None:
        for each in [each.id for each in self._deliveries.values() if each.endpoint_id == endpoint_id]:
            await self.remove_delivery(each)

    async def claim_deliveries(self, now: int, limit: int) -> Sequence[Delivery]:
        if not self._due:
            return ()
        chosen = list(islice(self._due.irange(None, (now + 1, "")), limit))
        for each in chosen:
            self._due.remove(each)
        return tuple([self._deliveries[delivery_id] for _, delivery_id in chosen])

    async def is_claimed(self, delivery_id: str) -> bool | None:
        delivery = self._deliveries.get(delivery_id)
        return None if delivery is None or self._due is None else (delivery.due, delivery_id) not in self._due

    async def next_delivery_due(self) -> int | None:
        return self._due[0][0] if self._due else None

    async def held_deliveries(self, endpoint_id: str) -> Sequence[Delivery]:
        held = [self._deliveries[each] for each in self._held if not await self.is_claimed(each)]
        return tuple([each for each in held if each.endpoint_id == endpoint_id])

    async def pending_deliveries(self) -> Sequence[Delivery]:
        return tuple(self._deliveries.values())

    async def release(self) -> None:
        """Release every claim: whoever made them is gone."""
        if self.state.move is not None:
            self.state.move.worker = None
        if self._due is not None:
            self._due = SortedList([(each.due, each.id) for each in self._deliveries.values()])

    async def add_attempt(self, attempt: Attempt) -> None:
        self._attempts.append(attempt)
        del self._attempts[:-ATTEMPTS_KEPT]
        self.state.attempts += 1

    async def attempts(self, *, after: int = 0) -> Sequence[Attempt]:
        dropped = self.state.attempts - len(self._attempts)
        return tuple(self._attempts[max(0, after - dropped) :])

    async def unconfirmed(self) -> Collection[str]:
        return self._unconfirmed

    async def set_unconfirmed(self, session_id: str, *, unconfirmed: bool) -> None:
        if unconfirmed:
            self._unconfirmed[session_id] = None
        else:
            self._unconfirmed.pop(session_id, None)

    async def hold(self, ids: Collection[str]) -> None:
        self._store.ids |= dict.fromkeys(ids, self.account)

    async def free(self, ids: Collection[str]) -> None:
        for each in ids:
            self._store.ids.pop(each, None)

    async def reserve(self, ids: Collection[str]) -> str | None:
        for each in ids:
            found = self._store.sessions.get(each) or self._store.events.get(each)
            holder = self._store.ids.get(each) if found is None else found.account
            if holder not in (None, self.account):
                return each
        for each in self._reserved:  # of a snapshot that this one replaces
            if self._store.reserved.get(each) == self.account:
                del self._store.reserved[each]
        self._reserved = ids
        self._store.reserved |= dict.fromkeys(ids, self.account)
        return None

    async def is_taken(self, object_id: str) -> bool:
        return object_id in self._store.sessions or object_id in self._store.reserved

    async def clear(self) -> None:
        for session in self._sessions:
            del self._store.sessions[session.id]
        for event in self._events:
            del self._store.events[event.id]
        await self.free([*self._deliveries, *self.state.ids()])
        records, deliveries = [*self._records.values()], [*self._deliveries.values()]
        had: list[list[Any]] = [self._sessions, self._events, self._deadlines, records, deliveries]
        self._empty(drawn=self.state.drawn)
        let_go(had)


class MemoryStore(Store):
    """Every account of one app: see `Store`."""

    name = "memory"

    def __init__(self) -> None:
        self._accounts: dict[AccountId, MemoryAccount] = {}
        self._visitors: OrderedDict[AccountId, MemoryAccount] = OrderedDict()  # that had nothing yet when last seen
        # Of all accounts, by id: what they have, whose a delivery, an endpoint or a rule is, and who restored an id.
        self.sessions: dict[str, CheckoutSession] = {}
        self.events: dict[str, Event] = {}
        self.ids: dict[str, AccountId] = {}
        self.reserved: dict[str, AccountId] = {}

    def transaction(
        self, account: AccountId, *, reading: bool = False, long: bool = False, key: str | None = None
    ) -> MemoryAccount:
        del reading, long, key  # nothing here suspends, so that nobody waits for anybody
        found = self._accounts.get(account)
        return self._visitor(account) if found is None else found

    def _visitor(self, account: AccountId) -> MemoryAccount:
        """An account that is not known to have anything; of those that have nothing only the latest are kept."""
        found = self._visitors.pop(account, None) or MemoryAccount(account, self)
        (self._visitors if found.is_new() else self._accounts)[account] = found
        if len(self._visitors) > _VISITORS_KEPT:
            oldest, forgotten = self._visitors.popitem(last=False)
            if not forgotten.is_new():
                self._accounts[oldest] = forgotten
        return found

    def _every(self) -> list[MemoryAccount]:
        return [*self._accounts.values(), *self._visitors.values()]

    def is_faultless(self, account: AccountId) -> bool:
        found = self._accounts.get(account) or self._visitors.get(account)
        return found is None or not found.state.faults

    async def owner(self, session_id: str) -> AccountId | None:
        session = self.sessions.get(session_id)
        return None if session is None else session.account

    async def accounts(self) -> Sequence[AccountId]:
        return tuple(self._accounts)

    def record(self, account: AccountId, entry: JournalEntry) -> None:
        found = self.transaction(account)
        if found.journal is None:
            found.journal = deque(maxlen=CAPACITY)
        found.journal.append(entry)

    async def journal(self, account: AccountId, *, most: int = CAPACITY) -> Sequence[JournalEntry]:
        newest = islice(reversed(self.transaction(account).journal or ()), most)
        return tuple([entry.redacted() for entry in newest][::-1])

    async def due_accounts(self, machine_now: int) -> Mapping[AccountId, int]:  # noqa: ARG002 - all, whenever due
        every = [
            (each.account, each.state.wake_at(each.state.deadline, await each.next_delivery_due()))
            for each in self._every()
        ]
        return {account: wake_at for account, wake_at in every if wake_at is not None}

    async def open(self) -> None:
        for account in self._every():
            await account.release()
