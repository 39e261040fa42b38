"""What a target answers and a file holds may be anything: the checker reads it, or says that it cannot."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qashier_contract import judge
from qashier_contract.drive.traffic import har
from qashier_contract.errors import CheckError
from qashier_contract.history import Exchange, Reply, Request
from qashier_contract.interrupts import Stop
from qashier_contract.page import Page, page_of
from qashier_contract.trace import file as trace_file
from qashier_contract.transport import BODY_MOST, HttpTransport
from qashier_contract.values import NOT_JSON, as_words, read_json
from raw_server import raw_server, read_request

SOAK_EXAMPLES: Final = {"sample": 100, "full": 5_000}[os.environ.get("QASHIER_SOAK", "sample")]
CALM: Final = settings(max_examples=60, deadline=None)
LONG: Final = settings(max_examples=SOAK_EXAMPLES, deadline=None)

# ── answers on the wire ─────────────────────────────────────────────────────────────────────────────────────────────

BODY: Final = b'{"id":"cs_1","object":"checkout.session"}'
ANSWERS: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x;a=b\r\n" % len(BODY) + BODY + b"\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.0 500 No\r\n\r\nno",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
)
PIECES: Final = (b"\r\n", b"\r\n\r\n", b"\x00", b"\xff", b":", b"0\r\n\r\n", b"%x\r\n" % 2**70, b"-1", b"HTTP/1.1 ")
CHANGES: Final = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 9), st.sampled_from(PIECES) | st.binary(max_size=3)), max_size=4
)


class Echo:
    """A target that answers with what it is told to."""

    def __init__(self) -> None:
        self.answer = b""
        self.url = ""


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    echo = Echo()

    def serve(connection: Any) -> None:
        if read_request(connection):
            connection.sendall(echo.answer)

    with raw_server(serve) as echo.url:
        yield echo


def check_answer(echo: Echo, answer: bytes, changes: list[tuple[float, int, bytes]]) -> None:
    for place, removed, inserted in changes:
        at = int(place * len(answer))
        answer = answer[:at] + inserted + answer[at + removed :]
    echo.answer = answer
    transport = HttpTransport(Stop())
    try:
        deadline_ns = time.monotonic_ns() + 5 * 10**9
        reply, failure = transport.carry("GET", f"{echo.url}/x", (), None, deadline_ns=deadline_ns)
    finally:
        transport.close()
    assert (reply is None) is (failure is not None)
    if reply is not None:
        assert len(reply.body) <= BODY_MOST
        read_json(reply.body)
        request = Request(method="GET", path="http://h/p")
        page_of(Exchange(number=1, request=request, reply=reply, sent_ns=1, received_ns=2))
    if not changes:
        assert reply is not None or b"gzip" in answer


@given(answer=st.sampled_from(ANSWERS), changes=CHANGES)
@CALM
def test_whatever_a_target_answers_is_an_answer_or_none(
    echo: Echo, answer: bytes, changes: list[tuple[float, int, bytes]]
) -> None:
    check_answer(echo, answer, changes)


@pytest.mark.soak
@given(answer=st.sampled_from(ANSWERS), changes=CHANGES)
@LONG
def test_whatever_a_target_answers_for_long_is_an_answer_or_none(
    echo: Echo, answer: bytes, changes: list[tuple[float, int, bytes]]
) -> None:
    check_answer(echo, answer, changes)


# ── JSON and pages ──────────────────────────────────────────────────────────────────────────────────────────────────

MARKUP: Final = st.lists(
    st.sampled_from(
        ["<form action='/pay' method=post>", "</form>", "<input name=a value=b>", "<a href='/x'>", "<!--", "-->", "<b",
         "'", ">", "<![CDATA[", "<?", "&#x110000;", "&#xD800;", "&amp", "<script>", "</script>", "<textarea>",
         "</textarea>", "<select name=a required>", "<option>", "<optgroup disabled>",
         "<fieldset disabled>", "<input type=radio name=a>",
         "<base href='//['>", "paid", "\x00", "\ud800", '"', "http://[::1"]
    )
    | st.text(max_size=8),
    max_size=40,
)  # fmt: skip


def check_page(pieces: list[str]) -> None:
    page = Page("".join(pieces), "http://h/p")
    assert isinstance(page.text, str)
    for form in page.forms:
        assert isinstance(form["action"], str)


@given(MARKUP)
@CALM
def test_whatever_a_page_holds_it_is_read(pieces: list[str]) -> None:
    check_page(pieces)


@pytest.mark.soak
@given(MARKUP)
@LONG
def test_whatever_a_page_holds_for_long_it_is_read(pieces: list[str]) -> None:
    check_page(pieces)


@given(st.binary(max_size=60) | st.text('[{"\\:,}]e-+.0123aN', max_size=60).map(str.encode))
@example(b"[" * 5_000)
@example(b"1e999999999")
@example(b"9" * 5_000)
@example(b"9" * 500)
@CALM
def test_whatever_a_body_holds_it_is_json_or_not(body: bytes) -> None:
    value = read_json(body)
    if value is not NOT_JSON:
        json.dumps(value)
        assert len(as_words(value)) < 500


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────

LEAVES: Final = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
NAMES: Final = st.sampled_from(
    ["log", "entries", "request", "response", "url", "method", "headers", "name", "value", "status", "content", "text",
     "encoding", "startedDateTime", "time", "postData", "format", "version", "target", "terms", "exchanges"]
)  # fmt: skip
VALUES: Final = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=4)
)


def entry() -> dict[str, Any]:
    return {
        "startedDateTime": "2026-01-01T00:00:00.000Z",
        "time": 1,
        "request": {
            "method": "GET",
            "url": "https://api.example/checkout/sessions",
            "headers": [{"name": "Authorization", "value": "Bearer sk_test_a"}],
        },
        "response": {"status": 200, "headers": [], "content": {"mimeType": "application/json", "text": "{}"}},
    }


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a value, with each of its keys."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def check_file(place: float, value: Any) -> None:
    """A HAR file, one place of which holds something else."""
    document: Any = {"log": {"entries": [entry(), entry()]}}
    found = places(document)
    container, key = found[int(place * (len(found) - 1))]
    container[key] = value
    for text in (json.dumps(document), json.dumps(value)):
        loaded = json.loads(text)
        refused: Exception | None = None
        try:
            if har.is_har(loaded):
                judge(har.read(loaded, "f.har").trace)
            else:
                trace_file.parse(loaded, "f.json")
        except (CheckError, trace_file.TraceError) as error:
            refused = error
        assert refused is None or re.match(r"f\.(har|json)", str(refused))


@given(place=st.floats(0, 1), value=VALUES)
@CALM
def test_whatever_a_recording_holds_it_is_judged_or_refused_in_words(place: float, value: Any) -> None:
    check_file(place, value)


@pytest.mark.soak
@given(place=st.floats(0, 1), value=VALUES)
@LONG
def test_whatever_a_recording_holds_for_long_it_is_judged_or_refused_in_words(place: float, value: Any) -> None:
    check_file(place, value)


def test_a_reply_that_was_changed_beyond_recognition_is_still_a_reply() -> None:
    reply = Reply(status=200, headers=(("content-type", "text/html; charset=nonsense"),), body=b"\xff<p>paid")
    shown = Exchange(number=1, request=Request(method="GET", path="http://h/p"), reply=reply, sent_ns=1, received_ns=2)
    page = page_of(shown)
    assert page is not None
    assert "paid" in page.text
