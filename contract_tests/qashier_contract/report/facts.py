"""What every form of a report says: counts, groups, and how to run the check again."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from qashier_contract.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from qashier_contract.verdicts import ClauseReport, Report, Violation

TITLES: Final[Mapping[str, str]] = {
    "AUTH": "who is asking",
    "HTTP": "every request",
    "CRE": "creating a session",
    "AMT": "money",
    "RET": "retrieving a session",
    "LIS": "listing sessions",
    "EXP": "expiring",
    "PAY": "paying",
    "CON": "at the same time",
    "EVT": "webhooks",
    "IDM": "idempotency of both POSTs",
}
"""What each group of clauses is about."""

_Key = TypeVar("_Key", str, int)
_MOST_IDS: Final = 8
WORST_FIRST: Final = (Verdict.FAILED, Verdict.WARNED, Verdict.NOT_EXERCISED, Verdict.PASSED)


def counts(entries: Iterable[ClauseReport]) -> Mapping[Verdict, int]:
    """How many of some clauses have each verdict, the worst first; every verdict is there."""
    found = Counter(entry.verdict for entry in entries)
    return {verdict: found[verdict] for verdict in WORST_FIRST}


def counted(report: Report) -> str:
    """The counts in words: `2 failed, 1 warned, 70 passed`."""
    shown = [f"{count} {verdict}" for verdict, count in counts(report.clauses).items() if count]
    return ", ".join(shown) or "no clause"


@dataclass(frozen=True, slots=True)
class Table:
    """What was visited, as a table: how often, by what a row and a column say."""

    title: str
    corner: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[int]]]


def tables(report: Report) -> Sequence[Table]:
    """What was visited, in tables; without those that would be empty."""
    visited = _table("How often each operation met a session of each status", "on a session that was", report.visited)
    answers = _table("How often each operation was answered with each HTTP status", "answered with", report.matrix)
    return [table for table in (visited, answers) if table.rows]


def _table(title: str, corner: str, found: Mapping[str, Mapping[_Key, int]]) -> Table:
    columns = sorted({column for row in found.values() for column in row}, key=str)
    rows = [(name, [row.get(column, 0) for column in columns]) for name, row in found.items()]
    return Table(title, corner, [str(column) for column in columns], rows)


def groups(report: Report) -> Mapping[str, tuple[ClauseReport, ...]]:
    """The clauses by group, in the order of the contract."""
    found: dict[str, list[ClauseReport]] = {}
    for entry in report.clauses:
        found.setdefault(entry.clause.group, []).append(entry)
    return {name: tuple(entries) for name, entries in found.items()}


def broken(report: Report) -> tuple[ClauseReport, ...]:
    """The clauses that failed, then those that only warn."""
    bad = [entry for entry in report.clauses if entry.verdict in {Verdict.FAILED, Verdict.WARNED}]
    return tuple(sorted(bad, key=lambda entry: WORST_FIRST.index(entry.verdict)))


def unexercised(report: Report) -> Mapping[str, tuple[str, ...]]:
    """The clauses that were not exercised, by the reason."""
    found: dict[str, list[str]] = {}
    for entry in report.clauses:
        if entry.verdict is Verdict.NOT_EXERCISED:
            found.setdefault(entry.reason or "nothing touched it", []).append(entry.clause.id)
    return {reason: tuple(ids) for reason, ids in found.items()}


def which(ids: Sequence[str]) -> str:
    """Some clauses, named; many are counted."""
    return ", ".join(ids) if len(ids) <= _MOST_IDS else f"{len(ids)} clauses"


def again(report: Report, *clauses: str) -> str:
    """The command that repeats a run, or just what some clauses need of it: one line, quoted for the shell."""
    words = list(report.command or ("qashier-mock", "check", report.target, "--seed", str(report.seed)))
    if clauses:
        words = list(_without(words, "--only", "--skip"))
        for clause in clauses:
            words += ["--only", clause]
    if "--strict" not in words and _failed_only_as_strict(report):
        words.append("--strict")
    return shlex.join(words)


def _without(words: Sequence[str], *options: str) -> Iterator[str]:
    """Some words of a command line, without these options and their values."""
    left = iter(words)
    for word in left:
        if word in options:
            next(left, None)
        else:
            yield word


def _failed_only_as_strict(report: Report) -> bool:
    """Whether an assumed clause failed instead of warning: only a strict run lets it."""
    return any(e.verdict is Verdict.FAILED and e.clause.source.value == "assumed" for e in report.clauses)


def extent(report: Report) -> str:
    """How much was seen, of which target, and from which seed it was drawn."""
    seed = "" if report.seed is None else f", seed {report.seed}"
    return f"{report.target}{seed}, {report.requests} requests in {duration(report.duration_s)}"


def duration(seconds: float) -> str:
    """A duration as people read it: `0.8 s`, `1 min 5 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def judgement(report: Report) -> str:
    """The verdict of a run in a sentence."""
    if report.interrupted:
        return "Interrupted before it was done."
    if report.verdict is not Verdict.WARNED:
        return {
            Verdict.FAILED: "This target breaks the contract.",
            Verdict.PASSED: "This target keeps the contract, as far as it was checked.",
            Verdict.NOT_EXERCISED: "Nothing was tested.",
        }[report.verdict]
    warned = [entry for entry in report.clauses if entry.verdict is Verdict.WARNED]
    known = sum((entry.reason or "").startswith("known ") for entry in warned)
    new = len(warned) - known
    parts = ["Passed"]
    if known:
        parts.append(f"with {_number(known, 'known violation')} that the baseline accepts for now")
    if new:
        parts.append(f"with {_number(new, 'warning')}")
    hint = " --strict turns warnings into failures." if new else ""
    return f"{parts[0]} {' and '.join(parts[1:])}.{hint}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


@dataclass(frozen=True, slots=True)
class Cause:
    """A broken clause, and those that probably are broken because of it."""

    entry: ClauseReport
    follow: tuple[ClauseReport, ...] = ()


def causes(report: Report) -> tuple[Cause, ...]:
    """The broken clauses, each below the one that it probably follows from; failures before warnings.

    A clause follows from another one if its evidence holds the failing exchange of the other's, and has more besides,
    or if it is about the other's failing place in the same answer. Where that is so both ways, the one that failed
    first is the cause; of two that failed at once, the first in the contract.
    """
    entries = broken(report)
    places = {entry.clause.id: place for place, entry in enumerate(report.clauses)}
    above: dict[str, str] = {}
    for entry in entries:
        for other in entries:
            is_cause = other.clause.id not in above and _root(other.clause.id, above) != entry.clause.id
            before, after = ((_first_failure(one), places[one.clause.id]) for one in (other, entry))
            is_later = not _follows(other, entry) or before < after
            if other is not entry and is_cause and is_later and _follows(entry, other):
                above[entry.clause.id] = other.clause.id
                break
    return tuple(
        Cause(entry, tuple(e for e in entries if e is not entry and _root(e.clause.id, above) == entry.clause.id))
        for entry in entries
        if entry.clause.id not in above
    )


def _root(identifier: str, above: Mapping[str, str]) -> str:
    while identifier in above:
        identifier = above[identifier]
    return identifier


def _follows(entry: ClauseReport, other: ClauseReport) -> bool:
    failing = {_failing(violation) for violation in other.violations} - {None}
    if any(
        failing & {exchange.number for exchange in violation.exchanges} - {_failing(violation)}
        for violation in entry.violations
    ):
        return True
    failing_places = {place for violation in other.violations for place in _places(violation)[:1]}
    return any(not failing_places.isdisjoint(_places(violation)) for violation in entry.violations)


def _places(violation: Violation) -> list[tuple[int, str]]:
    """The places in answers that a violation is about, the failing one first."""
    return [(at.exchange.number, at.stable_name) for at in violation.finding.places if at.exchange is not None]


def _failing(violation: Violation) -> int | None:
    """The number of the exchange at which a violation shows."""
    shown = violation.failing_exchange or next(reversed(violation.exchanges), None)
    return None if shown is None else shown.number


def _first_failure(entry: ClauseReport) -> int:
    return min((number for violation in entry.violations if (number := _failing(violation))), default=0)
