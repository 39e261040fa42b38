"""The random stories: what they find, how short they tell it, and what they leave alone."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from qashier_contract import Verdict, check
from qashier_contract.drive.lifecycle import lifecycle
from qashier_contract.drive.plan import exercised_by
from qashier_contract.drive.story import (
    Create,
    Expire,
    List,
    Pay,
    Reach,
    Retrieve,
    Retry,
    Reuse,
    Story,
    Wait,
    Walk,
    told,
)
from qashier_contract.history import Capability, Operation
from qashier_contract.run import Run
from qashier_contract.settings import Settings

from tests.targets import DEFECTS, within

if TYPE_CHECKING:
    from qashier_contract import Report
    from qashier_contract.drive import Driver, RunContext
    from qashier_contract.drive.story import Step

IN_PROCESS = "http://127.0.0.1"

# The greatest number of exchanges that the story of a defect needs.
FOUND = {
    "retrieve across accounts": 2,
    "limit 100 gives 99": 2,
    "expires one second late": 3,
    "paid twice": 5,
    "free becomes paid": 4,
    "replay executes": 2,
    "key for another session executes": 4,
    "ending_before inclusive": 4,
}


def stories(driver: Driver) -> bool:
    return driver is lifecycle


def told_to(*quirks: str, **options: Any) -> Report:
    return check(IN_PROCESS, transport=within(*quirks), strict=True, **{"seed": 1, "drivers": stories, **options})


@pytest.mark.parametrize("defect", FOUND)
def test_stories_find_a_defect_and_tell_it_shortly(defect: str) -> None:
    report = told_to(defect, only=[DEFECTS[defect]])
    entry = report[DEFECTS[defect]]
    assert entry.verdict is Verdict.FAILED
    assert min(len(violation.exchanges) for violation in entry.violations) <= FOUND[defect]


@pytest.mark.parametrize("defect", ["limit 100 gives 99", "has_more when full"])
def test_with_the_scenarios_of_its_clause_switched_off_only_stories_see_a_defect(defect: str) -> None:
    def others(driver: Driver) -> bool:
        return clause not in exercised_by(driver)

    clause = DEFECTS[defect]
    assert told_to(defect, only=[clause], drivers=others)[clause].verdict is not Verdict.FAILED


def test_the_shortest_story_is_a_scenario_of_its_own_and_the_attempts_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A number of attempts bounds it as well: on a slow machine three seconds are few.
    monkeypatch.setattr("qashier_contract.drive.lifecycle._SHORTENING_S", 60.0)
    report = told_to("retrieve across accounts", only=["AUTH-5"])
    mine = [e for e in report.history.exchanges if e.scenario.startswith("lifecycle")]
    assert {e.scenario for e in mine} == {"lifecycle: the shortest story for AUTH-5"}
    assert len(mine) < 30
    assert report.requests > len(report.history.exchanges)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_correct_implementation_is_never_accused(seed: int) -> None:
    report = told_to(seed=seed, max_time_s=20)
    assert report.violations == ()


@pytest.mark.parametrize("lacks", ["no control", "no second account", "no events", "others arrive", "one currency"])
def test_what_a_target_lacks_narrows_the_stories_and_accuses_nobody(lacks: str) -> None:
    report = told_to(lacks, max_time_s=15)
    assert report.violations == ()
    assert any(e.scenario == "lifecycle" for e in report.history.exchanges) or report.requests > 100


def test_given_accounts_are_used_and_no_keys_made_up() -> None:
    report = told_to(keys=["sk_test_a", "sk_test_b"], max_time_s=15)
    assert report.violations == ()
    assert {e.account for e in report.history.exchanges} <= {0, 1, None}
    assert {0, 1} <= {e.account for e in report.history.exchanges if e.scenario == "lifecycle"}


def test_no_more_sessions_are_opened_than_allowed() -> None:
    opened = 0
    carry = within()

    def watched(method: str, url: str, headers: Any, body: bytes | None) -> Any:
        nonlocal opened
        opened += method == "POST" and url.endswith("/checkout/sessions")
        return carry(method, url, headers, body)

    check(IN_PROCESS, transport=watched, seed=1, drivers=stories, max_sessions=20)
    assert opened == 20


def test_a_spent_budget_ends_the_stories() -> None:
    assert told_to(max_time_s=0.5).duration_s < 20


def test_nothing_stays_open_in_accounts_that_were_made_up() -> None:
    carry = within()
    keys: set[str] = set()

    def watched(method: str, url: str, headers: Any, body: bytes | None) -> Any:
        keys.update(value for name, value in headers if name == "Authorization")
        return carry(method, url, headers, body)

    check(IN_PROCESS, transport=watched, seed=3, drivers=stories, max_time_s=10)
    assert len(keys) > 2
    for key in keys:
        reply, _ = carry("GET", f"{IN_PROCESS}/checkout/sessions?status=open", [("Authorization", key)], None)
        assert reply is not None
        assert reply.json["data"] == []


def test_hypothesis_is_not_imported_before_stories_are_drawn() -> None:
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, qashier_contract.drive.lifecycle; print({'hypothesis', 'schemathesis'} & {*sys.modules})",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.strip() == "set()"


# ── the steps, one by one ───────────────────────────────────────────────────────────────────────────────────────────

SMALL: dict[str, list[Step]] = {
    "create": [Create(), Create(count=3, lines=((0, 4),)), Create(lines=((333, 3), (1, 1)), life_s=1_800, keyed=True)],
    "ends": [Create(count=2), Pay(), Expire(), Expire(pick=1), Pay(pick=1), Retrieve(), Retrieve(pick=1)],
    "tries": [Pay(outcome="failed"), Pay(outcome="canceled"), Pay(), Pay(outcome="failed")],
    "deadline": [Create(life_s=3_600), Wait(seconds=-1, until=0), Retrieve(), Wait(seconds=1), Retrieve(), Pay()],
    "lists": [
        Create(count=5),
        Expire(pick=2),
        List(),
        List(limit=2, status="open", cursor="starting_after", pick=1),
        List(limit=2, cursor="ending_before", pick=3),
        List(bound="gte", offset_s=1),
        Walk(limit=2),
        Walk(limit=1, status="open", back_from=4),
    ],
    "keys": [Retry(), Expire(keyed=True), Retry(), Reuse(), Create(), Reuse(session=0), Wait(seconds=86_400), Retry()],
    "strangers": [Reach(), Reach(how="expire"), Reach(how="cursor"), Reach(account=1), Retrieve()],
}


def meeting(*quirks: str) -> RunContext:
    """A world to tell stories in."""
    run = Run(IN_PROCESS, Settings(transport=within(*quirks), seed=1))
    run.connect()
    context = run.context()
    context._count = 1_000  # past the marks that connecting used
    return context


@pytest.mark.parametrize("name", SMALL)
def test_target_and_oracle_agree_on_a_correct_implementation(name: str) -> None:
    context = meeting()
    pair = [context.account, context.other]
    story = told(Story(context, lambda number: pair[number] or context.account, alone=False), SMALL[name])
    assert not story.disagreed
    assert story.steps == SMALL[name]
    assert story.broken({"LIS-4", "EXP-7", "IDM-1", "AUTH-5", "PAY-1"}) == ()
    assert not any(e.operation is Operation.OTHER for e in story.exchanges)


def test_a_story_ends_where_target_and_oracle_disagree() -> None:
    context = meeting("expire twice")
    story = told(Story(context, lambda _: context.account, alone=False), [Expire(), Expire(), Retrieve(), Retrieve()])
    assert story.disagreed
    assert story.steps == [Expire(), Expire()]
    assert story.broken({"EXP-1", "EXP-2"}) == ("EXP-2",)


def test_without_a_clock_a_step_in_time_is_left_out() -> None:
    context = meeting("no control")
    assert Capability.CLOCK not in context.terms.capabilities
    story = told(
        Story(context, lambda _: context.account, alone=False), [Create(life_s=1_800), Wait(seconds=5), Expire()]
    )
    assert not story.disagreed
