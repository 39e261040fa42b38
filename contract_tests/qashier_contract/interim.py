"""Verdicts while a run goes on: what is broken is told as soon as it is seen, at little cost."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, takewhile
from typing import Final

from qashier_contract.clauses import CLAUSES
from qashier_contract.history import History, Operation, Recorder
from qashier_contract.interrupts import OutOfTime
from qashier_contract.ledger import Ledger
from qashier_contract.pace import Pace, weight_of
from qashier_contract.settings import Settings
from qashier_contract.verdicts import ClauseReport, Verdict, judge

_SHARE: Final = 0.2
"""Which part of a run may be spent on judging what was seen so far, beside the judging at the end."""
_ENOUGH_TO_MEASURE: Final = 50
_GLANCE_NS: Final = 10**9
_GLANCE_SHARE: Final = 10
"""During a step, wait this long between looks, and ten times as long as the last look took."""
_MARGIN: Final = 1.5
"""Judging all of a history takes about so many times as long as its parts added up."""


class Enough(OutOfTime):
    """A clause failed, and no more was wanted."""


class Interim:
    """Judges what was observed since the last look.

    Attributes:
        known: What turned out to be broken so far.
        exercised: By how many observations each clause was judged so far, in what was looked at.
        seen: How many exchanges were looked at, of the first ones.
        first_violation_s: After how many seconds the first failure was known.
        enough: What was observed until a clause failed, where no more is wanted. By what comes later, such as the
            clean-up, the violation may not be certain any more.
    """

    def __init__(
        self, recorder: Recorder, pace: Pace, settings: Settings, wanted: Sequence[str], started_ns: int
    ) -> None:
        self.known: dict[str, ClauseReport] = {}
        self.exercised: Counter[str] = Counter()
        self.seen = self._seen_weight = 0
        self.first_violation_s: float | None = None
        self.enough: History | None = None
        self._recorder, self._pace, self._settings, self._wanted = recorder, pace, settings, wanted
        self._started_ns = started_ns
        self._looking_ns = self._judging_ns = 0
        self._least_ns = pace.judging_ns
        self._thread = threading.get_ident()
        self._next_glance_ns = started_ns + _GLANCE_NS

    def look(self) -> None:
        """Judge what was observed since the last look, as much of it as costs little, and tell of what is broken.

        What came before is left out, so that looking often costs no more than looking once; a clause that seems to be
        broken is judged by everything, before anybody is told. Where nobody wants to be told, one look is enough: it
        measures how long judging takes.

        Raises:
            Enough: A clause failed, and `fail_fast` was asked for.
            Interrupted: The stop came.
        """
        if self._settings.violated is None and not self._settings.fail_fast and self._looking_ns:
            return
        self._pace.stop.check()
        history = self._recorder.history()
        fresh = len(history.exchanges) - self.seen
        if not self._settings.fail_fast:
            left_ns = _SHARE * (time.monotonic_ns() - self._started_ns) - self._looking_ns
            affordable = self._affordable(history, left_ns)
            if affordable < min(fresh, _ENOUGH_TO_MEASURE):
                return
            fresh = affordable
        self._look_at(history, fresh)
        self._stop_at_a_failure(history)

    def glance(self) -> None:
        """Amid a step, `look` where one failure is enough: after each request, and only now and then in truth.

        What the step has sent is looked at once more when it is done: a part of it may show less than the whole.

        Raises:
            Enough: A clause failed.
        """
        now_ns = time.monotonic_ns()
        if self._settings.fail_fast and now_ns >= self._next_glance_ns and threading.get_ident() == self._thread:
            history = self._recorder.history()
            self._look_at(history, len(history.exchanges) - self.seen, is_whole=False)
            self._stop_at_a_failure(history)

    def _stop_at_a_failure(self, history: History) -> None:
        if self._settings.fail_fast and self.first_failure is not None:
            self.enough = history
            raise Enough

    @property
    def first_failure(self) -> ClauseReport | None:
        """The clause that failed first, of those of one look the first of the contract."""
        return next((entry for entry in self.known.values() if entry.verdict is Verdict.FAILED), None)

    def last_look(self, most_ns: int) -> None:
        """Judge what was observed since the last look, as much of it as can be judged in some time."""
        history = self._recorder.history()
        self._look_at(history, self._affordable(history, most_ns))

    def _affordable(self, history: History, most_ns: float) -> int:
        """How many of the exchanges since the last look can be judged in some time."""
        costs = accumulate(weight_of(one) * self._pace.judging_ns for one in history.exchanges[self.seen :])
        return sum(1 for _ in takewhile(lambda cost: cost <= most_ns, costs))

    def _look_at(self, history: History, fresh: int, *, is_whole: bool = True) -> None:
        began_ns = time.monotonic_ns()
        part = _part(history, self.seen, self.seen + fresh)
        ledger, suspects = Ledger(part), []
        for identifier in self._wanted:
            if identifier not in self.known:
                exercised, broken = CLAUSES[identifier].findings(ledger, most=1)
                self.exercised[identifier] += exercised if is_whole else 0
                suspects += [identifier] if broken else []
        if is_whole:
            self.seen += fresh
            self._seen_weight += sum(map(weight_of, history.exchanges[self.seen - fresh : self.seen]))
            self._judging_ns += time.monotonic_ns() - began_ns
        if suspects:
            self._tell(judge(history, [CLAUSES[each] for each in suspects], strict=self._is_strict))
        took_ns = time.monotonic_ns() - began_ns
        self._looking_ns += took_ns
        self._next_glance_ns = began_ns + took_ns + max(_GLANCE_NS, _GLANCE_SHARE * took_ns)
        if self.seen >= _ENOUGH_TO_MEASURE:
            # A slow or busy machine has to leave more time for the judging at the end. What all looks took counts: one
            # that was held up would have the run end far too early.
            self._pace.judging_ns = max(self._least_ns, int(_MARGIN * self._judging_ns / self._seen_weight))

    def settle(self, judged: Sequence[ClauseReport]) -> None:
        """Tell of what was not told yet, now that everything was judged."""
        self._tell(judged)
        if not any(entry.verdict is Verdict.FAILED for entry in judged):
            self.first_violation_s = None

    @property
    def _is_strict(self) -> bool:
        return self._settings.strict or self._settings.own

    def _tell(self, judged: Sequence[ClauseReport]) -> None:
        for entry in judged:
            if entry.violations and entry.clause.id not in self.known:
                self.known[entry.clause.id] = entry
                if self.first_violation_s is None and entry.verdict is Verdict.FAILED:
                    self.first_violation_s = (time.monotonic_ns() - self._started_ns) / 1e9
                if self._settings.violated is not None:
                    self._settings.violated(entry)


def _part(history: History, start: int, end: int) -> History:
    """What was observed from one exchange up to another, with what was done to the clocks before."""
    exchanges = history.exchanges
    after = exchanges[start - 1].number if start else 0
    until = exchanges[end].number if end < len(exchanges) else math.inf
    earlier = [exchange for exchange in exchanges[:start] if exchange.operation is Operation.CLOCK]
    return replace(
        history,
        exchanges=(*earlier, *exchanges[start:end]),
        deliveries=tuple(delivery for delivery in history.deliveries if after < delivery.number < until),
    )
