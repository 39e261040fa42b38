"""A recorded trace is sent again: whole, or just what shows one violation."""

from __future__ import annotations

from pathlib import Path

import pytest
from qashier_contract import CheckError, Verdict, check, replay
from qashier_contract.history import History
from qashier_contract.report import write
from qashier_contract.trace import sending
from qashier_contract.trace.file import Trace

from qashier_mock.cli import main
from tests.targets import directed, serving, touching, within

IN_PROCESS = "http://127.0.0.1"


@pytest.fixture(autouse=True)
def _nothing_has_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target lists an event at once, and no clause here is about how soon."""
    monkeypatch.setattr(sending, "_SETTLING_S", 0.0)


@pytest.fixture(scope="module")
def broken() -> Trace:
    """The run against a target that rounds amounts when it retrieves."""
    report = check(
        IN_PROCESS, transport=within("retrieve rounds amounts"), seed=1, drivers=touching, only=["RET-1"], replay=False
    )
    assert report["RET-1"].violations
    return Trace(history=report.history, target=report.target, seed=1)


@pytest.mark.parametrize(("quirks", "verdict"), [(("retrieve rounds amounts",), Verdict.FAILED), ((), Verdict.PASSED)])
def test_a_violation_is_sent_again_alone(quirks: tuple[str, ...], verdict: Verdict, broken: Trace) -> None:
    report = replay(broken, IN_PROCESS, only=["RET-1"], transport=within(*quirks))
    assert report["RET-1"].verdict is verdict
    assert report.verdict is verdict
    assert {entry.reason for entry in report.clauses if entry.clause.id != "RET-1"} == {"skipped"}
    assert len(report.history.exchanges) < len(broken.history.exchanges) / 10


@pytest.mark.parametrize(
    ("quirks", "clauses"), [(("retrieve rounds amounts",), {"RET-1", "RET-4", "LIS-14"}), ((), set())]
)
def test_a_whole_trace_is_sent_again(quirks: tuple[str, ...], clauses: set[str], broken: Trace) -> None:
    part = broken.history.exchanges[:60]
    trace = Trace(history=History(exchanges=part, terms=broken.history.terms), target=broken.target, seed=1)
    report = replay(trace, IN_PROCESS, transport=within(*quirks), strict=True)
    assert {v.clause for v in report.violations} <= clauses
    assert bool(report.violations) is bool(clauses)
    assert report["CRE-1"].exercised


def test_of_a_trace_that_does_not_break_a_clause_all_is_sent(broken: Trace) -> None:
    trace = Trace(history=History(exchanges=broken.history.exchanges[:60], terms=broken.history.terms), target="x")
    report = replay(trace, IN_PROCESS, only=["CRE-1", "IDM-9"], transport=within())
    assert report["CRE-1"].verdict is Verdict.PASSED
    assert report["IDM-9"].reason == "no request reached it"
    assert "The trace breaks none of CRE-1, IDM-9: all of it was sent." in report.notes
    assert len(report.history.exchanges) > 40


def test_an_empty_trace_is_refused() -> None:
    with pytest.raises(CheckError, match="the trace holds no request"):
        replay(Trace(history=History(), target="http://t.test"), IN_PROCESS, transport=within())


def test_the_command_is_1_where_it_breaks_again_and_0_where_it_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quirk, path = "405 without allow", tmp_path / "t.json"
    with serving(quirk) as url:
        write(check(url, seed=1, drivers=directed, only=["HTTP-4"], replay=False), "trace", path)
        assert main(["replay", str(path), url, "--only", "HTTP-4", "--strict"]) == 1
        assert f"again: qashier-mock replay {path} {url} --only HTTP-4 --strict" in capsys.readouterr().out
    with serving() as url:
        assert main(["replay", str(path), url, "--only", "HTTP-4", "--strict"]) == 0
    assert main(["replay", str(tmp_path / "none.json"), "http://127.0.0.1:1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
