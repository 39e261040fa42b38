"""What every test may ask for. None of it is made before a test does."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from qashier_mock.core.sources import ManualClock, SeededIds

if TYPE_CHECKING:
    from mock_harness import Client, Receiver

    from qashier_mock import MockApp, MockServer
    from qashier_mock.service import CheckoutService
    from qashier_mock.stores.base import Store

# The same examples every time where a machine decides about a change, free ones at the desk. How long an example takes
# is not judged: the machine may be busy.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "desk")

collect_ignore = ["neighbours"]  # projects of their own, which `test_neighbours.py` runs

LONGEST = {"test_determinism.py", "test_generated_clients.py", "test_crash.py", "test_served_stores.py", "test_shop.py"}
"""Files with tests of many seconds."""
_KEYS = itertools.count()


def pytest_xdist_auto_num_workers() -> int | None:
    """Two on each core: half of the tests' time is waiting, for servers that start and for what must not come."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # it is read by whoever comes after this
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Set aside what was collected: Python's collector of garbage would look at all of it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)  # whatever else puts them into an order
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, so that no worker is left with one when the others are done."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def machine() -> ManualClock:
    """The clock of the app that tests share."""
    from qashier_mock.core.sources import ManualClock

    return ManualClock()


@pytest.fixture
def clock(machine: ManualClock) -> ManualClock:
    """The machine's clock, in the hands of the test."""
    from mock_harness import NOW

    machine.now = NOW
    return machine


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


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """The event loop of everything in process."""
    with asyncio.Runner() as runner:
        yield runner


STORE = os.environ.get("QASHIER_TEST_STORE", "memory")
"""Where apps keep their state that are made here and given none: memory, sqlite or postgresql."""


@pytest.fixture(scope="session")
def open_new_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Store]]:
    """Makes an open and empty store of the kind that `QASHIER_TEST_STORE` names."""
    from qashier_mock.stores.factory import open_store

    opened: list[Store] = []
    runner: Any = None if STORE == "memory" else request.getfixturevalue("runner")

    def place() -> str:
        if STORE == "postgresql":
            import postgres_harness

            server = request.getfixturevalue("postgres")
            return postgres_harness.url_of(server, schema=f"app_{os.getpid()}_{len(opened)}")
        return STORE if STORE == "memory" else f"sqlite:///{tmp_path_factory.mktemp('store') / 'mock.db'}"

    def make() -> Store:
        store = open_store(place())
        if runner is not None:
            runner.run(store.open())
            opened.append(store)
        return store

    yield make
    for store in opened:
        runner.run(store.close())


@pytest.fixture(scope="session")
def make_app(
    machine: ManualClock, tmp_path_factory: pytest.TempPathFactory, open_new_store: Callable[[], Store]
) -> Callable[..., MockApp]:
    """Makes an app with the given `Settings`; its clock is `clock`, and its replies are judged by the document."""
    from judgement import Judge

    from qashier_mock import app
    from qashier_mock.documents import documents_folder
    from qashier_mock.pipeline.document import precompile

    folder = shutil.copytree(documents_folder(), tmp_path_factory.mktemp("documents") / "openapi")
    for name in ("qashier.yaml", "control.yaml"):
        precompile(folder / name)  # most of what a new app costs

    def make(*, clock: Callable[[], float] = machine, **settings: Any) -> MockApp:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(app, "documents_folder", lambda: folder)
            given = app.Settings(**{"seed": 1, **settings})
            return app.MockApp(given, store=open_new_store(), clock=clock, judge=Judge())

    return make


@pytest.fixture(scope="session")
def shared_app(make_app: Callable[..., MockApp]) -> MockApp:
    """The app of all tests that need no settings of their own."""
    return make_app()


@pytest.fixture
def make_client(
    make_app: Callable[..., MockApp], runner: asyncio.Runner, clock: ManualClock, api_key: str
) -> Callable[..., Client]:
    """Makes a client of a new app with the given `Settings`."""
    from mock_harness import Client

    return lambda **settings: Client(make_app(**settings), runner, api_key)


@pytest.fixture
def client(shared_app: MockApp, runner: asyncio.Runner, clock: ManualClock, api_key: str) -> Client:
    """An app in process, called with a key of this test alone; every answer is judged by the document."""
    from mock_harness import Client

    return Client(shared_app, runner, api_key)


@pytest.fixture
def receiver(runner: asyncio.Runner) -> Iterator[Receiver]:
    """A webhook endpoint on loopback, on the event loop of the client."""
    from mock_harness import Receiver

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


@pytest.fixture(scope="module")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each client of httpx reads all authorities that there are: where nothing speaks TLS, one is enough."""
    import trustme

    path = tmp_path_factory.mktemp("tls") / "authority.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(path))
        yield


@pytest.fixture
def no_second_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run opens sessions within one second of a clock that it cannot move: for what judges no list by its times."""
    from qashier_contract.drive.scenarios import listing

    monkeypatch.setattr(listing, "SECOND_S", 0.0)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Children hear SIGINT: in the background of a script it is ignored, and they would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def api_key() -> str:
    """A key that no other test has."""
    return f"sk_test_{os.getpid()}_{next(_KEYS)}"


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Iterator[Callable[[str, float, float], None]]:
    """Take down what was measured, and what is the most that it may be; once all is measured, more fails the test."""
    too_much = []

    def take_down(name: str, measured: float, most: float) -> None:
        record_property("figure", f"{name}: {measured:,.1f} (at most {most:,.1f})")
        if measured > most:
            too_much.append(name)

    yield take_down
    assert too_much == []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List what tests have measured: the lines that they recorded as a `figure`."""
    reports = [each for group in ("passed", "failed") for each in terminalreporter.getreports(group)]
    figures = [str(value) for each in reports for name, value in each.user_properties if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)
