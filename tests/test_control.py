"""The control API: every call of it, over the in-process client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from mock_harness import NOW, Answer, Client, Json, Receiver, basket

from qashier_mock.core.policy import Policy

if TYPE_CHECKING:
    from qashier_mock.core.sources import ManualClock

MakeClient = Callable[..., Client]
LATEST = 4_102_444_800 - 86_400


# clock


def test_a_new_account_shows_the_machines_time(client: Client, clock: ManualClock) -> None:
    assert client.ok("GET", "/_mock/v1/clock") == {"now": NOW, "frozen": False}
    clock.now += 5
    assert client.ok("GET", "/_mock/v1/clock") == {"now": NOW + 5, "frozen": False}


def test_a_frozen_clock_stands_until_it_is_released_and_goes_on_from_there(client: Client, clock: ManualClock) -> None:
    assert client.freeze() == {"now": NOW, "frozen": True, "expired": []}
    clock.now += 100
    assert client.ok("GET", "/_mock/v1/clock") == {"now": NOW, "frozen": True}
    released = client.ok("PUT", "/_mock/v1/clock", {"frozen": False})
    assert released == {"now": NOW, "frozen": False, "expired": []}
    clock.now += 3
    assert client.ok("GET", "/_mock/v1/clock") == {"now": NOW + 3, "frozen": False}


def test_a_clock_jumps_forward_running_or_frozen(client: Client, clock: ManualClock) -> None:
    assert client.ok("PUT", "/_mock/v1/clock", {"now": NOW + 50}) == {"now": NOW + 50, "frozen": False, "expired": []}
    clock.now += 1
    assert client.ok("GET", "/_mock/v1/clock")["now"] == NOW + 51
    assert client.freeze(NOW + 60)["now"] == NOW + 60
    moved = client.ok("PUT", "/_mock/v1/clock", {"now": NOW + 70})
    assert moved == {"now": NOW + 70, "frozen": True, "expired": []}


def test_advancing_moves_a_running_clock_and_leaves_a_frozen_one_frozen(client: Client, clock: ManualClock) -> None:
    assert client.advance(60) == {"now": NOW + 60, "frozen": False, "expired": []}
    clock.now += 5
    client.freeze()
    assert client.advance(60) == {"now": NOW + 125, "frozen": True, "expired": []}
    assert client.advance(0) == {"now": NOW + 125, "frozen": True, "expired": []}


def test_an_account_that_has_nothing_may_be_set_to_any_instant(client: Client, clock: ManualClock) -> None:
    assert client.freeze(0) == {"now": 0, "frozen": True, "expired": []}
    assert client.ok("PUT", "/_mock/v1/clock", {"now": NOW - 7, "frozen": False})["now"] == NOW - 7
    clock.now += 2
    assert client.ok("GET", "/_mock/v1/clock")["now"] == NOW - 5
    assert client.ok("PUT", "/_mock/v1/clock", {"now": NOW - 6})["frozen"] is False
    session = client.create()
    assert session["created"] == NOW - 6


def test_a_clock_never_goes_backwards_once_there_is_a_session(client: Client) -> None:
    client.create()
    before = client.freeze()
    refused = client.put("/_mock/v1/clock", {"now": NOW - 1})
    assert (refused.status, refused.error["param"]) == (400, "now")
    assert str(NOW - 1) in refused.error["message"]
    assert client.ok("GET", "/_mock/v1/clock") == {"now": before["now"], "frozen": True}


@pytest.mark.parametrize(
    "body", [{"seconds": -1}, {"seconds": 1.5}, {"seconds": "1"}, {}, {"seconds": 1, "minutes": 1}]
)
def test_a_move_that_is_no_whole_number_forward_is_refused(client: Client, body: Json) -> None:
    assert client.post("/_mock/v1/clock/advance", body).status == 400
    assert client.ok("GET", "/_mock/v1/clock")["now"] == NOW


def test_a_clock_stops_a_day_before_the_last_time_there_is(client: Client) -> None:
    refused = client.post("/_mock/v1/clock/advance", {"seconds": LATEST - NOW + 1})
    assert (refused.status, refused.error["param"]) == (400, "seconds")
    assert client.advance(LATEST - NOW)["now"] == LATEST
    assert client.create()["expires_at"] == LATEST + 86_400
    assert client.put("/_mock/v1/clock", {"now": LATEST + 1}).status == 400


def test_two_moves_at_once_add_up(client: Client, runner: asyncio.Runner) -> None:
    client.freeze()

    async def both() -> list[Json]:
        move = ("POST", "/_mock/v1/clock/advance", {"seconds": 60})
        return [each.json() for each in await asyncio.gather(client.asend(*move), client.asend(*move))]

    runner.run(both())
    assert client.ok("GET", "/_mock/v1/clock")["now"] == NOW + 120


def test_two_moves_at_once_add_up_also_while_the_first_waits_for_a_webhook(
    client: Client, runner: asyncio.Runner, receiver: Receiver
) -> None:
    client.freeze()
    client.subscribe(receiver.url)
    client.create()
    client.advance(86_399)
    seconds = asyncio.Event()

    async def hold(_: Any) -> None:
        await seconds.wait()

    receiver.on_arrival = hold

    async def both() -> None:
        first = asyncio.create_task(client.asend("POST", "/_mock/v1/clock/advance", {"seconds": 60}))
        await receiver.arrived(1)
        second = asyncio.create_task(client.asend("POST", "/_mock/v1/clock/advance", {"seconds": 60}))
        await asyncio.sleep(0)
        seconds.set()
        await asyncio.gather(first, second)

    runner.run(both())
    assert client.ok("GET", "/_mock/v1/clock")["now"] == NOW + 86_399 + 120


def test_exp_7_advancing_expires_what_falls_due_in_order_of_its_deadline(client: Client) -> None:
    client.freeze()
    late = client.create(expires_at=NOW + 7_200)["id"]
    soon = client.create(expires_at=NOW + 1_800)["id"]
    later = client.create(expires_at=NOW + 7_201)["id"]
    assert client.advance(1_799)["expired"] == []
    assert client.advance(5_401)["expired"] == [soon, late]
    assert [(each["data"]["object"]["id"], each["created"]) for each in client.data("events")] == [
        (soon, NOW + 1_800),
        (late, NOW + 7_200),
    ]
    assert client.retrieve(later)["status"] == "open"
    assert client.ok("PUT", "/_mock/v1/clock", {"now": NOW + 7_201})["expired"] == [later]


def test_each_account_has_a_clock_of_its_own(client: Client) -> None:
    client.freeze(NOW + 500)
    assert client.other.ok("GET", "/_mock/v1/clock") == {"now": NOW, "frozen": False}


# the server, and who may call


def test_health_needs_no_key(client: Client) -> None:
    from qashier_mock import __version__

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
    refused = client.post("/_mock/v1/clock/advance", {"": 1})
    assert (refused.status, refused.error["param"]) == (400, '""')
    client.ok("PUT", "/_mock/v1/settings", {"strict": True})
    refused = client.post("/checkout/sessions", basket(**{"": 1}), headers={"idempotency-key": "k"})
    assert (refused.status, refused.error["param"]) == (400, '""')


# the customer's acts


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


# events and endpoints


def test_events_are_listed_oldest_first_and_filtered(client: Client) -> None:
    first, second, third = (client.create()["id"] for _ in range(3))
    client.pay(second)
    client.expire(first)
    client.pay(third)
    assert [each["data"]["object"]["id"] for each in client.data("events")] == [second, first, third]
    assert [each["data"]["object"]["id"] for each in client.data("events?type=checkout.session.completed")] == [
        second,
        third,
    ]
    assert [each["type"] for each in client.data(f"events?session={first}")] == ["checkout.session.expired"]
    assert client.data(f"events?session={first}&type=checkout.session.completed") == []
    assert client.data("events?session=cs_test_nothing") == []
    assert client.other.data("events") == []
    assert client.get("/_mock/v1/events?type=checkout.session.opened").status == 400


def test_listing_events_expires_first_what_is_overdue(client: Client, clock: ManualClock) -> None:
    session = client.create()
    clock.now += 86_400
    (event,) = client.data("events")
    assert (event["data"]["object"]["id"], event["type"]) == (session["id"], "checkout.session.expired")


def test_an_endpoint_is_made_listed_without_its_secret_and_removed(client: Client) -> None:
    made = client.post("/_mock/v1/webhook-endpoints", {"url": "https://shop.example/hooks", "secret": "whsec_1"})
    endpoint = made.json()
    assert made.status == 201
    assert endpoint == {
        "id": endpoint["id"],
        "url": "https://shop.example/hooks",
        "types": ["checkout.session.completed", "checkout.session.expired"],
    }
    only = client.subscribe("http://127.0.0.1:9/x", types=["checkout.session.expired"])
    assert client.data("webhook-endpoints") == [endpoint, only]
    assert client.other.data("webhook-endpoints") == []
    assert client.other.delete(f"/_mock/v1/webhook-endpoints/{endpoint['id']}").status == 404
    removed = client.delete(f"/_mock/v1/webhook-endpoints/{endpoint['id']}")
    assert (removed.status, removed.body) == (204, b"")
    assert client.data("webhook-endpoints") == [only]
    again = client.delete(f"/_mock/v1/webhook-endpoints/{endpoint['id']}")
    assert (again.status, again.error["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "shop.example"},
        {"url": "ftp://shop.example"},
        {"url": "http://user@shop.example"},
        {"url": "http://shop.example:99999"},
        {"url": "http://shop.example", "secret": ""},
        {"url": "http://shop.example", "types": []},
        {"url": "http://shop.example", "types": ["checkout.session.opened"]},
    ],
)
def test_an_endpoint_needs_a_url_and_known_types(client: Client, body: Json) -> None:
    assert client.post("/_mock/v1/webhook-endpoints", body).status == 400
    assert client.data("webhook-endpoints") == []


def test_an_endpoint_of_the_servers_own_is_every_accounts_and_stays(make_client: MakeClient) -> None:
    client = make_client(webhook_urls=["http://127.0.0.1:9/all"], webhook_secret="whsec_all")
    (endpoint,) = client.data("webhook-endpoints")
    assert endpoint["url"] == "http://127.0.0.1:9/all"
    assert client.other.data("webhook-endpoints") == [endpoint]
    refused = client.delete(f"/_mock/v1/webhook-endpoints/{endpoint['id']}")
    assert (refused.status, refused.error["param"]) == (400, "id")
    assert "--webhook-url" in refused.error["message"]
    assert client.data("webhook-endpoints") == [endpoint]


# fault rules


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
        await asyncio.sleep(0)
        answers = [await create("order-1"), await create("order-2"), await create("order-1", {})]
        first.cancel()
        return answers

    same, another, invalid = client.runner.run(twice_at_once())
    assert (same.status, another.status, invalid.status) == (status, 200, 400)
    if status == 409:
        assert same.error["code"] == "idempotency_key_in_use"
    assert client.other.create(key="order-1")["status"] == "open"


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


# settings


def test_settings_are_the_accounts_own_and_what_is_left_out_stays(client: Client) -> None:
    assert client.ok("GET", "/_mock/v1/settings") == {"strict": False, "seed": None}
    assert client.ok("PUT", "/_mock/v1/settings", {"strict": True}) == {"strict": True, "seed": None}
    assert client.ok("PUT", "/_mock/v1/settings", {"seed": 7}) == {"strict": True, "seed": 7}
    assert client.ok("PUT", "/_mock/v1/settings", {}) == {"strict": True, "seed": 7}
    assert client.other.ok("GET", "/_mock/v1/settings") == {"strict": False, "seed": None}
    assert client.put("/_mock/v1/settings", {"strict": None}).status == 400
    assert client.put("/_mock/v1/settings", {"seed": -1}).status == 400


def test_a_strict_server_makes_strict_accounts_and_an_account_may_say_otherwise(make_client: MakeClient) -> None:
    client = make_client(strict=True)
    assert client.ok("GET", "/_mock/v1/settings")["strict"] is True
    assert client.post("/checkout/sessions", basket()).status == 400
    client.ok("PUT", "/_mock/v1/settings", {"strict": False})
    assert client.create()["status"] == "open"


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({}, "parameter_missing", "Idempotency-Key"),
        ({"sucess_url": "https://x.example"}, "parameter_unknown", "sucess_url"),
        ({"success_url": "http://shop.example/thanks"}, "parameter_invalid", "success_url"),
    ],
)
def test_strict_turns_advice_about_a_request_into_a_refusal(
    client: Client, changes: Json, code: str, param: str
) -> None:
    client.ok("PUT", "/_mock/v1/settings", {"strict": True})
    headers = {"idempotency-key": "k"} if changes else {}
    refused = client.post("/checkout/sessions", basket(**changes), headers=headers)
    assert (refused.status, refused.error["code"], refused.error["param"]) == (400, code, param)
    assert refused.error["message"].startswith("Refused in strict mode: ")
    assert client.ids() == []
    assert client.data("advice") == []


def test_strict_refuses_a_key_that_was_used_for_another_request(client: Client) -> None:
    client.ok("PUT", "/_mock/v1/settings", {"strict": True})
    session = client.create(key="k")
    refused = client.expire(session["id"], key="k")
    assert (refused.status, refused.error["code"]) == (409, "idempotency_key_reused")
    assert client.create(key="k") == session


def test_a_seed_makes_the_ids_of_an_account_repeat(client: Client, make_client: MakeClient) -> None:
    twin, stranger = make_client(seed=2), make_client(seed=2)
    for each in (client, twin):
        each.ok("PUT", "/_mock/v1/settings", {"seed": 7})
    ids = [[each.create()["id"] for _ in range(3)] for each in (client, twin, stranger)]
    assert ids[0] == ids[1]
    assert not set(ids[0]) & set(ids[2])


# the journal


def test_the_journal_shows_each_request_and_its_answer(client: Client) -> None:
    client.freeze(NOW + 3_600)
    answer = client.post("/checkout/sessions", basket(), headers={"idempotency-key": "order-1"})
    client.get("/v3/payment/qpay/checkout/sessions/cs_test_1?x=%20y")
    created, refused = client.data("requests")
    assert created["request_id"] == answer.headers["request-id"]
    assert created["duration_ms"] >= 0
    assert created | {"request_id": 0, "duration_ms": 0} == {
        "request_id": 0,
        "operation": "create_checkout_session",
        "method": "POST",
        "path": "/checkout/sessions",
        "status": 200,
        "at": NOW + 3_600,
        "duration_ms": 0,
        "request_body": json.dumps(basket()),
        "response_body": answer.body.decode(),
        "idempotency_key": "order-1",
        "advice": [],
    }
    assert (refused["status"], refused["path"]) == (400, "/v3/payment/qpay/checkout/sessions/cs_test_1?x=%20y")
    assert (refused["request_body"], refused["idempotency_key"]) == (None, None)
    assert client.other.data("requests") == []


def test_the_journal_shows_what_went_to_the_wrong_address(client: Client) -> None:
    answer = client.post("/v1/checkout/sessions?x=1", basket(), headers={"idempotency-key": "order-1"})
    client.delete("/checkout/sessions")
    mistyped, refused = client.data("requests")
    assert (mistyped["operation"], mistyped["method"], mistyped["path"]) == (None, "POST", "/v1/checkout/sessions?x=1")
    assert (mistyped["status"], mistyped["request_id"]) == (404, answer.headers["request-id"])
    assert (mistyped["idempotency_key"], mistyped["response_body"]) == ("order-1", answer.body.decode())
    assert (refused["operation"], refused["method"], refused["status"]) == (None, "DELETE", 405)


def test_the_journal_shows_no_call_of_the_control_api(client: Client) -> None:
    client.get("/_mock/v1/clock")
    client.get("/_mock/v1/clocks")
    client.delete("/_mock/v1/clock")
    assert client.data("requests") == []


def test_the_journal_follows_the_accounts_clock(client: Client, clock: ManualClock) -> None:
    client.create()
    client.advance(50)
    clock.now += 1
    client.ids()
    client.ok("POST", "/_mock/v1/reset")
    client.ids()
    assert [each["at"] for each in client.data("requests")] == [NOW + 1]
    client.advance(10)
    client.freeze()
    client.ids()
    assert [each["at"] for each in client.data("requests")] == [NOW + 1, NOW + 11]


def test_the_journal_names_the_idempotency_key_also_of_a_refused_request(client: Client) -> None:
    client.break_(operation="create_checkout_session", action="status", status=429, times=1)
    for body in (basket(), basket(success_url="nonsense")):
        client.post("/checkout/sessions", body, headers={"idempotency-key": "order-1"})
    assert [(each["status"], each["idempotency_key"]) for each in client.data("requests")] == [
        (429, "order-1"),
        (400, "order-1"),
    ]


def test_the_journal_blots_out_keys_wherever_they_stand(client: Client) -> None:
    stray = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
    client.create(success_url=f"https://shop.example/?key={stray}&a=1", return_url=f"https://shop.example/{client.key}")
    client.get(f"/checkout/sessions/{stray}")
    client.get(f"/checkout/sessions?starting_after={stray}")
    client.create(key=stray)
    text = str(client.data("requests"))
    assert stray not in text
    assert client.key not in text
    assert "https://shop.example/?key=sk_live_***&a=1" in text
    assert "https://shop.example/sk_test_***" in text
    assert "'/checkout/sessions/sk_live_***'" in text
    assert "'/checkout/sessions?starting_after=sk_live_***'" in text


def test_no_secret_of_a_webhook_is_ever_shown(client: Client) -> None:
    secret = "whsec_very_secret"
    client.subscribe("http://127.0.0.1:9/x", secret=secret)
    client.post("/_mock/v1/webhook-endpoints", {"url": "nonsense", "secret": secret})
    client.pay(client.create()["id"])
    for what in ("requests", "webhook-endpoints", "deliveries", "events", "advice", "snapshot", "settings"):
        assert secret not in client.get(f"/_mock/v1/{what}").body.decode()
    assert secret not in repr(client.runner.run(client.app.accounts.endpoints(client.account)))


def test_the_journal_keeps_the_last_thousand(client: Client) -> None:
    for number in range(1_003):
        client.get(f"/checkout/sessions/cs_{number}")
    paths = [each["path"] for each in client.data("requests")]
    assert len(paths) == 1_000
    assert (paths[0], paths[-1]) == ("/checkout/sessions/cs_3", "/checkout/sessions/cs_1002")


def test_the_journal_cuts_long_bodies(client: Client) -> None:
    client.create(line_items=[{**basket()["line_items"][0]}] * 100)
    (entry,) = client.data("requests")
    assert len(entry["request_body"]) <= 16_384
    assert len(entry["response_body"]) <= 16_384


# advice


def advised(client: Client) -> dict[str, int]:
    return {each["kind"]: each["count"] for each in client.data("advice")}


def test_advice_is_told_once_in_the_header_and_counted(client: Client) -> None:
    body = basket(success_url="http://shop.example/thanks", sucess="x")
    first = client.post("/checkout/sessions", body)
    told = 'idempotency_key_missing, unknown_field; param="sucess"; nearest="success_url", insecure_success_url'
    assert first.headers["qashier-mock-advice"] == told
    second = client.post("/checkout/sessions", body)
    assert "qashier-mock-advice" not in second.headers
    kinds = ["idempotency_key_missing", "unknown_field", "insecure_success_url"]
    assert [each["advice"] for each in client.data("requests")] == [kinds, []]
    assert advised(client) == {"idempotency_key_missing": 2, "unknown_field": 2, "insecure_success_url": 2}
    note = client.data("advice")[1]
    assert (note["request_id"], note["at"]) == (first.headers["request-id"], NOW)
    assert "sucess; did you mean success_url?" in note["message"]
    assert advised(client) == {"idempotency_key_missing": 2, "unknown_field": 2, "insecure_success_url": 2}


def test_every_unknown_field_is_named_with_the_nearest_known_one(client: Client) -> None:
    line = {**basket()["line_items"][0], "qty": 1, "quantiti": 2}
    body = basket(cancel_ulr="https://shop.example", colour="красный", line_items=[line, line])
    told = client.post("/checkout/sessions", body, headers={"idempotency-key": "a"}).headers["qashier-mock-advice"]
    assert told.split(", ") == [
        'unknown_field; param="cancel_ulr"; nearest="cancel_url"',
        'unknown_field; param="colour"',
        'unknown_field; param="line_items[0].qty"',
        'unknown_field; param="line_items[0].quantiti"; nearest="quantity"',
    ]
    assert {each["param"]: each["count"] for each in client.data("advice")} == {
        "cancel_ulr": 1,
        "colour": 1,
        "line_items[0].qty": 2,
        "line_items[0].quantiti": 2,
    }
    again = client.post("/checkout/sessions", {**body, "metadata": {}}, headers={"idempotency-key": "b"})
    assert again.headers["qashier-mock-advice"] == 'unknown_field; param="metadata"'


def test_unknown_fields_do_not_fill_an_account(client: Client) -> None:
    for batch in range(20):
        names = {f"field_{batch}_{index}": 1 for index in range(20)}
        client.ok("POST", "/checkout/sessions", basket(**names))
    assert len(client.data("advice")) == 100


@pytest.mark.parametrize(
    ("name", "url", "template"),
    [
        ("success_url", "https://shop.example/ok?session={CHECKOUT_SESSION_ID}", "{CHECKOUT_SESSION_ID}"),
        ("return_url", "https://shop.example/%7BCHECKOUT_SESSION_ID%7D", "%7BCHECKOUT_SESSION_ID%7D"),
        ("cancel_url", "https://shop.example/{{order.id}}", "{order.id}"),
    ],
)
def test_a_template_in_a_url_is_advised_against_and_comes_back_as_it_is(
    client: Client, name: str, url: str, template: str
) -> None:
    answer = client.post("/checkout/sessions", basket(**{name: url}), headers={"idempotency-key": "a"})
    assert answer.headers["qashier-mock-advice"] == f'template_in_url; param="{name}"'
    if name != "cancel_url":
        assert answer.json()[name] == url
    (note,) = client.data("advice")
    assert f"{name} has the template {template}" in note["message"]


@pytest.mark.parametrize(
    "url", ["https://shop.example/?b=%7B2%7D", "https://shop.example/{}", "https://shop.example/{1}"]
)
def test_braces_around_no_name_are_no_template(client: Client, url: str) -> None:
    answer = client.post("/checkout/sessions", basket(success_url=url), headers={"idempotency-key": "a"})
    assert "qashier-mock-advice" not in answer.headers


def test_advice_is_told_also_with_a_refusal(client: Client) -> None:
    refused = client.expire("cs_test_nothing")
    assert (refused.status, refused.headers["qashier-mock-advice"]) == (404, "idempotency_key_missing")


def test_a_key_for_two_requests_is_advised_against(client: Client) -> None:
    session = client.create(key="k")
    again = client.post("/checkout/sessions", basket(cancel_url="https://x.example"), headers={"idempotency-key": "k"})
    assert (again.json(), again.headers["qashier-mock-advice"]) == (session, "idempotency_key_reused")


def test_tight_polling_is_advised_against(client: Client, clock: ManualClock) -> None:
    session = client.create(key="k")
    told = []
    for _ in range(12):
        answer = client.get(f"/checkout/sessions/{session['id']}")
        told.append(answer.headers.get("qashier-mock-advice"))
        clock.now += 1
    assert told == [None] * 9 + ["tight_polling", None, None]


def test_polling_slowly_or_an_ended_session_is_fine(client: Client, clock: ManualClock) -> None:
    slow, ended = client.create(key="a")["id"], client.create(key="b")["id"]
    client.expire(ended, key="c")
    for _ in range(12):
        client.retrieve(slow)
        clock.now += 2
    for _ in range(12):
        client.retrieve(ended)
    assert "tight_polling" not in advised(client)


def test_no_endpoint_is_advised_against_as_long_as_there_is_none(client: Client) -> None:
    assert advised(client) == {}
    client.pay(client.create(key="k")["id"])
    assert advised(client) == {"no_webhook_endpoint": 1}
    assert advised(client) == {"no_webhook_endpoint": 1}
    client.subscribe("http://127.0.0.1:9/x")
    assert advised(client) == {}


def test_an_endpoint_that_never_acknowledges_is_advised_against(client: Client, receiver: Receiver) -> None:
    client.freeze()
    client.subscribe(receiver.url)
    receiver.answers.append(500)
    session = client.create(key="k")["id"]
    client.pay(session)
    client.ok("POST", "/_mock/v1/deliveries/flush")
    assert advised(client) == {"webhook_never_acknowledged": 1}
    client.advance(10)
    client.retrieve(session)
    assert advised(client) == {}


def test_a_webhook_whose_session_was_not_retrieved_is_advised_against(client: Client, receiver: Receiver) -> None:
    client.freeze()
    client.subscribe(receiver.url)
    session = client.create(key="k")["id"]
    client.pay(session)
    client.advance(5)
    assert advised(client) == {"webhook_not_confirmed": 1}
    client.retrieve(session)
    assert advised(client) == {}


# reset


def test_a_reset_account_is_as_new_but_never_gives_an_id_twice(client: Client, clock: ManualClock) -> None:
    client.freeze(NOW + 50)
    client.ok("PUT", "/_mock/v1/settings", {"strict": False, "seed": 3})
    before = client.create(key="k")["id"]
    client.pay(before)
    client.subscribe("http://127.0.0.1:9/x")
    client.break_(webhook="*", action="drop")
    clock.now += 7
    assert client.ok("POST", "/_mock/v1/reset") == {"now": NOW + 7, "frozen": False}
    for what in ("events", "webhook-endpoints", "deliveries", "faults", "requests", "advice"):
        assert client.data(what) == []
    assert client.ids() == []
    assert client.get(f"/checkout/sessions/{before}").status == 404
    assert client.get(f"/pay/{before}", authorization=None).status == 404
    assert client.ok("GET", "/_mock/v1/settings") == {"strict": False, "seed": None}
    client.ok("PUT", "/_mock/v1/settings", {"seed": 3})
    again = client.create(key="k")
    assert again["id"] != before
    assert again["created"] == NOW + 7


def test_a_reset_leaves_other_accounts_alone(client: Client) -> None:
    other = client.other
    session = other.create()
    client.create()
    client.ok("POST", "/_mock/v1/reset")
    assert other.ids() == [session["id"]]


# snapshots


def full_account(client: Client, receiver: Receiver) -> None:
    """Something of everything that a snapshot holds."""
    client.freeze(NOW)
    client.ok("PUT", "/_mock/v1/settings", {"seed": 5})
    client.subscribe(receiver.url, secret="whsec_1")
    client.subscribe(receiver.url, types=["checkout.session.expired"])
    client.break_(webhook="*", action="delay", seconds=7_200, times=1)
    client.break_(operation="list_checkout_sessions", action="delay", seconds=0.001, probability=0.5)
    receiver.answers.extend([200, 500, 200])
    paid = client.create(key="a", cancel_url="https://shop.example/basket")["id"]
    client.create(line_items=[{**basket()["line_items"][0], "quantity": 3}], surprise=1)
    client.create(expires_at=NOW + 1_800)
    client.pay(paid)
    client.expire(client.create(key="b")["id"], key="c")
    client.advance(1_800)


def settled(snapshot: Json) -> Json:
    """A snapshot without what is not carried over."""
    return {
        **snapshot,
        "account": None,
        "settings": {**snapshot["settings"], "strict": None},
        "webhook_endpoints": [{**each, "signed": False} for each in snapshot["webhook_endpoints"]],
    }


def test_a_snapshot_moves_an_account_to_another_server(
    client: Client, make_client: MakeClient, receiver: Receiver
) -> None:
    full_account(client, receiver)
    before = client.ok("GET", "/_mock/v1/snapshot")
    assert all(before[part] for part in ("sessions", "idempotency", "events", "deliveries", "attempts", "advice"))
    target = make_client(seed=9).other
    restored = target.ok("PUT", "/_mock/v1/snapshot", before)
    signed = [each["id"] for each in before["webhook_endpoints"] if each["signed"]]
    assert restored == {"sessions": 4, "events": 3, "endpoints_needing_secret": signed}
    assert settled(target.ok("GET", "/_mock/v1/snapshot")) == settled(before)
    for what in ("deliveries", "faults", "advice"):
        assert target.data(what) == client.data(what)
    assert target.page() == client.page()
    assert target.ok("GET", "/_mock/v1/clock") == client.ok("GET", "/_mock/v1/clock")
    assert target.create(key="a") == client.create(key="a")
    assert target.expire(client.ids()[0], key="c").json() == client.expire(client.ids()[0], key="c").json()
    assert target.advance(86_400)["expired"] == client.advance(86_400)["expired"]
    assert len(target.data("events")) == len(client.data("events")) == 4


def test_restored_ids_do_not_come_again(make_client: MakeClient, receiver: Receiver) -> None:
    source = make_client(seed=9)
    full_account(source, receiver)
    snapshot = source.ok("GET", "/_mock/v1/snapshot")
    target = make_client(seed=9)
    target.other.ok("PUT", "/_mock/v1/snapshot", snapshot)
    target.ok("PUT", "/_mock/v1/settings", {"seed": 5})
    fresh = {target.create()["id"] for _ in range(10)} | {target.subscribe("http://127.0.0.1:9")["id"]}
    assert not fresh & set(str(snapshot).split("'"))


def test_a_running_clock_goes_on_from_the_snapshots_time(
    client: Client, make_client: MakeClient, clock: ManualClock
) -> None:
    client.advance(100)
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    clock.now += 1_000
    target = make_client()
    target.ok("PUT", "/_mock/v1/snapshot", snapshot)
    clock.now += 1
    assert target.ok("GET", "/_mock/v1/clock") == {"now": NOW + 101, "frozen": False}


def test_a_snapshot_replaces_all_that_the_account_had(client: Client) -> None:
    empty = client.ok("GET", "/_mock/v1/snapshot")
    client.pay(client.create()["id"])
    client.subscribe("http://127.0.0.1:9")
    client.ok("PUT", "/_mock/v1/snapshot", empty)
    assert client.ids() == []
    assert client.data("events") == client.data("webhook-endpoints") == []


def test_a_snapshot_is_taken_as_of_now(client: Client, clock: ManualClock) -> None:
    client.create()
    clock.now += 86_400
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    assert snapshot["sessions"][0]["status"] == "expired"
    assert len(snapshot["events"]) == 1


def test_a_snapshot_comes_back_into_its_own_account(client: Client, receiver: Receiver) -> None:
    full_account(client, receiver)
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    client.ok("PUT", "/_mock/v1/snapshot", snapshot)
    assert settled(client.ok("GET", "/_mock/v1/snapshot")) == settled(snapshot)


@pytest.mark.parametrize("what", ["session", "endpoint", "fault"])
def test_an_id_of_another_account_is_refused_and_nothing_is_restored(client: Client, what: str) -> None:
    match what:
        case "session":
            object_id = client.create()["id"]
        case "endpoint":
            object_id = client.subscribe("http://127.0.0.1:9")["id"]
        case _:
            object_id = client.break_(webhook="*", action="drop")["id"]
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    other = client.other
    kept = other.create()
    refused = other.put("/_mock/v1/snapshot", snapshot)
    assert (refused.status, refused.error["code"]) == (409, "id_taken")
    assert object_id in refused.error["message"]
    assert other.ids() == [kept["id"]]


def test_ids_that_an_account_no_longer_has_may_be_put_into_another(client: Client, receiver: Receiver) -> None:
    full_account(client, receiver)
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    client.ok("PUT", "/_mock/v1/snapshot", snapshot)
    client.ok("POST", "/_mock/v1/reset")
    assert client.other.ok("PUT", "/_mock/v1/snapshot", snapshot)["sessions"] == 4


def changed(snapshot: Json, path: str, value: Any) -> Json:
    """The snapshot with one value changed; the path is in the words of an error's `param`."""
    *steps, last = [
        int(each) if each.isdigit() else each for each in path.replace("]", "").replace("[", ".").split(".")
    ]
    place: Any = snapshot
    for step in steps:
        place = place[step]
    place[last] = value
    return snapshot


@pytest.mark.parametrize(
    ("path", "value", "param"),
    [
        ("clock.now", LATEST + 1, "clock.now"),
        ("counter", 2**53 - 1, "counter"),
        ("sessions[1].status", "complete", "sessions[1].payment_status"),
        ("sessions[1].payment_status", "paid", "sessions[1].payment_status"),
        ("sessions[1].payment_status", "no_payment_required", "sessions[1].payment_status"),
        ("sessions[1].expires_at", NOW + 86_401, "sessions[1].expires_at"),
        ("sessions[1].expires_at", NOW + 1_799, "sessions[1].expires_at"),
        ("sessions[3].created", NOW + 1_801, "sessions[3].created"),
        ("sessions[2].created", NOW - 1, "sessions[2].created"),
        ("sessions[1].id", None, "sessions"),
        ("events[0].type", "checkout.session.expired", "events[0].type"),
        ("events[0].session", "cs_test_nothing", "events[0].session"),
        ("events[0].session", None, "events[0].type"),
        ("idempotency[0].session", "cs_test_nothing", "idempotency[0].session"),
        ("deliveries[0].event", "evt_nothing", "deliveries[0].event"),
    ],
)
def test_a_snapshot_that_contradicts_itself_is_refused(
    client: Client, receiver: Receiver, path: str, value: Any, param: str
) -> None:
    full_account(client, receiver)
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    if value is None:
        value = snapshot["sessions"][3 if path.startswith("sessions") else 1]["id"]
    refused = client.put("/_mock/v1/snapshot", changed(snapshot, path, value))
    assert (refused.status, refused.error["code"], refused.error["param"]) == (422, "parameter_invalid", param)
    assert len(client.ids()) == 4


@pytest.mark.parametrize("part", ["sessions", "idempotency", "events", "webhook_endpoints", "deliveries", "faults"])
def test_a_snapshot_that_holds_something_twice_is_refused(client: Client, receiver: Receiver, part: str) -> None:
    full_account(client, receiver)
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    snapshot[part].append(snapshot[part][0])
    refused = client.put("/_mock/v1/snapshot", snapshot)
    assert (refused.status, refused.error["param"]) == (422, part)
    assert "twice" in refused.error["message"]
    assert client.ok("GET", "/_mock/v1/snapshot")[part] == snapshot[part][:-1]


def test_a_session_of_two_currencies_or_two_ends_is_refused(client: Client) -> None:
    client.expire(client.create()["id"])
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    twice = {**snapshot, "events": [*snapshot["events"], {**snapshot["events"][0], "id": "evt_2"}]}
    refused = client.put("/_mock/v1/snapshot", twice)
    assert (refused.status, refused.error["param"]) == (422, "events[1].session")
    line = snapshot["sessions"][0]["line_items"][0]
    other = {**line, "price_data": {**line["price_data"], "currency": "MYR"}}
    snapshot["sessions"][0]["line_items"] = [line, other]
    refused = client.put("/_mock/v1/snapshot", snapshot)
    assert (refused.status, refused.error["param"]) == (422, "sessions[0].line_items")


def test_a_snapshot_of_another_form_is_refused(client: Client) -> None:
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    assert client.put("/_mock/v1/snapshot", {**snapshot, "version": 2}).status == 400
    del snapshot["counter"]
    assert client.put("/_mock/v1/snapshot", snapshot).error["param"] == "counter"


def test_a_snapshot_may_be_larger_than_any_other_body(client: Client, make_client: MakeClient) -> None:
    lines = [
        {"price_data": {**basket()["line_items"][0]["price_data"], "product_data": {"name": "x" * 250}}, "quantity": 1}
    ]
    for _ in range(4):
        client.create(line_items=lines * 100)
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    snapshot["sessions"] = [
        {**each, "id": f"{each['id']}{number}"} for number in range(20) for each in snapshot["sessions"]
    ]
    assert len(str(snapshot)) > 2 * 1024 * 1024
    target = make_client()
    assert target.ok("PUT", "/_mock/v1/snapshot", snapshot)["sessions"] == 80
    assert len(target.page("limit=100")["data"]) == 80


def test_webhooks_of_a_snapshot_may_go_only_where_this_server_lets_them(
    client: Client, make_client: MakeClient
) -> None:
    client.subscribe("http://elsewhere.example/hooks")
    snapshot = client.ok("GET", "/_mock/v1/snapshot")
    refused = make_client(webhook_hosts=frozenset({"shop.example"})).put("/_mock/v1/snapshot", snapshot)
    assert (refused.status, refused.error["param"]) == (422, "webhook_endpoints[0].url")
    assert "--webhook-allow elsewhere.example" in refused.error["message"]
