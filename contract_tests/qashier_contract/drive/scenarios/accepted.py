"""Creates that must succeed, and what comes of them: at their limits and in every form (CRE, AMT)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from qashier_contract import oracle
from qashier_contract.drive import Opened, RunContext, Stage, driver
from qashier_contract.drive.scenarios.scenario import PRICE, PRODUCT, URLS, altered, creates, long_url, now
from qashier_contract.history import Capability
from qashier_contract.values import Json

_FOREIGN: Final = ("JPY", "KWD", "IDR", "CNY", "ZWG", "CLP", "BHD", "XAF", "USD", "EUR", "VND")


@driver("Open a session with everything and one with the least, and read them back.", stage=Stage.FIRST, requests=10)
def a_first_session(context: RunContext) -> None:
    product = {"name": "Kopi O", "description": "Black & <strong>, “siew dai” — 咖啡 🍵"}
    whole = context.open(
        context.line(183, 3, **product),
        context.line(680, 1, name="Kaya toast"),
        context.line(0, 7, name="Water"),
        context.line(183, 2, **product),
        cancel_url="https://shop.example/basket?from=checkout&step=2#pay",
        success_url=f"https://shop.example/thanks/{context.mark()}?a=1&b=%2Fx#top",
        return_url="https://shop.example/return?order=1&order=2",
    )
    least = context.open()
    for session in (whole, whole, least):
        session.retrieve()
    context.account.list(limit=3)
    whole.retrieve()


_CENTS: Final = (
    1,
    7,
    19,
    29,
    57,
    58,
    113,
    114,
    115,
    1009,
    1013,
    1999,
    4035,
    8175,
    100_07,
    16_777_217,
    33_554_433,
    oracle.UNIT_AMOUNT_MOST,
)
"""Amounts that suffer where money passes through a float, or through its decimal form."""
TEXTS: Final[Sequence[Mapping[str, Json]]] = (
    {"name": "n"},
    {"name": "n" * oracle.NAME_MOST},
    {"name": "🍜" * oracle.NAME_MOST},
    {"name": "Toast", "description": "d"},
    {"name": "Toast", "description": "d" * oracle.DESCRIPTION_MOST},
    {"name": "Toast", "description": "🍜" * oracle.DESCRIPTION_MOST},
    {
        "name": "Café ﬁ e\u0301 \u200b\u05e9\u05dc\u05d5\u05dd",
        "description": 'Two  blanks, a "quote", a \\ and %s {0} ${x} <b>&amp;</b>',
    },
    {"name": " Toast ", "description": "  cafe\u0301, blanks around, and a \u212b  "},
    {"name": "  Cafe\u0301 \u00a0"},
    {"name": "it's 100%20 a+b &amp; c:\\new \\u0041"},
    {"name": "Caf\u00e9 \ufb01 e\u0301 \u200b\u05e9\u05dc\u05d5\u05dd"},
    {"name": "Set", "description": "two\nlines, \ttab, it's 100%20 a+b \u200b\u00ad\ufeff."},
    {"name": "Set", "description": "two\r\nlines"},
    {"name": "Set", "description": " "},
    {"name": "<b>bold</b>"},
    *({"name": "Set", "description": word} for word in ("null", "undefined", "None", "0", "false", "NaN")),
    *({"name": word} for word in ("null", "undefined", "0")),
)

_CONTROL_CHARACTERS: Final[Mapping[str, Json]] = {"name": "Set", "description": "\0, \x1d"}
"""Left open: a store may be unable to keep these."""


@driver(
    "Open sessions whose every value is just allowed, and read the exact amounts back.", stage=Stage.DEPTH, requests=175
)
def at_the_limits(context: RunContext) -> None:
    line, account = context.line, context.account
    opened = [context.open(*lines) for lines in _baskets(context)]
    for place in (0, 4, 6, 8):
        opened[place].retrieve()
    account.list(limit=len(opened))
    for code in (context.second_currency, *_FOREIGN):
        # The account may not charge these; where it may, they must come back.
        foreign = context.body(line(1253, 3), line(99, 1))
        for one in foreign["line_items"]:
            one["price_data"]["currency"] = code
        account.create(foreign)
    account.list(limit=1 + len(_FOREIGN))
    for text in (*TEXTS, _CONTROL_CHARACTERS):
        context.open(line(**text)).retrieve()
    account.list(limit=1 + len(TEXTS))
    context.open(line(), line(name=" last ", description="  of two  "))
    context.open(line(name="first"), line(name=" last "))
    # The same JSON, written in another way.
    plain = json.dumps(context.body()).encode()
    account.create(b" \r\n\t" + plain + b"\n")
    account.create(json.dumps(context.body()).encode().replace(b"Kaya", b"\\u004bay\\u0061"))
    account.create(json.dumps(context.body(), indent=2).encode())
    account.create(json.dumps(context.body(context.line(name="Tè 咖啡 🍵")), ensure_ascii=False).encode())
    account.create(_cut_within_a_character(context), chunked=True)
    # Of a repeated key the last one counts, in our own mock.
    doubled = json.dumps(context.body())
    account.create(b'{"success_url": "x", ' + doubled[1:].encode())
    account.create(doubled.replace('"quantity": ', '"quantity": 7, "quantity": ').encode())
    _open_with_urls(context)
    account.list(limit=oracle.LIMIT_MOST)
    # Nearly as much text as one request may have, read back, repeated, and twice on a page.
    key, longest = context.key(), _longest(context)
    Opened(account, account.create(_longest(context))).retrieve()
    for _ in range(2):
        account.create(longest, key=key)
    account.list(limit=2)


def _longest(context: RunContext) -> bytes:
    """A body of very many characters, of which one may be cut in two wherever the body is cut.

    There is room for what then takes its place.
    """
    texts = (
        (_shifted(oracle.NAME_MOST - 8, n), _shifted(oracle.DESCRIPTION_MOST - 8, n)) for n in range(oracle.LINES_MOST)
    )
    body = context.body(*(context.line(1, 1, name=name, description=words) for name, words in texts))
    return json.dumps(body, ensure_ascii=False).encode()


def _shifted(length: int, by: int) -> str:
    """A text of characters that take four bytes each, but for up to three at its beginning."""
    return ("x" * (by % 4)).ljust(length, "🍜")


def _cut_within_a_character(context: RunContext) -> bytes:
    """A body whose middle is within a character: there a body is cut that goes out in chunks."""
    bodies = (context.body(context.line(name="x" * by + "咖" * 200)) for by in range(6))
    written = (json.dumps(body, ensure_ascii=False).encode() for body in bodies)
    return next(body for body in written if body[len(body) // 2] & 0xC0 == 0x80)


def _baskets(context: RunContext) -> Sequence[Sequence[Json]]:
    line, amount, quantity, most = context.line, oracle.UNIT_AMOUNT_MOST, oracle.QUANTITY_MOST, oracle.LINES_MOST
    largest, odd = line(amount, quantity), line(amount, quantity - 1)
    return [
        *([line(0, 1)], [line(amount, 1)], [line(1, quantity)], [line(7, 1)]),
        [line(cents, count, name=f"Item {cents}") for count, cents in enumerate(_CENTS, 1)],
        [largest],
        [line(amount, quantity - n, name=f"No. {n}") for n in range(most)],
        *([largest] * most, [odd] * (most - 1), [odd] * 3),
        *([line(100, 1), line(250, 1)], [line(100, 1), line(250, 2)]),
        *([line(0, 3), line(5, 1), line(0, 1)], [line(0, 3), line(0, 1)]),
        [line(300, n, name=name) for n, name in enumerate(("b", "a", "b", "c", "a"), 1)],
        [line(250, 2, name="Same")] * 3,
    ]


def _open_with_urls(context: RunContext) -> None:
    urls = [
        ("success_url", long_url(oracle.URL_MOST, context)),
        ("return_url", long_url(oracle.URL_MOST, context)),
        ("cancel_url", long_url(oracle.URL_MOST, context)),
        ("success_url", f"HTTPS://Shop.Example:443/{context.mark()}/a/../b//c/?x=1&x=2&y=%2f%7e+%20&z=#frag-ment"),
        ("return_url", "http://shop.example"),
        ("return_url", "https://shop.example?order={CHECKOUT_SESSION_ID}&q='()*!~;,@$|^`\""),
        ("return_url", "https://shop.example:8443"),
        ("success_url", f"https://shop.example/{context.mark()}?x=1&amp;y=%3C&lt;"),
        ("return_url", "http://localhost:54321/return/"),
        ("return_url", "http://127.0.0.1:8080/#/spa/route?x=1"),
        ("return_url", "http://s/return"),
        ("return_url", f"http://{'.'.join(['shop' * 15] * 4)}/return"),
        ("cancel_url", "https://a.b--c.example/%E6%BC%A2?next=https%3A%2F%2Fx"),
        ("success_url", f"https://shop.example/{context.mark()}?"),
        ("success_url", f"https://shop.example/{context.mark()}?id={{CHECKOUT_SESSION_ID}}&order={{order}}"),
        ("return_url", "https://shop.example/return?a=&b&"),
        ("return_url", "https://shop.example/%7Ekopi/%2E%2D%5F?x=%41"),
        ("success_url", f"https://shop.example/{context.mark()}/%7Ekopi/"),
        *((name, f"https://shop.example/{context.mark()}?z=1&a=b+c&a=%2B&m") for name in URLS),
        ("return_url", "https://shop.example/return#"),
        ("return_url", "http://shop.example:80/a/./b/./"),
        ("return_url", "https://shop.example:443/caf%c3%a9"),
        ("success_url", f"https://shop.example:443/{context.mark()}/%c3%a9"),
        ("success_url", f"http://shop.example:80/{context.mark()}/./#"),
    ]
    same = "https://shop.example/basket"
    context.account.create({**context.body(), "return_url": same, "cancel_url": same})
    context.account.create({**context.body(), "success_url": same, "return_url": same, "cancel_url": same})
    for name, url in urls:
        given: dict[str, Json] = {name: url}
        session = context.open(**given)
        if name != "cancel_url":
            session.retrieve()
    # What comes back of one might not come back of another.
    for name, url in urls[3:]:
        context.account.create(context.body(**{other: url for other in URLS if other != name}))


@creates(
    "Send fields that a create does not have, in each object, some of which its answer has: they are ignored or "
    "refused.",
    stage=Stage.DEPTH,
    requests=10,
)
def what_no_document_names(context: RunContext) -> Iterator[Json]:
    yield {**context.body(), "metadata": {"order": "1"}}
    for path in (("line_items", 0), PRICE, PRODUCT):
        yield altered(context.body(), "red", *path, "colour")
    # What the server decides, whoever asks for something else.
    yield {**context.body(), "status": "complete", "payment_status": "paid"}
    earlier = context.open().exchange.object
    yield {
        **context.body(),
        "id": earlier.get("id"),
        "url": "/pay/mine",
        "object": "payment",
        "mode": "subscription",
        "currency": context.second_currency,
        "amount_total": 1,
        "created": 1_600_000_000,
    }
    line = {"amount_total": 1, "currency": context.second_currency, "description": "Something else"}
    yield context.body({**context.line(), **line})


@driver(
    "Open sessions while the clock runs, and read it after each.",
    needs=(Capability.CLOCK,),
    stage=Stage.DEPTH,
    requests=13,
)
def while_the_clock_runs(context: RunContext) -> None:
    if context.keys_are_free:
        account = context.made_up_account()
        context.now(account)
        for _ in range(6):
            context.open(account=account)
            context.now(account)


@driver("Ask for deadlines on both sides of each bound, and in between.", requests=30)
def when_it_expires(context: RunContext) -> None:
    for observed in (1_799, 1_800, 1_801, 7_200, 86_399, 86_400, 86_401):
        # Without a clock that stands still a second may pass in between: then the bound is tried again.
        for _ in range(1 if context.can(Capability.CLOCK) else 3):
            moment = now(context)
            if moment is None:
                return
            sent = context.open(expires_at=moment + observed)
            after = moment if context.can(Capability.CLOCK) else now(context)
            if after == moment or observed not in {1_800, 86_401}:
                break
        if observed == 7_200:
            sent.retrieve()
    moment = now(context) or 2_000_000_000
    for observed in (-1, 0, 60, 10 * 86_400):
        context.open(expires_at=moment + observed)
    for odd in (0, -1, 3_600, (moment + 7_200) * 1_000, 10**18):
        context.open(expires_at=odd)
    context.open(expires_at=moment + 7_200, cancel_url="https://shop.example/basket")
    context.open(context.line(0, 1), expires_at=moment + 7_200)
    context.open(*[context.line()] * oracle.LINES_MOST, expires_at=moment + 7_200)
    context.open()
    context.account.list(limit=25)
