"""What the integration is advised against."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mock_harness import NOW, Client, Receiver, basket

from qashier_mock.core.sources import ManualClock

MakeClient = Callable[..., Client]
LATEST = 4_102_444_800 - 86_400


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
