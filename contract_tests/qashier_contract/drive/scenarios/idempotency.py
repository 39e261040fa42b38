"""Idempotency keys that come again (IDM)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from qashier_contract import oracle
from qashier_contract.drive import Opened, RunContext, Stage, driver
from qashier_contract.drive.scenarios.scenario import UNKNOWN_ID, altered, now, of_two_currencies, without
from qashier_contract.history import SESSIONS_PATH, Capability, Credentials
from qashier_contract.target import Account
from qashier_contract.values import Json

_SIGNS: Final = "".join(sign for sign in map(chr, range(33, 127)) if not sign.isalnum())
"""Every sign of printable ASCII."""


@driver("Repeat requests with the same key, with a similar one, after a refusal, and for something else.", requests=66)
def keys_that_come_again(context: RunContext) -> None:
    account = context.account
    key = context.key("-Case")
    body = context.body(cancel_url="https://shop.example/basket")
    first = Opened(account, account.create(body, key=key))
    account.create(body, key=key)
    turned = json.dumps(dict(reversed(body.items())), indent=1).encode()
    account.create(turned, key=key)
    alike = (key.lower(), key.upper(), key.replace("-", "_"), key.replace("-", ""))
    for similar in (*alike, key + "0", key[:-1]):
        account.create(context.body(), key=similar)
    account.create(body, key="x" + key)  # the same basket once more, and a request of its own
    stem = context.key("-") + "k" * 300
    for long in (stem[:255], stem[:254] + "#", stem[:128], stem[:64]):
        account.create(context.body(), key=long)
    refused = context.body()
    account.create(refused, key=stem[:256])
    account.create(context.body(), key=stem[:300])
    account.create(context.body(), key=stem[:255])
    long_body = context.body()
    other_long = context.key("-").ljust(255, "z")
    account.create(long_body, key=other_long)
    account.create(long_body, key=other_long)
    # The same key for another body, another operation, another session.
    account.create(context.body(context.line(999, 1)), key=key)
    bystander = context.open()
    bystander.expire(key=key)
    bystander.retrieve()
    account.list(limit=25)
    # After the session changed, the first answer is still the answer.
    if first:
        _look_with_a_key(context, first)
        end = context.key()
        first.expire(key=end)
        _look_with_a_key(context, first)
        account.create(body, key=key)
        first.expire(key=end)
        first.retrieve()
        first.expire(key=end)
        first.expire()
        first.expire(key=context.key())
        if bystander:
            bystander.expire(key=end)
            bystander.retrieve()
            account.create(context.body(), key=end)
    _after_refusals(context, first, stem)
    # Without a key nothing is ever the same request.
    plain = context.body()
    account.create(plain)
    account.create(plain)
    account.list(limit=15)
    if context.can(Capability.EVENTS):
        account.events()


def _look_with_a_key(context: RunContext, session: Opened) -> None:
    """Retrieve and list with keys, which are always the same: they say nothing where nothing is done."""
    for path, query in ((f"{SESSIONS_PATH}/{session.id}", ""), (SESSIONS_PATH, "limit=25&status=open")):
        key = f"check-{context.nonce}-look-{len(path)}"
        context.target.send("GET", path, query=query, headers=(("Idempotency-Key", key),))


def _after_refusals(context: RunContext, first: Opened, stem: str) -> None:
    """A refusal does not use a key up."""
    account = context.account
    again = context.key()
    wrong = context.body()
    for body in (
        altered(wrong, 0, "line_items", 0, "quantity"),
        altered(wrong, "javascript:x", "return_url"),
        {**wrong, "expires_at": 4_000_000_000},
        {**wrong, "line_items": []},
        without(wrong, "success_url"),
        of_two_currencies(context, context.line(), context.line()),
    ):
        account.create(body, key=again)
    right = Opened(account, account.create(wrong, key=again))
    account.create(wrong, key=again)
    if right and first:
        last = context.key()
        first.expire(key=last)
        account.expire(UNKNOWN_ID, key=last)
        account.create(without(context.body(), "success_url"), key=last)
        right.retrieve()
        right.expire(key="x" * 30 + stem[:226])
        right.retrieve()
        right.expire(key=last)
        right.retrieve()
        right.expire(key=last)
        # Nor does one of another operation.
        free = context.key()
        first.expire(key=free)
        account.expire(UNKNOWN_ID, key=free)
        account.create(context.body(), key=free)


def _baskets(context: RunContext) -> Iterator[Json]:
    """Bodies of every kind that may be repeated."""
    yield context.body(context.line(), context.line(99, 3), context.line(1, 1))
    yield context.body(context.line(0, 1))
    yield context.body(*(context.line(100 + n, 1, name=f"No. {n}") for n in range(oracle.LINES_MOST)))
    if (moment := now(context)) is not None:
        yield context.body(expires_at=moment + 3_600)


def _similar(key: str, number: str) -> Iterator[str]:
    """Keys that are no other's, though a parser might cut them, strip them, or take them for a list or a number."""
    yield from (key.replace("-", "%2D"), key.replace("-", "+"), f"{key}-retry", f"{key}_2")
    yield from (f"{begin}{key}{end}" for begin, end in ('""', "''", "[]", "<>", "{}", "()"))
    yield from (f"{begin}{key}" for begin in (*"=,;:", "W/"))
    yield from (f"{key}{end}" for end in "=,;:.#")
    yield from (f"{key}{separator}{n}" for separator in ",.;" for n in (1, 2))
    # What is cut at any sign is cut here: all stand before what tells the first two apart, and behind in the others.
    yield from (f"{key}1{_SIGNS}{n}" for n in (1, 2))
    yield from (f"{n}{_SIGNS}{key}2" for n in (1, 2))
    yield from (f"{key[:-2]}{sign}{key[-2:]}" for sign in "\\/_+%&@!$*?^|~`")
    yield from (number, f"0{number}", f"{number}.0")


def _shortest(context: RunContext, account: Account) -> None:
    """Keys that some languages take for none. They are nobody's only in an account that is new."""
    account.clock()
    for key in ("0", "false", "null"):
        body = context.body()
        account.create(body, key=key)
        account.create(body, key=key)


@driver(
    "Repeat baskets of every kind, with keys that differ in what a parser might cut, and after other refusals.",
    stage=Stage.DEPTH,
    requests=107,
)
def keys_of_every_kind(context: RunContext) -> None:
    account, key = context.account, context.key("-Case")
    for body in _baskets(context):
        own = context.key()
        account.create(body, key=own)
        account.create(body, key=own)
    body = context.body()
    for _ in range(12):
        account.create(body, key=key)
    account.create(body, key=key, credentials=Credentials.BEARER)
    for similar in _similar(key, f"{context.nonce}000"):
        account.create(context.body(), key=similar)
    account.create(body, key=key)
    if context.keys_are_free:
        _shortest(context, context.made_up_account())
    # What became of the session does not free its key.
    used = context.key()
    if context.open(key=used).expire() is not None:
        account.create(context.body(context.line(999, 1)), key=used)
    settled, body = context.key(), context.body()
    session = Opened(account, account.create(body, key=settled))
    if session and context.can(Capability.PAY):
        session.pay()
        account.create(body, key=settled)
        session.expire(key=context.key())
        session.retrieve()
    free, end = context.open(context.line(0, 1)), context.key()
    for _ in range(12):
        free.expire(key=end)
    account.create(without(context.body(), "success_url"), key=context.key())
    again, right = context.key(), context.body()
    account.create(json.dumps(right).encode(), key=again, headers=(("Content-Type", "text/plain"),))
    account.create(b"{", key=again)
    account.create(right, key=again)
    if long_keyed := context.open():
        long_keyed.expire(key=context.key("-").ljust(255, "e"))
    account.list(limit=25)
