"""AUTH: keys taken for what they are not, and accounts that see each other."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from qashier_mock.bugs.changes import answer, command, header, request, request_header
from qashier_mock.bugs.parts import Inner, Parts
from qashier_mock.bugs.table import Change, defect, row
from qashier_mock.bugs.traffic import Answer, Request
from qashier_mock.core.errors import CursorUnknown, SessionNotFound
from qashier_mock.core.model import AccountId
from qashier_mock.core.paging import ListQuery, Page
from qashier_mock.pipeline import Call, Reply

AUTHORIZATION = b"authorization"
_NONSENSE = b"Basic !"
"""Refused by the correct code."""


def _credentials(asked: Request) -> tuple[bytes, bytes]:
    """The scheme in lower case, and what follows it."""
    scheme, _, value = (asked.header(AUTHORIZATION) or b"").partition(b" ")
    return scheme.lower(), value.strip()


def _user_and_password(value: bytes) -> tuple[bytes, bytes]:
    try:
        user, _, password = b64decode(value, validate=True).partition(b":")
    except (Base64Error, ValueError):
        return b"", b""
    return user, password


def _basic(key: bytes) -> bytes:
    return b"Basic " + b64encode(key + b":")


def _authorization(change: Callable[[Request, bytes, bytes], bytes | None]) -> Change:
    """Send another `Authorization`, from the request, the scheme in lower case and the value; None leaves it."""

    def rewrite(asked: Request) -> None:
        changed = change(asked, *_credentials(asked))
        if changed is not None:
            asked.set_header(AUTHORIZATION, changed)

    return request(rewrite)


def _refused_scheme(is_refused: Callable[[Request, bytes], bool]) -> Change:
    return _authorization(lambda asked, scheme, _value: _NONSENSE if is_refused(asked, scheme) else None)


def _status_of_401(status: int, is_changed: Callable[[Request], bool]) -> Change:
    def change(asked: Request, answered: Answer) -> None:
        if answered.status == 401 and is_changed(asked):
            answered.status = status

    return answer(change)


def _any_key(_asked: Request, scheme: bytes, value: bytes) -> bytes | None:
    key = _user_and_password(value)[0] if scheme == b"basic" else value
    if scheme not in {b"basic", b"bearer"} or not key or key.startswith((b"sk_test_", b"sk_live_")):
        return None
    made = b"sk_test_" + sha256(key).hexdigest().encode()
    return _basic(made) if scheme == b"basic" else b"Bearer " + made


def _last_word(asked: Request, _scheme: bytes, _value: bytes) -> bytes | None:
    words = (asked.header(AUTHORIZATION) or b"").split()
    return b"Bearer " + words[-1] if words and words[-1].startswith(b"sk_test_") else None


async def _as_the_owner(parts: Parts, inner: Inner, account: AccountId, session_id: str, ref: object) -> object:
    found = await parts.service.find(session_id)
    return await inner(account if found is None else found[0], session_id, ref)


# fmt: off
row("AUTH-1", "no-challenge", "A 401 has no WWW-Authenticate.",
    header(b"www-authenticate", None, lambda _asked, answered: answered.status == 401))
row("AUTH-1", "missing-key-is-forbidden", "Without credentials the answer is 403 instead of 401.",
    _status_of_401(403, lambda asked: asked.header(AUTHORIZATION) is None))
row("AUTH-1", "reading-without-key", "GET needs no credentials: without them it is answered for a shared account.",
    request_header(AUTHORIZATION, b"Bearer sk_test_anonymous",
                   lambda asked: asked.method == "GET" and asked.header(AUTHORIZATION) is None))
row("AUTH-2", "basic-refused", "HTTP Basic is answered with 401; only a bearer token is taken.",
    _refused_scheme(lambda _asked, scheme: scheme == b"basic"))
row("AUTH-2", "basic-refused-on-writes", "HTTP Basic is taken for GET; a POST with it is answered with 401.",
    _refused_scheme(lambda asked, scheme: asked.method == "POST" and scheme == b"basic"))
row("AUTH-3", "bearer-refused", "A bearer token is answered with 401; only HTTP Basic is taken.",
    _refused_scheme(lambda _asked, scheme: scheme == b"bearer"))
row("AUTH-3", "bearer-is-another-account",
    "The account is taken from the whole header, so that the same key as a bearer token finds none of its sessions.",
    _authorization(lambda _asked, scheme, key: b"Bearer " + key + b"_bearer"
                   if scheme == b"bearer" and key.startswith(b"sk_test_") else None))
row("AUTH-4", "bad-credentials-are-a-bad-request", "Credentials that are no key are answered with 400 instead of 401.",
    _status_of_401(400, lambda asked: asked.header(AUTHORIZATION) is not None))
row("AUTH-4", "password-ignored", "HTTP Basic with the key and any password is accepted.",
    _authorization(lambda _asked, scheme, value: _basic(_user_and_password(value)[0])
                   if scheme == b"basic" and _user_and_password(value)[1] else None))
row("AUTH-4", "blank-key-accepted", "HTTP Basic with an empty user name is accepted, as a default account.",
    _authorization(lambda _asked, scheme, value: _basic(b"sk_test_default")
                   if scheme == b"basic" and value and _user_and_password(value) == (b"", b"") else None))
row("AUTH-4", "anything-is-a-key", "Whatever stands where the key belongs is accepted as one, and gets an account.",
    _authorization(_any_key))
row("AUTH-4", "scheme-ignored",
    "The last word of Authorization is the key, whatever scheme stands before it, and also without one.",
    _authorization(_last_word))
row("AUTH-5", "retrieve-across-accounts", "Retrieve looks for the id alone: any account gets any session.",
    command("retrieve")(_as_the_owner))
row("AUTH-5", "expire-across-accounts", "Expire looks for the id alone: any account ends any session.",
    command("expire")(_as_the_owner))
# fmt: on


@defect("AUTH-5")
def status_filter_across_accounts(parts: Parts) -> None:
    """With the filter `status` a list without cursor shows the sessions of every account."""
    accounts: dict[AccountId, None] = {}

    async def create(inner: Inner, account: AccountId, *arguments: object) -> object:
        accounts[account] = None
        return await inner(account, *arguments)

    async def list_sessions(inner: Inner, account: AccountId, query: ListQuery) -> Page:
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

    parts.on_method("service", "create", create)
    parts.on_method("service", "list_sessions", list_sessions)


@defect("AUTH-5", command("list_sessions"))
async def cursor_of_another_account(parts: Parts, inner: Inner, account: AccountId, query: ListQuery) -> object:
    """A cursor may name another account's session: the answer is 200 with a page from the top."""
    try:
        return await inner(account, query)
    except CursorUnknown:
        if await parts.service.find(query.starting_after or query.ending_before or "") is None:
            raise
    return await inner(account, replace(query, starting_after=None, ending_before=None))


class _Forbidden(SessionNotFound):
    pass


@defect("AUTH-5")
def another_accounts_session_is_forbidden(parts: Parts) -> None:
    """Retrieve and expire of another account's session answer 403, which tells that it exists."""

    async def guard(inner: Inner, account: AccountId, session_id: str, ref: object) -> object:
        found = await parts.service.find(session_id)
        if found is not None and found[0] != account:
            raise _Forbidden(session_id)
        return await inner(account, session_id, ref)

    def render(inner: Inner, error: Exception, call: Call | None) -> Reply:
        reply: Reply = inner(error, call)
        return replace(reply, status=403) if isinstance(error, _Forbidden) else reply

    parts.on_method("service", "retrieve", guard)
    parts.on_method("service", "expire", guard)
    parts.on_method("hooks", "render_error", render)
