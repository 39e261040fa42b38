"""CRE, in the body: numbers, currencies, lines, addresses and texts that are let in or turned away wrongly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qashier_mock.bugs.create import Opening, refuse_creates
from qashier_mock.bugs.parts import Json, Parts
from qashier_mock.bugs.table import defect
from qashier_mock.core.errors import CurrencyMixed
from qashier_mock.core.model import CheckoutSession, CreateSession, LineItem, PaymentStatus


def _price(line: Json) -> Json:
    price = line.get("price_data")
    return price if isinstance(price, dict) else {}


def _product(line: Json) -> Json:
    product = _price(line).get("product_data")
    return product if isinstance(product, dict) else {}


def _as_integer(holder: Json, name: str, convert: Callable[[Any], int | None]) -> None:
    if name in holder:
        number = convert(holder[name])
        if number is not None:
            holder[name] = number


@defect("CRE-11")
def quantity_in_quotes(parts: Parts) -> None:
    """A quantity in quotes is taken for a number: `"2"` is accepted."""

    def convert(value: Any) -> int | None:
        return int(value) if isinstance(value, str) and value.isdecimal() else None

    parts.on_create_lines(lambda line: _as_integer(line, "quantity", convert))


@defect("CRE-11")
def fractions_cut_off(parts: Parts) -> None:
    """The fraction of a `unit_amount` or a quantity is cut off: 12.5 is accepted as 12."""

    def convert(value: Any) -> int | None:
        return int(value) if isinstance(value, float) and not value.is_integer() else None

    def cut(line: Json) -> None:
        _as_integer(line, "quantity", convert)
        _as_integer(_price(line), "unit_amount", convert)

    parts.on_create_lines(cut)


@defect("CRE-11")
def true_is_one(parts: Parts) -> None:
    """`true` is accepted as a quantity of 1 and a `unit_amount` of 1."""

    def convert(value: Any) -> int | None:
        return 1 if value is True else None

    def count(line: Json) -> None:
        _as_integer(line, "quantity", convert)
        _as_integer(_price(line), "unit_amount", convert)

    parts.on_create_lines(count)


@defect("CRE-11")
def negative_amount_accepted(parts: Parts) -> None:
    """A negative `unit_amount` is accepted, as a discount."""
    parts.on_schema("schemas.UnitAmount", minimum=-99_999_999)


@defect("CRE-11")
def quantity_zero_accepted(parts: Parts) -> None:
    """A quantity of 0 is accepted."""
    parts.on_schema("schemas.Quantity", minimum=0)


@defect("CRE-11")
def quantity_10001_accepted(parts: Parts) -> None:
    """A quantity of 10,001 is accepted: off by one."""
    parts.on_schema("schemas.Quantity", maximum=10_001)


@defect("CRE-11")
def quantity_10000_refused(parts: Parts) -> None:
    """A quantity of 10,000 is refused: the bound itself is left out."""
    parts.on_schema("schemas.Quantity", maximum=9_999)


@defect("CRE-11")
def amount_100000000_accepted(parts: Parts) -> None:
    """A `unit_amount` of 100,000,000 is accepted: off by one."""
    parts.on_schema("schemas.UnitAmount", maximum=100_000_000)


@defect("CRE-11")
def amount_99999999_refused(parts: Parts) -> None:
    """A `unit_amount` of 99,999,999 is refused: the bound itself is left out."""
    parts.on_schema("schemas.UnitAmount", maximum=99_999_998)


def _with_currency(parts: Parts, change: Callable[[str], str]) -> None:
    def convert(line: Json) -> None:
        price = _price(line)
        if isinstance(price.get("currency"), str):
            price["currency"] = change(price["currency"])

    parts.on_create_lines(convert)


@defect("CRE-12")
def currency_in_lower_case(parts: Parts) -> None:
    """A currency in lower case is accepted: `sgd`."""
    _with_currency(parts, str.upper)


@defect("CRE-12")
def currency_trimmed(parts: Parts) -> None:
    """A currency with blanks around it is accepted."""
    _with_currency(parts, str.strip)


@defect("CRE-12")
def currency_of_any_letters(parts: Parts) -> None:
    """Any three capital letters are accepted as a currency: `ZZZ`."""
    parts.on_schema("schemas.Currency", enum=None, pattern="^[A-Z]{3}$")


def _first_currency_counts(parts: Parts, is_accepted: Callable[[CreateSession], bool]) -> None:
    def opening(inner: Opening, params: CreateSession, **how: Any) -> CheckoutSession:
        try:
            return inner(params, **how)
        except CurrencyMixed:
            if not is_accepted(params):
                raise
        first = params.line_items[0].currency
        same = tuple(replace(line, currency=first) for line in params.line_items)
        return replace(inner(replace(params, line_items=same), **how), line_items=params.line_items)

    parts.on_opening(opening)


@defect("CRE-13")
def mixed_currencies_accepted(parts: Parts) -> None:
    """Lines of several currencies are accepted and added up as if they were the first one's."""
    _first_currency_counts(parts, lambda _params: True)


@defect("CRE-13")
def third_currency_not_compared(parts: Parts) -> None:
    """Only the first two lines must have the same currency; a third of another one is accepted."""
    _first_currency_counts(parts, lambda params: params.line_items[0].currency == params.line_items[1].currency)


@defect("CRE-14")
def empty_basket_accepted(parts: Parts) -> None:
    """A create without any line is accepted."""
    nothing = LineItem("nothing", None, "SGD", 0, 1)

    def opening(inner: Opening, params: CreateSession, **how: Any) -> CheckoutSession:
        if params.line_items:
            return inner(params, **how)
        session = inner(replace(params, line_items=(nothing,)), **how)
        return replace(session, line_items=(), payment_status=PaymentStatus.NO_PAYMENT_REQUIRED)

    parts.on_schema("schemas.CheckoutSessionCreate.properties.line_items", minItems=0)
    parts.on_opening(opening)


@defect("CRE-14")
def line_101_accepted(parts: Parts) -> None:
    """A create of 101 lines is accepted: off by one."""
    parts.on_schema("schemas.CheckoutSessionCreate.properties.line_items", maxItems=101)


@defect("CRE-14")
def line_100_refused(parts: Parts) -> None:
    """A create of 100 lines is refused: the bound itself is left out."""
    parts.on_schema("schemas.CheckoutSessionCreate.properties.line_items", maxItems=99)


@defect("CRE-14")
def further_lines_dropped(parts: Parts) -> None:
    """A create of more than 100 lines is accepted, and those after the hundredth are dropped."""

    def drop(body: Json) -> None:
        if isinstance(body.get("line_items"), list):
            del body["line_items"][100:]

    parts.on_create_body(drop)


_URL = "schemas.RedirectUrl"


def _also_accept(parts: Parts, pattern: str) -> None:
    """Accept further addresses."""

    def change(document: Json) -> None:
        schema = document["components"]["schemas"]["RedirectUrl"]
        schema["pattern"] = f"({schema['pattern']})|({pattern})"

    parts.on_document(change)


@defect("CRE-15")
def scripts_accepted_as_urls(parts: Parts) -> None:
    """A URL of any scheme is accepted, `javascript:` included."""
    _also_accept(parts, "^[A-Za-z][A-Za-z0-9+.-]*:[!-~]+$")


@defect("CRE-15")
def relative_urls_accepted(parts: Parts) -> None:
    """A URL without scheme and host is accepted: `/thanks`."""
    _also_accept(parts, "^/[!-~]*$")


@defect("CRE-15")
def urls_without_host_accepted(parts: Parts) -> None:
    """A URL without a host is accepted: `https:///thanks`."""
    _also_accept(parts, "^https?://(/[!-~]*)?$")


@defect("CRE-15")
def cancel_url_not_looked_at(parts: Parts) -> None:
    """Any text is accepted as `cancel_url`."""
    path = "schemas.CheckoutSessionCreate.properties.cancel_url"
    parts.on_schema(path, allOf=None, type="string", minLength=1, maxLength=2048)


@defect("CRE-16")
def description_required(parts: Parts) -> None:
    """A product without a description is refused."""
    parts.on_schema("schemas.ProductData", required=["name", "description"])


@defect("CRE-16")
def name_optional(parts: Parts) -> None:
    """A product without a name is accepted."""

    def default(line: Json) -> None:
        if isinstance(_price(line).get("product_data"), dict):
            _product(line).setdefault("name", "Item")

    parts.on_create_lines(default)


@defect("CRE-16")
def quantity_optional(parts: Parts) -> None:
    """A line without a quantity is accepted, for one piece."""
    parts.on_create_lines(lambda line: line.setdefault("quantity", 1))


@defect("CRE-16")
def currency_optional(parts: Parts) -> None:
    """A price without a currency is accepted, in SGD."""

    def default(line: Json) -> None:
        if _price(line):
            _price(line).setdefault("currency", "SGD")

    parts.on_create_lines(default)


@defect("CRE-17")
def cancel_url_required(parts: Parts) -> None:
    """A create without `cancel_url` is refused."""
    required = ["line_items", "success_url", "return_url", "cancel_url"]
    parts.on_schema("schemas.CheckoutSessionCreate", required=required)


@defect("CRE-18")
def null_counts_as_left_out(parts: Parts) -> None:
    """An explicit null for `cancel_url`, `expires_at` or a description is accepted as if it were left out."""

    def drop(body: Json) -> None:
        for name in ("cancel_url", "expires_at"):
            if body.get(name, "") is None:
                del body[name]

    def drop_description(line: Json) -> None:
        if _product(line).get("description", "") is None:
            del _product(line)["description"]

    parts.on_create_body(drop)
    parts.on_create_lines(drop_description)


@defect("CRE-18")
def numbers_as_names(parts: Parts) -> None:
    """A number is accepted as the name of a product, and becomes text."""

    def convert(line: Json) -> None:
        name = _product(line).get("name")
        if isinstance(name, int | float) and not isinstance(name, bool):
            _product(line)["name"] = str(name)

    parts.on_create_lines(convert)


@defect("CRE-18")
def expiry_in_quotes(parts: Parts) -> None:
    """An `expires_at` in quotes is accepted."""

    def convert(value: Any) -> int | None:
        return int(value) if isinstance(value, str) and value.isdecimal() else None

    parts.on_create_body(lambda body: _as_integer(body, "expires_at", convert))


@defect("CRE-18")
def single_line_without_array(parts: Parts) -> None:
    """A single line that is not in an array is accepted as `line_items`."""

    def wrap(body: Json) -> None:
        if isinstance(body.get("line_items"), dict):
            body["line_items"] = [body["line_items"]]

    parts.on_create_body(wrap)


def _cut_text(parts: Parts, name: str, length: int) -> None:
    def cut(line: Json) -> None:
        text = _product(line).get(name)
        if isinstance(text, str):
            _product(line)[name] = text[:length]

    parts.on_create_lines(cut)


@defect("CRE-19")
def long_name_cut(parts: Parts) -> None:
    """A name of more than 250 characters is accepted, and cut."""
    _cut_text(parts, "name", 250)


@defect("CRE-19")
def long_description_cut(parts: Parts) -> None:
    """A description of more than 1,000 characters is accepted, and cut."""
    _cut_text(parts, "description", 1_000)


@defect("CRE-19")
def empty_name_accepted(parts: Parts) -> None:
    """An empty name is accepted."""
    parts.on_schema("schemas.ProductData.properties.name", minLength=0)


@defect("CRE-19")
def name_measured_in_bytes(parts: Parts) -> None:
    """A name of 250 characters is refused where it has more than 250 bytes in UTF-8."""

    def reason(body: Json) -> tuple[str, str] | None:
        for index, line in enumerate(body["line_items"]):
            if len(_product(line)["name"].encode()) > 250:
                path = f"line_items[{index}].price_data.product_data.name"
                return path, f"{path} must have at most 250 bytes."
        return None

    refuse_creates(parts, reason, code="parameter_invalid")


@defect("CRE-19")
def long_urls_accepted(parts: Parts) -> None:
    """A URL of more than 2,048 characters is accepted."""
    parts.on_schema(_URL, maxLength=8_192)


@defect("CRE-19")
def urls_above_255_refused(parts: Parts) -> None:
    """A URL of more than 255 characters is refused: the column is not wider."""
    parts.on_schema(_URL, maxLength=255)
