"""The events that endings give rise to (EVT)."""

from __future__ import annotations

import re

from mock_harness import NOW, Client


def test_evt_1_3_4_8_an_event_tells_what_happened_and_by_which_request(client: Client) -> None:
    session = client.create(key="create")
    answer = client.expire(session["id"], key="give-up")
    (event,) = client.data("events")
    assert event == {
        "id": event["id"],
        "api_version": "1.0.0",
        "request": {"id": answer.headers["request-id"], "idempotency_key": "give-up"},
        "type": "checkout.session.expired",
        "account": event["account"],
        "created": NOW,
        "data": {"object": answer.json()},
    }
    assert re.fullmatch(r"evt_[0-9A-Za-z]+", event["id"])
    client.pay(client.create()["id"])
    second = client.data("events")[1]
    assert second["account"] == event["account"] != client.other.account
    assert second["id"] != event["id"]


def test_evt_2_4_completing_and_expiring_send_one_event_each(client: Client) -> None:
    client.freeze()
    paid, ended, late = (client.create()["id"] for _ in range(3))
    client.pay(paid)
    client.expire(ended)
    client.advance(86_400)
    events = {each["data"]["object"]["id"]: each for each in client.data("events")}
    assert len(client.data("events")) == len(events) == 3
    assert [events[each]["type"].rpartition(".")[2] for each in (paid, ended, late)] == [
        "completed",
        "expired",
        "expired",
    ]
    nobody = {"id": None, "idempotency_key": None}
    assert [events[each]["request"] == nobody for each in (paid, ended, late)] == [True, False, True]


def test_evt_4_an_expire_without_a_key_has_a_request_and_no_key(client: Client) -> None:
    answer = client.expire(client.create()["id"])
    (event,) = client.data("events")
    assert event["request"] == {"id": answer.headers["request-id"], "idempotency_key": None}


def test_evt_5_nothing_else_sends_an_event(client: Client) -> None:
    session = client.create(key="k")
    client.create(key="k")
    client.pay(session["id"], "failed")
    client.pay(session["id"], "canceled")
    client.retrieve(session["id"])
    client.page()
    client.expire("cs_test_nothing")
    client.get(f"/pay/{session['id']}", authorization=None)
    assert client.data("events") == []
    client.expire(session["id"], key="e")
    client.expire(session["id"], key="e")
    client.expire(session["id"])
    client.pay(session["id"])
    assert len(client.data("events")) == 1


def test_evt_3_a_late_read_still_tells_the_truth_of_then(client: Client) -> None:
    session = client.create()
    paid = client.pay(session["id"]).json()
    client.advance(90_000)
    assert client.data("events")[0]["data"]["object"] == paid == client.retrieve(session["id"])
