"""Proofs for AUTH and HTTP: who asks, and what holds for every request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qashier_contract.clauses.http import words
from qashier_contract.history import Exchange, Operation
from qashier_contract.ledger import entries_of
from qashier_contract.report.reproduce.naming import Naming
from qashier_contract.report.reproduce.proofs.table import (
    Lines,
    answers,
    blamed,
    creation_of,
    proof,
    refused,
    reply_json,
    shows,
    succeeds,
)
from qashier_contract.trace.literals import literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qashier_contract.ledger import ObservedSession


@proof("AUTH-1")
def _no_credentials(naming: Naming) -> Lines:
    guilty = blamed(naming)
    reply = naming.reply(guilty)
    return [answers(naming, guilty, 401), f'assert {reply}.headers.get("www-authenticate"), {reply}.headers']


@proof("AUTH-2", "AUTH-3")
def _let_in(naming: Naming) -> Lines:
    guilty = blamed(naming)
    kept_out = (401, 403, 404) if guilty.operation is Operation.RETRIEVE and guilty.status == 404 else (401, 403)
    return [f"assert {naming.reply(guilty)}.status_code not in {kept_out}, {naming.reply(guilty)}.text"]


@proof("AUTH-4")
def _kept_out(naming: Naming) -> Lines:
    return [answers(naming, blamed(naming), 401)]


@proof("AUTH-5")
def _strangers(naming: Naming) -> Lines:
    guilty = blamed(naming)
    if guilty.operation is not Operation.LIST:
        return [answers(naming, guilty, 404)]
    foreign = [observed for observed in naming.story.sessions if observed.account != guilty.account]
    if {"starting_after", "ending_before"} & guilty.request.parameters.keys() and not _lists_any(guilty, foreign):
        return [refused(naming, guilty)]
    return [f"assert {naming.id(observed.id)} not in ids({naming.reply(guilty)})" for observed in foreign[:1]]


def _lists_any(exchange: Exchange, sessions: Iterable[ObservedSession]) -> bool:
    shown = {entry.get("id") for entry in entries_of(exchange)}
    return any(observed.id in shown for observed in sessions)


@proof("HTTP-1")
def _request_ids(naming: Naming) -> Lines:
    told = [naming.reply(exchange) for exchange in naming.story.told]
    lines = [
        f'assert re.fullmatch(r"req_[A-Za-z0-9_]+", {reply}.headers.get("request-id", "")), {reply}.headers'
        for reply in told
    ]
    if len(told) > 1:
        lines.append(f'assert {told[0]}.headers["request-id"] != {told[-1]}.headers["request-id"]')
    return lines


@proof("HTTP-2")
def _json_bodies(naming: Naming) -> Lines:
    reply = naming.reply(blamed(naming))
    return [
        f'kind = {reply}.headers.get("content-type", "").partition(";")[0].strip().lower()',
        f'own = {reply}.is_error and re.fullmatch(r"application/.+\\+json", kind)',
        'assert kind == "application/json" or own, kind',
        f"assert is_json({reply}), {reply}.text",
    ]


@proof("HTTP-3")
def _errors(naming: Naming) -> Lines:
    guilty = blamed(naming)
    reply = naming.reply(guilty)
    lines = [f"assert isinstance({reply}.json(), dict), {reply}.text"]
    creation = creation_of(naming, guilty)
    error = guilty.object.get("error")
    param = error.get("param") if isinstance(error, dict) else None
    told = any(len(text.strip()) >= 4 for text in words(guilty.json))
    if told and creation is not None and creation.faults and isinstance(param, str):
        right = re.findall(r"[a-z_]+", creation.faults[0].path.lower().replace("-", "_"))
        return [
            *lines,
            f'blamed = re.findall(r"[a-z_]+", {reply}.json()["error"]["param"].lower().replace("-", "_"))',
            f"right = {right}",
            "assert blamed[-1] == right[-1] or blamed == right[: len(blamed)] or blamed[: len(right)] == right, blamed",
        ]
    return [*lines, f"assert any(len(text.strip()) >= 4 for text in texts({reply}.json())), {reply}.text"]


@proof("HTTP-4")
def _wrong_doors(naming: Naming) -> Lines:
    guilty = blamed(naming)
    reply = naming.reply(guilty)
    if guilty.operation is Operation.CREATE:
        creation = creation_of(naming, guilty)
        if creation is None or creation.is_faultless:
            wanted = guilty.reply is not None or creation is not None
            return [succeeds(naming, guilty)] if wanted else [answers(naming, guilty, 413)]
        path = next((fault.path for fault in creation.faults or () if fault.clause == "HTTP-4"), "")
        if path == "Content-Type":
            return [answers(naming, guilty, 415)]
        if path == "Content-Length":
            return [answers(naming, guilty, 413)]
        return [f"assert {reply}.status_code == 400, {reply}.text"]
    known = {
        r"/checkout/sessions": ("GET", "POST"),
        r"/checkout/sessions/[^/]+": ("GET",),
        r"/checkout/sessions/[^/]+/expire": ("POST",),
    }
    methods = next((m for pattern, m in known.items() if re.fullmatch(pattern, guilty.request.path)), None)
    if methods is None:
        return [answers(naming, guilty, 404)]
    return [
        answers(naming, guilty, 405),
        f'allowed = {{word.strip().upper() for word in {reply}.headers.get("allow", "").split(",")}}',
        f"assert allowed >= {set(methods)!r} and {guilty.request.method!r} not in allowed, allowed",
    ]


@proof("HTTP-5")
def _nothing_changed(naming: Naming) -> Lines:
    guilty, told = blamed(naming), naming.story.told
    causes = [e for e in told[:-1] if e.operation is Operation.CREATE and e.refused]
    if causes:
        body = causes[-1].request.json
        url = literal(naming.text(body["success_url"])) if isinstance(body, dict) else "None"
        sessions = (
            f'{reply_json(naming, guilty)}["data"]'
            if guilty.operation is Operation.LIST
            else f"[{reply_json(naming, guilty)}]"
        )
        return [
            f'assert not [session for session in {sessions} if session["success_url"] == {url}]',
        ]
    observed = naming.story.session_of(guilty)
    before = naming.ledger.preceding_read(observed, told[-2]) if observed is not None and len(told) > 1 else None
    if before is None:
        return []
    return shows(naming, guilty, {name: before.object.get(name) for name in ("status", "payment_status")})


@proof("HTTP-6")
def _still_standing(naming: Naming) -> Lines:
    reply = naming.reply(blamed(naming))
    return [f"assert {reply}.status_code < 500, {reply}.text"]
