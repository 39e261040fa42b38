"""The checkout service: every command on checkout sessions, and the only writer of them.

Each command is one transaction of one account. It first expires the sessions whose deadline has passed, through the
table of transitions (EXP-7, LIS-8). It commits a change together with its event and the event's deliveries, which wait
in the outbox. This module does not know who sends them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

from qashier_mock.advising import Advisor
from qashier_mock.core.advice import REUSED_KEY, TIGHT_POLLING, Advice
from qashier_mock.core.delivery import plan
from qashier_mock.core.errors import (
    ApiError,
    CursorsExclusive,
    CursorUnknown,
    IdempotencyKeyReused,
    SessionNotFound,
    SessionNotOpen,
)
from qashier_mock.core.faults import FaultRule, pick
from qashier_mock.core.idempotency import Decision, IdempotencyRecord, last_forgotten
from qashier_mock.core.lifecycle import Trigger, check_currencies
from qashier_mock.core.model import (
    MACHINE_CLOCK,
    AccountClock,
    AccountId,
    CheckoutSession,
    CreateSession,
    Event,
    EventType,
    WebhookEndpoint,
)
from qashier_mock.core.paging import ListQuery, Page
from qashier_mock.core.policy import Policy
from qashier_mock.core.request import RequestRef
from qashier_mock.core.rules import DEFAULT_RULES, Rules
from qashier_mock.core.sources import Clock, SeededIds
from qashier_mock.overdue import (
    EXPIRED_AT_ONCE,
    another_process_moves_the_clock,
    current_session,
    has_overdue,
    once_nothing_is_overdue,
    require_none_overdue,
)
from qashier_mock.stores.base import Store, Transaction

Advised = tuple[CheckoutSession, Sequence[Advice]]
"""The answer to an API command: the session, and the advice that is new to the account."""

Wake = Callable[[AccountId, int], None]
"""Called after a commit, with an instant of the machine's clock at which something of the account falls due; 0: now."""


class CheckoutService:
    """Checkout sessions of all accounts.

    Every method works on the account that it is given, and raises `SessionNotFound` for another account's session. A
    command of the API returns its advice, too; where it is refused, the error has it (`ApiError.advice`).
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        ids: SeededIds,
        policy: Policy,
        public_url: Callable[[], str],
        common_endpoints: Sequence[WebhookEndpoint] = (),
        strict: bool = False,
        rules: Rules = DEFAULT_RULES,
    ) -> None:
        """Work on `store`, by the machine's `clock`.

        `public_url` is what a new session's `url` begins with; it is asked at each creation, since a server knows its
        own port only once it listens. The events of every account go to `common_endpoints`, besides its own. `strict`
        holds for accounts without a setting of their own.
        """
        self._store = store
        self._clock = clock
        self._ids = ids
        self._policy = policy
        self._public_url = public_url
        self._common_endpoints = tuple(common_endpoints)
        self.advisor = Advisor(clock, strict=strict)
        self._rules = rules
        self._refuses_in_flight = policy.idempotency_in_flight == "conflict"
        self.on_due: Wake = lambda _account, _machine_instant: None
        self.on_event: Callable[[Event], None] | None = None  # called with each event that arises
        self._expired: dict[AccountId, dict[str, None]] = {}  # see `noting_expired`
        self._clocks: dict[AccountId, AccountClock] = {}  # as last seen; only of accounts whose clock was moved

    # the API

    @once_nothing_is_overdue
    async def create(self, account: AccountId, params: CreateSession, request: RequestRef) -> Advised:
        """Open a session. A remembered idempotency key gets its first answer again and opens none.

        Raises:
            ExpiresAtOutOfRange, CurrencyMixed, CurrencyUnavailable: Rules of creation (CRE-7, CRE-13).
            IdempotencyKeyReused: The key came with another request, and the policy or strict mode refuses that.
            IdempotencyKeyInUse: A request with the key is under way, and the policy refuses to wait for it.
        """
        check_currencies(params, self._policy.currencies)
        key = request.idempotency_key if self._refuses_in_flight else None
        async with self._store.transaction(account, key=key) as tx:
            # Another machine's clock may be ahead of this one's, and the list is ordered by creation (LIS-4). `max`
            # keeps the first of two that are equal, so sessions of the same second share one int: that saves memory.
            read = await self._sync_clock(tx)
            now = max(tx.newest(), read)
            advice = await self.advisor.about(tx, request, now)
            try:
                replayed = await self._replay(tx, request, now, advice)
                if replayed is not None:
                    return replayed
                session = self._rules.open_session(
                    params,
                    session_id=await self.draw(tx, "cs_test_"),
                    account=account,
                    sequence=tx.state.sessions,
                    now=now,
                    pay_url=self._public_url() + "/pay/",
                )
                await tx.add_session(session)
            except ApiError as error:
                error.advice = advice
                raise
            await self._remember(tx, request, session, now)
            await self.announce(tx)
            return session, advice

    @once_nothing_is_overdue
    async def retrieve(self, account: AccountId, session_id: str, request_id: str) -> Advised:
        """The session as of now (RET-1, EXP-7)."""
        async with self._store.transaction(account, reading=True) as tx:
            now = await self._sync_clock(tx)
            session = await current_session(tx, session_id, now)
            if session.is_open:
                if self.advisor.is_polling(tx, session_id, now):
                    return session, await self.advisor.new(tx, (TIGHT_POLLING,), request_id, now)
            else:
                await tx.set_unconfirmed(session_id, unconfirmed=False)
            return session, ()

    @once_nothing_is_overdue
    async def list_sessions(self, account: AccountId, query: ListQuery) -> Page:
        """A page of the account's sessions, as of now (LIS-1 to LIS-14).

        Raises:
            CursorsExclusive: Both cursors were given.
            CursorUnknown: A cursor names no session of this account (AUTH-5, LIS-13).
        """
        if query.starting_after is not None and query.ending_before is not None:
            raise CursorsExclusive
        async with self._store.transaction(account, reading=True) as tx:
            await self._sync_wholly(tx)
            cursor = query.starting_after if query.ending_before is None else query.ending_before
            if cursor is None:
                return await tx.page(query, None)
            marked = await tx.session(cursor)
            if marked is None:
                name = "starting_after" if query.ending_before is None else "ending_before"
                raise CursorUnknown(name, cursor)
            return await tx.page(query, marked.sequence)

    @once_nothing_is_overdue
    async def expire(self, account: AccountId, session_id: str, request: RequestRef) -> Advised:
        """Expire an open session (EXP-1).

        Raises:
            SessionNotOpen: It has already ended (EXP-2, EXP-3).
            IdempotencyKeyReused: As for `create`.
            IdempotencyKeyInUse: Likewise.
        """
        key = request.idempotency_key if self._refuses_in_flight else None
        async with self._store.transaction(account, key=key) as tx:
            now = await self._sync_clock(tx)
            advice = await self.advisor.about(tx, request, now)
            try:
                session = await current_session(tx, session_id, now)
                replayed = await self._replay(tx, request, now, advice)
                if replayed is not None:
                    return replayed
                expired = await self._move(tx, session, Trigger.EXPIRE_REQUESTED, now, request)
            except ApiError as error:
                error.advice = advice
                raise
            await self._remember(tx, request, expired, now)
            await self.announce(tx)
            return expired, advice

    # the customer and the clock

    @once_nothing_is_overdue
    async def apply(self, account: AccountId, session_id: str, trigger: Trigger) -> CheckoutSession:
        """Let the customer pay, fail or cancel; return the session afterwards (PAY-1, PAY-3).

        Raises:
            SessionNotOpen: It has already ended (EXP-5, PAY-2).
        """
        async with self._store.transaction(account) as tx:
            now = await self._sync_clock(tx)
            session = await self._move(tx, await current_session(tx, session_id, now), trigger, now, None)
            await self.announce(tx)
            return session

    @once_nothing_is_overdue
    async def act(self, session_id: str, trigger: Trigger) -> tuple[CheckoutSession, bool]:
        """Let the customer act on the hosted page, which has no key.

        Returns:
            The session afterwards, and whether it was still open before.

        Raises:
            SessionNotFound: No account has such a session.
        """
        account = await self._store.owner(session_id)
        if account is None:
            raise SessionNotFound(session_id)
        async with self._store.transaction(account) as tx:
            now = await self._sync_clock(tx)
            session = await current_session(tx, session_id, now)
            try:
                session = await self._move(tx, session, trigger, now, None)
            except SessionNotOpen:
                return session, False
            await self.announce(tx)
            return session, True

    @once_nothing_is_overdue
    async def find(self, session_id: str) -> tuple[AccountId, CheckoutSession] | None:
        """The session as of now and its account, for the hosted page, which has no key; None if there is none."""
        account = await self._store.owner(session_id)
        if account is None:
            return None
        async with self._store.transaction(account, reading=True) as tx:
            now = await self._sync_clock(tx)
            try:
                return account, await current_session(tx, session_id, now)
            except SessionNotFound:
                return None

    @once_nothing_is_overdue
    async def sweep(self, account: AccountId) -> None:
        """Expire every session whose deadline has passed."""
        async with self._store.transaction(account) as tx:
            await self._sync_wholly(tx)

    async def sweep_some(self, account: AccountId) -> None:
        """Expire sessions whose deadline has passed, as many as one transaction may, and announce the rest."""
        async with self._store.transaction(account) as tx:
            await self._sweep(tx, self.now(tx))
            if not another_process_moves_the_clock(tx):  # that process announces it
                await self.announce(tx)

    @contextmanager
    def noting_expired(self, account: AccountId) -> Iterator[Collection[str]]:
        """Note the ids of the account's sessions that expire meanwhile, earliest deadline first, whoever notices it."""
        self._expired[account] = {}
        try:
            yield self._expired[account]
        finally:
            del self._expired[account]

    async def set_clock(self, tx: Transaction, clock: AccountClock) -> None:
        """Set the account's clock and expire what is then overdue, as much of it as one transaction may."""
        (await tx.change()).profile = replace(tx.state.profile, clock=clock)
        await self._sweep(tx, self.now(tx))
        await self.announce(tx)

    def now(self, tx: Transaction) -> int:
        """The account's clock, epoch seconds."""
        clock = tx.state.profile.clock
        if self._clocks.get(tx.account, MACHINE_CLOCK) is not clock:
            self._clocks[tx.account] = clock
        return clock.read(self._clock())

    def time_of(self, account: AccountId) -> int:
        """What the account's clock shows, as far as this process knows. Costs no transaction."""
        return self._clocks.get(account, MACHINE_CLOCK).read(self._clock())

    async def draw(self, tx: Transaction, prefix: str) -> str:
        """Draw an id that no account was ever given (CRE-10)."""
        state = await tx.change()
        while True:
            object_id = self._ids.new_id(prefix, tx.account, state.drawn, state.profile.seed)
            state.drawn += 1
            if not await tx.is_taken(object_id):
                return object_id

    def endpoints(self, tx: Transaction) -> Sequence[WebhookEndpoint]:
        """Where the account's events go: the server's common endpoints, then its own."""
        return (*self._common_endpoints, *tx.state.endpoints)

    async def record_event(
        self, tx: Transaction, session: CheckoutSession, event_type: EventType, now: int, request: RequestRef | None
    ) -> None:
        """Record what happened to a session, and put the event into the outbox (EVT-1 to EVT-4).

        `session` is as it is after the change; `request` is None when the customer or the clock caused it.
        """
        event = Event(
            id=await self.draw(tx, "evt_"),
            type=event_type,
            account=tx.account,
            created=now,
            session=session,
            request_id=None if request is None else request.id,
            idempotency_key=None if request is None else request.idempotency_key,
        )
        await tx.add_event(event)
        if self.on_event is not None:
            self.on_event(event)
        await self.enqueue(tx, event, now)

    async def enqueue(self, tx: Transaction, event: Event, now: int) -> None:
        """Put an event into the outbox of every endpoint that asked for its type; fault rules apply (EVT-6)."""
        for endpoint in self.endpoints(tx):
            if event.type not in endpoint.types:
                continue
            fault = await self.pick_fault(tx, webhook=event.type)
            ids = [await self.draw(tx, "dlv_"), await self.draw(tx, "dlv_")]
            for delivery in plan(event, endpoint, now=now, fault=fault, ids=ids):
                await tx.put_delivery(delivery)
            # Not only once the endpoint has answered: a good handler retrieves the session before it answers.
            await tx.set_unconfirmed(event.session.id, unconfirmed=True)

    async def pick_fault(
        self, tx: Transaction, *, operation: str | None = None, webhook: EventType | None = None
    ) -> FaultRule | None:
        """Find the rule that applies to a call of `operation` or to a `webhook`, and count it as used once."""
        fault_rules = tx.state.faults
        if not fault_rules:
            return None
        state = await tx.change()
        counters = count(state.drawn)
        rule = pick(
            fault_rules,
            draw=lambda: self._ids.chance(tx.account, next(counters), state.profile.seed),
            operation=operation,
            webhook=webhook,
        )
        # Chances and ids share a counter, so that each call and each webhook has a chance of its own.
        state.drawn = next(counters)
        if rule is not None:
            state.faults = tuple([rule.once_more() if each is rule else each for each in fault_rules])
        return rule

    async def announce(self, tx: Transaction) -> None:
        """Wake whoever watches the time when this account next has something due."""
        wake_at = tx.state.wake_at(tx.next_deadline(), await tx.next_delivery_due())
        if wake_at is not None:
            self.on_due(tx.account, wake_at)

    # inside a transaction

    async def _sync_clock(self, tx: Transaction) -> int:
        """Read the account's clock, and expire what is overdue by it, as much of it as one transaction may."""
        now = self.now(tx)
        if has_overdue(tx, now) and await self._sweep(tx, now):  # asked first, as it hardly ever is
            await self.announce(tx)
        return now

    async def _sync_wholly(self, tx: Transaction) -> None:
        """Expire all that is overdue.

        Raises:
            MoreOverdue: That is more than one transaction may expire.
        """
        require_none_overdue(tx, await self._sync_clock(tx))

    async def _sweep(self, tx: Transaction, now: int) -> bool:
        """Expire what is overdue, the earliest deadline first, as much of it as one transaction may; True if any was.

        Whoever moves the clock notes what expires, so that no other process takes a part of that.
        """
        if not has_overdue(tx, now):
            return False
        noted = self._expired.get(tx.account, {})
        has_any = False
        for _ in range(0, EXPIRED_AT_ONCE, 1 + len(self.endpoints(tx))):
            session = await tx.overdue(now)
            if session is None or another_process_moves_the_clock(tx):
                break
            await self._move(tx, session, Trigger.DEADLINE_PASSED, now, None)
            noted[session.id] = None
            has_any = True
        return has_any

    async def _move(
        self, tx: Transaction, session: CheckoutSession, trigger: Trigger, now: int, request: RequestRef | None
    ) -> CheckoutSession:
        moved, event_type = self._rules.advance(session, trigger, now)
        if moved is not session:
            await tx.replace_session(session, moved)
        if event_type is not None:
            await self.record_event(tx, moved, event_type, now, request)
        return moved

    async def _replay(self, tx: Transaction, request: RequestRef, now: int, advice: Sequence[Advice]) -> Advised | None:
        """The first answer to the request's key, if it is remembered, with what is new in the advice."""
        if request.idempotency_key is None:
            return None
        await tx.forget(last_forgotten(now))
        record = await tx.recall(request.idempotency_key)
        if record is None:
            return None
        reject = self._policy.idempotency_reuse == "reject" or self.advisor.is_strict(tx)
        match self._rules.decide(record, request.fingerprint, now=now, reject_reuse=reject):
            case Decision.RUN:
                return None
            case Decision.REFUSE:
                raise IdempotencyKeyReused
            case Decision.REPLAY_DIFFERENT:
                advice = [*advice, *await self.advisor.new(tx, (REUSED_KEY,), request.id, now)]
        return record.session, advice

    async def _remember(self, tx: Transaction, request: RequestRef, session: CheckoutSession, now: int) -> None:
        if request.idempotency_key is not None:
            await tx.remember(IdempotencyRecord(request.idempotency_key, request.fingerprint, session, now))
