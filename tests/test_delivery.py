"""When a webhook is due, when it is tried again, and what scripted disorder does to it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_harness import ACCOUNT, NOW, order

from qashier_mock.core.delivery import HOLD, RETRY_DELAYS, Delivery, after_attempt, is_success, plan
from qashier_mock.core.faults import FaultAction, FaultRule
from qashier_mock.core.lifecycle import open_session
from qashier_mock.core.model import Event, EventType, WebhookEndpoint

SESSION = open_session(order(), session_id="cs_test_1", account=ACCOUNT, sequence=0, now=NOW, pay_url="http://m/pay/")
EVENT = Event("evt_1", EventType.COMPLETED, ACCOUNT, NOW, SESSION)
ENDPOINT = WebhookEndpoint("we_1", "http://127.0.0.1:9")
IDS = ["dlv_1", "dlv_2"]
FIRST = Delivery("dlv_1", "evt_1", "we_1", NOW)
ANSWERS = st.none() | st.integers(100, 599)


def planned(action: FaultAction | None, **more: float) -> list[Delivery]:
    rule = None if action is None else FaultRule("flt_1", action, webhook="*", seconds=more.get("seconds", 0))
    return plan(EVENT, ENDPOINT, now=NOW, fault=rule, ids=IDS)


def test_evt_6_an_event_is_due_at_once() -> None:
    assert planned(None) == [FIRST]


def test_disorder_is_written_into_the_delivery() -> None:
    assert planned(FaultAction.DROP) == [replace(FIRST, is_dropped=True)]
    assert planned(FaultAction.DUPLICATE) == [FIRST, replace(FIRST, id="dlv_2")]
    assert planned(FaultAction.DELAY, seconds=3_600) == [replace(FIRST, due=NOW + 3_600)]
    assert planned(FaultAction.REORDER) == [replace(FIRST, due=NOW + HOLD, is_held=True)]
    assert planned(FaultAction.BAD_SIGNATURE) == [replace(FIRST, is_missigned=True)]
    assert planned(FaultAction.TRUNCATE) == [FIRST]


@pytest.mark.parametrize("status", [None, 100, 199, 300, 301, 404, 410, 500])
def test_evt_6_anything_but_2xx_is_tried_again_after_growing_delays_and_then_given_up(status: int | None) -> None:
    delays = []
    delivery: Delivery | None = FIRST
    while delivery is not None:
        started_at = delivery.due + 3
        after = after_attempt(delivery, started_at=started_at, status=status)
        if after is not None:
            delays.append(after.due - started_at)
            assert after.number == delivery.number + 1
        delivery = after
    assert delays == [10, 60, 300, 1_800, 7_200, 21_600, 43_200]
    assert delays == sorted(delays)
    assert len(RETRY_DELAYS) >= 5
    assert delays[0] <= 60


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_evt_6_any_2xx_ends_the_delivery(status: int) -> None:
    assert after_attempt(FIRST, started_at=NOW, status=status) is None


@given(ANSWERS)
def test_a_dropped_delivery_is_never_tried_again(status: int | None) -> None:
    assert after_attempt(replace(FIRST, is_dropped=True), started_at=NOW, status=status) is None


@given(st.lists(ANSWERS, max_size=12), st.booleans())
def test_a_delivery_is_attempted_until_its_first_2xx_and_eight_times_at_most(
    answers: list[int | None],
    missigned: bool,  # noqa: FBT001
) -> None:
    delivery: Delivery | None = replace(FIRST, is_held=True, is_missigned=missigned)
    seen = []
    for answer in answers:
        if delivery is None:
            break
        seen.append(answer)
        delivery = after_attempt(delivery, started_at=delivery.due, status=answer)
        assert delivery is None or (delivery.is_held, delivery.is_missigned) == (False, missigned)
    assert len(seen) <= 8
    assert not any(map(is_success, seen[:-1]))
    if delivery is None:
        assert is_success(seen[-1]) or len(seen) == 8
