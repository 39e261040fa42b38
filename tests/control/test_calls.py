"""Who may call the control API, what it says of itself, and the customer's acts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mock_harness import Client, Json, basket

from qashier_mock import __version__

MakeClient = Callable[..., Client]
LATEST = 4_102_444_800 - 86_400


def test_health_needs_no_key(client: Client) -> None:
    answer = client.get("/_mock/v1/health", authorization=None)
    assert (answer.status, answer.json()) == (
        200,
        {"status": "ok", "version": __version__, "store": client.app.store.name},
    )


CALLS = [
    ("POST", "sessions/cs_test_1/pay"),
    ("GET", "clock"),
    ("PUT", "clock"),
    ("POST", "clock/advance"),
    ("GET", "events"),
    ("POST", "events/evt_1/deliver"),
    ("GET", "webhook-endpoints"),
    ("POST", "webhook-endpoints"),
    ("DELETE", "webhook-endpoints/we_1"),
    ("GET", "deliveries"),
    ("POST", "deliveries/flush"),
    ("GET", "faults"),
    ("POST", "faults"),
    ("DELETE", "faults"),
    ("DELETE", "faults/flt_1"),
    ("GET", "requests"),
    ("GET", "advice"),
    ("PUT", "settings"),
    ("POST", "reset"),
    ("GET", "snapshot"),
    ("PUT", "snapshot"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_other_call_needs_a_key(client: Client, method: str, path: str) -> None:
    refused = client.send(method, f"/_mock/v1/{path}", authorization=None)
    assert (refused.status, refused.error["code"]) == (401, "credentials_missing")


@pytest.mark.parametrize("path", ["clock", "settings"])
def test_the_control_api_is_not_under_the_production_prefix(client: Client, path: str) -> None:
    assert client.get(f"/v3/payment/qpay/_mock/v1/{path}").status == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "near"),
    [
        ("PUT", "clock", {"frosen": True}, "frozen"),
        ("POST", "clock/advance", {"seconds": 1, "second": 1}, "seconds"),
        ("PUT", "settings", {"strickt": True}, "strict"),
        ("POST", "faults", {"operation": "*", "action": "drop", "time": 1}, "times"),
        ("POST", "webhook-endpoints", {"url": "http://127.0.0.1:1", "type": []}, "types"),
    ],
)
def test_a_misspelt_field_is_a_mistake_that_names_the_nearest(
    client: Client, method: str, path: str, body: Json, near: str
) -> None:
    refused = client.send(method, f"/_mock/v1/{path}", body)
    assert (refused.status, refused.error["code"]) == (400, "parameter_unknown")
    assert f"`{near}`" in refused.error["message"]


def test_a_field_without_a_name_is_a_mistake_that_can_be_named(client: Client) -> None:
    refused = client.post("/_mock/v1/clock/advance", {"seconds": 0, "": 1})
    assert (refused.status, refused.error["param"]) == (400, '""')
    client.ok("PUT", "/_mock/v1/settings", {"strict": True})
    refused = client.post("/checkout/sessions", basket(**{"": 1}), headers={"idempotency-key": "k"})
    assert (refused.status, refused.error["param"]) == (400, '""')


@pytest.mark.parametrize("outcome", ["failed", "canceled"])
def test_pay_3_an_attempt_that_fails_leaves_the_session_as_it_was(client: Client, outcome: str) -> None:
    session = client.create()
    answer = client.pay(session["id"], outcome)
    assert (answer.status, answer.json()) == (200, session)
    assert client.data("events") == []
    assert client.pay(session["id"]).json()["status"] == "complete"


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "canceled"])
def test_paying_an_ended_session_is_a_conflict(client: Client, outcome: str) -> None:
    session = client.create()
    client.pay(session["id"])
    refused = client.pay(session["id"], outcome)
    assert (refused.status, refused.error["code"]) == (409, "session_not_open")


@pytest.mark.parametrize("body", [{}, {"outcome": "paid"}, {"outcome": None}, [], None])
def test_an_outcome_must_be_one_that_there_is(client: Client, body: Any) -> None:
    session = client.create()
    assert client.post(f"/_mock/v1/sessions/{session['id']}/pay", body).status == 400
    assert client.retrieve(session["id"]) == session


def test_an_unknown_session_and_another_accounts_cannot_be_paid(client: Client) -> None:
    session = client.create()
    assert client.pay("cs_test_nothing").status == 404
    assert client.other.pay(session["id"]).error["code"] == "session_not_found"
    assert client.retrieve(session["id"]) == session
