"""Events and endpoints."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mock_harness import Client, Json

from qashier_mock.core.sources import ManualClock

MakeClient = Callable[..., Client]
LATEST = 4_102_444_800 - 86_400


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
