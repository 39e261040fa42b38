"""The report as one HTML page: offline, without any other file, readable on a phone, in light and in dark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from contract_tests.report.facts import TITLES, again, broken, counts, duration, groups, judgement, unexercised
from contract_tests.report.reproduce import reproduce
from contract_tests.report.timeline import timeline
from contract_tests.report.wall import iso_time
from contract_tests.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contract_tests.history import Json
    from contract_tests.verdicts import ClauseReport, Report, Violation

_FOLDER: Final = Path(__file__).parent / "templates"
_SIGNS: Final = {Verdict.FAILED: "✕", Verdict.WARNED: "!", Verdict.PASSED: "✓", Verdict.NOT_EXERCISED: "?"}
_CLASSES: Final = {
    Verdict.FAILED: "failed",
    Verdict.WARNED: "warned",
    Verdict.PASSED: "passed",
    Verdict.NOT_EXERCISED: "unseen",
}
_MOST_SHOWN: Final = 3
"""Violations of one clause that are shown in full."""


def render(report: Report) -> str:
    """The report as an HTML page."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["spans"] = _spans
    return environment.get_template("report.html").render(
        report=report,
        headline=judgement(report),
        tone=_CLASSES[report.verdict],
        sign=_SIGNS[report.verdict],
        counts=[(str(verdict), _CLASSES[verdict], _SIGNS[verdict], n) for verdict, n in counts(report).items()],
        duration=duration(report.duration_s),
        when=iso_time(report.history, report.history.terms.monotonic_ns, whole=True).replace("T", " ")
        if report.history.terms.wall_ns
        else "",
        broken=[_entry(report, entry) for entry in broken(report)],
        groups=[_group(name, entries) for name, entries in groups(report).items()],
        unexercised=unexercised(report),
        answers=_table({name: {str(k): n for k, n in row.items()} for name, row in report.matrix.items()}),
        visited=_table(report.visited, ("open", "complete", "expired")),
        again=again(report),
    )


def _group(name: str, entries: tuple[ClauseReport, ...]) -> dict[str, Json]:
    tallies = [
        (str(verdict), _CLASSES[verdict], _SIGNS[verdict], sum(entry.verdict is verdict for entry in entries))
        for verdict in (Verdict.FAILED, Verdict.WARNED, Verdict.PASSED, Verdict.NOT_EXERCISED)
    ]
    return {
        "name": name,
        "title": TITLES.get(name, name),
        "tallies": [tally for tally in tallies if tally[3]],
        "is_open": any(entry.violations for entry in entries),
        "clauses": [
            {
                "id": entry.clause.id,
                "source": entry.clause.source.value,
                "statement": entry.clause.statement,
                "verdict": str(entry.verdict),
                "tone": _CLASSES[entry.verdict],
                "sign": _SIGNS[entry.verdict],
                "exercised": entry.exercised,
                "reason": entry.reason,
                "is_broken": bool(entry.violations),
            }
            for entry in entries
        ],
    }


def _entry(report: Report, entry: ClauseReport) -> dict[str, Json]:
    return {
        "id": entry.clause.id,
        "source": entry.clause.source.value,
        "statement": entry.clause.statement,
        "verdict": str(entry.verdict),
        "tone": _CLASSES[entry.verdict],
        "sign": _SIGNS[entry.verdict],
        "reason": entry.reason,
        "again": again(report, entry.clause.id),
        "violations": [_violation(report, violation) for violation in entry.violations[:_MOST_SHOWN]],
        "left": max(0, len(entry.violations) - _MOST_SHOWN),
    }


def _violation(report: Report, violation: Violation) -> dict[str, Json]:
    reproduction = reproduce(report, violation)
    return {
        "expected": violation.expected,
        "seen": violation.seen,
        "request_ids": violation.request_ids,
        "timeline": timeline(violation, report.history),
        "curl": "\n".join(reproduction.curl),
        "pytest": reproduction.pytest,
    }


def _table(rows: Mapping[str, Mapping[str, int]], columns: tuple[str, ...] = ()) -> dict[str, Json]:
    found = columns or tuple(sorted({column for row in rows.values() for column in row}))
    return {"columns": found, "rows": [(name, [row.get(column, 0) for column in found]) for name, row in rows.items()]}


def _spans(text: str) -> Markup:
    """A text with its `code` in code elements."""
    parts = re.split(r"`([^`]*)`", text)
    shown = [
        escape(part) if place % 2 == 0 else Markup("<code>{}</code>").format(part) for place, part in enumerate(parts)
    ]
    return Markup("").join(shown)
