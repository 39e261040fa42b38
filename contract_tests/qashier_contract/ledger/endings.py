"""How sessions ended, and from when on that must have been told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from qashier_contract import oracle
from qashier_contract.history import Exchange, History, Operation
from qashier_contract.ledger.sessions import ObservedSession, Sessions
from qashier_contract.ledger.states import States
from qashier_contract.observed_events import feeds, last_feeds, tells_of

SOON_NS: Final = 2 * 10**9
"""How long after a change a list of events may still lack it: what is told is read from elsewhere, perhaps."""


class Ending(NamedTuple):
    """A session that surely became terminal, how, and by which request (None: by the clock)."""

    session: ObservedSession
    state: oracle.State
    write: Exchange | None


class Endings:
    """The sessions of one history that surely ended."""

    def __init__(self, history: History, sessions: Sessions, states: States) -> None:
        self.history = history
        self._sessions, self._states = sessions, states

    @cached_property
    def known(self) -> Sequence[Ending]:
        """All of them, in the order of creation."""
        return tuple(self._find())

    def _find(self) -> Iterator[Ending]:
        for observed in self._sessions.by_id.values():
            for write in observed.writes:
                before, after = self._states.before(observed, write), self._states.after(observed, write)
                if before is None or after is None:
                    break
                if before.status == "expired":
                    if not self.history.terms.others_act:
                        yield Ending(observed, before, None)
                    break
                by_page = write.operation is Operation.PAGE
                if before.status == "open" and after.status != "open" and (write.succeeded or by_page):
                    yield Ending(observed, after, write)
                    break
            else:
                clocks = [time for time in self.history.times(observed.account) if observed.born.is_before(time[0])]
                if clocks and not self.history.terms.others_act:
                    last, now = clocks[-1]
                    state = self._states.before(observed, last)
                    if state is not None and now >= observed.expires_at:
                        ended = oracle.step(state, oracle.Act.DEADLINE_PASSED)
                        yield Ending(observed, state if ended is None else ended, None)

    def ended_ns(self, observed: ObservedSession, write: Exchange | None) -> int | None:
        """When a session surely had ended, by the machine's clock; None if the clock ended it, and was not seen to."""
        if write is not None:
            return self._sessions.end_of(write).received_ns
        times = self.history.times(observed.account)
        return min((exchange.received_ns for exchange, now in times if now >= observed.expires_at), default=None)

    def is_before(self, observed: ObservedSession, write: Exchange | None, feed: Exchange) -> bool:
        """Whether a session surely had ended when a list of events was asked for."""
        if write is not None:
            return write.is_before(feed)
        return self._states.deadline_passed(observed, feed) is True

    def asked_for_ns(self, observed: ObservedSession, write: Exchange | None, feed: Exchange) -> int:
        """How long before a list an earlier one was asked for, of those since a session had ended; 0 for the first.

        What is brought up to date when somebody looks, has it at the second look.
        """
        ended_ns = self.ended_ns(observed, write)
        if ended_ns is None:
            return 0
        looks = (e.received_ns for e in feeds(self.history) if e.account == feed.account and e.sent_ns >= ended_ns)
        return max(0, feed.sent_ns - min(looks, default=feed.sent_ns))

    def must_be_told(self, observed: ObservedSession, write: Exchange | None, feed: Exchange) -> bool:
        """Whether a list of events was asked for long enough after the first that could have told of an ending."""
        return self.asked_for_ns(observed, write, feed) >= SOON_NS

    def overdue(self) -> Mapping[int, int]:
        """The accounts whose last list of events lacks one that it might get yet.

        Returns:
            For each account the moment from which on a list must have it, by the monotonic clock in nanoseconds.
        """
        last = last_feeds(self.history)
        due: dict[int, int] = {}
        for observed, _, write in self.known:
            feed = last.get(observed.account)
            if feed is None or not self.is_before(observed, write, feed) or tells_of(feed, observed.id):
                continue
            asked_ns = self.asked_for_ns(observed, write, feed)
            if asked_ns < SOON_NS:
                due[observed.account] = max(due.get(observed.account, 0), feed.sent_ns - asked_ns + SOON_NS)
        return due
