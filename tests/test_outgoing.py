"""The one outgoing call, against receivers that answer well, badly and not at all."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from qashier_mock import server
from qashier_mock.outgoing import NoAnswer, Outgoing

Run = Callable[[Coroutine[Any, Any, int]], int]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=[server.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on each kind of event loop."""

    def run_(coroutine: Coroutine[Any, Any, int]) -> int:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(coroutine)

    return run_


async def post_to(
    serve: Serve, *, tls: ssl.SSLContext | None = None, ca_file: Path | None = None, path: str = "/hooks?a=b"
) -> int:
    """The status of a post to a receiver that is served so."""
    serving: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    listener = await asyncio.start_server(handle, "localhost", 0, ssl=tls)
    async with listener, asyncio.timeout(10):
        port = listener.sockets[0].getsockname()[1]
        scheme = "http" if tls is None else "https"
        outgoing = Outgoing(ca_file=ca_file)
        try:
            return await outgoing.post(f"{scheme}://localhost:{port}{path}", b'{"a":1}', {"x-sign": "s"})
        finally:
            for each in serving:
                each.cancel()
            await asyncio.gather(*serving, return_exceptions=True)


def answering(*chunks: bytes, hold: bool = False) -> Serve:
    """Read a request, and answer with these bytes, a packet each; `hold`: and do not hang up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'{"a":1}')
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0)
        if hold:
            await asyncio.Event().wait()

    return serve


def test_the_request_is_plain_http(run: Run) -> None:
    seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b'{"a":1}')).decode())
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    assert run(post_to(serve)) == 204
    first, *headers = seen[0].partition("\r\n\r\n")[0].split("\r\n")
    assert first == "POST /hooks?a=b HTTP/1.1"
    assert headers[0].startswith("host: localhost:")
    assert {"connection: close", "content-length: 7", "x-sign: s"} <= set(headers)


@pytest.mark.parametrize(
    "chunks",
    [
        [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"],
        [b"HTTP/1.0 200 OK\r\n\r\nuntil it hangs up"],
        [b"HTTP/1.1 2", b"00 OK\r\n", b"content-length: 2\r\n\r\n", b"o", b"k"],
        [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"2\r\nok\r\n", b"0\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n", b"x" * 200_000],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"],
    ],
)
def test_whatever_form_an_answer_has_its_status_counts(run: Run, chunks: list[bytes]) -> None:
    assert run(post_to(answering(*chunks))) == 200


def test_the_status_counts_although_the_rest_never_comes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qashier_mock.outgoing._BODY_TIMEOUT", 0.01)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    assert run(post_to(answering(head, hold=True))) == 200


def test_a_receiver_that_answers_before_it_has_read_everything_leaves_no_connection_open(run: Run) -> None:
    """More than the buffers of the system hold waits to be sent when the answer comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as receiver:

        async def answered_at_once() -> int:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            posting = asyncio.create_task(Outgoing().post(url, b"x" * 8 * 2**20, {}))
            loop = asyncio.get_running_loop()
            connection = receiver.enter_context((await loop.sock_accept(listener))[0])
            await loop.sock_recv(connection, 100)
            await loop.sock_sendall(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            return await posting

        listener.setblocking(False)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert run(answered_at_once()) == 200
            gc.collect()
    assert [str(each.message) for each in told] == []


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        ([], "closed without an answer"),
        ([b"HTTP/1.1 200"], "closed without an answer"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], "closed without an answer"),
        ([b"SSH-2.0-OpenSSH\r\n"], "no HTTP"),
        ([b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000], "first 64 KiB"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000], "first 64 KiB"),
    ],
)
def test_what_is_no_answer_says_so(run: Run, chunks: list[bytes], why: str) -> None:
    with pytest.raises((NoAnswer, ConnectionError), match=why):
        run(post_to(answering(*chunks)))


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/", "http:///hooks", "http://[::1/"])
def test_a_url_that_names_no_place_is_refused(run: Run, url: str) -> None:
    with pytest.raises((ValueError, OSError, OverflowError)):
        run(Outgoing().post(url, b"", {}))


# https


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """A receiver's certificate from that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


OK = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    """The authority's own certificate."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return file


def test_an_authority_of_ones_own_is_trusted_where_it_is_named(run: Run, tls: ssl.SSLContext, ca_file: Path) -> None:
    assert run(post_to(OK, tls=tls, ca_file=ca_file)) == 200


def test_an_authority_of_ones_own_is_trusted_where_the_environment_names_it(
    run: Run, tls: ssl.SSLContext, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))
    assert run(post_to(OK, tls=tls)) == 200


def test_an_unknown_authority_is_not_trusted(run: Run, tls: ssl.SSLContext) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        run(post_to(OK, tls=tls))
