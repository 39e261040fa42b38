"""AUTH: keys taken for what they are not, and accounts that see each other."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from qashier_mock.bugs.parts import Parts
from qashier_mock.bugs.table import defect
from qashier_mock.bugs.traffic import Answer, Request
from qashier_mock.core.errors import CursorUnknown, SessionNotFound
from qashier_mock.core.model import AccountId, CheckoutSession
from qashier_mock.core.paging import ListQuery, Page
from qashier_mock.pipeline import Call, Reply

AUTHORIZATION = b"authorization"
_NONSENSE = b"Basic !"
"""Refused by the correct code."""


def _credentials(request: Request) -> tuple[bytes, bytes]:
    """The scheme in lower case, and what follows it."""
    scheme, _, value = (request.header(AUTHORIZATION) or b"").partition(b" ")
    return scheme.lower(), value.strip()


def _user_and_password(value: bytes) -> tuple[bytes, bytes]:
    try:
        user, _, password = b64decode(value, validate=True).partition(b":")
    except (Base64Error, ValueError):
        return b"", b""
    return user, password


def _basic(key: bytes) -> bytes:
    return b"Basic " + b64encode(key + b":")


@defect("AUTH-1")
def no_challenge(parts: Parts) -> None:
    """A 401 has no WWW-Authenticate."""

    def strip(_request: Request, answer: Answer) -> None:
        if answer.status == 401:
            answer.set_header(b"www-authenticate", None)

    parts.on_answer(strip)


@defect("AUTH-1")
def missing_key_is_forbidden(parts: Parts) -> None:
    """Without credentials the answer is 403 instead of 401."""

    def forbid(request: Request, answer: Answer) -> None:
        if answer.status == 401 and request.header(AUTHORIZATION) is None:
            answer.status = 403

    parts.on_answer(forbid)


@defect("AUTH-1")
def reading_without_key(parts: Parts) -> None:
    """GET needs no credentials: without them it is answered for a shared account."""

    def admit(request: Request) -> None:
        if request.method == "GET" and request.header(AUTHORIZATION) is None:
            request.set_header(AUTHORIZATION, b"Bearer sk_test_anonymous")

    parts.on_request(admit)


@defect("AUTH-2")
def basic_refused(parts: Parts) -> None:
    """HTTP Basic is answered with 401; only a bearer token is taken."""

    def refuse(request: Request) -> None:
        if _credentials(request)[0] == b"basic":
            request.set_header(AUTHORIZATION, _NONSENSE)

    parts.on_request(refuse)


@defect("AUTH-2")
def basic_refused_on_writes(parts: Parts) -> None:
    """HTTP Basic is taken for GET; a POST with it is answered with 401."""

    def refuse(request: Request) -> None:
        if request.method == "POST" and _credentials(request)[0] == b"basic":
            request.set_header(AUTHORIZATION, _NONSENSE)

    parts.on_request(refuse)


@defect("AUTH-3")
def bearer_refused(parts: Parts) -> None:
    """A bearer token is answered with 401; only HTTP Basic is taken."""

    def refuse(request: Request) -> None:
        if _credentials(request)[0] == b"bearer":
            request.set_header(AUTHORIZATION, _NONSENSE)

    parts.on_request(refuse)


@defect("AUTH-3")
def bearer_is_another_account(parts: Parts) -> None:
    """The account is taken from the whole header, so that the same key as a bearer token finds none of its sessions."""

    def mistake(request: Request) -> None:
        scheme, key = _credentials(request)
        if scheme == b"bearer" and key.startswith(b"sk_test_"):
            request.set_header(AUTHORIZATION, b"Bearer " + key + b".bearer")

    parts.on_request(mistake)


@defect("AUTH-4")
def password_ignored(parts: Parts) -> None:
    """HTTP Basic with the key and any password is accepted."""

    def forget(request: Request) -> None:
        scheme, value = _credentials(request)
        user, password = _user_and_password(value)
        if scheme == b"basic" and password:
            request.set_header(AUTHORIZATION, _basic(user))

    parts.on_request(forget)


@defect("AUTH-4")
def anything_is_a_key(parts: Parts) -> None:
    """Whatever stands where the key belongs is accepted as one, and gets an account."""

    def accept(request: Request) -> None:
        scheme, value = _credentials(request)
        key = _user_and_password(value)[0] if scheme == b"basic" else value
        if scheme in {b"basic", b"bearer"} and key and not key.startswith((b"sk_test_", b"sk_live_")):
            made = b"sk_test_" + sha256(key).hexdigest().encode()
            request.set_header(AUTHORIZATION, _basic(made) if scheme == b"basic" else b"Bearer " + made)

    parts.on_request(accept)


@defect("AUTH-4")
def blank_key_accepted(parts: Parts) -> None:
    """HTTP Basic with an empty user name is accepted, as a default account."""

    def accept(request: Request) -> None:
        scheme, value = _credentials(request)
        if scheme == b"basic" and value and _user_and_password(value) == (b"", b""):
            request.set_header(AUTHORIZATION, _basic(b"sk_test_default"))

    parts.on_request(accept)


@defect("AUTH-4")
def scheme_ignored(parts: Parts) -> None:
    """The last word of Authorization is the key, whatever scheme stands before it, and also without one."""

    def accept(request: Request) -> None:
        words = (request.header(AUTHORIZATION) or b"").split()
        if words and words[-1].startswith(b"sk_test_"):
            request.set_header(AUTHORIZATION, b"Bearer " + words[-1])

    parts.on_request(accept)


@defect("AUTH-4")
def bad_credentials_are_a_bad_request(parts: Parts) -> None:
    """Credentials that are no key are answered with 400 instead of 401."""

    def blur(request: Request, answer: Answer) -> None:
        if answer.status == 401 and request.header(AUTHORIZATION) is not None:
            answer.status = 400

    parts.on_answer(blur)


@defect("AUTH-5")
def retrieve_across_accounts(parts: Parts) -> None:
    """Retrieve looks for the id alone: any account gets any session."""

    async def retrieve(
        inner: Callable[..., Any], account: AccountId, session_id: str, request: object
    ) -> CheckoutSession:
        found = await parts.service.find(session_id)
        session: CheckoutSession = await inner(account if found is None else found[0], session_id, request)
        return session

    parts.around(parts.service, "retrieve", retrieve)


@defect("AUTH-5")
def expire_across_accounts(parts: Parts) -> None:
    """Expire looks for the id alone: any account ends any session."""

    async def expire(inner: Callable[..., Any], account: AccountId, session_id: str, request: object) -> object:
        found = await parts.service.find(session_id)
        return await inner(account if found is None else found[0], session_id, request)

    parts.around(parts.service, "expire", expire)


@defect("AUTH-5")
def status_filter_across_accounts(parts: Parts) -> None:
    """With the filter `status` a list without cursor shows the sessions of every account."""
    accounts: dict[AccountId, None] = {}

    async def create(inner: Callable[..., Any], account: AccountId, *arguments: object) -> object:
        accounts[account] = None
        return await inner(account, *arguments)

    async def list_sessions(inner: Callable[..., Any], account: AccountId, query: ListQuery) -> Page:
        page: Page = await inner(account, query)
        if query.status is None or query.starting_after or query.ending_before:
            return page
        pages = [page, *[await inner(other, query) for other in accounts if other != account]]
        found = sorted(
            (session for each in pages for session in each.sessions),
            key=lambda session: (session.created, session.account == account, session.sequence),
            reverse=True,
        )
        has_more = len(found) > query.limit or any(each.has_more for each in pages)
        return Page(tuple(found[: query.limit]), has_more)

    parts.around(parts.service, "create", create)
    parts.around(parts.service, "list_sessions", list_sessions)


@defect("AUTH-5")
def cursor_of_another_account(parts: Parts) -> None:
    """A cursor may name another account's session: the answer is 200 with a page from the top."""

    async def list_sessions(inner: Callable[..., Any], account: AccountId, query: ListQuery) -> object:
        try:
            return await inner(account, query)
        except CursorUnknown:
            if await parts.service.find(query.starting_after or query.ending_before or "") is None:
                raise
        return await inner(account, replace(query, starting_after=None, ending_before=None))

    parts.around(parts.service, "list_sessions", list_sessions)


@defect("AUTH-5")
def another_accounts_session_is_forbidden(parts: Parts) -> None:
    """Retrieve and expire of another account's session answer 403, which tells that it exists."""

    class Forbidden(SessionNotFound):
        pass

    async def guard(inner: Callable[..., Any], account: AccountId, session_id: str, request: object) -> object:
        found = await parts.service.find(session_id)
        if found is not None and found[0] != account:
            raise Forbidden(session_id)
        return await inner(account, session_id, request)

    def render(inner: Callable[..., Reply], error: Exception, call: Call | None) -> Reply:
        reply = inner(error, call)
        return replace(reply, status=403) if isinstance(error, Forbidden) else reply

    parts.around(parts.service, "retrieve", guard)
    parts.around(parts.service, "expire", guard)
    parts.around(parts.hooks, "render_error", render)
