"""What a person sees in a terminal: progress while it runs, and a summary to act on."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Final, TextIO
from urllib.parse import unquote

from qashier_contract.report.facts import again, broken, causes, counted, extent, judgement, unexercised, which
from qashier_contract.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qashier_contract.report.facts import Cause
    from qashier_contract.verdicts import ClauseReport, Progress, Report

_NARROWEST: Final = 40
_WIDEST: Final = 120
MOST_LINES: Final = 60
"""How long a summary may be, whatever broke."""
_MOST_ROWS: Final = 14
_NO_TEXT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MOST_ASIDES: Final = 5
_MOST_ANNOTATED: Final = 10
_MOST_TOLD: Final = 12
"""How many broken clauses are told of while a run goes on."""
_COLOURS: Final = {
    Verdict.FAILED: "\x1b[1;31m",
    Verdict.WARNED: "\x1b[1;33m",
    Verdict.PASSED: "\x1b[1;32m",
    Verdict.NOT_EXERCISED: "\x1b[2m",
}
_PLAIN: Final = "\x1b[0m"
_SIGNS: Final = {Verdict.FAILED: "✗", Verdict.WARNED: "!", Verdict.PASSED: "✓", Verdict.NOT_EXERCISED: "-"}


class ProgressLine:
    """One line that says how far a run is, on a terminal; elsewhere nothing.

    It is shown on stderr as a rule: what is on stdout stays for reading.
    """

    def __init__(self, stream: TextIO, *, width: int = 80, is_shown: bool | None = None) -> None:
        self._stream = stream
        self._width = max(_NARROWEST, width)
        self._is_shown = stream.isatty() if is_shown is None else is_shown
        self._told = 0

    def __call__(self, progress: Progress) -> None:
        """Show how far the run is."""
        left = f"about {progress.left_s:.0f} s left" if progress.left_s < float("inf") else ""
        done = f"{progress.done} of {progress.total} done, now {progress.driver}"
        parts = [done, f"{progress.requests} requests", left]
        line = " · ".join(part for part in parts if part)
        self._write(f"\r\x1b[2K{line[: self._width - 1]}")

    def clear(self) -> None:
        """Take the line away."""
        self._write("\r\x1b[2K")

    def tell(self, entry: ClauseReport) -> None:
        """Say that a clause turned out to be broken, terminal or not; after some of them no more is said."""
        self._told += 1
        if self._told > _MOST_TOLD + 1:
            return
        violation = entry.violations[0]
        text = f"{_SIGNS[entry.verdict]} {entry.clause.id} expected {violation.expected}, seen {violation.seen}"
        if self._told > _MOST_TOLD:
            text = "… further clauses are broken; the summary has them all"
        self.clear()
        self._stream.write(f"{_harmless(_plain(text)[: self._width - 1])}\n")
        self._stream.flush()

    def _write(self, text: str) -> None:
        if self._is_shown:
            self._stream.write(text)
            self._stream.flush()


def summary(
    report: Report,
    *,
    files: Mapping[str, str] | None = None,
    colour: bool = False,
    width: int = 80,
    annotates: bool = False,
) -> str:
    """What came of a run: what broke, what was expected and seen, how to repeat it, where the reports are.

    At most `MOST_LINES` lines, whatever broke, of 40 to 120 columns. `files` are those that were written, by format. If
    it `annotates`, GitHub Actions shows it too. Nothing that a target said can become a command of a CI runner.
    """
    written = _Summary(report, colour=colour, width=min(_WIDEST, max(_NARROWEST, width)))
    lines = [_harmless(line) for line in written.lines(files or {})]
    return "\n".join([*lines, *(annotated(report) if annotates else ())]) + "\n"


def annotated(report: Report) -> list[str]:
    """What GitHub Actions shows beside a run: one line for each cause, as many as it shows."""
    found = []
    for cause in causes(report)[:_MOST_ANNOTATED]:
        kind = "error" if cause.entry.verdict is Verdict.FAILED else "warning"
        violation = cause.entry.violations[0]
        text = _plain(f"expected {violation.expected}, seen {violation.seen}").replace("%", "%25")
        found.append(f"::{kind} title={cause.entry.clause.id}::{text[:300]}")
    return found


class _Summary:
    def __init__(self, report: Report, *, colour: bool, width: int) -> None:
        self.report = report
        self.colour = colour
        self.width = width

    def lines(self, files: Mapping[str, str]) -> list[str]:
        report, found = self.report, causes(self.report)
        end = [*self._asides(), *self._end(files)]
        table = self._table(found) if len(found) > 1 or any(cause.follow for cause in found) else []
        lines: list[str] = []
        for shown, cause in enumerate(found):
            told = [*self._cause(cause), ""]
            more = len(found) - shown
            if len(lines) + len(told) + len(table) + len(end) + 2 > MOST_LINES:
                lines += [
                    f"… and {more} more, in the table below" if shown else f"{more} broken, in the table below",
                    "",
                ]
                break
            lines += told
        return [*lines, *table, *end] if report.clauses else end

    def _asides(self) -> list[str]:
        lines = []
        for reason, ids in list(unexercised(self.report).items())[:_MOST_ASIDES]:
            lines.append(self._cut(f"- not exercised: {which(ids)}: {reason}"))
        for note in self.report.notes[:_MOST_ASIDES]:
            lines += self._wrapped(f"- {note}", 2)[:2]
        return [*lines, ""] if lines else []

    def _end(self, files: Mapping[str, str]) -> list[str]:
        report, verdict = self.report, self.report.verdict
        sign = "-" if report.interrupted else _SIGNS[verdict]
        tone = Verdict.NOT_EXERCISED if report.interrupted else verdict
        lines = [
            self._painted(tone, f"{sign} {judgement(report)}"),
            counted(report),
            extent(report),
            f"again: {again(report)}",  # whole, so that it can be pasted
        ]
        lines += [f"{form}: {path}" for form, path in files.items()]
        if broken(report) and "html" not in files:
            lines.append("add --report html=report.html for curl and pytest")
        return lines

    def _table(self, found: Sequence[Cause]) -> list[str]:
        rows = []
        for cause in found[:_MOST_ROWS]:
            entry = cause.entry
            row = (
                f"{_SIGNS[entry.verdict]} {entry.clause.id:<8} {entry.clause.source.value:<10} {entry.verdict.value:<7}"
            )
            if cause.follow:
                row += f" probably also: {', '.join(each.clause.id for each in cause.follow)}"
            rows.append(self._cut(row.rstrip()))
        if left := found[_MOST_ROWS:]:
            rows.append(self._cut(f"… and {', '.join(cause.entry.clause.id for cause in left)}"))
        return [*rows, ""]

    def _cause(self, cause: Cause) -> list[str]:
        entry = cause.entry
        violation = entry.violations[0]
        head = f"{_SIGNS[entry.verdict]} {entry.clause.id}"
        lines = self._wrapped(f"{head} {entry.clause.statement} ({entry.clause.source.value})", 2)[:2]
        lines[0] = lines[0].replace(head, self._painted(entry.verdict, head), 1)
        if entry.reason:
            lines.append(self._cut(f"  {entry.reason}"))
        lines += self._wrapped(f"  expected  {_plain(violation.expected)}", 12)[:2]
        lines += self._wrapped(f"  seen      {_plain(violation.seen)}", 12)[:2]
        if violation.exchanges:
            last = violation.failing_exchange or violation.exchanges[-1]
            text = f"  request   {unquote(str(last).partition(' ')[2])}"
            whole = text + (f"  {last.request_id}" if last.request_id else "")
            if len(_plain(whole)) > self.width and last.request_id:
                lines += [self._cut(text), self._cut(f"            {last.request_id}")]  # the logs are searched for it
            else:
                lines.append(self._cut(whole))
        if (replayed := self.report.sent_again.get(entry.clause.id)) is not None:
            lines.append(self._cut(f"  again     {replayed}"))
        more = len(entry.violations) - 1
        also = [f"{more} more of it"] if more else []
        if cause.follow:
            also.append(f"probably because of it: {', '.join(each.clause.id for each in cause.follow)}")
        if also:
            lines.append(self._cut(f"  and       {'; '.join(also)}"))
        return lines

    def _cut(self, text: str) -> str:
        plain = _plain(text)
        return plain if len(plain) <= self.width else plain[: self.width - 1].rpartition(" ")[0] + " …"

    def _wrapped(self, text: str, indent: int) -> list[str]:
        start = re.match(r"\s*", text)
        lead = start[0] if start is not None else ""
        lines = textwrap.wrap(
            _plain(text.strip()),
            self.width,
            initial_indent=lead,
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        )
        return lines or [""]

    def _painted(self, verdict: Verdict, text: str) -> str:
        return f"{_COLOURS[verdict]}{text}{_PLAIN}" if self.colour else text


def _harmless(line: str) -> str:
    """A line that no CI runner obeys: GitHub's take `::` at the start of one, others `##[` and `##vso[` anywhere."""
    return re.sub(r"##(?=\w*\[)", "# #", re.sub(r"^(\s*):(?=:)", r"\1: ", line))


def _plain(text: str) -> str:
    """A text of the target's without what would steer a terminal."""
    return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text)
