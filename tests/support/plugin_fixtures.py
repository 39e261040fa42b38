"""Fixtures of the tests of the pytest plugin: runs of tests within a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

# Imported here, since a run inside this process forgets what it has imported, and some of it can be imported just once.
import anyio.to_thread  # noqa: F401
import httpcore  # noqa: F401
import httpx  # noqa: F401
import pytest
import pytest_asyncio.plugin  # noqa: F401
from plugin_harness import INI, run_alone

import qashier_mock.server  # noqa: F401
from qashier_mock import MockServer


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with our settings. Not `autouse`: a plugin's fixture would then be that of every test there is."""
    pytester.makeini(INI)
    # Only the plugins that matter here: importing all the others anew would take most of the time.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture(scope="module")
def running() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def run(pytester: pytest.Pytester, running: MockServer) -> Callable[..., pytest.RunResult]:
    """Run the tests that were written with a mock that runs already: starting one takes its time."""

    def run(*arguments: str) -> pytest.RunResult:
        return run_alone(pytester, f"--qashier-mock-url={running.url}", *arguments)

    return run
