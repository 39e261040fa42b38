"""A mock behind a real socket: it starts and stops without a trace, and breaks connections when a rule says so."""

from __future__ import annotations

import json
import socket
import struct
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from typing import Any

import pytest
from mock_harness import basket

from qashier_mock import MockServer, Settings, server
from qashier_mock.address import AddressUnavailable, bind, url_of
from qashier_mock.client import MockAccount
from qashier_mock.connections import MockUnreachable
from qashier_mock.stores.base import StoreUnavailable
from qashier_mock.stores.memory import MemoryStore

KEY = "sk_test_a"


@pytest.fixture
def account(server: MockServer, api_key: str) -> Iterator[MockAccount]:
    with MockAccount(server.url, api_key) as account:
        yield account


def new_threads(before: set[threading.Thread]) -> set[threading.Thread]:
    return set(threading.enumerate()) - before


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def send(url: str, key: str, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    connection = HTTPConnection("127.0.0.1", port_of(url), timeout=10)
    authorization = "Basic " + b64encode(f"{key}:".encode()).decode()
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"authorization": authorization, "content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# its life


def test_a_server_answers_where_it_says_and_leaves_no_thread_and_no_port() -> None:
    before = set(threading.enumerate())
    with MockServer() as mock:
        assert mock.url.startswith("http://127.0.0.1:")
        status, body = send(mock.url, KEY, "POST", "/checkout/sessions", basket())
        session = json.loads(body)
        assert (status, session["url"]) == (200, f"{mock.url}/pay/{session['id']}")
        assert new_threads(before)
    assert not new_threads(before)
    with pytest.raises(ConnectionRefusedError):
        send(mock.url, KEY, "GET", "/_mock/v1/health")
    bind("127.0.0.1", port_of(mock.url)).close()


def test_a_server_that_was_stopped_may_be_started_again() -> None:
    mock = MockServer()
    for _ in range(2):
        assert mock.start() is mock
        with MockAccount(mock.url, KEY) as account:
            assert account.sessions == []
            account.create_session()
        mock.stop()
        mock.stop()
    mock.stop()


def test_a_server_that_runs_is_not_started_twice() -> None:
    with MockServer() as mock:
        with pytest.raises(RuntimeError, match="runs already"):
            mock.start()
        assert send(mock.url, KEY, "GET", "/_mock/v1/health")[0] == 200


def test_what_the_block_raises_comes_out_and_the_server_stops() -> None:
    mock = MockServer()
    with pytest.raises(LookupError), mock:
        raise LookupError
    with pytest.raises(ConnectionRefusedError):
        send(mock.url, KEY, "GET", "/_mock/v1/health")


def test_two_servers_know_nothing_of_each_other() -> None:
    with MockServer() as one, MockServer() as two:
        with MockAccount(one.url, KEY) as account:
            account.create_session()
        with MockAccount(two.url, KEY) as account:
            assert account.sessions == []


def test_a_port_may_be_chosen_and_a_taken_one_is_told() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = port_of(url_of(listener))
    with MockServer(port=port) as mock:
        assert port_of(mock.url) == port
        before = set(threading.enumerate())
        with pytest.raises(AddressUnavailable, match=f"127.0.0.1:{port}"):
            MockServer(port=port).start()
        assert not new_threads(before)


def test_a_store_that_cannot_be_opened_fails_the_start() -> None:
    class Gone(MemoryStore):
        async def open(self) -> None:
            raise StoreUnavailable("the disk is on fire")

    before = set(threading.enumerate())
    mock = MockServer(store=Gone())
    with pytest.raises(RuntimeError, match="could not start") as failed:
        mock.start()
    assert "on fire" in str(failed.value.__cause__)
    assert not new_threads(before)
    bind("127.0.0.1", port_of(mock.url)).close()


def test_settings_reach_the_app() -> None:
    with MockServer(Settings(seed=1, public_url="https://mock.example")) as mock, MockAccount(mock.url, KEY) as account:
        session = account.create_session()
    assert session["url"] == f"https://mock.example/pay/{session['id']}"


def test_a_client_and_a_receiver_that_hang_do_not_keep_a_server_from_stopping(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "_GRACE", 0.05)
    before = set(threading.enumerate())
    with ExitStack() as stack:
        receiver = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        mock = MockServer().start()
        stack.callback(mock.stop)
        account = stack.enter_context(MockAccount(mock.url, KEY))
        account.deliver_webhooks_to(f"http://127.0.0.1:{receiver.getsockname()[1]}")
        account.pay(account.create_session()["id"])
        stack.enter_context(receiver.accept()[0])
        (event,) = account.events

        def connect(request: bytes) -> None:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(mock.url))))
            connection.sendall(request)

        connect(b"")
        connect(b"POST /checkout/sessions HTTP/1.1\r\nhost: x\r\ncontent-le")
        authorization = b64encode(b"sk_test_a:")
        connect(
            b"POST /_mock/v1/events/%b/deliver HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic %b\r\n\r\n"
            % (event["id"].encode(), authorization)
        )
        stack.enter_context(receiver.accept()[0])
        mock.stop()
        assert not new_threads(before)
        bind("127.0.0.1", port_of(mock.url)).close()
    assert [record.getMessage() for record in caplog.records] == ["the server stops; requests without an answer: 1"]


def test_a_server_stops_when_it_is_told_and_not_when_it_next_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_TICK_S", 3_600)
    before = set(threading.enumerate())
    mock = MockServer().start()
    with socket.create_connection(("127.0.0.1", port_of(mock.url))):
        mock.stop()
    assert not new_threads(before)


@pytest.mark.parametrize("resets", [True, False])
def test_a_request_whose_client_has_gone_does_not_keep_a_server_from_stopping(
    monkeypatch: pytest.MonkeyPatch,
    resets: bool,  # noqa: FBT001
) -> None:
    """A client that has only stopped sending may still read its answer: it is waited for, but no longer than others."""
    monkeypatch.setattr(server, "_GRACE", 3_600 if resets else 0.01)
    before = set(threading.enumerate())
    mock = MockServer().start()
    with MockAccount(mock.url, KEY) as account:
        account.fault("delay", operation="*", seconds=60)
    authorization = b64encode(f"{KEY}:".encode())
    with socket.create_connection(("127.0.0.1", port_of(mock.url))) as client:
        client.sendall(b"GET /checkout/sessions HTTP/1.1\r\nhost: x\r\nauthorization: Basic %b\r\n\r\n" % authorization)
        with MockAccount(mock.url, KEY) as account:  # what came later is answered: the first request is under way
            assert account.faults[0]["applied"] == 1
        if resets:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    mock.stop()
    assert not new_threads(before)


# broken connections


def test_a_dropped_call_is_not_done(account: MockAccount) -> None:
    account.fault("drop", operation="create_checkout_session", times=1)
    with pytest.raises(RemoteDisconnected):
        send(account.base_url, account.api_key, "POST", "/checkout/sessions", basket())
    assert account.sessions == []
    assert account.create_session()["status"] == "open"


def test_a_lost_answer_is_done_and_a_retry_with_the_same_key_gets_it(account: MockAccount) -> None:
    account.fault("lose_answer", operation="create_checkout_session", times=1)
    with pytest.raises(MockUnreachable):
        account.create_session(idempotency_key="order-1")
    (session,) = account.sessions
    assert account.create_session(idempotency_key="order-1") == session
    lost, told = account.requests
    assert (lost["status"], lost["response_body"], lost["idempotency_key"]) == (None, None, "order-1")
    assert (told["status"], json.loads(told["response_body"] or "")) == (200, session)


def test_a_truncated_answer_ends_halfway_and_was_done(account: MockAccount) -> None:
    account.fault("truncate", operation="create_checkout_session", times=1)
    with pytest.raises(IncompleteRead) as cut:
        send(account.base_url, account.api_key, "POST", "/checkout/sessions", basket())
    (session,) = account.sessions
    assert cut.value.partial.decode().startswith('{"id":"' + session["id"])
    assert cut.value.expected is not None
    assert abs(len(cut.value.partial) - cut.value.expected) <= 1


def test_a_delayed_answer_comes(account: MockAccount) -> None:
    account.fault("delay", operation="*", seconds=0.05, times=1)
    account.create_session()
    assert account.requests[0]["duration_ms"] >= 45  # an event loop's timers are about a millisecond exact


def test_a_broken_connection_breaks_no_other(account: MockAccount) -> None:
    with MockAccount(account.base_url, account.api_key) as other:
        other.create_session()
        account.fault("drop", operation="list_checkout_sessions", times=1)
        with pytest.raises(MockUnreachable):
            account.list_sessions()
        assert len(other.list_sessions()["data"]) == 1
