"""Creates that must be refused (CRE), each with one thing wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from qashier_contract import oracle
from qashier_contract.drive import RunContext, Stage
from qashier_contract.drive.scenarios.scenario import (
    PRICE,
    PRODUCT,
    URLS,
    altered,
    creates,
    long_url,
    now,
    of_two_currencies,
    without,
)
from qashier_contract.values import Json

_LINE_FIELDS: Final[tuple[tuple[str | int, ...], ...]] = (
    PRICE,
    (*PRICE, "currency"),
    (*PRICE, "unit_amount"),
    PRODUCT,
    (*PRODUCT, "name"),
    ("line_items", 0, "quantity"),
)
_PLACES: Final[tuple[tuple[str | int, ...], ...]] = (
    *((name,) for name in ("line_items", *URLS, "expires_at")),
    ("line_items", 0),
    *_LINE_FIELDS,
    (*PRODUCT, "description"),
)
_OF_EVERY_TYPE: Final[tuple[Json, ...]] = (None, False, True, 0, 5, 1.5, "", "x", [], ["x"], {}, {"a": 1})
"""Careless code fails on just one of these at one place, and takes what counts as nothing for what is left out."""


@creates("Send one create for each thing that can be wrong with it, and a few that are just right.", requests=18)
def one_of_each_kind(context: RunContext) -> Iterator[Json]:
    for name in ("line_items", "success_url", "return_url"):
        yield without(context.body(), name)
    yield without(context.body(), *PRODUCT, "name")
    yield altered(context.body(), "1250", *PRICE, "unit_amount")
    yield altered(context.body(), 0, "line_items", 0, "quantity")
    yield altered(context.body(), context.currency.lower(), *PRICE, "currency")
    yield of_two_currencies(context, context.line(), context.line())
    yield {**context.body(), "line_items": []}
    yield altered(context.body(), "javascript:alert(1)", "return_url")
    yield altered(context.body(), None, "cancel_url")
    yield altered(context.body(), "n" * 251, *PRODUCT, "name")
    yield context.body(context.line(0, 1))
    yield context.body(*(context.line(99_999_999, 9_999 - n, name=f"No. {n}") for n in range(4)))


@creates("Leave out what is required, and give what has another type, null included.", stage=Stage.DEPTH, requests=177)
def what_is_missing_or_of_another_type(context: RunContext) -> Iterator[Json]:
    for name in ("line_items", "success_url", "return_url"):
        yield without(context.body(), name)
    for path in _LINE_FIELDS:
        yield without(context.body(), *path)
    for name in ("line_items", "success_url", "return_url"):
        yield without(context.body(context.line(0, 1)), name)
    # A second line that is wrong: a checker of the first only would miss it.
    yield without(context.body(context.line(), context.line()), "line_items", 1, "quantity")
    for path in _PLACES:
        for value in _OF_EVERY_TYPE:
            yield altered(context.body(), value, *path)
    odd: tuple[tuple[Json, tuple[str | int, ...]], ...] = (
        ({"0": context.line()}, ("line_items",)),
        (context.line(), ("line_items",)),
        (json.dumps([context.line()]), ("line_items",)),
        (json.dumps(context.line()["price_data"]), PRICE),
        (["https://shop.example/"], ("return_url",)),
        (["https://shop.example/"], ("success_url",)),
        (["https://shop.example/"], ("cancel_url",)),
        ("2030-01-01T00:00:00Z", ("expires_at",)),
    )
    for value, path in odd:
        yield altered(context.body(), value, *path)
    if (moment := now(context)) is not None:
        yield altered(context.body(), str(moment + 7_200), "expires_at")
        yield altered(context.body(), f"{datetime.fromtimestamp(moment + 7_200, UTC):%Y-%m-%dT%H:%M:%SZ}", "expires_at")
        yield altered(context.body(), moment + 7_200.5, "expires_at")
        yield altered(context.body(expires_at=moment + 7_200), [], "line_items")
    yield []
    yield [context.body()]
    yield b"null"  # without a body there is nothing to parse
    yield "text"


_AMOUNTS: Final[tuple[Json, ...]] = (
    "1250",
    "",
    12.5,
    1.0000001,
    0.99999999,
    True,
    False,
    -1,
    oracle.UNIT_AMOUNT_MOST + 1,
    2**63,
    [],
    {"amount": 1},
)
_QUANTITIES: Final[tuple[Json, ...]] = (
    "2",
    1.5,
    1.0000001,
    2.9999999,
    True,
    -1,
    0,
    oracle.QUANTITY_MOST + 1,
    2**31,
    [1],
)


@creates(
    "Ask for amounts, quantities, currencies and numbers of lines that are refused.", stage=Stage.DEPTH, requests=60
)
def what_money_cannot_be(context: RunContext) -> Iterator[Json]:
    for value in _AMOUNTS:
        yield altered(context.body(), value, *PRICE, "unit_amount")
    for value in _QUANTITIES:
        yield altered(context.body(), value, "line_items", 0, "quantity")
    yield context.body(context.line(), context.line(-1, 1))
    yield context.body(context.line(), context.line(100, 0))
    # What costs nothing is held to the same.
    for quantity in (-1, 0, 1.5, "1", oracle.QUANTITY_MOST + 1):
        yield context.body(context.line(0, quantity))
    # Whether these are integers is open; if they are taken, they must come back as ones.
    yield altered(context.body(), 2.0, "line_items", 0, "quantity")
    yield altered(context.body(), 1250.0, *PRICE, "unit_amount")
    codes: tuple[Json, ...] = (
        "DEM",
        "BTC",
        "HRK",
        context.currency.lower(),
        context.currency.title(),
        "ZZZ",
        f"{context.currency[:-1]}\u017f",
        f"\u017f{context.currency[1:]}",
        "".join(chr(ord(letter) + 0xFEE0) for letter in context.currency),
        "XX",
        "",
        "DOLLARS",
        "$",
        f"{context.currency} ",
        f"{context.currency}\n",
        "constructor",
        "__proto__",
        "702",
        702,
        [context.currency],
    )
    for code in codes:
        yield altered(context.body(), code, *PRICE, "currency")
    line = context.line
    yield of_two_currencies(context, line(), line())
    yield of_two_currencies(context, line(), line(), line())
    yield of_two_currencies(context, line(), line(0, 1))
    yield of_two_currencies(context, line(), line(), line(), odd=1)
    yield of_two_currencies(context, *(line(1, 1) for _ in range(oracle.LINES_MOST)))
    yield {**context.body(), "line_items": []}
    yield context.body(*(context.line(1, 1) for _ in range(oracle.LINES_MOST + 1)))


@creates(
    "Send URLs that are no absolute http(s) ones, and texts that are empty or too long.", stage=Stage.DEPTH, requests=99
)
def what_texts_and_urls_cannot_be(context: RunContext) -> Iterator[Json]:
    for name in URLS:
        for url in (
            "",
            "/thanks",
            "shop.example/thanks",
            "javascript:alert(1)",
            "ftp://shop.example/x",
            "https://",
            "https:/shop.example/thanks",
        ):
            yield altered(context.body(), url, name)
        yield altered(context.body(), long_url(oracle.URL_MOST + 1, context), name)
    for url in (
        "//shop.example/thanks",
        "http:shop.example",
        "https:///thanks",
        "https://shop.example/a b",
        " https://shop.example/",
        "https://shop.example/\n",
        "data:text/html,hello",
        "https://user:secret@shop.example/",
        "httpss://shop.example/",
        "https://?q=1",
        "https://shop.example/a\\b",
        "https://[::1]/thanks",
        "https://shop.example/caf\u00e9",
        "https://shop.example:999999/",
        "https://shop.example:port/",
        "https://shop.example:/",
    ):
        for name in URLS:
            yield altered(context.body(), url, name)
    for url in ("https://b\u00fccher.example/", "https://my_shop.example/"):
        yield altered(context.body(), url, "success_url")
    for value, name in (("", "name"), ("n" * 251, "name"), ("", "description"), ("d" * 1001, "description")):
        yield altered(context.body(), value, *PRODUCT, name)
    # Beyond what is often the width of a column.
    for length in (300, 1_030, 2_100, 66_000):
        for name in ("name", "description") if length > oracle.DESCRIPTION_MOST else ("name",):
            yield altered(context.body(), "t" * length, *PRODUCT, name)
    for name in URLS:
        yield altered(context.body(), long_url(66_000, context), name)
    for name, most in (("name", oracle.NAME_MOST), ("description", oracle.DESCRIPTION_MOST)):
        for text in ("漢" * (most + 1), "e\u0301" * (most // 2) + "x", "n" * most + " ", "n" * most + "\u0301"):
            yield altered(context.body(), text, *PRODUCT, name)
    yield altered(
        context.body(context.line(), context.line()),
        "n" * 251,
        "line_items",
        1,
        "price_data",
        "product_data",
        "name",
    )


@creates(
    "Send what is refused once more among everything that may be there: in the last of twelve lines, with all URLs.",
    stage=Stage.DEPTH,
    requests=60,
)
def the_same_in_a_full_basket(context: RunContext) -> Iterator[Json]:
    moment = now(context)
    if moment is None:
        return

    def full() -> dict[str, Json]:
        lines = [context.line(100 + n, 1 + n, name=f"No. {n}", description=f"Dish {n}") for n in range(12)]
        return context.body(*lines, cancel_url="https://shop.example/basket", expires_at=moment + 7_200)

    last = ("line_items", 11)
    price, product = (*last, "price_data"), (*last, "price_data", "product_data")
    yield full()
    for name in ("line_items", "success_url", "return_url"):
        yield without(full(), name)
    for name in (*URLS, "expires_at"):
        yield altered(full(), None, name)
    for name in URLS:
        for url in ("/thanks", "javascript:alert(1)", ""):
            yield altered(full(), url, name)
    for expires_at in (moment, moment + 1_700, moment + 86_500, str(moment + 7_200)):
        yield altered(full(), expires_at, "expires_at")
    yield context.body(context.line(0, 1), expires_at=moment + 1_700)
    yield context.body(context.line(0, 1), expires_at=moment + 86_500)
    for path in (price, (*price, "currency"), (*price, "unit_amount"), product, (*product, "name")):
        yield without(full(), *path)
    yield without(full(), *last, "quantity")
    for where in (last, price, (*price, "unit_amount"), (*product, "description"), (*last, "quantity")):
        yield altered(full(), None, *where)
    for amount in ("100", 100.5, True, -1, oracle.UNIT_AMOUNT_MOST + 1):
        yield altered(full(), amount, *price, "unit_amount")
    for quantity in ("1", 1.5, True, 0, -1, oracle.QUANTITY_MOST + 1):
        yield altered(full(), quantity, *last, "quantity")
    for code in (context.currency.lower(), "DEM", "ZZZ", context.second_currency):
        yield altered(full(), code, *price, "currency")
    for value, name in (("", "name"), ("n" * 251, "name"), ("", "description"), ("d" * 1001, "description")):
        yield altered(full(), value, *product, name)
