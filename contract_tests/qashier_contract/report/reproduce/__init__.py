"""How to see a violation again: the shortest sequence of requests, as curl lines and as a pytest function.

Both stand on their own, read the target and the key from the environment (`QASHIER_URL`, `QASHIER_API_KEY`, for a
second account `QASHIER_API_KEY_2`), and never hold a secret. The function fails where the clause is broken and passes
where it is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from qashier_contract.report.reproduce.function import Function
from qashier_contract.report.reproduce.naming import Naming
from qashier_contract.report.reproduce.shell import Shell
from qashier_contract.report.reproduce.story import Story

if TYPE_CHECKING:
    from qashier_contract.verdicts import Report, Violation


@dataclass(frozen=True, slots=True)
class Reproduction:
    """One violation, to be seen again: lines for a shell, and the source of a pytest function."""

    curl: tuple[str, ...]
    pytest: str


def reproduce(report: Report, violation: Violation) -> Reproduction:
    """The shortest sequence of requests that shows a violation again.

    Args:
        report: The report that holds it.
        violation: The violation.
    """
    try:
        return _written(report, violation)
    except Exception as error:  # noqa: BLE001 - a verdict must not be lost because its story is hard to tell
        told = f"# could not be written down ({type(error).__name__}: {error}); the exchanges of the report show it"
        return Reproduction((told,), told + "\n")


def _written(report: Report, violation: Violation) -> Reproduction:
    entry = report[violation.clause]
    place = entry.violations.index(violation)
    name = f"test_{violation.clause.lower().replace('-', '_')}_{entry.clause.judge.__name__}"
    if place:
        name += f"_{place + 1}"
    story = Story(violation, report.history)
    local = _is_this_machine(report.target)
    function = Function(Naming(story), name=name, title=entry.clause.statement, target=report.target, is_local=local)
    shell = Shell(story, title=entry.clause.statement, target=report.target, is_local=local)
    return Reproduction(shell.lines(), function.render())


def _is_this_machine(url: str) -> bool:
    """Whether a URL names this machine, where a key may be made up."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")
