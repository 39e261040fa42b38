"""What a history lets one know: the server's clock, the life of each session, what a request was and should have got.

Clauses judge; this only concludes, and says "unknown" (None) rather than guess. Nothing is concluded about a session
from the moment a target treated it against the rules: the clause concerned reports that once, and no other clause
reports its consequences.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeGuard

from qashier_contract import oracle
from qashier_contract.document import named
from qashier_contract.history import NOT_JSON, Capability, Exchange, History, Json, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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


def differences(first: Mapping[str, Json], second: Mapping[str, Json]) -> list[str]:
    """The names of the properties in which two sessions differ. 1 and 1.0 and true are three values."""
    return [
        name
        for name in sorted({*first, *second})
        if name not in first or name not in second or not same(first[name], second[name])
    ]


def same(first: Json, second: Json) -> bool:
    """Whether two JSON values are equal, numbers by their type as well."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return type(first) is type(second) and bool(first == second)


def is_integer(value: Json) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def act_of(exchange: Exchange) -> oracle.Act | None:
    """What a writing request asks to happen to its session."""
    if exchange.operation is Operation.PAGE:
        return _PRESSED.get(exchange.page_act or "")
    if exchange.operation is Operation.EXPIRE:
        return oracle.Act.EXPIRE_REQUESTED
    outcome = exchange.request.json
    return _OUTCOMES.get(outcome.get("outcome", "")) if isinstance(outcome, dict) else None


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
        expires_at = self.first.get("expires_at")
        return expires_at if is_integer(expires_at) else 0


@dataclass(frozen=True, slots=True, eq=False)
class Creation:
    """A create that was answered, and what it deserved.

    `faults` is None where the documents leave it open. `blame` names the clauses to which a refusal of a faultless one
    is put down: those of its traits that the target accepts in no other request.
    """

    exchange: Exchange
    faults: tuple[oracle.Fault, ...] | None
    features: Mapping[str, str] = field(default_factory=dict)
    key_was_seen: bool = False

    @property
    def is_faultless(self) -> bool:
        return self.faults == ()


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """A successful list, and what is known of our own sessions for it.

    `matching` are those that surely exist and match the filters, newest first; `doubtful` may; `barred` surely do not
    match, each with the reason: `status`, `created`. `before` and `after` the cursor is decided by `place`.
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
        return self.cursor is None and not self.filters

    @property
    def cursor(self) -> str | None:
        return self.query.starting_after or self.query.ending_before

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
        if self.filters and (self.cursor or len(self.filters) > 1):
            return "LIS-12"
        if self.filters:
            return "LIS-8" if self.query.status else "LIS-9"
        if self.cursor:
            return "LIS-5" if self.query.starting_after else "LIS-6"
        return "LIS-4"


_BOUND: Final = 4_102_444_800
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
    # Signs, blanks and digits of other scripts may or may not make an integer to a parser.
    loose = re.fullmatch(r"\s*\+?\d{1,3}\s*", text) and 1 <= int(text) <= oracle.LIMIT_MOST
    return "" if loose else "LIS-2"


def parse_query(exchange: Exchange) -> oracle.Query | str:
    """The parameters of a list, or the clause that says what is wrong with them; empty where that is left open."""
    limit, created = oracle.LIMIT_DEFAULT, []
    parameters = exchange.request.parameters
    names = [pair.partition("=")[0] for pair in exchange.request.query.split("&") if pair]
    if len(names) != len(set(names)):
        return ""
    for name, value in parameters.items():
        if name == "limit":
            number = _limit(value)
            if isinstance(number, str):
                return number
            limit = number
        elif name in _INTERVAL:
            epoch = _number(value)
            if epoch is None or epoch > _BOUND:
                return ""
            created.append((_INTERVAL[name], epoch))
        elif name not in _PLAIN or (name == "status" and value not in _STATUSES):
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


class Ledger:
    """Conclusions from one history. Everything is worked out once and kept."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._states: dict[tuple[str, int], oracle.State | None] = {}

    # ── the clock ───────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def reads_clock(self) -> bool:
        """Whether the target's clock can be read; otherwise `created` of new sessions tells it."""
        return Capability.CLOCK in self.history.terms.capabilities

    @cached_property
    def _ticks(self) -> Mapping[int | None, Sequence[_Tick]]:
        ticks: dict[int | None, list[_Tick]] = defaultdict(list)
        for exchange in self.history.exchanges:
            tick = self._clock_tick(exchange) if self.reads_clock else self._created_tick(exchange)
            if tick is not None and exchange.account is not None:
                ticks[self.history.clock_name(exchange.account)].append(tick)
        return ticks

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
        if exchange.request.idempotency_key is not None and self.key_was_seen(exchange):
            return None
        return _Tick(exchange.sent_ns, exchange.received_ns, created, created, frozen=False)

    def clock(self, exchange: Exchange) -> tuple[int | None, int | None]:
        """The least and the most that the account's clock can have shown while a request was served, epoch seconds."""
        if exchange.account is None:
            return None, None
        ticks = self._ticks.get(self.history.clock_name(exchange.account), ())
        position = bisect_left(ticks, exchange.sent_ns, key=lambda tick: tick.sent_ns)
        latest = next((t for t in reversed(ticks[:position]) if t.received_ns <= exchange.sent_ns), None)
        following = next((t for t in ticks[position:] if t.sent_ns >= exchange.received_ns), None)
        overlapped = any(
            t.received_ns > exchange.sent_ns and t.sent_ns < exchange.received_ns and t.before != t.now
            for t in ticks[max(0, position - 8) : position + 8]
        )
        least = None if latest is None else latest.now
        most = None if following is None else following.before
        if latest is not None and not overlapped:
            elapsed = 0 if latest.frozen else math.ceil((exchange.received_ns - latest.sent_ns) / 1e9) + 1
            reckoned = latest.now + elapsed
            most = reckoned if most is None else min(most, reckoned)
        if least is not None and most is not None and most < least:
            return None, None  # somebody else moved the clock, or it went backwards
        return least, most

    # ── idempotency keys ────────────────────────────────────────────────────────────────────────────────────────────

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

    def key_was_seen(self, exchange: Exchange) -> bool:
        return bool(self.earlier_uses(exchange))

    def first_answer(self, exchange: Exchange) -> Exchange | None:
        """The success that this request's key is remembered by, None if there is none, or it is not certain which."""
        for use in self.earlier_uses(exchange):
            if use.is_unknown or use.overlaps(exchange):
                return None
            if use.succeeded:
                return use
        return None

    def may_be_replay(self, exchange: Exchange) -> bool:
        """Whether the answer may be an earlier one again, so that it tells nothing about the session as of now."""
        now, _ = self.clock(exchange)
        for use in self.earlier_uses(exchange):
            if use.refused:
                continue
            # Once a key is forgotten, its next success is remembered in its turn: any use may be the one that counts.
            _, answered = self.clock(use)
            if answered is None or now is None or now < answered + oracle.KEY_MEMORY:
                return True
        return False

    # ── creations and lives ─────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def creations(self) -> Sequence[Creation]:
        """Every create that was answered."""
        return [self._creation(e) for e in self.history.of(Operation.CREATE) if e.reply is not None]

    def _creation(self, exchange: Exchange) -> Creation:
        earliest, latest = self.clock(exchange)
        seen = self.key_was_seen(exchange)
        try:
            found = (
                *self._header_faults(exchange),
                *oracle.faults(
                    exchange.request.json,
                    earliest=earliest,
                    latest=latest,
                    unknown_fields=self.history.terms.policy.unknown_fields,
                ),
            )
        except oracle.Open:
            return Creation(exchange, None, key_was_seen=seen)
        # A body that never was JSON may be refused for its media type or its size first: one fault is enough.
        if any(fault.clause == "HTTP-4" and fault.path for fault in found):
            found = tuple(fault for fault in found if fault.clause == "HTTP-4" and fault.path)
        if found:
            return Creation(exchange, found, key_was_seen=seen)
        key = exchange.request.idempotency_key
        features = oracle.features_of(exchange.request.json, key=key, earliest=earliest)
        if oracle.has_unknown_fields(exchange.request.json):
            features["an unknown field, which the policy ignores"] = "CRE-1"
        body = exchange.request.body or b""
        if len(body) > oracle.BODY_MOST // 2:
            features["a body of more than 1 MiB"] = "HTTP-4"
        media_type = exchange.request.header("Content-Type")
        if media_type != "application/json":
            features[f"media type {media_type}"] = "HTTP-4"
        return Creation(exchange, (), features, key_was_seen=seen)

    @staticmethod
    def _header_faults(exchange: Exchange) -> Iterator[oracle.Fault]:
        request = exchange.request
        media_type = (request.header("Content-Type") or "application/json").partition(";")[0].strip().lower()
        if request.header("Content-Encoding") is not None or request.query or media_type.endswith("+json"):
            raise oracle.Open("an encoding, a query or a media type that no document mentions")
        if media_type != "application/json":
            yield oracle.Fault("HTTP-4", "Content-Type", f"the media type is {media_type}")
        if len(request.body or b"") > oracle.BODY_MOST:
            yield oracle.Fault("HTTP-4", "Content-Length", "the body is above 2 MiB")
        keys = [value for name, value in request.headers if name.lower() == "idempotency-key"]
        if len(keys) > 1 or any(not key or not key.isascii() or not key.isprintable() or " " in key for key in keys):
            raise oracle.Open("an idempotency key that is empty, doubled or no visible ASCII")
        if keys and len(keys[0]) > oracle.KEY_LENGTH:
            yield oracle.Fault("IDM-3", "Idempotency-Key", f"{len(keys[0])} characters")

    @cached_property
    def accepted_features(self) -> frozenset[str]:
        """What the target has shown that it accepts."""
        return frozenset(
            feature
            for creation in self.creations
            if creation.is_faultless and creation.exchange.succeeded and not creation.key_was_seen
            for feature in creation.features
        )

    @cached_property
    def accepted_currencies(self) -> frozenset[str]:
        """What this target lets its accounts charge, as far as a tester said it or an answer showed it."""
        named = {*self.history.terms.currencies, *(self.history.terms.policy.currencies or ())}
        for creation in self.creations:
            if creation.is_faultless and creation.exchange.succeeded:
                named |= {line["price_data"]["currency"] for line in creation.exchange.request.json["line_items"]}
        return frozenset(named)

    def attributed_clauses(self, creation: Creation) -> frozenset[str]:
        """The clauses that a refusal of a faultless create breaks; empty where it may be refused."""
        code = creation.exchange.request.json["line_items"][0]["price_data"]["currency"]
        if creation.key_was_seen or (self.accepted_currencies and code not in self.accepted_currencies):
            return frozenset()
        special = {clause for feature, clause in creation.features.items() if feature not in self.accepted_features}
        return frozenset(special or {"CRE-1"})

    @cached_property
    def sessions(self) -> Mapping[str, ObservedSession]:
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
        for exchange in self.history.exchanges:
            named = sessions.get(exchange.page_of or exchange.request.session_id or "")
            if named is None or exchange.was_limited:
                continue
            key = exchange.request.idempotency_key
            if key is not None and len(key) > oracle.KEY_LENGTH and exchange.refused:
                continue  # IDM-3: nothing was asked of the session
            pressed = exchange.operation is Operation.PAGE and exchange.request.method == "POST"
            if exchange.operation in {Operation.EXPIRE, Operation.PAY} or pressed:
                named.writes.append(exchange)
            read = exchange.operation is Operation.RETRIEVE and exchange.account == named.account
            if read and exchange.succeeded and exchange.object.get("id") == named.id:
                named.reads.append(exchange)
        return sessions

    @cached_property
    def markers(self) -> Mapping[tuple[int, str], Sequence[Exchange]]:
        """The creates by account and `success_url`. Ours are unique, so a session tells which request made it."""
        markers: dict[tuple[int, str], list[Exchange]] = defaultdict(list)
        for exchange in self.history.of(Operation.CREATE):
            body = exchange.request.json
            if isinstance(body, dict) and isinstance(body.get("success_url"), str) and exchange.account is not None:
                markers[exchange.account, body["success_url"]].append(exchange)
        return markers

    # ── states ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def deadline_passed(self, observed: ObservedSession, exchange: Exchange) -> bool | None:
        """Whether the clock had reached `expires_at` when a request was served; None if unknown."""
        least, most = self.clock_of(observed, exchange)
        if least is not None and least >= observed.expires_at:
            return True
        if most is not None and most < observed.expires_at:
            return False
        return None

    def clock_of(self, observed: ObservedSession, exchange: Exchange) -> tuple[int | None, int | None]:
        """`clock`, by that of the session's account: a request may come without a key, or with another account's."""
        if exchange.account == observed.account:
            return self.clock(exchange)
        stand_in = Exchange(
            number=exchange.number,
            request=exchange.request,
            reply=exchange.reply,
            sent_ns=exchange.sent_ns,
            received_ns=exchange.received_ns,
            account=observed.account,
        )
        return self.clock(stand_in)

    def state_before(self, observed: ObservedSession, exchange: Exchange) -> oracle.State | None:
        """The state of a session when a request reached it; None if that cannot be known."""
        key = (observed.id, exchange.number)
        if key not in self._states:
            self._states[key] = self._fold(observed, exchange)
        return self._states[key]

    def _fold(self, observed: ObservedSession, exchange: Exchange) -> oracle.State | None:
        if not observed.born.is_before(exchange):
            return None
        state: oracle.State | None = self.initial(observed)
        busy_until_ns = 0
        for write in observed.writes:
            if write is exchange or exchange.is_before(write):
                continue
            if write.overlaps(exchange) or write.sent_ns <= busy_until_ns:
                return None
            state = self._after_write(observed, state, write)
            if state is None:
                return None
            busy_until_ns = max(busy_until_ns, write.received_ns)
        return self._by_clock(observed, state, exchange)

    def initial(self, observed: ObservedSession) -> oracle.State:
        """How the session must have begun: by its request, or by what was shown where the request is odd."""
        body = observed.born.request.json
        try:
            total = sum(line["price_data"]["unit_amount"] * line["quantity"] for line in body["line_items"])
        except (KeyError, TypeError):
            total = observed.first.get("amount_total")
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
        if self.may_be_replay(write):
            return state if not any(use.overlaps(write) for use in self.earlier_uses(write)) else None
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

    @cached_property
    def journeys(self) -> Mapping[str, Sequence[Exchange]]:
        """What was pressed on the pages of each session, and where that led, in the order of sending."""
        journeys: dict[str, list[Exchange]] = defaultdict(list)
        for exchange in self.history.exchanges:
            if exchange.page_of is not None and exchange.page_act != "view":
                journeys[exchange.page_of].append(exchange)
        return journeys

    def end_of(self, press: Exchange) -> Exchange:
        """The last exchange of the redirects that followed what was pressed."""
        end = press
        for later in self.journeys.get(press.page_of or "", ()):
            if later.number > end.number:
                if later.page_act != f"{press.page_act}, led on":
                    break
                end = later
        return end

    def leads_on(self, observed: ObservedSession, press: Exchange) -> bool:
        """Whether what was pressed leads to the shop, where it must lead (PAY-1, PAY-5)."""
        wanted = observed.first.get("success_url" if press.page_act in {"pay-card", "pay-declined"} else "return_url")
        end = self.end_of(press)
        return end.reply is not None and isinstance(wanted, str) and end.reply.header("location") == wanted

    def state_after(self, observed: ObservedSession, write: Exchange) -> oracle.State | None:
        """The state right after a write, by the rules; None if that cannot be known."""
        before = self.state_before(observed, write)
        return None if before is None else self._after_write(observed, before, write)

    @staticmethod
    def is_alone(observed: ObservedSession, write: Exchange) -> bool:
        """Whether no other write to the session was under way at the same time."""
        return not any(other is not write and other.overlaps(write) for other in observed.writes)

    def following_read(self, observed: ObservedSession, write: Exchange) -> Exchange | None:
        """The first retrieve after a write with no other write in between, before the clock could interfere."""
        if not self.is_alone(observed, write):
            return None
        for read in observed.reads:
            if not write.is_before(read):
                continue
            if any(w is not write and write.sent_ns <= w.sent_ns < read.received_ns for w in observed.writes):
                return None
            if self.deadline_passed(observed, read) == self.deadline_passed(observed, write) is not None:
                return read
            return None
        return None

    def preceding_view(self, observed: ObservedSession, write: Exchange) -> Mapping[str, Json] | None:
        """The session as it was last shown before a write, with no other write in between; None if it is not known."""
        if not self.is_alone(observed, write):
            return None
        earlier = [w for w in observed.writes if w.is_before(write)]
        reads = [read for read in observed.reads if read.is_before(write)]
        views = [read for read in reads if not earlier or earlier[-1].is_before(read)]
        if views and self.deadline_passed(observed, views[-1]) == self.deadline_passed(observed, write) is not None:
            return views[-1].object
        return None

    # ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────────

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
                if not isinstance(session_id, str) or session_id in self.sessions or exchange.account is None:
                    continue
                foreign[exchange.account].add(session_id)
        return {account: frozenset(ids) for account, ids in foreign.items()}

    @cached_property
    def _quiet(self) -> frozenset[int]:
        """The accounts whose end was seen, and in which nobody else was."""
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
        if exchange.account is None or exchange.account not in self._quiet:
            return False
        return exchange.received_ns < self._lost.get(exchange.account, exchange.received_ns + 1)

    def _listing(self, exchange: Exchange) -> Listing | None:
        query = parse_query(exchange)
        data = exchange.object.get("data")
        if not exchange.succeeded or isinstance(query, str) or not isinstance(data, list):
            return None
        entries = entries_of(exchange)
        ids = tuple(str(entry.get("id")) for entry in entries)
        cursor = query.starting_after or query.ending_before
        if cursor is not None and (cursor not in self.sessions or self.sessions[cursor].account != exchange.account):
            return None
        matching: list[ObservedSession] = []
        excluded: dict[str, str] = {}
        uncertain = set()
        for observed in self.sessions.values():
            if observed.account != exchange.account or exchange.is_before(observed.born):
                continue
            reason = self._exclusion(observed, exchange, query)
            if reason is None:
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

    def _exclusion(self, observed: ObservedSession, exchange: Exchange, query: oracle.Query) -> str | None:
        """What keeps a session out of a list: `cursor`, `created`, `status`, None if nothing does, empty if unknown."""
        cursor = query.starting_after or query.ending_before
        if not observed.born.is_before(exchange):
            return ""
        if cursor is not None:
            place = self.sessions[cursor]
            if place.born.overlaps(observed.born) and place is not observed and place.created == observed.created:
                return ""
            rank, bound = _rank(observed), _rank(place)
            if rank >= bound if query.starting_after is not None else rank <= bound:
                return "cursor"
        if not query.keeps(observed.created):
            return "created"
        if query.status is not None:
            state = self.state_before(observed, exchange)
            if state is None:
                return ""
            return None if state.status == query.status else "status"
        return None


def _rank(observed: ObservedSession) -> tuple[int, int]:
    """Where a session stands: by creation, and within a second by the order of creation (LIS-4)."""
    return observed.created, observed.ordinal


def codes_of(body: Json) -> frozenset[str]:
    """The currencies that a body for create names, in lines that can be read."""
    lines = body.get("line_items") if isinstance(body, dict) else None
    prices = [line.get("price_data") for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []
    codes = [price.get("currency") for price in prices if isinstance(price, dict)]
    return frozenset(code for code in codes if isinstance(code, str))


def entries_of(exchange: Exchange) -> tuple[Mapping[str, Json], ...]:
    """The entries of a list's reply that are objects."""
    data = exchange.object.get("data")
    return tuple(entry for entry in data if isinstance(entry, dict)) if isinstance(data, list) else ()


__all__ = ["NOT_JSON", "Creation", "Ledger", "Listing", "ObservedSession", "documented", "lasting", "same"]
