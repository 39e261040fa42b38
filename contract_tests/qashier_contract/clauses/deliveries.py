"""EVT-6 and EVT-7: webhooks as they reach the shop."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import defaultdict
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

from qashier_contract.clauses.table import ASSUMED, KEPT, Findings, broken, clause, kept_if
from qashier_contract.history import Capability, Delivery, Endpoint, Exchange
from qashier_contract.ledger import Ledger, ObservedSession, endings
from qashier_contract.observed_events import session_of
from qashier_contract.values import Json, is_integer

if TYPE_CHECKING:
    from collections.abc import Sequence

WEBHOOKS = (Capability.WEBHOOKS,)
_FIRST_RETRY: Final = 60
"""Seconds within which the first retry comes."""
_PROMPT_NS: Final = 10 * 10**9
"""How long the first attempt may take to reach us: "at once", on a busy machine."""
_WATCHED_NS: Final = 25 * 10**8
"""How long an endpoint must have stayed for "nothing came" to be certain."""


def cause_of(observed: ObservedSession, write: Exchange | None, feed: Exchange | None = None) -> tuple[Exchange, ...]:
    return (observed.born, *((write,) if write else ()), *((feed,) if feed else ()))


def listening(ledger: Ledger, observed: ObservedSession, write: Exchange | None) -> Sequence[Endpoint]:
    """The endpoints that surely were registered when a session ended by a request."""
    if write is None:
        return ()
    return [
        endpoint
        for endpoint in ledger.history.endpoints
        if endpoint.account == observed.account
        and endpoint.registered_ns < write.sent_ns
        and (endpoint.removed_ns is None or endpoint.removed_ns > write.received_ns)
    ]


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
        kind = (delivery.header("content-type") or "").partition(";")[0].strip().lower()
        right = delivery.method == "POST" and kind == "application/json" and isinstance(delivery.json, dict)
        yield _delivered(right, "a POST of JSON", f"{delivery.method} of {kind or 'nothing'}", delivery)
        gone_ns = _removed_ns(ledger, delivery)
        late = gone_ns is not None and delivery.received_ns > gone_ns + _PROMPT_NS
        yield _delivered(not late, "nothing to an endpoint that was removed", "a delivery", delivery)
    for observed, _, write in ledger.endings.known:
        for endpoint in listening(ledger, observed, write):
            assert write is not None
            tries = _attempts(ledger, endpoint, observed)
            if not tries and not _was_waited_for(ledger, endpoint, write):
                continue
            prompt = _prompt(tries, write, ledger.clock_of(observed, write)[1])
            yield kept_if(
                prompt, "a delivery at once to every endpoint", f"{len(tries)} later", *cause_of(observed, write)
            )
        yield from _not_there(ledger, observed, write)
        if write is None:
            yield from _delivered_by_clock(ledger, observed)
    for delivery in ledger.history.deliveries:
        told_life = ledger.sessions.get(str(_session_id(delivery)))
        if told_life is not None:
            right = told_life.account == delivery.endpoint.account
            yield _delivered(right, "only its own account's events at an endpoint", told_life.id, delivery)
    yield from _retries(ledger)


def _delivered(condition: object, expected: str, seen: str, delivery: Delivery) -> Json:
    return KEPT if condition else broken(expected, seen, deliveries=(delivery,))


def _was_waited_for(ledger: Ledger, endpoint: Endpoint, cause: Exchange) -> bool:
    """Whether a delivery had its time. Who removes an endpoint has waited; a run that was cut short has not."""
    last_ns = ledger.history.exchanges[-1].received_ns if endpoint.closed_ns is None else endpoint.closed_ns
    return endpoint.removed_ns is not None or last_ns >= cause.received_ns + _PROMPT_NS


def _prompt(tries: Sequence[Delivery], cause: Exchange, now: int | None) -> bool:
    """Whether one came soon after its cause, by the machine's time and by the account's (`now` when it happened).

    Where the account's clock was moved at once, what was on its way came by the new time.
    """
    return any(
        one.received_ns <= cause.received_ns + endings.SOON_NS
        or (
            one.received_ns <= cause.received_ns + _PROMPT_NS
            and (one.clock is None or now is None or one.clock <= now + _PROMPT_NS // 10**9)
        )
        for one in tries
    )


def _delivered_by_clock(ledger: Ledger, observed: ObservedSession) -> Findings:
    """What the clock ends is told to the endpoints that were there before, and some time after."""
    moves = [
        e
        for e in ledger.history.clock_calls(observed.account)
        if e.request.method != "GET" and is_integer(e.object.get("now"))
    ]
    passed = next((e for e in moves if e.object["now"] >= observed.expires_at and observed.born.is_before(e)), None)
    if passed is None or ledger.clock(passed)[0] is None:
        return
    for endpoint in ledger.history.endpoints:
        if endpoint.account != observed.account or endpoint.registered_ns >= passed.sent_ns:
            continue
        tries = _attempts(ledger, endpoint, observed)
        watched = endpoint.removed_ns is None or endpoint.removed_ns > passed.received_ns + _WATCHED_NS
        if tries or (watched and _was_waited_for(ledger, endpoint, passed)):
            prompt = _prompt(tries, passed, passed.object["now"])
            yield kept_if(prompt, "a delivery at once to every endpoint", f"{len(tries)} later", observed.born, passed)


def _not_there(ledger: Ledger, observed: ObservedSession, write: Exchange | None) -> Findings:
    """An endpoint that came after the event, or had been removed before it arose, gets nothing of it."""
    ended_ns = ledger.endings.ended_ns(observed, write)
    for endpoint in ledger.history.endpoints:
        if ended_ns is None or endpoint.account != observed.account:
            continue
        if endpoint.registered_ns > ended_ns:
            whom = "an endpoint that came later"
        elif write is not None and endpoint.removed_ns is not None and endpoint.removed_ns < write.sent_ns:
            whom = "an endpoint that was removed"
        else:
            continue
        for delivery in _attempts(ledger, endpoint, observed)[:1]:
            yield broken(f"nothing to {whom}", "a delivery", *cause_of(observed, write), deliveries=(delivery,))


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
    for delivery in ledger.history.deliveries:
        moment = ended_ns.get(str(_session_id(delivery)))
        if moment is None or delivery.endpoint.registered_ns > moment:
            continue  # it ought not to have come at all, or that is not certain
        by_target[delivery.endpoint.url, repr(_session_id(delivery))].append(delivery)
    for tries in by_target.values():
        ids = {repr(delivery.event.get("id")) for delivery in tries}
        if len(tries) > 1:
            yield _delivered(len(ids) == 1, "the same event id at every try", f"{sorted(ids)}", tries[-1])
        taken = next((place for place, delivery in enumerate(tries) if 200 <= delivery.answered < 300), None)
        if taken is not None:
            # The same delivery may come twice, but what was taken is not tried again as time goes on.
            further = {t.clock for t in tries[taken + 1 :] if t.clock is not None} - {tries[taken].clock}
            yield _delivered(len(further) < 2, "no further tries after a 2xx", f"{len(further)} more", tries[-1])
            continue
        if tries[0].clock is None:
            continue
        waited = _watched_until(ledger, tries[0]) - tries[0].clock
        minute = _a_minute_later(ledger, tries[0])
        if minute is not None:
            soon = [t for t in tries[1:] if _came_by(t, minute)]
            yield _delivered(soon, "the first retry within a minute", f"{len(tries) - 1} retries", tries[0])
        if waited >= 4 * 86_400:
            yield _delivered(len(tries) > 5, "at least five retries", f"{len(tries) - 1}", tries[-1])
            moments = sorted({one.clock for one in tries if one.clock is not None})  # the same try may come twice
            delays = [later - earlier for earlier, later in pairwise(moments)]
            # The clock moved in steps, of which the later ones are long: a try is known to have come by the end of one.
            # So the mean of the first delays is at most what the times say; only a series that does not grow from the
            # beginning is certain.
            if len(delays) >= 5:
                sums = list(accumulate(delays))
                grows = delays[-1] > delays[0] and all(sums[n - 1] > n * delays[0] for n in range(5, len(delays) + 1))
                yield _delivered(grows, "growing delays", f"{delays[:8]} s", tries[-1])


def _a_minute_later(ledger: Ledger, first: Delivery) -> Exchange | None:
    """What moved the account's clock to a minute after a delivery, or beyond; None if it was not watched long enough.

    Where the clock was moved far at once, a retry that was due within the minute is seen by the new time.
    """
    removed = _removed_ns(ledger, first)
    for exchange in ledger.history.clock_calls(first.endpoint.account):
        now = exchange.object.get("now")
        if not is_integer(now) or exchange.sent_ns < first.received_ns:
            continue
        if now >= (first.clock or 0) + _FIRST_RETRY:
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
    until = first.clock or 0
    removed = _removed_ns(ledger, first)
    for exchange in ledger.history.clock_calls(first.endpoint.account):
        if removed is not None and exchange.sent_ns > removed:
            break
        now = exchange.object.get("now")
        if is_integer(now) and exchange.sent_ns > first.received_ns:
            until = max(until, now)
    return until


@clause(
    "EVT-7",
    "With a secret set, `x-qashier-sign` is the base64 of the HMAC-SHA256 over the raw body; the key is the "
    "secret's UTF-8 bytes as given.",
    source=ASSUMED,
    needs=WEBHOOKS,
)
def deliveries_are_signed(ledger: Ledger) -> Findings:
    name = ledger.history.terms.policy.signature_header
    for delivery in ledger.history.deliveries:
        secret = delivery.endpoint.secret
        if secret is None:
            continue
        digest = hmac.new(secret.encode(), delivery.body, hashlib.sha256).digest()
        right = hmac.compare_digest(base64.b64encode(digest).decode(), delivery.header(name) or "")
        yield _delivered(
            right, f"{name}: base64 of HMAC-SHA256 over the body as sent", delivery.header(name) or "none", delivery
        )
