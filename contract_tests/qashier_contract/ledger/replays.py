"""Whether an answer may be an earlier one again: idempotency keys, and how long they are remembered (IDM-4)."""

from __future__ import annotations

from collections.abc import Iterator

from qashier_contract import oracle
from qashier_contract.history import Exchange, Operation
from qashier_contract.ledger.clock import Clock
from qashier_contract.ledger.keys import Keys
from qashier_contract.values import is_integer


def _is_remembered(first: Exchange, later: Exchange) -> bool:
    """Whether a key is surely remembered though whoever is not recorded may have moved the clock: answers tell.

    An ended session cannot be expired again, so a success is the first one again. A new session tells the time, and
    the first one's time is that of the first use, even if that was not seen.
    """
    if first.operation is Operation.EXPIRE:
        return later.succeeded and later.request.path == first.request.path
    began, now = first.object.get("created"), later.object.get("created")
    are_creates = {first.operation, later.operation} == {Operation.CREATE}
    return are_creates and is_integer(began) and is_integer(now) and now < began + oracle.KEY_MEMORY


class Replays:
    """Which requests a target had to answer from memory."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys, self._clock = keys, clock

    def may_be(self, exchange: Exchange) -> bool:
        """Whether the answer may be an earlier one again, so that it tells nothing about the session as of now."""
        now, _ = self._clock.at(exchange)
        for use in self._keys.earlier_uses(exchange):
            if use.refused:
                continue
            # Once a key is forgotten, its next success is remembered in its turn: any use may be the one that counts.
            _, answered = self._clock.at(use)
            if answered is None or now is None or now < answered + oracle.KEY_MEMORY:
                return True
        return False

    def repeats(self) -> Iterator[tuple[Exchange, Exchange, bool | None]]:
        """The sequential uses of a remembered key: the first success, a later use, whether it is forgotten by then.

        Forgotten is None where the clock leaves it open.
        """
        for uses in self._keys.keyed.values():
            for exchange in uses:
                if exchange.is_lost:
                    continue
                first = self._keys.first_answer(exchange)
                # The memory runs from the first answer; once forgotten, the next success is the first one again.
                while first is not None:
                    forgotten = self.is_forgotten(first, exchange)
                    if forgotten is not True:
                        break
                    later = [u for u in uses if first.is_before(u) and u.is_before(exchange) and u.succeeded]
                    renewed = next((u for u in later if self.is_forgotten(first, u) is True), None)
                    if renewed is None:
                        break
                    first = renewed
                if first is not None:
                    yield first, exchange, self.is_forgotten(first, exchange)

    def is_forgotten(self, first: Exchange, later: Exchange) -> bool | None:
        """Whether the key of `first` is forgotten when `later` comes; None where the clock leaves that open."""
        if self._keys.history.terms.others_act:
            return False if _is_remembered(first, later) else None
        from_least, from_most = self._clock.at(first)
        least, most = self._clock.at(later)
        if from_least is not None and most is not None and most < from_least + oracle.KEY_MEMORY:
            return False
        if from_most is not None and least is not None and least >= from_most + oracle.KEY_MEMORY:
            return True
        return None
