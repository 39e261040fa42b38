"""EVT-6 and EVT-7: webhooks as they reach the shop."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from qashier_contract.clauses.table import ASSUMED, KEPT, Findings, clause
from qashier_contract.clauses.telling import cause_of, listening
from qashier_contract.findings import Delivered, Equals, Finding, HasShape, expect
from qashier_contract.history import Capability, Delivery, Endpoint, Exchange
from qashier_contract.ledger import Ledger, ObservedSession, endings
from qashier_contract.observed_events import session_of
from qashier_contract.places import At, Part, header_of, in_body
from qashier_contract.values import Json, is_integer

WEBHOOKS = (Capability.WEBHOOKS,)
_JSON: Final = r"(?i)\s*application/json\s*(;.*)?"
_FIRST_RETRY: Final = 60
"""Seconds within which the first retry comes."""
_PROMPT_NS: Final = 10 * 10**9
"""How long the first attempt may take to reach us: "at once", on a busy machine."""
_LATE_NS: Final = 35 * 10**8
"""How long it may take where the target answers all the while: two seconds are left open, the rest is the way to us."""
_ANSWERED: Final = 4
_QUICK_NS: Final = 25 * 10**7
_GAP_NS: Final = 15 * 10**8
"""A target answers all the while that answered so often, so quickly, with no longer pause in between."""
_WATCHED_NS: Final = 25 * 10**8
"""How long an endpoint must have stayed for "nothing came" to be certain."""


@clause(
    "EVT-6",
    "Events are delivered by POST as JSON to every endpoint that the account had when they arose, the first time "
    "at once; anything but 2xx is tried again with growing delays, the first within a minute, at least five "
    "times, with the same event id.",
    source=ASSUMED,
    needs=WEBHOOKS,
)
def events_are_delivered_at_least_once(ledger: Ledger) -> Findings:
    for delivery in ledger.history.deliveries:
        yield expect(Equals(At(delivery, Part.METHOD), "POST"), "a webhook is a POST of JSON")
        kind = HasShape(header_of(delivery, "Content-Type"), "string", _JSON, "application/json")
        yield expect(kind, "a webhook is a POST of JSON")
        yield expect(HasShape(in_body(delivery), "object"), "a webhook is a POST of JSON")
        gone_ns = _removed_ns(ledger, delivery)
        late = gone_ns is not None and delivery.received_ns > gone_ns + _PROMPT_NS
        yield _none(delivery, "the endpoint was removed") if late else KEPT
        observed = ledger.sessions.get(str(_session_id(delivery)))
        if observed is not None:
            right = observed.account == delivery.endpoint.account
            yield KEPT if right else _none(delivery, "the session belongs to another account", observed.born)
    for observed, _, write in ledger.endings.known:
        for endpoint in listening(ledger, observed, write):
            assert write is not None
            tries = _attempts(ledger, endpoint, observed)
            if tries or _was_waited_for(ledger, endpoint, write):
                now = ledger.clock_of(observed, write)[1]
                yield _promptly(ledger, endpoint, observed, tries, cause=write, now=now)
        yield from _not_there(ledger, observed, write)
        if write is None:
            yield from _delivered_by_clock(ledger, observed)
    yield from _retries(ledger)
    for endpoint in ledger.history.endpoints:
        yield from _after_being_refused(ledger, endpoint)


def _none(delivery: Delivery, reason: str, *evidence: Exchange) -> Finding:
    """That a delivery ought not to have come."""
    session_id = in_body(delivery, "data", "object", "id")
    return expect(Delivered(delivery.endpoint, session_id, (delivery,), most=0), reason, *evidence)


def _was_waited_for(ledger: Ledger, endpoint: Endpoint, cause: Exchange) -> bool:
    """Whether a delivery had its time. Who removes an endpoint has waited; who just goes, or is cut short, has not."""
    if endpoint.closed_ns is None and endpoint.removed_ns is not None:
        return True
    last_ns = ledger.history.exchanges[-1].received_ns if endpoint.closed_ns is None else endpoint.closed_ns
    return last_ns >= cause.received_ns + _PROMPT_NS


def _promptly(
    ledger: Ledger,
    endpoint: Endpoint,
    observed: ObservedSession,
    tries: Sequence[Delivery],
    *,
    cause: Exchange,
    now: int | None,
) -> Finding:
    """That an event comes at once: soon after its cause, by the machine's time and by the account's.

    `now` is the account's time when it happened. Where the clock was moved at once, what was on its way came by the new
    time.
    """
    seconds, done_ns = _PROMPT_NS // 10**9, ledger.end_of(cause).received_ns
    late = [one for one in tries if _is_late(ledger, cause, one)]
    prompt = tuple(
        one
        for one in tries
        if one not in late
        and (
            one.received_ns <= done_ns + endings.SOON_NS
            or (
                one.received_ns <= done_ns + _PROMPT_NS
                and (one.clock is None or now is None or one.clock <= now + seconds)
            )
        )
    )
    seconds = _LATE_NS // 10**9 if late else seconds
    wanted = Delivered(endpoint, in_body(observed.born, "id"), prompt, least=1, within_s=seconds, since=cause)
    return expect(wanted, "at once, to every endpoint", cause, deliveries=tries[:3])


def _is_late(ledger: Ledger, cause: Exchange, delivery: Delivery) -> bool:
    """Whether a delivery came late though nothing was busy: the target answered other requests all the while."""
    since, until = ledger.end_of(cause).received_ns, delivery.received_ns
    if until <= since + _LATE_NS:
        return False
    between = [e for e in ledger.history.exchanges if since <= e.sent_ns and e.received_ns <= until]
    moments = sorted([since, until, *(e.received_ns for e in between)])
    return (
        len(between) >= _ANSWERED
        and all(e.reply is not None and e.received_ns - e.sent_ns <= _QUICK_NS for e in between)
        and all(later - earlier <= _GAP_NS for earlier, later in pairwise(moments))
    )


def _delivered_by_clock(ledger: Ledger, observed: ObservedSession) -> Findings:
    """What the clock ends is delivered to the endpoints that were there before, and some time after."""
    moves = [(e, now) for e, now in ledger.history.times(observed.account) if e.request.method != "GET"]
    due = ((e, now) for e, now in moves if now >= observed.expires_at and observed.born.is_before(e))
    passed, shown = next(due, (None, None))
    if passed is None or ledger.clock(passed)[0] is None:
        return
    for endpoint in ledger.history.endpoints:
        if endpoint.account != observed.account or endpoint.registered_ns >= passed.sent_ns or endpoint.refused_ns:
            continue
        tries = _attempts(ledger, endpoint, observed)
        watched = endpoint.removed_ns is None or endpoint.removed_ns > passed.received_ns + _WATCHED_NS
        if tries or (watched and _was_waited_for(ledger, endpoint, passed)):
            yield _promptly(ledger, endpoint, observed, tries, cause=passed, now=shown)


def _not_there(ledger: Ledger, observed: ObservedSession, write: Exchange | None) -> Findings:
    """An endpoint that had been removed before an event arose gets nothing of it.

    Nor does one that came later, of our mock; on a target that is left open.
    """
    ended_ns = ledger.endings.ended_ns(observed, write)
    for endpoint in ledger.history.endpoints:
        if ended_ns is None or endpoint.account != observed.account:
            continue
        if endpoint.registered_ns > ended_ns and ledger.history.terms.own:
            reason = "the endpoint came later"
        elif write is not None and endpoint.removed_ns is not None and endpoint.removed_ns < write.sent_ns:
            reason = "the endpoint was removed before"
        else:
            continue
        for delivery in _attempts(ledger, endpoint, observed)[:1]:
            yield _none(delivery, reason, *cause_of(observed, write))


def _attempts(ledger: Ledger, endpoint: Endpoint, observed: ObservedSession) -> list[Delivery]:
    return [
        delivery
        for delivery in ledger.history.deliveries
        if delivery.endpoint.url == endpoint.url and _session_id(delivery) == observed.id
    ]


def _session_id(delivery: Delivery) -> Json:
    return session_of(delivery.event).get("id")


def _retries(ledger: Ledger) -> Findings:
    by_target: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
    ended_ns = {observed.id: ledger.endings.ended_ns(observed, write) for observed, _, write in ledger.endings.known}
    causes = {observed.id: cause_of(observed, write) for observed, _, write in ledger.endings.known}
    for delivery in ledger.history.deliveries:
        moment = ended_ns.get(str(_session_id(delivery)))
        if moment is None or delivery.endpoint.registered_ns > moment:
            continue  # it ought not to have come at all, or that is not certain
        by_target[delivery.endpoint.url, repr(_session_id(delivery))].append(delivery)
    for tries in by_target.values():
        for other in tries[1:]:
            yield expect(Equals(in_body(other, "id"), in_body(tries[0], "id")), "every try has the same event id")
        taken = next((place for place, delivery in enumerate(tries) if 200 <= delivery.answered < 300), None)
        if taken is None:
            yield from _tried_again(ledger, tries, causes[str(_session_id(tries[0]))])
        elif ledger.history.terms.own:
            # The same delivery may come twice, but our mock does not try again, as time goes on, what was taken.
            further = [t for t in tries[taken + 1 :] if t.clock not in {None, tries[taken].clock}]
            moments = {one.clock: one for one in further}
            session_id = in_body(tries[0], "data", "object", "id")
            wanted = Delivered(tries[0].endpoint, session_id, tuple(moments.values()), most=1, since=tries[taken])
            yield expect(wanted, "it was answered with 2xx")


def _tried_again(ledger: Ledger, tries: Sequence[Delivery], cause: Sequence[Exchange]) -> Findings:
    """What nobody took is tried again within a minute, at least five times, and later and later."""
    first = tries[0]
    if first.clock is None:
        return
    endpoint, session_id = first.endpoint, in_body(first, "data", "object", "id")
    minute = _a_minute_later(ledger, first)
    if minute is not None:
        soon = tuple(t for t in tries[1:] if _came_by(t, minute))
        wanted = Delivered(endpoint, session_id, soon, least=1, within_s=_FIRST_RETRY, since=first)
        yield expect(wanted, f"it was {first.outcome}", *cause, deliveries=tries[:2])
    if _watched_until(ledger, first) - first.clock < 4 * 86_400:
        return
    wanted = Delivered(endpoint, session_id, tuple(tries), least=6)
    yield expect(wanted, "no try was taken: at least five more", *cause, deliveries=tries)
    moments = sorted({one.clock for one in tries if one.clock is not None})  # the same try may come twice
    delays = tuple(later - earlier for earlier, later in pairwise(moments))
    if len(delays) >= 5:
        growing = Delivered(endpoint, session_id, tuple(tries), least=6, delays=delays)
        yield expect(growing, "no try was taken", *cause, deliveries=tries)


def _after_being_refused(ledger: Ledger, endpoint: Endpoint) -> Findings:
    """What arose while nobody listened at an endpoint is tried again within a minute, when somebody does.

    That is certain only of an endpoint that had been reached before, and where the clock stood still all the while.
    """
    arrived = [delivery for delivery in ledger.history.deliveries if delivery.endpoint.url == endpoint.url]
    if len(endpoint.refused_ns) < 2 or not any(one.received_ns < endpoint.refused_ns[0] for one in arrived):
        return
    shut_ns, opened_ns = endpoint.refused_ns
    moves = [(e, now) for e, now in ledger.history.times(endpoint.account) if e.sent_ns >= opened_ns]
    for observed, _, write in ledger.endings.known:
        if write is None or observed.account != endpoint.account:
            continue
        least, then = ledger.clock_of(observed, write)
        is_meant = shut_ns < write.sent_ns and write.received_ns < opened_ns
        if not is_meant or then is None or least != then or not _stood_still(moves[:1], then):
            continue
        minute = next(((e, now) for e, now in moves if now >= then + _FIRST_RETRY), None)
        if minute is None:
            continue
        came = tuple(d for d in _attempts(ledger, endpoint, observed) if _came_by(d, minute[0]))
        if came or _was_there(ledger, endpoint, minute[0].received_ns + endings.SOON_NS):
            session_id, within_s = in_body(observed.born, "id"), minute[1] - then
            wanted = Delivered(endpoint, session_id, came, least=1, within_s=within_s, since=write)
            yield expect(wanted, "nobody listened there at first", *cause_of(observed, write), minute[0])


def _stood_still(moves: Sequence[tuple[Exchange, int]], then: int) -> bool:
    """Whether a clock that stands had not left a time before the first of its moves."""
    for move, now in moves:
        body = move.request.json
        seconds = body.get("seconds") if isinstance(body, dict) else None
        return move.object.get("frozen") is True and is_integer(seconds) and now - seconds == then
    return False


def _was_there(ledger: Ledger, endpoint: Endpoint, moment_ns: int) -> bool:
    """Whether our receiver still listened at an endpoint at a moment, as far as that was seen."""
    ends_ns = (ledger.history.exchanges[-1].received_ns, endpoint.removed_ns, endpoint.closed_ns)
    return min(end_ns for end_ns in ends_ns if end_ns is not None) >= moment_ns


def _a_minute_later(ledger: Ledger, first: Delivery) -> Exchange | None:
    """What moved the account's clock to a minute after a delivery, or beyond; None if it was not watched long enough.

    Where the clock was moved far at once, a retry that was due within the minute is seen by the new time.
    """
    removed = _removed_ns(ledger, first)
    for exchange, now in ledger.history.times(first.endpoint.account):
        if exchange.sent_ns >= first.received_ns and now >= (first.clock or 0) + _FIRST_RETRY:
            watched = removed is None or removed > exchange.received_ns + endings.SOON_NS
            return exchange if watched else None
    return None


def _came_by(delivery: Delivery, moved: Exchange) -> bool:
    """Whether a delivery came by the time that the clock was moved to, or was on its way then."""
    by_clock = delivery.clock is not None and delivery.clock <= moved.object["now"]
    return by_clock or delivery.received_ns <= moved.received_ns + endings.SOON_NS


def _removed_ns(ledger: Ledger, delivery: Delivery) -> int | None:
    """When the endpoint was removed: a delivery shows it as it was before."""
    return next((one.removed_ns for one in ledger.history.endpoints if one.url == delivery.endpoint.url), None)


def _watched_until(ledger: Ledger, first: Delivery) -> int:
    """Up to which time of the account's clock the retries of an event were watched: the last move of the clock."""
    until = _removed_ns(ledger, first) or math.inf
    times = ledger.history.times(first.endpoint.account)
    watched = (now for exchange, now in times if first.received_ns < exchange.sent_ns <= until)
    return max(first.clock or 0, *watched, 0)


@clause(
    "EVT-7",
    "With a secret set, `x-qashier-sign` is the base64 of the HMAC-SHA256 over the raw body; the key is the "
    "secret's UTF-8 bytes as given.",
    source=ASSUMED,
    needs=WEBHOOKS,
)
def deliveries_are_signed(ledger: Ledger) -> Findings:
    policy = ledger.history.terms.policy
    for delivery in ledger.history.deliveries:
        secret = delivery.endpoint.secret
        if secret is None:
            continue
        digest = hmac.new(secret.encode(), delivery.body, hashlib.sha256).digest()
        signature = digest.hex() if policy.signature_encoding == "hex" else base64.b64encode(digest).decode()
        at = header_of(delivery, policy.signature_header)
        yield expect(Equals(at, signature), f"{policy.signature_encoding} of HMAC-SHA256 over the body as sent")
