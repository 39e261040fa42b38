"""Webhooks on their way: the signature, and the dispatcher that empties the outbox.

The one outgoing HTTP call is here, and so is the moving of clocks: when an account's clock is advanced, deadlines and
deliveries fall due in one order, and each happens with the clock standing at its time.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from heapq import heappop, heappush
from hmac import new as hmac
from time import perf_counter
from typing import TYPE_CHECKING, Final

from qashier_mock.accounts import LATEST, ClockOutOfRange
from qashier_mock.core.delivery import ATTEMPT_TIMEOUT, Attempt, Delivery, Outcome, after_attempt, is_success
from qashier_mock.core.errors import ObjectNotFound
from qashier_mock.core.model import AccountClock, AccountId, Event, WebhookEndpoint

if TYPE_CHECKING:
    import httpx

    from qashier_mock.core.sources import Clock
    from qashier_mock.service import CheckoutService
    from qashier_mock.stores.base import Store, Transaction

_log = logging.getLogger(__name__)

_LEASE: Final = 30
"""Seconds of the account's clock for which a delivery under way is nobody else's."""

_AT_ONCE: Final = 64
"""Attempts under way at the same time, of all accounts."""


def sign(body: bytes, secret: str) -> str:
    """The signature of a webhook's raw body: base64 of HMAC-SHA256, keyed with the secret's UTF-8 bytes (EVT-7)."""
    return b64encode(hmac(secret.encode(), body, sha256).digest()).decode("ascii")


@dataclass(frozen=True, slots=True)
class _Errand:
    """A delivery that has been claimed, with all that one attempt needs."""

    delivery: Delivery
    event: Event
    endpoint: WebhookEndpoint
    started_at: int


class Dispatcher:
    """Sends what the outboxes hold, in the background as time passes and on demand."""

    def __init__(
        self,
        store: Store,
        service: CheckoutService,
        *,
        clock: Clock,
        timer: Callable[[], float],
        render: Callable[[Event], bytes],
        signature_header: str,
        refuses: Callable[[str], str | None],
    ) -> None:
        """Dispatch for `service`'s accounts.

        Args:
            store: Where the outboxes are.
            service: Whose deadlines are kept while clocks move.
            clock: The machine's clock, whole epoch seconds.
            timer: The same with fractions, to sleep no longer than needed.
            render: An event's body.
            signature_header: The header that carries the signature.
            refuses: Why a URL may not be delivered to, or None.
        """
        self._store = store
        self._service = service
        self._clock = clock
        self._timer = timer
        self._render = render
        self._signature_header = signature_header
        self._refuses = refuses
        self._client: httpx.AsyncClient | None = None
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._under_way: dict[AccountId, set[asyncio.Task[Attempt]]] = {}
        self._clock_moves: dict[AccountId, asyncio.Lock] = {}
        self._agenda: list[tuple[int, AccountId]] = []
        self._scheduled: dict[AccountId, int] = {}
        self._changed = asyncio.Event()
        service.on_due(self.wake)

    # in the background

    def wake(self, account: AccountId, machine_instant: int) -> None:
        """See to the account when the machine's clock shows `machine_instant`, unless that is planned already."""
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
        for account in await self._store.due_accounts():
            self.wake(account, self._clock())
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            attempts = [each for tasks in self._under_way.values() for each in tasks]
            for each in (task, *attempts):
                each.cancel()
            await asyncio.gather(task, *attempts, return_exceptions=True)
            if self._client is not None:
                await self._client.aclose()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            while self._agenda and self._agenda[0][0] <= self._timer():
                instant, account = heappop(self._agenda)
                if self._scheduled.get(account) != instant:
                    continue
                del self._scheduled[account]
                try:
                    await self._service.sweep(account)
                    await self._start_due(account)
                except Exception:  # noqa: BLE001 - one account's trouble must not stop the others'
                    _log.exception("an account's deadlines and deliveries could not be seen to")
                    self.wake(account, self._clock() + 1)
            delay = self._agenda[0][0] - self._timer() if self._agenda else None
            try:
                await asyncio.wait_for(self._changed.wait(), delay)
            except TimeoutError:
                continue

    # on demand

    async def flush(self, account: AccountId) -> list[Attempt]:
        """Attempt all that is due now, and wait for what is under way: every attempt that ended meanwhile."""
        async with self._store.transaction(account) as tx:
            until = await self._service.now(tx)
        attempts: list[Attempt] = []
        while True:
            await self._start_due(account, until=until)
            tasks = tuple(self._under_way.get(account, ()))
            if not tasks:
                return attempts
            await asyncio.wait(tasks)
            attempts += [task.result() for task in tasks]

    async def resend(self, account: AccountId, event_id: str) -> list[Attempt]:
        """Send an event again, now, to every endpoint that takes its type; the attempts.

        Raises:
            ObjectNotFound: The account has no such event.
        """
        async with self._store.transaction(account) as tx:
            event = await tx.event(event_id)
            if event is None:
                raise ObjectNotFound("event", event_id)
            now = await self._service.now(tx)
            wanted = set()
            for endpoint in await self._service.endpoints(tx):
                if event.type not in endpoint.types:
                    continue
                delivery = Delivery(await self._service.draw(tx, "dlv_"), event.id, endpoint.id, now)
                await tx.put_delivery(delivery)
                wanted.add(delivery.id)
        return [attempt for attempt in await self.flush(account) if attempt.delivery_id in wanted]

    async def advance(
        self, account: AccountId, *, to: int | None = None, by: int = 0, frozen: bool | None = None
    ) -> list[str]:
        """Move the account's clock forward, with all that falls due on the way.

        Deadlines and deliveries happen in order of their due time, the clock standing at that time; attempts under way
        end before the clock moves.

        Args:
            account: Whose clock.
            to: Where to, epoch seconds; not before the account's now. None moves by some seconds.
            by: How many: counted from where an earlier move that is still under way will have led.
            frozen: Whether the clock stands afterwards; None leaves that as it was.

        Returns:
            The ids of the sessions that expired, in the order of their deadlines.

        Raises:
            ClockOutOfRange: The clock cannot show that instant.
        """
        async with self._clock_moves.setdefault(account, asyncio.Lock()):
            async with self._store.transaction(account) as tx:
                before = (await tx.profile()).clock
                now = await self._service.now(tx)
            target = now + by if to is None else to
            if target > LATEST:
                raise ClockOutOfRange(target)
            stands = before.frozen_at is not None if frozen is None else frozen
            expired = [*await self._service.move_clock(account, AccountClock(frozen_at=now))]
            try:
                while True:
                    await self.flush(account)
                    due = await self._next_due(account)
                    if due is None or due > target:
                        break
                    now = max(now, due)
                    expired += await self._service.move_clock(account, AccountClock(frozen_at=now))
                now = max(now, target)
            finally:
                clock = AccountClock(frozen_at=now) if stands else AccountClock(offset=now - self._clock())
                expired += await self._service.move_clock(account, clock)
            return expired

    async def _next_due(self, account: AccountId) -> int | None:
        async with self._store.transaction(account) as tx:
            instants = (await tx.next_deadline(), await tx.next_delivery_due())
        return min((each for each in instants if each is not None), default=None)

    # one attempt

    async def _start_due(self, account: AccountId, *, until: int | None = None) -> None:
        """Claim what is due at or before `until` (the account's now if None) and start an attempt for each."""
        errands: list[_Errand] = []
        async with self._store.transaction(account) as tx:
            now = await self._service.now(tx)
            endpoints = {each.id: each for each in await self._service.endpoints(tx)}
            for delivery in await tx.due_deliveries(now if until is None else until):
                event = await tx.event(delivery.event_id)
                endpoint = endpoints.get(delivery.endpoint_id)
                if event is None or endpoint is None:
                    await tx.remove_delivery(delivery.id)
                    continue
                await tx.put_delivery(replace(delivery, due=now + _LEASE))
                errands.append(_Errand(delivery, event, endpoint, now))
        tasks = self._under_way.setdefault(account, set()) if errands else set()
        for errand in errands:
            task = asyncio.create_task(self._attempt(account, errand))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            task.add_done_callback(_report)

    async def _attempt(self, account: AccountId, errand: _Errand) -> Attempt:
        began = perf_counter()
        status: int | None = None
        error: str | None = "dropped by a fault rule"
        if not errand.delivery.is_dropped:
            async with self._slots:
                began = perf_counter()
                status, error = await self._post(errand)
        duration_ms = round((perf_counter() - began) * 1000, 3)
        async with self._store.transaction(account) as tx:
            return await self._settle(tx, errand, status, error, duration_ms)

    async def _settle(
        self, tx: Transaction, errand: _Errand, status: int | None, error: str | None, duration_ms: float
    ) -> Attempt:
        """Record what came of an attempt, and plan the next one."""
        delivery, event, endpoint = errand.delivery, errand.event, errand.endpoint
        is_pending = await tx.delivery(delivery.id) is not None
        later = after_attempt(delivery, started_at=errand.started_at, status=status) if is_pending else None
        attempt = Attempt(
            delivery_id=delivery.id,
            event_id=event.id,
            event_type=event.type.value,
            session_id=event.session.id,
            endpoint_id=endpoint.id,
            url=endpoint.url,
            number=delivery.number + 1,
            at=errand.started_at,
            due=delivery.due,
            status=status,
            error=error,
            duration_ms=duration_ms,
            outcome=Outcome.DROPPED
            if delivery.is_dropped
            else Outcome.DELIVERED
            if is_success(status)
            else Outcome.FAILED,
            next_try=None if later is None else later.due,
        )
        if not is_pending:  # the account was reset, or the endpoint removed, while the attempt was under way
            return attempt
        await tx.add_attempt(attempt)
        if later is None:
            await tx.remove_delivery(delivery.id)
        else:
            await tx.put_delivery(later)
        if attempt.outcome is Outcome.DELIVERED:
            await tx.set_unconfirmed(event.session.id, unconfirmed=True)
        for held in await tx.held_deliveries(endpoint.id):
            if held.id != delivery.id:
                await tx.put_delivery(replace(held, due=errand.started_at, is_held=False))
        await self._service.announce(tx)
        return attempt

    async def _post(self, errand: _Errand) -> tuple[int | None, str | None]:
        import httpx  # noqa: PLC0415 - costs start-up time; many servers never deliver anything

        refusal = self._refuses(errand.endpoint.url)
        if refusal is not None:
            return None, refusal
        if self._client is None:
            self._client = httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=ATTEMPT_TIMEOUT)
        body = self._render(errand.event)
        headers = {"content-type": "application/json", "user-agent": "Qashier-Mock-Webhooks"}
        if errand.endpoint.secret is not None:
            secret = errand.endpoint.secret + "!" * errand.delivery.is_missigned
            headers[self._signature_header] = sign(body, secret)
        try:
            async with (
                asyncio.timeout(ATTEMPT_TIMEOUT),
                self._client.stream("POST", errand.endpoint.url, content=body, headers=headers) as response,
            ):
                return response.status_code, None
        except (TimeoutError, httpx.TimeoutException):
            return None, f"no answer within {ATTEMPT_TIMEOUT:.0f} seconds"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return None, f"{type(error).__name__}: {error}"[:200]


def _report(task: asyncio.Task[Attempt]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("a webhook attempt could not be recorded", exc_info=task.exception())
