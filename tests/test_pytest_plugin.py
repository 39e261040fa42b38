"""The pytest plugin, as a project uses it: test runs inside a test run."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

# Imported here, since a run inside this process forgets what it has imported, and some of it can be imported just once.
import anyio.to_thread  # noqa: F401
import httpcore  # noqa: F401
import httpx  # noqa: F401
import pytest
import pytest_asyncio.plugin  # noqa: F401
from plugin_harness import Run, run_alone, said

import qashier_mock.server  # noqa: F401
from qashier_mock import testing

pytest_plugins = ["pytester", "plugin_fixtures"]
pytestmark = pytest.mark.usefixtures("project")


# the account


def test_each_test_gets_a_fresh_account_on_the_one_server(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(3))
        def test_it(qashier_mock, qashier_mock_server, number):
            assert qashier_mock.sessions == []
            qashier_mock.create_session()
            assert qashier_mock.base_url == qashier_mock_server.base_url == qashier_mock_server.url
            print(f"url={qashier_mock.base_url} key={qashier_mock.api_key}")
        """
    )
    result = run_alone(pytester, "-s")
    result.assert_outcomes(passed=3)
    assert len(set(said(result, "url"))) == 1
    assert len(set(said(result, "key"))) == 3


def test_the_account_acts_as_customer_clock_and_witness(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import httpx
        from datetime import UTC, datetime

        def test_it(qashier_mock):
            qashier_mock.freeze(at=datetime(2026, 1, 1, tzinfo=UTC))
            with httpx.Client(base_url=qashier_mock.base_url, auth=qashier_mock.auth) as client:
                line = {
                    "price_data": {"currency": "SGD", "product_data": {"name": "Tea"}, "unit_amount": 350},
                    "quantity": 2,
                }
                body = {"line_items": [line], "success_url": "https://shop.example", "return_url": "https://shop.example"}
                first, second = (client.post("/checkout/sessions", json=body).json() for _ in range(2))
                assert first["created"] == qashier_mock.now == 1_767_225_600
                qashier_mock.fail(first["id"])
                qashier_mock.cancel(first["id"])
                assert qashier_mock.pay(first["id"])["status"] == "complete"
                assert qashier_mock.advance(hours=25)["expired"] == [second["id"]]
                assert [each["status"] for each in qashier_mock.sessions] == ["expired", "complete"]
                assert [each["type"] for each in qashier_mock.events] == [
                    "checkout.session.completed", "checkout.session.expired"
                ]
                assert [each["status"] for each in qashier_mock.requests] == [200, 200]
                assert "idempotency_key_missing" in [each["kind"] for each in qashier_mock.advice]
                with qashier_mock.fault("status", status=503, times=1):
                    assert client.get("/checkout/sessions").status_code == 503
                    assert client.get("/checkout/sessions").status_code == 200
        """
    )
    run().assert_outcomes(passed=1)


def test_a_test_that_does_nothing_sends_nothing(pytester: pytest.Pytester, run: Run) -> None:
    """A fresh key costs no request: the account exists on the server once somebody uses it."""
    pytester.makepyfile(
        """
        import pytest
        from qashier_mock.connections import Connections

        @pytest.fixture(scope="session", autouse=True)
        def sent(qashier_mock_server):
            calls = []
            send = Connections.send
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Connections, "send", lambda self, *a, **k: calls.append(a) or send(self, *a, **k))
                yield calls

        def test_one(qashier_mock, sent): pass
        def test_two(qashier_mock, sent): assert sent == []
        def test_three(qashier_mock, sent):
            assert sent == []
            qashier_mock.now
            assert len(sent) == 1
        """
    )
    run().assert_outcomes(passed=3)


def test_it_signs_for_unit_tests_of_a_handler(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import base64, hashlib, hmac

        def test_it(qashier_mock):
            expected = base64.b64encode(hmac.new("ключ".encode(), b'{"a": 1}', hashlib.sha256).digest()).decode()
            assert qashier_mock.sign(b'{"a": 1}', "ключ") == qashier_mock.sign('{"a": 1}', "ключ") == expected
            assert qashier_mock.sign(b'{"a": 1}', "ключ", encoding="hex") == base64.b64decode(expected).hex()
        """
    )
    run().assert_outcomes(passed=1)


def test_a_second_account_can_be_had(pytester: pytest.Pytester, run: Run) -> None:
    pytester.makepyfile(
        """
        import pytest
        from qashier_mock.connections import MockRefused

        def test_it(qashier_mock, qashier_mock_server):
            other = qashier_mock_server.account("another merchant")
            session = other.create_session()
            with pytest.raises(MockRefused, match="session_not_found"):
                qashier_mock.retrieve_session(session["id"])
            other.close()
        """
    )
    run().assert_outcomes(passed=1)


# event loops


@pytest.mark.parametrize("mark", ["asyncio", "anyio"])
def test_an_async_test_talks_to_the_server_and_receives_in_its_own_loop(
    pytester: pytest.Pytester, run: Run, mark: str
) -> None:
    pytester.makepyfile(
        f"""
        import asyncio
        import httpx
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.{mark}
        async def test_it(qashier_mock):
            came = []

            async def receive(reader, writer):
                await reader.readuntil(b"\\r\\n\\r\\n")
                came.append(1)
                writer.write(b"HTTP/1.1 204 OK\\r\\nConnection: close\\r\\n\\r\\n")
                await writer.drain()
                writer.close()
                await writer.wait_closed()

            async with await asyncio.start_server(receive, "127.0.0.1", 0) as shop:
                port = shop.sockets[0].getsockname()[1]
                await qashier_mock.afreeze()
                qashier_mock.deliver_webhooks_to(f"http://127.0.0.1:{{port}}/")
                async with httpx.AsyncClient(base_url=qashier_mock.base_url, auth=qashier_mock.auth) as client:
                    session = qashier_mock.create_session()
                    answer = await client.get("/checkout/sessions/" + session["id"])
                    assert answer.json() == session
                assert (await qashier_mock.aadvance(hours=25))["expired"] == [session["id"]]
                assert came == [1]
                await qashier_mock.adeliver_again(qashier_mock.events[0]["id"])
                assert came == [1, 1]
                assert await qashier_mock.aflush() == []
                await qashier_mock.arelease()
                event = await qashier_mock.webhooks.await_for("checkout.session.expired", timeout=30)
                assert event["data"]["object"]["id"] == session["id"]

        @pytest.mark.{mark}
        @pytest.mark.parametrize("qashier_webhook_disorder", ["replayed"], indirect=True)
        async def test_disorder(qashier_mock, qashier_webhook_disorder):
            qashier_mock.pay(qashier_mock.create_session()["id"])
            await qashier_webhook_disorder.asettle()
            assert len(qashier_mock.webhooks.received) == 2
        """
    )
    run().assert_outcomes(passed=2)


def test_a_server_without_pytest_is_a_context_manager() -> None:
    server = testing.QashierMockServer()
    assert repr(server) == "<QashierMockServer at no address>"
    with pytest.raises(RuntimeError, match="not started"):
        server.account()
    with server:
        # The second is what a test gets that is run again.
        accounts = [server.account("test_shop.py::test_it") for _ in range(2)]
        for account in accounts:
            assert account.create_session()["url"].startswith(server.base_url)
        assert [len(each.sessions) for each in accounts] == [1, 1]
        receiver = accounts[0].webhooks
    server.stop()
    with pytest.raises(ConnectionRefusedError):  # what nobody closed is closed with the server
        socket.create_connection(("127.0.0.1", urlsplit(receiver.url).port or 0))
