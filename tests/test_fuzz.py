"""Bytes that nobody would send, in packets as they come: the server answers or closes, and never fails."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pipeline_harness import KEY, TINY, Hooks, Wire, echoes, serving, tiny

from qashier_mock.pipeline.app import create_pipeline
from qashier_mock.pipeline.document import Document

SOAK_EXAMPLES = {"sample": 200, "full": 20_000}[os.environ.get("QASHIER_SOAK", "sample")]
HEAD = b"Host: mock\r\nAuthorization: " + KEY + b"\r\n"
GET = b"GET /things/a HTTP/1.1\r\n" + HEAD + b"\r\n"
BODY = b'{"name":"a","lines":[{"quantity":1}],"either":{"delay":1}}'
POST = b"POST /things HTTP/1.1\r\n" + HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = b"POST /things HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nc;x=y\r\n" + b'{"name":"a"}'
CHUNKED += b"\r\n0\r\nIdempotency-Key: k\r\n\r\n"
UPGRADE = POST.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHost", 1)
QUERY = b"GET /things?limit=5&created[gte]=1&status=open HTTP/1.1\r\n" + HEAD + b"\r\n"
PIECES = (b"\r\n", b"\r\n\r\n", b"\x00", b"\xff", b":", b" ", b"%zz")
LINES = tuple(
    b"\r\n" + line
    for line in (b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Connection: close", b"Expect: 100-continue")
)

CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 9), st.sampled_from(PIECES + LINES) | st.binary(max_size=3)), max_size=4
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    hooks = Hooks()
    with serving(create_pipeline([(Document(tiny()), ["", "/v1"])], echoes(TINY), hooks), hooks) as port:
        yield port


def talk(port: int, packets: list[bytes]) -> bytes:
    """Send packets, then stop sending, and return all that comes back until the server closes."""
    received = b""
    with Wire(port) as wire, contextlib.suppress(ConnectionError):
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for packet in packets:
            wire.send(packet)
        with contextlib.suppress(OSError):  # the server has closed the connection already
            wire.socket.shutdown(socket.SHUT_WR)
        while data := wire.socket.recv(65536):
            received += data
    return received


TRAFFIC = given(
    requests=st.lists(st.sampled_from([GET, POST, CHUNKED, UPGRADE, QUERY]), min_size=1, max_size=3),
    changes=CHANGES,
    cuts=st.lists(st.floats(0, 1), max_size=5),
)
CALM = settings(max_examples=150, deadline=None)


@TRAFFIC
@example(requests=[GET, CHUNKED], changes=[(0.9, 2, b"zz")], cuts=[])
@CALM
def test_whatever_comes_is_answered_or_refused(
    port: int, *, requests: list[bytes], changes: list[tuple[float, int, bytes]], cuts: list[float]
) -> None:
    check(port, requests, changes, cuts)


@pytest.mark.soak
@TRAFFIC
@settings(CALM, max_examples=SOAK_EXAMPLES)
def test_whatever_comes_for_long_is_answered_or_refused(
    port: int, *, requests: list[bytes], changes: list[tuple[float, int, bytes]], cuts: list[float]
) -> None:
    check(port, requests, changes, cuts)


def check(port: int, requests: list[bytes], changes: list[tuple[float, int, bytes]], cuts: list[float]) -> None:
    """Send requests, changed and cut into packets, and see that all of them are answered while nothing is changed."""
    data = b"".join(requests)
    for place, removed, inserted in changes:
        at = int(place * len(data))
        data = data[:at] + inserted + data[at + removed :]
    ends = sorted({int(cut * len(data)) for cut in cuts} | {0, len(data)})
    received = talk(port, [data[start:end] for start, end in pairwise(ends)])
    statuses = re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", received)
    assert not [status for status in statuses if status >= b"500"]
    if not changes:
        assert statuses == [b"200"] * len(requests)
