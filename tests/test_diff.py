"""Two implementations side by side: the same scenarios on both, and where their answers drift apart."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from qashier_contract import CheckError, check, diff
from qashier_contract.history import Capability, Exchange, History, Reply, Request, Terms
from qashier_contract.interrupts import Stop
from qashier_contract.recorded import judge
from qashier_contract.trace import file
from qashier_contract.trace.drift import drifts
from qashier_contract.trace.file import Trace
from qashier_contract.values import Json
from store_harness import Place

from qashier_mock import MockServer, Settings
from qashier_mock.bugs import BUGS
from qashier_mock.cli import main
from tests.targets import DEFECTS, directed, touching, within

if TYPE_CHECKING:
    from qashier_contract.drive import Driver

pytest_plugins = ["store_fixtures"]

IN_PROCESS = "http://127.0.0.1"
IS_FULL = os.environ.get("QASHIER_SOAK") == "full"


def recorded(*quirks: str, scenario: str | None = None) -> Trace:
    """A run of one scenario, or of all that are the same each time."""

    def chosen(driver: Driver) -> bool:
        return directed(driver) if scenario is None else driver.name == scenario

    report = check(IN_PROCESS, transport=within(*quirks), seed=1, drivers=chosen, replay=False, max_time_s=600)
    return Trace(history=report.history, target=report.target, seed=1)


@pytest.fixture(scope="module")
def correct() -> Trace:
    return recorded()


def traced(settings: Settings) -> Trace:
    with MockServer(settings) as mock:
        report = check(mock.url, seed=1, drivers=directed, replay=False, max_time_s=600)
    return Trace(history=report.history, target=report.target, seed=1)


@pytest.fixture(scope="module")
def of_a_mock() -> Trace:
    return traced(Settings())


@pytest.fixture
def short() -> Trace:
    return recorded(scenario="the wrong door")


def told(difference: Any) -> list[tuple[Any, ...]]:
    return [(drift.kind, drift.a, drift.b, drift.scenario) for drift in difference.drifts]


def test_an_implementation_does_not_drift_from_itself(short: Trace) -> None:
    difference = diff(short, recorded(scenario="the wrong door"))
    assert told(difference) == []
    assert difference.compared > 10


def test_an_interrupted_comparison_says_so_and_compares_nothing_with_itself() -> None:
    carry, stop, sent = within(), Stop(), count()

    def interrupted(*request: object) -> object:
        if next(sent) == 100:
            stop.request()
        return carry(*request)  # type: ignore[arg-type]

    difference = diff(IN_PROCESS, f"{IN_PROCESS}/other", transport=interrupted, stop=stop)
    assert difference.interrupted
    assert difference.compared == 0
    assert difference.b == f"{IN_PROCESS}/other"
    assert difference.drifts == ()


@pytest.mark.parametrize(
    ("quirk", "scenario", "kind", "a", "b"),
    [
        ("retrieve rounds amounts", "a first session", "session.amount_total", 1595, 1600),
        ("405 without allow", "the wrong door", "headers.allow", ["GET, POST"], "<absent>"),
        ("free is unpaid", "one of each kind", "session.payment_status", "no_payment_required", "unpaid"),
        ("new is complete", "two accounts", "session.status", "open", "complete"),
    ],
)
def test_one_cause_is_one_line(quirk: str, scenario: str, kind: str, a: Any, b: Any) -> None:
    (drift,) = diff(recorded(scenario=scenario), recorded(quirk, scenario=scenario)).drifts
    assert (drift.kind, drift.a, drift.b) == (kind, a, b)
    assert drift.exchange_a is not None
    assert drift.exchange_b is not None


def test_what_is_ignored_does_not_count(short: Trace) -> None:
    broken = recorded("405 without allow", scenario="the wrong door")
    assert diff(short, broken, ignore=["headers.*", "clause.*"]).drifts == ()


def test_what_only_a_clause_sees_is_a_drift_as_well() -> None:
    (drift,) = diff(recorded(scenario="webhooks"), recorded("signature hex", scenario="webhooks")).drifts
    assert drift.kind.startswith("clause.EVT-7")


SOME = sorted(BUGS)[:1]


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(DEFECTS) if IS_FULL else sorted(DEFECTS)[:1])
def test_each_defect_of_the_reference_that_check_sees_is_a_drift(name: str, correct: Trace) -> None:
    broken = recorded(name)
    if judge(broken, strict=True).violations:
        assert diff(correct, broken).drifts


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(BUGS) if IS_FULL else SOME)
def test_each_known_defect_of_the_mock_that_check_sees_is_a_drift(name: str, of_a_mock: Trace) -> None:
    broken = traced(Settings(bugs=(name,)))
    if judge(broken, strict=True).violations:
        assert diff(of_a_mock, broken).drifts


@pytest.mark.parametrize(
    ("kind", "drivers"),
    [
        ("sqlite", touching),
        pytest.param("sqlite", directed, marks=pytest.mark.soak),
        pytest.param("postgresql", directed, marks=pytest.mark.soak),
    ],
)
def test_the_mock_does_not_drift_from_itself_with_other_ids_and_another_store(
    kind: str, drivers: Callable[[Driver], bool], new_place: Callable[[str], Place]
) -> None:
    store = new_place(kind).store()
    with MockServer(Settings(seed=1)) as mock, MockServer(Settings(seed=7), store=store) as other:
        difference = diff(mock.url, other.url, seed=1, drivers=drivers, max_time_s=600)
    assert told(difference) == []
    assert difference.compared > 400


def test_the_command_compares_files_and_says_each_kind_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(tmp_path / name) for name in ("a.json", "b.json")]
    for path, quirks in zip(paths, ([], ["405 without allow"]), strict=True):
        Path(path).write_text(file.render(recorded(*quirks, scenario="the wrong door")), "utf-8")
    assert main(["diff", *paths]) == 1
    shown = capsys.readouterr().out
    assert "✗ headers.allow" in shown
    assert '  a  ["GET, POST"]' in shown
    assert "  b  <absent>" in shown
    assert shown.splitlines()[-1].startswith("1 drift between ")
    assert main(["diff", paths[0], paths[0]]) == 0


def test_what_cannot_be_compared_is_one_clear_line(short: Trace, tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="different seeds"):
        diff(short, Trace(history=short.history, target="http://t.test", seed=2))
    with pytest.raises(CheckError, match="holds no scenarios"):
        diff(short, Trace(history=short.history, target="http://t.test"))
    with pytest.raises(CheckError, match="cannot be read"):
        diff(short, tmp_path / "none.json")
    with pytest.raises(CheckError, match="nothing could be compared"):
        diff(short, Trace(history=History(), target="http://t.test", seed=1))


def exchange(number: int, path: str, body: bytes) -> Exchange:
    reply = Reply(status=200, headers=(("content-type", "application/json"),), body=body)
    request = Request(method="GET", path=path)
    return Exchange(number=number, request=request, reply=reply, sent_ns=number * 10, received_ns=number * 10 + 5)


def test_a_kind_is_told_once_however_often_it_shows() -> None:
    def trace(value: int) -> Trace:
        answers = [exchange(n, f"/checkout/sessions/x{n}", b'{"a": %d}' % value) for n in range(5)]
        return Trace(history=History(exchanges=tuple(answers)), target="http://t.test", seed=1)

    (drift,), compared = drifts(trace(1), trace(2))
    assert (drift.kind, drift.a, drift.b, drift.count, compared) == ("body.a", 1, 2, 5, {"": 5})


@pytest.mark.parametrize(("frozen", "found"), [("true", [("session.created", "<now>", "<later>")]), ("false", [])])
def test_a_second_more_is_a_drift_only_where_the_clock_stands(frozen: str, found: list[tuple[str, Json, Json]]) -> None:
    def trace(created: int) -> Trace:
        read = Exchange(
            number=1,
            request=Request(method="GET", path="/_mock/v1/clock"),
            reply=Reply(status=200, headers=(), body=b'{"now": 100, "frozen": %s}' % frozen.encode()),
            sent_ns=10,
            received_ns=15,
        )
        session = {"id": "cs_1", "object": "checkout.session", "created": created}
        answer = exchange(2, "/checkout/sessions/cs_1", json.dumps(session).encode())
        terms = Terms(capabilities=frozenset({Capability.CLOCK}))
        return Trace(history=History(exchanges=(read, answer), terms=terms), target="http://t.test", seed=1)

    told_of, compared = drifts(trace(100), trace(101))
    assert [(drift.kind, drift.a, drift.b) for drift in told_of] == found
    assert compared == {"": 2}
