"""Measure which driver exercises which clause: what `make plan` runs.

Each driver runs alone against a fresh mock. A clause counts where it judged more than it judges when no driver runs.
The result stands in `drive/plan.txt`, where the checker reads which drivers an `--only` needs.

    python tools/measure_plan.py           measure all drivers and write the file
    python tools/measure_plan.py --check   measure those that always send the same; exit 1 if the file says otherwise
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from qashier_contract import check
from qashier_contract.drive import Driver
from qashier_contract.drive.plan import every_driver, measured

from qashier_mock import MockServer

PLAN: Final = Path(__file__).parent.parent / "contract_tests" / "qashier_contract" / "drive" / "plan.txt"
SEED: Final = 1
# Seconds for one driver: what draws its requests goes on until they are spent.
BUDGET_S: Final = 20.0
# How often a race is measured again: what it exercises each time counts.
RACES: Final = 5
HEADING: Final = """\
# Which driver exercises which clause: measured, not written by hand. Renew it with `make plan`.
"""


def judged(url: str, chosen: Callable[[Driver], bool], keys: tuple[str, ...] = ()) -> Mapping[str, int]:
    """How many observations each clause judged in a run of some drivers."""
    report = check(url, seed=SEED, max_time_s=BUDGET_S, drivers=chosen, keys=keys, only=[])
    return {entry.clause.id: entry.exercised for entry in report.clauses}


@cache
def judged_without(url: str, after: str, keys: tuple[str, ...]) -> Mapping[str, int]:
    """What each clause judged where no driver runs but the one whose work is gone on with, if there is such a one."""
    return judged(url, lambda other: other.name == after, keys)


def measure(url: str, driver: Driver) -> tuple[str, ...]:
    """The clauses that a driver exercises, in the order of the contract."""
    # Stories in accounts of their own are taken out of the record again; in accounts that were given they stay.
    keys = () if driver.is_directed else (f"sk_test_plan_{len(driver.name)}_a", f"sk_test_plan_{len(driver.name)}_b")
    without = judged_without(url, driver.after, keys)
    found = judged(url, lambda other: other.name in {driver.name, driver.after}, keys)
    return tuple(clause for clause, count in found.items() if count > without[clause])


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure which driver exercises which clause.")
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    options = parser.parse_args()
    rows: dict[str, tuple[str, ...]] = {}
    differing = []
    with MockServer() as mock:
        for driver in every_driver():
            if options.check and (driver.races or not driver.is_directed):
                continue
            rows[driver.name] = measure(mock.url, driver)
            for _ in range(RACES if driver.races else 0):
                again = measure(mock.url, driver)
                rows[driver.name] = tuple(clause for clause in rows[driver.name] if clause in again)
            if options.check and frozenset(rows[driver.name]) != measured().get(driver.name):
                differing.append(driver.name)
    if options.check:
        stale = sorted(measured().keys() - {driver.name for driver in every_driver()})
        for name in differing + stale:
            print(f"{name}: plan.txt does not say what was measured; run `make plan`", file=sys.stderr)
        return 1 if differing or stale else 0
    PLAN.write_text(HEADING + "".join(f"{name}: {' '.join(clauses)}\n" for name, clauses in rows.items()), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
