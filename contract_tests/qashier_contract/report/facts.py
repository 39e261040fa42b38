"""What every form of a report says: counts, groups, and how to run the check again."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Final

from qashier_contract.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qashier_contract.verdicts import ClauseReport, Report

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

WORST_FIRST: Final = (Verdict.FAILED, Verdict.WARNED, Verdict.NOT_EXERCISED, Verdict.PASSED)


def counts(report: Report) -> Mapping[Verdict, int]:
    """How many clauses have each verdict, the worst first; every verdict is there."""
    found = Counter(entry.verdict for entry in report.clauses)
    return {verdict: found[verdict] for verdict in WORST_FIRST}


def counted(report: Report) -> str:
    """The counts in words: `2 failed, 1 warned, 70 passed`."""
    shown = [f"{count} {verdict}" for verdict, count in counts(report).items() if count]
    return ", ".join(shown) or "no clause"


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


def is_strict(report: Report) -> bool:
    """Whether an assumed clause failed instead of warning: only a strict run lets it."""
    return any(e.verdict is Verdict.FAILED and e.clause.source.value == "assumed" for e in report.clauses)


def again(report: Report, *clauses: str) -> str:
    """The command that repeats a run, or just what some clauses need of it."""
    words = list(report.command or ("qashier-mock", "check", report.target, "--seed", str(report.seed)))
    for clause in clauses:
        words += ["--only", clause]
    if is_strict(report):
        words.append("--strict")
    return shlex.join(words)


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
    return {
        Verdict.FAILED: "This target breaks the contract.",
        Verdict.WARNED: "No clause failed, but some assumptions do not hold.",
        Verdict.PASSED: "This target keeps the contract, as far as it was checked.",
        Verdict.NOT_EXERCISED: "Nothing was tested.",
    }[report.verdict]
