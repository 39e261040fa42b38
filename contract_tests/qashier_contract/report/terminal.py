"""What a person sees in a terminal: progress while it runs, and a summary to act on."""

from __future__ import annotations

import os
import re
import textwrap
from typing import TYPE_CHECKING, Final, Protocol, TextIO
from urllib.parse import unquote

from qashier_contract.report.facts import again, broken, counted, extent, judgement, unexercised
from qashier_contract.report.reproduce.story import Story
from qashier_contract.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from qashier_contract.verdicts import ClauseReport, Report, Violation

_NARROWEST: Final = 40
_WIDEST: Final = 120
_MOST_VIOLATIONS: Final = 1
_MOST_STEPS: Final = 8
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


def wants_colour(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether to colour what is written to a stream: a terminal, and nobody said no (`NO_COLOR`)."""
    known = os.environ if environ is None else environ
    return stream.isatty() and not known.get("NO_COLOR") and known.get("TERM") != "dumb"


class Progress(Protocol):
    """How far a run is, as `qashier_contract.Progress` tells it."""

    @property
    def driver(self) -> str: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def left_s(self) -> float: ...


class ProgressLine:
    """One line that says how far a run is, on a terminal; elsewhere nothing.

    Args:
        stream: Where it is shown, stderr as a rule: what is on stdout stays for reading.
        width: Columns.
        is_shown: Whether to show it; None: if the stream is a terminal.
    """

    def __init__(self, stream: TextIO, *, width: int = 80, is_shown: bool | None = None) -> None:
        self._stream = stream
        self._width = max(_NARROWEST, width)
        self._is_shown = stream.isatty() if is_shown is None else is_shown
        self._told = 0

    def __call__(self, progress: Progress) -> None:
        """Show how far the run is."""
        left = f"about {progress.left_s:.0f} s left" if progress.left_s < float("inf") else ""
        parts = [f"{progress.done + 1}/{progress.total} {progress.driver}", f"{progress.requests} requests", left]
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
        self._stream.write(f"{_plain(text)[: self._width - 1]}\n")
        self._stream.flush()

    def _write(self, text: str) -> None:
        if self._is_shown:
            self._stream.write(text)
            self._stream.flush()


def summary(report: Report, *, files: Mapping[str, str] | None = None, colour: bool = False, width: int = 80) -> str:
    """What came of a run: what broke, what was expected and seen, how to repeat it, where the reports are.

    Args:
        report: The report.
        files: The files that were written, by format.
        colour: Whether to use the colours of a terminal.
        width: Columns; kept between 40 and 120.
    """
    return (
        "\n".join(_Summary(report, colour=colour, width=min(_WIDEST, max(_NARROWEST, width))).lines(files or {})) + "\n"
    )


class _Summary:
    def __init__(self, report: Report, *, colour: bool, width: int) -> None:
        self.report = report
        self.colour = colour
        self.width = width

    def lines(self, files: Mapping[str, str]) -> Iterator[str]:
        report = self.report
        for entry in broken(report):
            yield from self._clause(entry)
            yield ""
        for reason, ids in unexercised(report).items():
            yield from self._wrapped(f"- not exercised, {reason}: {', '.join(ids)}", 2)
        for note in report.notes:
            yield from self._wrapped(f"- {note}", 2)
        if unexercised(report) or report.notes:
            yield ""
        verdict = report.verdict
        yield from self._wrapped(self._painted(verdict, f"{_SIGNS[verdict]} {judgement(report)}"), 2)
        yield from self._wrapped(counted(report), 2)
        yield from self._wrapped(extent(report), 2)
        yield from self._wrapped(f"again: {again(report)}", 2)
        for form, path in files.items():
            yield from self._wrapped(f"{form}: {path}", 2)

    def _clause(self, entry: ClauseReport) -> Iterator[str]:
        head = f"{_SIGNS[entry.verdict]} {entry.clause.id}"
        text = f"{head} {entry.clause.statement} ({entry.clause.source}, {entry.verdict})"
        wrapped = list(self._wrapped(text, 2))
        yield wrapped[0].replace(head, self._painted(entry.verdict, head), 1)
        yield from wrapped[1:]
        if entry.reason:
            yield from self._wrapped(f"  {entry.reason}", 2)
        for violation in entry.violations[:_MOST_VIOLATIONS]:
            yield from self._violation(violation)
        left = len(entry.violations) - _MOST_VIOLATIONS
        if left > 0:
            yield f"  and {left} more"
        yield from self._wrapped(f"  again     {again(self.report, entry.clause.id)}", 12)

    def _violation(self, violation: Violation) -> Iterator[str]:
        yield from self._wrapped(f"  expected  {_plain(violation.expected)}", 12)
        yield from self._wrapped(f"  seen      {_plain(violation.seen)}", 12)
        steps = [step for step in Story(violation, self.report.history).steps if step.moved_s is None or step.moved_s]
        for step in steps[-_MOST_STEPS:]:
            if step.moved_s is not None:
                text = f"the clock moves on by {step.moved_s} s"
            elif step.batch:
                text = f"{len(step.batch)} times {step.exchange.request.method} {step.exchange.request.path}"
            else:
                text = unquote(str(step.exchange).partition(" ")[2])
                if step.exchange.request_id and step.exchange in violation.exchanges:
                    text += f"  {step.exchange.request_id}"
            yield from self._wrapped(f"    {_plain(text)}", 6)

    def _wrapped(self, text: str, indent: int) -> Iterator[str]:
        start = re.match(r"\s*", text)
        lead = start[0] if start is not None else ""
        lines = textwrap.wrap(
            text.strip(), self.width, initial_indent=lead, subsequent_indent=" " * indent, break_on_hyphens=False
        )
        yield from lines or [""]

    def _painted(self, verdict: Verdict, text: str) -> str:
        return f"{_COLOURS[verdict]}{text}{_PLAIN}" if self.colour else text


def _plain(text: str) -> str:
    """A text of the target's without what would steer a terminal."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)
