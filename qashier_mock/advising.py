"""Which advice an account is given: what is new to it, and what a strict account refuses instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from qashier_mock.core.advice import MOST_PIECES, Advice, AdviceKind, PollWatch, name_fields
from qashier_mock.core.errors import RequestInvalid
from qashier_mock.core.model import AccountId
from qashier_mock.core.request import RequestRef
from qashier_mock.core.sources import Clock
from qashier_mock.stores.base import Transaction

_POLLS_KEPT: Final = 10_000
"""Accounts whose polling is watched."""

_STRICT_CODES: Final = {
    AdviceKind.IDEMPOTENCY_KEY_MISSING: "parameter_missing",
    AdviceKind.UNKNOWN_FIELD: "parameter_unknown",
}


class Advisor:
    """Finds and remembers what is new; each answer is the advice that the account was never given before."""

    def __init__(self, clock: Clock, *, strict: bool) -> None:
        """Advise accounts; those without a setting of their own are `strict`, or not."""
        self._clock = clock  # the machine's: polling costs real requests
        self._strict = strict
        self._polls: dict[AccountId, PollWatch] = {}

    def is_strict(self, tx: Transaction) -> bool:
        """Whether advice about a request is a refusal in this account."""
        strict = tx.state.profile.strict
        return self._strict if strict is None else strict

    async def about(self, tx: Transaction, request: RequestRef, now: int) -> Sequence[Advice]:
        """What the request itself earns; a strict account refuses it instead."""
        if not request.advice:
            return ()
        if self.is_strict(tx):
            raise _refusal(request.advice)
        return await self.new(tx, request.advice, request.id, now)

    def is_polling(self, tx: Transaction, session_id: str, now: int) -> bool:
        """Count one more read of an open session; True when it makes the polling tight (`TIGHT_POLLING`).

        The counts are this process's own, and may be forgotten at any time.
        """
        watch = self._polls.get(tx.account)
        if watch is None:
            if len(self._polls) >= _POLLS_KEPT:
                self._polls.clear()
            watch = self._polls[tx.account] = PollWatch()
        clock = tx.state.profile.clock  # the machine's own is read again only where this one stands
        return watch.note(session_id, now - clock.offset if clock.frozen_at is None else self._clock())

    async def new(self, tx: Transaction, advice: Sequence[Advice], request_id: str, now: int) -> Sequence[Advice]:
        """Remember advice; return what is new to the account."""
        new: list[Advice] = []
        for each in advice:
            if each.kind is AdviceKind.UNKNOWN_FIELD:
                known = {note.advice.subject for note in tx.state.advice}
                if each.subject not in known and len(known) >= MOST_PIECES:
                    continue
            if (await tx.change()).note_advice(each, request_id, now):
                new.append(each)
        return new


def _refusal(advice: Sequence[Advice]) -> RequestInvalid:
    first = advice[0]
    message = first.message
    if first.kind is AdviceKind.UNKNOWN_FIELD:
        message = name_fields((each.param or "", each.nearest) for each in advice if each.kind is first.kind)
    return RequestInvalid(
        f"Refused in strict mode: {message}",
        code=_STRICT_CODES.get(first.kind, "parameter_invalid"),
        param=first.param,
    )
