import time

import freezegun
import pytest
from shop import pay

BEGAN = time.time()


@pytest.fixture(scope="session", autouse=True)
def _frozen():
    """Active when the server starts."""
    with freezegun.freeze_time("2031-01-01"):
        yield


def test_webhooks_are_sent_while_time_is_frozen(qashier_mock):
    assert time.time() > BEGAN + 86_400
    assert BEGAN - 1 <= qashier_mock.now < BEGAN + 3_600
    assert BEGAN - 1 <= pay(qashier_mock)["created"] < BEGAN + 3_600


def test_the_journal_has_the_real_durations(qashier_mock):
    pay(qashier_mock)
    assert all(0 < each["duration_ms"] < 60_000 for each in qashier_mock.requests)
