"""Sends a violation again: first the fewest requests that may show it, then more, until it shows or the budget ends.

What showed is then cut down by sending as well. Whether a sending showed anything is for the clause to say that found
the violation: it is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final

from qashier_contract.clauses import Clause
from qashier_contract.findings import Finding
from qashier_contract.history import Exchange, History
from qashier_contract.interrupts import Interrupted, OutOfTime
from qashier_contract.ledger import Ledger
from qashier_contract.observed_events import subject_of
from qashier_contract.pace import OutOfSessions
from qashier_contract.trace.minimise import Minimised, Seen, growing, minimise, shrink, until
from qashier_contract.trace.sending import Sending
from qashier_contract.trace.site import Site
from qashier_contract.trace.steps import Steps
from qashier_contract.trace.units import Units
from qashier_contract.verdicts import ClauseReport, Result, SentAgain, Violation

_FEW: Final = 6
"""Up to so many requests a sequence is short."""
_MOST_CONFIRMED: Final = 2
"""How often a short sequence is sent again after it broke the clause."""
_MOST_REPEATS: Final = 8
"""How often the fewest requests are sent once more where nothing showed it."""
_MOST_FINDINGS: Final = 200
"""How many findings are looked through for the violation that was seen."""
_MOST_RACES: Final = 6
"""How often requests that were under way at the same time are sent again before more is tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much may be sent for one violation, besides what the target's pace allows.

    Once `is_over` says so, nothing more is sent or looked for, and what is known has to do.
    """

    tries: int = 16
    requests: int = 2_000
    is_over: Callable[[], bool] = lambda: False


@dataclass(frozen=True, kw_only=True, eq=False)
class Sent:
    """What came of sending some steps once.

    `history` is what was observed, `broken` what broke the clause there. `was_settled` says whether time was given for
    webhooks and events.
    """

    result: Result
    history: History
    broken: Sequence[Finding]
    was_settled: bool


def send_again(
    judged: Iterable[ClauseReport], history: History, site: Site, *, budget: Budget | None = None
) -> Iterator[tuple[str, SentAgain]]:
    """Send the first violation of each clause again.

    Yields:
        The clause's id, and what came of it. A violation that its clause does not find in the history, because another
        check found it, is left out.
    """
    budget = budget or Budget()
    for entry in judged:
        for violation in entry.violations[:1]:
            if budget.is_over():
                yield entry.clause.id, _not_sent(violation, history, "out of time")
            elif seen_as(entry.clause, violation, history).breaks(history):
                yield entry.clause.id, replay(entry.clause, violation, history, site, budget=budget)


def _not_sent(violation: Violation, history: History, reason: str) -> SentAgain:
    """What disagrees, with all that it rests on."""
    units = Units(history)
    part = until(units.only(units.of(violation.exchanges, violation.deliveries)), violation)
    return SentAgain(part=part, violation=violation, result=Result.NOT_SENT, reason=reason)


def seen_as(clause: Clause, violation: Violation, history: History) -> Seen:
    """A violation of a clause, and how to know it in a part of the history."""

    def is_it(finding: Finding) -> bool:
        return (
            # The reason may count what else was there, which a smaller part has less of.
            finding.expectation.expected == violation.expectation.expected
            and finding.exchanges[-1:] == violation.exchanges[-1:]
            and finding.deliveries[-1:] == violation.deliveries[-1:]
        )

    def breaks(part: History) -> bool:
        return any(is_it(finding) for finding in clause.findings(Ledger(part), most=_MOST_FINDINGS)[1])

    return Seen(history=history, violation=violation, breaks=breaks)


def replay(
    clause: Clause, violation: Violation, history: History, site: Site, *, budget: Budget | None = None
) -> SentAgain:
    """Send a violation again that was seen in a history."""
    budget = budget or Budget()
    seen = seen_as(clause, violation, history)
    in_time = replace(seen, breaks=lambda part: not budget.is_over() and seen.breaks(part))
    search = _Search(minimise(in_time), clause, site, budget)
    search.run()
    if search.best is not None:
        # Of several that a part of the run shows, the one that is most like the first.
        like = [one for one in search.best.broken if one.key == violation.key]
        shown = (like or search.best.broken)[0]
        return SentAgain(
            part=search.best.history,
            violation=shown,
            result=Result.BROKE_AGAIN,
            tries=search.tries,
            is_rare=search.is_rare,
        )
    result = Result.DID_NOT if search.was_exercised else Result.NOT_EXERCISED if search.tries else Result.NOT_SENT
    return SentAgain(
        part=search.found.history, violation=violation, result=result, tries=search.tries, reason=search.reason
    )


def send_once(steps: Steps, clause: Clause, site: Site, *, settles: bool = True) -> Sent:
    """Send some steps once, and judge what is observed then.

    If it `settles`, webhooks and events are waited for if nothing shows at once.

    Raises:
        OutOfTime: The budget is spent.
        OutOfSessions: No more sessions are allowed.
    """
    was_settled = False
    with Sending(steps, site) as sending:
        observed = sending.send()
        exercised, broken = clause.findings(Ledger(observed))
        if not broken and settles and sending.may_settle:
            was_settled = True
            observed = sending.settle()
            exercised, broken = clause.findings(Ledger(observed))
    result = Result.BROKE_AGAIN if broken else Result.DID_NOT if exercised else Result.NOT_EXERCISED
    return Sent(result=result, history=observed, broken=broken, was_settled=was_settled)


class _Search:
    """Looks for the fewest units that show a violation when they are sent."""

    def __init__(self, found: Minimised, clause: Clause, site: Site, budget: Budget) -> None:
        self.found, self.clause, self.site, self.budget = found, clause, site, budget
        self.tries = self.sent = 0
        self.was_exercised = self.is_rare = False
        self.reason: str | None = None
        self.best: Sent | None = None
        self.fewest = budget.requests
        self.smallest: frozenset[int] = frozenset()
        """The units of the fewest requests that showed it."""
        self.settles = True
        """Whether a sending that shows nothing at once is given a moment: not where another showed it at once."""

    def run(self) -> None:
        """Send until something breaks, then less of it."""
        for places in self._candidates():
            races = _MOST_RACES if _has_races(self.found.units.only(places)) else 1
            if any(self._shows(places) for _ in range(races)):
                # Where no more was sent than in a try that showed nothing, it was chance.
                self.is_rare = self.tries > 1 and self.fewest <= Steps(self.found.history).requests
                # Requests that race break by chance: those are left as they are.
                if races == 1 and places != self.found.evidence:
                    shrink(self.found.units, places, self.found.evidence, self._shows)
                self._confirm()
                break
            if self.reason is not None:
                break
        # What depends on chance, such as an id that is drawn, may need some tries.
        if self.best is None:
            self.is_rare = any(self._shows(self.found.places) for _ in range(_MOST_REPEATS))

    def _candidates(self) -> Iterator[frozenset[int]]:
        """What to send, the least first."""
        units, tried = self.found.units, set[frozenset[int]]()
        shown = self.found.places | units.closed(self._subjects())
        with_endpoints = self.found.places | units.closed(self._endpoints())
        for places in (self.found.places, with_endpoints, shown, *growing(units, shown)):
            if places not in tried:
                tried.add(places)
                yield places

    def _subjects(self) -> Iterator[int]:
        """The sessions that the lists among the evidence show."""
        for exchange in self.found.seen.violation.exchanges:
            for session_id in shown_by(exchange):
                yield from self.found.units.of_session(session_id)

    def _endpoints(self) -> Iterator[int]:
        """The other webhook endpoints: who gets an event may depend on who else is there."""
        return (place for place, unit in enumerate(self.found.units.all) if unit.endpoints)

    def _confirm(self) -> None:
        """Send the fewest requests once or twice more: what does not show each time depends on chance."""
        if self.fewest <= _FEW and not self.is_rare:
            self.is_rare = not all(self._shows(self.smallest) for _ in range(_MOST_CONFIRMED)) and self.reason is None

    def _shows(self, places: AbstractSet[int]) -> bool:
        """Whether some units break the clause when they are sent; no, once the budget is spent."""
        if self.tries >= self.budget.tries or self.reason is not None:
            return False
        steps = Steps(self.found.units.only(places))
        if self.sent + steps.requests > self.budget.requests:
            return False
        try:
            done = send_once(steps, self.clause, self.site, settles=self.settles)
        except OutOfTime as spent:
            self.reason = "interrupted" if isinstance(spent, Interrupted) else "out of time"
            return False
        except OutOfSessions:
            self.reason = "as many sessions were opened as --max-sessions allows"
            return False
        self.tries += 1
        self.sent += steps.requests
        self.was_exercised = self.was_exercised or done.result is not Result.NOT_EXERCISED
        if done.result is not Result.BROKE_AGAIN:
            return False
        if steps.requests <= self.fewest:
            self.best, self.fewest, self.settles = done, steps.requests, done.was_settled
            self.smallest = frozenset(places)
        return True


def _has_races(part: History) -> bool:
    """Whether some requests were under way at the same time."""
    return any(len(group) > 1 for group in Steps(part).groups)


def shown_by(exchange: Exchange) -> Iterator[object]:
    """The ids of the sessions that a list of sessions or of events shows."""
    data = exchange.object.get("data")
    for entry in data if isinstance(data, list) else ():
        if isinstance(entry, dict):
            yield entry.get("id")
            yield subject_of(entry)
