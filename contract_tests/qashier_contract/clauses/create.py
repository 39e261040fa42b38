"""CRE: what may be asked for, and what comes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Final

from qashier_contract.addresses import is_loopback
from qashier_contract.clauses.shapes import misshapen
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, IMPLIED, KEPT, PUBLIC, Findings, Source, clause
from qashier_contract.clauses.writes import views
from qashier_contract.document import currencies
from qashier_contract.findings import Counts, Differs, Equals, Finding, HasShape, OneOf, StatusIs, Within, expect
from qashier_contract.history import Exchange, Operation
from qashier_contract.ledger import Creation, Ledger, ObservedSession, lines_of
from qashier_contract.oracle import LONGEST_LIFE, SHORTEST_LIFE
from qashier_contract.places import EACH, At, Part, Sum, asked_in, in_body
from qashier_contract.statuses import NO_ERROR, REFUSED, SUCCESS, exactly
from qashier_contract.values import Json, is_integer, is_of_type

_PATH_SAFE: Final = r"[A-Za-z0-9._~!$&'()*+,;=:@-]+"
_HOST: Final = r"(\[[0-9a-f:.]+\]|[^\x00-\x20\x7f\ud800-\udfff/?#:@%<>\\^`{|}\[\]]+)"
_PORT: Final = r"(:(\d{0,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5]))?"
_ADDRESS: Final = rf"(?is)https?://([^/?#\s@]*@)?{_HOST}{_PORT}([/?#].*)?"
_CLOCK_TOLERANCE: Final = 300
"""Seconds that the clock of a target whose clock cannot be read may differ from the machine's."""
_OWN_CLAUSES: Final = {
    "object": "CRE-3",
    "mode": "CRE-3",
    "status": "CRE-3",
    "payment_status": "AMT-6",
    "currency": "AMT-3",
}


def answered(ledger: Ledger) -> Iterator[tuple[Creation, Json]]:
    """The creates that opened a session with nothing wrong in the request, first answers only, with their bodies."""
    for creation in ledger.creations:
        if creation.exchange.succeeded and creation.is_valid and not creation.key_was_seen:
            yield creation, creation.exchange.object


def refusals(ledger: Ledger, identifier: str) -> Findings:
    """Judge that what has a mistake of this clause is refused, and that what has a feature of it is accepted."""
    for creation in ledger.creations:
        exchange = creation.exchange
        if creation.mistakes is None or creation.key_was_seen:
            continue
        if creation.is_valid:
            yield from _allowed(ledger, creation, identifier)
            continue
        mine = [mistake for mistake in creation.mistakes if mistake.clause == identifier]
        if not mine:
            continue
        mistake = mine[0]
        statuses = REFUSED
        if exchange.refused and len({mistake.path for mistake in creation.mistakes}) == 1:
            policy = ledger.history.terms.policy
            demanded = policy.status_rule if identifier in {"CRE-7", "CRE-13"} else policy.status_invalid
            statuses = REFUSED if demanded is None or mistake.breaks_schema else exactly(demanded)
        elif exchange.refused:
            continue
        where = f"{mistake.path}: " if mistake.path and mistake.path not in mistake.reason else ""
        yield expect(StatusIs(exchange, statuses), f"{where}{mistake.reason}", about=without_places(mistake.path))


def _allowed(ledger: Ledger, creation: Creation, identifier: str) -> Findings:
    """Judge that a create is not refused for what a clause allows."""
    features = sorted(feature for feature, cause in creation.features.items() if cause == identifier)
    if features and not creation.exchange.is_unknown:
        guilty = creation.exchange.refused and identifier in ledger.attributed_clauses(creation)
        about = without_places(", ".join(features))
        yield (
            expect(StatusIs(creation.exchange, SUCCESS), f"allowed: {', '.join(features)}", about=about)
            if guilty
            else KEPT
        )


def allowed(ledger: Ledger, identifier: str) -> Findings:
    """The creates that were refused for what a clause allows; what it says of accepted ones is judged elsewhere."""
    for creation in ledger.creations:
        if creation.is_valid and not creation.key_was_seen:
            for finding in _allowed(ledger, creation, identifier):
                if finding is not KEPT:
                    yield finding


def without_places(text: str) -> str:
    """What something is about, without what differs from run to run: places in lists, addresses."""
    return re.sub(r"https?://\S+", "URL", re.sub(r"\[\d+\]", "[]", text))


@clause(
    "CRE-1",
    "A valid request succeeds with a session of the documented shape, every documented property present.",
    source=DOCUMENTED,
)
def a_valid_request_succeeds(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-1")
    for creation in ledger.creations:
        exchange = creation.exchange
        if not creation.is_valid or creation.key_was_seen:
            continue
        if exchange.succeeded:
            errors = [
                finding
                for finding in misshapen(exchange, "CheckoutSession", exchange.json)
                if not _is_of_another_clause(finding)
            ]
            yield from errors[:3]
            if not errors:
                yield KEPT
        elif not exchange.refused or "CRE-1" in ledger.attributed_clauses(creation):
            yield expect(StatusIs(exchange, SUCCESS), "the request is valid")


def _is_of_another_clause(finding: Finding) -> bool:
    """Whether a wrong shape is judged elsewhere: a wrong word of an enum, an amount that is no integer (AMT-7)."""
    expectation = finding.expectation
    if isinstance(expectation, OneOf):
        return expectation.at.name in _OWN_CLAUSES
    at = expectation.at
    return at is not None and at.path[-1:] == ("amount_total",) and is_of_type(at.value, "number")


@clause(
    "CRE-3",
    "A new session is `open`; its `object` is `checkout.session` and its `mode` is `payment`.",
    source=DOCUMENTED,
)
def a_new_session_is_open(ledger: Ledger) -> Findings:
    for creation, _ in answered(ledger):
        for name, value in (("status", "open"), ("object", "checkout.session"), ("mode", "payment")):
            yield expect(Equals(in_body(creation.exchange, name), value), "the session is new")


@clause("CRE-4", "`created` is the server's now.", source=DOCUMENTED)
def created_is_now(ledger: Ledger) -> Findings:
    terms = ledger.history.terms
    for creation, session in answered(ledger):
        exchange, created = creation.exchange, session.get("created")
        if not is_integer(created):
            continue
        if ledger.reads_clock:
            least, most = ledger.clock(exchange)
            slack = 0 if least == most else 1
        elif terms.wall_ns is not None and not terms.others_act:  # somebody may have moved the clock
            least = (terms.wall_ns + exchange.sent_ns - terms.monotonic_ns) // 10**9
            most = (terms.wall_ns + exchange.received_ns - terms.monotonic_ns) // 10**9
            slack = _CLOCK_TOLERANCE
        else:
            continue
        if least is not None and most is not None:
            reason = "the clock showed it" if ledger.reads_clock else f"the machine's clock, give or take {slack} s"
            reads = ledger.looks_around(exchange) if least == most else None
            bounds = (least - slack, most + slack) if reads is None else (in_body(read, "now") for read in reads)
            yield expect(Within(in_body(exchange, "created"), *bounds), reason)


@clause("CRE-5", "Without `expires_at` a session expires 86,400 s after `created`.", source=DOCUMENTED)
def a_session_lives_a_day_by_default(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        if "expires_at" not in creation.exchange.request.json and is_integer(session.get("created")):
            due = Sum((in_body(creation.exchange, "created"),), plus=86_400)
            yield expect(Equals(in_body(creation.exchange, "expires_at"), due), "no expires_at was sent")


@clause("CRE-6", "A given `expires_at` is kept exactly.", source=DOCUMENTED)
def a_given_expiry_is_kept(ledger: Ledger) -> Findings:
    for creation, _ in answered(ledger):
        if creation.exchange.request.json.get("expires_at") is not None:
            exchange = creation.exchange
            yield expect(Equals(in_body(exchange, "expires_at"), asked_in(exchange, "expires_at")))
    yield from allowed(ledger, "CRE-6")


@clause(
    "CRE-7",
    "`expires_at` before `created` + 1,800 or after `created` + 86,400 is refused with 4xx; both bounds are accepted.",
    source=DOCUMENTED,
)
def an_expiry_has_bounds(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-7")
    for creation in ledger.creations:
        exchange, body = creation.exchange, creation.exchange.request.json
        # Whatever the clock showed: the answer itself says when the session was created.
        if (
            exchange.succeeded
            and creation.mistakes is None
            and isinstance(body, dict)
            and is_integer(body.get("expires_at"))
        ):
            created = exchange.object.get("created")
            if is_integer(created) and not creation.key_was_seen:
                asked, at = asked_in(exchange, "expires_at"), in_body(exchange, "created")
                bounds = Sum((at,), plus=SHORTEST_LIFE), Sum((at,), plus=LONGEST_LIFE)
                yield expect(Within(asked, *bounds), "it was accepted")


@clause("CRE-8", "`success_url` and `return_url` come back character for character.", source=DOCUMENTED)
def urls_come_back_as_they_went(ledger: Ledger) -> Findings:
    for creation, _ in answered(ledger):
        for name in ("success_url", "return_url"):
            yield expect(Equals(in_body(creation.exchange, name), asked_in(creation.exchange, name)))


@clause("CRE-9", "`url` is an absolute http(s) address at which the customer can pay.", source=DOCUMENTED)
def a_session_has_a_page(ledger: Ledger) -> Findings:
    for creation, _ in answered(ledger):
        at = in_body(creation.exchange, "url")
        yield expect(HasShape(at, "string", _ADDRESS, "an absolute http(s) address"), "the customer pays there")
    pages: dict[str, ObservedSession] = {}
    for observed in ledger.sessions.values():
        url = observed.first.get("url")
        if isinstance(url, str) and (earlier := pages.setdefault(url, observed)) is not observed:
            ats = in_body(observed.born, "url"), in_body(earlier.born, "url")
            yield expect(Differs(*ats), "each session has its own page")
    for exchange in ledger.history.of(Operation.PAGE):
        shown = ledger.sessions.get(exchange.page_of or "")
        if shown is None or exchange.page_act != "view" or exchange.request.method != "GET":
            continue
        if exchange.reply is None:
            # Elsewhere the way there may be closed to us; nobody but this machine can have a page there.
            if (exchange.failure or "").startswith("no connection") and is_loopback(exchange.request.path):
                yield expect(StatusIs(exchange, NO_ERROR), "the customer pays there", shown.born)
            continue
        state = ledger.state_before(shown, exchange)
        if state is not None and state.status == "open":
            yield expect(StatusIs(exchange, NO_ERROR), "the customer pays there", shown.born)
    yield from _has_a_form(ledger)


def _has_a_form(ledger: Ledger) -> Findings:
    """Where the pages of some open sessions have a form to pay, those of all have one."""
    pages = []
    for observed, exchange, page, _ in views(ledger, "open"):
        if exchange.page_act == "view" and not page.may_show_more:
            pages.append(expect(Counts(At(exchange, Part.FORMS), 1), "other open pages have one", observed.born))
    if any(page.holds for page in pages):
        yield from pages


@clause("CRE-10", "An `id` is unique, never given out again, and safe in a URL path.", source=IMPLIED)
def an_id_is_unique(ledger: Ledger) -> Findings:
    first: dict[str, Creation] = {}
    for creation in ledger.creations:
        exchange, session_id = creation.exchange, creation.exchange.object.get("id")
        if not exchange.succeeded or not isinstance(session_id, str):
            continue
        at = in_body(exchange, "id")
        yield expect(HasShape(at, "string", _PATH_SAFE, "characters that are safe in a URL path"))
        earlier = first.setdefault(session_id, creation)
        if earlier is creation or ledger.may_be_replay(exchange):
            yield KEPT
        elif _is_apart(exchange, earlier.exchange):
            yield expect(Differs(at, in_body(earlier.exchange, "id")), "an id is never given out again")


def _is_apart(one: Exchange, other: Exchange) -> bool:
    """Whether no idempotency key, however it is understood, can make two creates the same request (IDM-2, IDM-7)."""
    keys = {one.request.idempotency_key, other.request.idempotency_key}
    return keys == {None} or (one.account != other.account and len(keys) == 2)


@clause(
    "CRE-11",
    "`unit_amount` is a JSON integer from 0 to 99,999,999 and `quantity` one from 1 to 10,000; anything else is "
    "refused with 4xx.",
    source=PUBLIC,
)
def amounts_and_quantities_are_bounded_integers(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-11")
    for exchange in ledger.history.of(Operation.CREATE):
        asked = _of_lines(exchange.request.json, "quantity")
        if not exchange.succeeded or not any(isinstance(quantity, float) for quantity in asked):
            continue
        if all(isinstance(q, int) or (isinstance(q, float) and q.is_integer()) for q in asked):
            at = in_body(exchange, "line_items", "data", EACH, "quantity")
            yield expect(Equals(at, [int(q) for q in asked]), "2.0, if it is accepted, comes back as 2")
    for exchange in ledger.history.of(Operation.CREATE):
        if exchange.succeeded and any(isinstance(a, float) for a in _of_lines(exchange.request.json, "unit_amount")):
            reason = "1250.0, if it is accepted, makes whole amounts"
            yield expect(HasShape(in_body(exchange, "amount_total"), "integer"), reason)
            for place, _ in enumerate(_of_lines(exchange.json, "amount_total")):
                yield expect(
                    HasShape(in_body(exchange, "line_items", "data", place, "amount_total"), "integer"), reason
                )


def _of_lines(holder: Json, name: str) -> list[Json]:
    """A field of each line of a request or of a session."""
    prices = [line.get("price_data") if name == "unit_amount" else line for line in lines_of(holder)]
    return [price.get(name) for price in prices if isinstance(price, dict)]


@clause(
    "CRE-12",
    "`currency` is a three-letter ISO 4217 code in upper case; anything else is refused with 4xx.",
    source=DOCUMENTED,
)
def a_currency_is_an_iso_code(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-12")
    for creation, session in answered(ledger):
        code, at = session.get("currency"), in_body(creation.exchange, "currency")
        known = isinstance(code, str) and code.upper() in currencies()
        yield KEPT if known else expect(OneOf(at, tuple(sorted(currencies()))), "the ISO 4217 codes")
    named = {*ledger.history.terms.currencies, *(ledger.history.terms.policy.currencies or ())}
    for creation in ledger.creations:
        if creation.is_valid and creation.exchange.refused and not creation.key_was_seen:
            code = _code(creation)
            if code in named and code not in _accepted(ledger):
                yield expect(StatusIs(creation.exchange, SUCCESS), f"this account may charge {code}", about="currency")


def _accepted(ledger: Ledger) -> set[str]:
    return {_code(creation) for creation, _ in answered(ledger)}


def _code(creation: Creation) -> str:
    code: str = creation.exchange.request.json["line_items"][0]["price_data"]["currency"]
    return code


def _enter(identifier: str, statement: str, *, source: Source) -> None:
    """Enter a clause that says nothing but what is refused, and what is accepted."""
    clause(identifier, statement, source=source)(partial(refusals, identifier=identifier))


_enter(
    "CRE-2",
    "`line_items`, `success_url` and `return_url` are required; each one missing is refused with 4xx.",
    source=DOCUMENTED,
)
_enter("CRE-13", "All lines have one currency, else 4xx.", source=ASSUMED)
_enter("CRE-14", "A session has 1 to 100 lines, else 4xx.", source=ASSUMED)
_enter("CRE-15", "The three URLs are absolute http or https URLs with a host, else 4xx.", source=ASSUMED)
_enter(
    "CRE-16",
    "A line has `price_data` (`currency`, `product_data.name`, `unit_amount`) and `quantity`, else 4xx; "
    "`product_data.description` is optional.",
    source=DOCUMENTED,
)
_enter("CRE-17", "`cancel_url` is optional.", source=DOCUMENTED)
_enter(
    "CRE-18",
    "A field of the wrong type is refused with 4xx; an explicit `null` is one, it does not count as left out.",
    source=ASSUMED,
)
_enter(
    "CRE-19",
    "Names, descriptions and URLs outside their limits, empty ones included, are refused with 4xx; at the limits "
    "they are accepted. Lengths count Unicode code points.",
    source=ASSUMED,
)
