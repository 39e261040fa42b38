"""AUTH, HTTP: keys taken for what they are not, accounts that see each other, and what goes wrong around the work."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

import orjson

from qashier_mock.bugs import changes
from qashier_mock.bugs.parts import Command, Parts
from qashier_mock.bugs.table import Change, defect, row, several
from qashier_mock.bugs.traffic import SESSIONS, Answer, Request, Respond
from qashier_mock.core.errors import CurrencyMixed, ExpiresAtOutOfRange
from qashier_mock.core.model import AccountId, CreateSession
from qashier_mock.core.paging import Page

AUTHORIZATION = b"authorization"
CONTENT_TYPE = b"content-type"
REQUEST_ID = b"request-id"
_NONSENSE = b"Basic !"  # refused by the correct code
_NOT_FOUND = b"<html><head><title>404 Not Found</title></head><body>404 Not Found</body></html>"
_MAX_BODY = 2 * 1024 * 1024
_BEYOND_64_BITS = re.compile(rb":\s*-?[0-9]{20,}")
_FOUR_BYTES = re.compile(rb"[\xf0-\xff]|\\u[dD][89abAB]")
_LINE = re.compile(r"\[[0-9]+\]")
_TWO_KEYS = re.compile(rb"(\]|%5D)(\[|%5B)", re.IGNORECASE)


def _user_and_password(value: bytes) -> tuple[bytes, bytes]:
    try:
        user, _, password = b64decode(value, validate=True).partition(b":")
    except ValueError:
        return b"", b""
    return user, password


def _basic(key: bytes) -> bytes:
    return b"Basic " + b64encode(key + b":")


def _authorization(change: Callable[[Request, bytes, bytes], bytes | None]) -> Change:
    """Send another `Authorization`, from the request, the scheme in lower case and the value; None leaves it."""

    def rewrite(asked: Request) -> None:
        scheme, _, value = (asked.header(AUTHORIZATION) or b"").partition(b" ")
        changed = change(asked, scheme.lower(), value.strip())
        if changed is not None:
            asked.set_header(AUTHORIZATION, changed)

    return changes.request(rewrite)


def _refused_scheme(is_refused: Callable[[Request, bytes], bool]) -> Change:
    return _authorization(lambda asked, scheme, _value: _NONSENSE if is_refused(asked, scheme) else None)


def _any_key(_asked: Request, scheme: bytes, value: bytes) -> bytes | None:
    key = _user_and_password(value)[0] if scheme == b"basic" else value
    if scheme not in {b"basic", b"bearer"} or not key or key.startswith((b"sk_test_", b"sk_live_")):
        return None
    made = b"sk_test_" + sha256(key).hexdigest().encode()
    return _basic(made) if scheme == b"basic" else b"Bearer " + made


def _last_word(asked: Request, _scheme: bytes, _value: bytes) -> bytes | None:
    words = (asked.header(AUTHORIZATION) or b"").split()
    return b"Bearer " + words[-1] if words and words[-1].startswith(b"sk_test_") else None


async def _as_the_owner(asked: Command) -> object:
    found = await asked.parts.service.find(asked.subject)
    return await asked.do(account=asked.account if found is None else found[0])


def _is(form: Callable[[bytes], object], body: bytes) -> bool:
    """Whether a body has a form: UTF-8, or JSON."""
    with suppress(ValueError):
        form(body)
        return True
    return False


def _uuid(request_id: str) -> str:
    digits = request_id.removeprefix("req_").ljust(32, "0")
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _done_all_the_same(name: bytes, value: bytes | None, condition: Callable[[Request, Answer], bool]) -> Change:
    """Do what was refused, with another header, and answer with the refusal."""

    async def around(_parts: Parts, respond: Respond, asked: Request) -> Answer:
        answered = await respond(asked)
        if condition(asked, answered):
            asked.set_header(name, value)
            await respond(asked)
        return answered

    return changes.layer(around)


# fmt: off
row("AUTH-1", "no-challenge", "A 401 has no WWW-Authenticate.",
    changes.answer_if(lambda _asked, answered: answered.status == 401, header=(b"www-authenticate", None)))
row("AUTH-1", "missing-key-is-forbidden", "Without credentials the answer is 403 instead of 401.",
    changes.answer_if(
        lambda asked, answered: answered.status == 401 and asked.header(AUTHORIZATION) is None, status=403))
row("AUTH-1", "reading-without-key", "GET needs no credentials: without them it is answered for a shared account.",
    changes.request_header(AUTHORIZATION, b"Bearer sk_test_anonymous",
                           lambda asked: asked.method == "GET" and asked.header(AUTHORIZATION) is None))
row("AUTH-2", "basic-refused", "HTTP Basic is answered with 401; only a bearer token is taken.",
    _refused_scheme(lambda _asked, scheme: scheme == b"basic"))
row("AUTH-2", "basic-refused-on-writes", "HTTP Basic is taken for GET; a POST with it is answered with 401.",
    _refused_scheme(lambda asked, scheme: asked.method == "POST" and scheme == b"basic"))
row("AUTH-3", "bearer-refused", "A bearer token is answered with 401; only HTTP Basic is taken.",
    _refused_scheme(lambda _asked, scheme: scheme == b"bearer"))
row("AUTH-3", "bearer-is-another-account", "The account follows from the whole header: a bearer token has another one.",
    _authorization(lambda _asked, scheme, key: b"Bearer " + key + b"_bearer"
                   if scheme == b"bearer" and key.startswith(b"sk_test_") else None))
row("AUTH-4", "bad-credentials-are-a-bad-request", "Credentials that are no key are answered with 400 instead of 401.",
    changes.answer_if(
        lambda asked, answered: answered.status == 401 and asked.header(AUTHORIZATION) is not None, status=400))
row("AUTH-4", "password-ignored", "HTTP Basic with the key and any password is accepted.",
    _authorization(lambda _asked, scheme, value: _basic(_user_and_password(value)[0])
                   if scheme == b"basic" and _user_and_password(value)[1] else None))
row("AUTH-4", "blank-key-accepted", "HTTP Basic with an empty user name is accepted, as a default account.",
    _authorization(lambda _asked, scheme, value: _basic(b"sk_test_default")
                   if scheme == b"basic" and value and _user_and_password(value) == (b"", b"") else None))
row("AUTH-4", "anything-is-a-key", "Whatever stands where the key belongs is accepted as one, and gets an account.",
    _authorization(_any_key))
row("AUTH-4", "scheme-ignored", "The last word of Authorization is the key, whatever scheme stands before it, or none.",
    _authorization(_last_word))
row("AUTH-5", "retrieve-across-accounts", "Retrieve looks for the id alone: any account gets any session.",
    changes.command("retrieve")(_as_the_owner))
row("AUTH-5", "expire-across-accounts", "Expire looks for the id alone: any account ends any session.",
    changes.command("expire")(_as_the_owner))
row("HTTP-1", "request-id-missing-on-errors", "An answer of 4xx has no Request-Id.",
    changes.answer_if(lambda _asked, answered: answered.status >= 400, header=(REQUEST_ID, None)))
row("HTTP-1", "request-id-missing-on-lists", "A page of sessions has no Request-Id.",
    changes.answer_if(lambda asked, _answered: asked.is_list, header=(REQUEST_ID, None)))
row("HTTP-1", "request-id-without-prefix", "A Request-Id does not begin with `req_`, and holds dashes.",
    changes.method("hooks", "new_request_id")(lambda _parts, inner: _uuid(inner())))
row("HTTP-2", "success-as-text", "A success is labelled text/plain.",
    changes.answer_if(
        lambda _asked, answered: answered.status < 300, header=(CONTENT_TYPE, b"text/plain; charset=utf-8")))
row("HTTP-2", "retrieve-without-media-type", "The answer of retrieve has no Content-Type.",
    changes.answer_if(lambda asked, _answered: asked.is_retrieve, header=(CONTENT_TYPE, None)))
row("HTTP-2", "unknown-path-in-html", "An unknown path is answered by the web server's own 404 page, in HTML.",
    changes.answer_if(lambda _asked, answered: answered.error.get("code") == "not_found",
                      header=(CONTENT_TYPE, b"text/html"), body=lambda _body: _NOT_FOUND))
row("HTTP-2", "list-behind-a-guard", "A page of sessions begins with a guard against JSON hijacking: it is not JSON.",
    changes.answer_if(
        lambda asked, answered: asked.is_list and answered.status == 200, body=lambda body: b")]}',\n" + body))
row("HTTP-4", "allow-names-one-method", "The Allow of a 405 names one method, though the path has two.",
    changes.answer(lambda _asked, answered: answered.set_header(
        b"allow", (answered.header(b"allow") or b"").rpartition(b", ")[2] or None)))
row("HTTP-3", "error-without-words", "The body of an answer of 4xx is an empty object.",
    changes.error_body(lambda _asked, _error: {}))
row("HTTP-3", "error-is-a-string", "The body of an answer of 4xx is a JSON string instead of an object.",
    changes.error_body(lambda _asked, error: error["message"]))
row("HTTP-3", "every-error-blames-line-items", "Whatever field of a create is wrong or missing, `param` is line_items.",
    changes.error_body(lambda asked, error: {
        "error": {**error, **({"param": "line_items"} if asked.is_create and "param" in error else {})}}))
row("HTTP-3", "every-error-blames-the-first-line", "Whichever line of a create is wrong, `param` names the first one.",
    changes.error_body(lambda _asked, error: {
        "error": {**error, **({"param": _LINE.sub("[0]", error["param"])} if "param" in error else {})}}))
row("HTTP-3", "refused-list-without-words", "The body of a refused list is an empty object; other refusals are right.",
    changes.error_body(lambda asked, error: {} if asked.is_list else {"error": error}))
row("HTTP-4", "any-media-type-accepted", "A create's media type is ignored: JSON labelled as a form opens a session.",
    changes.request_header(CONTENT_TYPE, b"application/json", lambda asked: asked.is_create))
row("HTTP-4", "charset-refused", "A create as `application/json; charset=utf-8` is answered with 415.",
    changes.request_header(CONTENT_TYPE, b"text/plain", lambda asked: b";" in (asked.header(CONTENT_TYPE) or b"")))
row("HTTP-4", "unknown-path-is-a-bad-request", "An unknown path is answered with 400 instead of 404.",
    changes.refusal("not_found", 400))
row("HTTP-4", "other-method-is-not-found", "Another method on a known path is answered with 404 instead of 405.",
    changes.refusal("method_not_allowed", 404))
row("HTTP-4", "no-allow", "A 405 has no Allow.", changes.answer_if(lambda *_: True, header=(b"allow", None)))
row("HTTP-4", "other-media-type-is-a-bad-request", "Another media type is answered with 400 instead of 415.",
    changes.refusal("media_type_unsupported", 400))
row("HTTP-4", "broken-json-is-a-media-type", "A body that is not JSON is answered with 415 instead of 400.",
    changes.refusal("body_invalid", 415))
row("HTTP-4", "too-large-is-a-bad-request", "A body above the limit is answered with 400 instead of 413.",
    changes.refusal("body_too_large", 400))
row("HTTP-4", "too-large-hangs-up", "For a body above the limit the connection is closed without an answer.",
    changes.hang_up(lambda asked: len(asked.body) > _MAX_BODY))
row("HTTP-5", "refused-media-type-opens-a-session", "A create of another media type gets 415, and yet opens a session.",
    _done_all_the_same(CONTENT_TYPE, b"application/json",
                       lambda asked, answered: asked.is_create and answered.status == 415))
row("HTTP-5", "refused-key-expires", "An expire with too long an Idempotency-Key gets 400, yet expires the session.",
    _done_all_the_same(b"idempotency-key", None,
                       lambda asked, answered: asked.is_expire and answered.error.get("param") == "Idempotency-Key"))
row("HTTP-6", "crash-on-broken-json", "A body that is not JSON is answered with 500.",
    changes.crash(lambda asked: asked.is_create and asked.body and not _is(orjson.loads, asked.body)))
row("HTTP-6", "crash-on-nul", "A NUL in the id of a session (`%00`) is answered with 500.",
    changes.crash(lambda asked: "%00" in asked.path))
row("HTTP-6", "crash-on-long-ids", "An id of more than 255 characters is answered with 500.",
    changes.crash(lambda asked: any(len(segment) > 255 for segment in asked.path.split("/"))))
row("HTTP-6", "crash-on-huge-integers", "An integer beyond 64 bits in a body is answered with 500.",
    changes.crash(lambda asked: _BEYOND_64_BITS.search(asked.body)))
row("HTTP-6", "crash-on-emoji", "A character of four bytes, which the database cannot hold, is answered with 500.",
    changes.crash(lambda asked: _FOUR_BYTES.search(asked.body)))
row("HTTP-6", "crash-on-nested-filters", "A bound with a key too many (`created[gte][x]=1`) is answered with 500.",
    changes.crash(lambda asked: _TWO_KEYS.search(asked.query)))
row("HTTP-6", "crash-on-invalid-utf8", "A body that is not UTF-8 is answered with 500.",
    changes.crash(lambda asked: not _is(bytes.decode, asked.body)))
row("HTTP-6", "hang-up-on-deep-nesting", "For more than 500 nested arrays the connection is closed without an answer.",
    changes.hang_up(lambda asked: asked.body.count(b"[") > 500 or asked.body.count(b"{") > 1000))
row("AUTH-5", "cursor-of-another-account", "A cursor may name another account's session: the page is the first.",
    changes.foreign_cursor(is_known=True))
# fmt: on


@defect("AUTH-5")
def status_filter_across_accounts() -> Change:
    """With the filter `status` a list without cursor shows the sessions of every account."""
    accounts: dict[AccountId, None] = {}

    async def create(asked: Command) -> object:
        accounts[asked.account] = None
        return await asked.do()

    async def list_sessions(asked: Command) -> Page:
        query = asked.subject
        page: Page = await asked.do()
        if query.status is None or query.starting_after or query.ending_before:
            return page
        pages = [page, *[await asked.do(account=other) for other in accounts if other != asked.account]]
        found = sorted(
            (session for each in pages for session in each.sessions),
            key=lambda session: (session.created, session.account == asked.account, session.sequence),
            reverse=True,
        )
        has_more = len(found) > query.limit or any(each.has_more for each in pages)
        return Page(tuple(found[: query.limit]), has_more)

    return several(changes.command("create")(create), changes.command("list_sessions")(list_sessions))


@defect("AUTH-5", changes.layer)
async def another_accounts_session_is_forbidden(parts: Parts, respond: Respond, asked: Request) -> Answer:
    """Retrieve and expire of another account's session answer 403, which tells that it exists."""
    answered = await respond(asked)
    session_id = asked.path.removeprefix(f"{SESSIONS}/").removesuffix("/expire")
    if answered.status == 404 and await parts.service.find(session_id) is not None:
        answered.status = 403
    return answered


@defect("HTTP-1")
def request_id_repeated() -> Change:
    """The Request-Id is drawn once for the process: every answer has the same one."""
    once: dict[str, str] = {}
    return changes.method("hooks", "new_request_id")(lambda _parts, inner: once.setdefault("id", inner()))


@defect("HTTP-5", changes.refused("create", ExpiresAtOutOfRange, CurrencyMixed))
async def refused_rule_opens_a_session(asked: Command) -> None:
    """An `expires_at` out of range and two currencies are refused, and yet a list shows the session."""
    sent, by = asked.subject, asked.by
    kept = CreateSession(sent.line_items[:1], sent.success_url, sent.return_url, sent.cancel_url)
    await asked.do(subject=kept, by=type(by)(by.id))
