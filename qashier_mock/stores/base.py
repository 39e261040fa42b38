"""What a store promises, and its unit of work. It keeps what it is given and finds it again; it decides nothing."""

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
    """One account's unit of work: other commands on the account see all of it or nothing.

    A method costs O(log n) in what the account holds, plus what it returns, unless it says otherwise.

    Attributes:
        account: Whose.
        worker: This process, as the store numbers those that work on it.
        state: What the account has one of, as it is now; call `change()` before you change it.
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

    async def session(self, session_id: str) -> CheckoutSession | None: ...

    async def add_session(self, session: CheckoutSession) -> None:
        """Add a session at the end of the order of creation; its `sequence` is `state.sessions`."""

    async def replace_session(self, before: CheckoutSession, session: CheckoutSession) -> None: ...

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

    async def first_event(self) -> Event | None: ...

    async def events(self, *, session_id: str | None = None) -> Sequence[Event]:
        """All, or those of a session; oldest first; O(n) in the account's events."""

    async def put_delivery(self, delivery: Delivery) -> None:
        """Add or replace a delivery; no process has claimed it then."""

    async def remove_delivery(self, delivery_id: str) -> None: ...

    async def remove_deliveries(self, endpoint_id: str) -> None:
        """Remove what is still to be delivered to an endpoint; O(n) in all that is to be delivered."""

    async def claim_deliveries(self, now: int, limit: int) -> Sequence[Delivery]:
        """Claim deliveries that are due at or before `now` and not claimed: at most `limit`, earliest first.

        This process attempts them, and puts or removes each of them then. When it dies, any process may claim them.
        """

    async def is_claimed(self, delivery_id: str) -> bool | None:
        """Whether this process has claimed the delivery; None where it is no longer there."""

    async def is_attempted_elsewhere(self) -> bool:
        """Whether another process has claimed deliveries of the account."""
        return False

    async def next_delivery_due(self) -> int | None:
        """The earliest `due` of a delivery that is not claimed."""

    async def held_deliveries(self, endpoint_id: str) -> Sequence[Delivery]:
        """Deliveries to an endpoint that are held (see `Delivery.is_held`) and not claimed."""

    async def pending_deliveries(self) -> Sequence[Delivery]:
        """All that is still to be delivered, claimed or not; O(n)."""

    async def add_attempt(self, attempt: Attempt) -> None: ...

    async def attempts(self, *, after: int = 0) -> Sequence[Attempt]:
        """The last 10,000, oldest first; without the first `after` of all that were ever added."""

    async def unconfirmed(self) -> Collection[str]:
        """Ids of sessions that have ended with a webhook and were not retrieved since."""

    async def set_unconfirmed(self, session_id: str, *, unconfirmed: bool) -> None: ...

    # ids

    async def hold(self, ids: Collection[str]) -> None:
        """Note ids of the account's endpoints or fault rules; clearing it forgets them."""

    async def free(self, ids: Collection[str]) -> None:
        """Forget those of endpoints or fault rules that are gone."""

    async def reserve(self, ids: Collection[str]) -> str | None:
        """Reserve the ids of a snapshot in place of those of an earlier one, so that nobody draws them.

        Returns the first that something of another account has, and reserves nothing then.
        """

    async def is_taken(self, object_id: str) -> bool:
        """Whether an id is reserved, or that of a session of any account."""

    async def clear(self) -> None:
        """Remove all that the account holds, its journal included; `state.drawn` stays. O(n).

        For long commands only, which may write after that, but read nothing of the account.
        """


class Store(Protocol):
    """All accounts.

    Leaving a transaction commits it. So does an `ApiError`: a refusal is an answer, and what the command did before
    (expiring what was overdue) stays done. Any other exception rolls it back; memory cannot do that. A store that is
    gone, full or otherwise unable raises `StoreUnavailable`, and nothing was done. Only where a connection breaks while
    it commits, nobody can say whether that was done.

    Attributes:
        name: What `health` shows.
        look_every: Seconds between two looks at `due_accounts`, for what other processes, living or dead, have left
            there; None: `due_accounts` tells all at once.
        incarnation: Names this process among all that ever worked on the open store; empty where nothing outlives it.
        is_shared: Whether several processes may work on it at the same time.
    """

    name: str
    look_every: float | None = None
    incarnation: str = ""
    is_shared: bool = False

    def transaction(
        self, account: AccountId, *, reading: bool = False, long: bool = False, key: str | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """Work on an account, while no other command does.

        Nobody need wait for one that is `reading`; if it writes after all, it decides that on what `overdue` or
        `change` returns. A `long` one reads all that the account has, as of one moment, or clears it, and commands on
        other accounts have their turn meanwhile. One with a `key` raises `IdempotencyKeyInUse` where another with that
        idempotency key is under way.
        """

    def is_faultless(self, account: AccountId) -> bool:  # noqa: ARG002
        """Whether this process knows the account to have no fault rules. Asks nobody, for each call wants to know."""
        return False

    async def owner(self, session_id: str) -> AccountId | None:
        """The account that a session belongs to."""

    async def accounts(self) -> Sequence[AccountId]:
        """Every account that was ever used, in order of first use; O(accounts)."""

    def record(self, account: AccountId, entry: JournalEntry) -> None:
        """Append to an account's journal. Never suspends; a store may write it a little later."""

    async def journal(self, account: AccountId, *, most: int = CAPACITY) -> Sequence[JournalEntry]:
        """The last requests, at most so many, oldest first."""

    async def due_accounts(self, machine_now: int) -> Mapping[AccountId, int]:
        """Accounts with something that waits for its time, and when that is due by the machine's clock.

        A store with `look_every` returns those that are due, at most `DUE_AT_ONCE`, and each of them to one process
        only for a few seconds: should that process die, another gets it. Any other store returns all; O(accounts).
        """

    async def open(self) -> None:
        """Get ready. Raises `StoreUnavailable` where that fails."""

    async def close(self) -> None:
        return None


class StoreUrlError(ValueError):
    """A URL that names no store, or one whose extra is not installed; the message says what to write or install."""


class StoreUnavailable(Exception):
    """The store cannot be reached or used; the message says why and what to check."""
