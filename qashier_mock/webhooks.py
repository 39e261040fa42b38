"""What happens while nobody asks: the dispatcher empties the outboxes, and expires what is due."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from heapq import heappop, heappush
from typing import Final, TypeVar

from qashier_mock.core.delivery import ATTEMPT_TIMEOUT, Attempt, ClaimedDelivery, Delivery, attempt_of
from qashier_mock.core.errors import ObjectNotFound
from qashier_mock.core.model import AccountId, Event, WebhookEndpoint
from qashier_mock.core.policy import Policy
from qashier_mock.core.rules import DEFAULT_RULES, Rules
from qashier_mock.core.signing import sign
from qashier_mock.core.sources import Clock
from qashier_mock.machine import steady
from qashier_mock.service import CheckoutService
from qashier_mock.stores.base import DUE_AT_ONCE, Store, StoreUnavailable, Transaction

T = TypeVar("T")

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 256
"""Attempts under way at the same time, of all accounts."""

AT_ONCE_OF_AN_ACCOUNT: Final = 32
"""Attempts under way of one account. More wait, so that an endpoint that hangs does not hold up other accounts."""

_SEEN_TO_AT_ONCE: Final = 8
"""Accounts that are worked on at the same time, where the store has to be waited for."""

POLL_INTERVAL: Final = 0.02
"""Seconds between two looks at what another process is doing, while a caller waits for it."""

_LONGEST_WAIT: Final = 10.0
"""Seconds after which the time is read again, for the machine's clock may have been set, or the machine have slept."""

_NOTED_AGAIN_AFTER: Final = 60.0
"""Seconds until the same trouble with the store is logged again."""

_RETRY_AFTER: Final = (0.1, 0.2, 0.5, 1.0)
"""Seconds to wait before each new try of a store that cannot be reached; the last one repeats."""


Send = Callable[[str, bytes, Mapping[str, str]], Awaitable[int]]
"""Posts a body with headers to a URL; the status of the answer."""


class Dispatcher:
    """Sends what the outboxes hold and expires what is overdue, in the background as time passes and on demand."""

    def __init__(
        self,
        store: Store,
        service: CheckoutService,
        *,
        clock: Clock,
        timer: Callable[[], float],
        send: Send,
        render: Callable[[Event], bytes],
        policy: Policy,
        refuses: Callable[[str], str | None],
        rules: Rules = DEFAULT_RULES,
    ) -> None:
        """Dispatch for `service`'s accounts.

        `clock` and `timer` are the machine's, in whole epoch seconds and with fractions. Any exception of `send` is a
        failed attempt. `refuses` says why a URL may not be delivered to, or None.
        """
        self._store = store
        self._service = service
        self._clock = clock
        self._timer = timer
        self.render = render
        self._rules = rules
        self._policy = policy
        self._refuses = refuses
        self._send = send
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._under_way: dict[AccountId, set[asyncio.Task[Attempt]]] = {}
        self._repairs: set[asyncio.Task[object]] = set()
        self._noted_at: dict[str, float] = {}
        self._agenda: list[tuple[int, AccountId]] = []
        self._scheduled: dict[AccountId, int] = {}
        self._changed = asyncio.Event()
        self.on_attempt: Callable[[Attempt], None] | None = None  # called with each attempt that has ended
        # Called before background work on an account, where other processes share the store.
        self.before_work: Callable[[AccountId], Awaitable[None]] | None = None
        service.on_due = self.wake

    # in the background

    def wake(self, account: AccountId, machine_instant: int) -> None:
        """Plan work on the account for an instant of the machine's clock, unless it is planned already."""
        look_every = self._store.look_every
        if look_every is not None and machine_instant > self._clock() + look_every:
            return  # The store remembers it. Any process that lives then will find it there.
        planned = self._scheduled.get(account)
        if planned is not None and planned <= machine_instant:
            return
        self._scheduled[account] = machine_instant
        heappush(self._agenda, (machine_instant, account))
        if self._agenda[0] == (machine_instant, account):
            self._changed.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work in the background for as long as the context lasts."""
        for account, instant in (await self._store.due_accounts(self._clock())).items():
            self.wake(account, instant)
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(self._run())]
        if self._store.look_every is not None:
            tasks.append(asyncio.create_task(self._watch(self._store.look_every)))
        try:
            yield
        finally:
            tasks += self._repairs
            attempts = [each for under_way in self._under_way.values() for each in under_way]
            for each in (*tasks, *attempts):
                each.cancel()
            await asyncio.gather(*tasks, *attempts, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            while due := self._take_due():
                await asyncio.gather(*map(self._see_to, due))
            delay = min(self._agenda[0][0] - self._timer(), _LONGEST_WAIT) if self._agenda else None
            try:
                await asyncio.wait_for(self._changed.wait(), delay)
            except TimeoutError:
                continue

    def _take_due(self) -> list[AccountId]:
        """A few accounts whose time has come."""
        found: list[AccountId] = []
        while len(found) < _SEEN_TO_AT_ONCE and self._agenda and self._agenda[0][0] <= self._timer():
            instant, account = heappop(self._agenda)
            if self._scheduled.get(account) == instant:
                del self._scheduled[account]
                found.append(account)
        return found

    async def _see_to(self, account: AccountId) -> None:
        try:
            if self._store.look_every is not None and self.before_work is not None:
                await self.before_work(account)
            await self._service.sweep_some(account)
            await self._start_due(account)
            if self._room(account) <= 0:
                # Planning it again at once would loop. Each attempt that ends announces what is still due.
                self._scheduled.pop(account, None)
        except StoreUnavailable as error:
            self.note_outage(error)
            self.wake(account, self._clock() + 1)
        except Exception:  # noqa: BLE001 - one account's trouble must not stop the others'
            _log.exception("an account's deadlines and deliveries could not be seen to")
            self.wake(account, self._clock() + 1)

    async def _watch(self, every: float) -> None:
        """Find what the store remembers, and what dead processes or other machines have left there."""
        while True:
            try:
                while await self._look():
                    await self._catch_up(every)
            except StoreUnavailable as error:
                self.note_outage(error)
            except Exception:  # noqa: BLE001 - looking again is all that can be done
                _log.exception("the store could not be looked through")
            await asyncio.sleep(every)

    async def _look(self) -> bool:
        """Plan work for what is due; return whether there may be more."""
        found = await self._store.due_accounts(self._clock())
        for account, instant in found.items():
            self.wake(account, instant)
        # Accounts without room for more attempts stay due; looking for them again would find the same ones.
        return len(found) >= DUE_AT_ONCE and any(self._room(account) > 0 for account in found)

    async def _catch_up(self, at_most: float) -> None:
        """Wait until planned work that is due has begun, at most so many seconds."""
        for _ in range(int(at_most / POLL_INTERVAL)):
            await asyncio.sleep(POLL_INTERVAL)
            if not self._agenda or self._agenda[0][0] > self._timer():
                return

    def note_outage(self, error: StoreUnavailable) -> None:
        """Log why the store cannot be used, each reason at most once a minute: who calls the API is not told."""
        now, reason = steady(), str(error)
        if now - self._noted_at.get(reason, -_NOTED_AGAIN_AFTER) >= _NOTED_AGAIN_AFTER:
            self._noted_at = {reason: now}
            _log.error("the store cannot be used: %s", reason)

    # on demand

    async def flush(self, account: AccountId) -> list[Attempt]:
        """Attempt all that is due now, and wait for what is under way, here and elsewhere.

        Returns:
            Every attempt that ended meanwhile.
        """
        async with self._store.transaction(account, reading=True) as tx:
            until = self._service.now(tx)
            made = tx.state.attempts
        while True:
            await self._start_due(account, until=until)
            tasks = tuple(self._under_way.get(account, ()))
            if tasks:
                await asyncio.wait(tasks)
                continue
            async with self._store.transaction(account) as tx:
                due = await tx.next_delivery_due()
                is_elsewhere = await tx.is_attempted_elsewhere()
                if not is_elsewhere and (due is None or due > until):
                    return list(await tx.attempts(after=made))
            if is_elsewhere:
                await asyncio.sleep(POLL_INTERVAL)

    async def resend(self, account: AccountId, event_id: str) -> list[Attempt]:
        """Send an event again, now, to every endpoint that takes its type; return the attempts.

        Raises:
            ObjectNotFound: The account has no such event.
        """
        async with self._store.transaction(account) as tx:
            event = await tx.event(event_id)
            if event is None:
                raise ObjectNotFound("event", event_id)
            now = self._service.now(tx)
            wanted = set()
            for endpoint in self._service.endpoints(tx):
                if event.type not in endpoint.types:
                    continue
                delivery = Delivery(await self._service.draw(tx, "dlv_"), event.id, endpoint.id, now)
                await tx.put_delivery(delivery)
                wanted.add(delivery.id)
        return [attempt for attempt in await self.flush(account) if attempt.delivery_id in wanted]

    def repair(self, step: Callable[[], Awaitable[object]]) -> None:
        """Do a step in the background, again and again until the store takes it."""
        task: asyncio.Task[object] = asyncio.create_task(_retry_until_stored(step))
        self._repairs.add(task)
        task.add_done_callback(self._repairs.discard)

    # one attempt

    async def _start_due(self, account: AccountId, *, until: int | None = None) -> None:
        """Claim what is due at or before `until` (the account's now if None) and start an attempt for each."""
        found: list[ClaimedDelivery] = []
        claims: Sequence[Delivery] = ()
        room = self._room(account)
        if room <= 0:
            return
        try:
            async with self._store.transaction(account) as tx:
                now = self._service.now(tx)
                endpoints = {each.id: each for each in self._service.endpoints(tx)}
                claims = await tx.claim_deliveries(now if until is None else until, room)
                for delivery in claims:
                    event = await tx.event(delivery.event_id)
                    endpoint = endpoints.get(delivery.endpoint_id)
                    if event is None or endpoint is None:
                        await tx.remove_delivery(delivery.id)
                        continue
                    found.append(ClaimedDelivery(delivery, event, endpoint, now))
        except StoreUnavailable:
            # A commit whose answer is lost may have claimed them, for nobody to carry out.
            for delivery in claims:
                self.repair(partial(self._release, account, delivery))
            raise
        for claimed in found:
            task = asyncio.create_task(self._attempt(account, claimed))
            self._under_way.setdefault(account, set()).add(task)
            task.add_done_callback(partial(self._ended, account))

    async def _release(self, account: AccountId, delivery: Delivery) -> None:
        async with self._store.transaction(account) as tx:
            if await tx.is_claimed(delivery.id):
                await tx.put_delivery(delivery)
                await self._service.announce(tx)

    def _room(self, account: AccountId) -> int:
        """How many more attempts of the account may be under way."""
        return AT_ONCE_OF_AN_ACCOUNT - len(self._under_way.get(account, ()))

    def _ended(self, account: AccountId, task: asyncio.Task[Attempt]) -> None:
        tasks = self._under_way[account]
        tasks.discard(task)
        if not tasks:
            del self._under_way[account]
        if not task.cancelled() and task.exception() is not None:
            _log.error("a webhook attempt could not be recorded", exc_info=task.exception())

    async def _attempt(self, account: AccountId, claimed: ClaimedDelivery) -> Attempt:
        seconds = asyncio.get_running_loop().time
        began = seconds()
        status: int | None = None
        error: str | None = "dropped by a fault rule"
        if not claimed.delivery.is_dropped:
            async with self._slots:
                began = seconds()
                status, error = await self._try(claimed)
        duration_ms = round((seconds() - began) * 1000, 3)

        async def settle() -> Attempt:
            async with self._store.transaction(account) as tx:
                return await self._settle(tx, claimed, status, error, duration_ms)

        try:
            return await _retry_until_stored(settle)
        except Exception:
            await _retry_until_stored(partial(self._give_back, account, claimed))
            raise

    async def _try(self, claimed: ClaimedDelivery) -> tuple[int | None, str | None]:
        """Make the call; return the status of the answer, if any, and an error text, if any."""
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT):
                refusal = self._refuses(claimed.endpoint.url)
                if refusal is not None:
                    return None, refusal
                body, headers = self.message(claimed.delivery, claimed.event, claimed.endpoint)
                status = await self._send(claimed.endpoint.url, body, headers)
                return status, _hint(status, claimed)
        except TimeoutError:
            return None, f"no answer within {ATTEMPT_TIMEOUT:.0f} seconds"
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the event has not arrived and is tried again
            return None, _as_text(error)

    async def _give_back(self, account: AccountId, claimed: ClaimedDelivery) -> None:
        """Release a delivery whose attempt could not be recorded; it counts as failed and is tried again."""
        async with self._store.transaction(account) as tx:
            delivery = claimed.delivery
            if not await tx.is_claimed(delivery.id):
                return
            later = self._rules.after_attempt(delivery, started_at=claimed.started_at, status=None)
            if later is None:
                await tx.remove_delivery(delivery.id)
            else:
                await tx.put_delivery(later)
            await self._service.announce(tx)

    async def _settle(
        self, tx: Transaction, claimed: ClaimedDelivery, status: int | None, error: str | None, duration_ms: float
    ) -> Attempt:
        """Record the result of an attempt, and plan the next one."""
        delivery = claimed.delivery
        is_claimed = await tx.is_claimed(delivery.id)
        is_pending = is_claimed is not None
        later = (
            self._rules.after_attempt(delivery, started_at=claimed.started_at, status=status) if is_pending else None
        )
        attempt = attempt_of(claimed, status, error, duration_ms, later)
        if self.on_attempt is not None:
            self.on_attempt(attempt)
        if not is_pending:  # the account was reset, or the endpoint removed, while the attempt was under way
            return attempt
        await tx.add_attempt(attempt)
        if later is None:
            await tx.remove_delivery(delivery.id)
        elif is_claimed:
            await tx.put_delivery(later)
        # else another process considered this process dead, and its own attempt decides what comes next
        for held in await tx.held_deliveries(claimed.endpoint.id):
            if held.id != delivery.id:
                await tx.put_delivery(replace(held, due=claimed.started_at, is_held=False))
        await self._service.announce(tx)
        return attempt

    def message(self, delivery: Delivery, event: Event, endpoint: WebhookEndpoint) -> tuple[bytes, dict[str, str]]:
        """The body and the headers of an attempt."""
        body = self.render(event)
        headers = {"content-type": "application/json", "user-agent": "Qashier-Mock-Webhooks"}
        if endpoint.secret is not None:
            secret = endpoint.secret + "!" * delivery.is_missigned
            headers[self._policy.signature_header] = sign(body, secret, encoding=self._policy.signature_encoding)
        return body, headers

    def signature(self, event: Event, endpoint: WebhookEndpoint | None) -> str | None:
        """What an endpoint's deliveries of an event are signed with; None: it has no secret, or is gone."""
        if endpoint is None or endpoint.secret is None:
            return None
        return sign(self.render(event), endpoint.secret, encoding=self._policy.signature_encoding)


def _hint(status: int, claimed: ClaimedDelivery) -> str | None:
    """What may have led a receiver to refuse a signed webhook."""
    if status // 100 != 4 or claimed.endpoint.secret is None:  # noqa: PLR2004 - the class of refusals
        return None
    if claimed.delivery.is_missigned:
        return "refused; a bad_signature rule signed it with another key on purpose"
    return (
        "refused; check the endpoint's secret, and verify the signature over the body's bytes as they came, before "
        "they are parsed: JSON that was parsed and written again has other bytes"
    )


def _as_text(error: Exception) -> str:
    """An error in words that every store can hold."""
    told = f"{type(error).__name__}: {error}"[:200]
    return told.encode("utf-8", "backslashreplace").decode().replace("\0", "")


async def _retry_until_stored(step: Callable[[], Awaitable[T]]) -> T:
    """Do a step, again and again until the store can be used."""
    delays = iter(_RETRY_AFTER)
    delay = 0.0
    while True:
        try:
            return await step()
        except StoreUnavailable:
            delay = next(delays, delay)
            await asyncio.sleep(delay)
