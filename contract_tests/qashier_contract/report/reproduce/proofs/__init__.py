"""What a test asserts to show that a clause is broken, clause by clause.

Written from the contract in terms of the replies of a story, not from what a clause happened to find: the same lines
have to hold on every implementation that keeps the clause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qashier_contract.report.reproduce.proofs import creating, ending, keys, reading, requests, telling
from qashier_contract.report.reproduce.proofs.reading import needs_older
from qashier_contract.report.reproduce.proofs.table import refused, succeeds, written

if TYPE_CHECKING:
    from qashier_contract.report.reproduce.naming import Naming

MODULES = (requests, creating, reading, ending, keys, telling)
"""Where proofs are written down; importing them enters them."""


def prove(naming: Naming) -> list[str]:
    """The assertions for a story. Where no proof fits, the guilty answer must not be what was seen."""
    found = written().get(naming.story.clause)
    lines = found(naming) if found is not None else []
    return lines or _otherwise(naming)


def provable() -> frozenset[str]:
    """The clauses that have a proof of their own."""
    return frozenset(written())


def _otherwise(naming: Naming) -> list[str]:
    guilty = naming.story.guilty
    if guilty is None:
        return ["assert delivered(hook1, 1)"]
    if guilty.reply is None:
        return [f"assert {naming.reply(guilty)}.status_code"]
    if guilty.refused or not guilty.succeeded:
        return [succeeds(naming, guilty)]
    return [refused(naming, guilty)]


__all__ = ["needs_older", "provable", "prove"]
