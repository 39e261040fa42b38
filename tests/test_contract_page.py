"""The page of the contract is the one that the table of clauses gives, and the commands that print it work."""

import json
from pathlib import Path

import pytest
from qashier_contract import CLAUSES, oracle
from qashier_contract.report.contract import page

from qashier_mock.cli import main

PAGE = Path(__file__).resolve().parents[1] / "docs" / "contract.md"


def test_the_page_is_what_the_clauses_say() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: qashier-mock clauses --format markdown > docs/contract.md"


def test_the_page_has_the_limits_by_which_requests_are_judged() -> None:
    rows = [line for line in page().splitlines() if line.startswith("  | ")]
    limits = [row.split("|")[-2].strip() for row in rows][1:-1]  # the first is the head, the last a body in MiB
    known = ("LINES", "UNIT_AMOUNT", "QUANTITY", "NAME", "DESCRIPTION", "URL")
    assert limits == [f"{getattr(oracle, f'{name}_MOST'):,}" for name in known]


def test_every_clause_stands_in_the_page_once() -> None:
    written = page()
    assert [identifier for identifier in CLAUSES if written.count(f"| {identifier} |") != 1] == []


def test_clauses_prints_each_with_its_source_and_what_checks_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clauses", "--format", "json"]) == 0
    entries = json.loads(capsys.readouterr().out)["clauses"]
    assert [entry["id"] for entry in entries] == list(CLAUSES)
    assert [entry["id"] for entry in entries if not entry["checked_by"]] == []


def test_clauses_is_readable_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clauses"]) == 0
    assert "CRE-7 (documented)" in capsys.readouterr().out
