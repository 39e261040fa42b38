"""The receiver: what arrives is there, who waits is woken, trouble is scripted, and nothing is left behind."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from qashier_mock import MockServer
from qashier_mock.client import MockAccount
from qashier_mock.core.signing import sign
from qashier_mock.receiver import WebhookReceiver, WebhookTimeout
from qashier_mock.webhook_server import _Handler

COMPLETED: Final = "checkout.session.completed"
EXPIRED: Final = "checkout.session.expired"
KEYS = count()


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def account(server: MockServer) -> Iterator[MockAccount]:
    with MockAccount(server.url, f"sk_test_receiver{next(KEYS)}") as account:
        yield account


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


def event(event_type: str = COMPLETED, session_id: str = "cs_test_1") -> dict[str, Any]:
    return {"id": "evt_1", "type": event_type, "data": {"object": {"id": session_id}}}


def post(receiver: WebhookReceiver, body: object, **headers: str) -> int:
    """Deliver by hand: the status, 0 where the connection was closed without an answer."""
    connection = http.client.HTTPConnection(urlsplit(receiver.url).netloc, timeout=30)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request("POST", "/webhooks", content, headers)
        return connection.getresponse().status
    except http.client.RemoteDisconnected:
        return 0
    finally:
        connection.close()


def test_it_receives_what_a_mock_delivers_signed(account: MockAccount, receiver: WebhookReceiver) -> None:
    account.deliver_webhooks_to(receiver.url, secret=receiver.secret)
    session = account.create_session()
    account.pay(session["id"])
    told = receiver.wait_for(COMPLETED)
    assert [told] == receiver.received == account.events
    (delivery,) = receiver.deliveries
    assert delivery.event == told
    assert json.loads(delivery.body) == told
    assert delivery.path == "/webhooks"
    assert delivery.headers["content-type"] == "application/json"
    assert delivery.headers["x-qashier-sign"] == sign(delivery.body, receiver.secret)
    assert delivery.is_signed_with(receiver.secret)
    assert not delivery.is_signed_with("another")
    assert not delivery.is_signed_with(receiver.secret, header="x-other")


def test_waiting_returns_each_delivery_once(receiver: WebhookReceiver) -> None:
    for _ in range(2):
        assert post(receiver, event()) == 200
    assert post(receiver, event(EXPIRED, "cs_test_2")) == 200
    assert receiver.wait_for()["type"] == COMPLETED
    assert receiver.wait_for(session="cs_test_2")["type"] == EXPIRED
    assert receiver.wait_for(COMPLETED)["id"] == "evt_1"
    with pytest.raises(WebhookTimeout, match=r"3 came: .*3 of them had been waited for"):
        receiver.wait_for(timeout=0)
    assert len(receiver.received) == 3


def test_what_does_not_come_is_told_with_what_did(receiver: WebhookReceiver) -> None:
    with pytest.raises(WebhookTimeout, match=r"no checkout\.session\.expired came within 0 s \(none came\)"):
        receiver.wait_for(EXPIRED, timeout=0)
    post(receiver, event())
    with pytest.raises(WebhookTimeout, match=r"no webhook of cs_x .*1 came: checkout\.session\.completed of cs_test_1"):
        receiver.wait_for(session="cs_x", timeout=0.01)


def test_an_unknown_type_is_refused_at_once(receiver: WebhookReceiver) -> None:
    with pytest.raises(ValueError, match=r"did you mean 'checkout\.session\.completed'"):
        receiver.wait_for("checkout.session.complete")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the types are"):
        receiver.wait_for("x")  # type: ignore[arg-type]


def test_a_waiting_thread_is_woken_by_its_webhook(receiver: WebhookReceiver) -> None:
    with ThreadPoolExecutor(2) as pool:
        expired = pool.submit(receiver.wait_for, EXPIRED, timeout=30)
        completed = pool.submit(receiver.wait_for, COMPLETED, timeout=30)
        post(receiver, event(COMPLETED))
        assert completed.result(30)["type"] == COMPLETED
        assert not expired.done()
        post(receiver, event(EXPIRED))
        assert expired.result(30)["type"] == EXPIRED


def test_events_from_before_it_was_registered_come_first(receiver: WebhookReceiver) -> None:
    post(receiver, event(EXPIRED))
    receiver.include([event(COMPLETED, "cs_early")])  # type: ignore[list-item]
    assert [each["type"] for each in receiver.received] == [COMPLETED, EXPIRED]
    assert [each.event["type"] for each in receiver.deliveries] == [EXPIRED]
    assert receiver.wait_for(COMPLETED, session="cs_early")


def test_answers_are_scripted_one_after_the_other(receiver: WebhookReceiver) -> None:
    receiver.answer(503, times=2)
    receiver.hang_up(times=1)
    receiver.answer(500, times=0)
    assert [post(receiver, event()) for _ in range(4)] == [503, 503, 0, 200]
    receiver.answer(204)
    assert [post(receiver, event()) for _ in range(2)] == [204, 204]
    receiver.hang_up()
    assert post(receiver, event()) == 0
    receiver.answer()
    assert post(receiver, event()) == 200
    assert len(receiver.received) == 8
    with pytest.raises(ValueError, match="from 200 to 599, not with 100"):
        receiver.answer(100)


def test_a_failing_receiver_gets_the_same_event_again(account: MockAccount, receiver: WebhookReceiver) -> None:
    account.freeze()
    account.deliver_webhooks_to(receiver.url)
    receiver.answer(500, times=2)
    account.pay(account.create_session()["id"])
    account.advance(hours=1)
    assert [each["status"] for each in account.deliveries] == [500, 500, 200]
    assert len({each["id"] for each in receiver.received}) == 1


def test_what_hangs_is_answered_when_released(receiver: WebhookReceiver) -> None:
    receiver.hang(times=1)
    receiver.hang()
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(post, receiver, event()) for _ in range(2)]
        for _ in answers:
            receiver.wait_for(timeout=30)
        assert not any(each.done() for each in answers)
        receiver.release()
        assert [each.result(30) for each in answers] == [200, 200]
    assert post(receiver, event()) == 200


def test_what_is_no_event_is_refused_and_not_received(receiver: WebhookReceiver) -> None:
    assert post(receiver, b"no json") == 400
    assert post(receiver, [1]) == 400
    assert receiver.received == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"Content-Length: two\r\n\r\n{}",
        b"Content-Length: -1\r\n\r\n{}",
        b"Content-Length: 1_0\r\n\r\n{}",
        b"Content-Length: 99999999999\r\n\r\n{}",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        b"Content-Length: 200000\r\n\r\n" + b"[" * 200_000,
    ],
    ids=range(8),
)
def test_a_broken_request_is_answered(receiver: WebhookReceiver, request_bytes: bytes) -> None:
    address = urlsplit(receiver.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(b"POST /webhooks HTTP/1.1\r\nHost: x\r\n" + request_bytes)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    assert receiver.received == []


def test_a_silent_connection_ends_with_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Handler, "timeout", 0.05)
    with WebhookReceiver() as receiver:
        address = urlsplit(receiver.url)
        for begun in (b"", b"POST /web", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n{"):
            with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
                connection.sendall(begun)
                assert connection.recv(100) == b""


def test_silent_connections_take_few_threads_and_shut_nobody_out(receiver: WebhookReceiver) -> None:
    address = urlsplit(receiver.url)
    before = threading.active_count()
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=10))
        assert post(receiver, event()) == 200
        assert threading.active_count() - before <= 128
    assert len(receiver.received) == 1


def test_an_event_of_any_form_is_received(receiver: WebhookReceiver) -> None:
    assert post(receiver, {"data": None}) == 200
    assert post(receiver, {"data": {"object": 1}}) == 200
    assert len(receiver.received) == 2


def test_chunked_bodies_are_understood(receiver: WebhookReceiver) -> None:
    connection = http.client.HTTPConnection(urlsplit(receiver.url).netloc, timeout=30)
    text = json.dumps(event()).encode()
    connection.request(
        "POST", "/x", iter([text[:10], text[10:]]), {"Transfer-Encoding": "chunked"}, encode_chunked=True
    )
    assert connection.getresponse().status == 200
    connection.close()
    assert receiver.deliveries[0].body == text


def test_closing_ends_what_hangs_and_who_waits_and_frees_the_port() -> None:
    before = set(threading.enumerate())
    receiver = WebhookReceiver().start()
    receiver.hang()
    port = urlsplit(receiver.url).port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port)) as idle, ThreadPoolExecutor(2) as pool:
        idle.sendall(b"POST /")
        hanging = pool.submit(post, receiver, event())
        receiver.wait_for(timeout=30)
        waiting = pool.submit(receiver.wait_for, EXPIRED, timeout=60)
        receiver.close()
        assert hanging.result(30) in {0, 200}
        with pytest.raises(WebhookTimeout, match=r"no checkout\.session\.expired came before the receiver was closed"):
            waiting.result(30)
    receiver.close()
    assert set(threading.enumerate()) <= before
    with socket.create_server(("127.0.0.1", port)):
        pass
    assert len(receiver.received) == 1


@pytest.mark.asyncio
async def test_awaiting_leaves_the_event_loop_free(receiver: WebhookReceiver) -> None:
    waiting = asyncio.create_task(receiver.await_for(COMPLETED, timeout=30))
    assert await asyncio.to_thread(post, receiver, event()) == 200
    assert (await waiting)["type"] == COMPLETED


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_awaiting_works_under_anyio(receiver: WebhookReceiver) -> None:
    post(receiver, event())
    assert (await receiver.await_for(COMPLETED))["type"] == COMPLETED
    with pytest.raises(WebhookTimeout):
        await receiver.await_for(timeout=0.01)


@pytest.mark.asyncio
async def test_an_abandoned_wait_claims_nothing_and_leaves_no_thread_waiting(receiver: WebhookReceiver) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await receiver.await_for(COMPLETED, timeout=60)
    post(receiver, event())
    assert (await receiver.await_for(COMPLETED))["type"] == COMPLETED


def test_its_repr_says_where_and_how_many(receiver: WebhookReceiver) -> None:
    assert repr(receiver) == f"<WebhookReceiver at {receiver.url}, 0 received>"
    assert receiver.secret not in repr(receiver)
