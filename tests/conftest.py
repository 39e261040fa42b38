"""What every test may ask for. None of it is made before a test does."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from mock_house import Client, Receiver

    from qashier_mock import MockServer
    from qashier_mock.core.sources import ManualClock, SeededIds
    from qashier_mock.service import CheckoutService

# The same examples every time where a machine decides about a change, free ones at the desk. How long an example takes
# is not judged: the machine may be busy.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "desk")

_KEYS = itertools.count()


@pytest.fixture
def clock() -> ManualClock:
    """The machine's clock, in the hands of the test."""
    from mock_house import NOW

    from qashier_mock.core.sources import ManualClock

    return ManualClock(NOW)


@pytest.fixture
def ids() -> SeededIds:
    """The same ids every time."""
    from qashier_mock.core.sources import SeededIds

    return SeededIds(1)


@pytest.fixture
def service(clock: ManualClock, ids: SeededIds) -> CheckoutService:
    """A checkout service over an empty memory."""
    from qashier_mock.core.policy import Policy
    from qashier_mock.service import CheckoutService
    from qashier_mock.stores.memory import MemoryStore

    return CheckoutService(MemoryStore(), clock=clock, ids=ids, policy=Policy(), public_url=lambda: "http://mock.test")


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """An event loop that lives as long as the test."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def make_client(runner: asyncio.Runner, clock: ManualClock) -> Callable[..., Client]:
    """Makes a client of a new app with the given `Settings`; its clock is `clock`."""
    from functools import partial

    import mock_house

    return partial(mock_house.make_client, runner, clock)


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    """An app in process, called with one key; every answer is judged by the document."""
    return make_client()


@pytest.fixture
def receiver(runner: asyncio.Runner) -> Iterator[Receiver]:
    """A webhook endpoint on loopback, on the event loop of the client."""
    from mock_house import Receiver

    receiver = Receiver()
    runner.run(receiver.start())
    yield receiver
    runner.run(receiver.stop())


@pytest.fixture(scope="session")
def server() -> Iterator[MockServer]:
    """A real server, one for the whole run; a test takes an `api_key` of its own."""
    from qashier_mock import MockServer

    with MockServer() as server:
        yield server


@pytest.fixture
def api_key() -> str:
    """A key that no other test has."""
    return f"sk_test_{os.getpid()}_{next(_KEYS)}"
