"""The journal."""

from __future__ import annotations

import json
from collections.abc import Callable

from mock_harness import NOW, Client, basket

from qashier_mock.core.sources import ManualClock

MakeClient = Callable[..., Client]
LATEST = 4_102_444_800 - 86_400


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
