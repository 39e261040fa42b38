"""`qashier-mock selfcheck`: proof that the checker can fail, and that it accuses nobody wrongly.

Every known defect is served by a mock of its own and checked strictly; it is killed when the clause that it breaks is
reported. The correct mock is checked as well, and must not be accused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

from qashier_mock.cli import DONE, FAILED, CommandError
from qashier_mock.cli.extras import needs_contract, without_hypothesis_folder
from qashier_mock.cli.options import SEED, Flag, Option, Repeatable, parse
from qashier_mock.cli.values import duration, integer

OPTIONS: Final = (
    Repeatable(name="only", metavar="NAMES", help="just these defects, such as 'replay-*'"),
    Option(
        name="jobs",
        metavar="N",
        default=os.cpu_count() or 1,
        parse=partial(integer, at_least=1, at_most=64, what="the number of jobs"),
        help="how many are checked at the same time",
    ),
    Option(name="max-time", metavar="TIME", default=60, parse=duration, help="the most that one check takes"),
    SEED(default=1, help="what the checks draw from"),
    Flag(name="list", help="name the defects, and check nothing"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the checker said of one mock: the defect (empty for the correct mock), its clause, those that failed."""

    name: str
    clause: str
    reported: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """Whether the defect was killed by its own clause, or the correct mock was not accused."""
        return self.clause in self.reported if self.name else not self.reported


@without_hypothesis_folder()
def run(_name: str, arguments: Sequence[str]) -> int:
    """Check every defect and the correct mock; 1 if one survives or the correct one is accused."""
    options = parse("selfcheck", "Prove that the checker finds every known defect.", OPTIONS, arguments)
    needs_contract("selfcheck")
    from qashier_mock.bugs import BUGS  # noqa: PLC0415 - after --help

    chosen = [name for name in BUGS if not options.only or any(fnmatchcase(name, each) for each in options.only)]
    if not chosen:
        raise CommandError(f"no known defect is named {' or '.join(options.only)}; --list names them")
    if options.list:
        for name in chosen:
            print(f"{name} ({BUGS[name].clause}): {BUGS[name].summary}")  # noqa: T201 - a command prints
        return DONE
    outcomes = []
    for outcome in _outcomes(["", *chosen], options.jobs, float(options.max_time), options.seed):
        outcomes.append(outcome)
        if not outcome.is_right:
            print(_told(outcome), flush=True)  # noqa: T201
    defects = [outcome for outcome in outcomes if outcome.name]
    killed = sum(outcome.is_right for outcome in defects)
    accused = [outcome for outcome in outcomes if not outcome.name and not outcome.is_right]
    print(f"{killed} of {len(defects)} defects killed ({killed / len(defects):.1%}), each by its clause")  # noqa: T201
    print(f"the correct mock: {'accused' if accused else 'not accused'}")  # noqa: T201
    return DONE if killed == len(defects) and not accused else FAILED


def _told(outcome: Outcome) -> str:
    if not outcome.name:
        return f"ACCUSED the correct mock: {', '.join(outcome.reported)}"
    instead = f"reported {', '.join(outcome.reported)} instead" if outcome.reported else "nothing was reported"
    return f"SURVIVED {outcome.name} ({outcome.clause}): {instead}"


def _outcomes(names: Sequence[str], jobs: int, max_time_s: float, seed: int) -> Iterator[Outcome]:
    """As they come; each mock is checked in a process of its own, which a defect cannot take along."""
    from concurrent.futures import ProcessPoolExecutor, as_completed  # noqa: PLC0415
    from multiprocessing import get_context  # noqa: PLC0415

    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(examine, name, max_time_s, seed) for name in names]
        for task in as_completed(tasks):
            yield task.result()


def examine(name: str, max_time_s: float, seed: int) -> Outcome:
    """Serve one defect (or, for an empty name, none) and check it.

    The directed scenarios of its clause come first, up to the one that kills it; what they do not kill gets the whole
    plan and its budget, and is held to the document to the letter, as the correct mock is.
    """
    from qashier_contract import Verdict, check  # noqa: PLC0415 - in the process that checks

    from qashier_mock.app import Settings  # noqa: PLC0415
    from qashier_mock.bugs import find  # noqa: PLC0415
    from qashier_mock.server import MockServer  # noqa: PLC0415

    bug = find(name) if name else None
    for directed in (True, False) if bug else (False,):
        with MockServer(Settings(bugs=(name,) if name else ())) as mock:
            report = check(
                mock.url,
                max_time_s=max_time_s,
                seed=seed,
                strict=True,
                only=[bug.clause] if bug and directed else (),
                fail_fast=directed,
                own=not directed,
                replay=False,
                drivers=(lambda driver: driver.is_directed) if directed else None,
            )
        reported = tuple(entry.clause.id for entry in report.clauses if entry.verdict is Verdict.FAILED)
        outcome = Outcome(name, bug.clause if bug else "", reported)
        if outcome.is_right:
            break
    return outcome
