"""The pytest plugin: a payment provider in a fixture.

    def test_a_paid_order_is_shipped(qashier_mock):
        shop = Shop(provider=qashier_mock.base_url, api_key=qashier_mock.api_key)
        order = shop.checkout()
        qashier_mock.pay(order.session_id)
        ...

At the top only the standard library and pytest are imported, and nothing is started before a test asks for a fixture:
test runs that ask for none pay for nothing.
"""

# ruff: noqa: PLC0415 - what a test run may not need is imported where it is needed

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from qashier_mock.testing import QashierMock, QashierMockConfig, QashierMockServer, WebhookDisorder

_ACCOUNT: Final = pytest.StashKey["QashierMock"]()
_LATEST: Final = pytest.StashKey["QashierMock"]()
_FAILED: Final = pytest.StashKey[dict[str, str]]()
"""Where the inspector shows the account of each test that failed, by the test."""
_MARKER: Final = "qashier_mock"
_MARKER_OPTIONS: Final = ("strict", "seed", "frozen_at")
_DISORDERS: Final = ("in_order", "duplicated", "late", "swapped", "lost", "forged", "replayed", "mixed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options and ini keys; an option comes before its ini key."""
    group = parser.getgroup("qashier_mock", "a mock of Qashier Checkout for tests")
    group.addoption("--qashier-mock-url", metavar="URL", help="use the mock that runs there, and start none")
    group.addoption(
        "--qashier-mock-port",
        metavar="PORT",
        type=int,
        help="where a started mock listens, plus the number of the xdist worker (default: any free port)",
    )
    group.addoption(
        "--qashier-mock-seed",
        metavar="N",
        type=int,
        help="draw the ids of a started mock from N, so that each test gets the same ones in every run",
    )
    group.addoption(
        "--qashier-mock-keep",
        action="store_true",
        help="after a failure leave the mock running until Ctrl-C, for a look at the test's account in the inspector",
    )
    contract = parser.getgroup("qashier_contract", "the contract of Qashier Checkout: --pyargs qashier_contract")
    contract.addoption("--qashier-url", metavar="URL", help="the implementation to check")
    contract.addoption(
        "--qashier-control", metavar="URL|none|auto", default="auto", help="where its control API is (default: auto)"
    )
    contract.addoption(
        "--qashier-max-time", metavar="SECONDS", type=float, default=60.0, help="the most it takes (default: 60)"
    )
    contract.addoption("--qashier-seed", metavar="N", type=int, help="what the checker draws from (default: drawn)")
    contract.addoption(
        "--qashier-strict", action="store_true", help="a broken assumed clause is a failure, not a warning"
    )
    parser.addini("qashier_mock_url", "as --qashier-mock-url")
    parser.addini("qashier_mock_port", "as --qashier-mock-port")
    parser.addini("qashier_mock_seed", "as --qashier-mock-seed")
    parser.addini(
        "qashier_mock_strict", "refuse with 4xx what is otherwise only advised against", "bool", default=False
    )
    parser.addini("qashier_mock_policy", "a TOML file with the open choices of a started mock", "paths", default=[])
    parser.addini("qashier_mock_webhook_bind", "the address on which receivers listen", default="127.0.0.1")
    parser.addini("qashier_mock_webhook_host", "what the mock calls this machine when it delivers to receivers")
    parser.addini("qashier_mock_report", "entries of each kind in a failing test's report; 0: none", default="20")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(strict=False, seed=None, frozen_at=None): configure the account of the qashier_mock fixture: "
        "refuse what is otherwise only advised against; draw ids and chances from a seed; freeze its clock at an "
        "instant (epoch seconds, a datetime with a time zone, or such a time in ISO 8601)",
    )


@pytest.fixture(scope="session")
def qashier_mock_config(pytestconfig: pytest.Config) -> QashierMockConfig:
    """How the mock is to be, from the options and ini keys. Override it to say so in Python."""
    from qashier_mock.testing import QashierMockConfig

    policy: list[Path] = pytestconfig.getini("qashier_mock_policy")
    return QashierMockConfig(
        url=pytestconfig.getoption("qashier_mock_url") or pytestconfig.getini("qashier_mock_url") or None,
        port=_whole_number(pytestconfig, "qashier_mock_port") or 0,
        seed=_whole_number(pytestconfig, "qashier_mock_seed"),
        strict=_truth(pytestconfig, "qashier_mock_strict"),
        policy=policy[0] if policy else None,
        webhook_bind=pytestconfig.getini("qashier_mock_webhook_bind"),
        webhook_host=pytestconfig.getini("qashier_mock_webhook_host") or None,
        report=_whole_number(pytestconfig, "qashier_mock_report") or 0,
    )


@pytest.fixture(scope="session")
def qashier_mock_server(
    qashier_mock_config: QashierMockConfig, request: pytest.FixtureRequest
) -> Iterator[QashierMockServer]:
    """The server alone, one for the test run, and one for each worker under xdist."""
    from qashier_mock.address import AddressUnavailable
    from qashier_mock.connections import MockError
    from qashier_mock.testing import QashierMockServer

    config = qashier_mock_config
    if config.port:
        config = replace(config, port=config.port + _worker_number(request.config))
    server = QashierMockServer(config)
    try:
        server.start()
    except MockError as error:
        raise _failed(f"no mock answers at {config.url} (start one with qashier-mock serve): {error}") from None
    except (AddressUnavailable, OSError, RuntimeError, ValueError) as error:
        if type(error).__module__.startswith("pytest_socket"):
            hint = "this run forbids sockets, and a mock needs them on this machine: add --allow-hosts=127.0.0.1"
            raise _failed(hint) from None
        reason = error if error.__cause__ is None else f"{error}: {error.__cause__}"
        raise _failed(f"the mock could not be started: {reason}") from None
    try:
        yield server
    finally:
        latest = request.config.stash.get(_LATEST, None)
        if latest is not None:
            latest.keep_report()  # whether the last test's teardown failed is known only when the server is gone
        if request.config.getoption("qashier_mock_keep") and request.session.testsfailed:
            _keep(server, request.config)
        server.stop()


@pytest.fixture
def qashier_mock(qashier_mock_server: QashierMockServer, request: pytest.FixtureRequest) -> Iterator[QashierMock]:
    """A fresh account for this test: its own sessions, events, webhooks, faults, journal and clock."""
    account = qashier_mock_server.account(request.node.nodeid)
    request.node.stash[_ACCOUNT] = request.config.stash[_LATEST] = account
    try:
        _configure(account, request.node)
        yield account
    finally:
        account.close()


@pytest.fixture(params=_DISORDERS)
def qashier_webhook_disorder(qashier_mock: QashierMock, request: pytest.FixtureRequest) -> WebhookDisorder:
    """Runs the test once for each way in which webhooks can come; `settle()` lets it happen to its end."""
    from qashier_mock.testing import WebhookDisorder

    try:
        return WebhookDisorder(qashier_mock, request.param)
    except ValueError as error:
        raise _failed(str(error)) from None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failing test's report what its account has seen."""
    report = yield
    account = item.stash.get(_ACCOUNT, None)
    if report.failed and account is not None:
        from qashier_mock.connections import MockError

        try:
            sections = account.report()
        except MockError as error:
            sections = {"journal": f"unavailable: {error}"}
        if sections and (item.config.getoption("qashier_mock_keep") or item.config.getoption("qashier_mock_url")):
            sections["inspector"] = account.inspector_url
            item.config.stash.setdefault(_FAILED, {})[item.nodeid] = account.inspector_url
        report.sections += [(f"qashier_mock {title}", text) for title, text in sections.items()]
    return report


def _keep(server: QashierMockServer, config: pytest.Config) -> None:
    """Leave the server running until Ctrl-C; under xdist nobody is there to press it."""
    if hasattr(config, "workerinput"):
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
        pages = "".join(f"\n  {test}: {url}" for test, url in config.stash.get(_FAILED, {}).items())
        print(f"\nThe mock keeps running: {server.base_url}/_mock/ shows what happened. Ctrl-C ends it.{pages}")  # noqa: T201
        try:
            Event().wait()
        except KeyboardInterrupt:
            return


def _configure(account: QashierMock, node: pytest.Item) -> None:
    """Do what the markers say; the closest one to the test has the last word."""
    wanted: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers(_MARKER))):
        unknown = [name for name in marker.kwargs if name not in _MARKER_OPTIONS]
        if unknown or marker.args:
            from difflib import get_close_matches

            said = unknown[0] if unknown else repr(marker.args[0])
            near = get_close_matches(said, _MARKER_OPTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(_MARKER_OPTIONS)}, each by its name"
            raise _failed(f"the marker qashier_mock does not take {said}; {hint}")
        wanted.update(marker.kwargs)
    if wanted.get("strict") is not None or wanted.get("seed") is not None:
        account.configure(strict=wanted.get("strict"), seed=wanted.get("seed"))
    if wanted.get("frozen_at") is not None:
        try:
            account.freeze(wanted["frozen_at"])
        except ValueError as error:
            raise _failed(f"the marker qashier_mock, frozen_at: {error}") from None


def _failed(message: str) -> BaseException:
    """A failure that is told by its message alone; raised `from None` where an exception led to it."""
    return pytest.fail.Exception(message, pytrace=False)


def _truth(config: pytest.Config, name: str) -> bool:
    try:
        return bool(config.getini(name))
    except (ValueError, pytest.UsageError):
        raise _failed(f"{name} in the ini file is true or false, not anything else") from None


def _whole_number(config: pytest.Config, name: str) -> int | None:
    option = config.getoption(name, None)
    said = config.getini(name) if option is None else option
    if said in {"", None}:
        return None
    try:
        return int(said)
    except ValueError:
        raise pytest.UsageError(f"{name} is a whole number, not {said!r}") from None


def _worker_number(config: pytest.Config) -> int:
    """0 for the first xdist worker and without xdist, 1 for the second, and so on."""
    worker: str = getattr(config, "workerinput", {}).get("workerid", "gw0")
    number = worker.removeprefix("gw")
    if not number.isdigit():
        raise _failed(
            f"the xdist worker {worker} has no number to add to the port: leave --qashier-mock-port out, and each "
            "worker takes a free one"
        )
    return int(number)
