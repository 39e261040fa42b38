"""What a history lets one know: the server's clock, the life of each session, what a request was and should have got.

Clauses judge; this only concludes, and says "unknown" (None) rather than guess. `Ledger` is the one door. Behind it
each module concludes from those below it: `keys`, `clock`, `replays`, `creations`, `sessions`, `states`, `endings`,
`lists`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qashier_contract.history import Exchange, History
from qashier_contract.ledger.clock import Clock
from qashier_contract.ledger.creations import Creation, Creations, codes_of, lines_of
from qashier_contract.ledger.endings import Ending, Endings
from qashier_contract.ledger.keys import Keys
from qashier_contract.ledger.lists import Listing, Lists, entries_of, is_odd_filter, parse_query
from qashier_contract.ledger.replays import Replays
from qashier_contract.ledger.sessions import CHANGING, ObservedSession, Sessions, act_of, documented, lasting, leads_to
from qashier_contract.ledger.states import States


class Ledger:
    """Conclusions from one history. Everything is worked out once, when it is first asked for, and kept.

    What each name concludes is said in the module where it comes from.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        keys, self._sessions = Keys(history), Sessions(history)
        clock = Clock(history, keys)
        replays = Replays(keys, clock)
        states = States(keys, clock, replays, self._sessions)
        self._keys, self._clock, self._creations = keys, clock, Creations(history, keys, clock)
        self._lists = Lists(history, self._sessions, states)
        self.endings = Endings(history, self._sessions, states)
        """How sessions ended."""
        self.clock, self.clock_of, self.deadline_passed = clock.at, states.clock_of, states.deadline_passed
        self.clock_runs, self.looks_around = clock.runs, clock.looks_around
        self.earlier_uses, self.key_was_seen = keys.earlier_uses, keys.was_seen
        self.may_be_replay, self.repeats = replays.may_be, replays.repeats
        self.attributed_clauses = self._creations.attributed_clauses
        self.refused_causes = self._creations.refused_causes
        self.journey_of, self.end_of = self._sessions.journey_of, self._sessions.end_of
        self.leads_on, self.is_under_way = states.leads_on, states.is_under_way
        self.initial, self.state_before = states.initial, states.before
        self.may_be_gone, self.may_lack = states.may_be_gone, states.may_lack
        self.following_read, self.preceding_read = states.following_read, states.preceding_read
        self.is_tied, self.is_quiet = self._lists.is_tied, self._lists.is_quiet
        self.is_strange, self.may_have_ended_unseen = self._lists.is_strange, states.may_have_ended_unseen

    @property
    def reads_clock(self) -> bool:
        return self._clock.is_readable

    @property
    def keyed(self) -> Mapping[tuple[int, str], Sequence[Exchange]]:
        return self._keys.keyed

    @property
    def creations(self) -> Sequence[Creation]:
        return self._creations.answered

    @property
    def markers(self) -> Mapping[tuple[int, str], Sequence[Exchange]]:
        return self._creations.markers

    @property
    def accepted_currencies(self) -> frozenset[str]:
        return self._creations.accepted_currencies

    @property
    def sessions(self) -> Mapping[str, ObservedSession]:
        return self._sessions.by_id

    @property
    def journeys(self) -> Mapping[str, Sequence[Exchange]]:
        return self._sessions.journeys

    @property
    def listings(self) -> Sequence[Listing]:
        return self._lists.listings


__all__ = [
    "CHANGING",
    "Creation",
    "Ending",
    "Ledger",
    "Listing",
    "ObservedSession",
    "act_of",
    "codes_of",
    "documented",
    "entries_of",
    "is_odd_filter",
    "lasting",
    "leads_to",
    "lines_of",
    "parse_query",
]
