"""Moving an account's clock. What falls due on the way happens in order, the clock showing that time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from weakref import WeakValueDictionary

from qashier_mock.accounts import LATEST
from qashier_mock.core.errors import RequestInvalid
from qashier_mock.core.model import AccountClock, AccountId
from qashier_mock.core.sources import Clock
from qashier_mock.service import CheckoutService
from qashier_mock.stores.base import Store, StoreUnavailable, Transaction
from qashier_mock.webhooks import POLL_INTERVAL, Dispatcher


@dataclass(frozen=True, slots=True)
class _Move:
    """A move under way: where the clock stood, where it goes, and whether it is frozen there."""

    begin: int
    target: int
    ends_frozen: bool


class Clocks:
    """Moves the clocks of accounts, one move of an account at a time."""

    def __init__(self, store: Store, service: CheckoutService, dispatcher: Dispatcher, *, clock: Clock) -> None:
        """Move the clocks of `service`'s accounts; `clock` is the machine's."""
        self._store = store
        self._service = service
        self._dispatcher = dispatcher
        self._clock = clock
        self._moves: WeakValueDictionary[AccountId, asyncio.Lock] = WeakValueDictionary()
        dispatcher.before_work = self.resume

    async def set(self, account: AccountId, *, to: int | None = None, frozen: bool | None = None) -> list[str]:
        """Set the account's clock: forward, as `advance` does; back only while the account has no session.

        Raises:
            RequestInvalid: The clock cannot show that instant, or cannot go back any more.
        """
        async with self._store.transaction(account) as tx:
            now, clock = self._service.now(tx), tx.state.profile.clock
            if to is not None and to < now:
                if tx.state.sessions:
                    raise RequestInvalid(
                        f"The account's clock shows {now} and cannot go back to {to}: sessions and keys would live "
                        "twice. Use another key, or POST /_mock/v1/reset first.",
                        param="now",
                    )
                is_frozen = clock.frozen_at is not None if frozen is None else frozen
                await self._service.set_clock(tx, AccountClock.showing(to, self._clock(), frozen=is_frozen))
                return []
        return await self.advance(account, to=to, frozen=frozen)

    async def advance(
        self, account: AccountId, *, to: int | None = None, by: int = 0, frozen: bool | None = None
    ) -> list[str]:
        """Move the account's clock forward, with all that falls due on the way.

        Deadlines and deliveries happen in order of their due time, the clock standing at that time; attempts under way
        end before the clock moves. It moves to an instant that is not before the account's now, or by some seconds,
        counted from the target of an earlier move that is still under way. A `frozen` of None leaves that as it was.

        Returns:
            The ids of the sessions that expired, in the order of their deadlines.

        Raises:
            RequestInvalid: The clock cannot show that instant.
        """
        async with self._moves.setdefault(account, asyncio.Lock()):
            with self._service.noting_expired(account) as expired:
                try:
                    await self._advance(account, to=to, by=by, frozen=frozen)
                except StoreUnavailable:
                    self._dispatcher.repair(partial(self._end_failed_move, account))
                    raise
            return [*expired]

    async def _advance(self, account: AccountId, *, to: int | None, by: int, frozen: bool | None) -> None:
        move = await self._begin_move(account, to=to, by=by, frozen=frozen)
        now = move.begin
        shown = AccountClock(frozen_at=now)
        try:
            while True:
                await self._service.sweep(account)  # all of it: who asks another process for a list waits for that
                await self._dispatcher.flush(account)
                due = await self._next_due(account)
                if due is None or due > move.target:
                    break
                now = max(now, due)
                async with self._store.transaction(account) as tx:
                    if tx.state.profile.clock != shown:
                        break  # the account was reset or restored meanwhile, so this move is over
                    shown = AccountClock(frozen_at=now)
                    await self._service.set_clock(tx, shown)
                await asyncio.sleep(0)
            now = max(now, move.target)
        except StoreUnavailable:
            raise  # `_end_failed_move` finds out where the clock stands
        except BaseException:
            await self._end_move(account, shown, now, ends_frozen=move.ends_frozen)
            raise
        await self._end_move(account, shown, now, ends_frozen=move.ends_frozen)

    async def _begin_move(self, account: AccountId, *, to: int | None, by: int, frozen: bool | None) -> _Move:
        """Stop the account's clock, once no other process moves it."""
        while True:
            async with self._store.transaction(account) as tx:
                # A move of this process that is still recorded has failed, since only one runs at a time here.
                await self._resume_abandoned(tx, by_us=True)
                before = tx.state.profile.clock
                ends_frozen = before.frozen_at is not None if frozen is None else frozen
                now = self._service.now(tx)
                target = now + by if to is None else to
                if target > LATEST:
                    raise RequestInvalid(
                        f"seconds would take the clock to {target}, beyond {LATEST}, the last instant that it can "
                        "show.",
                        param="seconds",
                    )
                if (await tx.change()).begin_move(tx.worker, ends_frozen=ends_frozen):
                    await self._service.set_clock(tx, AccountClock(frozen_at=now))
                    return _Move(now, target, ends_frozen)
            await asyncio.sleep(POLL_INTERVAL)

    async def _end_move(self, account: AccountId, shown: AccountClock, now: int, *, ends_frozen: bool) -> None:
        async with self._store.transaction(account) as tx:
            (await tx.change()).end_move(tx.worker)
            if tx.state.profile.clock == shown:
                await self._service.set_clock(tx, AccountClock.showing(now, self._clock(), frozen=ends_frozen))

    async def _end_failed_move(self, account: AccountId) -> None:
        """Release a clock whose move the store failed; it may have got further than this process knows."""
        async with self._moves.setdefault(account, asyncio.Lock()), self._store.transaction(account) as tx:
            await self._resume_abandoned(tx, by_us=True)
            await self._service.announce(tx)

    async def resume(self, account: AccountId) -> None:
        """Release a clock that a process was moving when it died."""
        async with self._store.transaction(account, reading=True) as tx:
            if tx.state.abandoned_move() is None:
                return
        async with self._store.transaction(account) as tx:
            await self._resume_abandoned(tx)

    async def _resume_abandoned(self, tx: Transaction, *, by_us: bool = False) -> None:
        ends_frozen = tx.state.abandoned_move(tx.worker if by_us else None)
        if ends_frozen is None:
            return
        (await tx.change()).end_move(tx.worker)
        now = tx.state.profile.clock.frozen_at
        if not ends_frozen and now is not None:
            await self._service.set_clock(tx, AccountClock(offset=now - self._clock()))

    async def _next_due(self, account: AccountId) -> int | None:
        async with self._store.transaction(account, reading=True) as tx:
            instants = (tx.next_deadline(), await tx.next_delivery_due())
        return min((each for each in instants if each is not None), default=None)
