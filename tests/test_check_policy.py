"""A policy answers what the documents leave open: with it, the checker accepts that answer and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qashier_contract import CheckError, Report, check
from qashier_contract.policy import Policy, read_policy

from qashier_mock import MockServer, Settings
from qashier_mock.core.policy import Policy as Behaviour
from tests.targets import directed, touching

# A choice, another one for the same question, and the clause under which a target is blamed that made the other.
# Whether the mock meets a request under way is a matter of luck: IDM-6 is tested by hand.
CHOICES = [
    ({"status_invalid": 422}, {"status_invalid": 400}, "CRE-18"),
    ({"status_invalid": 422}, {"status_invalid": 400}, "LIS-2"),
    ({"status_rule": 400}, {"status_rule": 422}, "CRE-7"),
    ({"status_rule": 400}, {"status_rule": 422}, "LIS-13"),
    ({"status_not_open": 422}, {"status_not_open": 409}, "EXP-2"),
    ({"idempotency_reuse": "reject"}, {"idempotency_reuse": "replay"}, "IDM-9"),
    ({"idempotency_reuse": "replay"}, {"idempotency_reuse": "reject"}, "IDM-9"),
    ({"unknown_fields": "ignore"}, {"unknown_fields": "reject"}, "CRE-1"),
    ({"unknown_fields": "reject"}, {"unknown_fields": "ignore"}, "CRE-1"),
    ({"signature_encoding": "hex"}, {"signature_encoding": "base64"}, "EVT-7"),
    ({"signature_header": "x-qashier-signature"}, {"signature_header": "x-qashier-sign"}, "EVT-7"),
]


# Several choices of one target, and the clauses that judge them.
MADE = [
    (
        {
            "status_invalid": 422,
            "idempotency_reuse": "reject",
            "idempotency_in_flight": "wait",
            "unknown_fields": "ignore",
        },
        ("CRE-18", "LIS-2", "IDM-9", "IDM-6", "CRE-1"),
    ),
    (
        {
            "status_invalid": 422,
            "status_rule": 400,
            "status_not_open": 422,
            "idempotency_reuse": "replay",
            "unknown_fields": "reject",
        },
        ("CRE-7", "LIS-13", "EXP-2", "IDM-9", "CRE-1"),
    ),
]


def checked(url: str, chosen: dict[str, Any], *clauses: str, **options: Any) -> Report:
    given = {"seed": 1, "strict": True, "drivers": directed, "replay": False, "max_time_s": 600.0, **options}
    return check(url, only=clauses, policy=Policy(**chosen), **given)


@pytest.mark.parametrize(("chosen", "clauses"), MADE)
def test_choices_that_were_made_are_accepted(chosen: dict[str, Any], clauses: tuple[str, ...]) -> None:
    with MockServer(Settings(policy=Behaviour(**chosen))) as right:
        report = checked(right.url, chosen, *clauses, drivers=touching)
    assert report.violations == ()
    assert all(report[clause].exercised for clause in clauses)


@pytest.mark.parametrize(("demanded", "other", "clause"), CHOICES)
def test_another_choice_is_blamed(demanded: dict[str, Any], other: dict[str, Any], clause: str) -> None:
    with MockServer(Settings(policy=Behaviour(**other))) as wrong:
        report = checked(wrong.url, demanded, clause, fail_fast=True)
    assert {violation.clause for violation in report.violations} == {clause}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("status_rules = 1", "status_rules is not an open choice"),
        ("status_rule = 200", "status_rule must be a status from 400 to 499, not 200"),
        ('idempotency_reuse = "maybe"', "idempotency_reuse must be replay or reject, not 'maybe'"),
        ('currencies = "SGD"', "currencies must be a list of codes"),
        ("signature_header = 5", "signature_header must be the name of a header, not 5"),
    ],
)
def test_a_policy_that_says_what_is_no_choice_is_refused(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(CheckError, match=told):
        read_policy(path)
