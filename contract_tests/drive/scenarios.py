"""Directed scenarios: for every clause at least one that exercises it, boundaries included.

In as few requests as may be, and deterministic: the same requests in the same order, nonces aside. None of them judges.

The clock is frozen where it can be: then "now" is the same for target and checker, and every boundary is exact.
"""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from contract_tests import oracle
from contract_tests.drive import Driver, Stage, World, id_of
from contract_tests.history import SESSIONS_PATH, Capability, Credentials, Exchange, Json
from contract_tests.ledger import entries_of, is_integer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PAY, CLOCK, EVENTS, PAGE = Capability.PAY, Capability.CLOCK, Capability.EVENTS, Capability.PAGE
_EVERY: Final = ("HTTP-1", "HTTP-2")
_CREATED: Final = ("CRE-1", "CRE-3", "CRE-4", "CRE-5", "CRE-8", "CRE-10", "AMT-1", "AMT-2", "AMT-3", "AMT-4", "AMT-5")
_UNKNOWN_ID: Final = "cs_test_0000000000000000unknown"

_entered: list[Driver] = []


def scenario(
    *clauses: str, needs: tuple[Capability, ...] = (), stage: Stage = Stage.BREADTH, requests: int
) -> Callable[[_Run], _Run]:
    """Enter a scenario in the plan. The first sentence of its docstring is its purpose."""

    def enter(run: _Run) -> _Run:
        purpose = " ".join((run.__doc__ or "").partition("\n\n")[0].split())
        name = run.__name__.replace("_", " ")
        _entered.append(Driver(name, purpose, (*clauses, *_EVERY), run, frozenset(needs), stage, requests))
        return run

    return enter


if TYPE_CHECKING:
    _Run = Callable[[World], None]


def now(world: World) -> int | None:
    """The account's time in epoch seconds: from its clock, else from a session that was just created."""
    shown = world.account.clock().object.get("now") if world.can(CLOCK) else world.open().object.get("created")
    return shown if is_integer(shown) else None


def retrieve(world: World, opened: Exchange) -> None:
    session_id = id_of(opened)
    if session_id is not None:
        world.account.retrieve(session_id)


# ── the clock, and a first look ─────────────────────────────────────────────────────────────────────────────────────


@scenario(
    *_CREATED,
    "CRE-9",
    "CRE-17",
    "AMT-6",
    "AMT-7",
    "RET-1",
    "RET-3",
    "RET-4",
    "LIS-1",
    "LIS-14",
    "AUTH-2",
    stage=Stage.FIRST,
    requests=14,
)
def a_first_session(world: World) -> None:
    """Stop the clocks, open a session with everything and one with the least, and read them back."""
    for account in (world.account, world.other):
        if account is not None and world.can(CLOCK):
            account.set_clock(frozen=True)
            account.clock()
    product = {"name": "Kopi O", "description": "Black & <strong>, “siew dai” — 咖啡 🍵"}
    whole = world.open(
        world.line(183, 3, **product),
        world.line(680, 1, name="Kaya toast"),
        world.line(0, 7, name="Water"),
        world.line(183, 2, **product),
        cancel_url="https://shop.example/basket?from=checkout&step=2#pay",
        success_url=f"https://shop.example/thanks/{world.mark()}?a=1&b=%2Fx#top",
        return_url="https://shop.example/return?order=1&order=2",
    )
    least = world.open()
    for opened in (whole, whole, least):
        retrieve(world, opened)
    world.account.list(limit=3)
    retrieve(world, whole)


# ── who may ask ─────────────────────────────────────────────────────────────────────────────────────────────────────


@scenario("AUTH-1", "AUTH-3", "AUTH-4", "HTTP-3", "HTTP-5", requests=19)
def credentials(world: World) -> None:
    """Ask without credentials, with a bearer token, and with credentials that name nobody."""
    opened = world.open()
    session_id = id_of(opened) or _UNKNOWN_ID
    own = f"{SESSIONS_PATH}/{session_id}"
    body = json.dumps(world.body()).encode()
    json_type = (("Content-Type", "application/json"),)
    operations = (
        ("GET", own, None),
        ("GET", SESSIONS_PATH, None),
        ("POST", SESSIONS_PATH, body),
        ("POST", f"{own}/expire", None),
    )
    for method, path, content in operations:
        world.target.send(method, path, account=None, headers=json_type if content else (), body=content)
    world.account.retrieve(session_id, credentials=Credentials.BEARER)
    world.target.send("GET", SESSIONS_PATH, query="limit=1", credentials=Credentials.BEARER)
    bearer_body = json.dumps(world.body()).encode()
    by_bearer = id_of(
        world.target.send("POST", SESSIONS_PATH, credentials=Credentials.BEARER, headers=json_type, body=bearer_body)
    )
    if by_bearer is not None:
        world.target.send("POST", f"{SESSIONS_PATH}/{by_bearer}/expire", credentials=Credentials.BEARER)
    _ask_with(world, own, _broken(world)[:4])
    value, shown = _broken(world)[0]
    for method, path, content in operations[1:]:
        world.target.send(
            method,
            path,
            account=None,
            authorization=value,
            shown=shown,
            headers=json_type if content else (),
            body=content,
        )
    retrieve(world, opened)


@scenario("AUTH-1", "AUTH-2", "AUTH-3", "AUTH-4", stage=Stage.DEPTH, requests=27)
def credentials_that_are_nearly_right(world: World) -> None:
    """Ask with the key in every place and form but the right one."""
    opened = world.open()
    session_id = id_of(opened) or _UNKNOWN_ID
    _ask_with(world, f"{SESSIONS_PATH}/{session_id}", _broken(world)[4:])
    # Whoever was refused just now, this is another request.
    _ask_with(world, f"{SESSIONS_PATH}/{session_id}", _broken(world)[:1])
    world.account.retrieve(session_id, credentials=Credentials.BEARER)
    retrieve(world, opened)
    # Without credentials nothing is told, not even what else is wrong.
    for method, path in (("GET", ""), ("POST", "/expire")):
        world.target.send(method, f"{SESSIONS_PATH}/{_UNKNOWN_ID}{path}", account=None)
    json_type = (("Content-Type", "application/json"),)
    world.target.send("POST", SESSIONS_PATH, account=None, headers=json_type, body=b"{}")
    if world.keys_are_free:
        # A long key, which is first seen as a bearer token.
        account = world.made_up_account("k" * 80)
        account.list(Credentials.BEARER, limit=1)
        account.list(limit=1)


def _ask_with(world: World, path: str, broken: Sequence[tuple[str, str]]) -> None:
    for value, shown in broken:
        world.target.send("GET", path, account=None, authorization=value, shown=shown)


def _broken(world: World) -> Sequence[tuple[str, str]]:
    """Values of `Authorization` that name no account, and how a record shows them."""
    key = world.target.keys[0]
    basic, bearer = key.header(Credentials.BASIC), key.header(Credentials.BEARER)
    return (
        (_basic(f"{key.secret}:hunter2"), "Basic <the key, with a password>"),
        (_basic("no-such-key:"), "Basic <no key>"),
        ("Bearer no-such-key", "Bearer <no key>"),
        (f"Token {key.secret}", "Token <the key>"),
        (_basic(f"{key.secret}:{key.secret}"), "Basic <the key, with itself as password>"),
        (_basic(f"{key.secret}: "), "Basic <the key, with a blank as password>"),
        (_basic(":"), "Basic <no user name>"),
        (_basic(f":{key.secret}"), "Basic <the key as password>"),
        (_basic("sk_no-such-key:"), "Basic <no key>"),
        (_basic(f"{key.secret.replace('sk_', 'pk_', 1)}:"), "Basic <a publishable key>"),
        (_basic(f"{key.secret.upper()}:"), "Basic <the key in capitals>"),
        (_basic(key.secret), "Basic <the key without its colon>"),
        (f"{bearer} x", "Bearer <the key, and another word>"),
        ("Bearer ", "Bearer"),
        ("Bearer test", "Bearer test"),
        ("", ""),
        ("Basic", "Basic"),
        ("Basic !!!", "Basic <no base64>"),
        (key.secret, "<the key alone>"),
        (bearer.replace("Bearer", "Basic"), "Basic <the key, not encoded>"),
        (basic.replace("Basic", "Bearer"), "Bearer <the key, encoded>"),
    )


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@scenario(
    *(
        "AUTH-3",
        "CRE-5",
        "CRE-6",
        "CRE-17",
        "IDM-1",
        "IDM-3",
        "IDM-5",
        "EXP-1",
        "EXP-2",
        "LIS-5",
        "LIS-8",
        "LIS-9",
        "RET-1",
    ),
    stage=Stage.DEPTH,
    requests=24,
)
def the_same_by_bearer(world: World) -> None:
    """Open, read, list and end sessions with a bearer token, and in turns with that and Basic."""
    account, bearer = world.account, Credentials.BEARER
    moment = now(world)
    if moment is None:
        return
    key, body = world.key(), world.body(cancel_url="https://shop.example/basket", expires_at=moment + 3_600)
    opened = account.create(body, key=key, credentials=bearer)
    for credentials in (bearer, None):
        account.create(body, key=key, credentials=credentials)
    account.create(world.body(world.line(0, 1)), credentials=bearer)
    account.create(_without(world.body(), "success_url"), credentials=bearer)
    for life in (1_700, 86_500):
        account.create(world.body(expires_at=moment + life), credentials=bearer)
    last = world.open()
    account.list(bearer, limit=5)
    account.list(bearer, status="open", limit=5)
    account.list(bearer, created_gte=moment, limit=5)
    session_id, end = id_of(opened), world.key()
    if session_id is None:
        return
    account.list(bearer, starting_after=session_id, limit=5)
    if (last_id := id_of(last)) is not None:
        account.list(bearer, starting_after=last_id, limit=5)
    account.retrieve(session_id, credentials=bearer)
    for credentials in (bearer, bearer, None):
        account.expire(session_id, key=end, credentials=credentials)
    account.create(world.body(), key=world.key("-").ljust(256, "b"), credentials=bearer)
    account.expire(session_id, credentials=bearer)
    account.expire(_UNKNOWN_ID, credentials=bearer)
    account.retrieve(session_id, credentials=bearer)
    account.retrieve(session_id)
    account.create(body, key=key, credentials=bearer)
    account.list(bearer, status="expired", limit=5)
    account.list(status="expired", limit=5)


@scenario("AUTH-5", "IDM-7", "EXP-4", "RET-2", "LIS-13", "CRE-10", needs=(Capability.SECOND_ACCOUNT,), requests=24)
def two_accounts(world: World) -> None:
    """Let each of two accounts reach for the other's session, and both use the same idempotency key."""
    other = world.other
    assert other is not None
    key = world.key()
    mine, theirs = world.open(key=key), world.open(account=other, key=key)
    mine_id, theirs_id = id_of(mine), id_of(theirs)
    if mine_id is None or theirs_id is None:
        return
    other.retrieve(mine_id)
    other.expire(mine_id)
    other.list(limit=100)
    other.list(starting_after=mine_id)
    other.list(ending_before=mine_id)
    other.list(status="open", limit=100)
    if is_integer(born := mine.object.get("created")):
        other.list(created_gte=born, limit=100)
        other.list(created_lte=born, status="open", limit=100)
    other.list(starting_after=theirs_id, limit=100)
    other.list(ending_before=theirs_id, limit=100)
    if world.can(PAY):
        done = world.open()
        if (done_id := id_of(done)) is not None:
            world.account.pay(done_id)
            other.list(status="complete", limit=100)
            other.retrieve(done_id)
    world.account.retrieve(theirs_id)
    world.account.expire(theirs_id)
    world.account.list(limit=100)
    world.account.retrieve(mine_id)
    other.retrieve(theirs_id)
    other.expire(theirs_id)
    # The second account's own replay, and the first one's.
    other.create(theirs.request.json, key=key)
    world.account.create(mine.request.json, key=key)
    # Each ends a session of its own with the same key.
    end, ours, others = world.key(), id_of(world.open()), id_of(world.open(account=other))
    if ours is not None and others is not None:
        world.account.expire(ours, key=end)
        other.expire(others, key=end)
        other.retrieve(others)


@scenario("AUTH-5", "IDM-7", needs=(Capability.SECOND_ACCOUNT,), stage=Stage.DEPTH, requests=9)
def two_accounts_alike(world: World) -> None:
    """Let two accounts send the same, and one reach for what the other has ended."""
    other = world.other
    assert other is not None
    alike, shared = world.key(), world.body()
    mine, theirs = world.account.create(shared, key=alike), other.create(shared, key=alike)
    if (own_id := id_of(theirs)) is not None:
        other.retrieve(own_id)
    if (ended_id := id_of(mine)) is not None:
        world.account.expire(ended_id)
        other.expire(ended_id)
        other.retrieve(ended_id)
    if world.can(PAY) and (paid_id := id_of(world.open())) is not None:
        world.account.pay(paid_id)
        other.expire(paid_id)


# ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@scenario("HTTP-4", "HTTP-3", "HTTP-5", stage=Stage.DEPTH, requests=11)
def what_is_nearly_json(world: World) -> None:
    """Send what a lenient parser takes for JSON, and JSON under names that are nearly its own."""
    for media_type in ("text/json", "application/jsonp"):
        world.account.create(json.dumps(world.body()).encode(), headers=(("Content-Type", media_type),))
    _send_each(
        world,
        iter(
            (
                json.dumps(world.body()).encode() + b" x",
                json.dumps(world.body()).encode()[:-1] + b",}",
                json.dumps(world.body()).encode().replace(b'"', b"'"),
                json.dumps(world.body()).encode().replace(b"Kaya toast", b"Kaya\ntoast"),
                json.dumps(world.body()).encode()[:-1] + b', "x": NaN}',
                json.dumps(world.body()).encode()[:-1] + b" /* a comment */}",
                json.dumps(world.body()).encode() + b" // a comment",
            )
        ),
    )


@scenario("HTTP-3", "HTTP-4", "HTTP-6", "HTTP-5", "RET-2", "EXP-4", requests=39)
def the_wrong_door(world: World) -> None:
    """Ask for paths, methods, media types and bodies that the API does not have."""
    opened = world.open()
    session_id = id_of(opened) or _UNKNOWN_ID
    own = f"{SESSIONS_PATH}/{session_id}"
    send = world.target.send
    for path in ("/", "/checkout", "/checkout/session", "/checkout/sessionsx", f"{own}/pay", f"{own}/expire/now"):
        send("GET", path)
    send("POST", f"{own}/cancel")
    for method, path in (
        ("DELETE", SESSIONS_PATH),
        ("PUT", SESSIONS_PATH),
        ("PATCH", own),
        ("DELETE", own),
        ("POST", own),
        ("GET", f"{own}/expire"),
        ("DELETE", f"{own}/expire"),
    ):
        send(method, path)
    for body in (b"{", b"", b"not json", b'{"line_items": [}', json.dumps(world.body()).encode()[:-1], b"\xff\xfe{}"):
        world.account.create(body)
    marked = json.dumps(world.body()).encode()
    for media_type in (
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
    ):
        body = json.dumps(world.body()).encode()
        world.account.create(body, headers=(("Content-Type", media_type),))
    world.account.create(marked, headers=(("Content-Type", "application/json; charset=utf-8"),))
    world.account.create(json.dumps(world.body()).encode(), headers=(("Content-Type", "Application/JSON"),))
    world.account.create(json.dumps(world.body()).encode(), headers=(("Content-Type", ""),))
    for unknown in (_UNKNOWN_ID, session_id + "x", session_id[:-1], session_id.swapcase(), session_id + " "):
        world.account.retrieve(unknown)
    for unknown in (_UNKNOWN_ID, session_id + "x", session_id[:-1], session_id.swapcase()):
        world.account.expire(unknown)
    retrieve(world, opened)
    world.account.list(limit=20)


# ── create: what is refused ─────────────────────────────────────────────────────────────────────────────────────────


def _without(body: dict[str, Json], *path: str | int) -> dict[str, Json]:
    """The body without what the path names."""
    changed: dict[str, Json] = json.loads(json.dumps(body))
    holder: Json = changed
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    return changed


def _with(body: dict[str, Json], value: Json, *path: str | int) -> dict[str, Json]:
    """The body with another value where the path leads."""
    changed: dict[str, Json] = json.loads(json.dumps(body))
    holder: Json = changed
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return changed


_PRICE: Final = ("line_items", 0, "price_data")
_PRODUCT: Final = (*_PRICE, "product_data")
_LINE_FIELDS: Final[tuple[tuple[str | int, ...], ...]] = (
    _PRICE,
    (*_PRICE, "currency"),
    (*_PRICE, "unit_amount"),
    _PRODUCT,
    (*_PRODUCT, "name"),
    ("line_items", 0, "quantity"),
)
_URLS: Final = ("success_url", "return_url", "cancel_url")
_FOREIGN: Final = ("JPY", "KWD", "IDR", "CNY", "ZWG", "CLP", "BHD", "XAF", "USD", "EUR", "VND")


def _send_each(world: World, bodies: Iterator[Json]) -> None:
    for body in bodies:
        world.account.create(body)
    # Whatever was refused must not have opened anything: every request is marked, and would be seen here.
    page = world.account.list(limit=100)
    if page.object.get("has_more") is True and (entries := entries_of(page)):
        world.account.list(limit=100, starting_after=str(entries[-1].get("id")))


@scenario(
    *("CRE-2", "CRE-11", "CRE-12", "CRE-13", "CRE-14", "CRE-15", "CRE-16", "CRE-18", "CRE-19"),
    *("HTTP-3", "HTTP-5", "AMT-6", "IDM-3"),
    requests=18,
)
def one_of_each_kind(world: World) -> None:
    """Send one create for each thing that can be wrong with it, and a few that are just right."""

    def bodies() -> Iterator[Json]:
        for name in ("line_items", "success_url", "return_url"):
            yield _without(world.body(), name)
        yield _without(world.body(), *_PRODUCT, "name")
        yield _with(world.body(), "1250", *_PRICE, "unit_amount")
        yield _with(world.body(), 0, "line_items", 0, "quantity")
        yield _with(world.body(), world.currency.lower(), *_PRICE, "currency")
        mixed = world.body(world.line(), world.line())
        yield _with(mixed, world.second_currency, "line_items", 1, "price_data", "currency")
        yield {**world.body(), "line_items": []}
        yield _with(world.body(), "javascript:alert(1)", "return_url")
        yield _with(world.body(), None, "cancel_url")
        yield _with(world.body(), "n" * 251, *_PRODUCT, "name")
        yield world.body(world.line(0, 1))
        yield world.body(*(world.line(99_999_999, 9_999 - n, name=f"No. {n}") for n in range(4)))

    _send_each(world, bodies())


@scenario("CRE-2", "CRE-16", "CRE-18", "HTTP-3", "HTTP-5", stage=Stage.DEPTH, requests=42)
def what_is_missing_or_of_another_type(world: World) -> None:
    """Leave out what is required, and give what has another type, null included."""

    def bodies() -> Iterator[Json]:
        for name in ("line_items", "success_url", "return_url"):
            yield _without(world.body(), name)
        for path in _LINE_FIELDS:
            yield _without(world.body(), *path)
        for name in ("line_items", "success_url", "return_url"):
            yield _without(world.body(world.line(0, 1)), name)
        # A second line that is wrong: a checker of the first only would miss it.
        yield _without(world.body(world.line(), world.line()), "line_items", 1, "quantity")
        for name in ("line_items", *_URLS, "expires_at"):
            yield _with(world.body(), None, name)
        for path in (*_LINE_FIELDS, (*_PRODUCT, "description"), ("line_items", 0)):
            yield _with(world.body(), None, *path)
        odd: tuple[tuple[Json, tuple[str | int, ...]], ...] = (
            ({"0": world.line()}, ("line_items",)),
            (world.line(), ("line_items",)),
            ("one", ("line_items",)),
            (5, ("line_items", 0)),
            ("x", _PRICE),
            ([], _PRODUCT),
            (5, (*_PRODUCT, "name")),
            (["a"], (*_PRODUCT, "description")),
            (5, ("success_url",)),
            (["https://shop.example/"], ("return_url",)),
            (["https://shop.example/"], ("success_url",)),
            (["https://shop.example/"], ("cancel_url",)),
            (5, ("line_items",)),
            (True, ("line_items",)),
            (5, _PRICE),
            (5, _PRODUCT),
            (True, ("cancel_url",)),
            ("soon", ("expires_at",)),
            ("2030-01-01T00:00:00Z", ("expires_at",)),
            (True, ("expires_at",)),
            (1.5, ("expires_at",)),
            # What counts as nothing in many a language.
            (False, (*_PRODUCT, "description")),
            (0, (*_PRODUCT, "description")),
            (False, ("cancel_url",)),
            (0, ("cancel_url",)),
            ([], ("cancel_url",)),
            (False, ("expires_at",)),
            ("", ("expires_at",)),
            ({}, ("line_items", 0)),
            (False, ("success_url",)),
        )
        for value, path in odd:
            yield _with(world.body(), value, *path)
        if (moment := now(world)) is not None:
            yield _with(world.body(), str(moment + 7_200), "expires_at")
            yield _with(world.body(), f"{datetime.fromtimestamp(moment + 7_200, UTC):%Y-%m-%dT%H:%M:%SZ}", "expires_at")
            yield _with(world.body(), moment + 7_200.5, "expires_at")
        yield []
        yield [world.body()]
        yield None
        yield "text"

    _send_each(world, (json.dumps(body).encode() for body in bodies()))


@scenario("CRE-11", "CRE-12", "CRE-13", "CRE-14", "HTTP-3", "HTTP-5", "HTTP-6", stage=Stage.DEPTH, requests=42)
def what_money_cannot_be(world: World) -> None:
    """Ask for amounts, quantities, currencies and numbers of lines that are refused."""

    def bodies() -> Iterator[Json]:
        amounts: tuple[Json, ...] = (
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
        quantities: tuple[Json, ...] = (
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
        for value in amounts:
            yield _with(world.body(), value, *_PRICE, "unit_amount")
        for value in quantities:
            yield _with(world.body(), value, "line_items", 0, "quantity")
        yield world.body(world.line(), world.line(-1, 1))
        yield world.body(world.line(), world.line(100, 0))
        # What costs nothing is held to the same.
        for quantity in (-1, 0, 1.5, "1", oracle.QUANTITY_MOST + 1):
            yield world.body(world.line(0, quantity))
        # Whether these are integers is open; if they are taken, they must come back as ones.
        yield _with(world.body(), 2.0, "line_items", 0, "quantity")
        yield _with(world.body(), 1250.0, *_PRICE, "unit_amount")
        codes: tuple[Json, ...] = (
            "DEM",
            "BTC",
            "HRK",
            world.currency.lower(),
            world.currency.title(),
            "ZZZ",
            f"{world.currency[:-1]}\u017f",
            f"\u017f{world.currency[1:]}",
            "".join(chr(ord(letter) + 0xFEE0) for letter in world.currency),
            "XX",
            "",
            "DOLLARS",
            "$",
            f"{world.currency} ",
            702,
            [world.currency],
        )
        for code in codes:
            yield _with(world.body(), code, *_PRICE, "currency")
        mixed = world.body(world.line(), world.line())
        yield _with(mixed, world.second_currency, "line_items", 1, "price_data", "currency")
        three = world.body(world.line(), world.line(), world.line())
        yield _with(three, world.second_currency, "line_items", 2, "price_data", "currency")
        gift = world.body(world.line(), world.line(0, 1))
        yield _with(gift, world.second_currency, "line_items", 1, "price_data", "currency")
        between = world.body(world.line(), world.line(), world.line())
        yield _with(between, world.second_currency, "line_items", 1, "price_data", "currency")
        many = world.body(*(world.line(1, 1) for _ in range(oracle.LINES_MOST)))
        yield _with(many, world.second_currency, "line_items", oracle.LINES_MOST - 1, "price_data", "currency")
        yield {**world.body(), "line_items": []}
        yield world.body(*(world.line(1, 1) for _ in range(oracle.LINES_MOST + 1)))

    _send_each(world, bodies())


@scenario("CRE-15", "CRE-19", "HTTP-3", "HTTP-5", stage=Stage.DEPTH, requests=48)
def what_texts_and_urls_cannot_be(world: World) -> None:
    """Send URLs that are no absolute http(s) ones, and texts that are empty or too long."""

    def bodies() -> Iterator[Json]:
        for name in _URLS:
            for url in (
                "",
                "/thanks",
                "shop.example/thanks",
                "javascript:alert(1)",
                "ftp://shop.example/x",
                "https://",
                "https:/shop.example/thanks",
            ):
                yield _with(world.body(), url, name)
            yield _with(world.body(), _long_url(oracle.URL_MOST + 1, world), name)
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
            for name in _URLS:
                yield _with(world.body(), url, name)
        for value, name in (("", "name"), ("n" * 251, "name"), ("", "description"), ("d" * 1001, "description")):
            yield _with(world.body(), value, *_PRODUCT, name)
        yield _with(world.body(), "漢" * 251, *_PRODUCT, "name")
        yield _with(world.body(), "e\u0301" * 126, *_PRODUCT, "name")
        yield _with(world.body(), "n" * 250 + " ", *_PRODUCT, "name")
        yield _with(
            world.body(world.line(), world.line()), "n" * 251, "line_items", 1, "price_data", "product_data", "name"
        )

    _send_each(world, bodies())


@scenario(
    *("CRE-2", "CRE-7", "CRE-11", "CRE-12", "CRE-13", "CRE-15", "CRE-16", "CRE-18", "CRE-19", "HTTP-3", "HTTP-5"),
    stage=Stage.DEPTH,
    requests=60,
)
def the_same_in_a_full_basket(world: World) -> None:
    """Send what is refused once more among everything that may be there: in the last of twelve lines, with all URLs."""
    moment = now(world)
    if moment is None:
        return

    def full() -> dict[str, Json]:
        lines = [world.line(100 + n, 1 + n, name=f"No. {n}", description=f"Dish {n}") for n in range(12)]
        return world.body(*lines, cancel_url="https://shop.example/basket", expires_at=moment + 7_200)

    last = ("line_items", 11)
    price, product = (*last, "price_data"), (*last, "price_data", "product_data")

    def bodies() -> Iterator[Json]:
        yield full()
        for name in ("line_items", "success_url", "return_url"):
            yield _without(full(), name)
        for name in (*_URLS, "expires_at"):
            yield _with(full(), None, name)
        for name in _URLS:
            for url in ("/thanks", "javascript:alert(1)", ""):
                yield _with(full(), url, name)
        for expires_at in (moment, moment + 1_700, moment + 86_500, str(moment + 7_200)):
            yield _with(full(), expires_at, "expires_at")
        yield world.body(world.line(0, 1), expires_at=moment + 1_700)
        yield world.body(world.line(0, 1), expires_at=moment + 86_500)
        for path in (price, (*price, "currency"), (*price, "unit_amount"), product, (*product, "name")):
            yield _without(full(), *path)
        yield _without(full(), *last, "quantity")
        for where in (last, price, (*price, "unit_amount"), (*product, "description"), (*last, "quantity")):
            yield _with(full(), None, *where)
        for amount in ("100", 100.5, True, -1, oracle.UNIT_AMOUNT_MOST + 1):
            yield _with(full(), amount, *price, "unit_amount")
        for quantity in ("1", 1.5, True, 0, -1, oracle.QUANTITY_MOST + 1):
            yield _with(full(), quantity, *last, "quantity")
        for code in (world.currency.lower(), "DEM", "ZZZ", world.second_currency):
            yield _with(full(), code, *price, "currency")
        for value, name in (("", "name"), ("n" * 251, "name"), ("", "description"), ("d" * 1001, "description")):
            yield _with(full(), value, *product, name)

    _send_each(world, (json.dumps(body).encode() for body in bodies()))


def _long_url(length: int, world: World) -> str:
    start = f"https://shop.example/{world.mark()}/"
    return start + "x" * (length - len(start))


# ── create: what is accepted, at its limits ─────────────────────────────────────────────────────────────────────────


@scenario(
    *_CREATED,
    "CRE-11",
    "CRE-14",
    "CRE-15",
    "CRE-16",
    "CRE-17",
    "CRE-19",
    "AMT-6",
    "AMT-7",
    "RET-1",
    "LIS-14",
    stage=Stage.DEPTH,
    requests=38,
)
def at_the_limits(world: World) -> None:
    """Open sessions whose every value is just allowed, and read the exact amounts back."""
    line = world.line
    lines = [[line(0, 1)], [line(oracle.UNIT_AMOUNT_MOST, 1)], [line(1, oracle.QUANTITY_MOST)], [line(7, 1)]]
    # Amounts that suffer where money passes through a float, or through its decimal form.
    cents = [
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
        99_999_999,
    ]
    lines.append([line(amount, quantity, name=f"Item {amount}") for quantity, amount in enumerate(cents, 1)])
    lines.append([line(oracle.UNIT_AMOUNT_MOST, oracle.QUANTITY_MOST)])
    lines.append(
        [line(oracle.UNIT_AMOUNT_MOST, oracle.QUANTITY_MOST - n, name=f"No. {n}") for n in range(oracle.LINES_MOST)]
    )
    largest = line(oracle.UNIT_AMOUNT_MOST, oracle.QUANTITY_MOST)
    odd = line(oracle.UNIT_AMOUNT_MOST, oracle.QUANTITY_MOST - 1)
    lines += [[largest] * oracle.LINES_MOST, [odd] * (oracle.LINES_MOST - 1), [odd] * 3]
    lines += [[line(100, 1), line(250, 1)], [line(100, 1), line(250, 2)]]
    lines.append([line(0, 3), line(5, 1), line(0, 1)])
    lines.append([line(0, 3), line(0, 1)])
    lines.append([line(300, n, name=name) for n, name in enumerate(("b", "a", "b", "c", "a"), 1)])
    lines.append([line(250, 2, name="Same"), line(250, 2, name="Same"), line(250, 2, name="Same")])
    opened = [world.open(*some) for some in lines]
    for exchange in (opened[0], opened[4], opened[6], opened[8]):
        retrieve(world, exchange)
    world.account.list(limit=len(opened))
    for code in (world.second_currency, *_FOREIGN):
        # The account may not charge these; where it may, they must come back.
        foreign = world.body(line(1253, 3), line(99, 1))
        for one in foreign["line_items"]:
            one["price_data"]["currency"] = code
        world.account.create(foreign)
    texts: list[dict[str, Json]] = [
        {"name": "n"},
        {"name": "n" * 250},
        {"name": "🍜" * 250},
        {"name": "Toast", "description": "d"},
        {"name": "Toast", "description": "d" * 1000},
        {"name": "Toast", "description": "🍜" * 1000},
        {
            "name": "Café ﬁ e\u0301 \u200b\u05e9\u05dc\u05d5\u05dd",
            "description": 'Two  blanks, a "quote", a \\ and %s {0} ${x} <b>&amp;</b>',
        },
        {"name": " Toast ", "description": "  cafe\u0301, blanks around, and a \u212b  "},
        {"name": "  Cafe\u0301 \u00a0"},
        {"name": "it's 100%20 a+b &amp; c"},
        {"name": "Caf\u00e9 \ufb01 e\u0301 \u200b\u05e9\u05dc\u05d5\u05dd"},
        {"name": "Set", "description": "two\nlines, \ttab, it's 100%20 a+b \u200b\u00ad\ufeff."},
        {"name": "Set", "description": "two\r\nlines"},
        {"name": "<b>bold</b>"},
        *({"name": "Set", "description": word} for word in ("null", "undefined", "None", "0", "false", "NaN")),
        *({"name": word} for word in ("null", "undefined", "0")),
    ]
    for text in texts:
        retrieve(world, world.open(line(**text)))
    world.account.list(limit=len(texts))
    world.open(line(), line(name=" last ", description="  of two  "))
    world.open(line(name="first"), line(name=" last "))
    # The same JSON, written in another way.
    plain = json.dumps(world.body()).encode()
    world.account.create(b" \r\n\t" + plain + b"\n")
    world.account.create(json.dumps(world.body()).encode().replace(b"Kaya", b"\\u004bay\\u0061"))
    world.account.create(json.dumps(world.body(), indent=2).encode())
    # Of a repeated key the last one counts.
    doubled = json.dumps(world.body())
    world.account.create(b'{"success_url": "x", ' + doubled[1:].encode())
    urls = [
        ("success_url", _long_url(oracle.URL_MOST, world)),
        ("return_url", _long_url(oracle.URL_MOST, world)),
        ("cancel_url", _long_url(oracle.URL_MOST, world)),
        ("success_url", f"HTTPS://Shop.Example:443/{world.mark()}/a/../b//c/?x=1&x=2&y=%2f%7e+%20&z=#frag-ment"),
        ("return_url", "http://shop.example"),
        ("return_url", "https://shop.example?order={CHECKOUT_SESSION_ID}&q='()*!~;,@$|^`\""),
        ("return_url", "http://localhost:3000/return/"),
        ("return_url", "http://127.0.0.1:8080/#/spa/route?x=1"),
        ("cancel_url", "https://a.b-c.example/%E6%BC%A2?next=https%3A%2F%2Fx"),
        ("success_url", f"https://shop.example/{world.mark()}?"),
        ("success_url", f"https://shop.example/{world.mark()}?id={{CHECKOUT_SESSION_ID}}&order={{order}}"),
        ("return_url", "https://shop.example/return?a=&b&"),
        ("return_url", "https://shop.example/%7Ekopi/%2E%2D%5F?x=%41"),
        ("success_url", f"https://shop.example/{world.mark()}/%7Ekopi/"),
        *((name, f"https://shop.example/{world.mark()}?z=1&a=b+c&a=%2B&m") for name in _URLS),
        ("return_url", "https://shop.example/return#"),
    ]
    same = "https://shop.example/basket"
    world.account.create({**world.body(), "return_url": same, "cancel_url": same})
    world.account.create({**world.body(), "success_url": same, "return_url": same, "cancel_url": same})
    for name, url in urls:
        sent = world.account.create({**world.body(), name: url})
        if name != "cancel_url":
            retrieve(world, sent)


@scenario("CRE-1", "HTTP-5", stage=Stage.DEPTH, requests=6)
def what_no_document_names(world: World) -> None:
    """Send fields that the API does not have, in each object of a create: they are ignored or refused."""

    def bodies() -> Iterator[Json]:
        yield {**world.body(), "metadata": {"order": "1"}}
        for path in (("line_items", 0), _PRICE, _PRODUCT):
            yield _with(world.body(), "red", *path, "colour")

    _send_each(world, bodies())


@scenario("CRE-5", "CRE-6", "CRE-7", "CRE-4", "HTTP-5", requests=24)
def when_it_expires(world: World) -> None:
    """Ask for deadlines on both sides of each bound, and in between."""
    for life in (1_799, 1_800, 1_801, 7_200, 86_399, 86_400, 86_401):
        # Without a clock that stands still a second may pass in between: then the bound is tried again.
        for _ in range(1 if world.can(CLOCK) else 3):
            moment = now(world)
            if moment is None:
                return
            sent = world.open(expires_at=moment + life)
            after = moment if world.can(CLOCK) else world.open().object.get("created")
            if after == moment or life not in {1_800, 86_401}:
                break
        if life == 7_200:
            retrieve(world, sent)
    moment = now(world) or 2_000_000_000
    for expires_at in (0, -1, moment - 1, moment, moment + 60, moment + 10 * 86_400, (moment + 7_200) * 1_000, 10**18):
        world.open(expires_at=expires_at)
    world.open(expires_at=moment + 7_200, cancel_url="https://shop.example/basket")
    world.open(world.line(0, 1), expires_at=moment + 7_200)
    world.open()
    world.account.list(limit=25)


# ── idempotency ─────────────────────────────────────────────────────────────────────────────────────────────────────


@scenario("CRE-10", "IDM-1", "IDM-2", "IDM-3", "IDM-5", "IDM-8", "IDM-9", "EXP-2", "HTTP-5", "EVT-5", requests=58)
def keys_that_come_again(world: World) -> None:
    """Repeat requests with the same key, with a similar one, after a refusal, and for something else."""
    account = world.account
    key = world.key("-Case")
    body = world.body(cancel_url="https://shop.example/basket")
    first = account.create(body, key=key)
    account.create(body, key=key)
    turned = json.dumps(dict(reversed(body.items())), indent=1).encode()
    account.create(turned, key=key)
    alike = (key.lower(), key.upper(), key.replace("-", "_"), key.replace("-", ""))
    for similar in (*alike, key + "0", key[:-1]):
        account.create(world.body(), key=similar)
    account.create(body, key="x" + key)  # the same basket once more, and a request of its own
    stem = world.key("-") + "k" * 300
    for long in (stem[:255], stem[:254] + "#", stem[:128], stem[:64]):
        account.create(world.body(), key=long)
    refused = world.body()
    account.create(refused, key=stem[:256])
    account.create(world.body(), key=stem[:300])
    account.create(world.body(), key=stem[:255])
    long_body = world.body()
    other_long = world.key("-").ljust(255, "z")
    account.create(long_body, key=other_long)
    account.create(long_body, key=other_long)
    # The same key for another body, another operation, another session.
    account.create(world.body(world.line(999, 1)), key=key)
    bystander = id_of(world.open())
    if bystander is not None:
        account.expire(bystander, key=key)
        account.retrieve(bystander)
    account.list(limit=25)
    # After the session changed, the first answer is still the answer.
    if (first_id := id_of(first)) is not None:
        end = world.key()
        account.expire(first_id, key=end)
        account.create(body, key=key)
        account.expire(first_id, key=end)
        account.retrieve(first_id)
        account.expire(first_id, key=end)
        account.expire(first_id)
        account.expire(first_id, key=world.key())
        if bystander is not None:
            account.expire(bystander, key=end)
            account.retrieve(bystander)
            account.create(world.body(), key=end)
    # A refusal does not use a key up.
    again = world.key()
    wrong = world.body()
    account.create(_with(wrong, 0, "line_items", 0, "quantity"), key=again)
    account.create(_with(wrong, "javascript:x", "return_url"), key=again)
    account.create({**wrong, "expires_at": 4_000_000_000}, key=again)
    right = account.create(wrong, key=again)
    account.create(wrong, key=again)
    if (right_id := id_of(right)) is not None and first_id is not None:
        last = world.key()
        account.expire(first_id, key=last)
        account.expire(_UNKNOWN_ID, key=last)
        account.retrieve(right_id)
        account.expire(right_id, key="x" * 30 + stem[:226])
        account.retrieve(right_id)
        account.expire(right_id, key=last)
        account.retrieve(right_id)
        account.expire(right_id, key=last)
    # Without a key nothing is ever the same request.
    plain = world.body()
    account.create(plain)
    account.create(plain)
    account.list(limit=15)
    if world.can(EVENTS):
        account.events()


def _baskets(world: World) -> Iterator[Json]:
    """Bodies of every kind that may be repeated."""
    yield world.body(world.line(), world.line(99, 3), world.line(1, 1))
    yield world.body(world.line(0, 1))
    if (moment := now(world)) is not None:
        yield world.body(expires_at=moment + 3_600)


@scenario("IDM-1", "IDM-2", "IDM-3", "IDM-8", stage=Stage.DEPTH, requests=22)
def keys_of_every_kind(world: World) -> None:
    """Repeat baskets of every kind, with keys that differ in what a parser might cut, and after other refusals."""
    account, key = world.account, world.key("-Case")
    for body in _baskets(world):
        own = world.key()
        account.create(body, key=own)
        account.create(body, key=own)
    body = world.body()
    account.create(body, key=key)
    account.create(body, key=key, credentials=Credentials.BEARER)
    cut = (f"{key}{separator}{n}" for separator in ",.;" for n in (1, 2))
    number = f"{world.nonce}000"
    alike = (f'"{key}"', key.replace("-", "%2D"), key.replace("-", "+"), f"{key}-retry", f"{key}_2")
    for similar in (*alike, *cut, number, f"0{number}", f"{number}.0"):
        account.create(world.body(), key=similar)
    # What became of the session does not free its key.
    used = world.key()
    if (used_id := id_of(world.open(key=used))) is not None:
        account.expire(used_id)
        account.create(world.body(world.line(999, 1)), key=used)
    free, end = id_of(world.open(world.line(0, 1))), world.key()
    if free is not None:
        account.expire(free, key=end)
        account.expire(free, key=end)
    account.create(_without(world.body(), "success_url"), key=world.key())
    again, right = world.key(), world.body()
    account.create(json.dumps(right).encode(), key=again, headers=(("Content-Type", "text/plain"),))
    account.create(b"{", key=again)
    account.create(right, key=again)
    if (long_id := id_of(world.open())) is not None:
        account.expire(long_id, key=world.key("-").ljust(255, "e"))
    account.list(limit=25)


# ── how it ends ─────────────────────────────────────────────────────────────────────────────────────────────────────


@scenario("EXP-1", "EXP-2", "EXP-8", "RET-1", "RET-3", "RET-4", "LIS-8", "LIS-14", "HTTP-5", "HTTP-6", requests=30)
def expiring(world: World) -> None:
    """Expire sessions early, twice, with a body that nobody reads, and look at them afterwards."""
    account = world.account
    moment = now(world)
    plain = world.open()
    timed = world.open(expires_at=moment + 3_600) if moment is not None else world.open()
    for opened in (plain, timed):
        if (session_id := id_of(opened)) is not None:
            account.retrieve(session_id)
            account.expire(session_id)
            account.retrieve(session_id)
            account.expire(session_id)
            account.retrieve(session_id)
            account.retrieve(session_id)
    account.list(limit=2)
    odd = id_of(world.open())
    if odd is not None:
        account.expire(odd, body={"status": "complete"})
        account.retrieve(odd)
    for content, media_type in ((b"now, please", "text/plain"), (b"", "application/x-www-form-urlencoded"), (b"{", "")):
        if (session_id := id_of(world.open())) is not None:
            account.expire(session_id, body=content, headers=(("Content-Type", media_type),))
    account.list(status="expired", limit=3)
    account.list(status="open", limit=3)


@scenario(
    "PAY-1", "PAY-2", "PAY-3", "EXP-3", "EXP-5", "AMT-6", "RET-3", "RET-4", "LIS-8", "LIS-14", needs=(PAY,), requests=38
)
def paying(world: World) -> None:
    """Pay, pay again, fail, cancel, pay what is expired, expire what is paid, and pay nothing."""
    account = world.account

    def then(session_id: str, *acts: str) -> None:
        for act in acts:
            if act == "expire":
                account.expire(session_id)
            else:
                account.pay(session_id, act)
            account.retrieve(session_id)

    for acts in (
        ("succeeded", "succeeded", "expire", "failed"),
        ("failed", "canceled", "failed", "succeeded"),
        ("canceled", "expire", "succeeded", "failed"),
    ):
        session_id = id_of(world.open(cancel_url="https://shop.example/basket"))
        if session_id is not None:
            account.retrieve(session_id)
            then(session_id, *acts)
    free = id_of(world.open(world.line(0, 4)))
    if free is not None:
        then(free, "failed", "succeeded", "succeeded", "expire")
    also_free = id_of(world.open(world.line(0, 1)))
    if also_free is not None:
        then(also_free, "expire", "expire", "succeeded")
    account.list(limit=6)
    for status in ("complete", "expired", "open"):
        account.list(status=status, limit=4)


@scenario("EVT-1", "EVT-2", "EVT-3", "EVT-4", "EVT-5", "EVT-8", needs=(EVENTS, PAY), requests=22)
def events(world: World) -> None:
    """End sessions in every way, refuse to end others, and read what events that made."""
    account = world.account
    paid, failed, expired, keyed = (id_of(world.open()) for _ in range(4))
    if None not in {paid, failed, expired, keyed}:
        if world.can(CLOCK):
            account.advance(90)
        account.pay(str(paid))
        account.pay(str(paid))
        account.pay(str(failed), "failed")
        account.pay(str(failed), "canceled")
        account.expire(str(expired))
        account.expire(str(expired))
        account.expire(str(paid))
        key = world.key()
        account.expire(str(keyed), key=key)
        account.expire(str(keyed), key=key)
        account.retrieve(str(paid))
        account.retrieve(str(keyed))
        free = id_of(world.open(world.line(0, 1)))
        if free is not None:
            account.pay(free)
    account.events()
    if world.other is not None:
        theirs = id_of(world.open(account=world.other))
        if theirs is not None:
            world.other.expire(theirs)
            world.other.events()


@scenario(
    *("EVT-1", "EVT-2", "EVT-3", "EVT-4", "EVT-5", "EXP-5", "RET-3"),
    needs=(EVENTS, PAY),
    stage=Stage.DEPTH,
    requests=31,
)
def further_events(world: World) -> None:
    """End sessions that are free, long, tried before, or opened with a key, and read what events that made."""
    account = world.account
    # Many lines are told as well; the key that is told is that of the request that ended the session.
    free = id_of(world.open(world.line(0, 1)))
    if free is not None:
        account.expire(free)
    long = id_of(world.open(*(world.line(100 + n, 1, name=f"No. {n}") for n in range(26)), key=world.key()))
    if long is not None:
        account.expire(long, key=world.key("-MiXed.Case"))
        account.retrieve(long)
    # What failed before it expired is over as well.
    tried = id_of(world.open())
    if tried is not None:
        account.pay(tried, "failed")
        account.expire(tried)
        account.pay(tried)
        account.retrieve(tried)
    # However often it is looked at, nothing becomes of it.
    watched = id_of(world.open())
    for _ in range(12 if watched is not None else 0):
        account.retrieve(str(watched))
    made_with_key = id_of(world.open(key=world.key()))
    if made_with_key is not None:
        account.expire(made_with_key)
    paid_with_key = id_of(world.open(key=world.key()))
    if paid_with_key is not None:
        account.pay(paid_with_key)
    account.events()


# ── the list ────────────────────────────────────────────────────────────────────────────────────────────────────────

_LIST: Final = tuple(f"LIS-{number}" for number in range(1, 15))


def _end(world: World, opened: Exchange, how: str) -> None:
    session_id = id_of(opened)
    if session_id is None or how == "open":
        return
    if how == "complete" and world.can(PAY):
        world.account.pay(session_id)
    elif how == "expired":
        world.account.expire(session_id)


def _walk(
    world: World,
    query: Mapping[str, str | int],
    *,
    backwards_from: str | None = None,
    between: Callable[[], object] | None = None,
) -> None:
    """Follow the pages until one says that there is no more, at most 40."""
    name, end = ("ending_before", 0) if backwards_from else ("starting_after", -1)
    page = world.account.list(**query, **({name: backwards_from} if backwards_from else {}))
    for _ in range(40):
        entries = entries_of(page)
        if page.object.get("has_more") is not True or not entries:
            return
        if between is not None:
            between()
        page = world.account.list(**query, **{name: str(entries[end].get("id"))})


@scenario(*_LIST, "EXP-1", requests=95)
def lists(world: World) -> None:
    """Open nine sessions in three seconds, end some, and page, filter and walk over them in every way."""
    account = world.account
    opened: list[Exchange] = []
    for group in range(3):
        if world.can(CLOCK):
            account.advance((1, 2, 5)[group])
        elif group:
            time.sleep(1.05)  # a target whose clock nobody can move: its seconds have to pass
        for place in range(3):
            exchange = world.open(world.line(100 * group + place, 1 + place))
            opened.append(exchange)
            _end(world, exchange, ("open", "complete", "expired")[(group + place) % 3])
    ids = [session_id for session_id in (id_of(exchange) for exchange in opened) if session_id is not None]
    times = [exchange.object.get("created") for exchange in opened]
    if len(ids) < 9 or not all(is_integer(moment) for moment in times):
        return
    start, middle, last = int(times[0] or 0), int(times[4] or 0), int(times[8] or 0)
    newest, oldest = ids[8], ids[0]
    account.list()
    for count in (1, 2, 9, 100):
        account.list(limit=count)
    for odd in ("0", "-1", "101", "1000", "abc", "1.5", ""):
        account.list(limit=odd)
    for cursor, limit in ((newest, 1), (newest, 3), (ids[4], 2), (ids[3], 3), (oldest, 5)):
        account.list(starting_after=cursor, limit=limit)
    for cursor, limit in (
        (newest, 3),
        (ids[7], 1),
        (ids[6], 1),
        (ids[6], 2),
        (ids[6], 3),
        (ids[4], 2),
        (oldest, 3),
        (oldest, 8),
        (oldest, 7),
    ):
        account.list(ending_before=cursor, limit=limit)
    account.list(starting_after=ids[5])
    account.list(ending_before=ids[2])
    for status in ("open", "complete", "expired"):
        account.list(status=status)
        account.list(status=status, limit=2)
    for bound in ("gt", "gte", "lt", "lte"):
        account.list(**{f"created_{bound}": middle})
    account.list(created_gte=start, created_lte=last, limit=9)
    account.list(created_gte=start, created_lte=last, limit=8)
    account.list(created_gt=start, created_lt=last, limit=100)
    account.list(created_gte=middle, created_lte=middle, limit=3)
    account.list(created_gte=middle, created_lte=middle, limit=2)
    account.list(created_gt=middle, created_lt=middle)
    account.list(created_lte=0)
    account.list(created_gte=0, limit=3)
    account.list(status="paid")
    account.list(created_gt=last + 100_000)
    account.list(created_gte=last + 100_000, status="open")
    # Filters and cursors together; some cursors are sessions that the filter leaves out.
    window = {"created_gte": start, "created_lte": last}
    for status, cursor in (("open", ids[7]), ("open", ids[8]), ("complete", ids[6]), ("expired", ids[4])):
        if status == "complete" and not world.can(PAY):
            continue
        account.list(status=status, starting_after=cursor, limit=1, **window)
        account.list(status=status, ending_before=ids[1], limit=1, **window)
        account.list(status=status, ending_before=ids[1], limit=2, **window)
    account.list(created_gte=middle, starting_after=newest, limit=5)
    account.list(created_gte=middle, starting_after=ids[3], limit=5)
    account.list(created_lt=middle, starting_after=newest, limit=2)
    account.list(created_lte=middle, ending_before=oldest, limit=4)
    account.list(created_gt=middle, ending_before=oldest, limit=2)
    account.list(status="open", limit=2, created_gte=middle)
    account.list(starting_after=newest, ending_before=oldest)
    for unknown in (_UNKNOWN_ID, oldest + "x", ""):
        account.list(starting_after=unknown)
        account.list(ending_before=unknown)
    account.list(starting_after=_UNKNOWN_ID, status="open")
    for session_id in (ids[8], ids[7], ids[6], ids[4]):
        account.retrieve(session_id)
    account.list(limit=9)
    _walk(world, {"limit": 2, **window})
    _walk(world, {"limit": 3, **window})
    _walk(world, {"limit": 2, **window}, backwards_from=oldest)
    _walk(world, {"limit": 2, "status": "open", **window})


@scenario(
    *("LIS-4", "LIS-5", "LIS-6", "LIS-7", "LIS-8", "LIS-11", "LIS-12", "LIS-13", "LIS-14"),
    stage=Stage.DEPTH,
    requests=25,
)
def an_order_of_their_own(world: World) -> None:
    """List sessions of one second, two of a status, their deadlines in another order, ended out of order and later."""
    account = world.account
    moment = now(world)
    if moment is None:
        return
    opened = [world.open(expires_at=moment + life) for life in (7_200, 3_600, 5_400, 1_900)]
    if world.can(CLOCK):
        account.advance(2)
    world.open()
    account.list(limit=5)
    for exchange in (opened[2], opened[1]):
        _end(world, exchange, "expired")
    page = [str(entry.get("id")) for entry in entries_of(account.list(limit=5))]
    # As many as the page has room for, and one more; and both cursors at once, though they agree.
    for cursor in page[2:4]:
        account.list(ending_before=cursor, limit=2)
    for cursor in page[1:2]:
        account.list(starting_after=cursor, ending_before=cursor)
    account.list(starting_after=_UNKNOWN_ID, created_gte=moment)
    account.list(ending_before=_UNKNOWN_ID, created_lte=moment, status="expired")
    retrieve(world, opened[0])
    account.list(limit=5)
    account.list(created_gt=moment, created_lte=moment + 2, limit=9)
    account.list(created_gte=moment, created_lt=moment + 2, limit=9)
    account.list(created_gt=moment - 1, created_lt=moment + 1, limit=9)
    # Two bounds on one side: the narrower one counts, whichever it is.
    account.list(created_gt=moment - 5, created_gte=moment + 2, limit=9)
    account.list(created_gt=moment, created_gte=moment - 5, limit=9)
    account.list(created_gte=moment, created_lt=moment + 9, created_lte=moment, limit=9)
    account.list(created_gte=moment, created_lt=moment + 1, created_lte=moment + 9, limit=9)
    window = {"created_gte": moment, "created_lte": moment}
    account.list(limit=4, **window)
    for status in ("open", "expired"):
        account.list(status=status, **window)
    if (tied := id_of(opened[3])) is not None:
        account.list(status="open", starting_after=tied, limit=1, **window)
    _walk(world, {"limit": 2, "created_gte": moment}, between=world.open)


@scenario("LIS-2", "LIS-3", "LIS-7", "LIS-11", "LIS-4", "CON-2", stage=Stage.DEPTH, requests=130)
def a_long_list(world: World) -> None:
    """Have more than a hundred sessions, and ask for pages of 99, 100 and 101."""
    account = world.account
    if world.can(CLOCK) and is_integer(moment := account.advance(3).object.get("now")):
        # Exactly so many match: a full page with nothing behind it.
        for count in (99, 100, 101):
            for _ in range(99 if count == 99 else 1):
                world.open(world.line(1, 1))
            for limit in (99, 100):
                account.list(limit=limit, created_gte=moment)
    else:
        page = account.list(limit=100)
        have = len(entries_of(page))
        for _ in range(max(0, 102 - have) if page.object.get("has_more") is not True else 2):
            world.open(world.line(1, 1))
    for limit in (99, 100, 101):
        account.list(limit=limit)
    account.list()
    if len(page_of_fifty := entries_of(account.list(limit=50))) > oracle.LIMIT_DEFAULT:
        account.list(ending_before=str(page_of_fifty[-1].get("id")))
        account.list(ending_before=str(page_of_fifty[oracle.LIMIT_DEFAULT].get("id")))
    _walk(world, {"limit": 100})
    _walk(world, {"limit": 50})


DRIVERS: Final = tuple(_entered)
