"""The report as JUnit XML, for what collects test results: one test case for each clause, one suite for each group.

A clause that failed is a failure; one that was not exercised is skipped, with the reason. JUnit knows no warnings: a
clause that only warns counts as passed, says so in the property `verdict`, and has its violations in `system-out`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from qashier_contract.report.facts import TITLES, again, groups, iso_time
from qashier_contract.report.reproduction import reproduce
from qashier_contract.verdicts import Verdict

if TYPE_CHECKING:
    from qashier_contract.verdicts import ClauseReport, Report, Violation

_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MOST_SHOWN: Final = 3


def render(report: Report) -> str:
    """The report as JUnit XML."""
    root = ET.Element("testsuites", _totals(report, report.clauses), name="Qashier Checkout Sessions")
    for group, entries in groups(report).items():
        suite = ET.SubElement(
            root,
            "testsuite",
            _totals(report, entries),
            name=f"{group}: {TITLES.get(group, group)}",
            timestamp=iso_time(report.history, report.history.terms.monotonic_ns, whole=True),
        )
        properties = ET.SubElement(suite, "properties")
        for name, value in (
            ("target", report.target),
            *([("seed", report.seed)] if report.seed is not None else []),
            ("requests", report.requests),
            ("interrupted", str(report.interrupted).lower()),
        ):
            ET.SubElement(properties, "property", name=name, value=_clean(str(value)))
        for entry in entries:
            suite.append(_case(report, entry))
        if report.notes:
            ET.SubElement(suite, "system-out").text = _clean("\n".join(report.notes))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _totals(report: Report, entries: tuple[ClauseReport, ...]) -> dict[str, str]:
    share = len(entries) / max(1, len(report.clauses))
    return {
        "tests": str(len(entries)),
        "failures": str(sum(entry.verdict is Verdict.FAILED for entry in entries)),
        "errors": "0",
        "skipped": str(sum(entry.verdict is Verdict.NOT_EXERCISED for entry in entries)),
        "time": f"{report.duration_s * share:.3f}",
    }


def _case(report: Report, entry: ClauseReport) -> ET.Element:
    # The clauses share one run: each gets an even part of its time.
    time_s = report.duration_s / max(1, len(report.clauses))
    case = ET.Element(
        "testcase",
        classname=f"contract.{entry.clause.group}",
        name=_clean(f"{entry.clause.id} {entry.clause.statement}"),
        time=f"{time_s:.3f}",
    )
    properties = ET.SubElement(case, "properties")
    for name, value in (
        ("clause", entry.clause.id),
        ("source", entry.clause.source.value),
        ("verdict", entry.verdict.value),
        ("exercised", str(entry.exercised)),
    ):
        ET.SubElement(properties, "property", name=name, value=value)
    if entry.verdict is Verdict.NOT_EXERCISED:
        ET.SubElement(case, "skipped", message=_clean(f"not exercised: {entry.reason}"))
    elif entry.verdict is Verdict.FAILED:
        first = entry.violations[0]
        failure = ET.SubElement(
            case, "failure", type=entry.clause.id, message=_clean(f"expected {first.expected}; seen {first.seen}")
        )
        failure.text = _clean(_told(report, entry))
    elif entry.violations:
        ET.SubElement(case, "system-out").text = _clean(f"warned: {_told(report, entry)}")
    return case


def _told(report: Report, entry: ClauseReport) -> str:
    shown = [_violation(report, violation) for violation in entry.violations[:_MOST_SHOWN]]
    left = len(entry.violations) - len(shown)
    more = [f"and {left} more"] if left else []
    return "\n\n".join([*shown, *more, f"again: {again(report, entry.clause.id)}"])


def _violation(report: Report, violation: Violation) -> str:
    lines = [f"expected: {violation.expected}", f"seen: {violation.seen}"]
    if violation.request_ids:
        lines.append(f"request ids: {', '.join(violation.request_ids)}")
    reproduction = reproduce(report, violation)
    return "\n".join([*lines, reproduction.outcome, "", *reproduction.curl])


def _clean(text: str) -> str:
    """A text without the characters that XML cannot hold."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
