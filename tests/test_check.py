"""The checker as a whole, against a correct server of its own, and against each way that it can be broken."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import pytest
from qashier_contract import (
    CLAUSES,
    CheckError,
    KeyRefused,
    LiveKeyRefused,
    Progress,
    TargetUnreachable,
    Verdict,
    check,
)
from qashier_contract import run as running
from qashier_contract.drive import Driver, RunContext, Stage, scenarios, webhooks
from qashier_contract.drive.plan import every_driver, exercised_by, measured, plan
from qashier_contract.findings import Delivered
from qashier_contract.history import TOO_LATE, Capability, History, Operation
from qashier_contract.interrupts import OutOfTime
from qashier_contract.ledger import Ledger
from qashier_contract.report.json import as_json, render
from qashier_contract.report.terminal import ProgressLine
from qashier_contract.run import Run, planned
from qashier_contract.settings import Settings

from tests.targets import TOGETHER, VARIANTS, directed, serving, touching, values, within
from tests.targets.reference import Reference

if TYPE_CHECKING:
    from qashier_contract import Report, Violation

IS_FULL = os.environ.get("QASHIER_SOAK") == "full"
IN_PROCESS = "http://127.0.0.1"
IN_TIME = 600.0
"""Seconds that a whole run may take on the busiest machine."""
WHOLE = {"answers"}
SLOW = "delays"
"""Of what is left open together, what goes through all scenarios in every test run."""


def told(violations: tuple[Violation, ...]) -> str:
    return "; ".join(f"{v.clause}: {v.expected}, not {v.seen}" for v in violations)


def checked(*quirks: str, **options: Any) -> Report:
    given = {"seed": 1, "drivers": directed, "replay": False, "max_time_s": IN_TIME, **options}
    return check(IN_PROCESS, transport=within(*quirks), **given)


@pytest.fixture(scope="module")
def whole() -> Report:
    with serving() as url:
        return check(url, seed=1, strict=True, drivers=directed, max_time_s=IN_TIME)


def test_a_correct_implementation_keeps_every_clause(whole: Report) -> None:
    assert told(whole.violations) == ""
    assert whole.verdict is Verdict.PASSED
    assert [entry.clause.id for entry in whole.clauses if entry.verdict is not Verdict.PASSED] == []


def test_every_clause_is_exercised_within_600_requests(whole: Report) -> None:
    """Races aside: one whose requests did not meet, as on a busy machine, is held again."""
    history = whole.history
    races = {driver.name for driver in every_driver() if driver.races}
    number = [exchange.number for exchange in history.exchanges if exchange.scenario not in races][599]
    ledger = Ledger(
        History(
            exchanges=tuple(exchange for exchange in history.exchanges if exchange.number <= number),
            deliveries=tuple(delivery for delivery in history.deliveries if delivery.number < number),
            endpoints=history.endpoints,
            terms=history.terms,
        )
    )
    assert [identifier for identifier, clause in CLAUSES.items() if not clause.findings(ledger)[0]] == []


@pytest.mark.parametrize(("quirks", "broken"), [((), set()), (("waits for any answer",), {"EVT-6"})])
def test_evt_6_an_answer_that_comes_too_late_is_none(
    quirks: tuple[str, ...], broken: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "HOLD_S", 2.0)
    monkeypatch.setattr(webhooks, "PATIENCE_S", 2.0)
    monkeypatch.setattr("qashier_contract.ledger.endings.SOON_NS", 10**8)
    monkeypatch.setattr(values, "PATIENCE_S", 1.0)
    with serving(*quirks) as url:
        report = check(
            url, strict=True, seed=1, only=["EVT-6"], replay=False, drivers=lambda driver: driver.waits_s > 0
        )
    assert {violation.clause for violation in report.violations} == broken
    assert {delivery.answered for delivery in report.history.deliveries} >= {TOO_LATE}


@pytest.mark.parametrize(
    ("quirks", "broken"),
    [
        ((), set()),
        (("first retry after a minute",), set()),
        (("no retry where nobody listened",), {"EVT-6"}),
    ],
)
def test_evt_6_a_refused_connection_is_tried_again(
    quirks: tuple[str, ...], broken: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qashier_contract.ledger.endings.SOON_NS", 10**9)
    monkeypatch.setattr(webhooks, "_LAG_S", 1.1)
    report = checked(*quirks, only=["EVT-6"], drivers=lambda driver: driver.name == "webhooks")
    assert {violation.clause for violation in report.violations} == broken
    (refusing,) = [endpoint for endpoint in report.history.endpoints if endpoint.refused_ns]
    accused = [one.expectation for one in report.violations]
    assert all(isinstance(one, Delivered) and one.endpoint.url == refusing.url for one in accused)


@pytest.mark.parametrize(
    ("quirks", "broken"),
    [(("pages that ask to choose",), set()), (("success page first", "pages that ask to choose"), {"PAY-1"})],
)
def test_pay_1_a_customer_chooses_what_has_to_be_chosen(quirks: tuple[str, ...], broken: set[str]) -> None:
    report = checked(*quirks, only=["PAY-1"], drivers=lambda driver: driver.name == "the hosted page")
    assert {violation.clause for violation in report.violations} == broken
    pressed = [e for e in report.history.exchanges if e.page_act == "pay-card" and e.request.method == "POST"]
    assert all(exchange.status == 303 for exchange in pressed)


@pytest.mark.parametrize(
    ("pages", "is_paid"),
    [
        ("pages that ask to confirm", True),
        ("pages that ask to confirm three times", True),
        ("pages that ask again", True),
        ("pages that ask to confirm four times", False),
        ("pages that leave a choice", False),
        ("pages that ask for a code", False),
        ("pages that go on by a link", False),
        ("payments that go on in an app", False),
    ],
)
@pytest.mark.parametrize("act", ["pay-card", "authorise"])
def test_a_customer_confirms_a_payment_where_nothing_else_can_be_meant(pages: str, is_paid: bool, act: str) -> None:  # noqa: FBT001
    broken = {"pay-card": ("success page first", "PAY-1"), "authorise": ("authorised returns to success", "PAY-5")}
    defect, clause = broken[act]
    for quirks, wanted in (((pages,), set()), ((defect, pages), {clause} if is_paid else set())):
        report = checked(*quirks, only=["PAY-*"], drivers=lambda driver: driver.name == "the hosted page")
        assert {violation.clause for violation in report.violations} == wanted


def test_nobody_stops_listening_where_webhooks_have_a_way_of_their_own() -> None:
    report = checked(only=["EVT-6"], webhook_listen="localhost:0", drivers=lambda driver: driver.name == "webhooks")
    assert report.history.deliveries
    assert not any(endpoint.refused_ns for endpoint in report.history.endpoints)


def test_evt_6_what_was_not_waited_for_in_full_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "PATIENCE_S", 0.05)
    monkeypatch.setattr(Reference, "recipients", lambda *_: [])
    with serving() as url:
        report = check(
            url,
            strict=True,
            seed=1,
            only=["EVT-6"],
            replay=False,
            drivers=lambda each: each.name == "an endpoint that hangs",
        )
    assert len(report.history.endpoints) == 1
    assert report["EVT-6"].violations == ()


def test_the_matrix_shows_every_operation_in_every_status(whole: Report) -> None:
    assert set(whole.matrix) == {"create", "retrieve", "list", "expire"}
    for operation in ("retrieve", "expire", "pay"):
        assert set(whole.visited[operation]) == {"open", "complete", "expired"}


@pytest.mark.parametrize(
    "group", [pytest.param(name, marks=pytest.mark.soak) if name == SLOW else name for name in TOGETHER]
)
def test_what_the_documents_leave_open_is_never_accused(group: str) -> None:
    report = checked(*TOGETHER[group], seed=2, skip=["HTTP-6"], drivers=touching)
    assert told(report.violations) == ""


@pytest.mark.parametrize(
    "group", [name if name in WHOLE else pytest.param(name, marks=pytest.mark.soak) for name in TOGETHER]
)
def test_what_the_documents_leave_open_is_not_accused_at_any_boundary(group: str) -> None:
    with serving(*TOGETHER[group]) as url:
        report = check(url, seed=2, skip=["HTTP-6"], drivers=directed, max_time_s=IN_TIME)
    assert told(report.violations) == ""


def test_each_thing_that_is_left_open_is_among_them() -> None:
    assert sorted(variant for quirks in TOGETHER.values() for variant in quirks) == sorted(VARIANTS)


@pytest.mark.soak
@pytest.mark.parametrize("variant", VARIANTS if IS_FULL else VARIANTS[::20])
def test_what_the_documents_leave_open_is_not_accused_alone_either(variant: str) -> None:
    with serving(variant) as url:
        report = check(url, seed=2, skip=["HTTP-6"], drivers=directed, max_time_s=IN_TIME)
    assert told(report.violations) == ""


def test_a_customer_keeps_the_cookies_of_a_page() -> None:
    report = checked("pages with a token in a cookie", only=["PAY-*"])
    ledger = Ledger(report.history)
    paid = [
        p for observed in ledger.sessions.values() for p in observed.writes if p.page_act in {"pay-card", "authorise"}
    ]
    assert any(ledger.leads_on(ledger.sessions[str(press.page_of)], press) for press in paid)


def test_an_assumed_clause_that_is_broken_is_a_warning_unless_strict() -> None:
    report = checked("101 lines accepted", only=["CRE-14"])
    assert report["CRE-14"].verdict is Verdict.WARNED
    assert report.verdict is Verdict.WARNED


def test_a_control_api_without_a_way_to_pay_is_no_violation() -> None:
    report = checked("no way to pay", only=["PAY-*"])
    assert told(report.violations) == ""
    assert report["PAY-1"].verdict is Verdict.PASSED, "paid on the page"
    assert Capability.PAY not in report.history.terms.capabilities


@pytest.mark.usefixtures("no_second_is_awaited")
def test_without_control_api_nothing_is_passed_that_was_not_exercised() -> None:
    report = checked("no control", only=["EXP-7", "IDM-4", "EXP-3", "RET-1"])
    assert report["EXP-7"].verdict is Verdict.NOT_EXERCISED
    assert report["EXP-7"].reason == Capability.CLOCK.lack
    assert report["RET-1"].verdict is Verdict.PASSED
    assert report["AMT-1"].reason == "skipped"


def test_a_spent_budget_is_said_and_not_passed() -> None:
    report = checked(max_time_s=0.0001)
    assert report.verdict in {Verdict.NOT_EXERCISED, Verdict.PASSED}
    assert report["LIS-9"].verdict is Verdict.NOT_EXERCISED
    assert report["LIS-9"].reason == "out of time"


def test_no_more_sessions_are_opened_than_allowed() -> None:
    report = checked(max_sessions=5)
    creates = [e for e in report.history.exchanges if e.operation is Operation.CREATE]
    assert len(creates) == 5
    assert "max-sessions" in str(report["LIS-9"].reason)


# ── safety ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_live_key_is_refused() -> None:
    with pytest.raises(LiveKeyRefused):
        check("https://api.example", keys=["sk_live_x"])


def test_a_target_that_is_not_this_machine_needs_a_key() -> None:
    with pytest.raises(CheckError, match="QASHIER_API_KEY"):
        check("https://api.example")


def test_a_target_that_does_not_answer_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(TargetUnreachable):
            check(f"http://127.0.0.1:{taken.getsockname()[1]}")


def test_a_wrong_key_is_said_after_bearer_was_tried() -> None:
    with pytest.raises(KeyRefused):
        checked(keys=["not a key"])


def test_a_target_that_refuses_basic_is_tried_with_bearer() -> None:
    carry = within()

    def bearer_only(method: str, url: str, headers: Any, body: bytes | None) -> Any:
        kept = [(name, value) for name, value in headers if not value.startswith("Basic ")]
        return carry(method, url, kept, body)

    report = check(IN_PROCESS, transport=bearer_only, seed=1, only=["AUTH-2", "RET-1"], drivers=directed)
    assert report["RET-1"].verdict is Verdict.PASSED
    assert report["AUTH-2"].verdict is Verdict.FAILED


@pytest.mark.usefixtures("no_second_is_awaited")
@pytest.mark.parametrize("end", [None, KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("quirk", ["no control", "replay creates in silence"])
def test_nothing_is_left_open(quirk: str, end: type[BaseException] | None) -> None:
    carry = within(quirk)
    sent = 0

    def watched(method: str, url: str, headers: Any, body: bytes | None) -> Any:
        nonlocal sent
        sent += 1
        if end is not None and sent == 150:
            raise end
        return carry(method, url, headers, body)

    keys, only = ["sk_test_a", "sk_test_b"], ["CRE-13", "IDM-4", "LIS-10"]
    run = Run(IN_PROCESS, Settings(transport=watched, seed=1, keys=keys, only=only, drivers=directed))
    if end is ZeroDivisionError:
        with pytest.raises(ZeroDivisionError):
            run.whole()
    else:
        report = run.whole()
        assert report.interrupted is (end is KeyboardInterrupt)
    left = 0
    for key in ("sk_test_a", "sk_test_b"):
        reply, _ = carry(
            "GET", f"{IN_PROCESS}/checkout/sessions?status=open&limit=100", [("Authorization", f"Bearer {key}")], None
        )
        assert reply is not None
        left += len(reply.json["data"])
    assert left == 0


@pytest.mark.parametrize("clause", ["CRE-7", "LIS-6", "EXP-1", "PAY-1", "IDM-3"])
def test_whatever_is_checked_the_clocks_stand_before_a_session_is_opened(clause: str) -> None:
    """Else a second that passes between two requests decides on which side of a bound the latter is."""
    standing: set[int | None] = set()
    for exchange in checked(only=[clause]).history.exchanges:
        if exchange.operation is Operation.CLOCK and exchange.object.get("frozen") is True:
            standing.add(exchange.account)
        if exchange.operation is Operation.CREATE and exchange.account in {0, 1}:
            assert exchange.account in standing, exchange
    assert standing >= {0, 1}


def test_clocks_go_on_afterwards() -> None:
    carry = within()
    check(IN_PROCESS, transport=carry, seed=1, keys=["sk_test_a"], only=["EXP-7"], drivers=directed)
    reply, _ = carry("GET", f"{IN_PROCESS}/_mock/v1/clock", [("Authorization", "Bearer sk_test_a")], None)
    assert reply is not None
    assert reply.json["frozen"] is False


def test_keys_and_secrets_are_nowhere_in_what_was_recorded() -> None:
    with serving() as url:
        report = check(url, seed=1, keys=["sk_test_hushhush"], only=["AUTH-*", "EVT-7"], drivers=directed)
    text = render(report) + repr(report.history.exchanges) + repr(report.history.endpoints)
    assert "hushhush" not in text
    assert "whsec_" not in text


def test_every_scenario_is_in_the_plan() -> None:
    modules = [import_module(found.name) for found in iter_modules(scenarios.__path__, f"{scenarios.__name__}.")]
    made = {one.name for module in modules for one in vars(module).values() if isinstance(one, Driver)}
    assert made
    assert made <= {driver.name for driver in every_driver()}


def test_every_clause_is_exercised_by_some_driver() -> None:
    assert {clause for driver in every_driver() for clause in exercised_by(driver)} == CLAUSES.keys()


def test_the_plan_says_what_was_measured() -> None:
    tool = Path(__file__).parent.parent / "tools" / "measure_plan.py"
    run = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_a_driver_that_was_not_measured_always_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {name: clauses for name, clauses in measured().items() if name != "races"}
    monkeypatch.setattr("qashier_contract.drive.plan.measured", lambda: rows)
    assert "races" in {driver.name for driver in plan(["IDM-4"], frozenset(Capability))}


def test_a_driver_that_goes_on_with_the_work_of_another_brings_it_along() -> None:
    chosen = [driver.name for driver in plan(["EVT-6"], frozenset(Capability))]
    assert chosen.index("an endpoint that hangs") < chosen.index("after ten seconds")


def test_what_any_input_may_break_is_tried_with_hostile_input_first_where_nothing_else_is_wanted() -> None:
    alone, all_of_them = ([d.name for d in plan(c, frozenset(Capability))] for c in (["HTTP-6"], CLAUSES))
    assert alone.index("hostile input") < 5
    assert {*all_of_them[-3:]} == {"lifecycle", "after ten seconds", "conformance"}


def test_the_larger_steps_come_after_those_for_each_clause_the_shortest_first_and_what_is_drawn_last() -> None:
    steps = plan(CLAUSES, frozenset(Capability))
    assert steps == sorted(steps, key=lambda step: step.stage if step.stage is not Stage.HARSH else Stage.DEPTH)
    deep = [step for step in steps if step.stage is Stage.DEPTH]
    assert [step.requests for step in deep] == sorted(step.requests for step in deep)
    for harsh in (step for step in steps if step.stage is Stage.HARSH):
        assert {
            step.requests > harsh.requests for step in steps[steps.index(harsh) :] if step.stage is Stage.DEPTH
        } == {True}
    assert [step.name for step in steps if not step.requests] == ["lifecycle", "conformance"]


def test_a_step_that_was_left_out_for_time_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(_: RunContext) -> None:
        raise OutOfTime

    short = Driver("short", "", lambda context: context.look(), requests=1)
    long, drawn = Driver("long", "", cut, requests=9), Driver("drawn at random", "", cut)
    for steps, told in (((short, long, drawn), ["1 of the plan's 3 steps"]), ((short, drawn), [])):
        monkeypatch.setattr(running, "plan", lambda *_, steps=steps: list(steps))
        report = checked(only=["LIS-1"], replay=False, drivers=lambda _: True)
        assert [note.partition(" were")[0] for note in report.notes if "steps" in note] == told


def test_progress_tells_what_is_done_of_the_plan_and_when_it_ends_from_the_pace_so_far() -> None:
    told: list[Progress] = []
    few = {"a first session", "credentials", "when it expires", "lists", "paying", "events"}
    report = checked(progress=told.append, drivers=lambda driver: driver.name in few)
    assert [one.done for one in told] == [*range(len(few))]
    assert {one.total for one in told} == {len(few)}
    assert [one.requests for one in told] == sorted(one.requests for one in told)
    # Far less than the budget leaves: a run that took a second so far will not take ten minutes.
    assert all(one.left_s <= 60 * report.duration_s < IN_TIME / 2 for one in told[len(told) // 2 :])
    stream = io.StringIO()
    ProgressLine(stream, width=200, is_shown=True)(told[-1])
    last = told[-1]
    assert (
        f"{last.done} of {last.total} done, now {last.driver} · {last.requests} requests · about " in stream.getvalue()
    )


def test_the_plan_opens_nothing() -> None:
    carry = within()
    steps = planned(IN_PROCESS, Settings(transport=carry, keys=["sk_test_a"], only=["LIS-*"]))
    assert {clause for step in steps for clause in step.clauses} == {c for c in CLAUSES if c.startswith("LIS-")}
    reply, _ = carry("GET", f"{IN_PROCESS}/checkout/sessions", [("Authorization", "Bearer sk_test_a")], None)
    assert reply is not None
    assert reply.json["data"] == []


# ── the report ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_json_report_has_the_agreed_keys() -> None:
    report = checked("default 23 h", only=["CRE-5"], strict=True, fail_fast=True)
    plain = as_json(report)
    assert {"verdict", "target", "seed", "requests", "duration_s", "clauses"} <= plain.keys()
    entry = next(entry for entry in plain["clauses"] if entry["id"] == "CRE-5")
    assert entry["verdict"] == "failed"
    violation = entry["violations"][0]
    assert re.fullmatch(r"expires_at: \d+ \(created \+ 86400\) \(no expires_at was sent\)", violation["expected"])
    assert violation["request_ids"]
