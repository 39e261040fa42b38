"""IDM: the idempotency keys of both POST operations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from qashier_contract import oracle
from qashier_contract.clauses.create import allowed, refusals
from qashier_contract.clauses.table import ASSUMED, IMPLIED, KEPT, PUBLIC, Findings, clause
from qashier_contract.clauses.telling import told_once
from qashier_contract.clauses.writes import writes
from qashier_contract.findings import Counts, Differs, Equals, StatusIs, expect
from qashier_contract.history import Capability, Exchange, Operation
from qashier_contract.ledger import Ledger, documented, entries_of
from qashier_contract.places import Where, asked_in, in_body
from qashier_contract.statuses import NOT_REFUSED, REFUSED, SUCCESS, Statuses, exactly
from qashier_contract.values import NOT_JSON, differing_paths, same

_SUCCESS_OR_CONFLICT: Final = Statuses(((200, 299), (409, 409)), "2xx or 409")
_UNUSED: Final = "the key was used by refused requests only"


def _same_request(first: Exchange, second: Exchange) -> bool:
    """Whether two requests ask for the same: operation, session, and parsed body. Expire takes no body."""
    if first.operation is not second.operation or first.request.path != second.request.path:
        return False
    if first.operation is Operation.EXPIRE:
        return True
    return first.request.json is not NOT_JSON and same(first.request.json, second.request.json)


def _same_answer(ledger: Ledger, again: Exchange, first: Exchange, reason: str, *evidence: Exchange) -> Findings:
    """Judge that an answer is an earlier one again.

    Properties that no document names may change with each answer, except in those of our own mock.
    """
    yield expect(StatusIs(again, exactly(first.status or 0)), reason, first, *evidence)
    was, now = first.json, again.json
    if not ledger.history.terms.own and isinstance(was, dict) and isinstance(now, dict):
        was, now = documented(was), documented(now)
    for path in differing_paths(was, now)[:1]:
        yield expect(Equals(in_body(again, *path), in_body(first, *path)), reason, *evidence)


@clause("IDM-1", "The same key again gets the same status and body, and nothing is done again.", source=PUBLIC)
def the_same_key_gets_the_same_answer(ledger: Ledger) -> Findings:
    for first, again, forgotten in ledger.repeats():
        if forgotten is False and _same_request(first, again) and first.operation is Operation.CREATE:
            yield from _same_answer(ledger, again, first, "the key was used for it before")
    yield from _made_twice(ledger, "IDM-1")
    yield from _told_twice(ledger)


def _told_twice(ledger: Ledger) -> Findings:
    """Sessions that one key expired, asked several times, and that more than one event tells of."""
    for first, again, forgotten in ledger.repeats():
        if forgotten is False and again.operation is Operation.EXPIRE and _same_request(first, again):
            yield from told_once(ledger, again.request.session_id or "", "nothing is done again", first, again)


def _made_twice(ledger: Ledger, identifier: str) -> Findings:
    """Sessions that a list shows, though no answer named them.

    The marker in their `success_url` tells which request made them.
    """
    if ledger.history.terms.others_act:
        return  # a shop has one `success_url` for many sessions
    for (account, _), uses in ledger.keyed.items():
        marks = {
            e.request.json["success_url"]: e
            for e in uses
            if isinstance(e.request.json, dict) and isinstance(e.request.json.get("success_url"), str)
        }
        if not marks or len(uses) < 2 or any(e.is_unknown for e in uses):
            continue
        alike = [e for mark in marks for e in ledger.markers.get((account, mark), ())]  # by whatever key
        answered = {str(e.object.get("id")) for e in alike if e.succeeded}
        for page in ledger.history.of(Operation.LIST):
            strays = [
                entry
                for entry in (entries_of(page) if page.account == account else ())
                if str(entry.get("success_url")) in marks and str(entry.get("id")) not in answered
            ]
            if strays:
                marker = str(strays[0]["success_url"])
                if _cause(uses, marker) == identifier:
                    made = {str(e.object.get("id")) for e in ledger.markers[account, marker] if e.succeeded}
                    its = in_body(page, "data", Where(("success_url",), asked_in(marks[marker], "success_url")), "id")
                    yield expect(Counts(its, most=len(made)), "nothing is done again", *uses)
                break


def _cause(uses: Sequence[Exchange], marker: str) -> str:
    """To which clause a session that no answer named is put down."""
    mine = [e for e in uses if isinstance(e.request.json, dict) and e.request.json.get("success_url") == marker]
    if any(a.overlaps(b) for a in mine for b in mine if a is not b):
        return "IDM-6"
    return "IDM-9" if len(mine) == 1 else "IDM-1"


@clause("IDM-2", "Other keys are other requests, whatever they have in common.", source=PUBLIC)
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
            ids = in_body(exchange, "id"), in_body(earlier, "id")
            yield expect(Differs(*ids), "another key is another request")
    yield from allowed(ledger, "IDM-2")


@clause("IDM-3", "A key of 255 characters is accepted, a longer one is refused with 4xx.", source=PUBLIC)
def a_key_has_at_most_255_characters(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "IDM-3")
    for exchange in ledger.history.of(Operation.EXPIRE):
        key = exchange.request.idempotency_key or ""
        known = exchange.request.session_id in ledger.sessions
        if len(key) > oracle.KEY_LENGTH and key.isascii() and known and not exchange.is_lost:
            yield expect(StatusIs(exchange, REFUSED), f"the key has {len(key)} characters", about="Idempotency-Key")
    for observed, write, _ in writes(ledger, Operation.EXPIRE, "open"):
        key = write.request.idempotency_key or ""
        if len(key) == oracle.KEY_LENGTH and key.isascii():
            reason = "a key of 255 characters is allowed"
            yield expect(StatusIs(write, NOT_REFUSED), reason, observed.born, about="Idempotency-Key")


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
            reason = "the key is forgotten, and the session has ended"
            yield expect(StatusIs(again, REFUSED), reason, first)
        if first.operation is not Operation.CREATE or again.operation is not Operation.CREATE or forgotten is None:
            continue
        age = (ledger.clock(again)[0] or 0) - (ledger.clock(first)[0] or 0)
        moves = [e for e in ledger.history.clock_calls(first.account) if first.is_before(e) and e.is_before(again)]
        if forgotten:
            yield from _fresh(ledger, again, first, f"the key is forgotten after {age} s", *moves[-1:])
        elif age >= 3_600 and _same_request(first, again):
            yield from _same_answer(ledger, again, first, f"the key is remembered, {age} s later", *moves[-1:])


def _fresh(ledger: Ledger, again: Exchange, first: Exchange, reason: str, *evidence: Exchange) -> Findings:
    """Judge that a create opens a session, and not an earlier one again."""
    if again.refused and any(each.exchange is again and not each.is_valid for each in ledger.creations):
        return  # it deserves that by now: an `expires_at` that was right a day ago is over (CRE-7)
    yield expect(StatusIs(again, SUCCESS), reason, first, *evidence)
    if again.succeeded:
        yield expect(Differs(in_body(again, "id"), in_body(first, "id")), reason, *evidence)


@clause("IDM-5", 'Replaying a successful expire returns that success, not "already expired".', source=PUBLIC)
def an_expire_is_replayed_as_it_was(ledger: Ledger) -> Findings:
    for first, again, forgotten in ledger.repeats():
        is_gone = again.status == 404 and ledger.may_lack(again.request.session_id, again)
        if forgotten is False and first.operation is Operation.EXPIRE and _same_request(first, again) and not is_gone:
            yield from _same_answer(ledger, again, first, "the key was used for it before")


@clause(
    "IDM-6", "The same key twice at once opens one session; the other answer is the same one, or 409.", source=IMPLIED
)
def the_same_key_at_once_is_done_once(ledger: Ledger) -> Findings:
    for uses in ledger.keyed.values():
        group = [use for use in uses if any(use.overlaps(other) for other in uses if other is not use)]
        if len(group) < 2 or any(use.is_lost for use in group):
            continue
        if not all(_same_request(group[0], use) for use in group):
            continue
        made = [use for use in group if use.succeeded]
        # By the policy `conflict` two successes are right as well: the second may have come when the first was done.
        waits = ledger.history.terms.policy.idempotency_in_flight == "wait"
        allowed_statuses = SUCCESS if waits else _SUCCESS_OR_CONFLICT
        reason = "by policy it waits for the answer" if waits else "the key is in use"
        for use in group:
            yield expect(StatusIs(use, allowed_statuses), reason, *group)
        if not made:
            yield expect(StatusIs(group[0], SUCCESS), "one of them is carried out", *group)
        for use in made[1:]:
            yield from _same_answer(ledger, use, made[0], "one session for one key", *group)
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
                same_id = Equals(in_body(mine, "id"), mine.request.session_id)
                reason = "another account used the key for another session"
                yield expect(same_id, reason, first) if mine.succeeded else KEPT
                continue
            yield from _fresh(ledger, mine, first, "the key was used by another account")


@clause("IDM-8", "Only a success is remembered: a refused request does not use its key up.", source=ASSUMED)
def a_refusal_does_not_use_a_key_up(ledger: Ledger) -> Findings:
    for creation in ledger.creations:
        exchange = creation.exchange
        if creation.is_valid and (uses := _refused_uses(ledger, exchange)):
            yield expect(StatusIs(exchange, SUCCESS), _UNUSED, *uses)
    for observed in ledger.sessions.values():
        for write in observed.writes:
            if write.operation is Operation.EXPIRE and write.account == observed.account:
                state, uses = ledger.state_before(observed, write), _refused_uses(ledger, write)
                if uses and state is not None and state.status == "open":
                    yield expect(StatusIs(write, SUCCESS), _UNUSED, *uses, observed.born)


def _refused_uses(ledger: Ledger, exchange: Exchange) -> Sequence[Exchange]:
    """The earlier uses of a request's key, if the request was answered and each of them had been refused before."""
    uses = ledger.earlier_uses(exchange)
    unused = not exchange.is_lost and all(use.refused and use.is_before(exchange) for use in uses)
    return uses if unused else ()


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
        reason = "the key was used for another request"
        if again.succeeded and reuse != "reject":
            yield from _same_answer(ledger, again, first, reason)
        else:
            statuses = exactly(first.status or 0) if reuse == "replay" else REFUSED
            yield expect(StatusIs(again, statuses), reason, first)
        observed = ledger.sessions.get(again.request.session_id or "")
        if observed is not None:
            read = next((read for read in observed.reads if again.is_before(read)), None)
            state = ledger.state_before(observed, read) if read is not None else None
            if read is not None and state is not None:
                yield expect(Equals(in_body(read, "status"), state.status), "nothing was done", first, again)
    yield from _done_at_once(ledger)
    yield from _made_twice(ledger, "IDM-9")


def _done_at_once(ledger: Ledger) -> Findings:
    """Of different requests with one new key, which came at once, one is done: what succeeds has the same answer."""
    for uses in ledger.keyed.values():
        for first, again in pairwise(use for use in uses if use.succeeded):
            is_new = not any(use.is_before(first) for use in uses)
            if is_new and first.overlaps(again) and not _same_request(first, again):
                yield from _same_answer(ledger, again, first, "the key is used for another request")
