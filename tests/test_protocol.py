"""HTTP on the wire: what the protocol serves, refuses and survives, on a real connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_harness import KEY, TINY, Answer, Hooks, Wire, echoes, serving, tiny
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from qashier_mock.pipeline import descriptors, protocol
from qashier_mock.pipeline.app import create_pipeline
from qashier_mock.pipeline.beginning import have_a_task
from qashier_mock.pipeline.document import Document
from qashier_mock.pipeline.exchange import Call, Fault
from qashier_mock.pipeline.protocol import HEADER_LIMIT
from qashier_mock.pipeline.reply import Reply, Transmit

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CREDENTIALS = b"Host: mock\r\nAuthorization: " + KEY + b"\r\n"
GET = b"GET /things/a HTTP/1.1\r\n" + CREDENTIALS + b"\r\n"
BODY = b'{"name":"a"}'
POST_CHUNKED = b"POST /things HTTP/1.1\r\n" + CREDENTIALS + b"Transfer-Encoding: chunked\r\n\r\n"
BIG = b"x" * 3_000_000


def post(body: bytes = BODY, *headers: bytes, path: bytes = b"/things") -> bytes:
    lines = b"".join(header + b"\r\n" for header in (*headers, b"Content-Length: %d" % len(body)))
    return b"POST " + path + b" HTTP/1.1\r\n" + CREDENTIALS + lines + b"\r\n" + body


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


async def suspends(call: Call, **arguments: Any) -> Reply:
    """A handler that waits, so that its call goes on in a task."""
    await asyncio.sleep(0)
    waiting = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(waiting.set_result, None)
    await waiting
    assert asyncio.current_task() is not None
    return Reply(200, {"operation": call.operation_id, "arguments": arguments})


async def needs_a_task(call: Call, **_: Any) -> Reply:
    await have_a_task()
    async with asyncio.timeout(5):
        await asyncio.sleep(0)
    return Reply(200, {"operation": call.operation_id})


async def fails_later(call: Call, **_: Any) -> Reply:
    await asyncio.sleep(0)
    raise RuntimeError(call.request_id)


async def large(call: Call, **_: Any) -> Reply:
    return Reply(200, {"text": "x" * 5_000_000})


async def streamed(scope: Any, receive: Any, send: Any) -> None:
    """A page that does not know how long it will be."""
    await receive()
    if scope["path"] == "/pay/wrong":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"a\r\nSet-Cookie: b")]})
    elif scope["path"] == "/pay/large":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"5000000")]})
        for i in range(50):
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": i < 49})
        return
    elif scope["path"] == "/pay/short":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"abc"})
    elif scope["path"] == "/pay/nothing":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"ab", "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    await send({"type": "http.response.body", "body": b"cde"})


HANDLERS = {
    **echoes(TINY),
    "close_thing": suspends,
    "get_newest": needs_a_task,
    "delete_thing": fails_later,
    "put_settings": large,
}


def make_app(hooks: Hooks, **handlers: Any) -> Any:
    return create_pipeline([(Document(tiny()), ["", "/v1"])], {**HANDLERS, **handlers}, hooks, pages={"/pay": streamed})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    hooks = Hooks()
    with serving(make_app(hooks), hooks) as port:
        yield port


@pytest.fixture(scope="module")
def fallback_port() -> Iterator[int]:
    """A server on a version of uvicorn that keeps nothing by the names that our own protocol uses."""
    hooks = Hooks()
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(protocol, "NEEDED", {HttpToolsProtocol: ("elsewhere",)})
            port = stack.enter_context(serving(make_app(hooks), hooks))
        yield port


@pytest.fixture(scope="module")
def impatient() -> Iterator[int]:
    async def longer(call: Call, **_: Any) -> Reply:
        await asyncio.sleep(0.4)
        return Reply(200, {"operation": call.operation_id})

    hooks = Hooks()
    # Not shorter: on a busy machine what a client has sent comes a little later than its connection.
    with serving(make_app(hooks, close_thing=longer), hooks, silence_s=0.2) as port:
        yield port


def exchange(port: int, *parts: bytes, head: bool = False) -> Answer:
    """Send one request, in as many packets as parts, and see that the connection is of use afterwards."""
    with Wire(port) as wire:
        for part in parts:
            wire.send(part)
        answer = wire.read(head=head)
        if answer.header("connection") == "close":
            assert wire.ends()
        else:
            wire.send(GET)
            assert wire.read().status == 200
        return answer


class TestServing:
    def test_a_request_in_single_bytes_is_understood(self, port: int) -> None:
        request = post()
        assert exchange(port, *(request[i : i + 1] for i in range(len(request)))).status == 200

    @pytest.mark.parametrize(
        "request_bytes",
        [
            GET,
            post(),
            post(path=b"/things/a/close"),
            b"GET /things/newest HTTP/1.1\r\n" + CREDENTIALS + b"\r\n",
            b"GET http://elsewhere/things/a HTTP/1.1\r\n" + CREDENTIALS + b"\r\n",
            b"GET /things/a#fragment HTTP/1.1\r\n" + CREDENTIALS + b"\r\n",
            POST_CHUNKED + chunked(BODY[:5], BODY[5:]),
            post(b"", b"Expect: 100-continue", path=b"/things/a/close"),
        ],
        ids=["get", "post", "suspends", "needs a task", "absolute", "fragment", "chunked", "expect"],
    )  # fmt: skip
    def test_requests_are_answered(self, port: int, request_bytes: bytes) -> None:
        assert exchange(port, request_bytes).status == 200

    def test_an_operation_that_asks_for_a_task_has_one(self, port: int) -> None:
        answer = exchange(port, b"GET /things/newest HTTP/1.1\r\n" + CREDENTIALS + b"\r\n")
        assert answer.json == {"operation": "get_newest"}

    def test_a_body_after_100_continue_is_read(self, port: int) -> None:
        head, _, body = post(BODY, b"Expect: 100-continue").partition(b"\r\n\r\n")
        with Wire(port) as wire:
            wire.send(head + b"\r\n\r\n")
            assert wire.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            wire.send(body)
            assert wire.read().status == 200

    def test_a_client_that_waits_for_100_continue_is_told_to_close_when_refused(self, port: int) -> None:
        head = b"POST /things HTTP/1.1\r\n" + CREDENTIALS + b"Content-Length: 3000000\r\nExpect: 100-continue\r\n\r\n"
        answer = exchange(port, head)
        assert (answer.status, answer.header("connection")) == (413, "close")

    @pytest.mark.parametrize("count", [2, 1500])
    def test_requests_in_one_packet_are_answered_in_order(self, port: int, count: int) -> None:
        paths = [f"/things/{i}" if i % 2 else f"/things/{i}/close" for i in range(count)]
        methods = [b"GET" if i % 2 else b"POST" for i in range(count)]
        lines = [b"%b %b HTTP/1.1\r\n" % (method, path.encode()) for method, path in zip(methods, paths, strict=True)]
        with Wire(port) as wire:
            wire.send(b"".join(line + CREDENTIALS + b"\r\n" for line in lines))
            for i in range(count):
                assert wire.read().json["arguments"] == {"id": str(i)}

    def test_a_body_that_comes_late_is_read_whatever_came_before_it(self, port: int) -> None:
        """Requests of a connection share what their readers wait for."""
        with Wire(port) as wire:
            for _ in range(2):
                wire.send(post())
                assert wire.read().json["arguments"] == {"body": {"name": "a"}}
                for part in (post()[: -len(BODY)], BODY[:3], BODY[3:]):
                    wire.send(part)
                assert wire.read().json["arguments"] == {"body": {"name": "a"}}

    def test_a_client_of_http_1_0_is_answered_and_left(self, port: int) -> None:
        answer = exchange(port, b"GET /things/a HTTP/1.0\r\n" + CREDENTIALS + b"\r\n")
        assert (answer.status, answer.header("connection")) == (200, "close")

    def test_a_head_request_gets_no_body(self, port: int) -> None:
        answer = exchange(port, b"HEAD /things HTTP/1.1\r\n" + CREDENTIALS + b"\r\n", head=True)
        assert (answer.status, answer.header("allow")) == (405, "GET, POST")

    @pytest.mark.parametrize(
        "headers",
        [
            [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"],
            [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x"],
            [b"Connection: keep-alive, Upgrade", b"Upgrade: h2c"],
        ],
    )
    def test_an_upgrade_is_declined_and_the_request_served(self, port: int, headers: list[bytes]) -> None:
        """Java's HttpClient sends the first of these with its first request, a POST's body right behind."""
        answer = exchange(port, post(BODY, *headers))
        assert (answer.status, answer.json["arguments"]) == (200, {"body": {"name": "a"}})
        split = post(BODY, *headers)
        assert exchange(port, split[:40], split[40:-5], split[-5:]).status == 200
        assert exchange(port, GET[:-2] + b"\r\n".join([*headers, b"", b""])).status == 200

    def test_an_answer_larger_than_the_buffers_arrives_whole(self, port: int) -> None:
        answer = exchange(port, b"PUT /settings HTTP/1.1\r\n" + CREDENTIALS + b"\r\n")
        assert len(answer.json["text"]) == 5_000_000

    @pytest.mark.parametrize("target", [b"PUT /settings", b"GET /pay/large"])
    def test_a_client_that_is_slow_to_read_gets_every_answer(self, port: int, target: bytes) -> None:
        """The second answer has to wait until the first one has left."""
        with Wire(port) as wire:
            wire.send((target + b" HTTP/1.1\r\n" + CREDENTIALS + b"\r\n") * 3)
            for _ in range(3):
                assert len(wire.read().body) >= 5_000_000

    def test_a_client_that_leaves_amid_the_answer_is_forgotten(self, port: int) -> None:
        for target in (b"PUT /settings", b"GET /pay/large"):
            with Wire(port) as wire:
                wire.send((target + b" HTTP/1.1\r\n" + CREDENTIALS + b"\r\n") * 3)
                assert wire.socket.recv(100)
        assert exchange(port, GET).status == 200

    def test_a_page_of_unknown_length_is_chunked(self, port: int) -> None:
        with Wire(port) as wire:
            wire.send(b"GET /pay/a HTTP/1.1\r\nHost: mock\r\nConnection: close\r\n\r\n")
            received = b""
            while data := wire.socket.recv(4096):
                received += data
        head, _, body = received.partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        assert b"request-id: req_" in head
        assert body == b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"

    def test_a_server_of_several_seconds_adds_the_date(self, port: int) -> None:
        assert exchange(port, GET).header("date")


class TestUnreadBodies:
    """Whoever is refused before its body was read can read the answer, and use the connection afterwards."""

    @pytest.mark.parametrize("close", [False, True])
    @pytest.mark.parametrize(
        ("path", "status"), [(b"/things", 413), (b"/things/a/close", 200), (b"/nothing", 404), (b"/things/a", 405)]
    )
    def test_a_large_body(self, port: int, path: bytes, status: int, close: bool) -> None:  # noqa: FBT001
        headers = [b"Connection: close"] if close else []
        answer = exchange(port, post(BIG, *headers, path=path))
        assert (answer.status, answer.header("connection")) == (status, "close" if close else None)

    @pytest.mark.parametrize("close", [False, True])
    def test_a_large_body_in_chunks(self, port: int, close: bool) -> None:  # noqa: FBT001
        connection = b"Connection: close\r\n" if close else b""
        head = b"POST /things HTTP/1.1\r\n" + CREDENTIALS + connection + b"Transfer-Encoding: chunked\r\n\r\n"
        assert exchange(port, head, chunked(*[BIG[:500_000]] * 6)).status == 413

    def test_a_client_without_credentials_may_send_what_it_likes(self, port: int) -> None:
        request = post(BIG).replace(b"Authorization", b"X-Authorization")
        assert exchange(port, request).status == 401

    def test_a_client_that_leaves_amid_its_body_is_forgotten(self, port: int) -> None:
        for request in (post(BIG)[:100_000], post(BODY)[:-5], post(BIG, b"Connection: close")[:5000]):
            with Wire(port) as wire:
                wire.send(request)
        assert exchange(port, GET).status == 200


REFUSED: dict[str, bytes] = {
    "garbage": b"garbage\r\n\r\n",
    "TLS": bytes.fromhex("16030100f8010000f40303") + b"\x00" * 200,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET /things/a HTTP/9.9\r\n" + CREDENTIALS + b"\r\n",
    "unknown method": b"FOO /things/a HTTP/1.1\r\n" + CREDENTIALS + b"\r\n",
    "lower-case method": b"get /things/a HTTP/1.1\r\n" + CREDENTIALS + b"\r\n",
    "CONNECT": b"CONNECT elsewhere:443 HTTP/1.1\r\n" + CREDENTIALS + b"\r\n",
    "line feeds only": b"GET /things/a HTTP/1.1\nHost: mock\n\n",
    "folded header": b"GET /things/a HTTP/1.1\r\nHost: mock\r\nX-A: a\r\n b\r\n\r\n",
    "header without colon": b"GET /things/a HTTP/1.1\r\nHost: mock\r\nnonsense\r\n\r\n",
    "blank before colon": b"GET /things/a HTTP/1.1\r\nHost : mock\r\n\r\n",
    "header without name": b"GET /things/a HTTP/1.1\r\n: mock\r\n\r\n",
    "NUL in a header": b"GET /things/a HTTP/1.1\r\nHost: mo\x00ck\r\n\r\n",
    "line feed in a header": b"GET /things/a HTTP/1.1\r\nHost: mo\nck: x\r\n\r\n",
    "path not ASCII": b"GET /things/\xc3\xa9 HTTP/1.1\r\n" + CREDENTIALS + b"\r\n",
    "NUL in the path": b"GET /things/\x00 HTTP/1.1\r\n" + CREDENTIALS + b"\r\n",
    "broken absolute target": b"GET http://[/things HTTP/1.1\r\n" + CREDENTIALS + b"\r\n",
    "two lengths": b"POST /things HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "negative length": b"POST /things HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "length in words": b"POST /things HTTP/1.1\r\nContent-Length: two\r\n\r\n{}",
    "endless length": b"POST /things HTTP/1.1\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n",
    "length and chunks": b"POST /things HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk size in words": b"POST /things HTTP/1.1\r\n" + CREDENTIALS + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "chunk size too large": b"POST /things HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"F" * 20 + b"\r\n",
    "long target": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + CREDENTIALS + b"\r\n",
    "target of 64 KiB": b"GET /" + b"a" * HEADER_LIMIT + b" HTTP/1.1\r\n" + CREDENTIALS + b"\r\n",
    "long header": b"GET /things/a HTTP/1.1\r\n" + CREDENTIALS + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": b"GET /things/a HTTP/1.1\r\n" + CREDENTIALS + b"A: b\r\n" * 20_000 + b"\r\n",
    "headers without end": b"GET /things/a HTTP/1.1\r\n" + b"A: b\r\n" * 200_000,
}


class TestRefusals:
    @pytest.mark.parametrize("request_bytes", REFUSED.values(), ids=REFUSED)
    def test_what_is_no_request_gets_the_envelope_and_a_closed_connection(
        self, port: int, request_bytes: bytes
    ) -> None:
        with Wire(port) as wire:
            # Whoever sends on after the answer may be cut off.
            with contextlib.suppress(ConnectionError):
                wire.send(request_bytes)
            answer = wire.read()
            assert (answer.status, answer.code, answer.header("connection")) == (400, "protocol_error", "close")
            assert answer.header("content-type") == "application/json"
            assert (answer.header("request-id") or "").startswith("req_")
            assert wire.ends()

    @pytest.mark.parametrize("size", [1, 1000, 60_000])
    def test_the_bound_of_the_headers_does_not_depend_on_packets(self, port: int, size: int) -> None:
        def request(filler: int) -> bytes:
            return b"GET /things/a HTTP/1.1\r\n" + CREDENTIALS + b"X-A: " + b"a" * filler + b"\r\n\r\n"

        within, beyond = request(HEADER_LIMIT - 1000), request(HEADER_LIMIT + 1000)
        for data, status in ((within, 200), (beyond, 400)):
            with Wire(port) as wire:
                wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with contextlib.suppress(ConnectionError):
                    wire.send(data[:size])
                    wire.send(data[size:])
                assert wire.read().status == status

    @pytest.mark.parametrize("method", [b"FOO", b"get", b"\x16\x03\x01"])
    def test_a_method_that_nobody_knows_is_named_as_what_is_wrong(self, port: int, method: bytes) -> None:
        with Wire(port) as wire:
            wire.send(method + b" /things/a HTTP/1.1\r\n" + CREDENTIALS + b"\r\n")
            assert "No method of HTTP" in wire.read().json["error"]["message"]

    def test_a_request_before_the_garbage_is_answered(self, port: int) -> None:
        with Wire(port) as wire:
            wire.send(GET + b"garbage\r\n\r\n")
            assert wire.read().status == 200
            assert wire.read().status == 400
            assert wire.ends()

    def test_requests_before_a_broken_one_are_answered_in_order_and_it_is_not_carried_out(self) -> None:
        hooks = Hooks()
        slow = post(b"", path=b"/things/a/close")
        with serving(make_app(hooks), hooks) as port:
            for broken in (
                b"garbage\r\n\r\n",
                POST_CHUNKED + b"zz\r\n",
                slow[:-4] + b"\r\nTransfer-Encoding: x, y\r\n\r\n",
            ):
                hooks.seen.clear()
                with Wire(port) as wire:
                    wire.send(slow + GET + slow + broken)
                    assert [wire.read().status for _ in range(4)] == [200, 200, 200, 400]
                    assert wire.ends()
                assert [call.operation_id for call, _, _ in hooks.seen] == [
                    "close_thing",
                    "get_thing",
                    "close_thing",
                ]

    def test_a_broken_body_ends_a_request_that_never_reads_it(self) -> None:
        """Its handler has begun and cannot be undone, but what it answers goes to nobody."""
        hooks = Hooks()
        with serving(make_app(hooks), hooks) as port, Wire(port) as wire:
            wire.send(POST_CHUNKED.replace(b"/things", b"/things/a/close") + b"zz\r\n" + GET)
            assert wire.read().status == 400
            assert wire.ends()

    def test_garbage_within_a_body_ends_its_request(self, port: int) -> None:
        with Wire(port) as wire:
            wire.send(POST_CHUNKED)
            wire.send(b"5\r\n")
            wire.send(b"abcdefgh\r\n")
            assert wire.read().status == 400
            assert wire.ends()

    @pytest.mark.parametrize(
        "begun",
        [
            b"GET /things/a HTTP/1.1\r\nHost: mo",
            b"GET /things/a\r\n",
            POST_CHUNKED + b"5\r\nab",
            post()[:-1],
            GET + post()[:-1],
        ],
        ids=["headers", "HTTP/0.9", "chunk", "body", "second body"],
    )
    def test_a_request_that_is_cut_short_is_refused(self, port: int, begun: bytes) -> None:
        with Wire(port) as wire:
            wire.send(begun)
            wire.socket.shutdown(socket.SHUT_WR)
            if begun.startswith(GET):
                assert wire.read().status == 200
            answer = wire.read()
            assert (answer.status, answer.code, answer.header("connection")) == (400, "protocol_error", "close")
            assert wire.ends()

    def test_a_client_that_has_said_nothing_or_everything_may_stop_sending(self, port: int) -> None:
        # Again and again, for it depends on what comes together.
        for whole, answers in ((b"", 0), (GET, 1), (GET + post(), 2), (GET * 5, 5)) * 10:
            with Wire(port) as wire:
                wire.send(whole)
                wire.socket.shutdown(socket.SHUT_WR)
                for _ in range(answers):
                    assert wire.read().status == 200
                assert wire.ends()

    @pytest.mark.parametrize("path", [b"/things/a/close", b"/v1/things/newest", b"/pay/a"])
    def test_a_client_that_stops_sending_gets_the_whole_answer_of_what_suspends(self, port: int, path: bytes) -> None:
        for method in (b"POST", b"GET"):
            if (method == b"POST") is (b"newest" in path):
                continue
            with Wire(port) as wire:
                wire.send(method + b" " + path + b" HTTP/1.1\r\n" + CREDENTIALS + b"\r\n")
                wire.socket.shutdown(socket.SHUT_WR)
                received = b""
                while data := wire.socket.recv(4096):
                    received += data
                assert received.startswith(b"HTTP/1.1 ")
                assert received.endswith((b"}", b"0\r\n\r\n"))

    def test_a_refused_client_that_never_stops_is_cut_off(self, port: int) -> None:
        with Wire(port) as wire:
            wire.send(b"garbage\r\n\r\n")
            assert wire.read().status == 400
            with pytest.raises(ConnectionError):
                wire.send(bytes(100_000_000))


class TestTrailers:
    """What stands after a chunked body is no header (RFC 9110, 6.5.1), however it falls into packets."""

    TRAILERS = b"Authorization: " + KEY + b"\r\nIdempotency-Key: k\r\nContent-Type: text/plain\r\n\r\n"

    @pytest.mark.parametrize("at", [0, 1, 60])
    def test_trailers_are_dropped(self, at: int) -> None:
        hooks = Hooks()
        without_key = b"POST /things HTTP/1.1\r\nHost: mock\r\nTransfer-Encoding: chunked\r\n\r\n"
        body = chunked(BODY)[:-2]
        with serving(make_app(hooks), hooks) as port:
            for head, status in ((POST_CHUNKED, 200), (without_key, 401)):
                data = head + body + self.TRAILERS
                cut = len(head + body) + at
                assert exchange(port, data[:cut], data[cut:]).status == status
        assert all(b"idempotency-key" not in call.headers for call, _, _ in hooks.seen)

    @pytest.mark.parametrize(
        "endless", [b"A: b\r\n" * 20_000, b"A: " + b"b" * 200_000], ids=["many trailers", "a long trailer"]
    )
    def test_endless_trailers_are_refused_without_a_key(self, port: int, endless: bytes) -> None:
        head = b"POST /things HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        with Wire(port) as wire:
            with contextlib.suppress(ConnectionError):
                wire.send(head + chunked(BODY)[:-2] + endless)
            statuses = {wire.read().status}
            if statuses == {401}:  # refused for want of a key before the trailers came
                statuses = {wire.read().status}
            assert statuses == {400}
            assert wire.ends()

    def test_endless_extensions_of_a_chunk_are_refused(self, port: int) -> None:
        with Wire(port) as wire:
            with contextlib.suppress(ConnectionError):
                wire.send(POST_CHUNKED + b"5;" + b"a" * 1_000_000)
            assert wire.read().status == 400


class TestSilence:
    """Time is real here, and short: a client waits until the server does something."""

    def test_a_client_that_says_nothing_is_left(self, impatient: int) -> None:
        with Wire(impatient) as wire:
            assert wire.ends()

    @pytest.mark.parametrize(
        "begun", [b"GET /things/a HT", POST_CHUNKED[:-2], POST_CHUNKED, post()[:-1], GET + GET[:9]]
    )
    def test_a_client_that_never_ends_its_request_is_refused(self, impatient: int, begun: bytes) -> None:
        with Wire(impatient) as wire:
            wire.send(begun)
            if begun.startswith(GET):
                assert wire.read().status == 200
            answer = wire.read()
            assert (answer.status, answer.code) == (400, "protocol_error")
            assert wire.ends()

    def test_an_idle_connection_is_closed(self) -> None:
        hooks = Hooks()
        with serving(make_app(hooks), hooks, silence_s=0.05, keep_alive_s=0) as port, Wire(port) as wire:
            wire.send(GET)
            assert wire.read().status == 200
            assert wire.ends()

    def test_a_slow_handler_is_not_a_silent_client(self, impatient: int) -> None:
        with Wire(impatient) as wire:
            wire.send(post(b"", path=b"/things/a/close"))
            assert wire.read().status == 200
            wire.send(GET)
            assert wire.read().status == 200

    def test_a_client_that_cannot_send_because_nobody_reads_is_not_silent(self) -> None:
        hooks = Hooks(Fault(delay_s=0.2))
        with serving(make_app(hooks), hooks, silence_s=0.05) as port, Wire(port) as wire:
            wire.send(post(BIG[:1_900_000]))
            assert wire.read().code == "body_invalid"

    def test_a_client_that_waits_to_be_asked_for_its_body_is_not_silent(self) -> None:
        hooks = Hooks(Fault(delay_s=0.2))
        with serving(make_app(hooks), hooks, silence_s=0.05) as port, Wire(port) as wire:
            head, _, body = post(BODY, b"Expect: 100-continue").partition(b"\r\n\r\n")
            wire.send(head + b"\r\n\r\n")
            assert wire.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            wire.send(body)
            assert wire.read().status == 200

    @pytest.mark.parametrize("begun", [b"", b"GET /things/a HT"])
    def test_where_connections_run_out_the_oldest_silent_one_makes_room(
        self, begun: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(descriptors, "most_connections", lambda: 2)
        hooks = Hooks()
        with serving(make_app(hooks), hooks) as port, Wire(port) as first, Wire(port) as second:
            first.send(begun)
            second.send(GET)
            assert second.read().status == 200
            with Wire(port) as third:
                third.send(GET)
                assert third.read().status == 200
                with contextlib.suppress(ConnectionError):
                    assert first.socket.recv(1) == b""
                second.send(GET)
                assert second.read().status == 200, "it had a request answered, and another one was silent"
        told = [record.message for record in caplog.records if "silent" in record.message]
        assert told == ["too many connections: closed one that was silent; the limit of descriptors is near"]

    def test_where_all_connections_are_used_an_idle_one_makes_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(descriptors, "most_connections", lambda: 2)
        hooks = Hooks(Fault(delay_s=0.2))
        with serving(make_app(hooks), hooks) as port, Wire(port) as busy, Wire(port) as idle:
            idle.send(GET)
            assert idle.read().status == 200
            busy.send(GET)
            with Wire(port) as third:
                third.send(GET)
                with contextlib.suppress(ConnectionError):
                    assert idle.socket.recv(1) == b""
                assert busy.read().status == 200, "whoever waits for an answer gets it"
                assert third.read().status == 200

    def test_the_log_tells_of_silent_clients_once_a_minute(self, caplog: pytest.LogCaptureFixture) -> None:
        hooks = Hooks()
        with serving(make_app(hooks), hooks, silence_s=0.02) as port:
            for _ in range(3):
                with Wire(port) as wire:
                    assert wire.ends()
        assert [record.message for record in caplog.records if "no whole request" in record.message] == [
            "closed a connection: no whole request came within 0.02 s"
        ]


class TestFallback:
    """A version of uvicorn whose own attributes have other names is served by uvicorn's own cycle."""

    def test_the_installed_version_needs_none(self) -> None:
        assert protocol.missing_from_uvicorn() == []

    def test_it_is_told(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        monkeypatch.setattr(protocol, "NEEDED", {HttpToolsProtocol: ("cycle", "elsewhere")})
        assert not issubclass(protocol.make_protocol(Hooks()), protocol.PipelineProtocol)
        assert "keeps no HttpToolsProtocol.elsewhere" in caplog.text

    def test_the_parameters_of_a_cycle_are_looked_for_in_their_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        names = protocol.NEEDED[RequestResponseCycle]
        swapped = names[-1].replace("scope transport", "transport scope")
        monkeypatch.setattr(protocol, "NEEDED", {RequestResponseCycle: (*names, swapped)})
        assert protocol.missing_from_uvicorn() == [f"RequestResponseCycle.{swapped}"]

    @pytest.mark.parametrize(
        "request_bytes", [GET, post(), post(path=b"/things/a/close"), POST_CHUNKED + chunked(BODY)]
    )
    def test_requests_are_answered(self, fallback_port: int, request_bytes: bytes) -> None:
        assert exchange(fallback_port, request_bytes).status == 200

    @pytest.mark.parametrize(
        "name", ["garbage", "TLS", "two lengths", "long target", "many headers", "headers without end"]
    )
    def test_what_is_no_request_gets_the_envelope(self, fallback_port: int, name: str) -> None:
        with Wire(fallback_port) as wire:
            with contextlib.suppress(ConnectionError):
                wire.send(REFUSED[name])
            answer = wire.read()
            assert (answer.status, answer.code, answer.header("connection")) == (400, "protocol_error", "close")
            assert wire.ends()

    def test_trailers_are_dropped(self, fallback_port: int) -> None:
        head = b"POST /things HTTP/1.1\r\nHost: mock\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert exchange(fallback_port, head + chunked(BODY)[:-2], TestTrailers.TRAILERS).status == 401

    @pytest.mark.parametrize("transmit", [Transmit.DROPPED, Transmit.TRUNCATED])
    def test_a_fault_hangs_up(self, monkeypatch: pytest.MonkeyPatch, transmit: Transmit) -> None:
        monkeypatch.setattr(protocol, "NEEDED", {HttpToolsProtocol: ("elsewhere",)})
        hooks = Hooks(Fault(transmit=transmit))
        with serving(make_app(hooks), hooks) as port, Wire(port) as wire:
            wire.send(GET)
            with pytest.raises(ConnectionError):
                wire.read()

    @pytest.mark.soak
    @pytest.mark.parametrize("version", ["oldest", "newest"])
    def test_all_of_this_holds_on_each_end_of_the_range_of_uvicorn(self, version: str, tmp_path: Path) -> None:
        requirement = next(each for each in PROJECT["project"]["dependencies"] if each.startswith("uvicorn"))
        if version == "oldest":
            requirement = requirement.replace(">=", "==").partition(",")[0]
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path, requirement]
        subprocess.run(install, check=True)
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        show = [sys.executable, "-c", "import uvicorn; print(uvicorn.__file__)"]
        where = subprocess.run(show, check=True, env=environment, capture_output=True, text=True).stdout
        assert where.startswith(str(tmp_path))
        tests = [Path(__file__), Path(__file__).with_name("test_server.py")]
        subprocess.run([sys.executable, "-m", "pytest", "-q", *tests], check=True, env=environment, cwd=ROOT)


class TestFailures:
    def test_a_handler_that_fails_later_is_a_500(self, port: int) -> None:
        answer = exchange(port, b"DELETE /things/a HTTP/1.1\r\n" + CREDENTIALS + b"\r\n")
        assert (answer.status, answer.code) == (500, "internal_error")

    def test_a_page_that_sends_no_answer_is_a_500(self, port: int) -> None:
        with Wire(port) as wire:
            wire.send(b"GET /pay/nothing HTTP/1.1\r\nHost: mock\r\n\r\n")
            answer = wire.read()
            assert (answer.status, answer.code) == (500, "internal_error")

    @pytest.mark.parametrize("path", [b"/pay/short", b"/pay/wrong"])
    def test_a_page_that_breaks_off_closes_the_connection(self, port: int, path: bytes) -> None:
        """A line break in a header would let a stranger write headers; a wrong length would desert the client."""
        with Wire(port) as wire:
            wire.send(b"GET " + path + b" HTTP/1.1\r\nHost: mock\r\n\r\n")
            received = b""
            while data := wire.socket.recv(4096):
                received += data
        assert b"Set-Cookie" not in received


class TestHangingUp:
    @pytest.mark.parametrize("perform", [True, False])
    def test_a_dropped_connection_ends_without_a_byte(self, perform: bool) -> None:  # noqa: FBT001
        hooks = Hooks(Fault(transmit=Transmit.DROPPED, perform=perform))
        app = create_pipeline([(Document(tiny()), [""])], echoes(TINY), hooks)
        with serving(app, hooks) as port:
            for request in (post(), post(BIG)):
                with Wire(port) as wire, contextlib.suppress(ConnectionError):
                    wire.send(request)
                    assert wire.socket.recv(1) == b""
            hooks.fault = None
            assert exchange(port, GET).status == 200

    def test_a_truncated_answer_promises_more_than_it_sends(self) -> None:
        hooks = Hooks(Fault(transmit=Transmit.TRUNCATED))
        app = create_pipeline([(Document(tiny()), [""])], echoes(TINY), hooks)
        with serving(app, hooks) as port, Wire(port) as wire:
            wire.send(GET)
            received = b""
            while data := wire.socket.recv(4096):
                received += data
        head, _, body = received.partition(b"\r\n\r\n")
        promised = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert len(body) == promised // 2


@pytest.mark.parametrize("header", [b"a\r\nSet-Cookie: b", b"a\n", b"\r"])
def test_a_header_of_a_reply_holds_no_line_break(header: bytes) -> None:
    async def handler(call: Call, **_: Any) -> Reply:
        return Reply(200, {}, ((b"x-a", header),))

    hooks = Hooks()
    app = create_pipeline([(Document(tiny()), [""])], {**echoes(TINY), "get_thing": handler}, hooks)
    with serving(app, hooks) as port, Wire(port) as wire:
        wire.send(GET)
        answer = wire.read()
        assert (answer.status, answer.code) == (500, "internal_error")


def test_a_reply_without_content_has_no_length() -> None:
    async def handler(call: Call, **_: Any) -> Reply:
        return Reply(204)

    hooks = Hooks()
    app = create_pipeline([(Document(tiny()), [""])], {**echoes(TINY), "delete_thing": handler}, hooks)
    with serving(app, hooks) as port, Wire(port) as wire:
        wire.send(b"DELETE /things/a HTTP/1.1\r\n" + CREDENTIALS + b"Connection: close\r\n\r\n")
        received = b""
        while data := wire.socket.recv(4096):
            received += data
    assert received.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"content-length" not in received
    assert b"transfer-encoding" not in received
