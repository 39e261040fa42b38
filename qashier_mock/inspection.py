"""What the inspector shows: accounts, and each account's sessions with all that happened to them.

Reads only. Nothing here earns advice, counts as polling or writes to the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from qashier_mock.core.delivery import Attempt, Delivery
from qashier_mock.core.errors import SessionNotFound
from qashier_mock.core.journal import JournalEntry
from qashier_mock.core.model import AccountId, CheckoutSession, Event
from qashier_mock.core.paging import ListQuery, Page
from qashier_mock.service import CheckoutService
from qashier_mock.stores.base import Store

ACCOUNTS_SHOWN: Final = 200
"""Accounts on the first page; whoever has more finds one by its key."""
_READ_AT_ONCE: Final = 100
"""Accounts that are looked at before others have their turn: some 2 ms."""
_SEARCHED: Final = 100
"""Sessions that a search for an amount shows at most."""


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """An account in the list of accounts.

    Attributes:
        now: What its clock shows, epoch seconds.
        last_request: Its latest in the journal, None where that is empty.
    """

    account: AccountId
    now: int
    is_frozen: bool
    sessions: int
    last_request: JournalEntry | None


class Kind(StrEnum):
    """What an entry of a timeline is about."""

    REQUEST = "request"
    PAGE = "page"
    EVENT = "event"
    ATTEMPT = "attempt"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened to a session. `at` is in epoch seconds of the account's clock."""

    at: int
    kind: Kind
    what: JournalEntry | Event | Attempt | Delivery


@dataclass(frozen=True, slots=True)
class SessionHistory:
    """A session with its timeline, oldest first."""

    session: CheckoutSession
    now: int
    entries: tuple[Entry, ...]
    events: tuple[Event, ...]


class Inspection:
    """Reads for the inspector, over all accounts of a store."""

    def __init__(self, store: Store, service: CheckoutService) -> None:
        self._store = store
        self._service = service

    async def accounts(self) -> Sequence[AccountSummary]:
        """The accounts that have something, at most 200, those with the most sessions first."""
        found = []
        for number, account in enumerate(await self._store.accounts(), start=1):
            if number % _READ_AT_ONCE == 0:
                await asyncio.sleep(0)  # others have their turn
            async with self._store.transaction(account, reading=True) as tx:
                now, is_frozen = self._service.now(tx), tx.state.profile.clock.frozen_at is not None
                sessions = tx.state.sessions
            last = await self._store.journal(account, most=1)
            if sessions or last:
                found.append(AccountSummary(account, now, is_frozen, sessions, last[0] if last else None))
        return sorted(found, key=lambda each: -each.sessions)[:ACCOUNTS_SHOWN]

    async def sessions(self, account: AccountId, query: ListQuery) -> Page:
        """A page of an account's sessions as of now, newest first; an unknown cursor begins at the newest."""
        await self._service.sweep(account)
        async with self._store.transaction(account, reading=True) as tx:
            cursor = query.starting_after or query.ending_before
            marked = None if cursor is None else await tx.session(cursor)
            if marked is None:
                return await tx.page(replace(query, starting_after=None, ending_before=None), None)
            return await tx.page(query, marked.sequence)

    async def search(self, account: AccountId, text: str) -> Sequence[CheckoutSession]:
        """The sessions with that id, or with that total (`12.50` or 1250 minor units); newest first, at most 100."""
        await self._service.sweep(account)
        async with self._store.transaction(account, reading=True, long=True) as tx:
            named = await tx.session(text)
            if named is not None:
                return [named]
            digits = text.replace(".", "").replace(",", "")
            if not digits.isdecimal():
                return []
            amount = int(digits)
            return [each for each in reversed(await tx.sessions()) if each.amount_total == amount][:_SEARCHED]

    async def session(self, account: AccountId, session_id: str) -> SessionHistory:
        """A session with all that is known to have happened to it.

        Raises:
            SessionNotFound: The account has no such session.
        """
        await self._service.sweep(account)
        async with self._store.transaction(account, reading=True, long=True) as tx:
            session = await tx.session(session_id)
            if session is None:
                raise SessionNotFound(session_id)
            now = self._service.now(tx)
            events = await tx.events(session_id=session_id)
            attempts = [each for each in await tx.attempts() if each.session_id == session_id]
            ids = {event.id for event in events}
            pending = [each for each in await tx.pending_deliveries() if each.event_id in ids]
        journal = await self._store.journal(account)
        return SessionHistory(session, now, timeline(session_id, journal, events, attempts, pending), tuple(events))

    async def next_deadline(self, account: AccountId) -> int | None:
        """The earliest `expires_at` of the account's open sessions, epoch seconds; None if none is open."""
        async with self._store.transaction(account, reading=True) as tx:
            return tx.state.deadline

    async def version(self, account: AccountId | None) -> tuple[object, ...]:
        """Something that differs once there is news of an account, or of any."""
        if account is None:
            return tuple((each.account, each.sessions, each.last_request) for each in await self.accounts())
        async with self._store.transaction(account, reading=True) as tx:
            clock, drawn = tx.state.profile.clock, tx.state.drawn
            state = (clock, drawn, tx.state.deadline, tx.state.attempts, len(tx.state.faults), len(tx.state.endpoints))
            # What else may become of deliveries shows in the numbers drawn and tried.
            due = await tx.next_delivery_due()
        return (*state, due, await self._store.journal(account, most=1))


def timeline(
    session_id: str,
    journal: Iterable[JournalEntry],
    events: Iterable[Event],
    attempts: Iterable[Attempt],
    pending: Iterable[Delivery],
) -> tuple[Entry, ...]:
    """What happened to a session, in order of the account's clock; within a second a cause stands before its effect.

    A request that found the session ended, and did not end it, stands behind the webhook that told of the end.
    """
    events = tuple(events)
    ended_by = {event.request_id for event in events}
    ranked = [
        (
            _LATE if _shows_the_end(each) and each.request_id not in ended_by else _ORDER[kind],
            Entry(each.at, kind, each),
        )
        for each in journal
        if _concerns(each, session_id.encode())
        for kind in (Kind.PAGE if each.is_of_a_page else Kind.REQUEST,)
    ]
    ranked += [(_ORDER[Kind.EVENT], Entry(each.created, Kind.EVENT, each)) for each in events]
    ranked += [(_ORDER[Kind.ATTEMPT], Entry(each.at, Kind.ATTEMPT, each)) for each in attempts]
    ranked += [(_ORDER[Kind.PENDING], Entry(each.due, Kind.PENDING, each)) for each in pending]
    return tuple(entry for _, entry in sorted(ranked, key=lambda each: (each[1].at, each[0])))


_ORDER: Final[dict[Kind, float]] = {kind: order for order, kind in enumerate(Kind)}
_LATE: Final = _ORDER[Kind.ATTEMPT] + 0.5
"""Behind the attempts of its second, before what is still due."""


_ONE_SESSION: Final = {"retrieve_checkout_session", "expire_checkout_session"}


def _shows_the_end(entry: JournalEntry) -> bool:
    """Whether a request was answered with a session that was complete or expired."""
    body = entry.response_body or b""
    return entry.operation in _ONE_SESSION and (b'"status":"complete"' in body or b'"status":"expired"' in body)


def _concerns(entry: JournalEntry, session_id: bytes) -> bool:
    """Whether a request is about a session: its path names it, or it is the create that answered with it."""
    if session_id in entry.path.partition(b"?")[0]:
        return True
    return entry.operation == "create_checkout_session" and session_id in (entry.response_body or b"")
