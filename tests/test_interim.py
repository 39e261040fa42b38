"""Verdicts as it goes: violations are told when they are found, and a run may stop at the first."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from qashier_contract import Verdict, check, interim, run
from qashier_contract.interrupts import Interrupted, Stop
from qashier_contract.report import terminal
from qashier_contract.report.json import as_json
from qashier_contract.verdicts import ClauseReport, Result, judge

from tests.targets import directed, serving, touching, within

if TYPE_CHECKING:
    from qashier_contract import Report
    from qashier_contract.drive import Driver

IN_PROCESS = "http://127.0.0.1"


def some(driver: Driver) -> bool:
    """Scenarios that show the defects below, and more after them."""
    return driver.name in {"a first session", "one of each kind", "lists", "expiring"}


def test_a_violation_is_told_while_the_run_goes_on_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # A target in this process answers so fast that judging meanwhile would take more than its share of the time.
    monkeypatch.setattr(interim, "_SHARE", 100.0)
    told: list[tuple[str, int]] = []
    seen: list[int] = [0]
    carry = within("default 23 h", "limit 100 gives 99")

    def counted(*request: object) -> object:
        seen[0] += 1
        return carry(*request)  # type: ignore[arg-type]

    def tell(entry: ClauseReport) -> None:
        told.append((entry.clause.id, seen[0]))

    report = check(IN_PROCESS, transport=counted, seed=1, violated=tell, drivers=some, replay=False)  # type: ignore[arg-type]
    names = [name for name, _ in told]
    assert len(set(names)) == len(names)
    assert set(names) == {entry.clause.id for entry in report.clauses if entry.violations}
    assert dict(told)["CRE-5"] < report.requests
    assert report.first_violation_s is not None
    assert report.first_violation_s < report.duration_s
    assert as_json(report)["first_violation_s"] == round(report.first_violation_s, 3)


def test_fail_fast_stops_at_the_first_failure_and_says_so() -> None:
    carry = within("default 23 h")
    report = check(IN_PROCESS, transport=carry, seed=1, fail_fast=True, drivers=directed, replay=False)
    assert report["CRE-5"].verdict is Verdict.FAILED
    assert report.requests < 1_000
    assert "stopped at the first failure" in {entry.reason for entry in report.clauses}
    reply, _ = carry(
        "GET", f"{IN_PROCESS}/checkout/sessions?status=open", [("Authorization", "Bearer sk_test_x")], None
    )
    assert reply is not None
    assert json.loads(reply.body)["data"] == []


def test_after_the_first_failure_that_one_alone_is_sent_again() -> None:
    """What the clean-up does is no part of it: where nothing ever expires, what expires there would confuse it."""
    with serving("never expires") as url:
        report = check(url, seed=1, fail_fast=True, only=["EXP-*", "LIS-8"], drivers=directed)
    assert len({violation.clause for violation in report.violations}) > 1
    (again,) = report.sent_again.values()
    assert again.result is Result.BROKE_AGAIN


def test_fail_fast_stops_amid_a_step_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interim, "_GLANCE_NS", 0)
    monkeypatch.setattr(interim, "_GLANCE_SHARE", 0)

    def limits(driver: Driver) -> bool:
        return driver.name == "at the limits"

    carry = within("default 23 h")
    report = check(IN_PROCESS, transport=carry, seed=1, fail_fast=True, only=["CRE-5"], drivers=limits, replay=False)
    assert report["CRE-5"].verdict is Verdict.FAILED
    assert report.requests < 40


def test_a_glance_amid_a_step_hides_nothing_from_the_look_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interim, "_GLANCE_NS", 0)
    monkeypatch.setattr(interim, "_GLANCE_SHARE", 0)

    def deadlines(driver: Driver) -> bool:
        return driver.name == "when it expires"

    carry = within()
    report = check(IN_PROCESS, transport=carry, seed=1, fail_fast=True, only=["CRE-*"], drivers=deadlines, replay=False)
    counted = check(IN_PROCESS, transport=within(), seed=1, only=["CRE-*"], drivers=deadlines, replay=False)
    assert report["CRE-5"].exercised == counted["CRE-5"].exercised
    assert report.verdict is Verdict.PASSED


def test_a_clause_that_was_not_wanted_is_skipped_however_the_run_ended() -> None:
    report = check(IN_PROCESS, transport=within("default 23 h"), seed=1, fail_fast=True, only=["CRE-5"], replay=False)
    assert {entry.reason for entry in report.clauses if entry.clause.id != "CRE-5"} == {"skipped"}


def test_the_request_id_is_shown_whole_on_a_narrow_terminal() -> None:
    report = check(IN_PROCESS, transport=within("default 23 h"), seed=1, fail_fast=True, only=["CRE-5"], replay=False)
    request_id = report["CRE-5"].violations[0].exchanges[-1].request_id
    assert request_id is not None
    assert request_id in terminal.summary(report, width=40).split()


def test_fail_fast_does_not_stop_for_a_warning() -> None:
    report = check(
        IN_PROCESS, transport=within("101 lines accepted"), seed=1, fail_fast=True, only=["CRE-14"], drivers=directed
    )
    assert report["CRE-14"].verdict is Verdict.WARNED
    assert report.first_violation_s is None


def test_what_broke_early_is_known_after_an_interruption_although_there_is_no_time_to_judge_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interim, "_SHARE", 0.0)
    monkeypatch.setattr(run, "_LAST_LOOK_NS", 200_000_000)
    carry, stop, sent = within("default 23 h"), Stop(), count()

    def interrupted(*request: object) -> object:
        if next(sent) == 600:
            stop.request()
        return carry(*request)  # type: ignore[arg-type]

    report = check(IN_PROCESS, transport=interrupted, seed=1, stop=stop, drivers=directed)  # type: ignore[arg-type]
    assert report.interrupted
    assert report["CRE-5"].verdict is Verdict.FAILED
    assert report["LIS-3"].reason == "interrupted"


def test_what_there_is_no_time_to_judge_at_the_end_passes_by_what_was_looked_at_and_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interim, "_SHARE", 100.0)

    def too_late(*given: Any, until_ns: int | None = None, **how: Any) -> tuple[ClauseReport, ...]:
        return judge(*given, until_ns=until_ns and 1, **how)

    monkeypatch.setattr("qashier_contract.run.judge", too_late)
    report = check(IN_PROCESS, transport=within(), seed=1, violated=lambda _: None, drivers=some, replay=False)
    assert report["LIS-2"].verdict is Verdict.PASSED
    assert report["LIS-2"].exercised > 0
    assert report["IDM-5"].reason == "out of time"
    assert [note for note in report.notes if note.startswith("There was no time to judge everything")]


def test_nothing_is_told_of_a_correct_target_at_any_moment() -> None:
    told: list[str] = []

    def run() -> Report:
        return check(
            IN_PROCESS,
            transport=within(),
            seed=1,
            strict=True,
            fail_fast=True,
            violated=lambda entry: told.append(entry.clause.id),
            drivers=touching,
        )

    assert run().verdict is Verdict.PASSED
    assert told == []


@pytest.mark.parametrize("move", [6, 9, 12, 15])
def test_a_move_of_the_clock_that_ctrl_c_cut_off_is_blamed_on_nobody(move: int) -> None:
    carry, stop, moves = within("no webhooks"), Stop(), 0

    def cut(method: str, url: str, headers: Any, body: bytes | None) -> Any:
        nonlocal moves
        answer = carry(method, url, headers, body)
        moves += url.endswith("/clock/advance")
        if moves == move:
            moves += 1
            stop.request()
            raise Interrupted
        return answer

    report = check("http://127.0.0.1", transport=cut, stop=stop, seed=1, only=["EXP-*"], drivers=directed)
    assert moves > move
    assert report.interrupted
    assert [(v.clause, v.expected, v.seen) for v in report.violations] == []
