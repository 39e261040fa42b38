"""Creating a session, and its money (CRE, AMT)."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from api_calls import LONGEST_URL, MakeClient, create, everything, several
from mock_harness import NOW, Client, Json, basket, line_item

from qashier_mock.core.sources import ManualClock


def test_cre_1_3_4_5_8_9_a_new_session_has_the_documented_shape(client: Client) -> None:
    session = client.create()
    assert session == {
        "id": session["id"],
        "currency": "SGD",
        "line_items": {
            "object": "list",
            "data": [{"amount_total": 360, "currency": "SGD", "description": "Kopi O", "quantity": 2}],
        },
        "object": "checkout.session",
        "amount_total": 360,
        "created": NOW,
        "expires_at": NOW + 86_400,
        "mode": "payment",
        "payment_status": "unpaid",
        "status": "open",
        "return_url": "https://shop.example/orders/1",
        "success_url": "https://shop.example/orders/1/thanks",
        "url": f"http://127.0.0.1:4010/pay/{session['id']}",
    }
    assert client.get(f"/pay/{session['id']}", authorization=None).status == 200


def test_cre_9_the_public_url_is_what_a_new_session_begins_with(make_client: MakeClient) -> None:
    client = make_client(public_url="https://mock.example/base")
    session = create(client, basket(), headers={"host": "evil.example"}).json()
    assert session["url"] == f"https://mock.example/base/pay/{session['id']}"


@pytest.mark.parametrize("field", ["line_items", "success_url", "return_url"])
def test_cre_2_a_missing_field_is_named(client: Client, field: str) -> None:
    body = basket()
    del body[field]
    refused = create(client, body)
    assert (refused.status, refused.error["code"], refused.error["param"]) == (400, "parameter_missing", field)


def test_cre_4_created_is_the_accounts_now(client: Client, clock: ManualClock) -> None:
    clock.now += 7
    assert client.create()["created"] == NOW + 7
    client.advance(3)
    assert client.create()["created"] == NOW + 10


@pytest.mark.parametrize("life", [1_800, 1_801, 43_200, 86_399, 86_400])
def test_cre_6_and_7_an_expiry_within_the_window_is_kept_exactly(client: Client, life: int) -> None:
    assert client.create(expires_at=NOW + life)["expires_at"] == NOW + life


@pytest.mark.parametrize("life", [-NOW, -1, 0, 1_799, 86_401, 4_102_444_800 - NOW])
def test_cre_7_an_expiry_outside_the_window_is_refused(client: Client, life: int) -> None:
    refused = create(client, basket(expires_at=NOW + life))
    assert (refused.status, refused.error["code"]) == (422, "expires_at_out_of_range")
    assert refused.error["param"] == "expires_at"
    assert everything(client) == ([], [])


def test_cre_7_the_window_follows_the_accounts_clock(client: Client) -> None:
    client.freeze(NOW + 100)
    assert create(client, basket(expires_at=NOW + 1_899)).status == 422
    assert create(client, basket(expires_at=NOW + 1_900)).status == 200


@pytest.mark.parametrize(
    "url",
    [
        "http://a",
        "https://shop.example",
        "HTTPS://SHOP.EXAMPLE/Path?q={CHECKOUT_SESSION_ID}#frag",
        "http://127.0.0.1:8000/?a=%20b&c=[d]",
        "https://shop.example:443/~user/(x)!$*,;:@'\"<>^`|{}",
        "https://a-b.c-d.example?x",
        "https://shop.example#x",
        LONGEST_URL,
    ],
)
def test_cre_8_15_19_urls_come_back_character_for_character(client: Client, url: str) -> None:
    session = client.create(success_url=url, return_url=url, cancel_url=url)
    assert (session["success_url"], session["return_url"]) == (url, url)
    assert "cancel_url" not in session


@pytest.mark.parametrize("field", ["success_url", "return_url", "cancel_url"])
@pytest.mark.parametrize(
    "url",
    [
        "",
        "/thanks",
        "shop.example/thanks",
        "//shop.example",
        "ftp://shop.example",
        "javascript:alert(1)",
        "http://",
        "https:///path",
        "https://-a.example",
        "https://user@shop.example",
        "https://[::1]/",
        "https://shop.example/a b",
        "https://shop.example/a\\b",
        "https://shop.example/\n",
        "https://shop.example\n",
        "https://shop.example:123456",
        "https://shop.example/é",
        " https://shop.example",
        LONGEST_URL + "u",
    ],
)
def test_cre_15_and_19_a_url_that_is_none_is_refused(client: Client, field: str, url: str) -> None:
    refused = create(client, basket(**{field: url}))
    assert (refused.status, refused.error["param"]) == (400, field)


def test_the_customers_address_is_known_and_changes_nothing(client: Client) -> None:
    answer = client.send(
        "POST", "/checkout/sessions", basket(customer_email="a@b.example"), headers={"Idempotency-Key": "a"}
    )
    assert answer.status == 200
    assert "qashier-mock-advice" not in {name.lower() for name in answer.headers}
    assert "customer_email" not in answer.json()
    refused = client.send("POST", "/checkout/sessions", basket(customer_email=5))
    assert (refused.status, refused.error["param"]) == (400, "customer_email")


def test_cre_10_ids_are_unique_and_safe_in_a_path(client: Client) -> None:
    ids = several(client, 50) + several(client.other, 50)
    assert len(set(ids)) == 100
    assert all(re.fullmatch(r"cs_test_[0-9A-Za-z]+", each) for each in ids)


@pytest.mark.parametrize(("field", "values"), [("unit_amount", [0, 1, 99_999_999]), ("quantity", [1, 2, 10_000])])
def test_cre_11_and_amt_7_amounts_within_the_limits_are_exact(client: Client, field: str, values: list[int]) -> None:
    for value in values:
        session = client.create(line_items=[line_item(**{"unit_amount": 1, "quantity": 1, field: value})])
        assert session["amount_total"] == value
        assert type(session["amount_total"]) is int


@pytest.mark.parametrize("field", ["unit_amount", "quantity"])
@pytest.mark.parametrize("value", [-1, 1.5, "1", True, None, [], {}, 10**9, 10**30, 1e300])
def test_cre_11_and_18_what_is_no_integer_within_the_limits_is_refused(client: Client, field: str, value: Any) -> None:
    refused = create(client, basket(line_items=[line_item(), line_item(**{field: value})]))
    where = "line_items[1].quantity" if field == "quantity" else "line_items[1].price_data.unit_amount"
    assert (refused.status, refused.error["code"], refused.error["param"]) == (400, "parameter_invalid", where)


@pytest.mark.parametrize(("field", "value"), [("quantity", 0), ("quantity", 10_001), ("unit_amount", 100_000_000)])
def test_cre_11_just_outside_the_limits_is_refused(client: Client, field: str, value: int) -> None:
    assert create(client, basket(line_items=[line_item(**{field: value})])).status == 400


@pytest.mark.parametrize("currency", ["SGD", "MYR", "PHP", "JPY", "KWD"])
def test_cre_12_a_currency_code_is_accepted(client: Client, currency: str) -> None:
    assert client.create(line_items=[line_item(currency=currency)])["currency"] == currency


@pytest.mark.parametrize("currency", ["sgd", "Sgd", "SG", "SGDX", "ABC", "DEM", "", "S$", 702, None])
def test_cre_12_anything_else_is_no_currency(client: Client, currency: Any) -> None:
    refused = create(client, basket(line_items=[line_item(currency=currency)]))
    assert (refused.status, refused.error["param"]) == (400, "line_items[0].price_data.currency")


def test_cre_13_lines_of_two_currencies_are_refused(client: Client) -> None:
    refused = create(client, basket(line_items=[line_item(), line_item(currency="MYR")]))
    assert (refused.status, refused.error["code"]) == (422, "currency_mixed")
    assert refused.error["param"] == "line_items[1].price_data.currency"


@pytest.mark.parametrize("number", [1, 2, 99, 100])
def test_cre_14_one_to_a_hundred_lines_are_accepted(client: Client, number: int) -> None:
    assert len(client.create(line_items=[line_item()] * number)["line_items"]["data"]) == number


@pytest.mark.parametrize("number", [0, 101])
def test_cre_14_no_line_and_a_hundred_and_one_are_refused(client: Client, number: int) -> None:
    refused = create(client, basket(line_items=[line_item()] * number))
    assert (refused.status, refused.error["param"]) == (400, "line_items")


def without(*path: str) -> Json:
    line: Json = line_item()
    place = line
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return line


@pytest.mark.parametrize(
    "path",
    [
        ("price_data",),
        ("quantity",),
        ("price_data", "currency"),
        ("price_data", "unit_amount"),
        ("price_data", "product_data"),
        ("price_data", "product_data", "name"),
    ],
)
def test_cre_16_a_line_that_lacks_something_is_refused_and_what_is_named(client: Client, path: tuple[str, ...]) -> None:
    refused = create(client, basket(line_items=[line_item(), without(*path)]))
    assert (refused.status, refused.error["code"]) == (400, "parameter_missing")
    assert refused.error["param"] == "line_items[1]." + ".".join(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *itertools.product(["success_url", "return_url", "cancel_url"], [None, 1, True, [], {}]),
        *itertools.product(["line_items"], [None, {}, "x", 1, [None], ["x"], [[]]]),
        *itertools.product(["expires_at"], [None, "1767229200", True, 1.5, -1, [], {}, 10**18]),
    ],
)
def test_cre_18_a_field_of_another_type_is_refused_null_too(client: Client, field: str, value: Any) -> None:
    refused = create(client, basket(**{field: value}))
    assert (refused.status, refused.error["code"]) == (400, "parameter_invalid")
    assert refused.error["param"].startswith(field)


@pytest.mark.parametrize(("field", "length"), [("name", 250), ("description", 1_000)])
def test_cre_19_texts_are_measured_in_code_points(client: Client, field: str, length: int) -> None:
    for text in ("x" * length, "\U0001f375" * length, "é", " "):
        line = client.create(line_items=[line_item(**{field: text})])["line_items"]["data"][0]
        assert line["description"] == text
    for text in ("", "x" * (length + 1), "\U0001f375" * (length + 1)):
        refused = create(client, basket(line_items=[line_item(**{field: text})]))
        assert (refused.status, refused.error["param"]) == (400, f"line_items[0].price_data.product_data.{field}")


def test_an_unknown_field_is_ignored(client: Client) -> None:
    session = client.create(metadata={"order": 1}, line_items=[{**line_item(), "sku": "x"}])
    assert session["amount_total"] == 360


def test_of_a_repeated_key_the_last_one_counts(client: Client) -> None:
    body = json.dumps(basket()).encode().replace(b'"quantity": 2', b'"quantity": 0, "quantity": 5')
    assert create(client, body).json()["amount_total"] == 900


def test_the_production_prefix_is_the_same_api(client: Client) -> None:
    prefix = "/v3/payment/qpay/checkout/sessions"
    session = client.post(prefix, basket()).json()
    assert client.get(f"{prefix}/{session['id']}").json() == client.retrieve(session["id"])
    assert client.get(prefix).json() == client.page()
    assert client.post(f"{prefix}/{session['id']}/expire").json()["status"] == "expired"


def test_amt_1_to_5_totals_currency_order_and_descriptions(client: Client) -> None:
    lines = [
        line_item(name="Kaya toast", description="Two slices", unit_amount=680, quantity=1),
        line_item(name="Teh tarik", unit_amount=285, quantity=2),
        line_item(name="Water", unit_amount=0, quantity=10_000),
    ]
    session = client.create(line_items=lines)
    assert session["line_items"] == {
        "object": "list",
        "data": [
            {"amount_total": 680, "currency": "SGD", "description": "Two slices", "quantity": 1},
            {"amount_total": 570, "currency": "SGD", "description": "Teh tarik", "quantity": 2},
            {"amount_total": 0, "currency": "SGD", "description": "Water", "quantity": 10_000},
        ],
    }
    assert (session["amount_total"], session["currency"]) == (1_250, "SGD")


def test_amt_6_a_total_of_nothing_needs_no_payment_for_life(client: Client) -> None:
    free = [line_item(unit_amount=0)]
    paid, expired = client.create(line_items=free), client.create(line_items=free)
    assert paid["payment_status"] == "no_payment_required"
    assert client.pay(paid["id"], "failed").json() == paid
    after = client.pay(paid["id"]).json()
    assert (after["status"], after["payment_status"]) == ("complete", "no_payment_required")
    assert client.expire(expired["id"]).json()["payment_status"] == "no_payment_required"


def test_amt_7_the_largest_total_is_exact(client: Client) -> None:
    session = client.create(line_items=[line_item(unit_amount=99_999_999, quantity=10_000)] * 100)
    assert session["amount_total"] == 99_999_999_000_000
    assert client.retrieve(session["id"])["amount_total"] == 99_999_999_000_000
