"""What an account is besides its sessions, asked directly: what the control API's tests cannot see."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mock_harness import ACCOUNT, NOW, OTHER_ACCOUNT, drive, make_service, order, request

from qashier_mock.accounts import AccountService, ClockReading
from qashier_mock.core.errors import IdTaken, ObjectNotFound, RequestInvalid
from qashier_mock.core.faults import FaultAction, FaultRule
from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import EventType, WebhookEndpoint
from qashier_mock.core.sources import ManualClock
from qashier_mock.service import CheckoutService
from qashier_mock.stores.memory import MemoryStore

BOTH = (EventType.COMPLETED, EventType.EXPIRED)
COMMON = WebhookEndpoint("we_common0", "http://127.0.0.1:9/all", secret="whsec_common")


class Harness:
    """An account service and what it works with."""

    def __init__(self, *, refuses: str | None = None) -> None:
        self.store = MemoryStore()
        made: tuple[CheckoutService, ManualClock] = make_service(store=self.store, common_endpoints=[COMMON])
        self.service, self.clock = made
        self.accounts = AccountService(
            self.store, self.service, clock=self.clock, refuses_webhooks_to=lambda _: refuses
        )


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_a_new_account_has_nothing_and_the_machines_time(harness: Harness) -> None:
    assert drive(harness.accounts.clock(ACCOUNT)) == ClockReading(NOW, frozen=False)


def test_a_secret_shows_in_no_representation(harness: Harness) -> None:
    endpoint = drive(harness.accounts.add_endpoint(ACCOUNT, "http://127.0.0.1:9", secret="whsec_mine", types=BOTH))
    assert endpoint.secret == "whsec_mine"
    assert "whsec" not in repr(drive(harness.accounts.endpoints(ACCOUNT)))
    assert "whsec" not in repr(drive(harness.accounts.snapshot(ACCOUNT)))


def test_the_servers_endpoints_come_first_and_stay(harness: Harness) -> None:
    mine = drive(harness.accounts.add_endpoint(ACCOUNT, "http://127.0.0.1:9", secret=None, types=BOTH))
    assert list(drive(harness.accounts.endpoints(ACCOUNT))) == [COMMON, mine]
    with pytest.raises(RequestInvalid, match="--webhook-url, for every account"):
        drive(harness.accounts.remove_endpoint(ACCOUNT, COMMON.id))
    with pytest.raises(ObjectNotFound):
        drive(harness.accounts.remove_endpoint(OTHER_ACCOUNT, mine.id))
    drive(harness.accounts.remove_endpoint(ACCOUNT, mine.id))
    assert list(drive(harness.accounts.endpoints(ACCOUNT))) == [COMMON]


def test_the_servers_endpoints_are_in_no_snapshot(harness: Harness) -> None:
    assert drive(harness.accounts.snapshot(ACCOUNT)).endpoints == ()


def test_where_webhooks_may_not_go_no_endpoint_is_made() -> None:
    harness = Harness(refuses="Not there.")
    with pytest.raises(RequestInvalid, match="Not there") as refused:
        drive(harness.accounts.add_endpoint(ACCOUNT, "http://127.0.0.1:9", secret=None, types=BOTH))
    assert refused.value.param == "url"
    assert list(drive(harness.accounts.endpoints(ACCOUNT))) == [COMMON]


def test_a_rule_counts_how_often_it_was_applied_until_it_is_used_up(harness: Harness) -> None:
    rule = FaultRule("", FaultAction.DROP, operation="*", times=2)
    made = drive(harness.accounts.add_fault(ACCOUNT, rule))
    found = [drive(harness.accounts.fault_of_call(ACCOUNT, "create_checkout_session")) for _ in range(3)]
    assert [each is not None for each in found] == [True, True, False]
    assert [each.applied for each in drive(harness.accounts.faults(ACCOUNT))] == [2]
    assert drive(harness.accounts.fault_of_call(OTHER_ACCOUNT, "create_checkout_session")) is None
    drive(harness.accounts.remove_faults(ACCOUNT, made.id))
    with pytest.raises(ObjectNotFound):
        drive(harness.accounts.remove_faults(ACCOUNT, made.id))


def test_a_snapshot_that_is_refused_leaves_the_account_as_it_was(harness: Harness) -> None:
    theirs = drive(harness.service.create(OTHER_ACCOUNT, order(), request()))[0]
    mine = drive(harness.service.create(ACCOUNT, order(), request()))[0]
    with pytest.raises(IdTaken, match=theirs.id):
        drive(harness.accounts.restore(ACCOUNT, drive(harness.accounts.snapshot(OTHER_ACCOUNT))))
    assert drive(harness.service.retrieve(ACCOUNT, mine.id, "req_1"))[0] == mine
    assert drive(harness.service.retrieve(OTHER_ACCOUNT, theirs.id, "req_1"))[0] == theirs


def test_the_counter_of_ids_never_goes_back(harness: Harness) -> None:
    snapshot = drive(harness.accounts.snapshot(ACCOUNT))
    ids = [drive(harness.service.create(ACCOUNT, order(), request()))[0].id for _ in range(3)]
    drive(harness.accounts.restore(ACCOUNT, snapshot))
    drive(harness.accounts.reset(ACCOUNT))
    assert drive(harness.service.create(ACCOUNT, order(), request()))[0].id not in ids


def test_a_snapshot_with_a_huge_counter_can_be_put_back_after_more_ids_were_drawn(harness: Harness) -> None:
    snapshot = drive(harness.accounts.snapshot(ACCOUNT))
    huge = replace(snapshot, drawn=2**52)
    drive(harness.accounts.restore(ACCOUNT, huge))
    for _ in range(2):
        session = drive(harness.service.create(ACCOUNT, order(), request()))[0]
        again = drive(harness.accounts.snapshot(ACCOUNT))
        assert again.drawn < 2**52
        drive(harness.accounts.reset(ACCOUNT))
        drive(harness.accounts.restore(ACCOUNT, again))
        assert drive(harness.service.retrieve(ACCOUNT, session.id, "req_1"))[0] == session


def test_restored_deliveries_are_still_to_be_made(harness: Harness) -> None:
    drive(harness.accounts.add_endpoint(ACCOUNT, "http://127.0.0.1:9", secret="whsec", types=BOTH))
    session = drive(harness.service.create(ACCOUNT, order(), request()))[0]
    drive(harness.service.apply(ACCOUNT, session.id, Trigger.PAYMENT_SUCCEEDED))
    snapshot = drive(harness.accounts.snapshot(ACCOUNT))
    due: list[int] = []
    harness.service.on_due = lambda _, instant: due.append(instant)
    drive(harness.accounts.reset(ACCOUNT))
    drive(harness.accounts.restore(ACCOUNT, snapshot))
    assert due == [NOW]
    assert len(drive(harness.accounts.snapshot(ACCOUNT)).pending) == len(snapshot.pending) == 2
