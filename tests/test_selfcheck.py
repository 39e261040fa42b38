"""`qashier-mock selfcheck`: every known defect is reported under its clause, and the correct mock is not accused."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest
from qashier_contract import CLAUSES
from qashier_contract.clauses import Source

from qashier_mock import MockServer, Settings
from qashier_mock.bugs import BUGS
from qashier_mock.cli import main, selfcheck
from qashier_mock.cli.selfcheck import Outcome, examine

IN_FULL = os.environ.get("QASHIER_SOAK") == "full"
# The correct mock is what `make contract` checks.
SAMPLE = ["", *BUGS] if IN_FULL else list(BUGS)[::30]
OPEN_ON_A_TARGET = {"password-ignored"}
BINDING = [
    name
    for name, bug in BUGS.items()
    if CLAUSES[bug.clause].source is not Source.ASSUMED and name not in OPEN_ON_A_TARGET
]
"""The defects of clauses that are documented, public or implied, but for what is left open on a target of others."""


def told(monkeypatch: pytest.MonkeyPatch, *outcomes: Outcome) -> int:
    """The exit code of a run that comes to these outcomes."""

    def given(_names: Sequence[str], _jobs: int, _max_time_s: float, _seed: int) -> Iterator[Outcome]:
        yield from outcomes

    monkeypatch.setattr(selfcheck, "_outcomes", given)
    return main(["selfcheck", "--only", "total-*"])


def test_a_defect_that_its_clause_reports_is_killed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(monkeypatch, Outcome("", "", ()), Outcome("total-x", "AMT-1", ("AMT-1", "RET-1"))) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 of 1 defects killed (100.0%), each by its clause",
        "the correct mock: not accused",
    ]


def test_a_defect_that_only_another_clause_reports_has_survived(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(monkeypatch, Outcome("", "", ()), Outcome("total-x", "AMT-1", ("RET-1",))) == 1
    assert "SURVIVED total-x (AMT-1): reported RET-1 instead" in capsys.readouterr().out


def test_a_correct_mock_that_is_accused_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(monkeypatch, Outcome("", "", ("LIS-4",)), Outcome("total-x", "AMT-1", ("AMT-1",))) == 1
    assert "ACCUSED the correct mock: LIS-4" in capsys.readouterr().out


def test_the_defects_are_named_with_what_they_break(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selfcheck", "--list", "--only", "limit-*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len([name for name in BUGS if name.startswith("limit-")]) > 0
    assert all(line.partition(" ")[0] in BUGS for line in lines)


def test_a_name_that_no_defect_has_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selfcheck", "--only", "nonsense-*"]) == 2
    assert "--list names them" in capsys.readouterr().err


def test_defects_are_spread_over_every_group_of_clauses() -> None:
    groups = {bug.clause.partition("-")[0] for bug in BUGS.values()}
    assert groups == {"AUTH", "HTTP", "CRE", "AMT", "RET", "LIS", "EXP", "PAY", "CON", "EVT", "IDM"}


def test_a_mock_with_a_defect_is_examined_for_real() -> None:
    outcome = examine("limit-100-gives-99", 60, 1)
    assert outcome.is_right
    assert outcome.clause in outcome.reported


@pytest.mark.soak
@pytest.mark.parametrize("name", SAMPLE)
def test_every_known_defect_is_killed_and_the_correct_mock_is_not_accused(name: str) -> None:
    outcome = examine(name, 60, 1)
    assert outcome.is_right, f"{outcome.clause}: reported {outcome.reported}"


@pytest.mark.parametrize("name", ["retrieve-across-accounts", "crash-on-broken-json", "paying-twice-succeeds"])
def test_a_defect_of_what_is_no_assumption_fails_the_command_without_strict(name: str) -> None:
    with MockServer(Settings(bugs=(name,))) as mock:
        assert main(["check", mock.url, "--seed", "1", "--only", BUGS[name].clause, "--fail-fast", "--no-replay"]) == 1


def test_the_line_again_repeats_the_verdict_for_a_target_behind_a_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    with MockServer(Settings(bugs=("no-allow",))) as mock:
        url = f"{mock.url}/v3/payment/qpay"
        assert main(["check", url, "--only", "HTTP-4", "--strict", "--fail-fast", "--no-replay"]) == 1
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("again: qashier-mock ")]
        words = shlex.split(line)[2:]
        assert url in words
        assert main(words) == 1


def test_the_command_says_what_is_broken_without_docstrings_and_assertions_in_ascii() -> None:
    """`python -OO` drops both, and with them nothing that the checker goes by."""
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    with MockServer(Settings(bugs=("no-allow",))) as mock:
        words = ("check", mock.url, "--seed", "1", "--only", "HTTP-4", "--strict", "--fail-fast", "--no-replay")
        run = subprocess.run(
            [sys.executable, "-OO", "-m", "qashier_mock", *words],
            capture_output=True,
            text=True,
            check=False,
            env=ascii_only,
        )
    assert run.returncode == 1, run.stderr
    assert (run.stdout + run.stderr).isascii()
    assert f"HTTP-4 {CLAUSES['HTTP-4'].statement[:60]}" in run.stdout


@pytest.mark.soak
@pytest.mark.parametrize("name", BINDING if IN_FULL else BINDING[::72])
def test_every_defect_of_what_is_no_assumption_fails_the_command_without_strict(name: str) -> None:
    with MockServer(Settings(bugs=(name,))) as mock:
        assert main(["check", mock.url, "--seed", "1", "--max-time", "60s", "--fail-fast", "--no-replay"]) == 1
