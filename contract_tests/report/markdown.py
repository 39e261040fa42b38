"""The report as Markdown, fit for the summary of a CI job."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from contract_tests.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contract_tests.verdicts import ClauseReport, Report, Violation

_MARKS: Final = {
    Verdict.PASSED: "✅ passed",
    Verdict.WARNED: "⚠️ warned",
    Verdict.FAILED: "❌ failed",
    Verdict.NOT_EXERCISED: "⏭️ not exercised",
}
_VIOLATIONS_SHOWN: Final = 3


def render(report: Report) -> str:
    """The verdict, what broke, and a table of all clauses folded below."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    counts = Counter(entry.verdict for entry in report.clauses)
    sums = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in reversed(Verdict) if counts[verdict])
    yield f"## Qashier Checkout contract: {_MARKS[report.verdict]}"
    yield ""
    yield f"{_code(report.target)}: {len(report.clauses)} clauses, {sums}."
    yield f"{report.requests} requests in {report.duration_s:.1f} s, seed {report.seed}."
    if report.interrupted:
        yield "Interrupted: the verdict is about what was seen until then."
    for note in report.notes:
        yield f"Note: {_plain(note)}"
    for entry in report.clauses:
        if entry.violations:
            yield from _broken(entry)
    yield ""
    yield "<details><summary>All clauses</summary>"
    yield ""
    yield "| clause | source | verdict | exercised | |"
    yield "|---|---|---|---|---|"
    for entry in report.clauses:
        told = _plain(entry.reason) if entry.reason else entry.clause.statement.replace("|", "\\|")
        cells = (entry.clause.id, entry.clause.source.value, _MARKS[entry.verdict], str(entry.exercised), told)
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "</details>"


def _broken(entry: ClauseReport) -> Iterator[str]:
    yield ""
    yield f"### {entry.clause.id} {_MARKS[entry.verdict]} ({entry.clause.source.value})"
    yield ""
    yield entry.clause.statement
    for violation in entry.violations[:_VIOLATIONS_SHOWN]:
        yield ""
        yield f"- expected: {_plain(violation.expected)}"
        yield f"- seen: {_plain(violation.seen)}"
        yield from _story(violation)
    more = len(entry.violations) - _VIOLATIONS_SHOWN
    if more > 0:
        yield ""
        yield f"and {more} more like it"


def _story(violation: Violation) -> Iterator[str]:
    if not violation.exchanges:
        return
    yield ""
    yield "```text"
    for exchange in violation.exchanges:
        query = f"?{exchange.request.query}" if exchange.request.query else ""
        answer = exchange.failure or exchange.status
        line = f"{exchange.request.method} {exchange.request.path}{query} -> {answer} {exchange.request_id or ''}"
        yield line.rstrip().replace("```", "'''")
    yield "```"


def _plain(text: str) -> str:
    """Text that cannot become markup, a table's cell included."""
    for mark in "\\`*_{}[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def _code(text: str) -> str:
    return "`" + text.replace("`", "'") + "`"
