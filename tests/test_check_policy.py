"""A policy answers what the documents leave open: with it, the checker accepts that answer and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qashier_contract import CheckError, check
from qashier_contract.policy import Policy, read_policy

from qashier_mock import MockServer, Settings
from qashier_mock.core.policy import Policy as Behaviour
from tests.targets import directed

# A choice, another one for the same question, and the clause under which a target is blamed that made the other.
CHOICES = [
    ({"status_invalid": 422}, {"status_invalid": 400}, "CRE-18"),
    ({"status_invalid": 422}, {"status_invalid": 400}, "LIS-2"),
    ({"status_rule": 400}, {"status_rule": 422}, "CRE-7"),
    ({"status_rule": 400}, {"status_rule": 422}, "LIS-13"),
    ({"status_not_open": 422}, {"status_not_open": 409}, "EXP-2"),
    ({"idempotency_reuse": "reject"}, {"idempotency_reuse": "replay"}, "IDM-9"),
    ({"idempotency_reuse": "replay"}, {"idempotency_reuse": "reject"}, "IDM-9"),
    ({"idempotency_in_flight": "wait"}, {"idempotency_in_flight": "conflict"}, "IDM-6"),
    ({"unknown_fields": "ignore"}, {"unknown_fields": "reject"}, "CRE-1"),
    ({"unknown_fields": "reject"}, {"unknown_fields": "ignore"}, "CRE-1"),
]


def broken(url: str, clause: str, chosen: dict[str, Any]) -> set[str]:
    report = check(url, seed=1, strict=True, only=[clause], policy=Policy(**chosen), drivers=directed, replay=False)
    assert report[clause].exercised
    return {violation.clause for violation in report.violations}


@pytest.mark.parametrize(("demanded", "other", "clause"), CHOICES)
def test_a_choice_is_judged(demanded: dict[str, Any], other: dict[str, Any], clause: str) -> None:
    with MockServer(Settings(policy=Behaviour(**demanded))) as right:
        assert broken(right.url, clause, demanded) == set()
    if clause == "IDM-6":
        return  # whether the mock meets a request under way is a matter of luck; the clause is tested by hand
    with MockServer(Settings(policy=Behaviour(**other))) as wrong:
        assert broken(wrong.url, clause, demanded) == {clause}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("status_rules = 1", "status_rules is no open choice"),
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
