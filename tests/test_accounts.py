"""What an account is besides its sessions, asked directly: what the control API's tests cannot see."""

from __future__ import annotations

import pytest
from mock_house import ACCOUNT, NOW, OTHER_ACCOUNT, drive, make_service, order, request

from qashier_mock.accounts import AccountService, ClockReading, EndpointConfigured
from qashier_mock.core.errors import IdTaken, ObjectNotFound, RequestInvalid
from qashier_mock.core.faults import FaultAction, FaultRule
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import EventType, WebhookEndpoint
from qashier_mock.core.sources import ManualClock
from qashier_mock.service import CheckoutService
from qashier_mock.stores.memory import MemoryStore

BOTH = (EventType.COMPLETED, EventType.EXPIRED)
COMMON = WebhookEndpoint("we_common0", "http://127.0.0.1:9/all", secret="whsec_common")


class House:
    """An account service and what it works with."""

    def __init__(self, *, refuses: str | None = None) -> None:
        self.store = MemoryStore()
        made: tuple[CheckoutService, ManualClock] = make_service(store=self.store, common_endpoints=[COMMON])
        self.service, self.clock = made
        self.accounts = AccountService(
            self.store, self.service, clock=self.clock, refuses_webhooks_to=lambda _: refuses
        )


@pytest.fixture
def house() -> House:
    return House()


def test_a_new_account_has_nothing_and_the_machines_time(house: House) -> None:
    assert drive(house.accounts.clock(ACCOUNT)) == ClockReading(NOW, frozen=False, is_new=True)
    drive(house.service.create(ACCOUNT, order(), request()))
    assert not drive(house.accounts.clock(ACCOUNT)).is_new


def test_an_account_that_has_just_got_a_session_is_not_new_any_more(house: House) -> None:
    drive(house.service.create(ACCOUNT, order(), request()))
    with pytest.raises(RequestInvalid, match="first session") as refused:
        drive(house.accounts.set_clock_of_new(ACCOUNT, 5, frozen=True))
    assert refused.value.param == "now"
    assert drive(house.accounts.clock(ACCOUNT)).now == NOW


def test_the_clock_of_a_new_account_runs_or_stands_from_where_it_is_set(house: House) -> None:
    drive(house.accounts.set_clock_of_new(ACCOUNT, 5, frozen=False))
    house.clock.now += 2
    assert drive(house.accounts.clock(ACCOUNT)) == ClockReading(7, frozen=False, is_new=True)
    drive(house.accounts.set_clock_of_new(ACCOUNT, 5, frozen=True))
    house.clock.now += 2
    assert drive(house.accounts.clock(ACCOUNT)) == ClockReading(5, frozen=True, is_new=True)


def test_a_secret_shows_in_no_representation(house: House) -> None:
    endpoint = drive(house.accounts.add_endpoint(ACCOUNT, "http://127.0.0.1:9", secret="whsec_mine", types=BOTH))
    assert endpoint.secret == "whsec_mine"
    assert "whsec" not in repr(drive(house.accounts.endpoints(ACCOUNT)))
    assert "whsec" not in repr(drive(house.accounts.snapshot(ACCOUNT)))


def test_the_servers_endpoints_come_first_and_stay(house: House) -> None:
    mine = drive(house.accounts.add_endpoint(ACCOUNT, "http://127.0.0.1:9", secret=None, types=BOTH))
    assert list(drive(house.accounts.endpoints(ACCOUNT))) == [COMMON, mine]
    with pytest.raises(EndpointConfigured):
        drive(house.accounts.remove_endpoint(ACCOUNT, COMMON.id))
    with pytest.raises(ObjectNotFound):
        drive(house.accounts.remove_endpoint(OTHER_ACCOUNT, mine.id))
    drive(house.accounts.remove_endpoint(ACCOUNT, mine.id))
    assert list(drive(house.accounts.endpoints(ACCOUNT))) == [COMMON]


def test_the_servers_endpoints_are_in_no_snapshot(house: House) -> None:
    assert drive(house.accounts.snapshot(ACCOUNT)).endpoints == ()


def test_where_webhooks_may_not_go_no_endpoint_is_made() -> None:
    house = House(refuses="Not there.")
    with pytest.raises(RequestInvalid, match="Not there") as refused:
        drive(house.accounts.add_endpoint(ACCOUNT, "http://127.0.0.1:9", secret=None, types=BOTH))
    assert refused.value.param == "url"
    assert list(drive(house.accounts.endpoints(ACCOUNT))) == [COMMON]


def test_a_rule_counts_how_often_it_was_applied_until_it_is_used_up(house: House) -> None:
    rule = FaultRule("", FaultAction.DROP, operation="*", times=2)
    made = drive(house.accounts.add_fault(ACCOUNT, rule))
    found = [drive(house.accounts.fault_of_call(ACCOUNT, "create_checkout_session")) for _ in range(3)]
    assert [each is not None for each in found] == [True, True, False]
    assert [each.applied for each in drive(house.accounts.faults(ACCOUNT))] == [2]
    assert drive(house.accounts.fault_of_call(OTHER_ACCOUNT, "create_checkout_session")) is None
    drive(house.accounts.remove_faults(ACCOUNT, made.id))
    with pytest.raises(ObjectNotFound):
        drive(house.accounts.remove_faults(ACCOUNT, made.id))


def test_a_snapshot_that_is_refused_leaves_the_account_as_it_was(house: House) -> None:
    theirs = drive(house.service.create(OTHER_ACCOUNT, order(), request()))
    mine = drive(house.service.create(ACCOUNT, order(), request()))
    with pytest.raises(IdTaken, match=theirs.id):
        drive(house.accounts.restore(ACCOUNT, drive(house.accounts.snapshot(OTHER_ACCOUNT))))
    assert drive(house.service.retrieve(ACCOUNT, mine.id, request())) == mine
    assert drive(house.service.retrieve(OTHER_ACCOUNT, theirs.id, request())) == theirs


def test_the_counter_of_ids_never_goes_back(house: House) -> None:
    snapshot = drive(house.accounts.snapshot(ACCOUNT))
    ids = [drive(house.service.create(ACCOUNT, order(), request())).id for _ in range(3)]
    drive(house.accounts.restore(ACCOUNT, snapshot))
    drive(house.accounts.reset(ACCOUNT))
    assert drive(house.service.create(ACCOUNT, order(), request())).id not in ids


def test_restored_deliveries_are_still_to_be_made(house: House) -> None:
    drive(house.accounts.add_endpoint(ACCOUNT, "http://127.0.0.1:9", secret="whsec", types=BOTH))
    session = drive(house.service.create(ACCOUNT, order(), request()))
    drive(house.service.apply(ACCOUNT, session.id, Trigger.PAYMENT_SUCCEEDED))
    snapshot = drive(house.accounts.snapshot(ACCOUNT))
    due: list[int] = []
    house.service.on_due(lambda _, instant: due.append(instant))
    drive(house.accounts.reset(ACCOUNT))
    drive(house.accounts.restore(ACCOUNT, snapshot))
    assert due == [NOW]
    assert len(drive(house.accounts.snapshot(ACCOUNT)).pending) == len(snapshot.pending) == 2
