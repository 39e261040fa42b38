"""The fixture's account: what it takes, what it refuses in words, and applications that it calls in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, request
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from qashier_mock.core.signing import sign
from qashier_mock.testing import QashierMock, QashierMockServer

SECRET = "whsec_in_process"


@pytest.fixture(scope="module")
def server() -> Iterator[QashierMockServer]:
    with QashierMockServer() as running:
        yield running


@pytest.fixture
def account(server: QashierMockServer, request: pytest.FixtureRequest) -> Iterator[QashierMock]:
    made = server.account(request.node.nodeid)
    yield made
    made.close()


def test_paying_takes_a_session_or_its_id(account: QashierMock) -> None:
    assert account.pay(account.create_session())["status"] == "complete"
    assert account.fail(account.create_session()["id"])["status"] == "open"


@pytest.mark.parametrize("given", [None, 7, {"status": "open"}])
def test_what_is_neither_is_refused_with_what_would_be_right(account: QashierMock, given: Any) -> None:
    with pytest.raises(TypeError, match="give a session as the API answered with it, or its id"):
        account.pay(given)


def test_a_misspelt_field_is_refused_with_the_nearest_one(account: QashierMock) -> None:
    with pytest.raises(TypeError, match="no field cancel_ulr; did you mean cancel_url"):
        account.create_session(cancel_ulr="https://shop.example/")
    assert account.create_session(metadata={"order": "1"})["status"] == "open"


def test_advance_asks_by_how_much(account: QashierMock) -> None:
    with pytest.raises(TypeError, match="by how much"):
        account.advance()
    assert account.advance(seconds=0)["expired"] == []


def wsgi(seen: list[tuple[bytes, str]]) -> Flask:
    app = Flask("shop")

    @app.post("/hooks/qashier")
    def hook() -> tuple[str, int]:
        seen.append((request.get_data(), request.headers["x-qashier-sign"]))
        return "", 202

    return app


def asgi(seen: list[tuple[bytes, str]]) -> Starlette:
    async def hook(request: Request) -> Response:
        seen.append((await request.body(), request.headers["x-qashier-sign"]))
        return Response(status_code=202)

    return Starlette(routes=[Route("/hooks/qashier", hook, methods=["POST"])])


@pytest.mark.parametrize("make", [wsgi, asgi])
def test_webhooks_are_delivered_to_an_application_in_this_process(account: QashierMock, make: Any) -> None:
    seen: list[tuple[bytes, str]] = []
    account.deliver_webhooks_to(make(seen), path="/hooks/qashier", secret=SECRET)
    account.pay(account.create_session())
    account.flush()
    ((body, signature),) = seen
    assert signature == sign(body, SECRET)
    assert [attempt["status"] for attempt in account.deliveries] == [202]


@pytest.mark.parametrize("make", [wsgi, asgi])
def test_an_application_that_knows_no_such_path_answers_404_and_is_tried_again(account: QashierMock, make: Any) -> None:
    account.deliver_webhooks_to(make([]), path="/nowhere")
    account.pay(account.create_session())
    account.flush()
    (attempt,) = account.deliveries
    assert attempt["status"] == 404
    assert attempt["next_try"] is not None


@pytest.mark.parametrize(
    ("app", "path", "says"), [(7, "/", "ASGI or WSGI application"), (asgi([]), "hooks", "a slash")]
)
def test_what_is_no_application_is_refused(account: QashierMock, app: Any, path: str, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        account.deliver_webhooks_to(app, path=path)


def test_waiting_in_an_event_loop_that_may_have_to_answer_is_refused_at_once(account: QashierMock) -> None:
    account.deliver_webhooks_to("http://127.0.0.1:9/hook")

    async def test() -> None:
        for wait in (account.flush, lambda: account.advance(seconds=1), lambda: account.deliver_again("evt_1")):
            with pytest.raises(RuntimeError, match="await its twin"):
                wait()
        assert await account.aflush() == []

    asyncio.run(test())


def test_waiting_beneath_a_loop_that_runs_no_task_is_fine(account: QashierMock) -> None:
    """As under Playwright's synchronous API, whose loop runs while the test does."""
    account.deliver_webhooks_to("http://127.0.0.1:9/hook")
    loop, flushed = asyncio.new_event_loop(), list[object]()

    def flush() -> None:
        try:
            flushed.append(account.flush())
        finally:
            loop.stop()

    loop.call_soon(flush)
    loop.run_forever()
    loop.close()
    assert flushed == [[]]


def test_waiting_in_an_event_loop_is_fine_where_something_else_answers(account: QashierMock) -> None:
    account.deliver_webhooks_to(asgi([]), path="/hooks/qashier", secret=SECRET)

    async def test() -> None:
        account.pay(account.create_session())
        account.flush()

    asyncio.run(test())
    assert [attempt["status"] for attempt in account.deliveries] == [202]
