"""Connecting: what answers but is not the API is told apart from an API that breaks its contract."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from email.utils import formatdate
from time import time_ns
from typing import Any

import pytest
from qashier_contract import KeyRefused, NotTheApi, TargetUnreachable, Verdict, check
from qashier_contract.drive import webhooks
from qashier_contract.history import Reply
from raw_server import raw_server, read_request

from tests.targets import directed, serving, touching, within

IN_PROCESS = "http://127.0.0.1"


def answering_all(answer: bytes, came: list[bytes]) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        while request := read_request(connection):
            came.append(request)
            connection.sendall(answer)

    return serve


def refused(answer: bytes, error: type[Exception], message: str) -> list[bytes]:
    """The requests that were sent to a target that always answers so, once the run has ended as it should."""
    came: list[bytes] = []
    with raw_server(answering_all(answer, came)) as url, pytest.raises(error, match=message) as told:
        check(url, max_time_s=20, drivers=directed)
    assert "\n" not in str(told.value)
    return came


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_named_and_one_request_is_sent(status: str) -> None:
    head = f"HTTP/1.1 {status}\r\nLocation: https://pay.example/checkout/sessions?limit=1\r\nContent-Length: 0\r\n\r\n"
    came = refused(head.encode(), NotTheApi, r"redirects to https://pay\.example/checkout/sessions")
    assert len(came) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_firewall_is_not_blamed_on_the_key(status: int) -> None:
    page = b"<html>blocked</html>"
    head = f"HTTP/1.1 {status} No\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n\r\n".encode()
    came = refused(head + page, NotTheApi, rf"something in front of .* answered {status} with text/html")
    assert len(came) == 2


def test_a_refusal_of_the_api_is_blamed_on_the_key() -> None:
    body = json.dumps({"error": {"message": "no such key"}}).encode()
    head = f"HTTP/1.1 401 No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    refused(head + body, KeyRefused, "takes the key neither by Basic nor as a bearer token")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        ("404 Not Found", b"<html>", "POST /checkout/sessions answered 404; give the base URL"),
        ("404 Not Found", b'{"detail": "Not Found"}', "POST /checkout/sessions answered 404"),
        ("200 OK", b"<html>an application</html>", "POST /checkout/sessions answered 200"),
        ("501 Unsupported", b"", "POST /checkout/sessions answered 501"),
        ("503 Unavailable", b"", "POST /checkout/sessions answered 503"),
    ],
)
def test_a_wrong_address_is_named(status: str, body: bytes, words: str) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    came = refused(head + body, NotTheApi, f"no Checkout Sessions API at http://127.* {re.escape(words)}")
    assert len(came) <= 4


@pytest.mark.parametrize("below", ["/v1", "/checkout/sessions", "/checkout/sessions/"])
def test_an_address_below_or_beside_the_api_is_named(below: str) -> None:
    came: list[str] = []
    carry = within()

    def counted(method: str, url: str, *rest: Any) -> Any:
        came.append(url)
        return carry(method, url, *rest)

    with pytest.raises(NotTheApi, match=rf"no Checkout Sessions API at {IN_PROCESS}\S*: POST .* give the base URL"):
        check(IN_PROCESS + below, transport=counted, drivers=directed)
    assert sum("/_mock/" not in url for url in came) <= 4


def test_too_many_requests_for_everything_tests_nothing() -> None:
    answer = b"HTTP/1.1 429 Slow Down\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
    refused(answer, NotTheApi, "answers 429 to every request: nothing was tested")


def test_what_hangs_up_is_unreachable() -> None:
    came: list[bytes] = []
    with (
        raw_server(lambda connection: came.append(read_request(connection))) as url,
        pytest.raises(TargetUnreachable, match="does not answer"),
    ):
        check(url)
    assert len(came) == 1


def test_https_to_a_target_of_plain_http_says_which_to_write() -> None:
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"

    def answered(connection: socket.socket) -> None:
        connection.recv(4_096)
        connection.sendall(answer)

    with raw_server(answered) as url, pytest.raises(TargetUnreachable, match="it speaks no TLS: write http://"):
        check(url.replace("http:", "https:"))


# ── clocks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def shifted(quirk: str, seconds: int, *, date: bool) -> Any:
    """The reference target with a clock that is off, and a `Date` that agrees."""
    carry = within(quirk)

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: inner + seconds if name in {"created", "expires_at"} and isinstance(inner, int) else moved(inner)
                for name, inner in value.items()
            }
        return [moved(inner) for inner in value] if isinstance(value, list) else value

    def send(method: str, url: str, headers: Any, body: bytes | None) -> Any:
        reply, failure = carry(method, url, headers, body)
        if reply is None:
            return reply, failure
        now = time_ns() // 10**9 + (seconds if date else 0)
        shown = (*reply.headers, ("date", formatdate(now, usegmt=True)))
        content = json.dumps(moved(reply.json)).encode() if isinstance(reply.json, dict) else reply.body
        return Reply(status=reply.status, headers=shown, body=content), failure

    return send


@pytest.mark.usefixtures("no_second_is_awaited")
@pytest.mark.parametrize("seconds", [-900, 900])
def test_a_clock_that_is_off_is_not_accused_where_its_date_agrees(seconds: int) -> None:
    report = check(
        IN_PROCESS, transport=shifted("no control", seconds, date=True), seed=1, only=["CRE-4"], drivers=touching
    )
    assert report["CRE-4"].verdict is Verdict.PASSED, report["CRE-4"].violations
    assert any("The target's clock is" in note for note in report.notes)


@pytest.mark.usefixtures("no_second_is_awaited")
def test_a_clock_that_is_off_is_accused_where_its_date_says_otherwise() -> None:
    report = check(
        IN_PROCESS, transport=shifted("no control", 900, date=False), seed=1, only=["CRE-4"], drivers=touching
    )
    assert report["CRE-4"].verdict is Verdict.FAILED
    least, most = map(int, re.findall(r"from (\d+) to (\d+)", report["CRE-4"].violations[0].expected)[0])
    assert 600 <= most - least < 660  # what is named is what is allowed, five minutes either way


# ── webhooks that cannot come ───────────────────────────────────────────────────────────────────────────────────────


def test_a_refused_endpoint_is_why_there_were_no_webhooks() -> None:
    carry = within()

    def send(method: str, url: str, headers: Any, body: bytes | None) -> Any:
        if method == "POST" and url.endswith("/webhook-endpoints"):
            message = {"error": {"type": "invalid_request_error", "message": "https only"}}
            return Reply(status=400, headers=(), body=json.dumps(message).encode()), None
        return carry(method, url, headers, body)

    report = check(IN_PROCESS, transport=send, seed=1, only=["EVT-6", "EVT-7"], drivers=directed)
    assert report["EVT-7"].verdict is Verdict.NOT_EXERCISED
    assert report["EVT-7"].reason == "the target refused our webhook endpoint: 400 https only"


def test_webhooks_that_never_arrive_come_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "PATIENCE_S", 0.1)
    monkeypatch.setattr(webhooks, "_GLANCE_S", 0.05)
    monkeypatch.setattr(webhooks, "_LAG_S", 0.1)
    with serving() as url:
        # Somebody else's port: as from inside a container, our receiver is not where it says that it is.
        report = check(
            url, seed=1, only=["EVT-7"], webhook_public_url="http://127.0.0.1:9", drivers=directed, max_time_s=20
        )
    assert any("No webhook reached our receiver at 127.0.0.1:9." in note for note in report.notes)
