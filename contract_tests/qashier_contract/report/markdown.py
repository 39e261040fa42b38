"""The report as Markdown, fit for a job summary of GitHub Actions or a merge request of GitLab."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from qashier_contract.report import facts
from qashier_contract.report.reproduction import reproduce
from qashier_contract.verdicts import Verdict, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from qashier_contract.report.facts import Cause
    from qashier_contract.verdicts import Report

MARKS: Final = {Verdict.FAILED: "❌", Verdict.WARNED: "⚠️", Verdict.PASSED: "✅", Verdict.NOT_EXERCISED: "⚪"}
_NO_TEXT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MOST_BYTES: Final = 60_000
"""GitHub shows about 65 kB well; what comes after this is left out, and said to be."""
_MOST_OF_ONE: Final = 9_000
"""How much one cause may take; a longer one is shown without what reproduces it."""


def render(report: Report) -> str:
    """The report as Markdown."""
    text = "\n".join(_head(report)) + "\n"
    tail = "\n".join(_tail(report)) + "\n"
    left_out: list[str] = []
    for cause in facts.causes(report):
        block = "\n".join(_broken(report, cause)) + "\n"
        if _bytes(block) > _MOST_OF_ONE:
            block = "\n".join(_broken(report, cause, reproduces=False)) + "\n"
        if left_out or _bytes(text + block + tail) > _MOST_BYTES:
            left_out.append(cause.entry.clause.id)
        else:
            text += block
    if left_out:
        text += f"\nToo long to show here: {', '.join(left_out)}. The HTML and JSON reports have them.\n\n"
    return text + tail


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _head(report: Report) -> Iterator[str]:
    yield f"## {MARKS[report.verdict]} {facts.judgement(report)}"
    yield ""
    yield f"{_code(report.target)}{facts.extent(report).removeprefix(report.target)}."
    yield ""
    for note in report.notes:
        yield f"> {_escaped(note)}"
        yield ""
    yield from _table(
        ("", "group", *facts.WORST_FIRST),
        2,
        [
            (
                MARKS[worst(entry.verdict for entry in entries)],
                f"{name}: {facts.TITLES.get(name, name)}",
                *facts.counts(entries).values(),
            )
            for name, entries in facts.groups(report).items()
        ],
    )


def _broken(report: Report, cause: Cause, *, reproduces: bool = True) -> Iterator[str]:
    entry = cause.entry
    yield f"### {MARKS[entry.verdict]} {entry.clause.id} {entry.verdict}"
    yield ""
    yield f"{_inline(entry.clause.statement)} *({entry.clause.source})*"
    yield ""
    if entry.reason:
        yield f"> {_escaped(entry.reason)}"
        yield ""
    violation = entry.violations[0]
    yield f"- **expected** {_escaped(violation.expected)}"
    yield f"- **seen** {_escaped(violation.seen)}"
    if violation.request_ids:
        yield f"- **request ids** {', '.join(_code(each) for each in violation.request_ids)}"
    if len(entry.violations) > 1:
        yield f"- and {len(entry.violations) - 1} more of this clause"
    if cause.follow:
        yield f"- probably because of it: {', '.join(each.clause.id for each in cause.follow)}"
    yield ""
    if reproduces:
        reproduction = reproduce(report, violation)
        yield f"*{_escaped(reproduction.outcome)}*"
        yield ""
        yield from _folded("curl", "sh", "\n".join(reproduction.curl))
        yield from _folded("pytest", "python", reproduction.pytest)
    yield f"Again: {_code(facts.again(report, entry.clause.id))}"
    yield ""


def _folded(title: str, language: str, text: str) -> Iterator[str]:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    yield f"<details><summary>{title}</summary>"
    yield ""
    yield f"{fence}{language}"
    yield _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text.rstrip("\n"))
    yield fence
    yield ""
    yield "</details>"
    yield ""


def _tail(report: Report) -> Iterator[str]:
    reasons = facts.unexercised(report)
    if reasons:
        yield "### Not exercised"
        yield ""
        for reason, ids in reasons.items():
            yield f"- {_escaped(reason)}: {facts.which(ids)}"
        yield ""
    yield "<details><summary>What was visited</summary>"
    yield ""
    for table in facts.tables(report):
        yield from _table((table.corner, *table.columns), 1, [(name, *cells) for name, cells in table.rows])
    yield "</details>"
    yield ""
    yield f"Again: {_code(facts.again(report))}"


def _table(head: Sequence[str], words: int, rows: Iterable[Sequence[str | int]]) -> Iterator[str]:
    """A table whose first columns are words and the others numbers."""
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * words + "---:|" * (len(head) - words)
    for row in rows:
        yield f"| {' | '.join(str(cell or '') for cell in row)} |"
    yield ""


def _inline(text: str) -> str:
    """A text of ours in a line of Markdown: nothing in it is markup, but for its code spans."""
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
    return "".join(_code(part[1:-1]) if place % 2 else _escaped(part) for place, part in enumerate(parts))


def _escaped(text: str) -> str:
    """A text of the target's in a line of Markdown: nothing in it is markup."""
    plain = _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", re.sub(r"\s+", " ", text))
    shown = re.sub(r"([\\`*_\[\]|~#>])", r"\\\1", plain)
    return shown.replace("&", "&amp;").replace("<", "&lt;")


def _code(text: str) -> str:
    """A code span that nothing in the text can end: its fence is longer than any run of backticks in it."""
    plain = _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", plain)), default=0))
    return f"{fence} {plain} {fence}" if "`" in plain or not plain else f"{fence}{plain}{fence}"
