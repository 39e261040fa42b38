"""The client of one account: what it sends is what the mock documents, and what fails says why."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count

import httpx
import pytest
import requests
from raw_server import raw_server, read_request

from qashier_mock import MockServer
from qashier_mock.client import MockAccount, epoch_seconds, whole_seconds
from qashier_mock.connections import Connections, MockRefused, MockUnreachable

KEYS = count()


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def account(server: MockServer) -> Iterator[MockAccount]:
    with MockAccount(server.url, f"sk_test_client{next(KEYS)}") as account:
        yield account


def test_a_session_is_created_paid_and_told_of(account: MockAccount) -> None:
    session = account.create_session()
    assert session["status"] == "open"
    paid = account.pay(session["id"])
    assert (paid["status"], paid["payment_status"]) == ("complete", "paid")
    (event,) = account.events
    assert event["type"] == "checkout.session.completed"
    assert event["data"]["object"] == paid == account.retrieve_session(session["id"])


def test_a_declined_and_a_cancelled_payment_leave_it_open(account: MockAccount) -> None:
    session = account.create_session()
    assert account.fail(session["id"]) == session
    assert account.cancel(session["id"]) == session


def test_sessions_are_as_the_api_shows_them_and_leave_no_trace(account: MockAccount) -> None:
    lines = [
        {
            "price_data": {
                "currency": "JPY",
                "product_data": {"name": "Tea", "description": "Hot"},
                "unit_amount": 350,
            },
            "quantity": 2,
        },
        {"price_data": {"currency": "JPY", "product_data": {"name": "Cake"}, "unit_amount": 420}, "quantity": 1},
    ]
    account.create_session(line_items=lines, cancel_url="https://shop.example/basket")
    account.pay(account.create_session()["id"])
    account.expire_session(account.create_session()["id"])
    sent = len(account.requests)
    sessions = account.sessions
    assert len(account.requests) == sent
    assert [each["status"] for each in sessions] == ["expired", "complete", "open"]
    assert sessions == account.list_sessions()["data"]


def test_reading_sessions_is_spared_by_faults(account: MockAccount) -> None:
    session = account.create_session()
    with account.fault("status", status=503):
        assert account.sessions == [session]


def test_time_is_moved_frozen_and_released(account: MockAccount) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert account.freeze(at) == {"now": 1_767_225_600, "frozen": True, "expired": []}
    session = account.create_session()
    assert session["created"] == account.now == 1_767_225_600
    moved = account.advance(hours=24, minutes=0.5, seconds=1)
    assert moved == {"now": 1_767_225_600 + 86_431, "frozen": True, "expired": [session["id"]]}
    assert account.release()["frozen"] is False
    assert account.clock["frozen"] is False


@pytest.mark.parametrize("arguments", [{"seconds": 0.5}, {"seconds": -1}, {"hours": 1, "seconds": -3601}])
def test_a_clock_moves_forward_by_whole_seconds_only(account: MockAccount, arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="whole seconds"):
        account.advance(**arguments)


def test_lengths_and_instants_become_seconds() -> None:
    assert whole_seconds(days=1, hours=1, minutes=1, seconds=1) == 90_061
    for instant in (
        86_400,
        86_400.9,
        datetime(1970, 1, 2, tzinfo=UTC),
        "1970-01-02T00:00:00Z",
        "1970-01-02T08:00+08:00",
    ):
        assert epoch_seconds(instant) == 86_400
    for timeless in (datetime(1970, 1, 2), "1970-01-02T00:00:00"):  # noqa: DTZ001 - that it has no zone is the point
        with pytest.raises(ValueError, match="1970-01-02T00:00:00 has no time zone"):
            epoch_seconds(timeless)
    with pytest.raises(ValueError, match="'noon' is not a time in ISO 8601"):
        epoch_seconds("noon")


def test_a_fault_lasts_for_its_block(account: MockAccount) -> None:
    with account.fault("status", status=429, retry_after=3) as rule:
        with pytest.raises(MockRefused) as refused:
            account.create_session()
        assert (refused.value.status, refused.value.code) == (429, "rate_limited")
        assert rule.applied == 1
    assert account.create_session()
    assert account.faults == []
    rule.remove()


@pytest.mark.parametrize(
    ("action", "about"),
    [("drop", "operation"), ("reorder", "webhook"), ("duplicate", "webhook"), ("bad_signature", "webhook")],
)
def test_a_fault_is_about_what_its_action_is_for(account: MockAccount, action: str, about: str) -> None:
    account.fault(action)  # type: ignore[arg-type]
    (rule,) = account.faults
    assert rule[about] == "*"  # type: ignore[literal-required]
    account.clear_faults()
    assert account.faults == []


def test_a_dropped_answer_is_unreachable_and_nothing_is_sent_twice(account: MockAccount) -> None:
    account.fault("lose_answer", operation="create_checkout_session", times=1)
    with pytest.raises(MockUnreachable, match="no answer"):
        account.create_session()
    assert len(account.requests) == len(account.sessions) == 1


def test_refusals_carry_the_envelope(account: MockAccount) -> None:
    with pytest.raises(MockRefused, match="session_not_found") as refused:
        account.pay("cs_test_unknown/../..")
    assert refused.value.status == 404
    assert refused.value.message in str(refused.value)
    assert refused.value.request_id
    with pytest.raises(MockRefused) as refused:
        account.create_session(line_items=[])
    assert refused.value.param == "line_items"
    assert refused.value.type == "invalid_request_error"


def test_an_answer_that_no_mock_gives_is_told_in_one_line() -> None:
    page = MockRefused("GET /", 502, b"<html>\n<body>\n  Bad  Gateway\n" + b"x" * 1_000, None)
    assert str(page).startswith(
        "GET / was refused with 502: this is not how a mock answers: <html> <body> Bad Gateway x"
    )
    assert "\n" not in str(page)
    assert len(str(page)) < 300
    assert "the answer is empty" in str(MockRefused("GET /", 502, b"", None))


def test_neither_errors_nor_reprs_show_the_key(account: MockAccount) -> None:
    with pytest.raises(MockRefused) as refused:
        account.call("GET", "/nowhere")
    with MockAccount("http://127.0.0.1:1", account.api_key) as elsewhere, pytest.raises(MockUnreachable) as unreachable:
        elsewhere.health()
    for text in (str(refused.value), str(unreachable.value), repr(account)):
        assert account.api_key not in text


def test_endpoints_come_and_go(account: MockAccount) -> None:
    endpoint = account.deliver_webhooks_to(
        "http://127.0.0.1:1/hook", secret="whsec_x", types=["checkout.session.expired"]
    )
    assert account.webhook_endpoints == [endpoint]
    assert "secret" not in endpoint
    account.expire_session(account.create_session()["id"])
    account.flush()
    (attempt,) = account.deliveries  # the mock may have made it before it was asked to
    assert attempt["outcome"] == "failed"
    (again,) = account.deliver_again(attempt["event"])
    assert again["event"] == attempt["event"]
    account.stop_delivering_to(endpoint["id"])
    assert account.webhook_endpoints == []
    assert account.deliveries


def test_settings_reset_and_snapshots(account: MockAccount) -> None:
    assert account.configure(seed=7) == {"strict": False, "seed": 7}
    assert account.configure(strict=True) == {"strict": True, "seed": 7} == account.settings
    session = account.create_session()
    whole = account.snapshot()
    assert account.reset()["frozen"] is False
    assert account.sessions == []
    assert account.restore(whole)["sessions"] == 1
    assert account.sessions == [session]
    assert account.health()["status"] == "ok"


def test_strict_accounts_refuse_what_is_advised_against(account: MockAccount) -> None:
    account.configure(strict=True)
    with pytest.raises(MockRefused, match="Idempotency-Key"):
        account.call("POST", "/checkout/sessions", _body(account))
    account.configure(strict=False)
    account.call("POST", "/checkout/sessions", _body(account))
    assert "idempotency_key_missing" in [each["kind"] for each in account.advice]


def _body(account: MockAccount) -> object:
    made = account.create_session()
    return {
        "line_items": [
            {"price_data": {"currency": "SGD", "product_data": {"name": "x"}, "unit_amount": 1}, "quantity": 1}
        ],
        "success_url": made["success_url"],
        "return_url": made["return_url"],
    }


def test_requests_and_httpx_take_its_auth(account: MockAccount) -> None:
    session = account.create_session()
    url = f"{account.base_url}/checkout/sessions/{session['id']}"
    assert requests.get(url, auth=account.auth, timeout=10).json() == session
    assert httpx.get(url, auth=account.auth).json() == session


def test_one_connection_serves_many_requests_and_many_threads_have_their_own(server: MockServer) -> None:
    connections = Connections(server.url)
    account = MockAccount(server.url, f"sk_test_client{next(KEYS)}", connections=connections)
    for _ in range(3):
        account.create_session()
    assert len(connections._idle) == 1
    barrier = threading.Barrier(8, timeout=30)

    def work(_: int) -> str:
        barrier.wait()
        return account.create_session()["id"]

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(work, range(8)))
    assert len(set(ids)) == 8
    assert len(account.sessions) == 11
    connections.close()
    assert connections._idle == []


def test_a_connection_that_is_under_way_while_they_are_closed_is_not_kept() -> None:
    asked, may_answer, hung_up = threading.Event(), threading.Event(), threading.Event()

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        asked.set()
        may_answer.wait(30)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        if not connection.recv(1):
            hung_up.set()

    with raw_server(serve) as url, ThreadPoolExecutor() as pool:
        connections = Connections(url)
        answer = pool.submit(connections.send, "GET", "/", headers={})
        assert asked.wait(30)
        connections.close()
        may_answer.set()
        assert answer.result() == {}
        assert hung_up.wait(30)


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    """A server that answers once per connection, without saying that it will close it."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    closed = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)
                closed.set()

        thread = threading.Thread(target=serve)
        thread.start()
        with MockAccount(f"http://127.0.0.1:{listener.getsockname()[1]}", "sk_test_x") as account:
            assert account.call("POST", "/") == {}
            assert closed.wait(30)
            assert account.call("POST", "/") == {}
        thread.join(30)
    assert not thread.is_alive()


def test_a_prefix_of_the_address_is_kept(server: MockServer) -> None:
    with MockAccount(f"{server.url}/v3/payment/qpay/", f"sk_test_client{next(KEYS)}") as account:
        assert account.create_session()["status"] == "open"


@pytest.mark.parametrize("address", ["127.0.0.1:4010", "ftp://127.0.0.1", "http://", ""])
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match="looks like"):
        MockAccount(address, "sk_test_x")
