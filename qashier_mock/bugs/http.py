"""HTTP: what goes wrong before, beside and after the work itself."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from qashier_mock.bugs.parts import Parts
from qashier_mock.bugs.table import defect
from qashier_mock.bugs.traffic import Answer, HungUp, Request, Respond
from qashier_mock.core.errors import CurrencyMixed, ExpiresAtOutOfRange
from qashier_mock.core.model import AccountId, CreateSession
from qashier_mock.pipeline import Reason, Refused

CONTENT_TYPE = b"content-type"
REQUEST_ID = b"request-id"
_MAX_BODY = 2 * 1024 * 1024


def _refuse_as(parts: Parts, code: str, status: int) -> None:
    """Give one kind of refusal another status."""

    def change(_request: Request, answer: Answer) -> None:
        if answer.error.get("code") == code:
            answer.status = status

    parts.on_answer(change)


def _crash(parts: Parts, condition: Callable[[Request], object]) -> None:
    """Answer some requests as an exception that nobody caught is answered."""

    async def layer(request: Request, respond: Respond) -> Answer:
        if not condition(request):
            return await respond(request)
        return parts.refusal(Refused(Reason.INTERNAL_ERROR, "Internal server error"))

    parts.on_traffic(layer)


@defect("HTTP-1")
def request_id_missing_on_errors(parts: Parts) -> None:
    """An answer of 4xx has no Request-Id."""

    def strip(_request: Request, answer: Answer) -> None:
        if answer.status >= 400:
            answer.set_header(REQUEST_ID, None)

    parts.on_answer(strip)


@defect("HTTP-1")
def request_id_missing_on_lists(parts: Parts) -> None:
    """A page of sessions has no Request-Id."""

    def strip(request: Request, answer: Answer) -> None:
        if request.is_list:
            answer.set_header(REQUEST_ID, None)

    parts.on_answer(strip)


@defect("HTTP-1")
def request_id_repeated(parts: Parts) -> None:
    """The Request-Id is drawn once for the process: every answer has the same one."""
    drawn: list[str] = []

    def once(inner: Callable[[], str]) -> str:
        if not drawn:
            drawn.append(inner())
        return drawn[0]

    parts.around(parts.hooks, "new_request_id", once)


@defect("HTTP-1")
def request_id_without_prefix(parts: Parts) -> None:
    """A Request-Id does not begin with `req_`, and holds dashes."""

    def as_uuid(inner: Callable[[], str]) -> str:
        digits = inner().removeprefix("req_").ljust(32, "0")
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    parts.around(parts.hooks, "new_request_id", as_uuid)


@defect("HTTP-2")
def success_as_text(parts: Parts) -> None:
    """A success is labelled text/plain."""

    def mislabel(_request: Request, answer: Answer) -> None:
        if answer.status < 300:
            answer.set_header(CONTENT_TYPE, b"text/plain; charset=utf-8")

    parts.on_answer(mislabel)


@defect("HTTP-2")
def retrieve_without_media_type(parts: Parts) -> None:
    """The answer of retrieve has no Content-Type."""

    def strip(request: Request, answer: Answer) -> None:
        if request.is_retrieve:
            answer.set_header(CONTENT_TYPE, None)

    parts.on_answer(strip)


@defect("HTTP-2")
def unknown_path_in_html(parts: Parts) -> None:
    """An unknown path is answered by the web server's own 404 page, in HTML."""

    def replace(_request: Request, answer: Answer) -> None:
        if answer.error.get("code") == "not_found":
            answer.set_header(CONTENT_TYPE, b"text/html")
            answer.body = b"<html><head><title>404 Not Found</title></head><body>404 Not Found</body></html>"

    parts.on_answer(replace)


@defect("HTTP-2")
def list_behind_a_guard(parts: Parts) -> None:
    """A page of sessions begins with the line that guards against JSON hijacking, and is not JSON any more."""

    def guard(request: Request, answer: Answer) -> None:
        if request.is_list and answer.status == 200:
            answer.body = b")]}',\n" + answer.body

    parts.on_answer(guard)


@defect("HTTP-3")
def error_without_words(parts: Parts) -> None:
    """The body of an answer of 4xx is an empty object."""

    def empty(_request: Request, answer: Answer) -> None:
        if answer.error:
            answer.json = {}

    parts.on_answer(empty)


@defect("HTTP-3")
def error_is_a_string(parts: Parts) -> None:
    """The body of an answer of 4xx is a JSON string instead of an object."""

    def flatten(_request: Request, answer: Answer) -> None:
        if answer.error:
            answer.json = answer.error["message"]

    parts.on_answer(flatten)


@defect("HTTP-3")
def every_error_blames_line_items(parts: Parts) -> None:
    """Whatever field of a create is wrong or missing, `param` says line_items."""

    def blame(request: Request, answer: Answer) -> None:
        error = answer.error
        if request.is_create and "param" in error:
            answer.json = {"error": {**error, "param": "line_items"}}

    parts.on_answer(blame)


@defect("HTTP-4")
def unknown_path_is_a_bad_request(parts: Parts) -> None:
    """An unknown path is answered with 400 instead of 404."""
    _refuse_as(parts, "not_found", 400)


@defect("HTTP-4")
def other_method_is_not_found(parts: Parts) -> None:
    """Another method on a known path is answered with 404 instead of 405."""
    _refuse_as(parts, "method_not_allowed", 404)


@defect("HTTP-4")
def no_allow(parts: Parts) -> None:
    """A 405 has no Allow."""

    def strip(_request: Request, answer: Answer) -> None:
        answer.set_header(b"allow", None)

    parts.on_answer(strip)


@defect("HTTP-4")
def allow_names_one_method(parts: Parts) -> None:
    """The Allow of a 405 names one method, though the path has two."""

    def cut(_request: Request, answer: Answer) -> None:
        allow = answer.header(b"allow")
        if allow is not None:
            answer.set_header(b"allow", allow.rpartition(b", ")[2])

    parts.on_answer(cut)


@defect("HTTP-4")
def any_media_type_accepted(parts: Parts) -> None:
    """The media type of a create is not looked at: JSON labelled as a form opens a session."""

    def relabel(request: Request) -> None:
        if request.is_create:
            request.set_header(CONTENT_TYPE, b"application/json")

    parts.on_request(relabel)


@defect("HTTP-4")
def other_media_type_is_a_bad_request(parts: Parts) -> None:
    """Another media type is answered with 400 instead of 415."""
    _refuse_as(parts, "media_type_unsupported", 400)


@defect("HTTP-4")
def charset_refused(parts: Parts) -> None:
    """A create as `application/json; charset=utf-8` is answered with 415."""

    def compare(request: Request) -> None:
        if b";" in (request.header(CONTENT_TYPE) or b""):
            request.set_header(CONTENT_TYPE, b"text/plain")

    parts.on_request(compare)


@defect("HTTP-4")
def broken_json_is_a_media_type(parts: Parts) -> None:
    """A body that is not JSON is answered with 415 instead of 400."""
    _refuse_as(parts, "body_invalid", 415)


@defect("HTTP-4")
def too_large_is_a_bad_request(parts: Parts) -> None:
    """A body above the limit is answered with 400 instead of 413."""
    _refuse_as(parts, "body_too_large", 400)


@defect("HTTP-4")
def too_large_hangs_up(parts: Parts) -> None:
    """For a body above the limit the connection is closed without an answer."""

    def hang_up(request: Request) -> None:
        if len(request.body) > _MAX_BODY:
            raise HungUp

    parts.on_request(hang_up)


@defect("HTTP-5")
def refused_rule_opens_a_session(parts: Parts) -> None:
    """An `expires_at` out of range and two currencies are refused, and yet a list shows the session."""

    async def create(
        inner: Callable[..., Awaitable[Any]], account: AccountId, params: CreateSession, request: Any
    ) -> Any:
        try:
            return await inner(account, params, request)
        except (ExpiresAtOutOfRange, CurrencyMixed):
            kept = CreateSession(params.line_items[:1], params.success_url, params.return_url, params.cancel_url)
            await inner(account, kept, type(request)(request.id))
            raise

    parts.around(parts.service, "create", create)


@defect("HTTP-5")
def refused_media_type_opens_a_session(parts: Parts) -> None:
    """A create with another media type is answered with 415, and yet a list shows the session."""

    async def layer(request: Request, respond: Respond) -> Answer:
        answer = await respond(request)
        if request.is_create and answer.status == 415:
            request.set_header(CONTENT_TYPE, b"application/json")
            await respond(request)
        return answer

    parts.on_traffic(layer)


@defect("HTTP-5")
def refused_key_expires(parts: Parts) -> None:
    """An expire whose Idempotency-Key is too long is answered with 400, and yet the session is expired."""

    async def layer(request: Request, respond: Respond) -> Answer:
        answer = await respond(request)
        if request.is_expire and answer.error.get("param") == "Idempotency-Key":
            request.set_header(b"idempotency-key", None)
            await respond(request)
        return answer

    parts.on_traffic(layer)


@defect("HTTP-6")
def crash_on_broken_json(parts: Parts) -> None:
    """A body that is not JSON is answered with 500."""

    def is_broken(request: Request) -> bool:
        try:
            orjson.loads(request.body)
        except orjson.JSONDecodeError:
            return request.is_create and bool(request.body)
        return False

    _crash(parts, is_broken)


@defect("HTTP-6")
def crash_on_nul(parts: Parts) -> None:
    """A NUL in the id of a session (`%00`) is answered with 500."""
    _crash(parts, lambda request: "%00" in request.path)


@defect("HTTP-6")
def crash_on_long_ids(parts: Parts) -> None:
    """An id of more than 255 characters is answered with 500."""
    _crash(parts, lambda request: any(len(segment) > 255 for segment in request.path.split("/")))


@defect("HTTP-6")
def crash_on_huge_integers(parts: Parts) -> None:
    """An integer beyond 64 bits in a body is answered with 500."""
    _crash(parts, lambda request: re.search(rb":\s*-?[0-9]{20,}", request.body))


@defect("HTTP-6")
def crash_on_emoji(parts: Parts) -> None:
    """A character of four bytes in UTF-8, which the database's text cannot hold, is answered with 500."""
    escaped = re.compile(rb"\\u[dD][89abAB]")
    _crash(parts, lambda request: any(byte >= 0xF0 for byte in request.body) or escaped.search(request.body))


@defect("HTTP-6")
def crash_on_nested_filters(parts: Parts) -> None:
    """A bound with a key too many (`created[gte][x]=1`) is answered with 500."""
    _crash(parts, lambda request: re.search(rb"(\]|%5D)(\[|%5B)", request.query, re.IGNORECASE))


@defect("HTTP-6")
def crash_on_invalid_utf8(parts: Parts) -> None:
    """A body that is not UTF-8 is answered with 500."""

    def is_invalid(request: Request) -> bool:
        try:
            request.body.decode()
        except UnicodeDecodeError:
            return True
        return False

    _crash(parts, is_invalid)


@defect("HTTP-6")
def hang_up_on_deep_nesting(parts: Parts) -> None:
    """For a body of more than 500 arrays, one within the other, the connection is closed without an answer."""

    def hang_up(request: Request) -> None:
        if request.body.count(b"[") > 500 or request.body.count(b"{") > 1000:
            raise HungUp

    parts.on_request(hang_up)
