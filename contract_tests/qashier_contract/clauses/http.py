"""HTTP: what holds for every request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from qashier_contract.clauses.shapes import misshapen
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, IMPLIED, KEPT, PUBLIC, Findings, clause
from qashier_contract.findings import Contains, Differs, Equals, HasShape, StatusIs, expect
from qashier_contract.history import SESSIONS_PATH, Exchange, Operation
from qashier_contract.ledger import CHANGING, Creation, Ledger, codes_of, entries_of
from qashier_contract.oracle import BODY_MOST, NOT_JUDGED, UNKNOWN_FIELD, leaves_open
from qashier_contract.places import EACH, At, Part, asked_in, header_of, in_body
from qashier_contract.statuses import NO_FAULT, NOT_REFUSED, REFUSED, exactly
from qashier_contract.values import Json

_METHODS: Final = (
    (re.compile(SESSIONS_PATH), frozenset({"GET", "POST"})),
    (re.compile(rf"{SESSIONS_PATH}/[^/]+"), frozenset({"GET"})),
    (re.compile(rf"{SESSIONS_PATH}/[^/]+/expire"), frozenset({"POST"})),
)
_COMMON: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
"""The methods for which 405 is demanded. HEAD and OPTIONS many servers answer by themselves."""
_WITHOUT_BODY: Final = frozenset({"HEAD", "OPTIONS"})
_OF_MOCK: Final = {"Content-Type": 415, "Content-Length": 413}
"""What our own mock answers to a body that it cannot take, by the header that tells of it; else 400."""


def _answered(ledger: Ledger) -> Iterator[Exchange]:
    return (e for e in ledger.history.judged if not e.is_lost)


@clause(
    "HTTP-1",
    "Every response, errors included, has a `Request-Id` of the form `req_…` (letters, digits, underscores), unique "
    "per request.",
    source=PUBLIC,
)
def every_response_has_its_request_id(ledger: Ledger) -> Findings:
    seen: dict[str, Exchange] = {}
    for exchange in _answered(ledger):
        if exchange.request.method == "OPTIONS":
            continue  # often answered by what stands in front, before it is a request of the API
        at = header_of(exchange, "Request-Id")
        formed = expect(HasShape(at, "string", r"req_[A-Za-z0-9_]+", "such as req_8kXw2mQp"), "every response has one")
        earlier = seen.setdefault(exchange.request_id or "", exchange)
        if not formed.holds or earlier is exchange:
            yield formed
        else:
            yield expect(Differs(at, header_of(earlier, "Request-Id")), "each request has its own")


@clause(
    "HTTP-2",
    "Every body of the API is JSON: a success as `application/json`, an error as that or another JSON type.",
    source=DOCUMENTED,
)
def every_body_is_json(ledger: Ledger) -> Findings:
    for exchange in _answered(ledger):
        reply = exchange.reply
        if reply is None or 300 <= reply.status < 400 or exchange.request.method in _WITHOUT_BODY:
            continue
        form = r"(?i)\s*application/json\s*(;.*)?"
        if not reply.succeeded:
            form = r"(?i)\s*application/([^;\s]+\+)?json\s*(;.*)?"
        yield expect(HasShape(header_of(exchange, "Content-Type"), "string", form, "a JSON media type"))
        yield expect(HasShape(in_body(exchange), "JSON"))


_WORDS: Final = r"""(?s).*:\s*"[^"]*\S\s+\S[^"]*".*"""
"""A body with at least two words in one of its strings."""


@clause(
    "HTTP-3",
    "An error is 4xx with a JSON object that tells a person what to change, and blames no field that is right.",
    source=ASSUMED,
)
def errors_tell_what_to_change(ledger: Ledger) -> Findings:
    own = ledger.history.terms.own
    for exchange in ledger.history.judged:
        if not exchange.refused or exchange.request.method in _WITHOUT_BODY:
            continue
        yield expect(HasShape(in_body(exchange), "object"), "an error is an object")
        if not isinstance(exchange.json, dict):
            continue
        if own:
            yield from misshapen(exchange, "ErrorEnvelope", exchange.json)
        told = any(len(text.strip()) >= 4 for text in words(exchange.json))
        # Where the words stand is the implementation's affair, so the whole body is searched for one.
        yield KEPT if told else expect(HasShape(At(exchange, Part.RAW), "string", _WORDS, "some words for a person"))
    for creation in ledger.creations:
        yield from _blamed_field(ledger, creation, own=own)


def _blamed_field(ledger: Ledger, creation: Creation, *, own: bool) -> Findings:
    """`error.param` names the field that is wrong, in its own way; our mock writes it as a path."""
    exchange, at = creation.exchange, in_body(creation.exchange, "error", "param")
    param = at.value
    if not exchange.refused or not creation.mistakes or creation.key_was_seen or not isinstance(param, str):
        return
    if leaves_open(exchange.request.json, NOT_JUDGED, *(() if own else (UNKNOWN_FIELD,))):
        return  # it may be refused for that
    charged = ledger.accepted_currencies
    if charged and not codes_of(exchange.request.json) <= charged:
        return  # it may be refused for a currency that this account may not charge
    paths = {mistake.path for mistake in creation.mistakes}
    if len(paths) != 1 or {mistake.clause for mistake in creation.mistakes} & {"HTTP-4", "CRE-13"}:
        return
    (path,) = paths
    reason = creation.mistakes[0].reason
    about = re.sub(r"\[\d+\]", "[]", path)
    yield expect(Equals(at, path), reason, about=about) if (own and path) or not _related(param, path) else KEPT


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
    blamed, right = (re.findall(r"[a-z]+", re.sub("[-_]", "", text.lower())) for text in (param, path))
    names = [name for name in blamed if name not in {"body", "data", "attributes"}]
    if not names or not right:
        return True
    return names[-1] in right or right == names[: len(right)]


@clause(
    "HTTP-4",
    "Unknown path 404; known path, other method 405 with `Allow`; a body that is not JSON, another media type or too "
    "large a body 4xx (the mock: 400, 415, 413), after which the client can still read the answer.",
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
            yield expect(StatusIs(exchange, REFUSED), "the body is above 2 MiB", about="Content-Length")


def _bodies(ledger: Ledger) -> Findings:
    own = ledger.history.terms.own
    for creation in ledger.creations:
        exchange = creation.exchange
        if creation.key_was_seen:
            continue
        if creation.is_valid:
            special = sorted(feature for feature, cause in creation.features.items() if cause == "HTTP-4")
            if special and not exchange.is_unknown:
                guilty = exchange.refused and "HTTP-4" in ledger.attributed_clauses(creation)
                reason = f"{', '.join(special)} is allowed"
                yield expect(StatusIs(exchange, NOT_REFUSED), reason, about=", ".join(special)) if guilty else KEPT
            continue
        mistake = next((mistake for mistake in creation.mistakes or () if mistake.clause == "HTTP-4"), None)
        if mistake is not None:
            statuses = exactly(_OF_MOCK.get(mistake.path, 400)) if own else REFUSED
            yield expect(StatusIs(exchange, statuses), mistake.reason, about=mistake.path or "body")


def _route(exchange: Exchange) -> Findings:
    path, method = exchange.request.path, exchange.request.method
    if exchange.reply is None or path.endswith("/") or "//" in path or "%" in path:
        return
    methods = next((methods for pattern, methods in _METHODS if pattern.fullmatch(path)), None)
    if methods is None:
        yield expect(StatusIs(exchange, exactly(404)), "the path is unknown", about="path")
        return
    yield expect(StatusIs(exchange, exactly(405)), f"the path has no {method}", about="method")
    if exchange.status == 405:
        allow = header_of(exchange, "Allow")
        for name in sorted(methods):
            yield expect(Contains(allow, name), f"the path has {name}", about="Allow")
        yield expect(Contains(allow, method, absent=True), f"the path has no {method}", about="Allow")


@clause(
    "HTTP-5",
    "A request that is answered with 4xx changes nothing: it opens no session, moves no status and sends no event.",
    source=IMPLIED,
)
def what_is_refused_changes_nothing(ledger: Ledger) -> Findings:
    for exchange in ledger.history.of(Operation.LIST, Operation.RETRIEVE):
        shown = entries_of(exchange) if exchange.operation is Operation.LIST else (exchange.object,)
        for session in shown:
            if causes := ledger.refused_causes(exchange.account, session):
                yield expect(_not_shown(exchange, causes[0]), "the create was refused", *causes)
    refused = [e for e in ledger.history.of(Operation.CREATE) if e.refused]
    listed = [e for e in ledger.history.of(Operation.LIST) if e.succeeded]
    for exchange in refused:
        if any(exchange.account == later.account and exchange.is_before(later) for later in listed[-3:]):
            yield KEPT
    # Not only the writes of a life: what was refused for its key alone asked for nothing, and might do it all the same.
    sent = ledger.history.of(Operation.EXPIRE, Operation.PAY)
    asked = [(ledger.sessions.get(e.request.session_id or ""), e) for e in sent]
    pressed = [
        (observed, w) for observed in ledger.sessions.values() for w in observed.writes if w.operation is Operation.PAGE
    ]
    for observed, write in (*asked, *pressed):
        if observed is not None and write.refused:
            before, read = ledger.preceding_read(observed, write), ledger.following_read(observed, write)
            if before is None or read is None:
                continue
            reason = f"the {write.operation.value} was refused"
            for name in sorted(CHANGING):
                yield expect(Equals(in_body(read, name), in_body(before, name)), reason, observed.born, write)


def _not_shown(exchange: Exchange, cause: Exchange) -> Contains | StatusIs:
    """That an answer does not show the session of a request, which its `success_url` marks."""
    marker = asked_in(cause, "success_url")
    if exchange.operation is Operation.LIST:
        return Contains(in_body(exchange, "data", EACH, "success_url"), marker, absent=True)
    return Contains(At(exchange, Part.RAW), marker, absent=True)


@clause("HTTP-6", "No input, however broken, is answered with 5xx or a dropped connection.", source=IMPLIED)
def no_input_breaks_the_server(ledger: Ledger) -> Findings:
    for exchange in ledger.history.judged:
        if exchange.reply is None and exchange.is_unanswered_in_good_faith:
            continue
        if exchange.reply is not None and exchange.status == 503 and exchange.reply.header("retry-after"):
            continue
        yield expect(StatusIs(exchange, NO_FAULT), "no input may break the server")
