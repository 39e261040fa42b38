"""A baseline accepts known violations until a day, by what was found and not by ids, times or numbers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from qashier_contract import baseline
from qashier_contract.baseline import GRACE, BaselineError, Known
from qashier_contract.clauses import CLAUSES
from qashier_contract.history import Exchange, History, Reply, Request, Terms
from qashier_contract.verdicts import Report, Verdict, judge

from qashier_mock.cli import main
from tests.targets import serving

DAY = date(2027, 1, 15)
NOON_NS = 1_800_000_000 * 10**9  # of that day
KEY = "Equals list body has_more"


def run(*totals: tuple[str, bool]) -> Report:
    """A report of a target that answers 500, or says of a list that holds all there is that there is more."""
    exchanges = []
    for number, (path, is_fault) in enumerate(totals, 1):
        body = {"object": "list", "data": [], "has_more": True, "url": "/checkout/sessions"}
        reply = Reply(
            status=500 if is_fault else 200,
            headers=(("content-type", "application/json"), ("request-id", f"req_{number}")),
            body=json.dumps(body).encode(),
        )
        request = Request(method="GET", path="/checkout/sessions", query=path)
        exchanges.append(
            Exchange(number=number, request=request, reply=reply, sent_ns=number * 10, received_ns=number * 10 + 5)
        )
    history = History(exchanges=tuple(exchanges), terms=Terms(wall_ns=NOON_NS))
    reports = judge(history, [CLAUSES["LIS-10"], CLAUSES["HTTP-6"]])
    return Report(target="http://127.0.0.1:1", seed=1, clauses=reports, history=history)


FAULTY = ("created[gt]=5&created[lt]=3", False)


def verdict(report: Report, clause: str) -> Verdict:
    return next(entry.verdict for entry in report.clauses if entry.clause.id == clause)


def test_an_update_writes_what_failed_with_a_day_and_no_id() -> None:
    (entry,) = baseline.updated(run(FAULTY), ())
    assert entry == Known("LIS-10", DAY + GRACE, KEY)


def test_what_is_known_warns_and_what_is_new_fails() -> None:
    known = (Known("LIS-10", DAY + timedelta(days=1), KEY),)
    report = baseline.apply(run(FAULTY, ("limit=1", True)), known)
    assert verdict(report, "LIS-10") is Verdict.WARNED
    assert verdict(report, "HTTP-6") is Verdict.FAILED


def test_another_place_of_the_same_clause_is_new() -> None:
    known = (Known("LIS-10", DAY + timedelta(days=1), "Equals list body data"),)
    assert verdict(baseline.apply(run(FAULTY), known), "LIS-10") is Verdict.FAILED


def test_an_entry_without_a_finding_accepts_all_of_its_clause() -> None:
    known = (Known("LIS-10", DAY),)
    assert verdict(baseline.apply(run(FAULTY), known), "LIS-10") is Verdict.WARNED


def test_after_its_day_it_fails_again_and_an_update_renews_it() -> None:
    known = (Known("LIS-10", DAY - timedelta(days=1), KEY, "TICKET-1"),)
    report = baseline.apply(run(FAULTY), known)
    assert verdict(report, "LIS-10") is Verdict.FAILED
    assert any("Known no longer" in note for note in report.notes)
    assert baseline.updated(run(FAULTY), known) == (replace(known[0], expires=DAY + GRACE),)


def test_what_does_not_show_any_more_is_stale_and_goes() -> None:
    known = (Known("HTTP-6", DAY + timedelta(days=1)), Known("LIS-10", DAY + timedelta(days=1), KEY))
    report = run(FAULTY)
    assert baseline.stale(report, known) == known[:1]
    assert baseline.updated(report, known) == known[1:]


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    known = (Known("LIS-10", DAY, KEY, 'said "so"'), Known("HTTP-6", DAY))
    baseline.write(path, known)
    assert baseline.read(path) == known


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[known]]\nexpires = 2027-01-01\n", "names no clause"),
        ('[[known]]\nclause = "LIS-7"\n', "needs expires"),
        ('[[known]]\nclause = "LIS-7"\nexpected = "x"\nexpires = 2027-01-01\n', "expected is not understood"),
        ("known = 1", "tables"),
        ("[[known", "known.toml"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "known.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(BaselineError, match=message):
        baseline.read(path)


NOBODY = "http://127.0.0.1:9"
QUICK = ("--only", "CRE-5", "--seed", "1", "--fail-fast", "--no-replay")


def test_a_baseline_that_is_not_there_is_refused_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "knwon.toml"
    assert main(["check", NOBODY, "--baseline", str(path)]) == 2
    assert f"there is no baseline {path}; --update-baseline writes one" in capsys.readouterr().err
    with serving("default 23 h") as url:
        assert main(["check", url, *QUICK, "--baseline", str(path), "--update-baseline"]) == 0
    assert "Passed with 1 known violation that the baseline accepts for now." in capsys.readouterr().out
    assert "CRE-5" in path.read_text("utf-8")


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "file"
    taken.touch()
    for path, why in ((tmp_path, "it is a folder"), (taken / "x.json", "(File exists|Not a directory)")):
        assert main(["check", NOBODY, "--report", f"json={path}"]) == 2
        assert re.search(f"the json report cannot be written to {path}: {why}", capsys.readouterr().err)


def test_the_folder_of_a_report_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "report.json"
    with serving("default 23 h") as url:
        assert main(["check", url, *QUICK, "--report", f"json={path}"]) == 1
    assert json.loads(path.read_text("utf-8"))["verdict"] == "failed"
