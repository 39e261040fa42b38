"""CRE, AMT: what a create lets in or turns away wrongly, and what it makes of times, addresses, ids and money."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from qashier_mock.bugs import changes
from qashier_mock.bugs.changes import CREATE, OUT, Blame
from qashier_mock.bugs.parts import Inner, Json, Parts
from qashier_mock.bugs.table import Change, defect, row, several
from qashier_mock.bugs.traffic import Answer, Request, Respond
from qashier_mock.core.errors import ExpiresAtOutOfRange
from qashier_mock.core.lifecycle import LONGEST_LIFE, SHORTEST_LIFE
from qashier_mock.core.model import CheckoutSession, CreateSession, LineItem, PaymentStatus, Status

SHOP = "https://shop.example/"
_ORDER = {"currency": "SGD", "product_data": {"name": "Order"}, "unit_amount": 100}
_EIGHT_HOURS = 8 * 3600

BODY = "schemas.CheckoutSessionCreate"
LINES = f"{BODY}.properties.line_items"
URL = "schemas.RedirectUrl"

_PRICE = "line_items.*.price_data"
_NAME, _DESCRIPTION = f"{_PRICE}.product_data.name", f"{_PRICE}.product_data.description"
_QUANTITY, _AMOUNT, _CURRENCY = "line_items.*.quantity", f"{_PRICE}.unit_amount", f"{_PRICE}.currency"


def _created(change: Callable[[int], int]) -> Change:
    """Create at another time; an `expires_at` that was given stays."""

    def shift(session: CheckoutSession, params: CreateSession) -> CheckoutSession:
        created = change(session.created)
        expires_at = created + LONGEST_LIFE if params.expires_at is None else session.expires_at
        return replace(session, created=created, expires_at=expires_at)

    return changes.opened(shift)


def _default_life(seconds: int) -> Change:
    return changes.opened(
        lambda session, params: replace(session, expires_at=params.expires_at or session.created + seconds)
    )


def _lives(*, shortest: int = SHORTEST_LIFE, longest: int = LONGEST_LIFE) -> Change:
    """Allow lives of `shortest` to `longest` seconds, where one is given."""

    def open_within(inner: Inner, params: CreateSession, *, now: int, **how: Any) -> CheckoutSession:
        given = params.expires_at
        session: CheckoutSession = inner(replace(params, expires_at=None), now=now, **how)
        if given is None:
            return session
        if not shortest <= given - now <= longest:
            raise ExpiresAtOutOfRange(given, earliest=now + shortest, latest=now + longest)
        return replace(session, expires_at=given)

    return changes.rule("open_session")(open_within)


def _kept_urls(change: Callable[[str], str]) -> Change:
    """Keep and show other addresses than those that were sent."""

    def keep(session: CheckoutSession, params: CreateSession) -> CheckoutSession:
        return replace(session, success_url=change(params.success_url), return_url=change(params.return_url))

    return changes.opened(keep)


def _normalised(url: str) -> str:
    parsed = urlsplit(url)
    return parsed._replace(netloc=parsed.netloc.lower(), path=parsed.path or "/").geturl()


def _drawn(change: Callable[[str, str], str]) -> Change:
    """Give sessions other ids, from the account and the id that was drawn."""

    async def draw(_parts: Parts, inner: Inner, tx: Any, prefix: str) -> str:
        drawn: str = await inner(tx, prefix)
        return change(tx.account, drawn) if prefix == "cs_test_" else drawn

    return changes.method("service", "draw")(draw)


def _of(change: Callable[[Any], Any], *types: type) -> Callable[[Any], Any]:
    """Convert values of some types, and leave everything else as it is."""
    return lambda value: change(value) if type(value) in types else None


def _unquoted(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _cut_off(number: float) -> int | None:
    return None if number.is_integer() else int(number)


def _first_currency_counts(is_accepted: Callable[[tuple[LineItem, ...]], bool]) -> Change:
    def open_mixed(inner: Inner, params: CreateSession, **how: Any) -> object:
        lines = params.line_items
        if not is_accepted(lines):
            return inner(params, **how)
        same = tuple(replace(line, currency=lines[0].currency) for line in lines)
        return replace(inner(replace(params, line_items=same), **how), line_items=lines)

    return changes.rule("open_session")(open_mixed)


def _more_urls(pattern: str) -> Change:
    return changes.schema(URL, pattern=lambda before: f"({before})|({pattern})")


def _long_name(body: Json, _key: str | None) -> Blame:
    for index, line in enumerate(body["line_items"]):
        if len(line["price_data"]["product_data"]["name"].encode()) > 250:
            path = f"line_items[{index}].price_data.product_data.name"
            return path, f"{path} must have at most 250 bytes."
    return None


def _total(total: Callable[[tuple[LineItem, ...]], int]) -> Change:
    return changes.opened(lambda session, _params: replace(session, amount_total=total(session.line_items)))


def _each_line(change: Callable[[LineItem], LineItem]) -> Change:
    return changes.opened(lambda session, _params: replace(session, line_items=tuple(map(change, session.line_items))))


def _shown_lines(change: Callable[[list[Json]], object]) -> Change:
    return changes.sessions(lambda session: change(session["line_items"]["data"]))


def _line_amounts(amount: Callable[[int, int], Any]) -> Change:
    """Show other amounts of lines, from the right one and the quantity, and their sum as the total."""

    def change(session: Json) -> None:
        lines = session["line_items"]["data"]
        for line in lines:
            line["amount_total"] = amount(line["amount_total"], line["quantity"])
        session["amount_total"] = sum(line["amount_total"] for line in lines)

    return changes.sessions(change)


def _refused_total(is_refused: Callable[[int], bool], words: str) -> Change:
    def reason(body: Json, _key: str | None) -> Blame:
        total = sum(line["price_data"]["unit_amount"] * line["quantity"] for line in body["line_items"])
        return ("line_items", words) if is_refused(total) else None

    return changes.refused_create(reason)


# fmt: off
row("CRE-1", "idempotency-key-required", "A create without Idempotency-Key is refused.",
    changes.refused_create(lambda _body, key: None if key else ("Idempotency-Key", "Send an Idempotency-Key."),
                           "parameter_missing"))
row("CRE-1", "create-answers-a-stub", "A create answers `id`, `object` and `url` alone; the rest must be retrieved.",
    changes.reply(CREATE, lambda session: [session.pop(name) for name in session.keys() - {"id", "object", "url"}]))
row("CRE-1", "times-with-fractions", "`created` and `expires_at` of a session are numbers with a fraction.",
    changes.sessions(lambda session: session.update(
        created=session["created"] + 0.25, expires_at=session["expires_at"] + 0.25)))
row("CRE-2", "success-url-optional", "A create without `success_url` is accepted, with the `return_url` in its place.",
    changes.create_body(lambda body: body.setdefault("success_url", body.get("return_url", SHOP))))
row("CRE-2", "return-url-optional", "A create without `return_url` is accepted, with the `success_url` in its place.",
    changes.create_body(lambda body: body.setdefault("return_url", body.get("success_url", SHOP))))
row("CRE-2", "line-items-optional", "A create without `line_items` is accepted, as one for an unnamed item.",
    changes.create_field("line_items", default=[{"price_data": _ORDER, "quantity": 1}]))
row("CRE-3", "free-session-is-born-complete", "A session with a total of 0 is complete from the start.",
    changes.opened(lambda session, _params: replace(
        session, status=Status.OPEN if session.amount_total else Status.COMPLETE)))
row("CRE-3", "object-is-session", "`object` of a session is `session`.",
    changes.sessions(lambda session: session.update(object="session")))
row("CRE-3", "mode-is-test", "`mode` of a session is `test`, with a test key.",
    changes.sessions(lambda session: session.update(mode="test")))
row("CRE-4", "created-in-local-time", "`created` is the time of day in Singapore taken for UTC: eight hours ahead.",
    _created(lambda created: created + _EIGHT_HOURS),
    changes.transaction("newest")(lambda _parts, inner, _tx: inner() - _EIGHT_HOURS))
row("CRE-4", "created-to-the-minute", "`created` is rounded down to the minute.",
    _created(lambda created: created // 60 * 60))
row("CRE-5", "default-life-of-23-hours", "Without `expires_at` a session expires after 23 hours.",
    _default_life(23 * 3600))
row("CRE-5", "default-life-a-second-short", "Without `expires_at` a session expires after 86,399 seconds.",
    _default_life(LONGEST_LIFE - 1))
row("CRE-6", "given-expiry-to-the-minute", "A given `expires_at` is rounded down to the minute.",
    changes.opened(lambda session, params: replace(
        session, expires_at=session.expires_at // 60 * 60 if params.expires_at else session.expires_at)))
row("CRE-6", "given-expiry-ignored", "A given `expires_at` is checked, then forgotten: a session lives for 24 hours.",
    changes.opened(lambda session, _params: replace(session, expires_at=session.created + LONGEST_LIFE)))
row("CRE-7", "expiry-from-1799", "An `expires_at` 1,799 seconds after creation is accepted.",
    _lives(shortest=SHORTEST_LIFE - 1))
row("CRE-7", "expiry-from-1801", "An `expires_at` 1,800 seconds after creation is refused: the bound is left out.",
    _lives(shortest=SHORTEST_LIFE + 1))
row("CRE-7", "expiry-until-86401", "An `expires_at` 86,401 seconds after creation is accepted.",
    _lives(longest=LONGEST_LIFE + 1))
row("CRE-7", "expiry-until-86399", "An `expires_at` 86,400 seconds after creation is refused: the bound is left out.",
    _lives(longest=LONGEST_LIFE - 1))
row("CRE-7", "expiry-in-the-past", "An `expires_at` before now is accepted: only the upper bound is checked.",
    _lives(shortest=-(2**40)))
row("CRE-8", "urls-normalised", "The host of a URL comes back in lower case, and a bare one with a slash.",
    _kept_urls(_normalised))
row("CRE-8", "url-fragments-cut", "`success_url` and `return_url` come back without their fragment.",
    _kept_urls(lambda url: url.partition("#")[0]))
row("CRE-8", "urls-escaped-for-html", "An ampersand in `success_url` or `return_url` comes back as `&amp;`.",
    changes.sessions(lambda session: session.update(
        {name: session[name].replace("&", "&amp;") for name in ("success_url", "return_url")})))
row("CRE-9", "url-is-a-path", "`url` is a path without scheme and host.",
    changes.opened(lambda session, _params: replace(session, url=f"/pay/{session.id}")))
row("CRE-9", "url-leads-nowhere", "`url` leads to an address that answers 404.",
    changes.opened(lambda session, _params: replace(session, url=session.url.replace("/pay/", "/checkout/pay/"))))
row("CRE-10", "ids-in-plain-base64", "The id of a session may hold `/` and `+`, which a path cannot take as they are.",
    _drawn(lambda _account, drawn: "cs_test_" + b64encode(bytes.fromhex(drawn.removeprefix("cs_test_"))).decode()))
row("CRE-11", "quantity-in-quotes", 'A quantity in quotes is taken for a number: `"2"` is accepted.',
    changes.create_field(_QUANTITY, _of(_unquoted, str)))
row("CRE-11", "fractions-cut-off", "The fraction of a `unit_amount` or a quantity is cut off: 12.5 is accepted as 12.",
    changes.create_field(_AMOUNT, _of(_cut_off, float)), changes.create_field(_QUANTITY, _of(_cut_off, float)))
row("CRE-11", "true-is-one", "`true` is accepted as a quantity of 1 and a `unit_amount` of 1.",
    *(changes.create_field(path, lambda value: 1 if value is True else None) for path in (_QUANTITY, _AMOUNT)))
row("CRE-11", "negative-amount-accepted", "A negative `unit_amount` is accepted, as a discount.",
    changes.schema("schemas.UnitAmount", minimum=-99_999_999))
row("CRE-11", "quantity-zero-accepted", "A quantity of 0 is accepted.", changes.schema("schemas.Quantity", minimum=0))
row("CRE-11", "quantity-10001-accepted", "A quantity of 10,001 is accepted: off by one.",
    changes.schema("schemas.Quantity", maximum=10_001))
row("CRE-11", "quantity-10000-refused", "A quantity of 10,000 is refused: the bound itself is left out.",
    changes.schema("schemas.Quantity", maximum=9_999))
row("CRE-11", "amount-100000000-accepted", "A `unit_amount` of 100,000,000 is accepted: off by one.",
    changes.schema("schemas.UnitAmount", maximum=100_000_000))
row("CRE-11", "amount-99999999-refused", "A `unit_amount` of 99,999,999 is refused: the bound itself is left out.",
    changes.schema("schemas.UnitAmount", maximum=99_999_998))
row("CRE-12", "currency-in-lower-case", "A currency in lower case is accepted: `sgd`.",
    changes.create_field(_CURRENCY, _of(str.upper, str)))
row("CRE-12", "currency-trimmed", "A currency with blanks around it is accepted.",
    changes.create_field(_CURRENCY, _of(str.strip, str)))
row("CRE-12", "currency-of-any-letters", "Any three capital letters are accepted as a currency: `ZZZ`.",
    changes.schema("schemas.CurrencyCode", enum=None, pattern="^[A-Z]{3}$"))
row("CRE-13", "mixed-currencies-accepted", "Lines of several currencies are added up as if they were the first one's.",
    _first_currency_counts(lambda _lines: True))
row("CRE-13", "third-currency-not-compared",
    "Only the first two lines must have the same currency; a third of another one is accepted.",
    _first_currency_counts(lambda lines: lines[0].currency == lines[:2][-1].currency))
row("CRE-14", "line-101-accepted", "A create of 101 lines is accepted: off by one.",
    changes.schema(LINES, maxItems=101))
row("CRE-14", "line-100-refused", "A create of 100 lines is refused: the bound itself is left out.",
    changes.schema(LINES, maxItems=99))
row("CRE-14", "further-lines-dropped", "A create of over 100 lines is accepted; those after the 100th are dropped.",
    changes.create_field("line_items", _of(lambda lines: lines[:100], list)))
row("CRE-15", "scripts-accepted-as-urls", "A URL of any scheme is accepted, `javascript:` included.",
    _more_urls("^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+$"))
row("CRE-15", "relative-urls-accepted", "A URL without scheme and host is accepted: `/thanks`.",
    _more_urls("^/[!-~]*$"))
row("CRE-15", "urls-without-host-accepted", "A URL without a host is accepted: `https:///thanks`.",
    _more_urls("^https?://(/[!-~]*)?$"))
row("CRE-15", "cancel-url-not-looked-at", "Any text is accepted as `cancel_url`.",
    changes.schema(f"{BODY}.properties.cancel_url", allOf=None, type="string", minLength=1, maxLength=2048))
row("CRE-16", "description-required", "A product without a description is refused.",
    changes.schema("schemas.ProductData", required=["name", "description"]))
row("CRE-16", "name-optional", "A product without a name is accepted.",
    changes.create_field(_NAME, default="Item"))
row("CRE-16", "quantity-optional", "A line without a quantity is accepted, for one piece.",
    changes.create_field(_QUANTITY, default=1))
row("CRE-16", "currency-optional", "A price without a currency is accepted, in SGD.",
    changes.create_field(_CURRENCY, default="SGD"))
row("CRE-17", "cancel-url-required", "A create without `cancel_url` is refused.",
    changes.schema(BODY, required=["line_items", "success_url", "return_url", "cancel_url"]))
row("CRE-18", "null-counts-as-left-out", "A null `cancel_url`, `expires_at` or description counts as left out.",
    *(changes.create_field(path, _of(lambda _null: OUT, type(None)))
      for path in ("cancel_url", "expires_at", _DESCRIPTION)))
row("CRE-18", "numbers-as-names", "A number is accepted as the name of a product, and becomes text.",
    changes.create_field(_NAME, _of(str, int, float)))
row("CRE-18", "expiry-in-quotes", "An `expires_at` in quotes is accepted.",
    changes.create_field("expires_at", _of(_unquoted, str)))
row("CRE-18", "single-line-without-array", "A single line that is not in an array is accepted as `line_items`.",
    changes.create_field("line_items", _of(lambda line: [line], dict)))
row("CRE-19", "long-name-cut", "A name of more than 250 characters is accepted, and cut.",
    changes.create_field(_NAME, _of(lambda text: text[:250], str)))
row("CRE-19", "long-description-cut", "A description of more than 1,000 characters is accepted, and cut.",
    changes.create_field(_DESCRIPTION, _of(lambda text: text[:1_000], str)))
row("CRE-19", "empty-name-accepted", "An empty name is accepted.",
    changes.schema("schemas.ProductData.properties.name", minLength=0))
row("CRE-19", "name-measured-in-bytes", "A name of 250 characters is refused if it has more than 250 bytes in UTF-8.",
    changes.refused_create(_long_name))
row("CRE-19", "long-urls-accepted", "A URL of more than 2,048 characters is accepted.",
    changes.schema(URL, maxLength=8_192))
row("CRE-19", "urls-above-255-refused", "A URL of more than 255 characters is refused: the column is not wider.",
    changes.schema(URL, maxLength=255))
row("AMT-1", "total-without-quantities", "The total adds up the prices of one piece each; the lines are right.",
    _total(lambda lines: sum(line.unit_amount for line in lines)))
row("AMT-1", "total-without-the-last-line", "The total of a session of several lines leaves the last one out.",
    _total(lambda lines: sum(line.amount_total for line in lines[: max(1, len(lines) - 1)])))
row("AMT-2", "line-amount-of-one-piece", "The amount of a line is that of one piece; the total is the sum of those.",
    _line_amounts(lambda amount, quantity: amount // quantity))
row("AMT-2", "line-amount-with-tax", "A tax of 9 % is added to the amount of each line, and so to the total.",
    _line_amounts(lambda amount, _quantity: amount + amount * 9 // 100))
row("AMT-3", "line-currency-of-the-shop", "The currency of each line is shown as SGD, whatever was asked for.",
    _shown_lines(lambda lines: [line.update(currency="SGD") for line in lines]))
row("AMT-3", "session-currency-in-lower-case",
    "The currency of a session is shown in lower case, those of its lines as asked for.",
    changes.sessions(lambda session: session.update(currency=session["currency"].lower())))
row("AMT-4", "lines-sorted-by-name", "Lines come back in the order of their names.",
    changes.opened(lambda session, _params: replace(
        session, line_items=tuple(sorted(session.line_items, key=lambda line: line.name)))))
row("AMT-4", "lines-cut-at-ten", "A session shows its first ten lines only.",
    _shown_lines(lambda lines: lines.__delitem__(slice(10, None))))
row("AMT-5", "line-without-description-is-blank", "The `description` of a line is empty where the product has none.",
    _each_line(lambda line: replace(line, description=line.description or "")))
row("AMT-5", "line-described-by-its-name", "A line's `description` is the product's name, even where it has its own.",
    _each_line(lambda line: replace(line, description=None)))
row("AMT-5", "description-cut-at-100", "The `description` of a line is cut at 100 characters.",
    _each_line(lambda line: replace(line, description=line.label[:100])))
row("AMT-6", "free-session-is-unpaid", "A session with a total of 0 is `unpaid`.",
    changes.opened(lambda session, _params: replace(session, payment_status=PaymentStatus.UNPAID)))
row("AMT-6", "free-session-becomes-paid", "A session with a total of 0 is `paid` once it is complete.",
    changes.moved(lambda session, _trigger, _now: replace(session, payment_status=PaymentStatus.PAID)
                  if session.status is Status.COMPLETE else session))
row("AMT-6", "expired-session-needs-no-payment", "A session that expires becomes `no_payment_required`.",
    changes.moved(lambda session, _trigger, _now: replace(session, payment_status=PaymentStatus.NO_PAYMENT_REQUIRED)
                  if session.status is Status.EXPIRED else session))
row("AMT-6", "free-session-refused", "A create with a total of 0 is refused.",
    _refused_total(lambda total: not total, "The total must be at least 1."))
row("AMT-7", "amounts-are-floats", "Amounts are JSON numbers with a decimal point: 1250.0.",
    _line_amounts(lambda amount, _quantity: float(amount)))
row("AMT-7", "amounts-in-single-precision", "Amounts went through a float of 32 bits: large ones are off by a few.",
    _line_amounts(lambda amount, _quantity: int(*struct.unpack("f", struct.pack("f", amount)))))
row("AMT-7", "amounts-wrap-at-32-bits", "Line amounts from 2,147,483,648 on turn negative, and the total with them.",
    _line_amounts(lambda amount, _quantity: (amount + 2**31) % 2**32 - 2**31))
row("AMT-7", "large-total-refused", "A create with a total from 2,147,483,648 on is refused: the column is not wider.",
    _refused_total(lambda total: total >= 2**31, "The total must be below 2147483648."))
# fmt: on


@defect("CRE-9", changes.page_layer)
async def page_asks_for_a_key(_parts: Parts, respond: Respond, asked: Request) -> Answer:
    """The address of a session answers the customer with 401: the page wants the secret key."""
    if asked.header(b"authorization") is not None:
        return await respond(asked)
    return Answer(401, [(b"content-type", b"text/html"), (b"content-length", b"")], b"<h1>Unauthorized</h1>")


@defect("CRE-10")
def every_fourth_id_again() -> Change:
    """Every fourth session of an account gets the id of the one before it."""
    known: dict[str, list[str]] = {}

    def again(account: str, drawn: str) -> str:
        ids = known.setdefault(account, [])
        ids.append(ids[-1] if len(ids) % 4 == 3 else drawn)
        return ids[-1]

    return _drawn(again)


@defect("CRE-14")
def empty_basket_accepted() -> Change:
    """A create without any line is accepted."""
    nothing = LineItem("nothing", None, "SGD", 0, 1)

    def open_empty(inner: Inner, params: CreateSession, **how: Any) -> CheckoutSession:
        session: CheckoutSession = inner(replace(params, line_items=params.line_items or (nothing,)), **how)
        if params.line_items:
            return session
        return replace(session, line_items=(), payment_status=PaymentStatus.NO_PAYMENT_REQUIRED)

    return several(changes.schema(LINES, minItems=0), changes.rule("open_session")(open_empty))


@defect("AMT-4", changes.opened)
def equal_lines_merged(session: CheckoutSession, _params: CreateSession) -> CheckoutSession:
    """Lines of the same product at the same price come back as one, their quantities added up."""
    merged: dict[tuple[str, str | None, int], LineItem] = {}
    for line in session.line_items:
        key = (line.name, line.description, line.unit_amount)
        before = merged.get(key)
        merged[key] = line if before is None else replace(before, quantity=before.quantity + line.quantity)
    return replace(session, line_items=tuple(merged.values()))
