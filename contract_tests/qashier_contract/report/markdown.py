"""The report as Markdown, fit for a job summary of GitHub Actions or a merge request of GitLab."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from qashier_contract.report.facts import TITLES, again, broken, counts, duration, groups, judgement, unexercised
from qashier_contract.report.reproduce import reproduce
from qashier_contract.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qashier_contract.verdicts import ClauseReport, Report, Violation

MARKS: Final = {Verdict.FAILED: "❌", Verdict.WARNED: "⚠️", Verdict.PASSED: "✅", Verdict.NOT_EXERCISED: "⚪"}
_MOST_SHOWN: Final = 3
"""Violations of one clause that are shown in full."""
_MOST_CHARACTERS: Final = 900_000
"""A job summary may have 1 MiB; what comes after this is left out, and said to be."""


def render(report: Report) -> str:
    """The report as Markdown."""
    text = "\n".join(_head(report)) + "\n"
    left_out = []
    for entry in broken(report):
        block = "\n".join(_broken(report, entry)) + "\n"
        if len(text) + len(block) > _MOST_CHARACTERS:
            left_out.append(entry.clause.id)
        else:
            text += block
    if left_out:
        text += f"\nToo long to show here: {', '.join(left_out)}. The HTML and JSON reports have them.\n"
    return text + "\n".join(_tail(report)) + "\n"


def _head(report: Report) -> Iterator[str]:
    yield f"## {MARKS[report.verdict]} {judgement(report)}"
    yield ""
    seed = "" if report.seed is None else f", seed {report.seed}"
    yield f"{_code(report.target)}{seed}, {report.requests} requests in {duration(report.duration_s)}."
    yield ""
    for note in report.notes:
        yield f"> {_inline(note)}"
        yield ""
    yield "| | group | " + " | ".join(str(verdict) for verdict in counts(report)) + " |"
    yield "|---|---|" + "---:|" * len(counts(report))
    for name, entries in groups(report).items():
        row = [sum(entry.verdict is verdict for entry in entries) for verdict in counts(report)]
        worst = next(verdict for verdict, count in zip(counts(report), row, strict=True) if count)
        cells = " | ".join(str(count) if count else "" for count in row)
        yield f"| {MARKS[worst]} | {name}: {TITLES.get(name, name)} | {cells} |"
    yield ""


def _broken(report: Report, entry: ClauseReport) -> Iterator[str]:
    yield f"### {MARKS[entry.verdict]} {entry.clause.id} {entry.verdict}"
    yield ""
    yield f"{_inline(entry.clause.statement)} *({entry.clause.source})*"
    yield ""
    if entry.reason:
        yield f"> {_inline(entry.reason)}"
        yield ""
    for violation in entry.violations[:_MOST_SHOWN]:
        yield from _violation(report, violation)
    left = len(entry.violations) - _MOST_SHOWN
    if left > 0:
        yield f"… and {left} more of this clause."
        yield ""
    yield f"Again: {_code(again(report, entry.clause.id))}"
    yield ""


def _violation(report: Report, violation: Violation) -> Iterator[str]:
    yield f"- **expected** {_inline(violation.expected)}"
    yield f"- **seen** {_inline(violation.seen)}"
    if violation.request_ids:
        yield f"- **request ids** {', '.join(_code(each) for each in violation.request_ids)}"
    yield ""
    reproduction = reproduce(report, violation)
    yield from _folded("curl", "sh", "\n".join(reproduction.curl))
    yield from _folded("pytest", "python", reproduction.pytest)


def _folded(title: str, language: str, text: str) -> Iterator[str]:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    yield f"<details><summary>{title}</summary>"
    yield ""
    yield f"{fence}{language}"
    yield text.rstrip("\n")
    yield fence
    yield ""
    yield "</details>"
    yield ""


def _tail(report: Report) -> Iterator[str]:
    reasons = unexercised(report)
    if reasons:
        yield "### Not exercised"
        yield ""
        for reason, ids in reasons.items():
            yield f"- {_inline(reason)}: {', '.join(ids)}"
        yield ""
    yield "<details><summary>What was visited</summary>"
    yield ""
    yield from _matrix("answers", {name: {str(k): n for k, n in row.items()} for name, row in report.matrix.items()})
    yield from _matrix("session was", report.visited)
    yield "</details>"
    yield ""
    yield f"Again: {_code(again(report))}"


def _matrix(corner: str, rows: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    columns = sorted({column for row in rows.values() for column in row})
    if not columns:
        return
    yield f"| {corner} | " + " | ".join(columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    for name, row in rows.items():
        yield f"| {name} | " + " | ".join(str(row.get(column, "")) for column in columns) + " |"
    yield ""


def _inline(text: str) -> str:
    """A text of the target's in a line of Markdown: nothing in it is markup, but for the clauses' own code spans."""
    plain = " ".join(text.split())
    parts = re.split(r"(`[^`]*`)", plain)
    return "".join(part if part.startswith("`") and len(part) > 1 else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    shown = re.sub(r"([\\*_\[\]|~#>])", r"\\\1", text)
    return shown.replace("&", "&amp;").replace("<", "&lt;")


def _code(text: str) -> str:
    plain = " ".join(text.split())
    return f"`` {plain} ``" if "`" in plain else f"`{plain}`"
