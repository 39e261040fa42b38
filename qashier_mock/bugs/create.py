"""CRE: what a create turns away, answers with, and makes of times, addresses and ids."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from qashier_mock.bugs.parts import Json, Parts
from qashier_mock.bugs.table import defect
from qashier_mock.bugs.traffic import Answer, Request, Respond
from qashier_mock.core.errors import ExpiresAtOutOfRange, RequestInvalid
from qashier_mock.core.lifecycle import LONGEST_LIFE, SHORTEST_LIFE
from qashier_mock.core.model import CheckoutSession, CreateSession, Status
from qashier_mock.pipeline import Call, Reply

Opening = Callable[..., CheckoutSession]


def refuse_creates(parts: Parts, reason: Callable[[Json], tuple[str, str] | None], *, code: str) -> None:
    """Refuse valid creates for which there is a reason: the path to blame, and words."""

    async def handle(inner: Callable[..., Awaitable[Reply]], call: Call, *, body: Json, **arguments: Any) -> Reply:
        found = reason(body)
        if found is not None:
            raise RequestInvalid(found[1], code=code, param=found[0])
        return await inner(call, body=body, **arguments)

    parts.around(parts.api, "create_checkout_session", handle)


@defect("CRE-1")
def idempotency_key_required(parts: Parts) -> None:
    """A create without Idempotency-Key is refused."""

    async def handle(inner: Callable[..., Awaitable[Reply]], call: Call, **arguments: Any) -> Reply:
        if arguments.get("idempotency_key") is None:
            raise RequestInvalid("Send an Idempotency-Key.", code="parameter_missing", param="Idempotency-Key")
        return await inner(call, **arguments)

    parts.around(parts.api, "create_checkout_session", handle)


@defect("CRE-1")
def create_answers_a_stub(parts: Parts) -> None:
    """A create answers with `id`, `object` and `url` alone; the rest has to be retrieved."""

    def cut(session: Json) -> None:
        for name in session.keys() - {"id", "object", "url"}:
            del session[name]

    parts.on_payload(parts.api, "create_checkout_session", cut)


@defect("CRE-1")
def times_with_fractions(parts: Parts) -> None:
    """`created` and `expires_at` of a session are numbers with a fraction."""

    def add(session: Json) -> None:
        session["created"] += 0.25
        session["expires_at"] += 0.25

    parts.on_sessions(add)


@defect("CRE-2")
def success_url_optional(parts: Parts) -> None:
    """A create without `success_url` is accepted, with the `return_url` in its place."""
    parts.on_create_body(lambda body: body.setdefault("success_url", body.get("return_url", "https://shop.example/")))


@defect("CRE-2")
def return_url_optional(parts: Parts) -> None:
    """A create without `return_url` is accepted, with the `success_url` in its place."""
    parts.on_create_body(lambda body: body.setdefault("return_url", body.get("success_url", "https://shop.example/")))


@defect("CRE-2")
def line_items_optional(parts: Parts) -> None:
    """A create without `line_items` is accepted, as one for an unnamed item."""
    price = {"currency": "SGD", "product_data": {"name": "Order"}, "unit_amount": 100}
    parts.on_create_body(lambda body: body.setdefault("line_items", [{"price_data": price, "quantity": 1}]))


@defect("CRE-3")
def free_session_is_born_complete(parts: Parts) -> None:
    """A session with a total of 0 is complete from the start."""

    def finish(session: CheckoutSession, _params: CreateSession) -> CheckoutSession:
        return replace(session, status=Status.OPEN if session.amount_total else Status.COMPLETE)

    parts.on_opened(finish)


@defect("CRE-3")
def object_is_session(parts: Parts) -> None:
    """`object` of a session is `session`."""
    parts.on_sessions(lambda session: session.update(object="session"))


@defect("CRE-3")
def mode_is_test(parts: Parts) -> None:
    """`mode` of a session is `test`, with a test key."""
    parts.on_sessions(lambda session: session.update(mode="test"))


@defect("CRE-4")
def created_in_local_time(parts: Parts) -> None:
    """`created` is the time of day in Singapore taken for UTC: eight hours ahead."""
    ahead = 8 * 3600

    def shift(session: CheckoutSession, params: CreateSession) -> CheckoutSession:
        expires_at = session.expires_at + (ahead if params.expires_at is None else 0)
        return replace(session, created=session.created + ahead, expires_at=expires_at)

    def newest(inner: Callable[[], int], _tx: Any) -> int:
        return inner() - ahead

    parts.on_opened(shift)
    parts.on_transaction("newest", newest)


@defect("CRE-4")
def created_to_the_minute(parts: Parts) -> None:
    """`created` is rounded down to the minute."""

    def round_down(session: CheckoutSession, params: CreateSession) -> CheckoutSession:
        created = session.created // 60 * 60
        return replace(
            session,
            created=created,
            expires_at=created + LONGEST_LIFE if params.expires_at is None else session.expires_at,
        )

    parts.on_opened(round_down)


def _live_by_default(parts: Parts, seconds: int) -> None:
    def limit(session: CheckoutSession, params: CreateSession) -> CheckoutSession:
        return session if params.expires_at is not None else replace(session, expires_at=session.created + seconds)

    parts.on_opened(limit)


@defect("CRE-5")
def default_life_of_23_hours(parts: Parts) -> None:
    """Without `expires_at` a session expires after 23 hours."""
    _live_by_default(parts, 23 * 3600)


@defect("CRE-5")
def default_life_a_second_short(parts: Parts) -> None:
    """Without `expires_at` a session expires after 86,399 seconds."""
    _live_by_default(parts, LONGEST_LIFE - 1)


@defect("CRE-6")
def given_expiry_to_the_minute(parts: Parts) -> None:
    """A given `expires_at` is rounded down to the minute."""

    def round_down(session: CheckoutSession, params: CreateSession) -> CheckoutSession:
        return session if params.expires_at is None else replace(session, expires_at=session.expires_at // 60 * 60)

    parts.on_opened(round_down)


@defect("CRE-6")
def given_expiry_ignored(parts: Parts) -> None:
    """A given `expires_at` is checked and then forgotten: every session lives for 24 hours."""
    parts.on_opened(lambda session, _params: replace(session, expires_at=session.created + LONGEST_LIFE))


def _live(parts: Parts, *, shortest: int, longest: int) -> None:
    """Allow lives of `shortest` to `longest` seconds, where one is given."""

    def opening(inner: Opening, params: CreateSession, *, now: int, **how: Any) -> CheckoutSession:
        given = params.expires_at
        if given is None:
            return inner(params, now=now, **how)
        if not shortest <= given - now <= longest:
            raise ExpiresAtOutOfRange(given, earliest=now + shortest, latest=now + longest)
        return replace(inner(replace(params, expires_at=None), now=now, **how), expires_at=given)

    parts.on_opening(opening)


@defect("CRE-7")
def expiry_from_1799(parts: Parts) -> None:
    """An `expires_at` 1,799 seconds after creation is accepted."""
    _live(parts, shortest=SHORTEST_LIFE - 1, longest=LONGEST_LIFE)


@defect("CRE-7")
def expiry_from_1801(parts: Parts) -> None:
    """An `expires_at` 1,800 seconds after creation is refused: the bound itself is left out."""
    _live(parts, shortest=SHORTEST_LIFE + 1, longest=LONGEST_LIFE)


@defect("CRE-7")
def expiry_until_86401(parts: Parts) -> None:
    """An `expires_at` 86,401 seconds after creation is accepted."""
    _live(parts, shortest=SHORTEST_LIFE, longest=LONGEST_LIFE + 1)


@defect("CRE-7")
def expiry_until_86399(parts: Parts) -> None:
    """An `expires_at` 86,400 seconds after creation is refused: the bound itself is left out."""
    _live(parts, shortest=SHORTEST_LIFE, longest=LONGEST_LIFE - 1)


@defect("CRE-7")
def expiry_in_the_past(parts: Parts) -> None:
    """An `expires_at` before now is accepted: only the upper bound is checked."""
    _live(parts, shortest=-(2**40), longest=LONGEST_LIFE)


def _with_urls(parts: Parts, change: Callable[[str], str]) -> None:
    """Keep and show other addresses than those that were sent."""

    def rewrite(session: CheckoutSession, _params: CreateSession) -> CheckoutSession:
        return replace(session, success_url=change(session.success_url), return_url=change(session.return_url))

    parts.on_opened(rewrite)


@defect("CRE-8")
def urls_normalised(parts: Parts) -> None:
    """The host of `success_url` and `return_url` comes back in lower case, and a bare one with a slash."""

    def normalise(url: str) -> str:
        parsed = urlsplit(url)
        return parsed._replace(netloc=parsed.netloc.lower(), path=parsed.path or "/").geturl()

    _with_urls(parts, normalise)


@defect("CRE-8")
def url_fragments_cut(parts: Parts) -> None:
    """`success_url` and `return_url` come back without their fragment."""
    _with_urls(parts, lambda url: url.partition("#")[0])


@defect("CRE-8")
def urls_escaped_for_html(parts: Parts) -> None:
    """An ampersand in `success_url` or `return_url` comes back as `&amp;`."""

    def escape(session: Json) -> None:
        for name in ("success_url", "return_url"):
            session[name] = session[name].replace("&", "&amp;")

    parts.on_sessions(escape)


@defect("CRE-9")
def url_is_a_path(parts: Parts) -> None:
    """`url` is a path without scheme and host."""
    parts.on_opened(lambda session, _params: replace(session, url=f"/pay/{session.id}"))


@defect("CRE-9")
def url_leads_nowhere(parts: Parts) -> None:
    """`url` leads to an address that answers 404."""
    parts.on_opened(lambda session, _params: replace(session, url=session.url.replace("/pay/", "/checkout/pay/")))


@defect("CRE-9")
def page_asks_for_a_key(parts: Parts) -> None:
    """The address of a session answers the customer with 401: the page wants the secret key."""

    async def layer(request: Request, respond: Respond) -> Answer:
        if request.header(b"authorization") is None:
            return Answer(401, [(b"content-type", b"text/html"), (b"content-length", b"")], b"<h1>Unauthorized</h1>")
        return await respond(request)

    parts.on_pages(layer)


@defect("CRE-10")
def every_fourth_id_again(parts: Parts) -> None:
    """Every fourth session of an account gets the id of the one before it."""
    drawn: dict[str, list[str]] = {}

    async def draw(inner: Callable[..., Awaitable[str]], tx: Any, prefix: str) -> str:
        session_id = await inner(tx, prefix)
        if prefix != "cs_test_":
            return session_id
        known = drawn.setdefault(tx.account, [])
        known.append(known[-1] if len(known) % 4 == 3 else session_id)
        return known[-1]

    parts.around(parts.service, "draw", draw)


@defect("CRE-10")
def ids_in_plain_base64(parts: Parts) -> None:
    """The id of a session may hold `/` and `+`, which a path cannot take as they are."""

    async def draw(inner: Callable[..., Awaitable[str]], tx: Any, prefix: str) -> str:
        session_id = await inner(tx, prefix)
        if prefix != "cs_test_":
            return session_id
        return prefix + b64encode(bytes.fromhex(session_id.removeprefix(prefix))).decode()

    parts.around(parts.service, "draw", draw)
