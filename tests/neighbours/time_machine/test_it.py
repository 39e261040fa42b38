import datetime as dt
import time

import pytest
import time_machine
from shop import pay

BEGAN = time.time()


@pytest.mark.parametrize("number", [1, 2])
def test_a_test_that_travels_takes_nobody_along(qashier_mock, number):
    assert BEGAN - 1 <= qashier_mock.now < BEGAN + 3_600
    with time_machine.travel(dt.datetime(2031, 1, 1, tzinfo=dt.UTC), tick=number == 1):
        assert time.time() > BEGAN + 86_400
        assert BEGAN - 1 <= qashier_mock.now < BEGAN + 3_600
        assert BEGAN - 1 <= pay(qashier_mock)["created"] < BEGAN + 3_600


def test_it_may_travel_back(qashier_mock, time_machine):
    time_machine.move_to(dt.datetime(1999, 1, 1, tzinfo=dt.UTC), tick=False)
    assert BEGAN - 1 <= pay(qashier_mock)["created"] < BEGAN + 3_600


def test_a_clock_that_was_never_moved_goes_on(qashier_mock):
    now = qashier_mock.now
    deadline = time.monotonic() + 10
    while qashier_mock.now == now:
        assert time.monotonic() < deadline
        time.sleep(0.05)
