"""What a history lets one know: the server's clock, the life of each session, what a request was and should have got.

Clauses judge; this only concludes, and says "unknown" (None) rather than guess. `Ledger` is the one door. Behind it
each module concludes from those below it: `keys`, `clock`, `replays`, `creations`, `sessions`, `states`, `endings`,
`lists`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qashier_contract.ledger.clock import Clock
from qashier_contract.ledger.creations import Creation, Creations, codes_of
from qashier_contract.ledger.endings import Ending, Endings
from qashier_contract.ledger.keys import Keys
from qashier_contract.ledger.lists import Listing, Lists, entries_of, is_odd_filter, parse_query
from qashier_contract.ledger.replays import Replays
from qashier_contract.ledger.sessions import CHANGING, ObservedSession, Sessions, act_of, documented, lasting
from qashier_contract.ledger.states import States

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qashier_contract import oracle
    from qashier_contract.history import Exchange, History
    from qashier_contract.values import Json


class Ledger:
    """Conclusions from one history. Everything is worked out once, when it is first asked for, and kept."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._keys = Keys(history)
        self._clock = Clock(history, self._keys)
        self._replays = Replays(self._keys, self._clock)
        self._creations = Creations(history, self._keys, self._clock)
        self._sessions = Sessions(history)
        self._states = States(self._keys, self._clock, self._replays, self._sessions)
        self.endings = Endings(history, self._sessions, self._states)
        """How sessions ended."""
        self._lists = Lists(history, self._sessions, self._states)

    # The clock.

    @property
    def reads_clock(self) -> bool:
        """Whether the target's clock can be read; otherwise `created` of new sessions tells it."""
        return self._clock.is_readable

    def clock(self, exchange: Exchange) -> tuple[int | None, int | None]:
        """The least and the most that the account's clock can have shown while a request was served, epoch seconds."""
        return self._clock.at(exchange)

    def clock_of(self, observed: ObservedSession, exchange: Exchange) -> tuple[int | None, int | None]:
        """`clock`, by that of the session's account: a request may come without a key, or with another account's."""
        return self._states.clock_of(observed, exchange)

    def deadline_passed(self, observed: ObservedSession, exchange: Exchange) -> bool | None:
        """Whether the clock had reached `expires_at` when a request was served; None if unknown."""
        return self._states.deadline_passed(observed, exchange)

    # Idempotency keys.

    @property
    def keyed(self) -> Mapping[tuple[int, str], Sequence[Exchange]]:
        """The POSTs that carried an idempotency key, by account and key, in the order of sending."""
        return self._keys.keyed

    def earlier_uses(self, exchange: Exchange) -> Sequence[Exchange]:
        """The requests that used the key of this one before it, or at the same time."""
        return self._keys.earlier_uses(exchange)

    def key_was_seen(self, exchange: Exchange) -> bool:
        """Whether another request used the key of this one before it, or at the same time."""
        return self._keys.was_seen(exchange)

    def may_be_replay(self, exchange: Exchange) -> bool:
        """Whether the answer may be an earlier one again, so that it tells nothing about the session as of now."""
        return self._replays.may_be(exchange)

    def repeats(self) -> Iterator[tuple[Exchange, Exchange, bool | None]]:
        """The sequential uses of a remembered key: the first success, a later use, whether it is forgotten by then."""
        return self._replays.repeats()

    # Creates.

    @property
    def creations(self) -> Sequence[Creation]:
        """Every create that was answered, in the order of sending."""
        return self._creations.answered

    @property
    def markers(self) -> Mapping[tuple[int, str], Sequence[Exchange]]:
        """The creates by account and `success_url`. Ours are unique, so a session tells which request made it."""
        return self._creations.markers

    @property
    def accepted_currencies(self) -> frozenset[str]:
        """What this target lets its accounts charge, as far as a tester said it or an answer showed it."""
        return self._creations.accepted_currencies

    def attributed_clauses(self, creation: Creation) -> frozenset[str]:
        """The clauses that a refusal of a faultless create breaks; empty where it may be refused."""
        return self._creations.attributed_clauses(creation)

    # Sessions.

    @property
    def sessions(self) -> Mapping[str, ObservedSession]:
        """The sessions that creates answered with, by id, in the order of creation."""
        return self._sessions.by_id

    @property
    def journeys(self) -> Mapping[str, Sequence[Exchange]]:
        """What was pressed on the pages of each session, and where that led, in the order of sending."""
        return self._sessions.journeys

    def end_of(self, press: Exchange) -> Exchange:
        """The last exchange of the redirects that followed what was pressed."""
        return self._sessions.end_of(press)

    def leads_on(self, observed: ObservedSession, press: Exchange) -> bool:
        """Whether what was pressed leads to the shop, where it must lead (PAY-1, PAY-5)."""
        return self._states.leads_on(observed, press)

    def initial(self, observed: ObservedSession) -> oracle.State:
        """How the session must have begun: by its request, or by what was shown where the request is odd."""
        return self._states.initial(observed)

    def state_before(self, observed: ObservedSession, exchange: Exchange) -> oracle.State | None:
        """The state of a session when a request reached it; None if that cannot be known."""
        return self._states.before(observed, exchange)

    def state_after(self, observed: ObservedSession, write: Exchange) -> oracle.State | None:
        """The state right after a write, by the rules; None if that cannot be known."""
        return self._states.after(observed, write)

    def may_be_gone(self, observed: ObservedSession, exchange: Exchange) -> bool:
        """Whether a session ended so long ago that a target may keep it no more; never true of our own mock."""
        return not self.history.terms.own and self._states.may_be_gone(observed, exchange)

    def following_read(self, observed: ObservedSession, write: Exchange) -> Exchange | None:
        """The first retrieve after a write with no other write in between, before the clock could interfere."""
        return self._states.following_read(observed, write)

    def preceding_read(self, observed: ObservedSession, write: Exchange) -> Exchange | None:
        """The last retrieve before a write, with no other write in between; None if there is none."""
        return self._states.preceding_read(observed, write)

    def may_have_ended_unseen(self, first: Mapping[str, Json], second: Mapping[str, Json]) -> bool:
        """Whether a session may have ended between two views of it by what nobody recorded."""
        was_open = first.get("status") == "open"
        return self.history.terms.others_act and was_open and second.get("status") != "open"

    # Lists.

    @property
    def listings(self) -> Sequence[Listing]:
        """Every successful list with valid parameters, and a body that can be read."""
        return self._lists.listings

    def is_tied(self, one: ObservedSession, other: ObservedSession) -> bool:
        """Whether either session may come first: of the same second, and nobody knows which was created before."""
        return self._lists.is_tied(one, other)

    def is_quiet(self, exchange: Exchange) -> bool:
        """Whether all sessions of the account that a request was sent for are known: nobody else has any in it."""
        return self._lists.is_quiet(exchange)


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
    "parse_query",
]
