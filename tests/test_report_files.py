"""Reports for other people's programs: a third party's reader reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import html5lib
import pytest
from haralyzer import HarParser
from jsonschema_rs import Draft6Validator
from lxml import etree
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as SarifLog
from qashier_contract import CLAUSES, check
from qashier_contract.findings import PassesCheck
from qashier_contract.report import render
from qashier_contract.verdicts import Violation

from tests.targets import touching, within

if TYPE_CHECKING:
    from qashier_contract import Report

ROOT: Final = Path(__file__).parents[1]
SCHEMAS: Final = ROOT / "tests" / "schemas"
HAR_SCHEMAS: Final = ROOT / "node_modules" / "har-schema" / "lib"


@pytest.fixture(scope="module")
def report() -> Report:
    """A run in which clauses were kept, broken, left out, and could only be assumed."""
    return check(
        "http://127.0.0.1",
        transport=within("405 without allow", "no challenge", "signature hex"),
        seed=1,
        drivers=touching,
        skip=["LIS-*"],
        replay=False,
    )


@pytest.fixture(scope="module")
def odd(report: Report) -> Report:
    """The same report, with what no terminal, no XML and no page takes in what the target said and in its notes."""
    nasty = "\x00\x0b\x1b[2J\ufffe\ud800 <b>&amp;]]></script><!-- \u2028"

    def said(violation: Violation) -> Violation:
        at = violation.expectation.at
        check = violation.expectation if at is None else PassesCheck(at, nasty, nasty)
        return replace(violation, expectation=check, reason=nasty)

    entries = tuple(replace(entry, violations=tuple(map(said, entry.violations))) for entry in report.clauses)
    return replace(report, clauses=entries, notes=(nasty,), target=f"http://h/{nasty}")


@pytest.fixture(scope="module", params=["plain", "odd"])
def either(request: pytest.FixtureRequest, report: Report, odd: Report) -> Report:
    return {"plain": report, "odd": odd}[request.param]


def written(report: Report, form: str) -> bytes:
    """What a file holds: see `qashier_contract.report.write`."""
    return render(report, form).encode("utf-8", "backslashreplace")


def test_junit_follows_the_schema_that_its_readers_share(either: Report) -> None:
    schema = etree.XMLSchema(etree.parse(SCHEMAS / "junit.xsd"))
    document = etree.fromstring(written(either, "junit"))
    schema.assertValid(document)
    cases = document.findall(".//testcase")
    assert len(cases) == len(either.clauses) == int(document.get("tests"))
    assert len(document.findall(".//failure")) == int(document.get("failures")) > 0
    assert len(document.findall(".//skipped")) == int(document.get("skipped")) > 0


def test_har_follows_its_schema(either: Report) -> None:
    schemas = {path.stem: json.loads(path.read_text("utf-8")) for path in HAR_SCHEMAS.glob("*.json")}
    assert schemas.keys() >= {"har", "log", "entry"}

    def named(address: str) -> Any:
        return schemas[address.rpartition("/")[2].removesuffix("#").removesuffix(".json")]

    validator = Draft6Validator({**schemas["har"], "$id": "json-schema:///har.json"}, retriever=named)
    document = json.loads(render(either, "har").encode(errors="replace"))  # the validator takes no half characters
    assert [error.message for error in validator.iter_errors(document)] == []
    del document["log"]["entries"][-1]["request"]["method"]
    assert not validator.is_valid(document)


def test_html_is_what_a_browser_takes_without_a_repair(either: Report) -> None:
    parser = html5lib.HTMLParser(strict=False)
    parser.parse(written(either, "html"), transport_encoding="utf-8")
    assert [name for _, name, _ in parser.errors] == []


@pytest.fixture(scope="module")
def sarif(report: Report) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(render(report, "sarif"))
    return document


def test_sarif_follows_its_schema(either: Report) -> None:
    log = SarifLog.model_validate(json.loads(written(either, "sarif")))
    assert len(log.runs) == 1


def test_sarif_has_a_rule_for_each_clause_and_a_result_for_each_violation(
    sarif: dict[str, Any], report: Report
) -> None:
    (run,) = sarif["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(CLAUSES)
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    failed = [result for result in run["results"] if result["kind"] == "fail"]
    assert len(failed) == len(report.violations)
    levels = {result["ruleId"]: result["level"] for result in failed}
    assert levels["AUTH-1"] == "error"
    assert levels["HTTP-4"] == "warning"
    assert all(result["locations"] and result["partialFingerprints"] for result in failed)
    kinds = {result["ruleId"]: result["kind"] for result in run["results"]}
    assert (kinds["LIS-1"], kinds["CRE-1"]) == ("open", "pass")


def test_sarif_shows_the_exchange_that_breaks_the_clause(sarif: dict[str, Any]) -> None:
    first = next(result for result in sarif["runs"][0]["results"] if result["ruleId"] == "AUTH-1")
    assert first["webRequest"]["method"] in {"GET", "POST"}
    assert first["webResponse"]["statusCode"] == 401
    assert first["message"]["text"].startswith("expected ")


def test_the_same_violation_has_the_same_fingerprint_in_every_run(sarif: dict[str, Any]) -> None:
    again = check("http://127.0.0.1", transport=within("no challenge"), seed=2, drivers=touching, replay=False)
    prints = [
        {r["partialFingerprints"]["expectation/v1"] for r in document["runs"][0]["results"] if r["ruleId"] == "AUTH-1"}
        for document in (sarif, json.loads(render(again, "sarif")))
    ]
    assert prints[0] & prints[1]


def test_har_is_read_by_another_program(report: Report) -> None:
    (page,) = HarParser(json.loads(render(report, "har"))).pages
    exchanges, deliveries = report.history.exchanges, report.history.deliveries
    assert len(page.entries) == len(exchanges) + len(deliveries)
    refused = page.filter_entries(request_type="POST", status_code=r"4\d\d")
    assert len(refused) == sum(e.refused and e.request.method == "POST" for e in exchanges) + sum(
        400 <= delivery.answered < 500 for delivery in deliveries
    )
    sent = [entry for entry in page.entries if entry.request.method == "POST" and entry.request.mimeType]
    assert sent
    assert all(entry.startTime.tzinfo is not None for entry in page.entries)
