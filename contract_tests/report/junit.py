"""The report as JUnit XML: a test case per clause.

A failed clause is a failure; a clause that was not exercised is skipped, with its reason. A warning passes, since it
does not fail a run, and says what it warns about in `system-out`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from contract_tests.verdicts import Verdict

if TYPE_CHECKING:
    from contract_tests.verdicts import ClauseReport, Report, Violation

_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report) -> str:
    """One `testsuite` with a `testcase` for each clause."""
    counts = Counter(entry.verdict for entry in report.clauses)
    suite = Element(
        "testsuite",
        name="qashier-contract",
        tests=str(len(report.clauses)),
        failures=str(counts[Verdict.FAILED]),
        errors="0",
        skipped=str(counts[Verdict.NOT_EXERCISED]),
        time=f"{report.duration_s:.3f}",
    )
    properties = SubElement(suite, "properties")
    for name, value in (("target", report.target), ("seed", report.seed), ("requests", report.requests)):
        SubElement(properties, "property", name=name, value=_clean(str(value)))
    for entry in report.clauses:
        _case(suite, entry)
    suites = Element("testsuites")
    suites.append(suite)
    indent(suites)
    return tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: Element, entry: ClauseReport) -> None:
    group = entry.clause.id.partition("-")[0]
    name = _clean(f"{entry.clause.id} {entry.clause.statement}")
    case = SubElement(suite, "testcase", classname=f"contract.{group}", name=name, time="0")
    if entry.verdict is Verdict.NOT_EXERCISED:
        SubElement(case, "skipped", message=_clean(entry.reason or "not exercised"))
    elif entry.verdict is Verdict.FAILED:
        first = entry.violations[0]
        failure = SubElement(
            case, "failure", type=entry.clause.id, message=_clean(f"expected {first.expected}; seen {first.seen}")
        )
        failure.text = _clean("\n\n".join(map(_told, entry.violations)))
    elif entry.violations:
        SubElement(case, "system-out").text = _clean("\n\n".join(["warning", *map(_told, entry.violations)]))


def _told(violation: Violation) -> str:
    lines = [f"expected: {violation.expected}", f"seen: {violation.seen}"]
    for exchange in violation.exchanges:
        query = f"?{exchange.request.query}" if exchange.request.query else ""
        answer = exchange.failure or exchange.status
        lines.append(
            f"  {exchange.request.method} {exchange.request.path}{query} -> {answer} {exchange.request_id or ''}"
        )
    return "\n".join(line.rstrip() for line in lines)


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
