"""Idempotency keys: which requests used which, and in what order. What is remembered needs the clock: `replays`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

from qashier_contract.history import Exchange, History, Operation
from qashier_contract.values import is_integer

_OLD_S: Final = 300
"""How many seconds older than its request a session must be to be that of an earlier one: clocks differ a little."""


class Keys:
    """The uses of idempotency keys in one history."""

    def __init__(self, history: History) -> None:
        self.history = history

    @cached_property
    def keyed(self) -> Mapping[tuple[int, str], Sequence[Exchange]]:
        """The POSTs that carried an idempotency key, by account and key, in the order of sending."""
        keyed: dict[tuple[int, str], list[Exchange]] = defaultdict(list)
        for exchange in self.history.of(Operation.CREATE, Operation.EXPIRE):
            key = exchange.request.idempotency_key
            if key and exchange.account is not None:
                keyed[exchange.account, key].append(exchange)
        return keyed

    def earlier_uses(self, exchange: Exchange) -> Sequence[Exchange]:
        """The requests that used the key of this one before it, or at the same time."""
        key = exchange.request.idempotency_key
        if not key or exchange.account is None:
            return ()
        uses = self.keyed.get((exchange.account, key), ())
        return [use for use in uses if use is not exchange and not exchange.is_before(use)]

    def was_seen(self, exchange: Exchange) -> bool:
        """Whether another request used the key of this one before it, or at the same time."""
        return bool(self.earlier_uses(exchange)) or self._was_used_unseen(exchange)

    def _was_used_unseen(self, exchange: Exchange) -> bool:
        """Whether the session of a create is older than its request: the key was used before the record began."""
        terms, created = self.history.terms, exchange.object.get("created")
        if not terms.others_act or terms.wall_ns is None or not exchange.request.idempotency_key:
            return False
        sent_s = (terms.wall_ns + exchange.sent_ns - terms.monotonic_ns) // 10**9
        return is_integer(created) and created < sent_s - _OLD_S

    def first_answer(self, exchange: Exchange) -> Exchange | None:
        """The success that this request's key is remembered by, None if there is none, or it is not certain which."""
        for use in self.earlier_uses(exchange):
            if use.is_unknown or use.overlaps(exchange):
                return None
            if use.succeeded:
                return use
        return None
