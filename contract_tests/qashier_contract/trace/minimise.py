"""Leaving out what a violation does not need, by asking what found it. Sends nothing.

This is delta debugging: larger parts are tried first, then smaller ones. The exchanges that disagree always stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from qashier_contract.history import History
from qashier_contract.trace.units import Units
from qashier_contract.verdicts import Violation

Breaks: TypeAlias = "Callable[[AbstractSet[int]], bool]"
"""Whether some units alone show the violation: judged as they were seen, or sent again."""
_MOST_QUESTIONS: Final = 60
"""How often the judge is asked before the smallest part so far is taken."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A violation as it was seen, and where. `breaks` says whether a part of the history shows the same one."""

    history: History
    violation: Violation
    breaks: Callable[[History], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Minimised:
    """A history cut into units, those that show a violation, and those that name what disagrees, by their places."""

    seen: Seen
    units: Units
    places: frozenset[int]
    evidence: frozenset[int]

    @property
    def history(self) -> History:
        """What is left: nothing that came after what disagrees, unless that is needed to show it."""
        return self.units.only(self.places)


def minimise(seen: Seen, *, most: int = _MOST_QUESTIONS) -> Minimised:
    """The fewest units found that still show a violation to whoever judged it. What disagrees stays.

    At most `most` parts of the history are judged.
    """
    units = Units(until(seen.history, seen.violation))
    if not seen.breaks(units.history):
        units = Units(seen.history)
    evidence = units.of(seen.violation.exchanges, seen.violation.deliveries)
    asked = 1

    def is_shown(places: AbstractSet[int]) -> bool:
        nonlocal asked
        asked += 1
        return asked <= most and seen.breaks(units.only(places))

    for candidate in (evidence, *growing(units, evidence), units.whole()):
        if is_shown(candidate):
            return Minimised(seen, units, shrink(units, candidate, evidence, is_shown), evidence)
    return Minimised(seen, units, evidence, evidence)


def until(history: History, violation: Violation) -> History:
    """The history until the last of what disagrees: what came later cannot have mattered to the target."""
    ends = [e.received_ns for e in violation.exchanges] + [d.received_ns for d in violation.deliveries]
    if not ends:
        return history
    return replace(
        history,
        exchanges=tuple(e for e in history.exchanges if e.sent_ns <= max(ends)),
        deliveries=tuple(d for d in history.deliveries if d.received_ns <= max(ends)),
        endpoints=tuple(e for e in history.endpoints if e.registered_ns <= max(ends)),
    )


def growing(units: Units, evidence: frozenset[int]) -> Iterator[frozenset[int]]:
    """The evidence with ever more of what came before, the latest first; all of it at the end."""
    nearest = sorted(units.whole() - evidence, key=lambda place: min(units.all[place].exchanges), reverse=True)
    count = 1
    while count < 4 * len(nearest):
        yield units.closed(evidence | frozenset(nearest[:count]))
        count *= 4


def shrink(units: Units, places: AbstractSet[int], fixed: AbstractSet[int], breaks: Breaks) -> frozenset[int]:
    """The fewest units found, of some `places` that show a violation, that still do. `fixed` ones stay.

    `breaks` says no when no more may be asked.
    """
    kept, parts = sorted(set(places) - fixed), 2
    while kept:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            smaller = units.closed({*fixed, *rest})
            if len(smaller) < len(units.closed({*fixed, *kept})) and breaks(smaller):
                kept, parts = sorted(smaller - fixed), max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(kept), parts * 2)
    return units.closed({*fixed, *kept})
