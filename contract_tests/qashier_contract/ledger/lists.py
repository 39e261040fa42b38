"""Lists: what was asked for, and which of our sessions belong on the page."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from qashier_contract import oracle
from qashier_contract.history import Exchange, History, Operation
from qashier_contract.ledger.sessions import ObservedSession, Sessions
from qashier_contract.ledger.states import States
from qashier_contract.values import Json


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """A successful list, and what is known of our own sessions for it.

    `matching` surely exist and match filters and cursor, newest first. `uncertain` are the ids that may belong on the
    page. `excluded` are the ids that surely do not, each with what keeps it out: `cursor`, `created` or `status`.
    """

    exchange: Exchange
    query: oracle.Query
    entries: tuple[Mapping[str, Json], ...]
    ids: tuple[str, ...]
    has_more: Json
    matching: tuple[ObservedSession, ...]
    excluded: Mapping[str, str]
    uncertain: frozenset[str]
    is_exact: bool
    """Whether nobody else has sessions in this account: only then "no more" is certain."""

    @property
    def is_plain(self) -> bool:
        return self.query.cursor is None and not self.filters

    @property
    def filters(self) -> tuple[str, ...]:
        return (*(("status",) if self.query.status else ()), *(("created",) if self.query.created else ()))

    @property
    def shown(self) -> tuple[ObservedSession, ...]:
        """Our sessions of the page that belong there."""
        known = {observed.id: observed for observed in self.matching}
        return tuple(known[session_id] for session_id in self.ids if session_id in known)

    @property
    def due(self) -> tuple[ObservedSession, ...]:
        """Our sessions that come first in the direction of the walk, as many as the page shows of them."""
        count = len(set(self.shown))
        if count == 0:
            return ()
        return self.matching[-count:] if self.query.ending_before is not None else self.matching[:count]

    @property
    def remaining(self) -> int:
        """How many of our matching sessions lie beyond the page."""
        return len(self.matching) - len(set(self.shown))

    @property
    def clause(self) -> str:
        """The clause to which a page of wrong sessions is put down."""
        if self.filters and (self.query.cursor or len(self.filters) > 1):
            return "LIS-12"
        if self.filters:
            return "LIS-8" if self.query.status else "LIS-9"
        if self.query.cursor:
            return "LIS-5" if self.query.starting_after else "LIS-6"
        return "LIS-4"


_PLAIN: Final = frozenset({"status", "starting_after", "ending_before"})
_STATUSES: Final = frozenset({"open", "complete", "expired"})
_INTERVAL: Final = {f"created[{bound}]": bound for bound in ("gt", "gte", "lt", "lte")}


def _number(text: str) -> int | None:
    """A plain decimal number of at most 15 digits."""
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None


def _limit(text: str) -> int | str:
    number = _number(text)
    if number is not None and 1 <= number <= oracle.LIMIT_MOST:
        return number
    # Signs and digits of other scripts may or may not make an integer to a parser.
    loose = re.fullmatch(r"\+?\d{1,3}", text) and 1 <= int(text) <= oracle.LIMIT_MOST
    return "" if loose else "LIS-2"


def is_odd_filter(name: str, value: str) -> bool:
    """Whether a filter makes no sense, whoever reads it (LIS-15).

    Signs and size of an integer are left open.
    """
    if name == "status":
        return value not in _STATUSES
    if re.fullmatch(r"created\[[^]]*\]", name) is None:
        return False
    return name not in _INTERVAL or re.fullmatch(r"[+-]?\d+(\.0*)?", value) is None


def _may_have_a_sign(parameters: Mapping[str, str]) -> bool:
    """Whether a number may begin with a sign: whether a plus in a query is one, or a blank, is left open."""
    return any(value.startswith(" ") for name, value in parameters.items() if name not in _PLAIN)


def parse_query(exchange: Exchange) -> oracle.Query | str:
    """The parameters of a list, or the clause that says what is wrong with them; empty where that is left open."""
    limit, created = oracle.LIMIT_DEFAULT, []
    parameters = exchange.request.parameters
    names = [pair.partition("=")[0] for pair in exchange.request.query.split("&") if pair]
    if len(names) != len(set(names)) or ("+" in exchange.request.query and _may_have_a_sign(parameters)):
        return ""
    for name, value in parameters.items():
        if name == "limit":
            number = _limit(value)
            if isinstance(number, str):
                return number
            limit = number
        elif is_odd_filter(name, value):
            return "LIS-15"
        elif name in _INTERVAL:
            epoch = _number(value)
            if epoch is None or epoch > oracle.LATEST:
                return ""
            created.append((_INTERVAL[name], epoch))
        elif name not in _PLAIN:
            return ""
    cursors = [value for name, value in parameters.items() if name in {"starting_after", "ending_before"}]
    if len(cursors) > 1 or "" in cursors:
        return "LIS-13"
    return oracle.Query(
        limit=limit,
        starting_after=parameters.get("starting_after"),
        ending_before=parameters.get("ending_before"),
        status=parameters.get("status"),
        created=tuple(sorted(created)),
    )


class Lists:
    """The lists of one history."""

    def __init__(self, history: History, sessions: Sessions, states: States) -> None:
        self.history = history
        self._sessions, self._states = sessions, states

    @cached_property
    def listings(self) -> Sequence[Listing]:
        """Every successful list with valid parameters, and a body that can be read."""
        found = (self._listing(exchange) for exchange in self.history.of(Operation.LIST))
        return [listing for listing in found if listing is not None]

    @cached_property
    def _foreign(self) -> Mapping[int, frozenset[str]]:
        """The ids in each account's lists that no create of ours answered with, and none of our requests explains."""
        foreign: dict[int, set[str]] = defaultdict(set)
        for exchange in self.history.of(Operation.LIST):
            for entry in entries_of(exchange):
                session_id = entry.get("id")
                if not isinstance(session_id, str) or session_id in self._sessions.by_id or exchange.account is None:
                    continue
                foreign[exchange.account].add(session_id)
        return {account: frozenset(ids) for account, ids in foreign.items()}

    @cached_property
    def _quiet(self) -> frozenset[int]:
        """Accounts whose last page was seen, and in which no session of others was."""
        ended = set()
        for exchange in self.history.of(Operation.LIST):
            query = parse_query(exchange)
            if exchange.account is None or isinstance(query, str) or not exchange.succeeded:
                continue
            data = exchange.object.get("data")
            if query.status or query.created or query.ending_before or not isinstance(data, list):
                continue
            if len(data) < query.limit:
                ended.add(exchange.account)
        return frozenset(account for account in ended if not self._foreign.get(account))

    @cached_property
    def _lost(self) -> Mapping[int, int]:
        """When each account's first create was sent of which nobody knows whether it opened a session."""
        lost = [e for e in self.history.of(Operation.CREATE) if e.is_unknown and e.account is not None]
        return {e.account: e.sent_ns for e in reversed(lost) if e.account is not None}

    def is_quiet(self, exchange: Exchange) -> bool:
        """Whether all sessions of the account that a request was sent for are known: nobody else has any in it."""
        if self.history.terms.others_act or exchange.account is None or exchange.account not in self._quiet:
            return False
        return exchange.received_ns < self._lost.get(exchange.account, exchange.received_ns + 1)

    def _listing(self, exchange: Exchange) -> Listing | None:
        query = parse_query(exchange)
        data = exchange.object.get("data")
        if not exchange.succeeded or isinstance(query, str) or not isinstance(data, list):
            return None
        entries = entries_of(exchange)
        ids = tuple(str(entry.get("id")) for entry in entries)
        if self.is_strange(query.cursor, exchange):
            return None
        matching: list[ObservedSession] = []
        excluded: dict[str, str] = {}
        uncertain = set()
        for observed in self._sessions.by_id.values():
            if observed.account != exchange.account or exchange.is_before(observed.born):
                continue
            reason = self._exclusion(observed, exchange, query)
            if reason is None and observed.id not in ids and self._states.may_be_gone(observed, exchange):
                uncertain.add(observed.id)
            elif reason is None:
                matching.append(observed)
            elif reason:
                excluded[observed.id] = reason
            else:
                uncertain.add(observed.id)
        matching.sort(key=_rank, reverse=True)
        return Listing(
            exchange=exchange,
            query=query,
            entries=entries,
            ids=ids,
            has_more=exchange.object.get("has_more"),
            matching=tuple(matching),
            excluded=excluded,
            uncertain=frozenset(uncertain),
            is_exact=self.is_quiet(exchange) and not uncertain,
        )

    def is_strange(self, cursor: str | None, exchange: Exchange) -> bool:
        """Whether a cursor names no session that the account of a request is known to have."""
        named = self._sessions.by_id.get(cursor or "")
        return cursor is not None and (named is None or named.account != exchange.account)

    def is_tied(self, one: ObservedSession, other: ObservedSession) -> bool:
        """Whether either session may come first: of the same second, and nobody knows which was created before."""
        is_unknown = self.history.terms.others_act or one.born.overlaps(other.born)
        return one.created == other.created and is_unknown

    def _exclusion(self, observed: ObservedSession, exchange: Exchange, query: oracle.Query) -> str | None:
        """What keeps a session out of a list: `cursor`, `created`, `status`, None if nothing does, empty if unknown."""
        if not observed.born.is_before(exchange):
            return ""
        if query.cursor is not None:
            place = self._sessions.by_id[query.cursor]
            if place is not observed and self.is_tied(place, observed):
                return ""
            rank, bound = _rank(observed), _rank(place)
            if rank >= bound if query.starting_after is not None else rank <= bound:
                return "cursor"
        if not query.keeps(observed.created):
            return "created"
        if query.status is not None:
            state = self._states.before(observed, exchange)
            if state is None:
                return ""
            return None if state.status == query.status else "status"
        return None


def _rank(observed: ObservedSession) -> tuple[int, int]:
    """Where a session stands: by creation, and within a second by the order of creation (LIS-4)."""
    return observed.created, observed.ordinal


def entries_of(exchange: Exchange) -> tuple[Mapping[str, Json], ...]:
    """The entries of a list's reply that are objects."""
    data = exchange.object.get("data")
    return tuple(entry for entry in data if isinstance(entry, dict)) if isinstance(data, list) else ()
