"""Where two recorded runs of the same scenarios drift apart: each kind once, with an example from both sides.

A drift that shows only on sessions that had drifted before, in another way, follows from that: one cause is one line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from typing import Final

from qashier_contract.history import Capability, Exchange
from qashier_contract.trace.file import Trace
from qashier_contract.trace.normal import Normal, Place, View
from qashier_contract.values import Json

ABSENT: Final = "<absent>"
_FLOW: Final = ("status.", "requests.")
"""Kinds of drifts after which a scenario goes another way."""


@dataclass(eq=False, slots=True)
class Drift:
    """One kind of drift. `a` and `b` are what one and the other side answered, in the first place where they drift.

    Attributes:
        kind: What drifts: `status.create`, `headers.request-id`, `session.amount_total`, `clause.EVT-6`.
        count: In how many places.
        exchange_a: The first exchange, on side A; None if it has none there.
        exchange_b: The same on side B.
        following: The kinds that drift only where this one had before.
    """

    kind: str
    a: Json
    b: Json
    scenario: str
    exchange_a: Exchange | None
    exchange_b: Exchange | None
    count: int = 0
    following: list[str] = field(default_factory=list)
    numbers_a: set[int] = field(default_factory=set)
    numbers_b: set[int] = field(default_factory=set)
    cause: Drift | None = None
    """The drift that explained it where it was met first."""
    is_explained: bool = True
    """Whether a drift explains it in every place."""

    @property
    def root(self) -> Drift | None:
        """The drift that nothing explains, from which it follows; None if drifts explain each other."""
        seen, drift = list[Drift](), self
        while drift.is_explained and drift.cause is not None and drift not in seen:
            seen.append(drift)
            drift = drift.cause
        return None if drift.is_explained else drift


def drifts(a: Trace, b: Trace, *, ignore: Sequence[str] = ()) -> tuple[Sequence[Drift], Mapping[str, int]]:
    """Where two runs drift apart, and how many requests were compared, by the scenario.

    `ignore` holds patterns of kinds that do not count, such as `headers.*`.
    """
    comparison = _Comparison(ignore)
    both = a.history.terms.capabilities & b.history.terms.capabilities
    side_a, side_b = (Normal(side, reads_clock=Capability.CLOCK in both).scenarios() for side in (a, b))
    for scenario in side_a:
        if scenario in side_b:
            comparison.scenario(scenario, side_a[scenario], side_b[scenario])
    return comparison.settled(), comparison.compared


class _Comparison:
    def __init__(self, ignore: Sequence[str]) -> None:
        self._ignore = ignore
        self._found: dict[str, Drift] = {}
        self._tainted: dict[str, Drift] = {}
        """The first drift of each session that has drifted, by its id on either side."""
        self.compared: dict[str, int] = {}

    def settled(self) -> Sequence[Drift]:
        """The drifts that nothing explains, in the order in which they were met, with those that follow from them."""
        found = list(self._found.values())
        for place, drift in enumerate(found):
            if not drift.is_explained:
                self._join(drift, found[:place], found[place + 1 :])
        for drift in found:
            if drift.is_explained and (root := drift.root) is not None:
                root.following.append(drift.kind)
        return [drift for drift in found if not drift.is_explained]

    @staticmethod
    def _join(drift: Drift, earlier: Sequence[Drift], later: Sequence[Drift]) -> None:
        """Let a drift follow from another one of the same cause, though it shows where nothing else had drifted.

        The same statuses instead of the same others are one cause, whatever the operation. What an error says goes with
        its status. That other requests were sent has a cause in what was answered.
        """
        area = drift.kind.partition(".")[0]
        for other in (*earlier, *later):
            other_area = other.kind.partition(".")[0]
            if other.is_explained or other.cause is drift:
                continue
            if (
                (area == other_area == "status" and other in earlier and (drift.a, drift.b) == (other.a, other.b))
                or (area == "error" and other_area == "status" and _are_near(drift, other))
                or (area == "requests" != other_area)
            ):
                drift.is_explained, drift.cause = True, other
                return

    def scenario(self, name: str, a: Sequence[View], b: Sequence[View]) -> None:
        """Compare one scenario."""
        self.compared[name] = 0
        astray: Drift | None = None
        matcher = SequenceMatcher(None, [view.request for view in a], [view.request for view in b], autojunk=False)
        for tag, start_a, end_a, start_b, end_b in matcher.get_opcodes():
            some_a, some_b = a[start_a:end_a], b[start_b:end_b]
            if tag != "equal":
                alone = (some_a[0], None) if some_a else (None, some_b[0])
                noted = self._note(f"requests.{name}", (_sent(some_a), _sent(some_b)), name, alone, astray)
                astray = astray or noted
                continue
            for one, other in zip(some_a, some_b, strict=True):
                self.compared[name] += 1
                astray = self._pair(name, one, other, astray) or astray

    def _pair(self, scenario: str, a: View, b: View, astray: Drift | None) -> Drift | None:
        """Compare one exchange with its twin; the drift after which the scenario goes another way."""
        touched = sorted(a.sessions | b.sessions)  # which one is the cause must not depend on chance
        cause = next((self._tainted[one] for one in touched if one in self._tainted), None) or astray
        flow = None
        for place in _differing(a.facts, b.facts):
            values = a.facts.get(place, ABSENT), b.facts.get(place, ABSENT)
            noted = self._note(place[0], values, scenario, (a, b), cause)
            cause = cause or noted
            if noted is not None and place[0].startswith(_FLOW):
                flow = cause  # what made it go another way, so that a later drift is put down to that
        if cause is not None and cause is not astray:
            for session_id in touched:
                self._tainted.setdefault(session_id, cause)
        return flow

    def _note(
        self,
        kind: str,
        values: tuple[Json, ...],
        scenario: str,
        views: tuple[View | None, View | None],
        cause: Drift | None,
    ) -> Drift | None:
        """Note a drift, unless it does not count. What it causes itself does not explain it."""
        if any(fnmatchcase(kind, pattern) for pattern in self._ignore):
            return None
        cause = None if cause is not None and cause.kind == kind else cause
        a, b = (None if view is None else view.exchange for view in views)
        drift = self._found.get(kind)
        if drift is None:
            drift = self._found[kind] = Drift(kind, values[0], values[1], scenario, a, b, cause=cause)
        elif cause is None and drift.is_explained:
            # The first place that nothing explains is the better example.
            drift.a, drift.b, drift.scenario, drift.exchange_a, drift.exchange_b = (*values[:2], scenario, a, b)
        drift.is_explained = drift.is_explained and cause is not None
        drift.count += 1
        drift.numbers_a |= set() if a is None else {a.number}
        drift.numbers_b |= set() if b is None else {b.number}
        return drift


def _are_near(drift: Drift, other: Drift) -> bool:
    """Whether two drifts show first in one scenario, or in answers of one operation."""
    one, another = drift.exchange_a or drift.exchange_b, other.exchange_a or other.exchange_b
    operations = {exchange.operation for exchange in (one, another) if exchange is not None}
    return drift.scenario == other.scenario or len(operations) == 1


def _sent(views: Sequence[View]) -> Json:
    return [str(view.exchange).partition(" ")[2] for view in views[:3]] or ABSENT


def _differing(a: Mapping[Place, Json], b: Mapping[Place, Json]) -> Iterator[Place]:
    """The places in which two answers differ. Where one is an error and the other is not, their bodies do not count."""
    places = [place for place in {**a, **b} if a.get(place, ABSENT) != b.get(place, ABSENT)]
    statuses = [place for place in places if place[0].startswith("status.")]
    if statuses:
        yield from statuses
    elif ("list.data", "") in places:
        # Other sessions in a list, or in another order: entry by entry they have nothing in common.
        yield from (place for place in places if not place[1])
    else:
        yield from places


def explained_by(found: Collection[Drift], numbers_a: Collection[int], numbers_b: Collection[int]) -> Drift | None:
    """The first drift that shows in some exchanges of either side."""
    return next((d for d in found if d.numbers_a & set(numbers_a) or d.numbers_b & set(numbers_b)), None)
