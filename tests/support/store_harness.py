"""What the tests of the stores share: places where state is kept, and a mock without a web in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import pytest
from mock_harness import NOW, order

from qashier_mock.accounts import AccountService
from qashier_mock.clocks import Clocks
from qashier_mock.core.delivery import Attempt
from qashier_mock.core.errors import ApiError
from qashier_mock.core.faults import FaultAction, FaultRule
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import AccountId, CheckoutSession, EventType, Status
from qashier_mock.core.paging import CreatedRange, ListQuery
from qashier_mock.core.policy import Policy
from qashier_mock.core.request import RequestRef
from qashier_mock.core.sources import ManualClock, SeededIds
from qashier_mock.outgoing import Outgoing
from qashier_mock.service import CheckoutService
from qashier_mock.stores import schema
from qashier_mock.stores.base import Store
from qashier_mock.stores.factory import open_store
from qashier_mock.stores.memory import MemoryStore
from qashier_mock.web import wire
from qashier_mock.webhooks import Dispatcher

NOWHERE = "http://nowhere.example/hooks"
"""A webhook endpoint that the mocks here refuse to deliver to: each attempt fails, without a network."""

ACCOUNTS = (AccountId("acct_one"), AccountId("acct_two"))


@dataclass
class Place:
    """Where state is kept. Each `store()` is one process's way to it."""

    kind: str
    url: str
    _memory: MemoryStore = field(default_factory=MemoryStore)

    def store(self) -> Store:
        return self._memory if self.kind == "memory" else open_store(self.url)


class Mock:
    """The services over a store, with a clock in the hands of the test. Webhooks fail at once."""

    def __init__(self, store: Store, clock: ManualClock | None = None, **policy: Any) -> None:
        self.store = store
        self.clock = clock or ManualClock(NOW)
        self.ids = SeededIds(1)
        given = Policy(**policy)
        self.service = CheckoutService(
            store, clock=self.clock, ids=self.ids, policy=given, public_url=lambda: "http://mock.test"
        )
        self.accounts = AccountService(store, self.service, clock=self.clock, refuses_webhooks_to=lambda _: None)
        self.dispatcher = Dispatcher(
            store,
            self.service,
            clock=self.clock,
            timer=self.clock,
            send=Outgoing().post,
            render=wire.event_to_bytes,
            policy=given,
            refuses=lambda _: "refused by the test",
        )
        self.clocks = Clocks(store, self.service, self.dispatcher, clock=self.clock)

    async def create(self, account: AccountId = ACCOUNTS[0], key: str | None = None, **changes: Any) -> CheckoutSession:
        return (await self.service.create(account, order(**changes), RequestRef("req_1", key, b"create")))[0]

    async def expire(self, session: CheckoutSession) -> CheckoutSession:
        return (await self.service.expire(session.account, session.id, RequestRef("req_2")))[0]

    async def pay(self, session: CheckoutSession) -> CheckoutSession:
        return await self.service.apply(session.account, session.id, Trigger.PAYMENT_SUCCEEDED)

    async def fill_outbox(self, number: int, account: AccountId = ACCOUNTS[0]) -> list[str]:
        """Events that are to be delivered to one endpoint; ids of the deliveries, in the order of their due times."""
        await self.accounts.add_endpoint(account, NOWHERE, secret=None, types=tuple(EventType))
        for _ in range(number):
            await self.pay(await self.create(account))
        async with self.store.transaction(account) as tx:
            pending = await tx.pending_deliveries()
        return [each.id for each in sorted(pending, key=lambda each: (each.due, each.id))]


Command = tuple[str, int, int, int]
"""A name and three small numbers that choose what it is done to and how: any command can follow any other."""

COMMANDS = (
    "create",
    "create_with_key",
    "retrieve",
    "expire",
    "expire_with_key",
    "pay",
    "fail",
    "list",
    "list_of_status",
    "list_after",
    "list_before",
    "list_created",
    "find",
    "wait",
    "freeze",
    "advance",
    "subscribe",
    "unsubscribe",
    "disturb",
    "calm",
    "flush",
    "resend",
    "be_strict",
    "reset",
    "restore",
    "restart",
)


@dataclass
class Play:
    """Plays commands on a place and writes down what came of each.

    Attributes:
        story: The outcome of each command: a value, or the type and text of an error.
    """

    place: Place
    story: list[Any] = field(default_factory=list)
    _sessions: list[CheckoutSession] = field(default_factory=list)

    async def run(self, commands: list[Command]) -> list[Any]:
        """Play them; what has been written down, and in the end everything that the accounts hold."""
        self._mock = Mock(self.place.store())
        await self._mock.store.open()
        try:
            for name, *numbers in commands:
                act: Callable[..., Awaitable[Any]] = getattr(self, f"_{name}")
                try:
                    self.story.append((name, _comparable(await act(*numbers))))
                except ApiError as error:
                    self.story.append((name, type(error).__name__, error.message))
            for account in ACCOUNTS:
                self.story.append(await self._everything(account))
        finally:
            await self._mock.store.close()
        return self.story

    def _session(self, number: int) -> tuple[AccountId, str]:
        if not self._sessions:
            return ACCOUNTS[0], "cs_test_none"
        session = self._sessions[number % len(self._sessions)]
        return session.account, session.id

    async def _create(self, account: int, life: int, _: int, key: str | None = None) -> CheckoutSession:
        whose = ACCOUNTS[account % 2]
        async with self._mock.store.transaction(whose) as tx:
            now = self._mock.service.now(tx)
        request = RequestRef(f"req_{len(self.story)}", key, b"%d" % life)
        params = order(expires_at=now + 1_800 + 600 * (life % 10))
        session = (await self._mock.service.create(whose, params, request))[0]
        self._sessions.append(session)
        return session

    async def _create_with_key(self, account: int, life: int, key: int) -> CheckoutSession:
        return await self._create(account, life, 0, f"key {key}")

    async def _retrieve(self, number: int, _: int, __: int) -> CheckoutSession:
        account, session_id = self._session(number)
        return (await self._mock.service.retrieve(account, session_id, "req_r"))[0]

    async def _expire(self, number: int, _: int, __: int, key: str | None = None) -> CheckoutSession:
        account, session_id = self._session(number)
        return (await self._mock.service.expire(account, session_id, RequestRef("req_e", key, session_id.encode())))[0]

    async def _expire_with_key(self, number: int, _: int, key: int) -> CheckoutSession:
        return await self._expire(number, 0, 0, f"key {key}")

    async def _pay(self, number: int, _: int, __: int) -> CheckoutSession:
        return await self._mock.service.apply(*self._session(number), Trigger.PAYMENT_SUCCEEDED)

    async def _fail(self, number: int, _: int, __: int) -> CheckoutSession:
        return await self._mock.service.apply(*self._session(number), Trigger.PAYMENT_FAILED)

    async def _page(self, account: int, query: ListQuery) -> Any:
        page = await self._mock.service.list_sessions(ACCOUNTS[account % 2], query)
        return page.has_more, page.sessions

    async def _list(self, account: int, limit: int, _: int) -> Any:
        return await self._page(account, ListQuery(limit=1 + limit))

    async def _list_of_status(self, account: int, limit: int, status: int) -> Any:
        return await self._page(account, ListQuery(limit=1 + limit, status=list(Status)[status % 3]))

    async def _list_after(self, number: int, limit: int, status: int) -> Any:
        account, session_id = self._session(number)
        wanted = [*Status, None][status % 4]
        return await self._page(
            ACCOUNTS.index(account), ListQuery(limit=1 + limit, starting_after=session_id, status=wanted)
        )

    async def _list_before(self, number: int, limit: int, status: int) -> Any:
        account, session_id = self._session(number)
        wanted = [*Status, None][status % 4]
        return await self._page(
            ACCOUNTS.index(account), ListQuery(limit=1 + limit, ending_before=session_id, status=wanted)
        )

    async def _list_created(self, account: int, since: int, length: int) -> Any:
        bounds = CreatedRange(NOW + 700 * since, NOW + 700 * (since + length))
        return await self._page(account, ListQuery(limit=5, created=bounds))

    async def _find(self, number: int, _: int, __: int) -> Any:
        return await self._mock.service.find(self._session(number)[1])

    async def _wait(self, steps: int, _: int, __: int) -> None:
        self._mock.clock.now += 600 * steps

    async def _freeze(self, account: int, _: int, frozen: int) -> Any:
        whose = ACCOUNTS[account % 2]
        return await self._mock.clocks.advance(whose, frozen=frozen % 2 == 0)

    async def _advance(self, account: int, seconds: int, _: int) -> Any:
        return await self._mock.clocks.advance(ACCOUNTS[account % 2], by=700 * seconds)

    async def _subscribe(self, account: int, types: int, _: int) -> Any:
        wanted = [(EventType.COMPLETED,), (EventType.EXPIRED,), tuple(EventType)][types % 3]
        return await self._mock.accounts.add_endpoint(ACCOUNTS[account % 2], NOWHERE, secret="ssh", types=wanted)

    async def _unsubscribe(self, account: int, number: int, _: int) -> Any:
        whose = ACCOUNTS[account % 2]
        endpoints = await self._mock.accounts.endpoints(whose)
        chosen = endpoints[number % len(endpoints)].id if endpoints else "we_none"
        await self._mock.accounts.remove_endpoint(whose, chosen)

    async def _disturb(self, account: int, action: int, times: int) -> Any:
        actions = (
            FaultAction.DROP,
            FaultAction.DUPLICATE,
            FaultAction.DELAY,
            FaultAction.REORDER,
            FaultAction.BAD_SIGNATURE,
        )
        rule = FaultRule("", actions[action % 5], webhook="*", seconds=90, times=1 + times % 2, probability=0.7)
        return await self._mock.accounts.add_fault(ACCOUNTS[account % 2], rule)

    async def _calm(self, account: int, _: int, __: int) -> Any:
        await self._mock.accounts.remove_faults(ACCOUNTS[account % 2])

    async def _flush(self, account: int, _: int, __: int) -> Any:
        return await self._mock.dispatcher.flush(ACCOUNTS[account % 2])

    async def _resend(self, account: int, number: int, _: int) -> Any:
        whose = ACCOUNTS[account % 2]
        events = await self._mock.accounts.events(whose)
        chosen = events[number % len(events)].id if events else "evt_none"
        return await self._mock.dispatcher.resend(whose, chosen)

    async def _be_strict(self, account: int, strict: int, seed: int) -> Any:
        return await self._mock.accounts.change_settings(ACCOUNTS[account % 2], strict=strict % 2 == 0, seed=seed)

    async def _reset(self, account: int, _: int, __: int) -> Any:
        reading = await self._mock.accounts.reset(ACCOUNTS[account % 2])
        self._sessions = [each for each in self._sessions if each.account != ACCOUNTS[account % 2]]
        return reading

    async def _restore(self, account: int, _: int, __: int) -> Any:
        """Put a whole account back in its own place, or refuse to put it into the other's."""
        whose = ACCOUNTS[account % 2]
        snapshot = await self._mock.accounts.snapshot(whose)
        await self._mock.accounts.restore(whose, snapshot)
        await self._mock.accounts.restore(ACCOUNTS[1 - account % 2], snapshot)

    async def _restart(self, _: int, __: int, ___: int) -> None:
        """End this process and start another, where what was kept survives that."""
        await self._mock.store.close()
        self._mock = Mock(self.place.store(), self._mock.clock)
        await self._mock.store.open()

    async def _everything(self, account: AccountId) -> Any:
        snapshot = await self._mock.accounts.snapshot(account)
        return _comparable(
            replace(
                snapshot,
                pending=sorted(snapshot.pending, key=lambda each: each.id),
                attempts=sorted(_comparable(snapshot.attempts), key=lambda each: (each.delivery_id, each.number)),
                unconfirmed=sorted(snapshot.unconfirmed),
                sessions=list(snapshot.sessions),
                records=list(snapshot.records),
                events=list(snapshot.events),
                endpoints=list(snapshot.endpoints),
                faults=list(snapshot.faults),
                # Polling is watched by each process for itself, and anew after a restart.
                advice=[note for note in snapshot.advice if note.advice.kind != "tight_polling"],
            )
        )


def _comparable(value: Any) -> Any:
    """Without what differs from run to run: how long an attempt took, and which of several ended first."""
    if isinstance(value, list | tuple) and value and all(isinstance(each, Attempt) for each in value):
        timeless = [replace(each, duration_ms=0) for each in value]
        return sorted(timeless, key=lambda each: (each.delivery_id, each.number))
    return value


def a_long_life() -> list[Command]:
    """Every command at least once, in an account where much is going on."""
    begin: list[Command] = [
        ("subscribe", 0, 2, 0),
        ("disturb", 0, 3, 1),
        *[("create", 0, each, 0) for each in range(6)],
    ]
    some_expire: list[Command] = [
        ("wait", 4, 0, 0),
        ("list", 0, 7, 0),
        ("advance", 0, 1, 0),
        ("list_of_status", 0, 7, 2),
    ]
    middle: list[Command] = [(name, first, 1, 1) for name in COMMANDS for first in (0, 1)]
    return [
        *begin,
        ("pay", 0, 0, 0),
        ("pay", 1, 0, 0),
        ("restart", 0, 0, 0),
        ("flush", 0, 0, 0),
        *some_expire,
        *middle,
        *middle,
    ]


FIRST_HEAD = (
    '{"profile":{"clock":{"offset":0,"frozen_at":null},"strict":null,"seed":null},"faults":[],'
    '"endpoints":[{"id":"we_1","url":"http://nowhere.example/hooks","types":["checkout.session.completed"],'
    '"secret":"whsec"}],"advice":[],"drawn":3,"sessions":1,"newest":1767225600,"deadline":null,"ticks":2,'
    '"oldest_answer":1767225600,"attempts":0,"delivery_due":1767225600}'
)
FIRST_ROWS = (
    ("mock_accounts (no, id, head, wake_at)", 1, "acct_one", FIRST_HEAD, NOW),
    (
        "mock_sessions (id, account, sequence, status, payment_status, created, expires_at, body)",
        *("cs_test_old", 1, 0, "complete", "paid", NOW, NOW + 86_400),
        '["SGD",[["Kopi",null,"SGD",180,2]],360,"https://s/t","https://s/o",null,"http://m/pay/cs_test_old"]',
    ),
    (
        "mock_records (account, key, place, fingerprint, session_id, status, payment_status, answered_at)",
        *(1, "key 1", 0, b"create", "cs_test_old", "open", "unpaid", NOW),
    ),
    (
        "mock_events (account, place, id, type, session_id, body)",
        *(1, 1, "evt_old", "checkout.session.completed", "cs_test_old", '[1767225600,"complete","paid",null,null]'),
    ),
    (
        "mock_deliveries (account, id, endpoint_id, due, is_held, body)",
        *(1, "dlv_old", "we_1", NOW, 0),
        '{"id":"dlv_old","event_id":"evt_old","endpoint_id":"we_1","due":1767225600}',
    ),
)
"""What a server of the first schema has left in its tables: every later version can read it."""


def add_a_step(monkeypatch: pytest.MonkeyPatch, store: ModuleType) -> int:
    """Let the module of a store be of a version with one step more; its number."""
    step = ("ALTER TABLE mock_accounts ADD COLUMN added BIGINT",)
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, step))
    for module in (schema, store):
        monkeypatch.setattr(module, "VERSION", schema.FIRST + len(schema.STEPS) - 1)
    return schema.VERSION


async def until(claim: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something has come true that happens in the background."""
    async with asyncio.timeout(20):
        while not await claim():  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(0.005)
