"""The clock that an account goes by: what it can have shown while a request was served.

Where it cannot be read, `created` of new sessions tells it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from qashier_contract.history import Capability, Exchange, History, Operation
from qashier_contract.ledger.keys import Keys
from qashier_contract.values import is_integer


@dataclass(frozen=True, slots=True)
class _Tick:
    """One look at a clock.

    Between `sent_ns` and `received_ns` it showed at most `before` (None: it does not tell), at the end at least `now`.
    """

    sent_ns: int
    received_ns: int
    now: int
    before: int | None
    frozen: bool


class Clock:
    """What is known of the target's clocks, one for each account or one for all."""

    def __init__(self, history: History, keys: Keys) -> None:
        self.history = history
        self._keys = keys
        self._shown: dict[tuple[Exchange, int | None], tuple[int | None, int | None]] = {}

    @cached_property
    def is_readable(self) -> bool:
        """Whether the target's clock can be read; otherwise `created` of new sessions tells it."""
        return Capability.CLOCK in self.history.terms.capabilities

    @cached_property
    def _ticks(self) -> Mapping[int | None, Sequence[_Tick]]:
        ticks: dict[int | None, list[_Tick]] = defaultdict(list)
        for exchange in self.history.exchanges:
            tick = self._clock_tick(exchange) if self.is_readable else self._created_tick(exchange)
            if tick is not None and exchange.account is not None:
                ticks[self.history.clock_name(exchange.account)].append(tick)
        return ticks

    @cached_property
    def _lost_moves(self) -> Mapping[int | None, Sequence[int]]:
        """When a clock may have been moved without an answer that says so: from then on it may show anything later."""
        moves: dict[int | None, list[int]] = defaultdict(list)
        for exchange in self.history.exchanges:
            if exchange.operation is Operation.CLOCK and exchange.request.method != "GET" and exchange.is_lost:
                moves[self.history.clock_name(exchange.account)].append(exchange.sent_ns)
        return moves

    @staticmethod
    def _clock_tick(exchange: Exchange) -> _Tick | None:
        now = exchange.object.get("now")
        if exchange.operation is not Operation.CLOCK or not exchange.succeeded or not is_integer(now):
            return None
        before: int | None = now
        body = exchange.request.json
        if exchange.request.method == "POST":
            seconds = body.get("seconds") if isinstance(body, dict) else None
            before = now - seconds if is_integer(seconds) else None
        elif isinstance(body, dict) and "now" in body:
            before = None
        frozen = exchange.object.get("frozen") is True
        return _Tick(exchange.sent_ns, exchange.received_ns, now, before, frozen)

    def _created_tick(self, exchange: Exchange) -> _Tick | None:
        created = exchange.object.get("created")
        if exchange.operation is not Operation.CREATE or not exchange.succeeded or not is_integer(created):
            return None
        if exchange.request.idempotency_key is not None and self._keys.was_seen(exchange):
            return None
        return _Tick(exchange.sent_ns, exchange.received_ns, created, created, frozen=False)

    def runs(self, account: int | None) -> bool:
        """Whether the clock that an account goes by was looked at, and never stood still."""
        calls = self.history.clock_calls(account)
        return bool(calls) and all(exchange.object.get("frozen") is False for exchange in calls if exchange.succeeded)

    def looks_around(self, exchange: Exchange) -> tuple[Exchange, Exchange] | None:
        """The looks at a clock that runs, right before and after a request; None if it was not looked at so."""
        calls = [e for e, _ in self.history.times(exchange.account)] if self.runs(exchange.account) else []
        before = [call for call in calls if call.is_before(exchange)]
        after = [call for call in calls if exchange.is_before(call)]
        return (before[-1], after[0]) if before and after else None

    def at(self, exchange: Exchange, account: int | None = None) -> tuple[int | None, int | None]:
        """The least and the most that a clock can have shown while a request was served, epoch seconds.

        It is that of the request's account, or of another one.
        """
        asked = exchange, exchange.account if account is None else account
        if asked not in self._shown:  # every clause about time asks, and asks again
            self._shown[asked] = self._look_up(*asked)
        return self._shown[asked]

    def _look_up(self, exchange: Exchange, account: int | None) -> tuple[int | None, int | None]:
        if account is None:
            return None, None
        ticks = self._ticks.get(self.history.clock_name(account), ())
        position = bisect_left(ticks, exchange.sent_ns, key=lambda tick: tick.sent_ns)
        latest = next((t for t in reversed(ticks[:position]) if t.received_ns <= exchange.sent_ns), None)
        following = next((t for t in ticks[position:] if t.sent_ns >= exchange.received_ns), None)
        overlapped = any(
            t.received_ns > exchange.sent_ns and t.sent_ns < exchange.received_ns and t.before != t.now
            for t in ticks[max(0, position - 8) : position + 8]
        )
        least = None if latest is None else latest.now
        most = None if following is None else following.before
        # Whoever is not recorded may have moved the clock: it goes forward only, and so the least is all that is known.
        moves = self._lost_moves.get(self.history.clock_name(account), ())
        was_lost = latest is not None and any(latest.sent_ns < at_ns < exchange.received_ns for at_ns in moves)
        if latest is not None and not overlapped and not was_lost and not self.history.terms.others_act:
            elapsed = 0 if latest.frozen else math.ceil((exchange.received_ns - latest.sent_ns) / 1e9) + 1
            reckoned = latest.now + elapsed
            most = reckoned if most is None else min(most, reckoned)
        if least is not None and most is not None and most < least:
            return None, None  # somebody else moved the clock, or it went backwards
        return least, most
