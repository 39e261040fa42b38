"""The checkout service over an empty memory: sweeping, waking, finding, and a model of what any history leads to."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from mock_harness import ACCOUNT, NOW, OTHER_ACCOUNT, drive, make_service, order, request

from qashier_mock.core.advice import MISSING_KEY
from qashier_mock.core.errors import (
    CurrencyUnavailable,
    ExpiresAtOutOfRange,
    RequestInvalid,
    SessionNotFound,
    SessionNotOpen,
)
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import (
    AccountClock,
    AccountId,
    CheckoutSession,
    Event,
    EventType,
    LineItem,
    PaymentStatus,
    Status,
    WebhookEndpoint,
)
from qashier_mock.core.paging import ListQuery
from qashier_mock.core.policy import Policy
from qashier_mock.core.rules import DEFAULT_RULES
from qashier_mock.core.sources import ManualClock
from qashier_mock.service import CheckoutService
from qashier_mock.stores.memory import MemoryStore
from qashier_mock.web import wire

CUSTOMER = (Trigger.PAYMENT_SUCCEEDED, Trigger.PAYMENT_FAILED, Trigger.PAYMENT_CANCELED)


def create(service: CheckoutService, *, life: int | None = None, account: AccountId = ACCOUNT) -> CheckoutSession:
    expires_at = None if life is None else NOW + life
    return drive(service.create(account, order(expires_at=expires_at), request()))[0]


def events(store: MemoryStore, account: AccountId = ACCOUNT) -> list[Event]:
    return list(drive(store.transaction(account).events()))


async def set_clock(service: CheckoutService, store: MemoryStore, clock: AccountClock) -> None:
    async with store.transaction(ACCOUNT) as tx:
        await service.set_clock(tx, clock)


def swept(service: CheckoutService, account: AccountId = ACCOUNT) -> list[str]:
    with service.noting_expired(account) as expired:
        drive(service.sweep(account))
    return [*expired]


def test_sweeping_expires_what_is_overdue_earliest_deadline_first(service: CheckoutService, clock: ManualClock) -> None:
    late, soon, kept = (create(service, life=life).id for life in (3_600, 1_800, 3_601))
    clock.now += 3_600
    assert swept(service) == [soon, late]
    assert swept(service) == []
    assert drive(service.retrieve(ACCOUNT, kept, "req_1"))[0].is_open


def test_sessions_of_one_deadline_expire_in_order_of_creation(service: CheckoutService, clock: ManualClock) -> None:
    ids = [create(service, life=1_800).id for _ in range(5)]
    clock.now += 1_800
    assert swept(service) == ids


def test_sweeping_one_account_leaves_the_others(service: CheckoutService, clock: ManualClock) -> None:
    create(service, account=OTHER_ACCOUNT)
    clock.now += 86_400
    assert swept(service) == []
    assert len(swept(service, OTHER_ACCOUNT)) == 1


@pytest.mark.parametrize("command", ["create", "retrieve", "list", "expire", "apply", "find"])
def test_every_command_sweeps_first(command: str) -> None:
    store = MemoryStore()
    service, clock = make_service(store=store)
    overdue, other = create(service, life=1_800).id, create(service).id
    clock.now += 1_800
    if command == "create":
        create(service, life=3_600)
    elif command == "retrieve":
        drive(service.retrieve(ACCOUNT, other, "req_1"))
    elif command == "list":
        assert drive(service.list_sessions(ACCOUNT, ListQuery(10, status=Status.EXPIRED))).sessions[0].id == overdue
    elif command == "expire":
        drive(service.expire(ACCOUNT, other, request()))
    elif command == "apply":
        drive(service.apply(ACCOUNT, other, Trigger.PAYMENT_FAILED))
    else:
        found = drive(service.find(overdue))
        assert found is not None
        assert (found[0], found[1].status) == (ACCOUNT, Status.EXPIRED)
    first = events(store)[0]
    assert (first.session.id, first.type, first.request_id) == (overdue, EventType.EXPIRED, None)


def test_what_a_refused_command_has_swept_stays_swept() -> None:
    store = MemoryStore()
    service, clock = make_service(store=store)
    overdue = create(service, life=1_800).id
    clock.now += 1_800
    with pytest.raises(SessionNotOpen, match="is expired"):
        drive(service.expire(ACCOUNT, overdue, request()))
    assert [each.session.id for each in events(store)] == [overdue]


def test_a_service_follows_the_rules_that_it_is_handed() -> None:
    """As a known defect does: one rule replaced, the others as they are."""
    rules = replace(DEFAULT_RULES, advance=lambda session, _trigger, _now: (session, None))
    service, _ = make_service(rules=rules)
    session = create(service)
    assert drive(service.expire(ACCOUNT, session.id, request()))[0] == session
    assert drive(make_service()[0].create(ACCOUNT, order(), request()))[0].is_open


def test_finding_a_session_needs_no_account(service: CheckoutService) -> None:
    session = create(service, account=OTHER_ACCOUNT)
    assert drive(service.find(session.id)) == (OTHER_ACCOUNT, session)
    assert drive(service.find("cs_test_nothing")) is None


@pytest.mark.parametrize("account", [OTHER_ACCOUNT, ACCOUNT])
def test_a_session_that_is_not_the_accounts_is_not_found(service: CheckoutService, account: AccountId) -> None:
    session_id = create(service).id if account is OTHER_ACCOUNT else "cs_test_nothing"
    for attempt in (
        service.retrieve(account, session_id, "req_1"),
        service.expire(account, session_id, request()),
        service.apply(account, session_id, Trigger.PAYMENT_SUCCEEDED),
    ):
        with pytest.raises(SessionNotFound):
            drive(attempt)


def test_a_refused_create_adds_nothing(service: CheckoutService) -> None:
    with pytest.raises(ExpiresAtOutOfRange):
        create(service, life=1)
    assert drive(service.list_sessions(ACCOUNT, ListQuery(10))).sessions == ()


def test_sessions_share_what_is_the_same_for_many() -> None:
    """There may be a million of them: a hundred bytes more for each are 100 MB."""
    service, clock = make_service()
    sessions = []
    for _ in range(2):
        clock.now = int(str(NOW))  # the same second, read anew
        sessions.append(create(service))
    assert sessions[0].created is sessions[1].created
    line = b'{"price_data":{"currency":"SGD","product_data":{"name":"Tea"},"unit_amount":1},"quantity":1}'
    one, other = (wire.parse_line(orjson.loads(line)) for _ in range(2))
    assert one.currency is other.currency


def test_an_account_may_be_limited_to_currencies() -> None:
    service, _ = make_service(policy=replace(Policy(), currencies=("MYR",)))
    lines = (LineItem("Tea", None, "MYR", 1, 1), LineItem("Tea", None, "SGD", 1, 1))
    assert drive(service.create(ACCOUNT, order(line_items=lines[:1]), request()))[0].currency == "MYR"
    with pytest.raises(CurrencyUnavailable) as refused:
        drive(service.create(ACCOUNT, order(line_items=lines), request()))
    assert refused.value.param == "line_items[1].price_data.currency"


def test_lis_4_a_machine_whose_clock_lags_creates_nothing_older_than_the_newest() -> None:
    """Two machines may share a store; the list stays ordered by creation."""
    store = MemoryStore()
    ahead, clock = make_service(store=store)
    behind, _ = make_service(store=store)
    clock.now += 5
    assert create(ahead).created == create(behind).created == NOW + 5


# waking


class Alarm:
    """Remembers what became due when, by the machine's clock."""

    def __init__(self, service: CheckoutService) -> None:
        self.set: list[tuple[str, int]] = []
        service.on_due = lambda account, instant: self.set.append((account, instant))

    def rung(self) -> list[int]:
        instants = [instant for _, instant in self.set]
        self.set.clear()
        return instants


def test_a_deadline_is_announced_as_the_machine_will_see_it() -> None:
    store = MemoryStore()
    service, _ = make_service(store=store)
    alarm = Alarm(service)
    create(service, life=3_600)
    assert alarm.rung() == [NOW + 3_600]
    create(service, life=1_800)
    create(service, life=7_200)
    assert alarm.rung() == [NOW + 1_800] * 2
    drive(set_clock(service, store, AccountClock(offset=1_000)))
    assert alarm.rung() == [NOW + 800]


def test_a_clock_that_stands_announces_only_what_is_due_already() -> None:
    store = MemoryStore()
    service, clock = make_service(store=store)
    alarm = Alarm(service)
    session = create(service)
    alarm.rung()
    drive(set_clock(service, store, AccountClock(frozen_at=NOW)))
    clock.now += 3
    create(service, life=1_900)
    assert alarm.rung() == []
    store.transaction(ACCOUNT).state.endpoints = (WebhookEndpoint("we_1", "http://127.0.0.1:9"),)
    drive(service.apply(ACCOUNT, session.id, Trigger.PAYMENT_SUCCEEDED))
    assert alarm.rung() == [0]


def test_an_account_with_nothing_to_wait_for_announces_nothing() -> None:
    service, _ = make_service()
    alarm = Alarm(service)
    session = create(service)
    alarm.rung()
    drive(service.apply(ACCOUNT, session.id, Trigger.PAYMENT_SUCCEEDED))
    assert alarm.rung() == []


# strictness


def test_a_strict_service_refuses_what_is_advised_against_and_remembers_nothing() -> None:
    store = MemoryStore()
    service, _ = make_service(store=store, strict=True)
    asked = request(advice=[MISSING_KEY])
    with pytest.raises(RequestInvalid, match="Refused in strict mode: A POST came without") as refused:
        drive(service.create(ACCOUNT, order(), asked))
    assert refused.value.advice == ()
    assert store.transaction(ACCOUNT).state.advice == ()


def test_a_refusal_carries_the_advice_that_was_new(service: CheckoutService) -> None:
    with pytest.raises(ExpiresAtOutOfRange) as refused:
        drive(service.create(ACCOUNT, order(expires_at=NOW), request(advice=[MISSING_KEY])))
    assert refused.value.advice == [MISSING_KEY]
    _, advice = drive(service.create(ACCOUNT, order(), request(advice=[MISSING_KEY])))
    assert advice == [], "it was given before"


def test_the_clock_last_seen_follows_every_move() -> None:
    store = MemoryStore()
    service, clock = make_service(store=store)
    assert service.time_of(ACCOUNT) == NOW
    drive(set_clock(service, store, AccountClock(offset=60)))
    clock.now += 1
    assert service.time_of(ACCOUNT) == NOW + 61
    drive(set_clock(service, store, AccountClock(frozen_at=5)))
    assert service.time_of(ACCOUNT) == 5
    assert service.time_of(OTHER_ACCOUNT) == NOW + 1


# any history


class History(RuleBasedStateMachine):
    """Whatever happens: the service says what a plain list of sessions would."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.service, self.clock = make_service(store=self.store)
        self.expected: list[CheckoutSession] = []  # in order of creation
        self.told: list[tuple[str, EventType]] = []

    def _pass_deadlines(self) -> None:
        overdue = [each for each in self.expected if each.is_open and each.expires_at <= self.clock.now]
        for session in sorted(overdue, key=lambda each: each.expires_at):
            self._change(session, status=Status.EXPIRED, event=EventType.EXPIRED)

    def _change(self, session: CheckoutSession, *, status: Status, event: EventType) -> None:
        payment_status = PaymentStatus.PAID if status is Status.COMPLETE else session.payment_status
        self.expected[session.sequence] = replace(session, status=status, payment_status=payment_status)
        self.told.append((session.id, event))

    @rule(life=st.none() | st.integers(1_800, 5_000))
    def create(self, life: int | None) -> None:
        expires_at = None if life is None else self.clock.now + life
        session = drive(self.service.create(ACCOUNT, order(expires_at=expires_at), request()))[0]
        self._pass_deadlines()
        assert session.sequence == len(self.expected)
        assert session.id not in {each.id for each in self.expected}
        self.expected.append(session)

    @rule(seconds=st.integers(0, 3_000))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), trigger=st.sampled_from((*CUSTOMER, Trigger.EXPIRE_REQUESTED)))
    def push(self, data: st.DataObject, trigger: Trigger) -> None:
        index = data.draw(st.integers(0, len(self.expected) - 1))
        self._pass_deadlines()
        session = self.expected[index]
        try:
            if trigger is Trigger.EXPIRE_REQUESTED:
                after = drive(self.service.expire(ACCOUNT, session.id, request()))[0]
            else:
                after = drive(self.service.apply(ACCOUNT, session.id, trigger))
        except SessionNotOpen:
            assert not session.is_open
            return
        assert session.is_open
        if trigger is Trigger.PAYMENT_SUCCEEDED:
            self._change(session, status=Status.COMPLETE, event=EventType.COMPLETED)
        elif trigger is Trigger.EXPIRE_REQUESTED:
            self._change(session, status=Status.EXPIRED, event=EventType.EXPIRED)
        assert after == self.expected[index]

    @invariant()
    def the_list_is_as_expected_and_each_status_is_a_part_of_it(self) -> None:
        self._pass_deadlines()
        query = ListQuery(limit=100)
        assert list(drive(self.service.list_sessions(ACCOUNT, query)).sessions) == self.expected[:-101:-1]
        for status in Status:
            found = drive(self.service.list_sessions(ACCOUNT, replace(query, status=status))).sessions
            assert list(found) == [each for each in reversed(self.expected) if each.status is status][:100]

    @invariant()
    def each_change_has_told_of_itself_once(self) -> None:
        self._pass_deadlines()
        drive(self.service.sweep(ACCOUNT))
        assert [(each.session.id, each.type) for each in events(self.store)] == self.told
        by_id = {each.id: each for each in self.expected}
        assert all(each.session == by_id[each.session.id] for each in events(self.store))


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
