"""HTTP of the checker: all that RFC 9110 and RFC 9112 allow is read, and nothing that a server does lasts for ever."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from qashier_contract import CLAUSES
from qashier_contract.addresses import is_same_host, joined, origin_of
from qashier_contract.history import CLOSED_IDLE, INTERRUPTED, TIMED_OUT, Recorder, Reply
from qashier_contract.interrupts import Interrupted, OutOfTime, Stop
from qashier_contract.ledger import Ledger
from qashier_contract.pace import KEPT_MOST, OutOfRoom, Pace
from qashier_contract.receiver import Receiver
from qashier_contract.target import Account, Key, Target
from qashier_contract.transport import BODY_MOST, HttpTransport, path_of
from raw_server import answering, raw_server, read_request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GZIPPED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    transport = HttpTransport(Stop())
    yield transport
    transport.close()


def carried(http: HttpTransport, url: str, method: str = "GET", body: bytes | None = None, **options: Any) -> Reply:
    reply, failure = outcome(http, url, method, body, **options)
    assert reply is not None, failure
    return reply


def outcome(
    http: HttpTransport,
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    *,
    seconds: float = 20.0,
    **more: Any,
) -> tuple[Reply | None, str | None]:
    return http.carry(method, url, (), body, deadline_ns=time.monotonic_ns() + int(seconds * 1e9), **more)


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\nX-Trailer: 1\r\n\r\n',
        b'HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n',
        b'HTTP/1.0 200 OK\r\n\r\n{"a":1}',
        b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"a":1}',
        b'HTTP/1.1 200\r\nContent-Length: 7\r\n\r\n{"a":1}',
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
        b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}'),
        GZIPPED + gzip.compress(b'{"a":1}'),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: x-gzip\r\n\r\n" + gzip.compress(b'{"a') + gzip.compress(b'":1}'),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\n" + zlib.compress(b'{"a":1}'),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\n" + zlib.compress(b'{"a":1}')[2:-4],
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate, gzip\r\n\r\n" + gzip.compress(zlib.compress(b'{"a":1}')),
    ],
    ids=map(str, count()),
)  # fmt: skip
def test_a_body_is_read_however_it_is_framed(transport: HttpTransport, answer: bytes) -> None:
    with raw_server(answering(answer)) as url:
        assert carried(transport, url).body == b'{"a":1}'


def test_names_of_headers_come_in_any_case_and_several_times(transport: HttpTransport) -> None:
    answer = b"HTTP/1.1 200 OK\r\nREQUEST-ID: a\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
    with raw_server(answering(answer)) as url:
        reply = carried(transport, url)
    assert reply.header("Request-Id") == "a"
    assert [value for name, value in reply.headers if name == "set-cookie"] == ["a=1", "b=2"]


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nContent-Encoding: gzip\r\n\r\n"),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
    ],
)
def test_an_answer_without_a_body_ends_with_its_head(transport: HttpTransport, method: str, answer: bytes) -> None:
    with raw_server(answering(answer, OK)) as url:
        assert carried(transport, url, method).body == b""
        assert carried(transport, url).body == b"{}"


def test_a_connection_is_used_again_unless_the_server_closes_it(transport: HttpTransport) -> None:
    connections = []

    def serve(connection: socket.socket) -> None:
        connections.append(connection)
        answering(OK, OK, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK)(connection)

    with raw_server(serve) as url:
        for _ in range(4):
            carried(transport, url)
    assert len(connections) == 2


def test_an_answer_that_comes_before_the_request_was_written_is_read(transport: HttpTransport) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        connection.recv(100)

    with raw_server(serve) as url:
        assert carried(transport, url, "POST", b" " * 8_000_000).status == 413


def test_a_request_goes_out_whole_and_names_who_asks(transport: HttpTransport) -> None:
    came: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        while request := read_request(connection):
            came.append(request)
            connection.sendall(OK)

    with raw_server(serve) as url:
        carried(transport, f"{url}/a?", "POST", b"{}")
        carried(transport, f"{url}/a?b=%zz#c", "POST", b'{"a": 1}', is_chunked=True)
        carried(transport, url)
    first, second, third = came
    assert first.startswith(b"POST /a? HTTP/1.1\r\nHost: 127.0.0.1:")
    assert re.search(rb"\r\nUser-Agent: qashier-mock/\d[^\r]*\r\nAccept-Encoding: gzip, deflate\r\n", first)
    assert first.endswith(b"\r\nContent-Length: 2\r\n\r\n{}")
    assert second.startswith(b"POST /a?b=%zz HTTP/1.1\r\n")
    assert second.endswith(b'\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n4\r\n: 1}\r\n0\r\n\r\n')
    assert third.startswith(b"GET / HTTP/1.1\r\n")
    assert b"Content-Length" not in third


def test_the_last_chunk_of_a_body_goes_out_some_time_after_the_first(
    transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = list[float]()
    arrived, came = threading.Event(), list[bytes]()

    def serve(connection: socket.socket) -> None:
        while not came or not came[-1].endswith(b'\r\n\r\n4\r\n{"a"\r\n4\r\n'):
            came.append((came[-1] if came else b"") + connection.recv(65_536))
        arrived.set()
        connection.recv(65_536)
        connection.sendall(OK)

    def wait(seconds: float) -> None:
        waited.append(seconds)
        assert arrived.wait(10)

    monkeypatch.setattr(transport._stop, "sleep", wait)
    with raw_server(serve) as url:
        carried(transport, url, "POST", b'{"a": 1}', is_chunked=True)
    assert waited


def test_what_a_target_sent_back_ends_no_line_of_a_request(transport: HttpTransport) -> None:
    came: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        came.append(read_request(connection))
        connection.sendall(OK)

    with raw_server(serve) as url:
        transport.carry(
            "GET", f"{url}/a", [("Cookie", "a=\r\nX: 1\ud800")], None, deadline_ns=time.monotonic_ns() + 10**10
        )
    assert b"Cookie: a=%0D%0AX: 1?\r\n" in came[0]


def test_a_closed_idle_connection_is_sent_to_again_and_nobody_is_blamed() -> None:
    served = 0

    def serve(connection: socket.socket) -> None:
        nonlocal served
        for _ in range(2):
            if not read_request(connection):
                return
            served += 1
            if served == 2:
                return  # closed at the very moment when the second request comes
            connection.sendall(OK)

    with raw_server(serve) as url:
        target = Target(url, [Key("sk_test_a")], recorder=Recorder())
        account = Account(target, 0)
        assert account.list().status == 200
        assert account.list().status == 200
        target.close()
    assert [exchange.failure for exchange in target.recorder.exchanges] == [None, CLOSED_IDLE, None]
    assert CLAUSES["HTTP-6"].findings(Ledger(target.recorder.history()))[1] == ()


# ── bounded, whatever the server does ───────────────────────────────────────────────────────────────────────────────


def silent(connection: socket.socket) -> None:
    read_request(connection)
    connection.recv(1)


def endlessly(piece: bytes, start: bytes = b"", *, pause_s: float = 0.0) -> Any:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(start)
        waiting = threading.Event()
        while True:
            connection.sendall(piece)
            waiting.wait(pause_s)

    return serve


@pytest.mark.parametrize(
    ("serve", "failure"),
    [
        (endlessly(b"HTTP/1.1 100 Continue\r\n\r\n"), "interim"),
        (endlessly(b"x" * 999, CHUNKED + b"1;"), "no valid HTTP"),
        (endlessly(b"1;aaaa=" + b"x" * 9_999 + b"\r\nx\r\n", CHUNKED), "more than 4"),
        (endlessly(b"X: y\r\n", b"HTTP/1.1 200 OK\r\n"), "no valid HTTP"),
        (endlessly(b" " * 99_999, b"HTTP/1.1 200 OK\r\n\r\n"), "more than 4"),
        (answering(GZIPPED + gzip.compress(b" " * (BODY_MOST + 1))), "more than 4"),
        (answering(GZIPPED + gzip.compress(b"a")[:-4]), "too early"),
        (answering(GZIPPED + b"no gzip"), "broken content coding"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"), "ended before"),
        (answering(b"SSH-2.0-OpenSSH\r\n\r\n"), "no valid HTTP"),
        (answering(b""), "ended before"),
    ],
    ids=map(str, count()),
)  # fmt: skip
def test_what_never_ends_or_is_no_http_is_a_dropped_connection(
    transport: HttpTransport, serve: Any, failure: str
) -> None:
    with raw_server(serve) as url:
        reply, told = outcome(transport, url)
    assert reply is None
    assert failure in str(told)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_byte_now_and_then_does_not_keep_an_exchange_alive(transport: HttpTransport, start: bytes) -> None:
    began = time.monotonic()
    with raw_server(endlessly(b"H", start, pause_s=0.02)) as url:
        assert outcome(transport, url, seconds=0.3) == (None, TIMED_OUT)
    assert time.monotonic() - began < 5


def test_a_stop_ends_an_exchange_at_once() -> None:
    stop = Stop()
    asked = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        asked.set()
        connection.recv(1)

    with raw_server(serve) as url:
        target = Target(url, [Key("sk_test_a")], recorder=Recorder(), pace=Pace(stop=stop))

        def interrupt() -> None:
            asked.wait(30)
            stop.request()

        threading.Thread(target=interrupt).start()
        with pytest.raises(Interrupted):
            Account(target, 0).list()
        with pytest.raises(Interrupted):
            Account(target, 0).list()
        stop.clear()
        target.close()
    assert [exchange.failure for exchange in target.recorder.exchanges] == [INTERRUPTED]


def test_the_budget_ends_an_exchange_and_nobody_is_blamed() -> None:
    with raw_server(silent) as url:
        target = Target(
            url, [Key("sk_test_a")], recorder=Recorder(), pace=Pace(deadline_ns=time.monotonic_ns() + 10**8)
        )
        assert Account(target, 0).list().failure == TIMED_OUT
        with pytest.raises(OutOfTime):
            Account(target, 0).list()
        target.close()
    assert CLAUSES["HTTP-6"].findings(Ledger(target.recorder.history()))[1] == ()


def test_what_is_recorded_is_bounded_by_what_it_takes_when_parsed() -> None:
    body = b"[" + b"{}," * 1_000_000 + b"{}]"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with raw_server(answering(answer, answer, answer)) as url:
        target = Target(url, [Key("sk_test_a")], recorder=Recorder())
        account = Account(target, 0)
        account.list()
        account.list()
        with pytest.raises(OutOfRoom):
            account.list()
        target.close()


def test_of_a_body_that_is_no_json_a_part_is_kept_and_of_one_that_is_all() -> None:
    size = KEPT_MOST + 9
    bodies = [b"x" * size, b'"%b"' % (b"x" * size), b"{}" + b" " * KEPT_MOST + b"x", b"x" * KEPT_MOST]
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body for body in bodies]
    with raw_server(answering(*answers)) as url:
        target = Target(url, [Key("sk_test_a")], recorder=Recorder())
        replies = [Account(target, 0).list().reply for _ in bodies]
        target.close()
    assert [reply and len(reply.body) for reply in replies] == [KEPT_MOST, size + 2, KEPT_MOST + 3, KEPT_MOST]


# ── addresses ───────────────────────────────────────────────────────────────────────────────────────────────────────

BAD_URLS = [
    "http://a b/",
    "http://h:99999/",
    "http://[::1",
    "http://\ud800/",
    "ftp://h/",
    "//h/",
    "http:///x",
    "nothing",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_bad_address_is_none(url: str) -> None:
    assert origin_of(url) is None
    assert joined("http://h/", url) is None or "://h/" in str(joined("http://h/", url))
    assert not is_same_host(url, "http://h/")


def test_what_follows_the_host_is_sent_as_it_was_given() -> None:
    assert [path_of(f"http://h{rest}") for rest in ("", "?", "/?", "?a", "/a#b", "#b")] == [
        "/", "/?", "/?", "/?a", "/a", "/",
    ]  # fmt: skip


def test_a_host_that_nobody_knows_is_said(transport: HttpTransport) -> None:
    reply, failure = outcome(transport, "http://nobody.invalid/")
    assert reply is None
    assert str(failure).startswith("no connection:")


# ── the receiver ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "request_bytes",
    [
        b'POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"id": 1}',
        (b"POST /hook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'4;x\r\n{"id\r\n5\r\n": 1}\r\n0\r\nA: b\r\n\r\n'),
        b'POST /hook HTTP/1.0\r\nContent-Length: 9\r\n\r\n{"id": 1}',
        b'POST http://127.0.0.1/hook HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"id": 1}',
        b'POST /hook?x HTTP/1.1\r\nhost: x\r\nEXPECT: 100-continue\r\ncontent-length: 9\r\n\r\n{"id": 1}',
    ],
    ids=map(str, count()),
)  # fmt: skip
def test_a_webhook_is_received_however_it_is_framed(request_bytes: bytes) -> None:
    recorder = Recorder()
    with Receiver(recorder) as receiver:
        receiver.add("hook", 0, None, lambda _: 200)
        host, port = receiver.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 30) as connection:
            connection.sendall(request_bytes)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(9_999), b""))
    assert b"HTTP/1.1 200 OK\r\n" in answer
    (delivery,) = recorder.deliveries
    assert delivery.body == b'{"id": 1}'  # what was signed
    assert delivery.json == {"id": 1}


@pytest.mark.parametrize("method", ["HEAD", "GET", "OPTIONS"])
def test_who_looks_whether_the_receiver_is_there_delivers_nothing(transport: HttpTransport, method: str) -> None:
    recorder = Recorder()
    with Receiver(recorder) as receiver:
        receiver.add("hook", 0, None, lambda _: 500)
        assert carried(transport, f"{receiver.url}/hook", method).status == 200
    assert recorder.deliveries == []


def test_an_endpoint_behind_a_door_refuses_connections_while_it_is_shut() -> None:
    recorder = Recorder()
    with Receiver(recorder) as receiver:
        url = receiver.add("hook", 0, None, lambda _: 200, has_door=True)
        receiver.registered("hook", "we_1")
        host, port = url.removeprefix("http://").removesuffix("/hook").split(":")
        assert not receiver.url.endswith(port)
        transport = HttpTransport(Stop())
        assert carried(transport, url, "POST", b'{"n": 1}').status == 200
        with socket.create_connection((host, int(port)), 30) as kept_open:
            kept_open.sendall(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
            assert kept_open.recv(9_999).startswith(b"HTTP/1.1 200")
            assert receiver.shut("hook")
            assert kept_open.recv(9_999) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), 30)
        assert len(recorder.endpoints[0].refused_ns) == 1
        receiver.open("hook")
        assert carried(transport, url, "POST", b'{"n": 2}').status == 200
        transport.close()
        (endpoint,) = recorder.endpoints
        receiver.open("hook")  # it is open
        assert recorder.endpoints == [endpoint]
    assert len(recorder.deliveries) == 3
    assert recorder.deliveries[1].received_ns < endpoint.refused_ns[0] < endpoint.refused_ns[1]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), 30)


def test_an_endpoint_without_a_door_is_never_shut() -> None:
    with Receiver(Recorder()) as receiver:
        receiver.add("hook", 0, None, lambda _: 200)
        assert not receiver.shut("hook")


def test_the_receiver_takes_several_webhooks_on_one_connection_and_survives_nonsense() -> None:
    recorder = Recorder()
    with Receiver(recorder) as receiver:
        receiver.add("hook", 0, None, lambda number: (503, 204, 302)[number])
        host, port = receiver.url.removeprefix("http://").split(":")
        for nonsense in (b"\x16\x03\x01", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
            with socket.create_connection((host, int(port)), 30) as connection:
                connection.sendall(nonsense)
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(9_999) == b""
        transport = HttpTransport(Stop())
        statuses = [
            carried(transport, f"{receiver.url}/hook", "POST", json.dumps({"n": n}).encode()).status for n in range(3)
        ]
        assert receiver.wait("hook", 3)
        assert receiver.reached == 3
        transport.close()
    assert statuses == [503, 204, 302]
