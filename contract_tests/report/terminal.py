"""The report for a person at a terminal: what broke and how to see it again, then the sums."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Final

from contract_tests.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contract_tests.verdicts import ClauseReport, Report, Violation

_COLOURS: Final = {Verdict.FAILED: "31", Verdict.WARNED: "33", Verdict.PASSED: "32", Verdict.NOT_EXERCISED: "2"}
_VIOLATIONS_SHOWN: Final = 3


def render(report: Report, *, colour: bool = False, width: int = 100) -> str:
    """The report as lines of at most `width` characters, addresses and values aside.

    Args:
        report: What came of a run.
        colour: Whether verdicts are coloured.
        width: Of the terminal, characters.
    """
    return "\n".join(_lines(report, colour=colour, width=max(width, 40))) + "\n"


def _lines(report: Report, *, colour: bool, width: int) -> Iterator[str]:
    for entry in report.clauses:
        if entry.violations:
            yield from _broken(entry, report, colour=colour, width=width)
    quiet = [entry for entry in report.clauses if entry.verdict is Verdict.NOT_EXERCISED]
    if quiet:
        yield f"Not exercised ({len(quiet)}):"
        for reason, ids in _by_reason(quiet).items():
            yield from _wrapped(f"{', '.join(ids)}: {reason}", width, "  ")
        yield ""
    for note in report.notes:
        yield from _wrapped(f"Note: {note}", width, "")
    counts = Counter(entry.verdict for entry in report.clauses)
    sums = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in reversed(Verdict) if counts[verdict])
    yield from _wrapped(
        f"{report.target}: {len(report.clauses)} clauses, {sums}; {report.requests} requests in "
        f"{report.duration_s:.1f} s, seed {report.seed}",
        width,
        "",
    )
    if report.interrupted:
        yield "Interrupted: the verdict is about what was seen until then."
    yield _painted(report.verdict.value.upper(), report.verdict, colour=colour)


def _broken(entry: ClauseReport, report: Report, *, colour: bool, width: int) -> Iterator[str]:
    word = _painted(entry.verdict.value.upper(), entry.verdict, colour=colour)
    yield f"{word} {entry.clause.id} ({entry.clause.source.value})"
    yield from _wrapped(entry.clause.statement, width, "  ")
    for violation in entry.violations[:_VIOLATIONS_SHOWN]:
        yield from _violation(violation, width)
    more = len(entry.violations) - _VIOLATIONS_SHOWN
    if more > 0:
        yield f"  and {more} more like it"
    yield f"  again:    qashier-mock check {report.target} --seed {report.seed} --only {entry.clause.id}"
    yield ""


def _violation(violation: Violation, width: int) -> Iterator[str]:
    yield from _wrapped(f"expected: {violation.expected}", width, "  ", hanging=10)
    yield from _wrapped(f"seen:     {violation.seen}", width, "  ", hanging=10)
    for exchange in violation.exchanges:
        query = f"?{exchange.request.query}" if exchange.request.query else ""
        answer = exchange.failure or exchange.status
        request_id = f" ({exchange.request_id})" if exchange.request_id else ""
        yield f"    {exchange.request.method} {exchange.request.path}{query} -> {answer}{request_id}"


def _by_reason(entries: list[ClauseReport]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        reasons.setdefault(entry.reason or "no reason is known", []).append(entry.clause.id)
    return reasons


def _wrapped(text: str, width: int, indent: str, *, hanging: int = 0) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent + " " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [indent]


def _painted(text: str, verdict: Verdict, *, colour: bool) -> str:
    return f"\x1b[{_COLOURS[verdict]}m{text}\x1b[0m" if colour else text
