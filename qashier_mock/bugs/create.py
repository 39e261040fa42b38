"""CRE: what a create turns away, answers with, and makes of times, addresses and ids."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from qashier_mock.bugs.changes import (
    CREATE,
    command,
    create_body,
    opened,
    opening,
    page_layer,
    refused_create,
    reply,
    sessions,
    several,
    transaction,
)
from qashier_mock.bugs.parts import Inner, Parts
from qashier_mock.bugs.table import Change, defect, row
from qashier_mock.bugs.traffic import Answer, Request, Respond
from qashier_mock.core.errors import ExpiresAtOutOfRange
from qashier_mock.core.lifecycle import LONGEST_LIFE, SHORTEST_LIFE
from qashier_mock.core.model import CheckoutSession, CreateSession, Status

SHOP = "https://shop.example/"
_PRICE = {"currency": "SGD", "product_data": {"name": "Order"}, "unit_amount": 100}
_EIGHT_HOURS = 8 * 3600


def _created(change: Callable[[int], int]) -> Change:
    """Create at another time; an `expires_at` that was given stays."""

    def shift(session: CheckoutSession, params: CreateSession) -> CheckoutSession:
        created = change(session.created)
        expires_at = created + LONGEST_LIFE if params.expires_at is None else session.expires_at
        return replace(session, created=created, expires_at=expires_at)

    return opened(shift)


def _default_life(seconds: int) -> Change:
    def limit(session: CheckoutSession, params: CreateSession) -> CheckoutSession:
        return session if params.expires_at is not None else replace(session, expires_at=session.created + seconds)

    return opened(limit)


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

    return opening(open_within)


def _kept_urls(change: Callable[[str], str]) -> Change:
    """Keep and show other addresses than those that were sent."""
    return opened(
        lambda session, _params: replace(
            session, success_url=change(session.success_url), return_url=change(session.return_url)
        )
    )


def _normalised(url: str) -> str:
    parsed = urlsplit(url)
    return parsed._replace(netloc=parsed.netloc.lower(), path=parsed.path or "/").geturl()


def _drawn(change: Callable[[str, str], str]) -> Change:
    """Give sessions other ids, from the account and the id that was drawn."""

    async def draw(_parts: Parts, inner: Inner, tx: Any, prefix: str) -> str:
        drawn: str = await inner(tx, prefix)
        return change(tx.account, drawn) if prefix == "cs_test_" else drawn

    return command("draw")(draw)


# fmt: off
row("CRE-1", "idempotency-key-required", "A create without Idempotency-Key is refused.",
    refused_create(lambda _body, key: None if key else ("Idempotency-Key", "Send an Idempotency-Key."),
                   "parameter_missing"))
row("CRE-1", "create-answers-a-stub",
    "A create answers with `id`, `object` and `url` alone; the rest has to be retrieved.",
    reply(CREATE, lambda session: [session.pop(name) for name in session.keys() - {"id", "object", "url"}]))
row("CRE-1", "times-with-fractions", "`created` and `expires_at` of a session are numbers with a fraction.",
    sessions(lambda session: session.update(
        created=session["created"] + 0.25, expires_at=session["expires_at"] + 0.25)))
row("CRE-2", "success-url-optional", "A create without `success_url` is accepted, with the `return_url` in its place.",
    create_body(lambda body: body.setdefault("success_url", body.get("return_url", SHOP))))
row("CRE-2", "return-url-optional", "A create without `return_url` is accepted, with the `success_url` in its place.",
    create_body(lambda body: body.setdefault("return_url", body.get("success_url", SHOP))))
row("CRE-2", "line-items-optional", "A create without `line_items` is accepted, as one for an unnamed item.",
    create_body(lambda body: body.setdefault("line_items", [{"price_data": _PRICE, "quantity": 1}])))
row("CRE-3", "free-session-is-born-complete", "A session with a total of 0 is complete from the start.",
    opened(lambda session, _params: replace(session, status=Status.OPEN if session.amount_total else Status.COMPLETE)))
row("CRE-3", "object-is-session", "`object` of a session is `session`.",
    sessions(lambda session: session.update(object="session")))
row("CRE-3", "mode-is-test", "`mode` of a session is `test`, with a test key.",
    sessions(lambda session: session.update(mode="test")))
row("CRE-4", "created-in-local-time", "`created` is the time of day in Singapore taken for UTC: eight hours ahead.",
    several(_created(lambda created: created + _EIGHT_HOURS),
            transaction("newest")(lambda _parts, inner, _tx: inner() - _EIGHT_HOURS)))
row("CRE-4", "created-to-the-minute", "`created` is rounded down to the minute.",
    _created(lambda created: created // 60 * 60))
row("CRE-5", "default-life-of-23-hours", "Without `expires_at` a session expires after 23 hours.",
    _default_life(23 * 3600))
row("CRE-5", "default-life-a-second-short", "Without `expires_at` a session expires after 86,399 seconds.",
    _default_life(LONGEST_LIFE - 1))
row("CRE-6", "given-expiry-to-the-minute", "A given `expires_at` is rounded down to the minute.",
    opened(lambda session, params: replace(
        session, expires_at=session.expires_at // 60 * 60 if params.expires_at else session.expires_at)))
row("CRE-6", "given-expiry-ignored",
    "A given `expires_at` is checked and then forgotten: every session lives for 24 hours.",
    opened(lambda session, _params: replace(session, expires_at=session.created + LONGEST_LIFE)))
row("CRE-7", "expiry-from-1799", "An `expires_at` 1,799 seconds after creation is accepted.",
    _lives(shortest=SHORTEST_LIFE - 1))
row("CRE-7", "expiry-from-1801",
    "An `expires_at` 1,800 seconds after creation is refused: the bound itself is left out.",
    _lives(shortest=SHORTEST_LIFE + 1))
row("CRE-7", "expiry-until-86401", "An `expires_at` 86,401 seconds after creation is accepted.",
    _lives(longest=LONGEST_LIFE + 1))
row("CRE-7", "expiry-until-86399",
    "An `expires_at` 86,400 seconds after creation is refused: the bound itself is left out.",
    _lives(longest=LONGEST_LIFE - 1))
row("CRE-7", "expiry-in-the-past", "An `expires_at` before now is accepted: only the upper bound is checked.",
    _lives(shortest=-(2**40)))
row("CRE-8", "urls-normalised",
    "The host of `success_url` and `return_url` comes back in lower case, and a bare one with a slash.",
    _kept_urls(_normalised))
row("CRE-8", "url-fragments-cut", "`success_url` and `return_url` come back without their fragment.",
    _kept_urls(lambda url: url.partition("#")[0]))
row("CRE-8", "urls-escaped-for-html", "An ampersand in `success_url` or `return_url` comes back as `&amp;`.",
    sessions(lambda session: session.update(
        {name: session[name].replace("&", "&amp;") for name in ("success_url", "return_url")})))
row("CRE-9", "url-is-a-path", "`url` is a path without scheme and host.",
    opened(lambda session, _params: replace(session, url=f"/pay/{session.id}")))
row("CRE-9", "url-leads-nowhere", "`url` leads to an address that answers 404.",
    opened(lambda session, _params: replace(session, url=session.url.replace("/pay/", "/checkout/pay/"))))
row("CRE-10", "ids-in-plain-base64", "The id of a session may hold `/` and `+`, which a path cannot take as they are.",
    _drawn(lambda _account, drawn: "cs_test_" + b64encode(bytes.fromhex(drawn.removeprefix("cs_test_"))).decode()))
# fmt: on


@defect("CRE-9", page_layer)
async def page_asks_for_a_key(_parts: Parts, asked: Request, respond: Respond) -> Answer:
    """The address of a session answers the customer with 401: the page wants the secret key."""
    if asked.header(b"authorization") is not None:
        return await respond(asked)
    return Answer(401, [(b"content-type", b"text/html"), (b"content-length", b"")], b"<h1>Unauthorized</h1>")


@defect("CRE-10")
def every_fourth_id_again(parts: Parts) -> None:
    """Every fourth session of an account gets the id of the one before it."""
    known: dict[str, list[str]] = {}

    def again(account: str, drawn: str) -> str:
        ids = known.setdefault(account, [])
        ids.append(ids[-1] if len(ids) % 4 == 3 else drawn)
        return ids[-1]

    _drawn(again)(parts)
