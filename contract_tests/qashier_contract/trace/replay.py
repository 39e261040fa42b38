"""Sends a violation again: first the fewest requests that may show it, then more, until it shows or the budget ends.

What showed is then cut down by sending as well. Whether a sending showed anything is for the clause to say that found
the violation: it is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from qashier_contract.interrupts import OutOfTime
from qashier_contract.pace import OutOfSessions
from qashier_contract.trace.minimise import growing, minimise, shrink, until
from qashier_contract.trace.sending import Sending, Site
from qashier_contract.trace.steps import Steps, steps_of
from qashier_contract.trace.units import subject_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from qashier_contract.history import Exchange, History
    from qashier_contract.trace.minimise import Minimised, Seen

Judge: TypeAlias = "Callable[[History], tuple[int, Sequence[object]]]"
"""A clause: how many observations of a history exercised it, and what broke it."""
Sites: TypeAlias = "Callable[[Steps], Site]"
"""Makes a place to send some steps to."""
_MOST_RACES: Final = 6
"""How often requests that were under way at the same time are sent again before more is tried."""


class Result(StrEnum):
    """What came of sending a violation again."""

    BROKE_AGAIN = "sent again: broke again"
    DID_NOT = "seen once, did not break again"
    NOT_EXERCISED = "sent again, but no request reached the clause"
    NOT_SENT = "not sent again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much may be sent for one violation, besides what the target's pace allows."""

    tries: int = 16
    requests: int = 2_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Replayed:
    """A violation that was sent again, or not.

    `steps` are the fewest that broke again; where none did, those that were tried first. `history` is what was observed
    when they were sent and broke again. `reason` says why nothing was sent, or why no more.
    """

    steps: Steps
    result: Result
    tries: int = 0
    reason: str | None = None
    history: History | None = None
    was_settled: bool = False
    """Whether it showed only after a moment."""

    def __str__(self) -> str:
        if self.result is Result.BROKE_AGAIN:
            return self.result.value
        if self.result is Result.NOT_SENT:
            return f"{self.result}: {self.reason}" if self.reason else self.result.value
        times = "1 try" if self.tries == 1 else f"{self.tries} tries"
        return f"{self.result} in {times}" + (f" ({self.reason})" if self.reason else "")


def unsent(seen: Seen, *, reason: str | None = None) -> Replayed:
    """A violation cut down by judging alone. `reason` says why it is not sent again."""
    return Replayed(steps=steps_of(minimise(seen).history), result=Result.NOT_SENT, reason=reason)


def replay(seen: Seen, judge: Judge, sites: Sites, *, budget: Budget | None = None) -> Replayed:
    """Send a violation again.

    Args:
        seen: The violation.
        judge: The clause that was broken, for what is observed now.
        sites: Where to send.
        budget: How much may be sent.
    """
    return _Search(minimise(seen), judge, sites, budget or Budget()).run()


def send_once(steps: Steps, judge: Judge, sites: Sites, *, settles: bool = True) -> Replayed:
    """Send some steps once, and judge what is observed then.

    Args:
        steps: What to send.
        judge: The clause.
        sites: Where to send.
        settles: Whether to wait for webhooks and events if nothing shows at once.

    Raises:
        OutOfTime: The budget is spent.
        OutOfSessions: No more sessions are allowed.
    """
    was_settled = False
    with Sending(steps, sites(steps)) as sending:
        try:
            observed = sending.send()
            exercised, broken = judge(observed)
            if not broken and settles and sending.may_settle:
                was_settled = True
                observed = sending.settle()
                exercised, broken = judge(observed)
        finally:
            sending.clean_up()
    result = Result.BROKE_AGAIN if broken else Result.DID_NOT if exercised else Result.NOT_EXERCISED
    return Replayed(steps=steps, result=result, tries=1, history=observed, was_settled=was_settled)


class _Search:
    """Looks for the fewest units that show a violation when they are sent."""

    def __init__(self, found: Minimised, judge: Judge, sites: Sites, budget: Budget) -> None:
        self.found = found
        self.judge = judge
        self.sites = sites
        self.budget = budget
        self.tries = self.sent = 0
        self.was_exercised = False
        self.reason: str | None = None
        self.best: Replayed | None = None
        self.later = False
        self.settles = True
        """Whether a sending that shows nothing at once is given a moment: not where another showed it at once."""

    def run(self) -> Replayed:
        first = self._steps(self.found.places, later=False)
        for places, later in self._candidates():
            self.later = later
            races = _MOST_RACES if any(len(group) > 1 for group in first.groups) else 1
            if any(self._shows(places) for _ in range(races)):
                self._smaller(places)
                break
            if self.reason is not None:
                break
        if self.best is not None:
            return replace(self.best, tries=self.tries)
        if self.tries == 0:
            return Replayed(steps=first, result=Result.NOT_SENT, reason=self.reason)
        result = Result.DID_NOT if self.was_exercised else Result.NOT_EXERCISED
        return Replayed(steps=first, result=result, tries=self.tries, reason=self.reason)

    def _steps(self, places: AbstractSet[int], *, later: bool) -> Steps:
        history = self.found.units.only(places)
        return steps_of(history if later else until(history, self.found.seen))

    def _candidates(self) -> Iterator[tuple[frozenset[int], bool]]:
        """What to send, the least first, and whether with what came after the exchanges that disagree."""
        units, tried = self.found.units, set[tuple[frozenset[int], bool]]()
        shown = self.found.places | units.closed(self._subjects())
        laters = (False, True) if self.found.needs_later else (False,)
        for places in (self.found.places, shown, *growing(units, shown)):
            for later in laters:
                if (places, later) not in tried:
                    tried.add((places, later))
                    yield places, later

    def _subjects(self) -> Iterator[int]:
        """The sessions that the lists among the evidence show."""
        for exchange in self.found.seen.exchanges:
            for session_id in shown_by(exchange):
                yield from self.found.units.of_session(session_id)

    def _smaller(self, places: frozenset[int]) -> None:
        """Cut down what broke again. Requests that race break by chance: those are left as they are."""
        best = self.best
        if best is None or places == self.found.evidence or any(len(group) > 1 for group in best.steps.groups):
            return
        shrink(self.found.units, places, self.found.evidence, self._shows)

    def _shows(self, places: AbstractSet[int]) -> bool:
        """Whether some units break the clause when they are sent; no, once the budget is spent."""
        if self.tries >= self.budget.tries or self.reason is not None:
            return False
        steps = self._steps(places, later=self.later)
        if self.sent + steps.requests > self.budget.requests:
            return False
        try:
            done = send_once(steps, self.judge, self.sites, settles=self.settles)
        except OutOfTime:
            self.reason = "out of time"
            return False
        except OutOfSessions:
            self.reason = "as many sessions were opened as --max-sessions allows"
            return False
        self.tries += 1
        self.sent += steps.requests
        self.was_exercised = self.was_exercised or done.result is not Result.NOT_EXERCISED
        if done.result is not Result.BROKE_AGAIN:
            return False
        if self.best is None or steps.requests <= self.best.steps.requests:
            self.best = done
            self.settles = done.was_settled
        return True


def shown_by(exchange: Exchange) -> Iterator[object]:
    """The ids of the sessions that a list of sessions or of events shows."""
    data = exchange.object.get("data")
    for entry in data if isinstance(data, list) else ():
        if isinstance(entry, dict):
            yield entry.get("id")
            yield subject_of(entry)
