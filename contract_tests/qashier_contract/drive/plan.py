"""The plan: which drivers run, in which order.

Breadth comes before depth, so that a short budget still exercises every clause that the target allows. Then come the
larger steps, the shortest first, so that one that is cut off is one of few; what is drawn at random comes last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final

from qashier_contract.drive import Driver, Stage
from qashier_contract.errors import CheckError
from qashier_contract.history import Capability

_NEARLY: Final = 0.9
_HARSH_TURN: Final = 100
"""What may bring a target down has its turn after the steps of fewer requests than this."""
_SNAPSHOT: Final = Path(__file__).with_name("plan.txt")
MODULES: Final = (
    "qashier_contract.drive.scenarios.auth",
    "qashier_contract.drive.scenarios.http",
    "qashier_contract.drive.scenarios.refused",
    "qashier_contract.drive.scenarios.accepted",
    "qashier_contract.drive.scenarios.idempotency",
    "qashier_contract.drive.scenarios.ending",
    "qashier_contract.drive.scenarios.listing",
    "qashier_contract.drive.pages",
    "qashier_contract.drive.concurrency",
    "qashier_contract.drive.expiry",
    "qashier_contract.drive.lifecycle",
    "qashier_contract.drive.webhooks",
    "qashier_contract.drive.hostile",
    "qashier_contract.drive.conformance",
)
"""The modules that hold drivers, in the order of the plan. They are imported when a plan is made, so that what only
some of them need is not loaded before."""


def selected(identifiers: Iterable[str], only: Sequence[str] = (), skip: Sequence[str] = ()) -> list[str]:
    """The clause ids that patterns such as `LIS-*` choose, whatever their case. An empty `only` chooses all.

    Raises:
        CheckError: A pattern matches no clause, or none is left; the message names the nearest id.
    """
    known = list(identifiers)
    for option, patterns in (("--only", only), ("--skip", skip)):
        for pattern in patterns:
            if not any(_matches(identifier, pattern) for identifier in known):
                near = get_close_matches(pattern.upper(), known, n=1, cutoff=0.3)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise CheckError(f"{option} {pattern} matches no clause{hint}")
    chosen = [
        identifier
        for identifier in known
        if (not only or any(_matches(identifier, pattern) for pattern in only))
        and not any(_matches(identifier, pattern) for pattern in skip)
    ]
    if not chosen:
        raise CheckError("no clause is left to check: look at --only and --skip")
    return chosen


def _matches(identifier: str, pattern: str) -> bool:
    return fnmatchcase(identifier, pattern.upper())


def every_driver() -> list[Driver]:
    """All drivers, in the order of the plan: by stage, and within one as the modules define them or by their length."""
    modules = map(import_module, MODULES)
    drivers = [each for module in modules for each in vars(module).values() if isinstance(each, Driver)]
    return sorted(drivers, key=_turn)


def _turn(driver: Driver) -> tuple[Stage, int]:
    if driver.stage is Stage.HARSH:
        return Stage.DEPTH, max(driver.requests, _HARSH_TURN)
    return driver.stage, driver.requests if driver.stage is Stage.DEPTH else 0


@cache
def measured() -> Mapping[str, frozenset[str]]:
    """The clauses that each driver exercised when it was last measured, by the driver's name (`plan.txt`)."""
    rows = (line.partition(":") for line in _SNAPSHOT.read_text("utf-8").splitlines() if not line.startswith("#"))
    return {name: frozenset(clauses.split()) for name, _, clauses in rows}


def exercised_by(driver: Driver) -> frozenset[str]:
    """The clauses that a driver exercises: none, if it was not measured yet."""
    return measured().get(driver.name, frozenset())


def plan(clauses: Iterable[str], capabilities: frozenset[Capability]) -> list[Driver]:
    """The drivers that exercise some of these clauses, and need nothing that the target lacks.

    A driver that was not measured yet always has its turn: nobody knows what would be missed. Where nothing is wanted
    but what every request exercises, the harsh drivers come early: they are the ones that it may break on.
    """
    wanted = set(clauses)
    possible = [driver for driver in every_driver() if driver.needs <= capabilities]
    chosen = {driver.name for driver in possible if driver.name not in measured() or wanted & exercised_by(driver)}
    chosen |= {driver.after for driver in possible if driver.name in chosen}
    steps = [driver for driver in possible if driver.name in chosen]
    if wanted <= _exercised_everywhere():
        steps.sort(key=lambda each: Stage.FIRST if each.stage is Stage.HARSH and each.is_directed else each.stage)
    return steps


def _exercised_everywhere() -> set[str]:
    """The clauses that any request exercises, as nearly every driver shows."""
    rows = measured().values()
    counts = Counter(clause for row in rows for clause in row)
    return {clause for clause, count in counts.items() if count > _NEARLY * len(rows)}
