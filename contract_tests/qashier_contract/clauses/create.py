"""CRE: what may be asked for, and what comes of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, IMPLIED, KEPT, PUBLIC, Findings, broken, clause, kept_if
from qashier_contract.clauses.writes import views
from qashier_contract.document import currencies, shape_errors
from qashier_contract.history import Exchange, Operation
from qashier_contract.ledger import Creation, Ledger, ObservedSession
from qashier_contract.values import Json, is_integer

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH_SAFE: Final = re.compile(r"[A-Za-z0-9._~-]{1,255}")
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
        if creation.exchange.succeeded and creation.is_faultless and not creation.key_was_seen:
            yield creation, creation.exchange.object


def refusals(ledger: Ledger, identifier: str) -> Findings:
    """Judge that what has a fault of this clause is refused, and that what leans on it is accepted."""
    for creation in ledger.creations:
        exchange = creation.exchange
        if creation.faults is None or creation.key_was_seen:
            continue
        if creation.is_faultless:
            if identifier in creation.features.values() and not exchange.is_unknown:
                guilty = exchange.refused and identifier in ledger.attributed_clauses(creation)
                special = sorted(feature for feature, cause in creation.features.items() if cause == identifier)
                yield kept_if(not guilty, f"success: {', '.join(special)} is allowed", exchange.status, exchange)
            continue
        mine = [fault for fault in creation.faults if fault.clause == identifier]
        if not mine:
            continue
        if not exchange.refused:
            where = f" at {mine[0].path}" if mine[0].path else ""
            yield broken(f"4xx: {mine[0].reason}{where}", exchange.status, exchange)
        elif len({fault.path for fault in creation.faults}) == 1:
            policy = ledger.history.terms.policy
            demanded = policy.status_rule if identifier in {"CRE-7", "CRE-13"} else policy.status_invalid
            yield kept_if(demanded in {None, exchange.status}, f"{demanded} by policy", exchange.status, exchange)


@clause(
    "CRE-1",
    "A valid request succeeds with a session of the documented shape, every documented property present.",
    source=DOCUMENTED,
)
def a_valid_request_succeeds(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-1")
    for creation in ledger.creations:
        exchange = creation.exchange
        if not creation.is_faultless or creation.key_was_seen:
            continue
        if exchange.succeeded:
            errors = [
                (path, message)
                for path, message in shape_errors("CheckoutSession", exchange.json)
                if not (path in _OWN_CLAUSES and "is not one of" in message) and not _is_amount(path, message)
            ]
            seen = "; ".join(f"{path or 'body'}: {message}" for path, message in errors[:3])
            yield kept_if(not errors, "every documented property, of its type", seen, exchange)
        elif exchange.is_unknown or exchange.refused:
            guilty = exchange.is_unknown or "CRE-1" in ledger.attributed_clauses(creation)
            if guilty:
                yield broken("success for a valid request", exchange.status, exchange)
        else:
            yield broken("2xx for a valid request", exchange.status, exchange)


def _is_amount(path: str, message: str) -> bool:
    """Whether an error is one of AMT-7: an amount that is a number, but no integer."""
    return path.endswith("amount_total") and re.match(r"-?[0-9.e+]+ is not of type", message) is not None


@clause(
    "CRE-2",
    "`line_items`, `success_url` and `return_url` are required; each one missing is refused with 4xx.",
    source=DOCUMENTED,
)
def three_fields_are_required(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-2")


@clause(
    "CRE-3",
    "A new session is `open`; its `object` is `checkout.session` and its `mode` is `payment`.",
    source=DOCUMENTED,
)
def a_new_session_is_open(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        seen = {name: session.get(name) for name in ("status", "object", "mode")}
        right = seen == {"status": "open", "object": "checkout.session", "mode": "payment"}
        yield kept_if(right, "status open, object checkout.session, mode payment", seen, creation.exchange)


@clause(
    "CRE-4",
    "`created` is the server's now.",
    source=DOCUMENTED,
)
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
            right = least - slack <= created <= most + slack
            yield kept_if(right, f"created between {least} and {most}", created, exchange)


@clause(
    "CRE-5",
    "Without `expires_at` a session expires 86,400 s after `created`.",
    source=DOCUMENTED,
)
def a_session_lives_a_day_by_default(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        if "expires_at" not in creation.exchange.request.json and is_integer(session.get("created")):
            observed = session["expires_at"] - session["created"] if is_integer(session.get("expires_at")) else None
            yield kept_if(observed == 86_400, "expires_at 86400 s after created", f"{observed} s", creation.exchange)


@clause(
    "CRE-6",
    "A given `expires_at` is kept exactly.",
    source=DOCUMENTED,
)
def a_given_expiry_is_kept(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        asked = creation.exchange.request.json.get("expires_at")
        if asked is not None:
            seen = session.get("expires_at")
            yield kept_if(is_integer(seen) and seen == asked, f"expires_at {asked}", seen, creation.exchange)
    for finding in refusals(ledger, "CRE-6"):
        if finding is not None:
            yield finding


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
            and creation.faults is None
            and isinstance(body, dict)
            and is_integer(body.get("expires_at"))
        ):
            created = exchange.object.get("created")
            if is_integer(created) and not creation.key_was_seen:
                life_s = body["expires_at"] - created
                yield kept_if(
                    1_800 <= life_s <= 86_400, "4xx outside 1800 to 86400 s", f"success for {life_s} s", exchange
                )


@clause(
    "CRE-8",
    "`success_url` and `return_url` come back character for character.",
    source=DOCUMENTED,
)
def urls_come_back_as_they_went(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        body = creation.exchange.request.json
        for name in ("success_url", "return_url"):
            yield kept_if(
                session.get(name) == body[name], f"{name} {body[name][:100]}", session.get(name), creation.exchange
            )


@clause(
    "CRE-9",
    "`url` is an absolute http(s) address at which the customer can pay.",
    source=DOCUMENTED,
)
def a_session_has_a_page(ledger: Ledger) -> Findings:
    for creation, session in answered(ledger):
        url = session.get("url")
        yield kept_if(isinstance(url, str) and _is_absolute(url), "an absolute http(s) address", url, creation.exchange)
    pages: dict[str, ObservedSession] = {}
    for observed in ledger.sessions.values():
        url = observed.first.get("url")
        if isinstance(url, str) and (earlier := pages.setdefault(url, observed)) is not observed:
            yield broken("a page of its own for each session", f"{url} twice", earlier.born, observed.born)
    for exchange in ledger.history.exchanges:
        shown = ledger.sessions.get(exchange.page_of or "")
        if shown is None or exchange.page_act != "view":
            continue
        if exchange.reply is None:
            # Elsewhere the way there may be closed to us; nobody but this machine can have a page there.
            if (exchange.failure or "").startswith("no connection") and _is_this_machine(exchange.request.path):
                yield broken("a page to pay at", exchange.failure, shown.born, exchange)
            continue
        state = ledger.state_before(shown, exchange)
        if state is not None and state.status == "open":
            yield kept_if(exchange.reply.status < 400, "a page to pay at", exchange.status, shown.born, exchange)
    yield from _has_a_form(ledger)


def _has_a_form(ledger: Ledger) -> Findings:
    """Where the pages of some open sessions have a form to pay, those of all have one."""
    pages = []
    for observed, exchange, page in views(ledger):
        state = ledger.state_before(observed, exchange)
        if state is not None and state.status == "open" and exchange.page_act == "view" and not page.has_script:
            pages.append((observed, exchange, bool(page.forms_to_pay(observed.id))))
    if any(has for _, _, has in pages):
        for observed, exchange, has in pages:
            yield kept_if(has, "a form to pay", "none", observed.born, exchange)


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def _is_absolute(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme.lower() in {"http", "https"} and bool(parts.hostname)


@clause(
    "CRE-10",
    "An `id` is unique, never given out again, and safe in a URL path.",
    source=IMPLIED,
)
def an_id_is_unique(ledger: Ledger) -> Findings:
    first: dict[str, Creation] = {}
    for creation in ledger.creations:
        exchange, session_id = creation.exchange, creation.exchange.object.get("id")
        if not exchange.succeeded or not isinstance(session_id, str):
            continue
        yield kept_if(_PATH_SAFE.fullmatch(session_id), "an id of unreserved characters", session_id, exchange)
        earlier = first.setdefault(session_id, creation)
        if earlier is creation or ledger.may_be_replay(exchange):
            yield KEPT
        elif _is_apart(exchange, earlier.exchange):
            yield broken("a new id", f"{session_id} again", earlier.exchange, exchange)


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
        seen = _of_lines(exchange.json, "quantity")
        if all(isinstance(q, int) or (isinstance(q, float) and q.is_integer()) for q in asked):
            right = len(seen) == len(asked) and all(is_integer(s) and s == a for s, a in zip(seen, asked, strict=True))
            yield kept_if(right, "2.0, if it is accepted, back as 2", seen, exchange)
    for exchange in ledger.history.of(Operation.CREATE):
        amounts = [exchange.object.get("amount_total"), *_of_lines(exchange.json, "amount_total")]
        if exchange.succeeded and any(isinstance(a, float) for a in _of_lines(exchange.request.json, "unit_amount")):
            yield kept_if(
                all(is_integer(a) for a in amounts), "integers for 1250.0, if it is accepted", amounts, exchange
            )


def _of_lines(holder: Json, name: str) -> list[Json]:
    """A field of each line of a request or of a session."""
    lines = holder.get("line_items") if isinstance(holder, dict) else None
    lines = lines.get("data") if isinstance(lines, dict) else lines
    found = [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []
    prices = [line.get("price_data") if name == "unit_amount" else line for line in found]
    return [price.get(name) for price in prices if isinstance(price, dict)]


@clause(
    "CRE-12",
    "`currency` is a three-letter ISO 4217 code in upper case; anything else is refused with 4xx.",
    source=DOCUMENTED,
)
def a_currency_is_an_iso_code(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-12")
    for creation, session in answered(ledger):
        code = session.get("currency")
        yield kept_if(
            isinstance(code, str) and code.upper() in currencies(), "an ISO 4217 code", code, creation.exchange
        )
    named = {*ledger.history.terms.currencies, *(ledger.history.terms.policy.currencies or ())}
    for creation in ledger.creations:
        if creation.is_faultless and creation.exchange.refused and not creation.key_was_seen:
            code = creation.exchange.request.json["line_items"][0]["price_data"]["currency"]
            if code in named and code not in _accepted(ledger):
                yield broken(
                    f"success for {code}, which this account may charge", creation.exchange.status, creation.exchange
                )


def _accepted(ledger: Ledger) -> set[str]:
    return {
        creation.exchange.request.json["line_items"][0]["price_data"]["currency"] for creation, _ in answered(ledger)
    }


@clause(
    "CRE-13",
    "All lines have one currency, else 4xx.",
    source=ASSUMED,
)
def a_session_has_one_currency(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-13")


@clause(
    "CRE-14",
    "A session has 1 to 100 lines, else 4xx.",
    source=ASSUMED,
)
def a_session_has_1_to_100_lines(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-14")


@clause(
    "CRE-15",
    "The three URLs are absolute http or https URLs with a host, else 4xx.",
    source=ASSUMED,
)
def urls_are_absolute(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-15")


@clause(
    "CRE-16",
    "A line has `price_data` (`currency`, `product_data.name`, `unit_amount`) and `quantity`, else 4xx; "
    "`product_data.description` is optional.",
    source=DOCUMENTED,
)
def a_line_has_a_price_and_a_quantity(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-16")


@clause(
    "CRE-17",
    "`cancel_url` is optional.",
    source=DOCUMENTED,
)
def cancel_url_is_optional(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-17")


@clause(
    "CRE-18",
    "A field of the wrong type is refused with 4xx; an explicit `null` is one, it does not count as left out.",
    source=ASSUMED,
)
def types_are_as_documented(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-18")


@clause(
    "CRE-19",
    "Names, descriptions and URLs outside their limits, empty ones included, are refused with 4xx; at the limits "
    "they are accepted. Lengths count Unicode code points.",
    source=ASSUMED,
)
def texts_have_limits(ledger: Ledger) -> Findings:
    yield from refusals(ledger, "CRE-19")
