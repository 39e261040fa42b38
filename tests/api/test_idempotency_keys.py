"""Requests that are repeated with their key (IDM)."""

from __future__ import annotations

import json

import pytest
from api_calls import create
from mock_harness import NOW, Client, Json, basket


def test_idm_1_the_same_key_again_is_the_same_answer_and_nothing_is_done(client: Client) -> None:
    headers = {"idempotency-key": "order-1"}
    first = create(client, basket(), headers=headers)
    client.pay(first.json()["id"])
    again = create(client, basket(), headers=headers)
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["request-id"] != first.headers["request-id"]
    assert len(client.ids()) == 1


def test_idm_1_the_same_body_written_differently_is_the_same_request(client: Client) -> None:
    session = client.create(key="k")
    body = json.dumps(dict(reversed(basket().items())), indent=2).encode()
    again = create(client, body, headers={"idempotency-key": "k"})
    assert again.json() == session
    assert "qashier-mock-advice" not in again.headers


def test_idm_2_other_keys_are_other_requests(client: Client) -> None:
    assert len({client.create(key=key)["id"] for key in ("a", "A", "a ".strip() + "b")}) == 3


@pytest.mark.parametrize("key", ["k", "!~", "x" * 255])
def test_idm_3_up_to_255_characters_are_accepted(client: Client, key: str) -> None:
    assert client.create(key=key) == client.create(key=key)


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ké"])
def test_idm_3_a_longer_key_or_no_key_at_all_is_refused(client: Client, key: str) -> None:
    refused = create(client, basket(), headers={"idempotency-key": key})
    assert (refused.status, refused.error["param"]) == (400, "Idempotency-Key")
    assert client.ids() == []


def test_idm_3_two_keys_are_refused(client: Client) -> None:
    refused = create(client, basket(), headers={"idempotency-key": "a", "Idempotency-Key": "b"})
    assert (refused.status, refused.error["param"]) == (400, "Idempotency-Key")


def test_idm_4_a_key_is_forgotten_a_day_after_the_first_answer(client: Client) -> None:
    client.freeze()
    first = client.create(key="k")["id"]
    client.advance(86_399)
    assert client.create(key="k")["id"] == first
    client.advance(1)
    second = client.create(key="k")["id"]
    assert second != first
    client.advance(86_399)
    assert client.create(key="k")["id"] == second


def test_idm_5_repeating_a_successful_expire_returns_that_success(client: Client) -> None:
    session = client.create()
    first = client.expire(session["id"], key="e")
    again = client.expire(session["id"], key="e")
    assert (first.status, again.status, again.body) == (200, 200, first.body)
    assert client.expire(session["id"], key="other").status == 409


def test_idm_7_keys_belong_to_an_account(client: Client) -> None:
    assert client.create(key="k")["id"] != client.other.create(key="k")["id"]


@pytest.mark.parametrize("bad", [{"line_items": []}, {"expires_at": NOW}])
def test_idm_8_a_refused_create_does_not_use_its_key_up(client: Client, bad: Json) -> None:
    assert create(client, basket(**bad), headers={"idempotency-key": "k"}).status // 100 == 4
    assert client.create(key="k")["status"] == "open"


def test_idm_8_a_refused_expire_does_not_use_its_key_up(client: Client) -> None:
    assert client.expire("cs_test_nothing", key="k").status == 404
    assert client.expire(client.create()["id"], key="k").status == 200
    paid = client.create()["id"]
    client.pay(paid)
    assert client.expire(paid, key="l").status == 409
    assert client.create(key="l")["status"] == "open"


def test_idm_9_a_key_with_another_request_replays_the_first_answer_and_does_nothing(client: Client) -> None:
    session = client.create(key="k")
    other = client.create()
    assert create(client, basket(cancel_url="https://x.example"), headers={"idempotency-key": "k"}).json() == session
    assert client.expire(other["id"], key="k").json() == session
    assert client.expire(session["id"], key="k").json() == session
    expired = client.expire(other["id"], key="e").json()
    assert client.expire(session["id"], key="e").json() == expired
    assert client.create(key="e") == expired
    assert client.retrieve(session["id"]) == session
    assert len(client.ids()) == 2


def test_idm_9_an_unknown_session_comes_before_the_replay(client: Client) -> None:
    client.create(key="k")
    assert client.expire("cs_test_nothing", key="k").status == 404
