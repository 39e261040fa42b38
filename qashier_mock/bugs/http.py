"""HTTP: what goes wrong before, beside and after the work itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from qashier_mock.bugs.changes import (
    answer,
    body,
    command,
    crash,
    error_body,
    hang_up,
    header,
    layer,
    method,
    refusal,
    request_header,
    several,
)
from qashier_mock.bugs.parts import Inner, Parts
from qashier_mock.bugs.table import Change, defect, row
from qashier_mock.bugs.traffic import Answer, Request, Respond
from qashier_mock.core.errors import CurrencyMixed, ExpiresAtOutOfRange
from qashier_mock.core.model import AccountId, CreateSession

CONTENT_TYPE = b"content-type"
REQUEST_ID = b"request-id"
_NOT_FOUND = b"<html><head><title>404 Not Found</title></head><body>404 Not Found</body></html>"
_MAX_BODY = 2 * 1024 * 1024
_BEYOND_64_BITS = re.compile(rb":\s*-?[0-9]{20,}")
_FOUR_BYTES = re.compile(rb"[\xf0-\xff]|\\u[dD][89abAB]")
_LINE = re.compile(r"\[[0-9]+\]")
_TWO_KEYS = re.compile(rb"(\]|%5D)(\[|%5B)", re.IGNORECASE)


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _uuid(request_id: str) -> str:
    digits = request_id.removeprefix("req_").ljust(32, "0")
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _done_all_the_same(name: bytes, value: bytes | None, condition: Callable[[Request, Answer], bool]) -> Change:
    """Do what was refused, with another header, and answer with the refusal."""

    async def around(_parts: Parts, asked: Request, respond: Respond) -> Answer:
        answered = await respond(asked)
        if condition(asked, answered):
            asked.set_header(name, value)
            await respond(asked)
        return answered

    return layer(around)


# fmt: off
row("HTTP-1", "request-id-missing-on-errors", "An answer of 4xx has no Request-Id.",
    header(REQUEST_ID, None, lambda _asked, answered: answered.status >= 400))
row("HTTP-1", "request-id-missing-on-lists", "A page of sessions has no Request-Id.",
    header(REQUEST_ID, None, lambda asked, _answered: asked.is_list))
row("HTTP-1", "request-id-without-prefix", "A Request-Id does not begin with `req_`, and holds dashes.",
    method("hooks", "new_request_id")(lambda _parts, inner: _uuid(inner())))
row("HTTP-2", "success-as-text", "A success is labelled text/plain.",
    header(CONTENT_TYPE, b"text/plain; charset=utf-8", lambda _asked, answered: answered.status < 300))
row("HTTP-2", "retrieve-without-media-type", "The answer of retrieve has no Content-Type.",
    header(CONTENT_TYPE, None, lambda asked, _answered: asked.is_retrieve))
row("HTTP-2", "unknown-path-in-html", "An unknown path is answered by the web server's own 404 page, in HTML.",
    several(header(CONTENT_TYPE, b"text/html", lambda _asked, answered: answered.error.get("code") == "not_found"),
            body(lambda _asked, answered: _NOT_FOUND if answered.error.get("code") == "not_found" else answered.body)))
row("HTTP-2", "list-behind-a-guard",
    "A page of sessions begins with the line that guards against JSON hijacking, and is not JSON any more.",
    body(lambda asked, answered: (b")]}',\n" if asked.is_list and answered.status == 200 else b"") + answered.body))
row("HTTP-4", "allow-names-one-method", "The Allow of a 405 names one method, though the path has two.",
    answer(lambda _asked, answered: answered.set_header(
        b"allow", (answered.header(b"allow") or b"").rpartition(b", ")[2] or None)))
row("HTTP-3", "error-without-words", "The body of an answer of 4xx is an empty object.",
    error_body(lambda _asked, _error: {}))
row("HTTP-3", "error-is-a-string", "The body of an answer of 4xx is a JSON string instead of an object.",
    error_body(lambda _asked, error: error["message"]))
row("HTTP-3", "every-error-blames-line-items",
    "Whatever field of a create is wrong or missing, `param` says line_items.",
    error_body(lambda asked, error: {
        "error": {**error, **({"param": "line_items"} if asked.is_create and "param" in error else {})}}))
row("HTTP-3", "every-error-blames-the-first-line", "Whichever line of a create is wrong, `param` names the first one.",
    error_body(lambda _asked, error: {
        "error": {**error, **({"param": _LINE.sub("[0]", error["param"])} if "param" in error else {})}}))
row("HTTP-3", "refused-list-without-words", "The body of a refused list is an empty object; other refusals are right.",
    error_body(lambda asked, error: {} if asked.is_list else {"error": error}))
row("HTTP-4", "any-media-type-accepted",
    "The media type of a create is not looked at: JSON labelled as a form opens a session.",
    request_header(CONTENT_TYPE, b"application/json", lambda asked: asked.is_create))
row("HTTP-4", "charset-refused", "A create as `application/json; charset=utf-8` is answered with 415.",
    request_header(CONTENT_TYPE, b"text/plain", lambda asked: b";" in (asked.header(CONTENT_TYPE) or b"")))
row("HTTP-4", "unknown-path-is-a-bad-request", "An unknown path is answered with 400 instead of 404.",
    refusal("not_found", 400))
row("HTTP-4", "other-method-is-not-found", "Another method on a known path is answered with 404 instead of 405.",
    refusal("method_not_allowed", 404))
row("HTTP-4", "no-allow", "A 405 has no Allow.", header(b"allow", None, lambda _asked, _answered: True))
row("HTTP-4", "other-media-type-is-a-bad-request", "Another media type is answered with 400 instead of 415.",
    refusal("media_type_unsupported", 400))
row("HTTP-4", "broken-json-is-a-media-type", "A body that is not JSON is answered with 415 instead of 400.",
    refusal("body_invalid", 415))
row("HTTP-4", "too-large-is-a-bad-request", "A body above the limit is answered with 400 instead of 413.",
    refusal("body_too_large", 400))
row("HTTP-4", "too-large-hangs-up", "For a body above the limit the connection is closed without an answer.",
    hang_up(lambda asked: len(asked.body) > _MAX_BODY))
row("HTTP-5", "refused-media-type-opens-a-session",
    "A create with another media type is answered with 415, and yet a list shows the session.",
    _done_all_the_same(CONTENT_TYPE, b"application/json",
                       lambda asked, answered: asked.is_create and answered.status == 415))
row("HTTP-5", "refused-key-expires",
    "An expire whose Idempotency-Key is too long is answered with 400, and yet the session is expired.",
    _done_all_the_same(b"idempotency-key", None,
                       lambda asked, answered: asked.is_expire and answered.error.get("param") == "Idempotency-Key"))
row("HTTP-6", "crash-on-broken-json", "A body that is not JSON is answered with 500.",
    crash(lambda asked: asked.is_create and asked.body and not _is_json(asked.body)))
row("HTTP-6", "crash-on-nul", "A NUL in the id of a session (`%00`) is answered with 500.",
    crash(lambda asked: "%00" in asked.path))
row("HTTP-6", "crash-on-long-ids", "An id of more than 255 characters is answered with 500.",
    crash(lambda asked: any(len(segment) > 255 for segment in asked.path.split("/"))))
row("HTTP-6", "crash-on-huge-integers", "An integer beyond 64 bits in a body is answered with 500.",
    crash(lambda asked: _BEYOND_64_BITS.search(asked.body)))
row("HTTP-6", "crash-on-emoji",
    "A character of four bytes in UTF-8, which the database's text cannot hold, is answered with 500.",
    crash(lambda asked: _FOUR_BYTES.search(asked.body)))
row("HTTP-6", "crash-on-nested-filters", "A bound with a key too many (`created[gte][x]=1`) is answered with 500.",
    crash(lambda asked: _TWO_KEYS.search(asked.query)))
row("HTTP-6", "crash-on-invalid-utf8", "A body that is not UTF-8 is answered with 500.",
    crash(lambda asked: not _is_utf8(asked.body)))
row("HTTP-6", "hang-up-on-deep-nesting",
    "For a body of more than 500 arrays, one within the other, the connection is closed without an answer.",
    hang_up(lambda asked: asked.body.count(b"[") > 500 or asked.body.count(b"{") > 1000))
# fmt: on


@defect("HTTP-1")
def request_id_repeated(parts: Parts) -> None:
    """The Request-Id is drawn once for the process: every answer has the same one."""
    drawn: list[str] = []

    def once(inner: Inner) -> str:
        drawn.extend([] if drawn else [inner()])
        return drawn[0]

    parts.on_method("hooks", "new_request_id", once)


@defect("HTTP-5", command("create"))
async def refused_rule_opens_a_session(
    _parts: Parts, inner: Inner, account: AccountId, params: CreateSession, ref: Any
) -> Any:
    """An `expires_at` out of range and two currencies are refused, and yet a list shows the session."""
    try:
        return await inner(account, params, ref)
    except (ExpiresAtOutOfRange, CurrencyMixed):
        kept = CreateSession(params.line_items[:1], params.success_url, params.return_url, params.cancel_url)
        await inner(account, kept, type(ref)(ref.id))
        raise
