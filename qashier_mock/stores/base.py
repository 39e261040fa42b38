"""What a store promises, and its unit of work.

A store keeps what it is given and finds it again; it decides nothing. All that one command reads and writes of an
account happens in one transaction of that account: other commands of the account see all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from qashier_mock.core.account import AccountState
from qashier_mock.core.delivery import Attempt, Delivery
from qashier_mock.core.idempotency import IdempotencyRecord
from qashier_mock.core.journal import CAPACITY, JournalEntry
from qashier_mock.core.model import AccountId, CheckoutSession, Event, Status
from qashier_mock.core.paging import Interval, ListQuery, Page, take

ATTEMPTS_KEPT: Final = 10_000
"""Attempts that an account remembers."""

FORGOTTEN_AT_ONCE: Final = 1_000
"""Idempotency records that one command drops, at most."""

DUE_AT_ONCE: Final = 100
"""Accounts that a store with `look_every` hands out as due at once, at most."""


class Transaction(Protocol):
    """One account's unit of work.

    Costs are O(log n) in what the account holds, plus what is returned, unless a method says otherwise. What there is
    one of for each account (profile, counters, endpoints, rules, advice) is its `state`: it has been read when the
    transaction begins, and is changed after `change()` only.

    Attributes:
        account: Whose.
        worker: This process, as the store numbers those that work on it.
        state: What the account has one of, as it is now.
    """

    __slots__ = ()

    account: AccountId
    worker: int
    state: AccountState

    async def change(self) -> AccountState:
        """The state, to be changed."""

    # sessions

    def newest(self) -> int:
        """The `created` of the newest session, 0 where there is none."""
        return self.state.newest

    def next_deadline(self) -> int | None:
        """The earliest `expires_at` of an open session."""
        return self.state.deadline

    async def session(self, session_id: str) -> CheckoutSession | None:
        """This account's session, or None."""

    async def add_session(self, session: CheckoutSession) -> None:
        """Add a session at the end of the order of creation; its `sequence` is `state.sessions`."""

    async def replace_session(self, before: CheckoutSession, session: CheckoutSession) -> None:
        """Put a changed session in the place of what it was."""

    async def overdue(self, now: int) -> CheckoutSession | None:
        """The open session with the earliest `expires_at`, if that is at or before `now`."""

    async def page(self, query: ListQuery, cursor: int | None) -> Page:
        """The answer to a list query; `cursor` is the `sequence` of the session that the query's cursor names."""
        since, until = query.created.since, query.created.until
        first = 0 if since is None else await self._first_since(since)
        end = self.state.sessions if until is None else await self._first_since(until)
        interval = Interval(first, end, newest_first=True).after_cursor(query, cursor)
        walk = await self._walk(interval, query.status, query.limit + 1)
        return Page(*take(walk, query.limit, newest_first=interval.newest_first))

    async def _first_since(self, created: int) -> int:
        """The sequence of the first session created at or after an instant: sequences grow with creation."""

    async def _walk(self, interval: Interval, status: Status | None, limit: int) -> Sequence[CheckoutSession]:
        """The first sessions of an interval that have the status."""

    async def sessions(self) -> Sequence[CheckoutSession]:
        """All of the account's, in order of creation; O(n)."""

    # idempotency

    async def recall(self, key: str) -> IdempotencyRecord | None: ...

    async def remember(self, record: IdempotencyRecord) -> None: ...

    async def forget(self, until: int) -> None:
        """Drop idempotency records that were answered at or before `until`, `FORGOTTEN_AT_ONCE` of them at most."""

    async def records(self) -> Sequence[IdempotencyRecord]:
        """All of the account's, in the order of their answers; O(n)."""

    # events and their delivery

    async def add_event(self, event: Event) -> None: ...

    async def event(self, event_id: str) -> Event | None: ...

    async def events(self, *, session_id: str | None = None, most: int | None = None) -> Sequence[Event]:
        """All, or those of a session; oldest first, at most so many; O(n) in the account's events."""

    async def put_delivery(self, delivery: Delivery) -> None:
        """Add a delivery, or change one; nobody attempts it from here on."""

    async def remove_delivery(self, delivery_id: str) -> None: ...

    async def remove_deliveries(self, endpoint_id: str) -> None:
        """Remove what is still to be delivered to an endpoint that is gone; O(n) in what is to be delivered."""

    async def claim_deliveries(self, now: int, limit: int) -> Sequence[Delivery]:
        """Those that are due at or before `now` and that nobody attempts, earliest first, at most `limit`.

        They are this process's to attempt until it puts or removes them. When it dies, anyone may claim them again.
        """

    async def is_claimed(self, delivery_id: str) -> bool | None:
        """Whether the delivery is this process's to attempt; None where there is no such delivery any more."""

    async def is_attempted_elsewhere(self) -> bool:
        """Whether another process has deliveries of the account to attempt."""

    async def next_delivery_due(self) -> int | None:
        """The earliest `due` of a delivery that nobody attempts."""

    async def held_deliveries(self, endpoint_id: str) -> Sequence[Delivery]:
        """What is held at an endpoint until something else was attempted there, and that nobody attempts."""

    async def pending_deliveries(self) -> Sequence[Delivery]:
        """All that is still to be delivered; O(n) in that."""

    async def add_attempt(self, attempt: Attempt) -> None: ...

    async def attempts(self, *, after: int = 0) -> Sequence[Attempt]:
        """The last 10,000, oldest first, without the first `after` that were ever added."""

    async def unconfirmed(self) -> Collection[str]:
        """Ids of sessions that have ended with a webhook and were not retrieved since."""

    async def set_unconfirmed(self, session_id: str, *, unconfirmed: bool) -> None: ...

    # ids

    async def hold(self, ids: Collection[str]) -> None:
        """Say that endpoints or fault rules of the account have these ids, until it is cleared."""

    async def free(self, ids: Collection[str]) -> None:
        """Say that the endpoints or fault rules with these ids are gone."""

    async def reserve(self, ids: Collection[str]) -> str | None:
        """Claim ids that were drawn elsewhere, or return the first that another account has.

        An account has the ids of its sessions, events, endpoints, deliveries to come and fault rules. What it claimed
        for an earlier snapshot is nobody's then.
        """

    async def is_taken(self, object_id: str) -> bool:
        """Whether an id is that of a session of any account, or was reserved."""

    async def clear(self) -> None:
        """Remove all that the account holds, its journal included, but `drawn` stays; O(n).

        Long commands only, which may read nothing more of the account after that.
        """


class Store(Protocol):
    """All accounts. A command works inside `async with store.transaction(account)`.

    Leaving a transaction commits it, also by an `ApiError`: a refusal is an answer, and what the command did before it
    (expiring what was overdue) stays done. Any other exception rolls it back, as far as the store can. Whatever cannot
    be done because the store is gone, full or otherwise unable raises `StoreUnavailable`, and nothing was done; only
    where a connection breaks while it commits, nobody can say whether it did.

    Attributes:
        name: What `health` shows.
        look_every: Seconds after which to look at `due_accounts` again, because other processes, living or dead, may
            have left something there. None: nobody else works on this store.
        incarnation: Once it is open, a text that no other process has or had that worked on what it keeps; empty where
            nothing outlives the process.
        needs_selector: Whether its driver needs an event loop that watches sockets, which Windows' usual one does not.
    """

    name: str
    look_every: float | None
    incarnation: str
    needs_selector: bool

    def transaction(
        self, account: AccountId, *, reading: bool = False, long: bool = False, key: str | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """Work on an account, while no other command does.

        Args:
            account: Whose.
            reading: The command reads, and others need not wait for it; what it writes in the end all the same it
                decides after this store has told it (`overdue`, `change`).
            long: The command reads all that the account has, or clears it. What it reads belongs to one moment, and
                commands on other accounts have their turn meanwhile, however much that is.
            key: An idempotency key: raises `IdempotencyKeyInUse` where a transaction with the same key is under way,
                instead of waiting for that.
        """

    def is_faultless(self, account: AccountId) -> bool:
        """Whether this process knows, without asking anyone, that the account has no fault rules.

        Asked for every call, so it is the cheapest question of all.
        """

    async def owner(self, session_id: str) -> AccountId | None:
        """The account that a session belongs to."""

    async def accounts(self) -> Sequence[AccountId]:
        """Every account that was ever used, in order of first use; O(accounts)."""

    def record(self, account: AccountId, entry: JournalEntry) -> None:
        """Append to an account's journal. Never suspends; a store may write it a little later."""

    async def journal(self, account: AccountId, *, most: int = CAPACITY) -> Sequence[JournalEntry]:
        """The last requests, at most so many, oldest first."""

    async def due_accounts(self, machine_now: int) -> Mapping[AccountId, int]:
        """Accounts that have something waiting for time, and when that is due by the machine's clock.

        A store with `look_every` gives those that are due, `DUE_AT_ONCE` at a time, and each to one process only for a
        few seconds: whoever got it sees to it, and if that one dies another will. Any other store gives all:
        O(accounts).
        """

    async def open(self) -> None:
        """Get ready. Raises `StoreUnavailable` when it cannot."""

    async def close(self) -> None: ...


class StoreUrlError(ValueError):
    """A URL that names no store, or one whose extra is not installed; the message says what to write or install."""


class StoreUnavailable(Exception):
    """The store cannot be reached or used; the message says why and what to check."""
