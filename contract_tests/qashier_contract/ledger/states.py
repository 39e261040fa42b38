"""The status of a session at any moment, by the rules; None wherever that cannot be known.

Nothing is concluded about a session from the moment a target treated it against the rules: the clause concerned
reports that once, and no other clause reports its consequences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from qashier_contract import oracle
from qashier_contract.history import Exchange, Operation
from qashier_contract.ledger.clock import Clock
from qashier_contract.ledger.keys import Keys
from qashier_contract.ledger.replays import Replays
from qashier_contract.ledger.sessions import ObservedSession, Sessions, act_of
from qashier_contract.ledger.shown import Shown
from qashier_contract.page import destination
from qashier_contract.refresh import refresh_of
from qashier_contract.values import Json, has_repeated_keys

_STEPS: Final[Mapping[str, Callable[[oracle.State], oracle.State | None]]] = {
    "open": lambda state: state,
    "complete": lambda state: oracle.step(state, oracle.Act.PAYMENT_SUCCEEDED),
    "expired": lambda state: oracle.step(state, oracle.Act.EXPIRE_REQUESTED),
}
"""What makes a new session what it was shown as."""
_NEVER_NS: Final = 2**63
KEPT_S: Final = 60
"""Seconds for which a session that ended is taken to be kept."""


class States:
    """What the requests so far should have made of each session."""

    def __init__(self, keys: Keys, clock: Clock, replays: Replays, sessions: Sessions) -> None:
        self._keys, self._clock, self._replays, self._sessions = keys, clock, replays, sessions
        self._shown = Shown(sessions, replays) if sessions.history.terms.others_act else None
        self._known: dict[tuple[str, int], oracle.State | None] = {}

    def deadline_passed(self, observed: ObservedSession, exchange: Exchange) -> bool | None:
        """Whether the clock had reached `expires_at` when a request was served; None if unknown."""
        least, most = self.clock_of(observed, exchange)
        if least is not None and least >= observed.expires_at:
            return True
        if most is not None and most < observed.expires_at:
            return False
        # A session that is open has not reached it, and where one has ended the clock has no say any more.
        if self._shown is not None and self._shown.before(observed, exchange) is not None:
            return False
        return None

    def clock_of(self, observed: ObservedSession, exchange: Exchange) -> tuple[int | None, int | None]:
        """`clock`, by that of the session's account: a request may come without a key, or with another account's."""
        return self._clock.at(exchange, observed.account)

    def before(self, observed: ObservedSession, exchange: Exchange) -> oracle.State | None:
        """The state of a session when a request reached it; None if that cannot be known."""
        key = (observed.id, exchange.number)
        if key not in self._known:
            self._known[key] = self._fold(observed, exchange)
        return self._known[key]

    def _fold(self, observed: ObservedSession, exchange: Exchange) -> oracle.State | None:
        if not observed.born.is_before(exchange):
            return None
        if self._shown is not None:
            status = self._shown.before(observed, exchange)
            return None if status is None else _STEPS[status](self.initial(observed))
        state: oracle.State | None = self.initial(observed)
        busy_until_ns = 0
        for write in observed.writes:
            if write is exchange or self._until_ns(exchange) < write.sent_ns:
                continue
            until_ns = self._until_ns(write)
            if until_ns >= exchange.sent_ns or write.sent_ns <= busy_until_ns:
                return None
            state = self._after_write(observed, state, write)
            if state is None:
                return None
            busy_until_ns = max(busy_until_ns, until_ns)
        return self._by_clock(observed, state, exchange)

    def _until_ns(self, exchange: Exchange) -> int:
        """When it was surely done: what is pressed on a page may take effect where that leads."""
        return _NEVER_NS if self.is_under_way(exchange) else self._sessions.end_of(exchange).received_ns

    def initial(self, observed: ObservedSession) -> oracle.State:
        """How the session must have begun: by its request, or by what was shown where the request is odd."""
        request, shown = observed.born.request, observed.first.get("amount_total")
        try:
            total = sum(line["price_data"]["unit_amount"] * line["quantity"] for line in request.json["line_items"])
        except (KeyError, TypeError):
            total = shown
        if total != shown and has_repeated_keys(request.body or b""):  # which of two is taken is left open
            total = shown
        return oracle.opened(total if isinstance(total, int) else 1)

    def _by_clock(
        self, observed: ObservedSession, state: oracle.State | None, exchange: Exchange
    ) -> oracle.State | None:
        if state is None or state.status != "open":
            return state
        passed = self.deadline_passed(observed, exchange)
        if passed is None:
            return None
        return oracle.step(state, oracle.Act.DEADLINE_PASSED) if passed else state

    def _after_write(
        self, observed: ObservedSession, state: oracle.State | None, write: Exchange
    ) -> oracle.State | None:
        if write.is_unknown:
            return None
        if write.operation is Operation.PAGE:
            return self._after_press(observed, state, write)
        if write.account != observed.account:
            return state if write.refused else None
        if self._replays.may_be(write):
            return state if not any(use.overlaps(write) for use in self._keys.earlier_uses(write)) else None
        state = self._by_clock(observed, state, write)
        act = act_of(write)
        if state is None or act is None:
            return state if act is None and write.refused else None
        after = oracle.step(state, act)
        # What was accepted against the rules, or refused against them, leaves nothing certain.
        if (after is None) is write.succeeded:
            return None
        return state if after is None else after

    def _after_press(
        self, observed: ObservedSession, state: oracle.State | None, press: Exchange
    ) -> oracle.State | None:
        """A payment on the page counts once the customer is led to where it leads; one that fails changes nothing."""
        state, act = self._by_clock(observed, state, press), act_of(press)
        if state is None or act is None:
            return state if press.page_act == "pay-redirect" else None
        after = oracle.step(state, act)
        if after in {None, state}:
            # Closed stays closed; but who is led on by the page of an expired session was told that it was paid.
            deceived = state.status == "expired" and press.page_act == "pay-card" and self.leads_on(observed, press)
            return None if deceived else state
        return after if self.leads_on(observed, press) else None

    def leads_on(self, observed: ObservedSession, press: Exchange) -> bool:
        """Whether what was pressed leads to the shop, where it must lead (PAY-1, PAY-5)."""
        wanted = observed.first.get("success_url" if press.page_act in {"pay-card", "pay-declined"} else "return_url")
        end = self._sessions.end_of(press)
        location = end.reply.header("location") if end.reply is not None else None
        return (
            location is not None and isinstance(wanted, str) and re.fullmatch(destination(wanted), location) is not None
        )

    def after(self, observed: ObservedSession, write: Exchange) -> oracle.State | None:
        """The state right after a write, by the rules; None if that cannot be known."""
        before = self.before(observed, write)
        return None if before is None else self._after_write(observed, before, write)

    def may_be_gone(self, observed: ObservedSession, exchange: Exchange) -> bool:
        """Whether a session ended long enough ago that a target may keep it no more; never true of our own mock.

        How long an ended session is kept is left open; what ended less than a minute ago is taken to be there, for its
        customer is on the way back.
        """
        if self._sessions.history.terms.own:
            return False
        # What overlaps may have been first.
        may_precede = [w for w in observed.writes if not exchange.is_before(w)]
        ended = [w for w in may_precede if w.succeeded or w.operation is Operation.PAGE]
        moments = [self.clock_of(observed, write)[0] for write in ended]  # it may have been as early as that
        _, now = self.clock_of(observed, exchange)
        if now is None:
            return False
        return any(moment is None or now >= moment + KEPT_S for moment in (*moments, observed.expires_at))

    def may_lack(self, session_id: str | None, exchange: Exchange) -> bool:
        """Whether a target may keep a session no more that a request names."""
        named = self._sessions.by_id.get(session_id or "")
        return named is not None and self.may_be_gone(named, exchange)

    def may_have_ended_unseen(self, first: Mapping[str, Json], second: Mapping[str, Json]) -> bool:
        """Whether a session may have ended between two views of it by what nobody recorded."""
        if first.get("status") != "open" or second.get("status") == "open":
            return False
        named = self._sessions.by_id.get(str(first.get("id")))
        return self._shown is not None or (named is not None and any(map(self.is_under_way, named.writes)))

    def is_under_way(self, press: Exchange) -> bool:
        """Whether what was pressed ended on a page that leads on by itself: a payment may still be under way."""
        return press.operation is Operation.PAGE and refresh_of(self._sessions.end_of(press)) is not None

    def is_alone(self, observed: ObservedSession, write: Exchange) -> bool:
        """Whether no other write to the session was under way at the same time."""
        return not any(
            other.sent_ns <= self._until_ns(write) and write.sent_ns <= self._until_ns(other)
            for other in observed.writes
            if other is not write
        )

    def following_read(self, observed: ObservedSession, write: Exchange) -> Exchange | None:
        """The first retrieve after a write with no other write in between, before the clock could interfere."""
        if not self.is_alone(observed, write):
            return None
        for read in observed.reads:
            if read.sent_ns <= self._until_ns(write):
                continue
            if any(w is not write and write.sent_ns <= w.sent_ns < read.received_ns for w in observed.writes):
                return None
            if self._shown is not None and read.object.get("status") != "open":
                return None  # whoever is not recorded may have ended it
            if self.deadline_passed(observed, read) == self.deadline_passed(observed, write) is not None:
                return read
            return None
        return None

    def preceding_read(self, observed: ObservedSession, write: Exchange) -> Exchange | None:
        """The last retrieve before a write, with no other write in between; None if there is none."""
        if not self.is_alone(observed, write):
            return None
        earlier = [w for w in observed.writes if w.is_before(write)]
        reads = [read for read in observed.reads if read.is_before(write)]
        views = [read for read in reads if not earlier or earlier[-1].is_before(read)]
        if views and self.deadline_passed(observed, views[-1]) == self.deadline_passed(observed, write) is not None:
            return views[-1]
        return None
