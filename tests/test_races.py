"""Sixteen clients at the same sessions over real connections: of pay, expire and the clock exactly one wins (CON-1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from threading import Barrier
from typing import Any

import pytest

from qashier_mock import MockServer
from qashier_mock.client import MockAccount
from qashier_mock.connections import MockRefused

CLIENTS = 16
ROUNDS = 6
SESSIONS = 6


@pytest.fixture
def clients(server: MockServer, api_key: str) -> Iterator[list[MockAccount]]:
    """Clients of one account, each with a connection of its own."""
    with ExitStack() as stack:
        yield [stack.enter_context(MockAccount(server.url, api_key)) for _ in range(CLIENTS)]


def by_all(clients: list[MockAccount], act: Callable[[MockAccount], Any]) -> list[Any]:
    """`at_once`, the same act by every client."""
    return at_once([partial(act, client) for client in clients])


def at_once(acts: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each act returns, or the refusal that it raises; all begin together."""
    barrier = Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        barrier.wait(30)
        try:
            return act()
        except MockRefused as refused:
            return refused

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def tries(client: MockAccount, number: int, sessions: list[str]) -> Callable[[], list[tuple[str, str, int]]]:
    """Pay (even clients) or expire (odd ones) every session, beginning somewhere else each: who won what."""
    turn = number % len(sessions)

    def act() -> list[tuple[str, str, int]]:
        outcomes = []
        for session_id in sessions[turn:] + sessions[:turn]:
            kind, call = ("expire", client.expire_session) if number % 2 else ("pay", client.pay)
            try:
                call(session_id)
                outcomes.append((session_id, kind, 200))
            except MockRefused as refused:
                outcomes.append((session_id, kind, refused.status))
        return outcomes

    return act


@pytest.mark.parametrize("seconds", [0, 1_800])
def test_con_1_exactly_one_wins_and_tells_of_it_once(clients: list[MockAccount], seconds: int) -> None:
    """Fifteen pay or expire, the sixteenth moves the clock: by nothing, or over the deadline of all sessions."""
    account = clients[0]
    account.freeze()
    for _ in range(ROUNDS):
        sessions = [account.create_session(expires_at=account.now + 1_800)["id"] for _ in range(SESSIONS)]
        acts: list[Callable[[], Any]] = [tries(client, number, sessions) for number, client in enumerate(clients[:-1])]
        *outcomes, moved = at_once([*acts, lambda: clients[-1].advance(seconds=seconds)])
        events = [each for each in account.events if each["data"]["object"]["id"] in sessions]
        assert Counter(each["data"]["object"]["id"] for each in events) == Counter(sessions)
        for session_id in sessions:
            won = [kind for each in outcomes for (which, kind, status) in each if (which, status) == (session_id, 200)]
            won += ["clock"] * moved["expired"].count(session_id)
            assert len(won) == 1
            lost = [status for each in outcomes for (which, _, status) in each if which == session_id and status != 200]
            assert set(lost) <= {409}
            after = account.retrieve_session(session_id)
            assert after["status"] == ("complete" if won == ["pay"] else "expired")
            (event,) = [each for each in events if each["data"]["object"]["id"] == session_id]
            assert event["data"]["object"] == after
            assert (event["request"]["id"] is None) == (won != ["expire"])


def test_con_2_sessions_created_at_once_are_distinct_and_all_listed(clients: list[MockAccount]) -> None:
    created = by_all(clients, lambda client: [client.create_session()["id"] for _ in range(5)])
    ids = [session_id for each in created for session_id in each]
    assert len(set(ids)) == CLIENTS * 5
    listed = clients[0].list_sessions(limit=100)["data"]
    assert {each["id"] for each in listed} == set(ids)
    assert [each["created"] for each in listed] == sorted((each["created"] for each in listed), reverse=True)


def test_idm_6_one_key_at_once_makes_one_session(clients: list[MockAccount]) -> None:
    answers = by_all(clients, lambda client: client.create_session(idempotency_key="order-1"))
    assert all(answer == answers[0] for answer in answers)
    assert len(clients[0].sessions) == 1


def test_idm_5_one_key_for_expire_at_once_expires_once(clients: list[MockAccount]) -> None:
    session_id = clients[0].create_session()["id"]
    answers = by_all(clients, lambda client: client.expire_session(session_id, idempotency_key="e"))
    assert all(answer == answers[0] for answer in answers)
    assert len(clients[0].events) == 1


def test_clocks_moved_at_once_add_up(clients: list[MockAccount]) -> None:
    clients[0].freeze()
    before = clients[0].now
    by_all(clients, lambda client: client.advance(seconds=7))
    assert clients[0].now == before + 7 * CLIENTS
