"""Where two recorded runs of the same scenarios drift apart: each kind once, with an example from both sides.

A drift that shows only on sessions that had drifted before, in another way, follows from that: one cause is one line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from typing import Final

from qashier_contract.history import Exchange
from qashier_contract.trace.file import Trace
from qashier_contract.trace.normal import Place, View, normal
from qashier_contract.values import Json

ABSENT: Final = "<absent>"
_FLOW: Final = ("status.", "requests.")
"""Kinds of drifts after which a scenario goes another way."""


@dataclass(slots=True)
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
    cause: str | None = None
    """The kind that explains it in every place; None if there is a place where nothing does."""
    is_explained: bool = True


def drifts(a: Trace, b: Trace, *, ignore: Sequence[str] = ()) -> tuple[Sequence[Drift], Mapping[str, int]]:
    """Where two runs drift apart, and how many requests were compared, by the scenario.

    Args:
        a: One run.
        b: The other one.
        ignore: Patterns of kinds, such as `headers.*`, that do not count.
    """
    comparison = _Comparison(ignore)
    side_a, side_b = normal(a, b).scenarios(), normal(b, a).scenarios()
    for scenario in side_a:
        if scenario in side_b:
            comparison.scenario(scenario, side_a[scenario], side_b[scenario])
    return comparison.settled(), comparison.compared


class _Comparison:
    def __init__(self, ignore: Sequence[str]) -> None:
        self._ignore = ignore
        self._found: dict[str, Drift] = {}
        self._tainted: dict[str, str] = {}
        """The sessions that have drifted, by their ids on either side: the kind of the first drift."""
        self.compared: dict[str, int] = {}

    def settled(self) -> Sequence[Drift]:
        """The drifts that nothing explains, in the order in which they were met, with those that follow from them."""
        for drift in self._found.values():
            self._join(drift)
        roots = [drift for drift in self._found.values() if not drift.is_explained]
        by_kind = {drift.kind: drift for drift in roots}
        for drift in self._found.values():
            if drift.is_explained and (root := self._root_of(drift)) is not None:
                by_kind[root].following.append(drift.kind)
        return roots

    def _join(self, drift: Drift) -> None:
        """Let a drift follow from an earlier one of the same cause, though it shows where nothing else had drifted.

        The same statuses instead of the same others are one cause, whatever the operation. What an error says goes with
        its status. That other requests were sent has a cause in what was answered.
        """
        if drift.is_explained:
            return
        area = drift.kind.partition(".")[0]
        for other in self._found.values():
            if other is drift or other.is_explained or other.cause == drift.kind:
                continue
            both_status = area == other.kind.partition(".")[0] == "status"
            is_earlier = list(self._found).index(other.kind) < list(self._found).index(drift.kind)
            if (
                (both_status and is_earlier and (drift.a, drift.b) == (other.a, other.b))
                or (area == "error" and other.kind.startswith("status.") and _are_near(drift, other))
                or (area == "requests" and not other.kind.startswith("requests."))
            ):
                drift.is_explained, drift.cause = True, other.kind
                return

    def _root_of(self, drift: Drift) -> str | None:
        seen: set[str] = set()
        kind: str | None = drift.kind
        while kind is not None and kind not in seen:
            seen.add(kind)
            found = self._found[kind]
            if not found.is_explained:
                return kind
            kind = found.cause
        return None

    def scenario(self, name: str, a: Sequence[View], b: Sequence[View]) -> None:
        """Compare one scenario."""
        self.compared[name] = 0
        astray: str | None = None
        matcher = SequenceMatcher(None, [view.request for view in a], [view.request for view in b], autojunk=False)
        for tag, start_a, end_a, start_b, end_b in matcher.get_opcodes():
            if tag != "equal":
                lone = [(view, None) for view in a[start_a:end_a]] + [(None, view) for view in b[start_b:end_b]]
                kind = f"requests.{name}"
                values = tuple(_sent(views) for views in (a[start_a:end_a], b[start_b:end_b]))
                if self._note(kind, values, name, lone[0], astray):
                    astray = astray or kind
                continue
            for one, other in zip(a[start_a:end_a], b[start_b:end_b], strict=True):
                self.compared[name] += 1
                astray = self._pair(name, one, other, astray) or astray

    def _pair(self, scenario: str, a: View, b: View, astray: str | None) -> str | None:
        """Compare one exchange with its twin; the kind of a drift after which the scenario goes another way."""
        touched = a.sessions | b.sessions
        cause = next((self._tainted[one] for one in touched if one in self._tainted), None) or astray
        flow = None
        for place in _differing(a.facts, b.facts):
            kind = place[0]
            values = a.facts.get(place, ABSENT), b.facts.get(place, ABSENT)
            if not self._note(kind, values, scenario, (a, b), None if cause == kind else cause):
                continue
            cause = cause or kind
            if kind.startswith(_FLOW):
                flow = cause  # what made it go another way, so that a later drift is put down to that
        if cause is not None and cause != astray:
            for session_id in touched:
                self._tainted.setdefault(session_id, cause)
        return flow

    def _note(
        self,
        kind: str,
        values: tuple[Json, ...],
        scenario: str,
        views: tuple[View | None, View | None],
        cause: str | None,
    ) -> bool:
        """Note a drift, unless it does not count."""
        if any(fnmatchcase(kind, pattern) for pattern in self._ignore):
            return False
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
        return True


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


__all__ = ["ABSENT", "Drift", "drifts", "explained_by"]
