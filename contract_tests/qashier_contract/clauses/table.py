"""How a clause is written down: `@clause(id, source=…)` over a function that reads a ledger.

Such a function yields once for every observation that the clause has something to say about: a finding, which holds or
does not, or `KEPT`. It never sends anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeAlias

from qashier_contract.findings import Finding
from qashier_contract.history import Capability
from qashier_contract.ledger import Ledger


class Source(StrEnum):
    """Where a clause comes from, which decides what a violation is."""

    DOCUMENTED = "documented"
    """Stated by the reference documentation: a violation is a failure."""
    PUBLIC = "public"
    """Stated by Qashier's public pages, or seen in a working client: a violation is a failure."""
    IMPLIED = "implied"
    """Nobody wrote it down, and no payment API may break it: nothing is paid twice, nothing crashes. A failure."""
    ASSUMED = "assumed"
    """By necessity, or by analogy with APIs that this one mirrors: a violation is a warning, a failure when strict."""


DOCUMENTED: Final = Source.DOCUMENTED
PUBLIC: Final = Source.PUBLIC
IMPLIED: Final = Source.IMPLIED
ASSUMED: Final = Source.ASSUMED


Observation: TypeAlias = Finding | None
KEPT: Final = None
"""An observation that keeps a clause, where there is no place to point at."""
Findings: TypeAlias = Iterator[Observation]
Judge: TypeAlias = Callable[[Ledger], Findings]


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of the contract. `needs` lists what a target must allow before it can be exercised at all."""

    id: str
    source: Source
    statement: str
    judge: Judge
    needs: frozenset[Capability]

    @property
    def group(self) -> str:
        return self.id.partition("-")[0]

    @property
    def number(self) -> int:
        return int(self.id.partition("-")[2])

    def findings(self, ledger: Ledger, *, most: int = 20) -> tuple[int, tuple[Finding, ...]]:
        """How many observations the clause was exercised by, and at most `most` of those that broke it."""
        exercised, violations = 0, list[Finding]()
        for finding in self.judge(ledger):
            exercised += 1
            if finding is not None and not finding.holds:
                violations.append(replace(finding, clause=self.id))
                if len(violations) >= most:
                    break
        return exercised, tuple(violations)


_written: dict[str, Clause] = {}


def clause(
    identifier: str, statement: str, *, source: Source, needs: tuple[Capability, ...] = ()
) -> Callable[[Judge], Judge]:
    """Enter a function in the contract.

    The statement is an argument rather than a docstring: `python -OO` drops those.

    Args:
        identifier: The clause id, such as `CRE-7`.
        statement: What it demands, in whole sentences.
        source: Where the clause comes from.
        needs: What a target must allow before the clause can be exercised.
    """

    def enter(judge: Judge) -> Judge:
        if identifier in _written:
            raise ValueError(f"{identifier} is written down twice")
        _written[identifier] = Clause(identifier, source, statement, judge, frozenset(needs))
        return judge

    return enter


def written() -> Collection[Clause]:
    """The clauses that were entered so far."""
    return _written.values()
