"""How to see a violation again: what was sent again, or could be, as curl lines and as a pytest function."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from qashier_contract.addresses import is_loopback
from qashier_contract.trace.curl import curl_lines
from qashier_contract.trace.minimise import minimise, until
from qashier_contract.trace.names import ToWrite
from qashier_contract.trace.replay import seen_as
from qashier_contract.trace.script import script
from qashier_contract.trace.steps import Step, Steps
from qashier_contract.trace.units import Units

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qashier_contract.history import History
    from qashier_contract.verdicts import Report, SentAgain, Violation

_MOST_QUESTIONS: Final = 8
"""How often a clause is asked about a violation that was not sent again: a report must not take long."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """One violation, to be seen again.

    `violation` and `part` are what was seen when it was sent again and broke again, else what the run saw.
    """

    violation: Violation
    part: History
    sent_again: SentAgain | None
    curl: tuple[str, ...]
    pytest: str

    @property
    def outcome(self) -> str:
        """What came of sending it again, in words."""
        return "not sent again" if self.sent_again is None else str(self.sent_again)

    @property
    def steps(self) -> list[Step]:
        """The requests that show it, and the moves of clocks between them, those in a row as one."""
        return merged(self.part)


def reproduce(report: Report, violation: Violation) -> Reproduction:
    """How to see a violation of a report again. It is worked out once, whatever forms the report is written in."""
    place = report[violation.clause].violations.index(violation)
    again = report.sent_again.get(violation.clause) if place == 0 else None
    known = _known(report.history)
    name = (id(violation), id(again), report.target)
    if name not in known:
        known[name] = violation, _reproduced(report, violation, place, again)
    return known[name][1]


@lru_cache(maxsize=1)
def _known(_history: History) -> dict[tuple[int, int, str], tuple[Violation, Reproduction]]:
    """The reproductions of a history so far, each with its violation, which keeps its place in memory."""
    return {}


def _reproduced(report: Report, violation: Violation, place: int, again: SentAgain | None) -> Reproduction:
    entry = report[violation.clause]
    shown, part = (violation, _evidence(report, violation, place)) if again is None else (again.violation, again.part)
    judge = getattr(entry.clause.judge, "func", entry.clause.judge)  # several clauses may share a function
    name = f"test_{violation.clause.lower().replace('-', '_')}_{judge.__name__.lstrip('_')}"
    to_write = ToWrite(
        violation=shown,
        part=part,
        title=entry.clause.statement,
        target=report.target,
        makes_keys_up=is_loopback(report.target),
    )
    is_rare = again is not None and again.is_rare
    name += f"_{place + 1}" if place else ""
    source = _written(lambda: script(to_write, name=name, repeats=is_rare).splitlines())
    return Reproduction(
        violation=shown,
        part=part,
        sent_again=again,
        curl=_written(lambda: curl_lines(to_write)),
        pytest="\n".join(source) + "\n",
    )


def _written(write: Callable[[], Sequence[str]]) -> tuple[str, ...]:
    """Some lines; where they cannot be written, why: a verdict must not be lost for that."""
    try:
        return tuple(write())
    except Exception as error:  # noqa: BLE001 - whatever a target answered, the report comes out
        return (f"# this could not be written down ({type(error).__name__}: {error}); the report has the exchanges",)


def merged(part: History) -> list[Step]:
    """The steps of a part of a history, with moves of one clock in a row as one."""
    found: list[Step] = []
    arrived = [delivery.number for delivery in part.deliveries]
    for step in Steps(part).all:
        last = found[-1] if found else None
        both = last is not None and last.moved_s is not None and step.moved_s is not None
        between = last is not None and any(last.exchange.number < n < step.exchange.number for n in arrived)
        if last is not None and both and last.account == step.account and not between:
            found[-1] = Step(exchange=last.exchange, moved_s=(last.moved_s or 0) + (step.moved_s or 0))
        elif step.moved_s != 0:
            found.append(step)
    return found


def _evidence(report: Report, violation: Violation, place: int) -> History:
    """What disagrees, with all that it rests on; for the first violation of a clause also what its judge needs."""
    if place == 0 and not report.interrupted:  # who pressed Ctrl-C does not wait
        seen = seen_as(report[violation.clause].clause, violation, report.history)
        return minimise(seen, most=_MOST_QUESTIONS).history
    units = _units(report.history)
    return until(units.only(units.of(violation.exchanges, violation.deliveries)), violation)


@lru_cache(maxsize=1)
def _units(history: History) -> Units:
    return Units(history)
