"""Fault rules: calls that go wrong on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from mock_harness import NOW, Answer, Client, Json, basket

from qashier_mock.core.policy import Policy

MakeClient = Callable[..., Client]
LATEST = 4_102_444_800 - 86_400


def test_fault_rules_are_made_listed_and_removed(client: Client) -> None:
    slow = client.break_(operation="*", action="delay", seconds=0.5, times=2)
    limited = client.break_(operation="list_checkout_sessions", action="status", status=429, retry_after=7)
    twice = client.break_(webhook="*", action="duplicate", probability=0.25)
    assert slow == {"id": slow["id"], "operation": "*", "action": "delay", "seconds": 0.5, "times": 2, "applied": 0}
    assert client.data("faults") == [slow, limited, twice]
    assert client.other.data("faults") == []
    assert client.other.delete(f"/_mock/v1/faults/{limited['id']}").status == 404
    assert client.delete(f"/_mock/v1/faults/{limited['id']}").status == 204
    assert client.delete(f"/_mock/v1/faults/{limited['id']}").error["code"] == "not_found"
    assert client.data("faults") == [slow, twice]
    assert client.delete("/_mock/v1/faults").status == 204
    assert client.data("faults") == []


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "drop"},
        {"operation": "*", "webhook": "*", "action": "drop"},
        {"operation": "*", "action": "reorder"},
        {"operation": "get_clock", "action": "drop"},
        {"webhook": "*", "action": "status", "status": 500},
        {"webhook": "*", "action": "lose_answer"},
        {"operation": "*", "action": "delay"},
        {"operation": "*", "action": "status"},
        {"operation": "*", "action": "status", "status": 200},
        {"operation": "*", "action": "drop", "times": 0},
        {"operation": "*", "action": "drop", "probability": 1.5},
        {"operation": "*", "action": "explode"},
    ],
)
def test_a_fault_rule_that_means_nothing_is_refused(client: Client, rule: Json) -> None:
    assert client.post("/_mock/v1/faults", rule).status == 400
    assert client.data("faults") == []


@pytest.mark.parametrize(
    ("rule", "param"),
    [
        ({"operation": "*", "action": "reorder"}, "webhook"),
        ({"webhook": "*", "action": "status", "status": 500}, "operation"),
        ({"operation": "*", "action": "status"}, "status"),
        ({"webhook": "*", "action": "delay"}, "seconds"),
    ],
)
def test_the_refusal_of_a_fault_rule_tells_which_actions_go_with_what(client: Client, rule: Json, param: str) -> None:
    refused = client.post("/_mock/v1/faults", rule)
    assert refused.error["param"] == param
    assert "about an `operation` (`delay` with `seconds`" in refused.error["message"]
    assert "about a `webhook` (`drop`" in refused.error["message"]


def test_too_many_requests_come_with_retry_after_and_change_nothing(client: Client) -> None:
    client.break_(operation="create_checkout_session", action="status", status=429, retry_after=7, times=2)
    for _ in range(2):
        refused = client.post("/checkout/sessions", basket(), headers={"idempotency-key": "k"})
        assert (refused.status, refused.headers["retry-after"]) == (429, "7")
        assert (refused.error["type"], refused.error["code"]) == ("rate_limit_error", "rate_limited")
    assert client.ids() == []
    assert client.create(key="k")["status"] == "open"
    assert client.data("faults")[0]["applied"] == 2


def test_without_a_time_too_many_requests_means_a_second_and_unavailable_says_none(client: Client) -> None:
    client.break_(operation="list_checkout_sessions", action="status", status=429, times=1)
    client.break_(operation="list_checkout_sessions", action="status", status=503)
    assert client.get("/checkout/sessions").headers["retry-after"] == "1"
    unavailable = client.get("/checkout/sessions")
    assert (unavailable.status, unavailable.error["type"]) == (503, "api_error")
    assert "retry-after" not in unavailable.headers


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", "parameter_invalid"),
        (401, "authentication_error", "credentials_invalid"),
        (409, "conflict_error", "idempotency_key_in_use"),
        (413, "invalid_request_error", "body_too_large"),
        (415, "invalid_request_error", "media_type_unsupported"),
        (422, "invalid_request_error", "parameter_invalid"),
        (503, "api_error", "unavailable"),
    ],
)
def test_a_scripted_error_is_what_the_api_says_with_that_status(
    client: Client, status: int, kind: str, code: str
) -> None:
    client.break_(operation="create_checkout_session", action="status", status=status)
    refused = client.post("/checkout/sessions", basket())
    assert (refused.status, refused.error["type"], refused.error["code"]) == (status, kind, code)
    assert "by a fault rule" in refused.error["message"]


def test_a_scripted_404_is_one_of_the_documents(client: Client) -> None:
    client.break_(operation="retrieve_checkout_session", action="status", status=404)
    assert client.get("/checkout/sessions/cs_test_1").error["code"] == "not_found"


def test_a_scripted_401_has_a_challenge(client: Client) -> None:
    client.break_(operation="list_checkout_sessions", action="status", status=401)
    assert "Basic" in client.get("/checkout/sessions").headers["www-authenticate"]


@pytest.mark.parametrize(("choice", "status"), [("conflict", 409), ("wait", 200)])
def test_a_key_whose_request_is_delayed_is_under_way(make_client: MakeClient, choice: str, status: int) -> None:
    client = make_client(policy=Policy(idempotency_in_flight=choice))
    client.break_(operation="create_checkout_session", action="delay", seconds=3_600, times=1)

    async def create(key: str, body: Any = None) -> Answer:
        headers = {"idempotency-key": key}
        return await client.asend("POST", "/checkout/sessions", basket() if body is None else body, headers=headers)

    async def twice_at_once() -> list[Answer]:
        first = asyncio.create_task(create("order-1"))
        applied = 0
        while not applied:  # a store that suspends finds the rule a little later
            await asyncio.sleep(0)
            applied = (await client.asend("GET", "/_mock/v1/faults")).json()["data"][0]["applied"]
        answers = [await create("order-1"), await create("order-2"), await create("order-1", {})]
        first.cancel()
        return answers

    same, another, invalid = client.runner.run(twice_at_once())
    assert (same.status, another.status, invalid.status) == (status, 200, 400)
    if status == 409:
        assert same.error["code"] == "idempotency_key_in_use"
    assert client.other.create(key="order-1")["status"] == "open"


def test_a_key_is_under_way_while_the_store_is_asked_for_faults(make_client: MakeClient) -> None:
    """The rule has been counted, and whoever asked has not heard of it yet: no other request slips through."""
    client = make_client(policy=Policy(idempotency_in_flight="conflict"))
    client.break_(operation="create_checkout_session", action="delay", seconds=3_600, times=1)
    find = client.app.accounts.fault_of_call

    async def twice_at_once() -> list[Answer]:
        is_counted, may_go_on = asyncio.Event(), asyncio.Event()

        async def find_slowly(account: Any, operation: str) -> Any:
            rule = await find(account, operation)
            if rule is not None:
                is_counted.set()
                await may_go_on.wait()
            return rule

        client.app.accounts.fault_of_call = find_slowly  # type: ignore[method-assign]
        body, headers = basket(), {"idempotency-key": "order-1"}
        first = asyncio.create_task(client.asend("POST", "/checkout/sessions", body, headers=headers))
        await is_counted.wait()
        answers = [await client.asend("POST", "/checkout/sessions", body, headers=headers)]
        may_go_on.set()
        await asyncio.sleep(0)
        answers.append(await client.asend("POST", "/checkout/sessions", body, headers=headers))
        first.cancel()
        return answers

    assert [answer.status for answer in client.runner.run(twice_at_once())] == [409, 409]
    assert client.ids() == []


def test_a_delayed_call_is_answered_all_the_same(client: Client) -> None:
    client.break_(operation="*", action="delay", seconds=0.001)
    assert client.create()["status"] == "open"


def test_a_fault_hits_only_its_operation_its_account_and_never_the_control_api(client: Client) -> None:
    client.break_(operation="list_checkout_sessions", action="status", status=503)
    assert client.create()["status"] == "open"
    assert client.other.ids() == []
    client.break_(operation="*", action="status", status=503)
    assert client.get("/checkout/sessions/cs_test_1").status == 503
    assert client.ok("GET", "/_mock/v1/clock")["now"] == NOW


def test_a_wrong_key_is_refused_before_any_fault(client: Client) -> None:
    client.break_(operation="*", action="status", status=503)
    assert client.get("/checkout/sessions", authorization="Bearer nonsense").status == 401
