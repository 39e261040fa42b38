"""Proofs for IDM: idempotency keys."""

from __future__ import annotations

from qashier_contract import oracle
from qashier_contract.history import Exchange, Operation
from qashier_contract.report.reproduce.fate import state_at
from qashier_contract.report.reproduce.naming import Naming
from qashier_contract.report.reproduce.proofs.table import Lines, blamed, proof, reply_json, shows, succeeds
from qashier_contract.trace.literals import literal


def _same_answer(naming: Naming, first: Exchange, again: Exchange) -> str:
    one, two = naming.reply(first), naming.reply(again)
    return f"assert ({two}.status_code, {two}.json()) == ({one}.status_code, {one}.json())"


def _made_once(naming: Naming) -> Lines:
    """A list shows one session at most for each request."""
    guilty = blamed(naming)
    uses = [e for e in naming.story.told if e.operation is Operation.CREATE]
    urls = dict.fromkeys(literal(naming.text(e.request.json["success_url"])) for e in uses)
    made = ", ".join(naming.reply(e) for e in uses)
    return [
        f'answered = {{reply.json()["id"] for reply in ({made},) if reply.is_success}}',
        f'made = {{s["id"] for s in {reply_json(naming, guilty)}["data"] if s["success_url"] in ({", ".join(urls)},)}}',
        "assert made <= answered, made - answered",
    ]


@proof("IDM-1", "IDM-5")
def _replayed(naming: Naming) -> Lines:
    if blamed(naming).operation is Operation.LIST:
        return _made_once(naming)
    first, again = naming.story.told[-2:]
    return [_same_answer(naming, first, again)]


@proof("IDM-2")
def _other_keys(naming: Naming) -> Lines:
    guilty = blamed(naming)
    if not guilty.succeeded:
        return [succeeds(naming, guilty)]
    first = naming.story.told[0]
    return [f'assert {reply_json(naming, first)}["id"] != {reply_json(naming, guilty)}["id"]']


@proof("IDM-4")
def _forgotten(naming: Naming) -> Lines:
    first, again = naming.story.told[0], blamed(naming)
    least, most = naming.ledger.clock(again)[0], naming.ledger.clock(first)[1]
    if least is not None and most is not None and least >= most + oracle.KEY_MEMORY:
        if again.operation is Operation.EXPIRE and first.operation is Operation.EXPIRE:
            return [f"assert {naming.reply(again)}.is_client_error, {naming.reply(again)}.text"]
        return [
            succeeds(naming, again),
            f'assert {reply_json(naming, again)}["id"] != {reply_json(naming, first)}["id"]',
        ]
    return [_same_answer(naming, first, again)]


@proof("IDM-6")
def _once(naming: Naming) -> Lines:
    guilty = blamed(naming)
    if guilty.operation is Operation.LIST:
        return _made_once(naming)
    group = next((g for g in naming.story.groups if len(g) > 1), naming.story.groups[-1])
    replies = ", ".join(naming.reply(step.exchange) for step in group)
    return [
        f"made = [reply.json() for reply in ({replies},) if reply.is_success]",
        'assert made and all(session == made[0] for session in made), [session["id"] for session in made]',
        f"assert all(reply.is_success or reply.status_code == 409 for reply in ({replies},))",
    ]


@proof("IDM-7")
def _own_keys(naming: Naming) -> Lines:
    first, mine = naming.story.told[0], blamed(naming)
    return [succeeds(naming, mine), f'assert {reply_json(naming, mine)}["id"] != {reply_json(naming, first)}["id"]']


@proof("IDM-8")
def _not_used_up(naming: Naming) -> Lines:
    return [succeeds(naming, blamed(naming))]


@proof("IDM-9")
def _another_request(naming: Naming) -> Lines:
    guilty, told = blamed(naming), naming.story.told
    if guilty.operation is Operation.LIST:
        return _made_once(naming)
    if guilty.operation is Operation.RETRIEVE:
        return _still_as(naming, guilty)
    first = told[0]
    one, two = naming.reply(first), naming.reply(guilty)
    reuse = naming.story.history.terms.policy.idempotency_reuse
    lines = []
    if reuse != "replay":
        lines.append(f"400 <= {two}.status_code < 500")
    if reuse != "reject":
        lines.append(f"({two}.status_code, {two}.json()) == ({one}.status_code, {one}.json())")
    return [f"assert {' or '.join(lines)}, {two}.text"]


def _still_as(naming: Naming, read: Exchange) -> Lines:
    """The status that a session has when a reused key did nothing to it."""
    observed = naming.story.session_of(read)
    if observed is None:
        return []
    return shows(naming, read, {"status": state_at(naming.story, observed, read).status})
