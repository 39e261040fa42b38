"""IDM: the idempotency keys of both POST operations."""

from __future__ import annotations

from qashier_contract import oracle
from qashier_contract.clauses.create import refusals
from qashier_contract.clauses.table import ASSUMED, IMPLIED, KEPT, PUBLIC, Findings, broken, clause, kept_if
from qashier_contract.history import Capability, Exchange, Operation
from qashier_contract.ledger import Ledger, entries_of
from qashier_contract.observed_events import event_ids
from qashier_contract.values import NOT_JSON, same


def _same_request(first: Exchange, second: Exchange) -> bool:
    """Whether two requests ask for the same: operation, session, and parsed body. Expire takes no body."""
    if first.operation is not second.operation or first.request.path != second.request.path:
        return False
    if first.operation is Operation.EXPIRE:
        return True
    return first.request.json is not NOT_JSON and same(first.request.json, second.request.json)


def _same_answer(first: Exchange, second: Exchange) -> bool:
    return first.status == second.status and same(first.json, second.json)


@clause(
    "IDM-1",
    "The same key again gets the same status and body, and nothing is done again.",
    source=PUBLIC,
)
def the_same_key_gets_the_same_answer(ledger: Ledger) -> Findings:
    for first, again, forgotten in ledger.repeats():
        if forgotten is False and _same_request(first, again) and first.operation is Operation.CREATE:
            yield kept_if(
                _same_answer(first, again),
                f"{first.status} and {first.object.get('id')} again",
                _short(again),
                first,
                again,
            )
    yield from _made_twice(ledger, "IDM-1")
    yield from _told_twice(ledger)


def _told_twice(ledger: Ledger) -> Findings:
    """Sessions that one key expired, several times asked, and of which more than one event tells."""
    told = event_ids(ledger.history)
    for first, again, forgotten in ledger.repeats():
        if forgotten is False and again.operation is Operation.EXPIRE and _same_request(first, again):
            events = told.get(again.request.session_id or "", set())
            yield kept_if(len(events) < 2, "nothing done again", f"{len(events)} events", first, again)


def _short(exchange: Exchange) -> str:
    return f"{exchange.status} {exchange.reply.body[:160].decode('utf-8', 'replace') if exchange.reply else ''}"


def _made_twice(ledger: Ledger, identifier: str) -> Findings:
    """Sessions that a list shows, though no answer named them: the marker in their `success_url` tells which request
    made them.
    """
    if ledger.history.terms.others_act:
        return  # a shop has one `success_url` for many sessions
    for (account, key), uses in ledger.keyed.items():
        marks = {
            e.request.json["success_url"]: e
            for e in uses
            if isinstance(e.request.json, dict) and isinstance(e.request.json.get("success_url"), str)
        }
        del key
        if not marks or len(uses) < 2:
            continue
        alike = [e for mark in marks for e in ledger.markers.get((account, mark), ())]  # by whatever key
        answered = {str(e.object.get("id")) for e in alike if e.succeeded}
        for page in ledger.history.of(Operation.LIST):
            if page.account != account:
                continue
            strays = [
                entry
                for entry in entries_of(page)
                if str(entry.get("success_url")) in marks and str(entry.get("id")) not in answered
            ]
            if strays and not any(e.is_unknown for e in uses):
                cause = _cause(uses, strays[0].get("success_url"))
                if cause == identifier:
                    yield broken("nothing done again", f"session {strays[0].get('id')}", *uses, page)
                break


def _cause(uses: object, marker: object) -> str:
    """To which clause a session that no answer named is put down."""
    assert isinstance(uses, list)
    mine = [e for e in uses if isinstance(e.request.json, dict) and e.request.json.get("success_url") == marker]
    if any(a.overlaps(b) for a in mine for b in mine if a is not b):
        return "IDM-6"
    return "IDM-9" if len(mine) == 1 else "IDM-1"


@clause(
    "IDM-2",
    "Other keys are other requests, whatever they have in common.",
    source=PUBLIC,
)
def other_keys_are_other_requests(ledger: Ledger) -> Findings:
    first: dict[str, Exchange] = {}
    for exchange in ledger.history.of(Operation.CREATE):
        session_id = exchange.object.get("id")
        if not exchange.succeeded or not isinstance(session_id, str) or ledger.may_be_replay(exchange):
            continue
        earlier = first.setdefault(session_id, exchange)
        keys = (earlier.request.idempotency_key, exchange.request.idempotency_key)
        if earlier is exchange:
            yield KEPT
        elif keys[0] != keys[1] and earlier.account == exchange.account:
            yield broken("a session of its own for another key", f"{session_id} again", earlier, exchange)
    for creation in ledger.creations:
        if creation.is_faultless and creation.exchange.refused and "IDM-2" in ledger.attributed_clauses(creation):
            yield broken("success: a key is allowed", creation.exchange.status, creation.exchange)


@clause(
    "IDM-3",
    "A key of 255 characters is accepted, a longer one is refused with 4xx.",
    source=PUBLIC,
)
def a_key_has_at_most_255_characters(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "IDM-3")
    for exchange in ledger.history.of(Operation.EXPIRE):
        key = exchange.request.idempotency_key or ""
        known = exchange.request.session_id in ledger.sessions
        if len(key) > oracle.KEY_LENGTH and key.isascii() and known and not exchange.is_lost:
            yield kept_if(exchange.refused, f"4xx: {len(key)} characters", exchange.status, exchange)
    for observed in ledger.sessions.values():
        for write in observed.writes:
            key = write.request.idempotency_key or ""
            if len(key) != oracle.KEY_LENGTH or not key.isascii() or write.is_lost or ledger.key_was_seen(write):
                continue
            state = ledger.state_before(observed, write)
            if write.account == observed.account and state is not None and state.status == "open":
                yield kept_if(
                    not write.refused, "success with a key of 255 characters", write.status, observed.born, write
                )


@clause(
    "IDM-4",
    "A key is forgotten after 24 hours: at and after 86,400 s from the first answer.",
    source=PUBLIC,
    needs=(Capability.CLOCK,),
)
def a_key_is_forgotten_after_a_day(ledger: Ledger) -> Findings:
    for first, again, forgotten in ledger.repeats():
        if forgotten and again.operation is Operation.EXPIRE and _same_request(first, again):
            # Asked anew, it is what it is: a session that has ended.
            yield kept_if(again.refused, "4xx: the key is forgotten, the session ended", again.status, first, again)
        if first.operation is not Operation.CREATE or again.operation is not Operation.CREATE or forgotten is None:
            continue
        age = (ledger.clock(again)[0] or 0) - (ledger.clock(first)[0] or 0)
        moves = [e for e in ledger.history.clock_calls(first.account) if first.is_before(e) and e.is_before(again)]
        if forgotten:
            fresh = again.succeeded and again.object.get("id") != first.object.get("id")
            yield kept_if(fresh, f"a new session after {age} s", _short(again), first, *moves[-1:], again)
        elif age >= 3_600 and _same_request(first, again):
            right = _same_answer(first, again)
            yield kept_if(right, f"the first answer again after {age} s", _short(again), first, *moves[-1:], again)


@clause(
    "IDM-5",
    'Replaying a successful expire returns that success, not "already expired".',
    source=PUBLIC,
)
def an_expire_is_replayed_as_it_was(ledger: Ledger) -> Findings:
    for first, again, forgotten in ledger.repeats():
        if forgotten is False and first.operation is Operation.EXPIRE and _same_request(first, again):
            yield kept_if(
                _same_answer(first, again), f"{first.status} and the session again", _short(again), first, again
            )


@clause(
    "IDM-6",
    "The same key twice at once opens one session; the other answer is the same one, or 409.",
    source=IMPLIED,
)
def the_same_key_at_once_is_done_once(ledger: Ledger) -> Findings:
    for uses in ledger.keyed.values():
        group = [use for use in uses if any(use.overlaps(other) for other in uses if other is not use)]
        if len(group) < 2 or any(use.is_lost for use in group):
            continue
        if not all(_same_request(group[0], use) for use in group):
            continue
        made = [use for use in group if use.succeeded]
        ids = {str(use.object.get("id")) for use in made}
        yield kept_if(len(ids) == 1, "one session", f"{len(ids)}: {sorted(ids)}", *group)
        # By the policy `conflict` two successes are right as well: the second may have come when the first was done.
        waits = ledger.history.terms.policy.idempotency_in_flight == "wait"
        odd = [use for use in group if not use.succeeded and (waits or use.status != 409)]
        expected = "the same answer, by policy" if waits else "the same answer, or 409"
        yield kept_if(not odd, expected, f"{[use.status for use in odd]}", *group)
        different = [use for use in made if not same(use.json, made[0].json)]
        yield kept_if(not different, "the same answer to both", "two answers", *group)
    yield from _made_twice(ledger, "IDM-6")


@clause(
    "IDM-7",
    "Keys belong to an account; two accounts may use the same key.",
    source=IMPLIED,
    needs=(Capability.SECOND_ACCOUNT,),
)
def keys_belong_to_an_account(ledger: Ledger) -> Findings:
    for (account, key), uses in ledger.keyed.items():
        for (other, same_key), theirs in ledger.keyed.items():
            if same_key != key or other >= account:
                continue
            first = next((use for use in theirs if use.succeeded), None)
            mine = next((use for use in uses if not use.is_lost), None)
            if first is None or mine is None or not first.is_before(mine):
                continue
            if mine.operation is Operation.EXPIRE:
                right = not mine.succeeded or mine.object.get("id") == mine.request.session_id
                yield kept_if(right, f"{mine.request.session_id} expired", _short(mine), first, mine)
                continue
            fresh = mine.succeeded and mine.object.get("id") != first.object.get("id")
            yield kept_if(fresh, "a session of its own", _short(mine), first, mine)


@clause(
    "IDM-8",
    "Only a success is remembered: a refused request does not use its key up.",
    source=ASSUMED,
)
def a_refusal_does_not_use_a_key_up(ledger: Ledger) -> Findings:
    for creation in ledger.creations:
        exchange = creation.exchange
        uses = ledger.earlier_uses(exchange)
        if (
            creation.is_faultless
            and uses
            and not exchange.is_lost
            and all(u.refused and u.is_before(exchange) for u in uses)
        ):
            yield kept_if(
                exchange.succeeded,
                "success, as the key was only used by refused requests",
                _short(exchange),
                *uses,
                exchange,
            )
    for observed in ledger.sessions.values():
        for write in observed.writes:
            uses = ledger.earlier_uses(write)
            if (
                write.operation is not Operation.EXPIRE
                or not uses
                or write.is_lost
                or write.account != observed.account
            ):
                continue
            state = ledger.state_before(observed, write)
            if (
                all(use.refused and use.is_before(write) for use in uses)
                and state is not None
                and state.status == "open"
            ):
                yield kept_if(
                    write.succeeded,
                    "success, as the key was only used by refused requests",
                    _short(write),
                    *uses,
                    observed.born,
                    write,
                )


@clause(
    "IDM-9",
    "The same key with a different request (another operation, session or parsed body) does nothing: the first "
    "answer again, or 4xx.",
    source=PUBLIC,
)
def a_key_for_another_request_does_nothing(ledger: Ledger) -> Findings:
    for first, again, forgotten in ledger.repeats():
        if forgotten is not False or _same_request(first, again):
            continue
        reuse = ledger.history.terms.policy.idempotency_reuse
        if again.succeeded:
            right = _same_answer(first, again) and reuse != "reject"
            yield kept_if(right, "the first answer again, or 4xx", _short(again), first, again)
        else:
            yield kept_if(
                again.refused and reuse != "replay", "the first answer again, or 4xx", _short(again), first, again
            )
        observed = ledger.sessions.get(again.request.session_id or "")
        if observed is not None:
            read = next((read for read in observed.reads if again.is_before(read)), None)
            state = ledger.state_before(observed, read) if read is not None else None
            if read is not None and state is not None:
                seen = read.object.get("status")
                yield kept_if(seen == state.status, f"{observed.id} still {state.status}", seen, first, again, read)
    yield from _made_twice(ledger, "IDM-9")
