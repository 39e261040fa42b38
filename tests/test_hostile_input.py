"""Whatever a stranger sends to the mock: a clear refusal, never a 5xx, a hang or a dropped connection (HTTP-4, HTTP-6).

The whole mock is served on a real connection. Each answer is judged by the document, so a reply that it does not
describe would be a 500 here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judgement import Judge
from pipeline_harness import Answer, Wire, serving

from qashier_mock.app import MockApp, Settings

BASIC = b"Basic " + base64.b64encode(b"sk_test_hostile:")
CREDENTIALS = b"Host: mock\r\nAuthorization: " + BASIC + b"\r\n"
SESSIONS = b"/checkout/sessions"
GOOD: dict[str, Any] = {
    "line_items": [
        {"price_data": {"currency": "SGD", "product_data": {"name": "Kopi"}, "unit_amount": 180}, "quantity": 2}
    ],
    "success_url": "https://shop.example/thanks",
    "return_url": "https://shop.example/order",
}
REQUEST_ID = re.compile(r"req_[0-9A-Za-z_]+\Z")


class Lines(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The mock on a port; at the end, its log is looked at: short lines, nothing unescaped, nothing unexpected."""
    app = MockApp(Settings(), judge=Judge())
    handler = Lines()
    logging.getLogger().addHandler(handler)
    try:
        with serving(app.asgi, app.hooks) as port:
            yield port
    finally:
        logging.getLogger().removeHandler(handler)
    for line in handler.lines:
        assert line.isprintable()
        assert len(line) < 1000
        assert "unexpected" not in line


def request(
    method: bytes = b"POST",
    target: bytes = SESSIONS,
    body: bytes | None = None,
    *headers: bytes,
    credentials: bytes = CREDENTIALS,
) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    if body is not None:
        lines += b"Content-Length: %d\r\n" % len(body)
    return b"%b %b HTTP/1.1\r\n" % (method, target) + credentials + lines + b"\r\n" + (body or b"")


def exchange(port: int, data: bytes, *, head: bool = False) -> Answer:
    """Send one request and judge whatever comes back; then see that the connection still serves another."""
    with Wire(port) as wire:
        wire.send(data)
        answer = wire.read(head=head)
        judge(answer, head=head)
        if answer.header("connection") != "close":
            wire.send(request(b"GET", b"/_mock/v1/health", credentials=b"Host: mock\r\n"))
            assert wire.read().status == 200
        return answer


def judge(answer: Answer, *, head: bool = False) -> None:
    assert answer.status < 500, answer.body[:500]
    assert answer.header("content-type") == "application/json"
    assert REQUEST_ID.match(answer.header("request-id") or "")
    assert all(value.decode("latin-1").isprintable() for _, value in answer.headers)
    if answer.status >= 400 and not head:
        error = answer.json["error"]
        assert error["type"]
        assert error["code"]
        assert 0 < len(error["message"]) <= 300
        assert error["message"].isprintable()
        assert error.get("param", "x").isprintable()
        assert len(answer.body) < 1500


def changed(**fields: Any) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def line(**fields: Any) -> bytes:
    return changed(line_items=[{**GOOD["line_items"][0], **fields}])


def price(**fields: Any) -> bytes:
    return line(price_data={**GOOD["line_items"][0]["price_data"], **fields})


ENCODED = json.dumps(GOOD).encode()
BODIES: dict[str, tuple[bytes | None, int, str]] = {
    "none": (None, 400, "body_invalid"),
    "empty": (b"", 400, "body_invalid"),
    "blank": (b" \r\n\t", 400, "body_invalid"),
    "half": (ENCODED[:-1], 400, "body_invalid"),
    "two": (ENCODED * 2, 400, "body_invalid"),
    "null": (b"null", 400, "body_invalid"),
    "array": (b"[" + ENCODED + b"]", 400, "body_invalid"),
    "string": (b'"x"', 400, "body_invalid"),
    "form": (b"success_url=https%3A%2F%2Fa.example", 400, "body_invalid"),
    "XML": (b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", 400, "body_invalid"),
    "byte order mark": (b"\xef\xbb\xbf" + ENCODED, 400, "body_invalid"),
    "UTF-16": (ENCODED.decode().encode("utf-16"), 400, "body_invalid"),
    "UTF-32": (ENCODED.decode().encode("utf-32"), 400, "body_invalid"),
    "not UTF-8": (ENCODED.replace(b"Kopi", b"\xff\xfe"), 400, "body_invalid"),
    "overlong UTF-8": (ENCODED.replace(b"Kopi", b"\xc0\xaf"), 400, "body_invalid"),
    "encoded surrogate": (ENCODED.replace(b"Kopi", b"\xed\xa0\x80"), 400, "body_invalid"),
    "lone surrogate": (ENCODED.replace(b"Kopi", b"\\ud800"), 400, "body_invalid"),
    "surrogates swapped": (ENCODED.replace(b"Kopi", b"\\udc00\\ud800"), 400, "body_invalid"),
    "raw line break": (ENCODED.replace(b"Kopi", b"Ko\npi"), 400, "body_invalid"),
    "NaN": (ENCODED.replace(b"180", b"NaN"), 400, "body_invalid"),
    "Infinity": (ENCODED.replace(b"180", b"-Infinity"), 400, "body_invalid"),
    "1e400": (ENCODED.replace(b"180", b"1e400"), 400, "body_invalid"),
    "leading zero": (ENCODED.replace(b"180", b"0180"), 400, "body_invalid"),
    "hexadecimal": (ENCODED.replace(b"180", b"0xb4"), 400, "body_invalid"),
    "5001 digits": (ENCODED.replace(b"180", b"9" * 5001), 400, "body_invalid"),
    "comment": (b"/* */" + ENCODED, 400, "body_invalid"),
    "deep array": (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "body_invalid"),
    "deep object": (b'{"x":' * 100_000 + b"1" + b"}" * 100_000, 400, "body_invalid"),
    "900 deep": (ENCODED[:-1] + b',"x":' + b'{"a":' * 900 + b"1" + b"}" * 901, 400, "body_invalid"),
    "260 deep": (ENCODED[:-1] + b',"x":' + b"[" * 260 + b"]" * 260 + b"}", 400, "body_invalid"),
    "20 digits": (ENCODED.replace(b"180", b"9" * 20), 400, "parameter_invalid"),
    "400 digits": (ENCODED.replace(b"180", b"9" * 400), 400, "body_invalid"),
    "fraction": (price(unit_amount=1.5), 400, "parameter_invalid"),
    "whole fraction": (ENCODED.replace(b"180", b"180.0"), 400, "parameter_invalid"),
    "exponent": (ENCODED.replace(b"180", b"1e2"), 400, "parameter_invalid"),
    "negative zero": (ENCODED.replace(b"180", b"-0"), 200, ""),
    "number as a string": (price(unit_amount="180"), 400, "parameter_invalid"),
    "true as a number": (price(unit_amount=True), 400, "parameter_invalid"),
    "null as a number": (price(unit_amount=None), 400, "parameter_invalid"),
    "array as a number": (price(unit_amount=[180]), 400, "parameter_invalid"),
    "negative": (price(unit_amount=-1), 400, "parameter_invalid"),
    "no lines": (changed(line_items=[]), 400, "parameter_invalid"),
    "lines as an object": (changed(line_items={"0": {}}), 400, "parameter_invalid"),
    "lines of nothing": (changed(line_items=[None] * 100), 400, "parameter_invalid"),
    "a hundred thousand lines": (changed(line_items=[1] * 100_000), 400, "parameter_invalid"),
    "lower-case currency": (price(currency="sgd"), 400, "parameter_invalid"),
    "currency with a line break": (price(currency="SGD\n"), 400, "parameter_invalid"),
    "long name": (price(product_data={"name": "x" * 1_900_000}), 400, "parameter_invalid"),
    "name of control characters": (price(product_data={"name": "\r\n\x00\x1b[31m\u2028\u202e"}), 200, ""),
    "name beyond the basic plane": (price(product_data={"name": "😀" * 250}), 200, ""),
    "name of 251 emoji": (price(product_data={"name": "😀" * 251}), 400, "parameter_invalid"),
    "script URL": (changed(success_url="javascript:alert(1)"), 400, "parameter_invalid"),
    "URL with a line break": (changed(success_url="https://a.example/\r\nX: y"), 400, "parameter_invalid"),
    "URL ending in a line break": (changed(success_url="https://a.example\n"), 400, "parameter_invalid"),
    "URL with a user": (changed(success_url="https://a@b.example"), 400, "parameter_invalid"),
    "URL that breaks parsers": (changed(success_url="http://["), 400, "parameter_invalid"),
    "long URL": (changed(success_url="https://a.example/" + "a" * 1_000_000), 400, "parameter_invalid"),
    "long unknown field": (changed(**{"x" * 1_000_000: 1}), 200, ""),
    "ten thousand unknown fields": (changed(**{f"f{i}": 1 for i in range(10_000)}), 200, ""),
    "a hundred thousand unknown fields": (changed(**{f"f{i}": 1 for i in range(100_000)}), 400, "body_invalid"),
    "unknown field of control characters": (changed(**{"\r\nEvil: yes\x00": 1}), 200, ""),
    "prototype": (changed(__proto__={"a": 1}, constructor={}), 200, ""),
    "arguments of ours": (changed(call=1, body=2, self=3), 200, ""),
    "duplicate keys": (ENCODED[:-1] + b',"success_url":"https://last.example/"}', 200, ""),
    "duplicate keys, the last one wrong": (ENCODED[:-1] + b',"success_url":1}', 400, "parameter_invalid"),
    "NUL": (price(product_data={"name": "a\x00b"}), 200, ""),
    "time far off": (changed(expires_at=4102444800), 422, "expires_at_out_of_range"),
    "time beyond time": (changed(expires_at=2**63), 400, "parameter_invalid"),
}


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES)
def test_a_hostile_body(port: int, body: bytes | None, status: int, code: str) -> None:
    answer = exchange(port, request(b"POST", SESSIONS, body))
    assert answer.status == status
    if code:
        assert answer.code == code


HEADERS: dict[str, tuple[list[bytes], int]] = {
    "no media type": ([], 200),
    "empty media type": ([b"Content-Type:"], 200),
    "media type in capitals": ([b"Content-Type: APPLICATION/JSON"], 200),
    "unknown charset": ([b"Content-Type: application/json; charset=bogus"], 200),
    "charset of another kind": ([b"Content-Type: application/json; charset=utf-16"], 200),
    "media type of a form": ([b"Content-Type: application/x-www-form-urlencoded"], 415),
    "multipart without boundary": ([b"Content-Type: multipart/form-data"], 415),
    "media type of nonsense": ([b"Content-Type: ;;;,"], 415),
    "long media type": ([b"Content-Type: " + b"a" * 7000], 415),
    "media type that is no ASCII": ([b"Content-Type: \xff\xfe"], 415),
    "two media types": ([b"Content-Type: application/json", b"Content-Type: text/plain"], 415),
    "gzip": ([b"Content-Encoding: gzip"], 415),
    "identity": ([b"Content-Encoding: identity"], 200),
    "a key": ([b"Idempotency-Key: order-1"], 200),
    "a key of 255": ([b"Idempotency-Key: " + b"a" * 255], 200),
    "a key of 256": ([b"Idempotency-Key: " + b"a" * 256], 400),
    "a key of 7000": ([b"Idempotency-Key: " + b"a" * 7000], 400),
    "an empty key": ([b"Idempotency-Key:"], 400),
    "a key of blanks": ([b"Idempotency-Key:    "], 400),
    "a key with white space around it": ([b"Idempotency-Key: \t order-1 \t"], 200),
    "a key with a blank": ([b"Idempotency-Key: a b"], 400),
    "a key with a tab": ([b"Idempotency-Key: a\tb"], 400),
    "a key that is no ASCII": ([b"Idempotency-Key: caf\xc3\xa9"], 400),
    "a key of high bytes": ([b"Idempotency-Key: \x80\xff"], 400),
    "two keys": ([b"Idempotency-Key: a", b"Idempotency-Key: b"], 400),
    "the same key twice": ([b"Idempotency-Key: a", b"idempotency-key: a"], 400),
    "unknown headers": ([b"X-A: \xff", b"X-A: again", b"Cookie: a=b; c=d"], 200),
    "host of another": ([b"X-Forwarded-Host: evil.example", b"Forwarded: host=evil.example"], 200),
    "method override": ([b"X-HTTP-Method-Override: DELETE"], 200),
    "range": ([b"Range: bytes=0-1", b"If-None-Match: *"], 200),
    "accept nothing": ([b"Accept: image/png"], 200),
    "trailers announced": ([b"Trailer: X-A", b"TE: trailers"], 200),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "status"), HEADERS.values(), ids=HEADERS)
def test_a_hostile_header(port: int, headers: list[bytes], status: int) -> None:
    assert exchange(port, request(b"POST", SESSIONS, ENCODED, *headers)).status == status


def test_white_space_around_a_header_is_no_part_of_its_value(port: int) -> None:
    first = exchange(port, request(b"POST", SESSIONS, ENCODED, b"Idempotency-Key: around"))
    second = exchange(port, request(b"POST", SESSIONS, ENCODED, b"Idempotency-Key:around \t"))
    assert first.body == second.body
    credentials = b"Host: mock\r\nAuthorization: \t" + BASIC + b" \t\r\n"
    assert exchange(port, request(b"GET", SESSIONS, credentials=credentials)).status == 200


@pytest.mark.parametrize("target", [b"/pay/nothing", b"/pay/nothing/redirect"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_page_that_leaves_a_body_unread_can_be_read_itself(port: int, target: bytes, version: bytes) -> None:
    with Wire(port) as wire:
        data = request(b"POST", target, b"x" * 3_000_000, b"Connection: close")
        wire.send(data.replace(b"HTTP/1.1", b"HTTP/" + version, 1))
        answer = wire.read()
        assert answer.status in {404, 405, 413}
        assert answer.body.endswith(b"</html>")
        assert wire.ends()


AUTHORIZATION: dict[str, list[bytes]] = {
    "none": [],
    "empty": [b""],
    "blank": [b" "],
    "one word": [b"Basic"],
    "another scheme": [b"Digest username=x"],
    "not base64": [b"Basic !!!"],
    "base64 of nothing": [b"Basic "],
    "base64 without padding": [b"Basic c2tfdGVzdF9hOg"],
    "not UTF-8 within": [b"Basic " + base64.b64encode(b"\xff\xfe:")],
    "no colon": [b"Basic " + base64.b64encode(b"sk_test_a")],
    "a password": [b"Basic " + base64.b64encode(b"sk_test_a:x")],
    "another key": [b"Basic " + base64.b64encode(b"pk_test_a:")],
    "the prefix alone": [b"Bearer sk_test_"],
    "control characters": [b"Basic " + base64.b64encode(b"sk_test_\r\nX: y:")],
    "live": [b"Bearer sk_live_verysecret"],
    "long": [b"Bearer " + b"a" * 7000],
    "high bytes": [b"Bearer sk_test_\xff"],
    "two": [BASIC, BASIC],
}


@pytest.mark.parametrize("values", AUTHORIZATION.values(), ids=AUTHORIZATION)
def test_a_hostile_authorization(port: int, values: list[bytes]) -> None:
    credentials = b"Host: mock\r\n" + b"".join(b"Authorization: " + value + b"\r\n" for value in values)
    answer = exchange(port, request(b"GET", SESSIONS, credentials=credentials))
    assert answer.status == 401
    assert answer.header("www-authenticate")
    assert b"verysecret" not in answer.body


TARGETS: dict[str, tuple[bytes, bytes, int]] = {
    "trailing slash": (b"GET", b"/checkout/sessions/", 404),
    "two slashes": (b"GET", b"//checkout/sessions", 404),
    "no id": (b"POST", b"/checkout/sessions//expire", 404),
    "dots": (b"GET", b"/checkout/../checkout/sessions", 404),
    "encoded slash": (b"GET", b"/checkout%2Fsessions", 404),
    "id with an encoded slash": (b"GET", b"/checkout/sessions/a%2Fexpire", 404),
    "id with a line break": (b"GET", b"/checkout/sessions/a%0d%0aX:%20y", 404),
    "id with NUL": (b"GET", b"/checkout/sessions/%00", 404),
    "id that is no UTF-8": (b"GET", b"/checkout/sessions/%ff%fe", 404),
    "id with a broken percent": (b"GET", b"/checkout/sessions/%zz", 404),
    "id of quotes": (b"GET", b"/checkout/sessions/'%22%3B--", 404),
    "id of markup": (b"GET", b"/checkout/sessions/%3Cscript%3E", 404),
    "id with braces": (b"GET", b"/checkout/sessions/{id}", 404),
    "long id": (b"GET", b"/checkout/sessions/" + b"a" * 7000, 404),
    "id of dots": (b"GET", b"/checkout/sessions/..", 404),
    "path parameters": (b"GET", b"/checkout/sessions;a=b", 404),
    "star": (b"OPTIONS", b"*", 404),
    "nested bracket": (b"GET", b"/checkout/sessions?created[gte][x]=1", 400),
    "repeated": (b"GET", b"/checkout/sessions?limit=1&limit=2", 400),
    "five thousand parameters": (
        b"GET", b"/checkout/sessions?" + b"&".join(b"a%d=1" % i for i in range(5000)), 400),
    "parameters of ours": (b"GET", b"/checkout/sessions?call=1&self=2", 400),
    "Python's integers": (b"GET", b"/checkout/sessions?limit=1_0", 400),
    "Arabic digits": (b"GET", b"/checkout/sessions?limit=%D9%A1", 400),
    "endless integer": (b"GET", b"/checkout/sessions?limit=" + b"9" * 6000, 400),
    "negative": (b"GET", b"/checkout/sessions?created[gt]=-1", 400),
    "broken percent": (b"GET", b"/checkout/sessions?starting_after=%", 400),
    "not UTF-8": (b"GET", b"/checkout/sessions?starting_after=%ff", 400),
    "unknown, with a line break": (b"GET", b"/checkout/sessions?a%0d%0aSet-Cookie:x=1", 400),
    "unknown on a path without any": (b"POST", b"/checkout/sessions/a/expire?x=1", 400),
    "cursor with NUL": (b"GET", b"/checkout/sessions?starting_after=%00", 422),
    "long cursor": (b"GET", b"/checkout/sessions?ending_before=" + b"a" * 7000, 422),
    "both cursors": (b"GET", b"/checkout/sessions?starting_after=a&ending_before=b", 422),
    "HEAD": (b"HEAD", b"/checkout/sessions", 405),
    "OPTIONS": (b"OPTIONS", b"/checkout/sessions/a", 405),
    "TRACE": (b"TRACE", b"/checkout/sessions/a", 405),
    "a WebDAV method": (b"PROPFIND", b"/checkout/sessions/a/expire", 405),
}  # fmt: skip


@pytest.mark.parametrize(("method", "target", "status"), TARGETS.values(), ids=TARGETS)
def test_a_hostile_target(port: int, method: bytes, target: bytes, status: int) -> None:
    for prefix in (b"", b"/v3/payment/qpay"):
        path = prefix + target if target.startswith(b"/") else target
        assert exchange(port, request(method, path), head=method == b"HEAD").status == status


@pytest.mark.parametrize("close", [b"X-A: b", b"Connection: close"])
@pytest.mark.parametrize("size", [2 * 1024 * 1024 + 1, 30_000_000])
def test_a_body_that_is_too_large(port: int, size: int, close: bytes) -> None:
    assert exchange(port, request(b"POST", SESSIONS, b" " * size, close)).status == 413


def test_a_body_of_the_greatest_size(port: int) -> None:
    """Every valid request fits, however it is escaped."""
    name = {"name": "😀" * 250, "description": "😀" * 1000}
    item = {**GOOD["line_items"][0], "price_data": {"currency": "SGD", "product_data": name, "unit_amount": 1}}
    longest = "https://a.example/" + "a" * 2030
    body = json.dumps({"line_items": [item] * 100, "success_url": longest, "return_url": longest}).encode()
    assert len(body) > 1_400_000
    assert exchange(port, request(b"POST", SESSIONS, body)).status == 200
    assert exchange(port, request(b"POST", SESSIONS, ENCODED.ljust(2 * 1024 * 1024))).status == 200


def test_a_body_in_many_chunks(port: int) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in ENCODED) + b"0\r\n\r\n"
    assert exchange(port, request(b"POST", SESSIONS, None, b"Transfer-Encoding: chunked") + chunks).status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /checkout/sessions HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        b"GET /checkout/sessions HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n",
        b"POST /checkout/sessions HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /checkout/sessions HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x00" * 100,
        b"\x00" * 1000,
        b"GET /\xff HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request(port: int, data: bytes) -> None:
    with Wire(port) as wire:
        wire.send(data)
        if data.strip() == b"":
            wire.send(b"x\r\n\r\n")  # blank lines before a request are allowed
        answer = wire.read()
        judge(answer)
        assert (answer.status, answer.header("connection")) == (400, "close")
        assert wire.ends()


VISIBLE = st.binary(max_size=120).map(lambda raw: bytes(33 + byte % 94 for byte in raw))
PIECES = st.sampled_from(
    [b"checkout", b"sessions", b"expire", b"_mock", b"v1", b"pay", b"%2F", b"%00", b"%ff", b"..", b"", b"{id}", b"%zz"]
)
PATHS = st.lists(PIECES | VISIBLE.map(lambda raw: raw[:20].replace(b"?", b"")), max_size=6).map(
    lambda pieces: b"/" + b"/".join(pieces)
)
QUERIES = st.lists(
    st.tuples(
        st.sampled_from([b"limit", b"status", b"created[gte]", b"created", b"created[gt][x]", b"starting_after", b""])
        | VISIBLE,
        st.sampled_from([b"1", b"open", b"", b"%", b"%ff", b"99999999999999999999", b"-0", b"1_0"]) | VISIBLE,
    ),
    max_size=4,
).map(lambda pairs: b"&".join(name + b"=" + value for name, value in pairs))
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20) | st.sampled_from(["SGD", "https://a.example", 0, 1, 100, 99_999_999])
)  # fmt: skip
NAMES = st.sampled_from(
    ["line_items", "price_data", "product_data", "currency", "unit_amount", "quantity", "name", "description",
     "success_url", "return_url", "cancel_url", "expires_at", "metadata"]
)  # fmt: skip
VALUES = st.recursive(LEAVES, lambda s: st.lists(s, max_size=4) | st.dictionaries(NAMES | st.text(max_size=9), s))
FUZZ = settings(
    derandomize=True, max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(method=st.sampled_from([b"GET", b"POST", b"DELETE", b"PUT", b"PATCH"]), path=PATHS, query=QUERIES)
@FUZZ
def test_any_target_is_answered(port: int, method: bytes, path: bytes, query: bytes) -> None:
    with Wire(port) as wire:
        wire.send(request(method, path + b"?" + query))
        answer = wire.read()
        assert answer.status < 500
        if not path.startswith((b"/pay", b"/_mock")):
            judge(answer)


@given(body=VALUES.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200))
@FUZZ
def test_any_body_is_answered(port: int, body: bytes) -> None:
    exchange(port, request(b"POST", SESSIONS, body))


@given(field=NAMES, value=VALUES)
@FUZZ
def test_any_field_is_answered(port: int, field: str, value: Any) -> None:
    exchange(port, request(b"POST", SESSIONS, changed(**{field: value})))


@given(name=st.sampled_from([b"Content-Type", b"Idempotency-Key", b"Content-Encoding", b"Connection", b"Expect"]),
       value=st.binary(max_size=60))  # fmt: skip
@FUZZ
def test_any_header_is_answered(port: int, name: bytes, value: bytes) -> None:
    with Wire(port) as wire:
        wire.send(request(b"POST", SESSIONS, ENCODED, name + b": " + value))
        judge(wire.read())


@given(data=st.binary(min_size=1, max_size=300))
@FUZZ
def test_any_bytes_are_survived(port: int, data: bytes) -> None:
    with Wire(port) as wire:
        with contextlib.suppress(ConnectionError):
            wire.send(data + b"\r\n\r\nx\r\n\r\n")
        judge(wire.read())
    exchange(port, request(b"GET", SESSIONS))
