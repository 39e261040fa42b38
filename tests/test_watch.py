"""A proxy that passes traffic on unchanged, and judges it while it passes."""

from __future__ import annotations

import base64
import gc
import gzip
import json
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from qashier_contract import CheckError, Verdict
from qashier_contract.drive.traffic.exchanges import Traffic
from qashier_contract.drive.traffic.watching import Watching
from qashier_contract.history import Credentials, Exchange
from qashier_contract.interrupts import Stop
from qashier_contract.recorded import read, watch
from qashier_contract.trace import file
from raw_server import answering, raw_server, read_request

from tests.targets import serving

if TYPE_CHECKING:
    from qashier_contract import Report

KEY = "sk_test_PassedOnNeverKept"
PATIENCE_S = 20
LIST = b'{"object": "list", "data": [], "has_more": false, "url": "/checkout/sessions"}'


@contextmanager
def watching(target: str) -> Iterator[Watching]:
    with Watching(target, Traffic(target), host="127.0.0.1", port=0) as proxy:
        yield proxy


def exchanged(proxy: Watching, count: int) -> tuple[Exchange, ...]:
    """What was recorded once so many requests are over: the client may know of the end a little earlier."""
    over = threading.Event()
    for _ in range(PATIENCE_S * 100):
        if len(proxy.exchanges) >= count:
            break
        over.wait(0.01)
    return proxy.exchanges


def talk(url: str, sent: bytes, *, until: bytes = b"") -> bytes:
    """Send bytes, and read to the end of the connection, or to some bytes."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), PATIENCE_S) as connection:
        connection.sendall(sent)
        received = b""
        while not (until and until in received) and (piece := connection.recv(65_536)):
            received += piece
        return received


def reply(body: bytes = LIST, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    head = [b"HTTP/1.1 " + status, b"Content-Type: application/json", b"Request-Id: req_1", *headers]
    return b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body])


GET = b"GET /checkout/sessions?limit=%zz HTTP/1.1\r\nHost: me\r\nConnection: close\r\n\r\n"


# Unchanged.


def test_a_request_goes_on_as_it_came_but_for_what_is_the_connections() -> None:
    heard: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        heard.append(read_request(connection))
        connection.sendall(reply())

    sent = (
        b"POST /checkout/sessions?a=%2f&a HTTP/1.1\r\nhOsT: me\r\nX-Twice: 1\r\nx-twice: 2\r\nKeep-Alive: 5\r\n"
        b"Connection: close, X-Hop\r\nX-Hop: 1\r\nContent-Length: 5\r\nAccept-Encoding: br\r\n\r\n\x00\xff{}\n"
    )
    with raw_server(serve) as target, watching(f"{target}/v3/payment/qpay") as proxy:
        talk(proxy.url, sent)
    (got,) = heard
    head, _, body = got.partition(b"\r\n\r\n")
    assert body == b"\x00\xff{}\n"
    assert head.split(b"\r\n") == [
        b"POST /v3/payment/qpay/checkout/sessions?a=%2f&a HTTP/1.1",
        f"Host: {target.removeprefix('http://')}".encode(),
        b"X-Twice: 1",
        b"x-twice: 2",
        b"Content-Length: 5",
        b"Accept-Encoding: br",
    ]


def test_a_target_that_answers_before_it_has_read_everything_leaves_no_connection_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qashier_contract.drive.traffic.proxy._LINGER_S", 0.05)
    is_over = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(reply())
        is_over.wait(PATIENCE_S)

    large = 24 * 2**20
    sent = b"POST /checkout/sessions HTTP/1.1\r\nHost: me\r\nContent-Length: %d\r\n\r\n" % large + b"x" * large
    with warnings.catch_warnings(record=True) as told, raw_server(serve) as target:
        warnings.simplefilter("always")
        with watching(target) as proxy:
            with suppress(OSError):  # it is hung up on in the middle
                talk(proxy.url, sent, until=LIST)
            exchanged(proxy, 1)
        gc.collect()
        is_over.set()
    assert [str(each.message) for each in told] == []


def test_an_answer_comes_back_as_it_was_coded_and_is_judged_decoded() -> None:
    coded = gzip.compress(LIST)
    answer = reply(coded, b"Content-Encoding: gzip", b"Set-Cookie: a=s3cret", b"set-cookie: b=2", b"X-Odd:  \xe9 ")
    with raw_server(answering(answer)) as target, watching(target) as proxy:
        got = talk(proxy.url, GET)
        (exchange,) = exchanged(proxy, 1)
    head, _, body = got.partition(b"\r\n\r\n")
    assert body == coded
    assert head.count(b"ookie: ") == 2
    assert b"X-Odd: \xe9" in head
    assert exchange.json == json.loads(LIST)
    assert "s3cret" not in str(exchange.reply)


def test_interim_answers_and_reasons_come_back_too() -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + reply(status=b"200 Fine so far")
    with raw_server(answering(answer)) as target, watching(target) as proxy:
        got = talk(proxy.url, GET)
    assert got.startswith(b"HTTP/1.1 103 Early Hints\r\n")
    assert b"HTTP/1.1 200 Fine so far\r\n" in got


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_an_old_client_and_an_old_target_understand_each_other(version: bytes) -> None:
    chunked = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n'
    closing = b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"a":1}'
    for answer in (chunked, closing):
        with raw_server(answering(answer)) as target, watching(target) as proxy:
            got = talk(proxy.url, GET.replace(b"1.1", version))
        body = got.partition(b"\r\n\r\n")[2]
        whole = b"".join(body.split(b"\r\n")[1::2]) if b"chunked" in got else body
        assert whole == b'{"a":1}'
        assert (b"chunked" in got) is (version == b"1.1")


def test_bodies_are_streamed_both_ways() -> None:
    half = threading.Event()

    def serve(connection: socket.socket) -> None:
        received = connection.recv(65_536)
        while b"first" not in received:
            received += connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        half.set()
        while not received.endswith(b"0\r\n\r\n"):
            received += connection.recv(65_536)
        connection.sendall(b"4\r\nrest\r\n0\r\n\r\n")

    with raw_server(serve) as target, watching(target) as proxy:
        host, _, port = proxy.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), PATIENCE_S) as client:
            client.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            assert half.wait(PATIENCE_S)
            received = b""
            while b"half" not in received:
                received += client.recv(65_536)
            client.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
            while not received.endswith(b"0\r\n\r\n"):
                received += client.recv(65_536)
    assert b"rest" in received


def test_an_answer_that_comes_before_the_request_is_read_reaches_the_client() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(10)
        connection.sendall(reply(b'{"error": "too large"}', b"Connection: close", status=b"413 Too Large"))
        answered.wait(PATIENCE_S)  # and reads no further

    answered, body = threading.Event(), b"x" * 30_000_000
    sent = b"POST /checkout/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    with raw_server(serve) as target, watching(target) as proxy:
        got = talk(proxy.url, sent + body, until=b"too large")
        answered.set()
    assert got.startswith(b"HTTP/1.1 413 Too Large\r\n")
    assert got.endswith(b'{"error": "too large"}')


def test_a_client_that_waits_for_100_is_told_to_go_on() -> None:
    def serve(connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not received.endswith(b"{}"):
            received += connection.recv(65_536)
        connection.sendall(reply())

    sent = b"POST /checkout/sessions HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with raw_server(serve) as target, watching(target) as proxy:
        host, _, port = proxy.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), PATIENCE_S) as client:
            client.sendall(sent)
            assert client.recv(65_536).startswith(b"HTTP/1.1 100 Continue")
            client.sendall(b"{}")
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")


def test_a_connection_serves_many_requests() -> None:
    with raw_server(answering(*[reply()] * 3)) as target, watching(target) as proxy:
        with httpx.Client(base_url=proxy.url) as client:
            assert [client.get("/checkout/sessions").status_code for _ in range(3)] == [200] * 3
        assert [exchange.number for exchange in exchanged(proxy, 3)] == [1, 2, 3]


# A target that drops.


@pytest.mark.parametrize("answer", [b"", b"HTT", b"no HTTP at all\r\n\r\n"])
def test_a_target_that_does_not_answer_is_a_502_that_says_so(answer: bytes) -> None:
    with raw_server(answering(answer)) as target, watching(target) as proxy:
        got = talk(proxy.url, GET)
        (exchange,) = exchanged(proxy, 1)
    assert got.startswith(b"HTTP/1.1 502 ")
    assert b"the target does not answer" in got
    assert exchange.reply is None
    assert (exchange.failure or "").startswith("connection dropped: ")


def test_a_target_that_drops_amid_its_answer_leaves_the_client_with_half() -> None:
    with raw_server(answering(reply()[:-10])) as target, watching(target) as proxy:
        with pytest.raises(httpx.RemoteProtocolError), httpx.Client(base_url=proxy.url) as client:
            client.get("/checkout/sessions")
        (exchange,) = exchanged(proxy, 1)
    assert exchange.reply is None


def test_a_target_that_is_not_there_is_a_502() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with watching(f"http://127.0.0.1:{port}") as proxy:
        assert talk(proxy.url, GET).startswith(b"HTTP/1.1 502 ")


def test_a_connection_that_was_closed_while_idle_is_no_failure() -> None:
    """The target answers one request for each connection, and does not say so."""
    with (
        raw_server(answering(reply())) as target,
        watching(target) as proxy,
        httpx.Client(base_url=proxy.url) as client,
    ):
        assert [client.get("/checkout/sessions").status_code for _ in range(4)] == [200] * 4


def test_what_is_no_http_is_refused() -> None:
    with raw_server(answering(reply())) as target, watching(target) as proxy:
        assert talk(proxy.url, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert talk(proxy.url, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 501 ")


# What is recorded and judged.

BODY = {
    "line_items": [
        {"price_data": {"currency": "SGD", "product_data": {"name": "Kopi"}, "unit_amount": 500}, "quantity": 2}
    ],
    "success_url": "https://shop.test/thanks",
    "return_url": "https://shop.test/back",
}


def shopping(client: httpx.Client) -> None:
    made = client.post("/checkout/sessions", json=BODY, headers={"Idempotency-Key": "order-1"}).json()
    client.get(f"/checkout/sessions/{made['id']}")
    client.get("/checkout/sessions")
    client.post(f"/checkout/sessions/{made['id']}/expire")
    client.get("/favicon.ico")


def watched(target: str, act: Callable[[httpx.Client], None], **options: Any) -> tuple[Report, list[str]]:
    """What came of watching a client."""
    stop, told, ready = Stop(), list[str](), threading.Event()
    urls: list[str] = []
    reports: list[Report] = []

    def is_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    def run() -> None:
        reports.append(
            watch(target, ready=is_ready, violated=lambda entry: told.append(entry.clause.id), stop=stop, **options)
        )

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(PATIENCE_S)
    with httpx.Client(base_url=urls[0], auth=(KEY, ""), timeout=PATIENCE_S) as client:
        act(client)
    stop.request()
    thread.join(PATIENCE_S)
    return reports[0], told


def test_what_passes_is_judged_and_keys_are_passed_on_and_not_kept() -> None:
    with serving() as target:
        report, told = watched(target, shopping, strict=True)
    assert (told, report.verdict, report.requests) == ([], Verdict.PASSED, 4)
    assert {e.credentials for e in report.history.exchanges} == {Credentials.BASIC}
    assert report["CRE-1"].exercised
    assert report["EXP-1"].exercised
    assert "1 requests were passed on that are none of the API's." in report.notes
    text = file.render(file.Trace(history=report.history, target=target))
    assert KEY not in text
    assert base64.b64encode(f"{KEY}:".encode()).decode() not in text


def test_a_violation_is_told_while_traffic_passes() -> None:
    told, stop, url = threading.Event(), Stop(), list[str]()
    ready = threading.Event()

    def violated(entry: Any) -> None:
        assert entry.clause.id == "HTTP-1"
        told.set()

    def is_ready(address: str) -> None:
        url.append(address)
        ready.set()

    with raw_server(answering(*[reply()] * 2)) as target:
        reports: list[Report] = []
        thread = threading.Thread(
            target=lambda: reports.append(watch(target, only=["HTTP-1"], ready=is_ready, violated=violated, stop=stop))
        )
        thread.start()
        assert ready.wait(PATIENCE_S)
        with httpx.Client(base_url=url[0], auth=(KEY, "")) as client:
            client.get("/checkout/sessions")
            client.get("/checkout/sessions")  # with the same Request-Id
            assert told.wait(PATIENCE_S)
        stop.request()
        thread.join(PATIENCE_S)
    assert reports[0].verdict is Verdict.FAILED


def test_an_address_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CheckError, match=rf"cannot listen on 127.0.0.1:{port}: .*in use"):
            watch("http://127.0.0.1:1", port=port, stop=Stop())


def test_the_command_records_and_reports_when_it_is_told_to_stop(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "qashier_mock", "watch", "--port", "0", "--record", str(tmp_path / "t.json")]
    with serving() as target:
        process = subprocess.Popen(
            [*command, target], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            url = line.split()[4].rstrip(",")
            assert line == f"qashier-mock watch ready on {url}, passing on to {target}\n"
            with httpx.Client(base_url=url, auth=(KEY, ""), timeout=PATIENCE_S) as client:
                shopping(client)
            process.send_signal(signal.SIGTERM)
            shown, errors = process.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
    assert (process.returncode, errors) == (0, "")
    assert "The traffic reached" in shown
    assert f"again:qashier-mockjudge{tmp_path / 't.json'}" in "".join(shown.split())
    assert len(read(tmp_path / "t.json").trace.history.exchanges) == 4
