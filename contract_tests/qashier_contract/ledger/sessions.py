"""The sessions that creates answered with, and everything that read them or wrote to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from urllib.parse import urldefrag

from qashier_contract import oracle
from qashier_contract.addresses import joined
from qashier_contract.document import named
from qashier_contract.history import Exchange, History, Operation
from qashier_contract.page import Page
from qashier_contract.refresh import refresh_of
from qashier_contract.values import Json, is_integer

_OUTCOMES: Final = {
    "succeeded": oracle.Act.PAYMENT_SUCCEEDED,
    "failed": oracle.Act.PAYMENT_FAILED,
    "canceled": oracle.Act.PAYMENT_CANCELED,
}
_PRESSED: Final = {
    "pay-card": oracle.Act.PAYMENT_SUCCEEDED,
    "authorise": oracle.Act.PAYMENT_SUCCEEDED,
    "pay-declined": oracle.Act.PAYMENT_FAILED,
    "cancel": oracle.Act.PAYMENT_CANCELED,
}
"""What a customer asks for by what is pressed on a page."""
CHANGING: Final = frozenset({"status", "payment_status"})
"""The properties of a session that may change (RET-4)."""


def documented(session: Json) -> dict[str, Json]:
    """What the document names of a session, its lines included; what an implementation adds is its own affair."""
    found: dict[str, Json] = named("CheckoutSession", session)
    return found


def lasting(session: Json) -> dict[str, Json]:
    """The documented properties that never change."""
    return {name: value for name, value in documented(session).items() if name not in CHANGING}


def act_of(exchange: Exchange) -> oracle.Act | None:
    """What a writing request asks to happen to its session."""
    if exchange.operation is Operation.PAGE:
        return _PRESSED.get(exchange.page_act or "")
    if exchange.operation is Operation.EXPIRE:
        return oracle.Act.EXPIRE_REQUESTED
    outcome = exchange.request.json
    return _OUTCOMES.get(outcome.get("outcome", "")) if isinstance(outcome, dict) else None


def leads_to(exchange: Exchange) -> str | None:
    """Where a redirect leads, absolute, or a page by itself on the same host; None if it leads nowhere."""
    location = exchange.reply.header("location") if exchange.reply is not None else None
    if location is None:
        refresh = refresh_of(exchange)
        return None if refresh is None else refresh[1]
    return joined(exchange.request.path, location)


def _is_at(exchange: Exchange, url: str) -> bool:
    return urldefrag(url)[0] == urldefrag(exchange.request.path)[0]


@dataclass(slots=True, eq=False)
class ObservedSession:
    """One session that a create answered with."""

    id: str
    account: int
    ordinal: int
    born: Exchange
    first: Mapping[str, Json]
    writes: list[Exchange] = field(default_factory=list)
    """Requests that may have changed it, in the order of sending: expire, pay, what was pressed on its page."""
    reads: list[Exchange] = field(default_factory=list)
    """Successful retrieves, in the order of sending."""

    @property
    def created(self) -> int:
        created = self.first.get("created")
        return created if is_integer(created) else 0

    @property
    def expires_at(self) -> int:
        """As it was told; where that is no integer, as it ought to be."""
        asked = self.born.request.json
        for told in (self.first, asked if isinstance(asked, dict) else {}):
            if is_integer(expires_at := told.get("expires_at")):
                return expires_at
        return self.created + oracle.LONGEST_LIFE if self.created else _NEVER


_NEVER: Final = 2**53


class Sessions:
    """The sessions of one history."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._followed: dict[int, list[Exchange]] = {}

    @cached_property
    def by_id(self) -> Mapping[str, ObservedSession]:
        """The sessions that creates answered with, by id, in the order of creation."""
        sessions: dict[str, ObservedSession] = {}
        for exchange in self.history.of(Operation.CREATE):
            session_id = exchange.object.get("id")
            if not exchange.succeeded or not isinstance(session_id, str) or session_id in sessions:
                continue
            assert exchange.account is not None
            sessions[session_id] = ObservedSession(
                session_id, exchange.account, len(sessions), exchange, exchange.object
            )
        of_any_case = {session_id.lower(): observed for session_id, observed in sessions.items()}
        for exchange in self.history.exchanges:
            asked = exchange.page_of or exchange.request.session_id or ""
            named = sessions.get(asked)
            if named is None and exchange.succeeded and not self.history.terms.own:
                named = of_any_case.get(asked.lower())  # whether the case of an id counts is left open
            if named is None or exchange.was_limited:
                continue
            key = exchange.request.idempotency_key
            if key is not None and len(key) > oracle.KEY_LENGTH and exchange.refused:
                continue  # IDM-3: nothing was asked of the session
            follows = (exchange.page_act or "").endswith((", led on", Page.CONFIRMED))
            pressed = exchange.operation is Operation.PAGE and not follows and self._sends(exchange)
            if exchange.operation in {Operation.EXPIRE, Operation.PAY} or pressed:
                named.writes.append(exchange)
            read = exchange.operation is Operation.RETRIEVE and exchange.account == named.account
            if read and exchange.succeeded and exchange.object.get("id") == named.id:
                named.reads.append(exchange)
        return sessions

    def _sends(self, press: Exchange) -> bool:
        """Whether what was pressed sent something: at once, or where a link led to what had to be confirmed."""
        is_act = act_of(press) is not None
        return any(e.request.method == "POST" for e in (self.journey_of(press) if is_act else (press,)))

    @cached_property
    def journeys(self) -> Mapping[str, Sequence[Exchange]]:
        """What was pressed on the pages of each session, and where that led, in the order of sending."""
        journeys: dict[str, list[Exchange]] = defaultdict(list)
        for exchange in self.history.of(Operation.PAGE):
            if exchange.page_of is not None and exchange.page_act != "view":
                journeys[exchange.page_of].append(exchange)
        return journeys

    def journey_of(self, press: Exchange) -> Sequence[Exchange]:
        """What was pressed, and all that followed: redirects, and where it was confirmed on a page of its own.

        Another press may be under way at the same time.
        """
        if press.operation is not Operation.PAGE:
            return [press]
        if press.number in self._followed:
            return self._followed[press.number]
        journey = self._followed[press.number] = [press]
        confirmed = f"{press.page_act}{Page.CONFIRMED}"
        for later in self.journeys.get(press.page_of or "", ()):
            last, there = journey[-1], leads_to(journey[-1])
            is_led = later.page_act in {f"{press.page_act}, led on", f"{confirmed}, led on"}
            is_there = is_led and later.page_from in {None, last.number} and there is not None and _is_at(later, there)
            is_confirmed = later.page_act == confirmed and later.page_from == last.number
            if later.number > last.number and (is_there or is_confirmed):
                journey.append(later)
        return journey

    def end_of(self, press: Exchange) -> Exchange:
        """The last exchange of the redirects that followed what was pressed."""
        return self.journey_of(press)[-1]
