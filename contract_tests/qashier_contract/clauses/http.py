"""HTTP: what holds for every request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from qashier_contract.clauses.table import (
    ASSUMED,
    DOCUMENTED,
    IMPLIED,
    KEPT,
    PUBLIC,
    Findings,
    Observation,
    broken,
    clause,
    kept_if,
)
from qashier_contract.history import SESSIONS_PATH, Exchange, Operation
from qashier_contract.ledger import CHANGING, Ledger, codes_of, entries_of
from qashier_contract.oracle import BODY_MOST
from qashier_contract.values import NOT_JSON, Json

if TYPE_CHECKING:
    from collections.abc import Iterator

_REQUEST_ID: Final = re.compile(r"req_[A-Za-z0-9_]+")
_METHODS: Final = (
    (re.compile(SESSIONS_PATH), frozenset({"GET", "POST"})),
    (re.compile(rf"{SESSIONS_PATH}/[^/]+"), frozenset({"GET"})),
    (re.compile(rf"{SESSIONS_PATH}/[^/]+/expire"), frozenset({"POST"})),
)
_COMMON: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
"""The methods for which 405 is demanded. HEAD and OPTIONS many servers answer by themselves."""


def _answered(ledger: Ledger) -> Iterator[Exchange]:
    return (e for e in ledger.history.judged if not e.is_lost)


@clause(
    "HTTP-1",
    "Every response, errors included, has a `Request-Id` of the form `req_…` (letters, digits, underscores), "
    "unique per request.",
    source=PUBLIC,
)
def every_response_has_its_request_id(ledger: Ledger) -> Findings:
    seen: dict[str, Exchange] = {}
    for exchange in _answered(ledger):
        if exchange.request.method == "OPTIONS":
            continue  # often answered by what stands in front, before it is a request of the API
        request_id = exchange.request_id
        if request_id is None or not _REQUEST_ID.fullmatch(request_id):
            yield broken("a Request-Id such as req_8kXw2mQp", request_id or "none", exchange)
        elif request_id in seen:
            yield broken("a Request-Id of its own for each request", f"{request_id} twice", seen[request_id], exchange)
        else:
            seen[request_id] = exchange
            yield KEPT


@clause(
    "HTTP-2",
    "Every body of the API is JSON: a success as `application/json`, an error as that or another JSON type.",
    source=DOCUMENTED,
)
def every_body_is_json(ledger: Ledger) -> Findings:
    for exchange in _answered(ledger):
        reply = exchange.reply
        if reply is None or 300 <= reply.status < 400 or exchange.request.method in {"HEAD", "OPTIONS"}:
            continue
        kind = reply.media_type
        right = kind == "application/json" or (
            not reply.succeeded and kind.startswith("application/") and kind.endswith("+json")
        )
        yield kept_if(right, "a JSON media type", f"{kind or 'none'} with {reply.status}", exchange)
        yield kept_if(
            reply.json is not NOT_JSON, f"a body that is JSON with {reply.status}", _start(reply.body), exchange
        )


def _start(body: bytes) -> str:
    return repr(body[:80].decode("utf-8", "replace"))


@clause(
    "HTTP-3",
    "An error is 4xx with a JSON object that tells a person what to change, and blames no field that is right.",
    source=ASSUMED,
)
def errors_tell_what_to_change(ledger: Ledger) -> Findings:
    for exchange in ledger.history.judged:
        if not exchange.refused or exchange.request.method in {"HEAD", "OPTIONS"}:
            continue
        yield kept_if(
            isinstance(exchange.json, dict),
            "a JSON object",
            _start(exchange.reply.body if exchange.reply else b""),
            exchange,
        )
        if isinstance(exchange.json, dict):
            told = any(len(text.strip()) >= 4 for text in words(exchange.json))
            yield kept_if(told, "words that tell what to change", exchange.json, exchange)
    for creation in ledger.creations:
        error = creation.exchange.object.get("error")
        param = error.get("param") if isinstance(error, dict) else None
        if not creation.exchange.refused or not creation.faults or creation.key_was_seen or not isinstance(param, str):
            continue
        paths = {fault.path for fault in creation.faults}
        charged = ledger.accepted_currencies
        if charged and not codes_of(creation.exchange.request.json) <= charged:
            continue  # it may be refused for a currency that this account may not charge
        if len(paths) == 1 and not {fault.clause for fault in creation.faults} & {"HTTP-4", "CRE-13"}:
            (path,) = paths
            yield kept_if(_related(param, path), f"param {path or 'absent'}", f"param {param}", creation.exchange)


_FOR_PROGRAMS: Final = frozenset({"type", "code", "param", "status", "instance", "id", "request_id", "object"})
"""Members of an error that are no words to a person, in our envelope and in a problem document (RFC 9457)."""


def words(value: Json) -> Iterator[str]:
    """What an error tells a person: every text in it that is no member for programs."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from words(inner)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in _FOR_PROGRAMS or not isinstance(inner, str):
                yield from words(inner)


def _related(param: str, path: str) -> bool:
    """Whether a field's name, however written, is the blamed one, one that holds it, or one inside it."""
    blamed, right = (re.findall(r"[a-z_]+", text.lower().replace("-", "_")) for text in (param, path))
    names = [name for name in blamed if name not in {"body", "data", "attributes"}]
    if not names or not right:
        return True
    return names == right[: len(names)] or right == names[: len(right)] or names[-1] == right[-1]


@clause(
    "HTTP-4",
    "Unknown path 404; known path, other method 405 with `Allow`; a body that is not JSON 400; another media type "
    "415; too large 413, after which the client can still read the answer.",
    source=ASSUMED,
)
def what_is_no_request_of_the_api_is_refused_for_what_it_is(ledger: Ledger) -> Findings:
    for exchange in ledger.history.judged:
        if (
            exchange.account is not None
            and exchange.operation is Operation.OTHER
            and exchange.request.method in _COMMON
        ):
            yield from _route(exchange)
    yield from _bodies(ledger)
    for exchange in ledger.history.judged:
        large = exchange.operation is Operation.CREATE and len(exchange.request.body or b"") > BODY_MOST
        if large and exchange.reply is None and not exchange.is_unanswered_in_good_faith:
            yield broken("413, and a connection that stays open until it is read", exchange.failure, exchange)


def _bodies(ledger: Ledger) -> Findings:
    for creation in ledger.creations:
        exchange = creation.exchange
        if creation.key_was_seen:
            continue
        if creation.is_faultless:
            if "HTTP-4" in creation.features.values() and not exchange.is_unknown:
                guilty = exchange.refused and "HTTP-4" in ledger.attributed_clauses(creation)
                yield kept_if(not guilty, "success for JSON in another guise", exchange.status, exchange)
            continue
        for fault in creation.faults or ():
            if fault.clause == "HTTP-4":
                yield _named(exchange, fault.path, fault.reason)
                break


def _route(exchange: Exchange) -> Findings:
    path, method = exchange.request.path, exchange.request.method
    if exchange.reply is None or path.endswith("/") or "//" in path or "%" in path:
        return
    methods = next((methods for pattern, methods in _METHODS if pattern.fullmatch(path)), None)
    if methods is None:
        yield kept_if(exchange.status == 404, "404 for an unknown path", exchange.status, exchange)
        return
    yield kept_if(exchange.status == 405, f"405 for {method}", exchange.status, exchange)
    if exchange.status == 405:
        header = exchange.reply.header("allow") or ""
        allowed = {word.strip().upper() for word in header.split(",")}
        yield kept_if(
            methods <= allowed and method not in allowed,
            f"Allow: {', '.join(sorted(methods))}",
            header or "no Allow",
            exchange,
        )


def _named(exchange: Exchange, path: str, reason: str) -> Observation:
    if path == "Content-Type":
        return kept_if(exchange.status == 415, f"415, as {reason}", exchange.status, exchange)
    if path == "Content-Length":
        return kept_if(exchange.status == 413, f"413, as {reason}", exchange.status, exchange)
    return kept_if(exchange.status == 400, f"400, as {reason}", exchange.status, exchange)


@clause(
    "HTTP-5",
    "A request that is answered with 4xx changes nothing: it opens no session, and moves no status.",
    source=IMPLIED,
)
def what_is_refused_changes_nothing(ledger: Ledger) -> Findings:
    for exchange in ledger.history.of(Operation.LIST, Operation.RETRIEVE):
        shown = entries_of(exchange) if exchange.operation is Operation.LIST else (exchange.object,)
        for session in shown:
            marker = session.get("success_url")
            causes = ledger.markers.get((exchange.account or 0, marker), ()) if isinstance(marker, str) else ()
            if causes and all(cause.refused for cause in causes):
                yield broken(
                    "no session from a request that was refused", f"session {session.get('id')}", *causes, exchange
                )
    refused = [e for e in ledger.history.of(Operation.CREATE) if e.refused]
    listed = [e for e in ledger.history.of(Operation.LIST) if e.succeeded]
    for exchange in refused:
        if any(exchange.account == later.account and exchange.is_before(later) for later in listed[-3:]):
            yield KEPT
    # Not only the writes of a life: what was refused for its key alone asked for nothing, and might do it all the same.
    asked = [
        (ledger.sessions.get(e.request.session_id or ""), e) for e in ledger.history.of(Operation.EXPIRE, Operation.PAY)
    ]
    pressed = [
        (observed, w) for observed in ledger.sessions.values() for w in observed.writes if w.operation is Operation.PAGE
    ]
    for observed, write in (*asked, *pressed):
        if observed is not None and write.refused:
            before, read = ledger.preceding_read(observed, write), ledger.following_read(observed, write)
            if before is None or read is None:
                continue
            changed = [name for name in CHANGING if before.object.get(name) != read.object.get(name)]
            yield kept_if(
                not changed,
                f"{', '.join(changed)} as before",
                f"{read.object.get('status')}",
                observed.born,
                write,
                read,
            )


@clause(
    "HTTP-6",
    "No input, however broken, is answered with 5xx or a dropped connection.",
    source=IMPLIED,
)
def no_input_breaks_the_server(ledger: Ledger) -> Findings:
    for exchange in ledger.history.judged:
        if exchange.reply is None:
            if not exchange.is_unanswered_in_good_faith:
                yield broken("an answer", exchange.failure, exchange)
        elif exchange.status == 503 and exchange.reply.header("retry-after"):
            continue
        else:
            yield kept_if(exchange.reply.status < 500, "no 5xx", exchange.status, exchange)
