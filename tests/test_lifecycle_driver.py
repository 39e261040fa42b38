"""The random stories: what they find, what they keep of it, and what they leave alone."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from qashier_contract import Verdict, check
from qashier_contract.clauses import CLAUSES
from qashier_contract.drive.lifecycle import Story, lifecycle
from qashier_contract.drive.plan import exercised_by
from qashier_contract.history import Capability, Operation
from qashier_contract.run import Run
from qashier_contract.settings import Settings
from qashier_contract.verdicts import Result

from tests.targets import DEFECTS, within

if TYPE_CHECKING:
    from qashier_contract import Report
    from qashier_contract.drive import Driver

IN_PROCESS = "http://127.0.0.1"

SEEDS = (1, 2, 3)
"""What Hypothesis draws from a seed changes with the constants of the source: the best of some has to be good."""
# The greatest number of exchanges that show a defect.
FOUND = {
    "retrieve across accounts": 2,
    "limit 100 gives 99": 3,
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
def test_stories_find_a_defect_and_show_it_by_few_exchanges(defect: str) -> None:
    def shown_by(seed: int) -> int:
        entry = told_to(defect, only=[DEFECTS[defect]], seed=seed)[DEFECTS[defect]]
        assert entry.verdict is Verdict.FAILED
        return min(len(violation.exchanges) for violation in entry.violations)

    assert any(shown_by(seed) <= FOUND[defect] for seed in SEEDS)


@pytest.mark.parametrize("defect", ["limit 100 gives 99", "has_more when full"])
def test_with_the_scenarios_of_its_clause_switched_off_only_stories_see_a_defect(defect: str) -> None:
    def others(driver: Driver) -> bool:
        return clause not in exercised_by(driver)

    clause = DEFECTS[defect]
    assert told_to(defect, only=[clause], drivers=others)[clause].verdict is not Verdict.FAILED


def test_of_all_stories_the_one_that_shows_a_clause_broken_is_kept() -> None:
    def sent_again(seed: int) -> int:
        report = told_to("retrieve across accounts", only=["AUTH-5"], seed=seed)
        mine = [e for e in report.history.exchanges if e.scenario == "lifecycle"]
        made_up = {e.account for e in mine if e.account is not None}
        assert len(made_up) == 2
        assert max(made_up) > 3  # others came before it
        assert report.sent_again["AUTH-5"].result is Result.BROKE_AGAIN
        return len(report.sent_again["AUTH-5"].part.exchanges)

    assert any(sent_again(seed) < 10 for seed in SEEDS)


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
    program = "import sys, qashier_contract.drive.lifecycle; print({'hypothesis', 'schemathesis'} & {*sys.modules})"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"


# ── the steps, one by one ───────────────────────────────────────────────────────────────────────────────────────────

Steps = list[tuple[str, dict[str, Any]]]

SMALL: dict[str, Steps] = {
    "create": [
        ("create", {}),
        ("create", {"count": 3, "lines": ((0, 4),)}),
        ("create", {"lines": ((333, 3), (1, 1)), "life_s": 1_800, "keyed": True}),
    ],
    "ends": [
        ("create", {"count": 2}),
        ("pay", {}),
        ("expire", {}),
        ("expire", {"pick": 1}),
        ("pay", {"pick": 1}),
        ("open_and_pay", {}),
    ],
    "tries": [("pay", {"outcome": outcome}) for outcome in ("failed", "canceled", "succeeded", "failed")],
    "deadline": [
        ("create", {"life_s": 3_600}),
        ("wait", {"seconds": -1, "until": 0}),
        ("retrieve", {}),
        ("wait", {"seconds": 1}),
        ("retrieve", {}),
        ("pay", {}),
    ],
    "lists": [
        ("create", {"count": 5}),
        ("expire", {"pick": 2}),
        ("list", {}),
        ("list", {"limit": 2, "status": "open", "cursor": "starting_after", "pick": 1}),
        ("list", {"limit": 2, "cursor": "ending_before", "pick": 3}),
        ("list", {"bound": "gte", "offset_s": 1}),
        ("walk", {"limit": 2}),
        ("walk", {"limit": 1, "status": "open", "back_from": 4}),
    ],
    "keys": [
        ("retry", {}),
        ("expire", {"keyed": True}),
        ("retry", {}),
        ("reuse", {}),
        ("create", {}),
        ("reuse", {"session": 0}),
        ("wait", {"seconds": 86_400}),
        ("retry", {}),
    ],
    "strangers": [
        ("reach", {}),
        ("reach", {"how": "expire"}),
        ("reach", {"how": "cursor"}),
        ("reach", {"account": 1}),
        ("retrieve", {}),
    ],
}


def told(steps: Steps, *quirks: str) -> Story:
    """A story in the accounts of a run that has just connected."""
    run = Run(IN_PROCESS, Settings(transport=within(*quirks), seed=1))
    run.connect()
    context = run.context()
    context._count = 1_000  # past the marks that connecting used
    story = Story(context, alone=False)
    for step, drawn in steps:
        story.take(step, **drawn)
    story.finish()
    return story


@pytest.mark.parametrize("name", SMALL)
def test_no_step_accuses_a_correct_implementation(name: str) -> None:
    story = told(SMALL[name])
    assert story.broken(CLAUSES) == ()
    assert not any(e.operation is Operation.OTHER for e in story.exchanges)


def test_a_story_shows_by_itself_what_is_broken() -> None:
    story = told([("expire", {}), ("expire", {})], "expire twice")
    assert story.broken(["EXP-1", "EXP-2"]) == ("EXP-2",)


def test_without_a_clock_a_step_in_time_is_left_out() -> None:
    story = told([("create", {"life_s": 1_800}), ("wait", {"seconds": 5}), ("expire", {})], "no control")
    assert Capability.CLOCK not in story.context.terms.capabilities
    assert [e.operation for e in story.exchanges][:3] == [Operation.CREATE, Operation.EXPIRE, Operation.RETRIEVE]
    assert story.exchanges[0].request.json.keys() == {"line_items", "success_url", "return_url"}


def test_what_was_open_is_expired_at_the_end_where_no_clock_can_be_moved() -> None:
    story = told([("create", {"count": 2})], "no control")
    assert sum(e.operation is Operation.EXPIRE and e.succeeded for e in story.exchanges) == 2
