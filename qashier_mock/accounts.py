"""The account service: what an account is besides its checkout sessions.

That is its settings, webhook endpoints, fault rules, events, attempts, journal and advice; taking the whole of it out
as a snapshot, putting one in, and resetting it. Apart from the checkout service, only this one writes to a store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

from qashier_mock.core.advice import AdviceNote, about_webhooks
from qashier_mock.core.delivery import Attempt, Delivery
from qashier_mock.core.errors import ErrorKind, IdTaken, ObjectNotFound, RequestInvalid, SnapshotInvalid
from qashier_mock.core.faults import FaultRule
from qashier_mock.core.idempotency import IdempotencyRecord
from qashier_mock.core.journal import JournalEntry
from qashier_mock.core.lifecycle import LONGEST_LIFE, SHORTEST_LIFE, TRANSITIONS
from qashier_mock.core.model import (
    AccountClock,
    AccountId,
    CheckoutSession,
    Event,
    EventType,
    PaymentStatus,
    Profile,
    WebhookEndpoint,
)
from qashier_mock.core.sources import Clock
from qashier_mock.pipeline.garbage import garbage_left
from qashier_mock.service import CheckoutService
from qashier_mock.stores.base import Store, Transaction

LATEST: Final = 4_102_444_800 - LONGEST_LIFE
"""The last instant that a clock may show. A session created then still expires within what the document allows."""

MOST_DRAWN: Final = 2**52
"""How many ids a snapshot may say were drawn.

Half of it is the most that is believed: an account that draws on from there gives snapshots that can be put back. An id
that is taken is drawn past.
"""

MOST_ENDPOINTS: Final = 100
"""Webhook endpoints of an account, at most: each event is put into the outbox of each of them at once."""

MOST_FAULTS: Final = 1_000
"""Fault rules of an account, at most: each call and each webhook looks through them."""

_SESSION_BYTES: Final = 600
"""Bytes of JSON that a session takes in a snapshot, about."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What an account's clock shows, epoch seconds, and whether it is frozen."""

    now: int
    frozen: bool


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """A whole account at one moment, without secrets, its journal and attempts under way.

    `drawn` is how many ids have been drawn. Sessions are in order of creation, `sequence` counting from 0.
    """

    clock: ClockReading
    profile: Profile
    drawn: int
    sessions: list[CheckoutSession]
    records: list[IdempotencyRecord]
    events: list[Event]
    endpoints: Sequence[WebhookEndpoint]
    pending: list[Delivery]
    attempts: Sequence[Attempt]
    faults: Sequence[FaultRule]
    advice: Sequence[AdviceNote]
    unconfirmed: Collection[str]

    def lists(self) -> Sequence[list[Any]]:
        """What may be very long."""
        return self.sessions, self.records, self.events, self.pending


class AccountService:
    """Everything about accounts except what happens to their checkout sessions."""

    def __init__(
        self, store: Store, service: CheckoutService, *, clock: Clock, refuses_webhooks_to: Callable[[str], str | None]
    ) -> None:
        """Work on `store`, beside `service`; `refuses_webhooks_to` says why a URL may not be delivered to, or None."""
        self._store = store
        self._service = service
        self._clock = clock
        self._refuses = refuses_webhooks_to
        self._restoring = asyncio.Lock()  # one at a time: else two could reserve the same ids

    # time and settings

    async def clock(self, account: AccountId) -> ClockReading:
        """What the account's clock shows."""
        async with self._store.transaction(account, reading=True) as tx:
            return self._reading(tx)

    async def settings(self, account: AccountId) -> Profile:
        """The account's settings."""
        async with self._store.transaction(account, reading=True) as tx:
            return self._settings(tx)

    async def change_settings(self, account: AccountId, *, strict: bool | None, seed: int | None) -> Profile:
        """Change what is not None; return the settings afterwards."""
        async with self._store.transaction(account) as tx:
            state = await tx.change()
            if strict is not None:
                state.profile = replace(state.profile, strict=strict)
            if seed is not None:
                state.profile = replace(state.profile, seed=seed)
            return self._settings(tx)

    # webhooks

    async def events(
        self, account: AccountId, *, session_id: str | None = None, event_type: EventType | None = None
    ) -> Sequence[Event]:
        """Every event so far, oldest first. Expires what is overdue before it looks."""
        await self._service.sweep(account)
        async with self._store.transaction(account, reading=True, long=True) as tx:
            events = await tx.events(session_id=session_id)
        return tuple([event for event in events if event_type in (None, event.type)])

    async def endpoints(self, account: AccountId) -> Sequence[WebhookEndpoint]:
        """Where the account's events are delivered."""
        async with self._store.transaction(account, reading=True) as tx:
            return self._service.endpoints(tx)

    async def add_endpoint(
        self, account: AccountId, url: str, *, secret: str | None, types: tuple[EventType, ...]
    ) -> WebhookEndpoint:
        """Register an endpoint for future events.

        Raises:
            RequestInvalid: This server may not deliver webhooks there, or the account has too many.
        """
        self._check_url(url, "url")
        async with self._store.transaction(account) as tx:
            _check_room(tx.state.endpoints, MOST_ENDPOINTS, "webhook endpoints")
            endpoint = WebhookEndpoint(await self._service.draw(tx, "we_"), url, types, secret)
            state = await tx.change()
            state.endpoints = (*state.endpoints, endpoint)
            await tx.hold([endpoint.id])
            return endpoint

    async def remove_endpoint(self, account: AccountId, endpoint_id: str) -> None:
        """Forget an endpoint and what was still to be delivered there.

        Raises:
            ObjectNotFound: The account has no such endpoint.
            RequestInvalid: It is the server's, not the account's.
        """
        async with self._store.transaction(account) as tx:
            kept = tuple([each for each in tx.state.endpoints if each.id != endpoint_id])
            if len(kept) < len(tx.state.endpoints):
                (await tx.change()).endpoints = kept
                await tx.free([endpoint_id])
                return await tx.remove_deliveries(endpoint_id)
            if any(each.id == endpoint_id for each in self._service.endpoints(tx)):
                raise RequestInvalid(
                    f"Endpoint {endpoint_id} was given to the server with --webhook-url, for every account; "
                    "restart the server without it.",
                    param="id",
                )
            raise ObjectNotFound("webhook endpoint", endpoint_id)

    async def attempts(self, account: AccountId) -> Sequence[Attempt]:
        """The attempts so far, oldest first."""
        async with self._store.transaction(account, reading=True, long=True) as tx:
            return await tx.attempts()

    # faults

    async def faults(self, account: AccountId) -> Sequence[FaultRule]:
        """The rules, in the order in which they were made."""
        async with self._store.transaction(account, reading=True) as tx:
            return tx.state.faults

    async def add_fault(self, account: AccountId, rule: FaultRule) -> FaultRule:
        """Add a rule under a new id.

        Raises:
            RequestInvalid: The account has too many.
        """
        async with self._store.transaction(account) as tx:
            _check_room(tx.state.faults, MOST_FAULTS, "fault rules")
            rule = replace(rule, id=await self._service.draw(tx, "flt_"))
            state = await tx.change()
            state.faults = (*state.faults, rule)
            await tx.hold([rule.id])
            return rule

    async def remove_faults(self, account: AccountId, rule_id: str | None = None) -> None:
        """Remove one rule, or all.

        Raises:
            ObjectNotFound: The account has no such rule.
        """
        async with self._store.transaction(account) as tx:
            gone = {rule.id for rule in tx.state.faults if rule_id in (None, rule.id)}
            if rule_id is not None and not gone:
                raise ObjectNotFound("fault rule", rule_id)
            state = await tx.change()
            state.faults = tuple([rule for rule in state.faults if rule.id not in gone])
            await tx.free(gone)

    async def fault_of_call(self, account: AccountId, operation: str) -> FaultRule | None:
        """Find the rule that applies to a call, and count it as used once."""
        async with self._store.transaction(account, reading=True) as tx:
            if not tx.state.faults:
                return None
        async with self._store.transaction(account) as tx:
            return await self._service.pick_fault(tx, operation=operation)

    # what the integration did

    async def journal(self, account: AccountId) -> Sequence[JournalEntry]:
        """What the integration sent of the account's last 1,000 requests, oldest first: without those for pages."""
        return [entry for entry in await self._store.journal(account) if not entry.is_of_a_page]

    async def advice(self, account: AccountId) -> Sequence[AdviceNote]:
        """All advice to the integrator, as things stand."""
        async with self._store.transaction(account, reading=True, long=True) as tx:
            noted = tx.state.advice
            standing = about_webhooks(
                first_event=await tx.first_event(),
                endpoints=self._service.endpoints(tx),
                attempts=await tx.attempts(),
                unconfirmed=await tx.unconfirmed(),
            )
        known = {note.advice.subject for note in noted}
        new = [note for note in standing if note.advice.subject not in known]
        return sorted([*noted, *new], key=lambda note: note.at)

    # the whole

    async def reset(self, account: AccountId) -> ClockReading:
        """Empty the account and set its clock to the machine's time. Ids that were given out do not come again."""
        async with self._store.transaction(account, long=True) as tx:
            await tx.clear()
            return self._reading(tx)

    async def snapshot(self, account: AccountId) -> AccountSnapshot:
        """The whole account as of now."""
        await self._service.sweep(account)
        async with self._store.transaction(account, reading=True, long=True) as tx:
            with garbage_left(tx.state.sessions * _SESSION_BYTES):
                return AccountSnapshot(
                    clock=self._reading(tx),
                    profile=self._settings(tx),
                    drawn=tx.state.drawn,
                    sessions=[*await tx.sessions()],
                    records=[*await tx.records()],
                    events=[*await tx.events()],
                    endpoints=tx.state.endpoints,
                    pending=[*await tx.pending_deliveries()],
                    attempts=await tx.attempts(),
                    faults=tx.state.faults,
                    advice=tx.state.advice,
                    unconfirmed=tuple(await tx.unconfirmed()),
                )

    async def restore(self, account: AccountId, snapshot: AccountSnapshot) -> None:
        """Replace all that this account has by a snapshot that does not contradict itself; all or nothing.

        Raises:
            IdTaken: An id in it belongs to another account.
            RequestInvalid: An endpoint may not be delivered to.
        """
        for index, endpoint in enumerate(snapshot.endpoints):
            self._check_url(endpoint.url, f"webhook_endpoints[{index}].url")
        async with self._restoring, self._store.transaction(account, long=True) as tx:
            taken = await tx.reserve(_ids(snapshot))
            if taken is not None:
                raise IdTaken(taken)
            drawn = max(tx.state.drawn, min(snapshot.drawn, MOST_DRAWN // 2))
            await tx.clear()
            clock = AccountClock.showing(snapshot.clock.now, self._clock(), frozen=snapshot.clock.frozen)
            state = await tx.change()
            state.profile, state.drawn = replace(snapshot.profile, clock=clock), drawn
            await _fill(tx, snapshot)
        async with self._store.transaction(account, reading=True) as tx:
            await self._service.announce(tx)

    def _check_url(self, url: str, param: str) -> None:
        refusal = self._refuses(url)
        if refusal is not None:
            raise RequestInvalid(refusal, kind=ErrorKind.RULE, param=param)

    def _reading(self, tx: Transaction) -> ClockReading:
        return ClockReading(self._service.now(tx), frozen=tx.state.profile.clock.frozen_at is not None)

    def _settings(self, tx: Transaction) -> Profile:
        return replace(tx.state.profile, strict=self._service.advisor.is_strict(tx))


def _check_room(had: Sequence[object], most: int, what: str) -> None:
    if len(had) >= most:
        message = f"An account has at most {most:,} {what}; remove some, or reset the account."
        raise RequestInvalid(message, kind=ErrorKind.RULE)


async def _fill(tx: Transaction, snapshot: AccountSnapshot) -> None:
    for session in snapshot.sessions:
        await tx.add_session(session)
    for record in snapshot.records:
        await tx.remember(record)
    for event in snapshot.events:
        await tx.add_event(event)
    state = await tx.change()
    state.endpoints, state.faults = tuple(snapshot.endpoints), tuple(snapshot.faults)
    await tx.hold(state.ids())
    for delivery in snapshot.pending:
        await tx.put_delivery(delivery)
    for attempt in snapshot.attempts:
        await tx.add_attempt(attempt)
    for note in snapshot.advice:
        (await tx.change()).note_advice(note.advice, note.request_id, note.at, count=note.count)
    for session_id in snapshot.unconfirmed:
        await tx.set_unconfirmed(session_id, unconfirmed=True)


def _ids(snapshot: AccountSnapshot) -> Collection[str]:
    return [
        *(session.id for session in snapshot.sessions),
        *(event.id for event in snapshot.events),
        *(endpoint.id for endpoint in snapshot.endpoints),
        *(delivery.id for delivery in snapshot.pending),
        *(rule.id for rule in snapshot.faults),
    ]


_LED_TO: Final = {move.status: move for move in TRANSITIONS.values()}
"""What belongs to each status: the payment status, unless nothing is to be paid, and the one event."""


def check_snapshot(snapshot: AccountSnapshot) -> None:
    """Refuse a snapshot that contradicts itself; the error names where."""
    now = snapshot.clock.now
    if now > LATEST:
        raise SnapshotInvalid(f"its clock is beyond {LATEST}, the last instant that one can show", "clock.now")
    if snapshot.drawn > MOST_DRAWN:
        raise SnapshotInvalid(f"its counter is beyond {MOST_DRAWN}", "counter")
    for index, session in enumerate(snapshot.sessions):
        _check_session(session, now, f"sessions[{index}]")
    for index, (earlier, later) in enumerate(pairwise(snapshot.sessions)):
        if later.created < earlier.created:
            raise SnapshotInvalid("sessions must stand in order of creation", f"sessions[{index + 1}].created")
    told = set()
    for index, event in enumerate(snapshot.events):
        if event.type is not _LED_TO[event.session.status].event:
            raise SnapshotInvalid(
                f"an event of a session that is {event.session.status} is not {event.type}", f"events[{index}].type"
            )
        if event.session.id in told:
            raise SnapshotInvalid("a session ends once, with one event", f"events[{index}].session")
        told.add(event.session.id)


def _check_session(session: CheckoutSession, now: int, where: str) -> None:
    free = session.amount_total == 0
    expected = PaymentStatus.NO_PAYMENT_REQUIRED if free else _LED_TO[session.status].payment_status
    if session.payment_status is not expected:
        what = f"a session that is {session.status} with a total of {session.amount_total} is {expected}"
        raise SnapshotInvalid(f"{what}, not {session.payment_status}", f"{where}.payment_status")
    if any(line.currency != session.currency for line in session.line_items):
        raise SnapshotInvalid("the lines of a session have one currency", f"{where}.line_items")
    if session.created > now:
        raise SnapshotInvalid("a session was created after the snapshot's now", f"{where}.created")
    if not SHORTEST_LIFE <= session.expires_at - session.created <= LONGEST_LIFE:
        what = f"a session must expire {SHORTEST_LIFE:,} to {LONGEST_LIFE:,} seconds after it was created"
        raise SnapshotInvalid(what, f"{where}.expires_at")
