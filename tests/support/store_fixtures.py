"""Fixtures of the tests that keep state: a test module that wants them names this module in `pytest_plugins`."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import postgres_harness
import pytest
import pytest_asyncio
from processes_harness import Processes
from store_harness import Mock, Place

from qashier_mock.stores.base import Store

KINDS: Final = ("memory", "sqlite", "postgresql")
_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The PostgreSQL server of this test run, which all its processes share."""
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    with postgres_harness.running(postgres_harness.folder_for(run)) as server:
        yield server


@pytest.fixture
def new_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Place]:
    """Makes any number of empty places, each of a kind."""

    def make(kind: str) -> Place:
        if kind == "memory":
            return Place(kind, "memory")
        if kind == "sqlite":
            return Place(kind, f"sqlite:///{tmp_path_factory.mktemp('place') / 'mock.db'}")
        schema = f"place_{os.getpid()}_{next(_NUMBERS)}"
        return Place(kind, postgres_harness.url_of(request.getfixturevalue("postgres"), schema=schema))

    return make


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, new_place: Callable[[str], Place]) -> Place:
    """An empty place of each kind."""
    return new_place(request.param)


@pytest.fixture(params=KINDS[1:])
def lasting(request: pytest.FixtureRequest, new_place: Callable[[str], Place]) -> Place:
    """An empty place of each kind that outlives a process."""
    return new_place(request.param)


@pytest.fixture
def database(new_place: Callable[[str], Place]) -> Place:
    """An empty database, which several processes may work on."""
    return new_place("postgresql")


@pytest_asyncio.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    """An open store at each kind of place."""
    store = place.store()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def mock(store: Store) -> Mock:
    return Mock(store)


@pytest_asyncio.fixture
async def processes(database: Place) -> AsyncIterator[Processes]:
    processes = Processes(database.url)
    yield processes
    for store in processes.stores:
        await store.close()
