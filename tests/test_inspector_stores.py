"""The inspector on the stores that outlive a process, and with several workers behind one address."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from starlette.types import Message
from store_harness import Place

from qashier_mock import MockAccount, MockServer
from qashier_mock.core.credentials import account_of
from qashier_mock.web.inspector.news import News

pytest_plugins = ["store_fixtures"]

KEY = "sk_test_default"
BELOW = f"/_mock/accounts/{account_of(KEY)}"
DEAD_END = "http://127.0.0.1:9/hook"
ask = httpx.Client(headers={"Connection": "close"}).request
"""Asks over a connection of its own, which any worker may take."""
CONNECTIONS = 12
"""How many are opened one after another, so that each of two workers gets some."""


def seen_by_each(url: str, path: str, *texts: str) -> None:
    """Each worker shows these texts on a page, at once or after it has read what another one wrote."""
    for _ in range(CONNECTIONS):
        for _ in range(50):
            page = ask("GET", url + path).text
            missing = [text for text in texts if text not in page]
            if not missing:
                break
        assert missing == []


def posted(server: str, path: str, **form: str) -> httpx.Response:
    answer = ask("POST", server + path, data=form)
    assert answer.status_code == 303, answer.text
    return answer


def make_sample_and_pay_it(url: str) -> str:
    """The path of the session's page."""
    path = posted(url, "/_mock/accounts", sample="1").headers["location"]
    posted(url, path, act="pay")
    return str(path)


@contextmanager
def workers(store: str) -> Iterator[str]:
    command = [sys.executable, "-m", "qashier_mock", "serve", "--port=0", "--workers=2", "--store", store, "--quiet"]
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def test_a_session_is_paid_and_resent_and_its_clock_moved_on_a_store_that_lasts(lasting: Place) -> None:
    with MockServer(store=lasting.store()) as server:
        path = make_sample_and_pay_it(server.url)
        posted(server.url, f"{BELOW}/endpoints", url=DEAD_END)
        with MockAccount(server.url, KEY) as account:
            (event,) = account.events
        posted(server.url, f"{BELOW}/events/{event['id']}/resend", back=path)
        posted(server.url, f"{BELOW}/faults", about="operation", action="status", status="503", times="1")
        seen_by_each(server.url, path, "checkout.session.completed", "Attempt 1 to", "no answer")
        seen_by_each(server.url, f"{BELOW}/faults", "503 for every call")
        open_one = posted(server.url, f"{BELOW}/sessions").headers["location"]
        posted(server.url, f"{BELOW}/clock", move="deadline", back=open_one)
        seen_by_each(server.url, open_one, "expired")
        seen_by_each(server.url, "/_mock/", KEY, "2 sessions")


def test_every_worker_shows_what_another_one_did(database: Place) -> None:
    with workers(database.url) as url:
        path = make_sample_and_pay_it(url)
        with MockAccount(url, KEY) as account:
            session = account.create_session()
            account.retrieve_session(session["id"])
        below = f"{BELOW}/sessions/{session['id']}"
        seen_by_each(url, path, "checkout.session.completed", "paid")
        seen_by_each(url, below, "POST /checkout/sessions", f"GET /checkout/sessions/{session['id']}")
        seen_by_each(url, "/_mock/", KEY, "2 sessions")


def test_what_changes_as_soon_as_a_page_listens_is_news(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qashier_mock.web.inspector.news._LOOK_EVERY_S", 0.0)
    changes, sent, leaves = 0, "", asyncio.Event()

    async def version() -> tuple[object, ...]:
        await asyncio.sleep(0)  # as on a database, others have their turn
        return (changes,)

    async def send(message: Message) -> None:
        nonlocal changes, sent
        sent += message.get("body", b"").decode()
        changes += "retry:" in sent and not changes
        if "event:" in sent:
            leaves.set()

    async def receive() -> Message:
        await leaves.wait()
        return {"type": "http.disconnect"}

    async def listen() -> None:
        await asyncio.wait_for(News(version, lambda: False)({}, receive, send), 5)

    asyncio.run(listen())
    assert sent.splitlines()[2] == "event: news"


def test_news_of_one_worker_reaches_a_page_of_any(database: Place) -> None:
    with workers(database.url) as url, MockAccount(url, KEY) as account:
        for _ in range(3):
            session = account.create_session()
            with httpx.stream("GET", f"{url}/_mock/live", params={"account": account_of(KEY)}, timeout=10) as news:
                lines = news.iter_lines()
                assert next(lines).startswith("retry:")
                posted(url, f"{BELOW}/sessions/{session['id']}", act="pay")
                assert "event: news" in (next(lines), next(lines))
