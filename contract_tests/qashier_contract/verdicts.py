"""What a run concluded: the nouns of a report. Pure; the rooms in `report/` write them down."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from qashier_contract.clauses.strict import clause_of
from qashier_contract.findings import Finding
from qashier_contract.history import History
from qashier_contract.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from qashier_contract.clauses.table import Clause


class Verdict(StrEnum):
    """The outcome for a clause, and of a run."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    NOT_EXERCISED = "not exercised"


_MOST_COLLECTED: Final = 200
_MOST_SHOWN: Final = 20
"""Of the violations of one clause the shortest are shown, of as many as are collected."""
_SEVERITY: Final = (Verdict.NOT_EXERCISED, Verdict.PASSED, Verdict.WARNED, Verdict.FAILED)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of some verdicts; "not exercised" only if nothing was."""
    return max(verdicts, key=_SEVERITY.index, default=Verdict.NOT_EXERCISED)


Violation: TypeAlias = Finding
"""One way in which a target broke a clause: a finding that does not hold."""


class Result(StrEnum):
    """What came of sending a violation again."""

    BROKE_AGAIN = "sent again: broke again"
    DID_NOT = "seen once, did not break again"
    NOT_EXERCISED = "sent again, but no request reached the clause"
    NOT_SENT = "not sent again"


@dataclass(frozen=True, kw_only=True, slots=True)
class SentAgain:
    """What came of sending a violation again.

    `part` is what was observed of the fewest requests that broke the clause again, and `violation` the one that they
    show. Where none did, they are the part of the run that was tried first, and the violation that was seen there.
    `reason` says why nothing was sent, or why no more. `is_rare` says whether the same requests had to be sent several
    times.
    """

    part: History
    violation: Violation
    result: Result
    tries: int = 0
    reason: str | None = None
    is_rare: bool = False

    def __str__(self) -> str:
        if self.result is Result.BROKE_AGAIN:
            return self.result.value
        if self.result is Result.NOT_SENT:
            return f"{self.result}: {self.reason}" if self.reason else self.result.value
        times = "1 try" if self.tries == 1 else f"{self.tries} tries"
        return f"{self.result} in {times}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True, slots=True)
class ClauseReport:
    """The outcome for one clause.

    `violations` are the shortest of those that were collected, and `further` the others, which no report shows.
    `reason` says why it was not exercised.
    """

    clause: Clause
    verdict: Verdict
    exercised: int = 0
    violations: tuple[Violation, ...] = ()
    reason: str | None = None
    further: tuple[Violation, ...] = ()

    @property
    def collected(self) -> tuple[Violation, ...]:
        return (*self.violations, *self.further)

    @property
    def is_all(self) -> bool:
        """Whether every violation was collected: judging a clause stops after `_MOST_COLLECTED`."""
        return len(self.violations) + len(self.further) < _MOST_COLLECTED


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run."""

    target: str
    seed: int | None
    """What the requests were drawn from; None where none was sent."""
    clauses: tuple[ClauseReport, ...]
    requests: int = 0
    duration_s: float = 0.0
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    """What a reader should know: a limited account, others in it, what was left behind."""
    history: History = field(default_factory=History)
    sent_again: Mapping[str, SentAgain] = field(default_factory=dict)
    """What came of sending the first violation of a clause again, by the clause's id."""
    crashes: tuple[str, ...] = ()
    """Scenarios that could not go on, by a mistake of the checker's."""
    first_violation_s: float | None = None
    """After how many seconds the first failure was known; None if no clause failed."""
    command: tuple[str, ...] = ()
    """The words of the command that gives this report again; empty for `check` with the target and the seed."""

    @property
    def verdict(self) -> Verdict:
        return worst(entry.verdict for entry in self.clauses)

    @property
    def violations(self) -> tuple[Violation, ...]:
        return tuple(violation for entry in self.clauses for violation in entry.violations)

    @property
    def matrix(self) -> Mapping[str, Mapping[int, int]]:
        """How often each status of an answer was seen for each operation of the API."""
        counts: dict[str, Counter[int]] = {}
        for exchange in self.history.exchanges:
            if exchange.operation.is_api and exchange.status is not None:
                counts.setdefault(exchange.operation.value, Counter())[exchange.status] += 1
        return counts

    @property
    def visited(self) -> Mapping[str, Mapping[str, int]]:
        """How often each operation on a session met it open, complete or expired, as far as that is known."""
        ledger = Ledger(self.history)
        counts: dict[str, Counter[str]] = {}
        for observed in ledger.sessions.values():
            for exchange in (*observed.reads, *observed.writes):
                state = ledger.state_before(observed, exchange)
                if state is not None:
                    counts.setdefault(exchange.operation.value, Counter())[state.status] += 1
        return counts

    def __getitem__(self, identifier: str) -> ClauseReport:
        return next(entry for entry in self.clauses if entry.clause.id == identifier)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        driver: What is done now.
        done: How many drivers of the plan are done, of `total`.
        requests: How many requests were sent.
        left_s: Seconds until the end, going by the pace so far; never more than the budget leaves.
    """

    driver: str
    done: int
    total: int
    requests: int
    left_s: float


def judge(
    history: History,
    clauses: Iterable[Clause],
    *,
    strict: bool = False,
    reasons: Mapping[str, str] | None = None,
    failed_checks: Sequence[Finding] = (),
    until_ns: int | None = None,
) -> tuple[ClauseReport, ...]:
    """Judge a history by some clauses.

    Args:
        history: What was observed.
        clauses: By which clauses.
        strict: Whether an assumed clause that is broken fails, instead of being warned about.
        reasons: Why a clause may not have been exercised, by its id: skipped, out of time.
        failed_checks: Where our own mock left the strict document, each about a check of Schemathesis.
        until_ns: When to stop, on the monotonic clock. The clauses that are left are not exercised: out of time, if
            no other reason is known.
    """
    failed = [(each, each.failing_exchange) for each in failed_checks]
    strict_violations = [replace(one, clause=clause_of(one.about, exchange)) for one, exchange in failed if exchange]
    ledger = Ledger(history)
    return tuple(
        ClauseReport(clause, Verdict.NOT_EXERCISED, reason=(reasons or {}).get(clause.id, "out of time"))
        if until_ns is not None and time.monotonic_ns() >= until_ns
        else _judge(
            ledger,
            clause,
            [violation for violation in strict_violations if violation.clause == clause.id],
            strict=strict,
            reasons=reasons or {},
        )
        for clause in clauses
    )


def _judge(
    ledger: Ledger,
    clause: Clause,
    strict_violations: Sequence[Violation],
    *,
    strict: bool,
    reasons: Mapping[str, str],
) -> ClauseReport:
    exercised, broken = clause.findings(ledger, most=_MOST_COLLECTED)
    if broken or strict_violations:
        verdict = Verdict.WARNED if clause.source == "assumed" and not strict else Verdict.FAILED
        found = [*broken, *strict_violations]
        # What shows without a receiver of webhooks is easier to see again.
        found.sort(key=lambda violation: (bool(violation.deliveries), len(violation.exchanges)))
        shown, further = tuple(found[:_MOST_SHOWN]), tuple(found[_MOST_SHOWN:])
        return ClauseReport(clause, verdict, exercised + len(strict_violations), shown, further=further)
    if exercised:
        return ClauseReport(clause, Verdict.PASSED, exercised)
    lacks = [need.lack for need in sorted(clause.needs - ledger.history.terms.capabilities)]
    reason = reasons.get(clause.id) or ", ".join(lacks) or "no request reached it"
    return ClauseReport(clause, Verdict.NOT_EXERCISED, reason=reason)


def broken_by(history: History, clauses: Iterable[Clause]) -> tuple[str, ...]:
    """The ids of those clauses that a history breaks, in their order."""
    ledger = Ledger(history)
    return tuple(clause.id for clause in clauses if clause.findings(ledger, most=1)[1])
