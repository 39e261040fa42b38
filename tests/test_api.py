"""The API clause by clause, over the in-process client; a test's name carries the clauses that it holds the mock to."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from mock_harness import NOW, Answer, Client, Json, basket, line_item

from qashier_mock.core.policy import Policy
from qashier_mock.core.sources import ManualClock

MakeClient = Callable[..., Client]
LONGEST_URL = "https://shop.example/" + "u" * (2_048 - len("https://shop.example/"))


def basic(user: str, password: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def create(client: Client, body: Any, **options: Any) -> Answer:
    return client.post("/checkout/sessions", body, **options)


def everything(client: Client) -> tuple[Any, ...]:
    """All that a refused request might have changed (HTTP-5)."""
    return (client.page("limit=100")["data"], client.data("events"))


def several(client: Client, number: int, clock: ManualClock | None = None) -> list[str]:
    """The ids of some new sessions, newest first; each second one is a second later if there is a clock."""
    ids = []
    for index in range(number):
        if clock is not None and index % 2:
            clock.now += 1
        ids.append(client.create()["id"])
    return ids[::-1]


# AUTH


def test_auth_1_no_credentials_are_answered_with_a_challenge(client: Client) -> None:
    for method, path in [("GET", "/checkout/sessions"), ("POST", "/checkout/sessions/cs_test_1/expire")]:
        refused = client.send(method, path, authorization=None)
        assert (refused.status, refused.error["code"]) == (401, "credentials_missing")
        assert {"Basic", "Bearer"} <= set(re.split(r"[ ,]+", refused.headers["www-authenticate"]))


def test_auth_2_and_3_basic_and_bearer_with_one_key_are_one_account(client: Client) -> None:
    session = create(client, basket(), authorization=basic(client.key)).json()
    for authorization in (f"Bearer {client.key}", f"bearer {client.key}", basic(client.key).replace("Basic", "BASIC")):
        answer = client.get(f"/checkout/sessions/{session['id']}", authorization=authorization)
        assert answer.json() == session


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + base64.b64encode(b"sk_test_a").decode(),
        "Basic " + base64.b64encode(b":").decode(),
        "Basic " + base64.b64encode(b"sk_test_\xff:").decode(),
        basic("sk_test_a", "password"),
        basic("sk_test_a", ":"),
        basic("sk_test_"),
        basic("SK_TEST_a"),
        basic("pk_test_a"),
        basic("sk_test_a b"),
        "Bearer",
        "Bearer ",
        "Bearer sk_test_",
        "Bearer sk_test_a sk_test_b",
        "Bearer\tsk_test_a",
        "Digest username=sk_test_a",
        "sk_test_a",
        "é",
    ],
)
def test_auth_4_anything_else_is_refused(client: Client, authorization: str) -> None:
    refused = client.get("/checkout/sessions", authorization=authorization)
    assert (refused.status, refused.error["type"]) == (401, "authentication_error")
    assert refused.error["code"] == "credentials_invalid"
    assert "www-authenticate" in refused.headers


def test_auth_4_two_headers_are_refused(client: Client) -> None:
    refused = client.get("/checkout/sessions", headers={"authorization": "Bearer sk_test_b"})
    assert (refused.status, refused.error["code"]) == (401, "credentials_invalid")


@pytest.mark.parametrize(
    "authorization",
    [basic("sk_live_abc123"), basic("sk_live_abc123", "x"), "Bearer sk_live_abc123", basic("sk_live_abc123")[:-4]],
)
def test_auth_4_a_live_key_is_refused_with_a_warning_and_kept_nowhere(
    client: Client, authorization: str, caplog: pytest.LogCaptureFixture
) -> None:
    refused = create(client, basket(), authorization=authorization)
    assert (refused.status, refused.error["code"]) == (401, "live_key_refused")
    assert "must never be sent" in refused.error["message"]
    assert "sk_live_abc" not in refused.body.decode() + caplog.text
    assert not [key for key in client.app.hooks._known if b"sk_live" in key or authorization.encode() == key]


def test_auth_5_another_accounts_session_does_not_exist(client: Client) -> None:
    session = client.create()
    other = client.other
    assert other.get(f"/checkout/sessions/{session['id']}").error["code"] == "session_not_found"
    assert other.expire(session["id"]).status == 404
    assert other.ids() == []
    for cursor in ("starting_after", "ending_before"):
        refused = other.get(f"/checkout/sessions?{cursor}={session['id']}")
        assert (refused.status, refused.error["code"]) == (422, "cursor_unknown")
    assert client.retrieve(session["id"]) == session


# HTTP


def test_http_1_every_response_has_a_request_id_of_its_own(client: Client) -> None:
    answers = [
        client.get("/checkout/sessions"),
        client.get("/checkout/sessions", authorization=None),
        client.get("/nowhere"),
        client.put("/checkout/sessions"),
        create(client, b"{"),
        create(client, basket()),
        client.get("/_mock/v1/health"),
        client.get("/pay/cs_test_nothing"),
    ]
    ids = [answer.headers["request-id"] for answer in answers]
    assert all(re.fullmatch(r"req_[0-9A-Za-z_]+", each) for each in ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/checkout/sessions", None, 200),
        ("GET", "/checkout/sessions/cs_test_1", None, 404),
        ("POST", "/checkout/sessions", b"{", 400),
        ("DELETE", "/checkout/sessions", None, 405),
        ("GET", "/nowhere", None, 404),
    ],
)
def test_http_2_and_3_every_answer_is_json_and_every_error_says_what_to_change(
    client: Client, method: str, path: str, body: bytes | None, status: int
) -> None:
    answer = client.send(method, path, body)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    if status != 200:
        assert {"type", "code", "message"} <= answer.error.keys()
        assert answer.error["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/checkout",
        "/checkout/",
        "/checkout/sessions/",
        "/checkout/sessions/a/b",
        "/v3/payment",
        "/checkout/Sessions",
    ],
)
def test_http_4_an_unknown_path_is_not_found(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert f"nothing at {path};" in answer.error["message"]
    assert "The API is at /checkout/sessions" in answer.error["message"]


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/checkout/sessions", {"GET", "POST"}),
        ("/checkout/sessions/cs_1", {"GET"}),
        ("/checkout/sessions/cs_1/expire", {"POST"}),
        ("/v3/payment/qpay/checkout/sessions", {"GET", "POST"}),
    ],
)
def test_http_4_another_method_is_told_which_there_are(client: Client, path: str, allow: set[str]) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"} - allow:
        answer = client.send(method, path, authorization=None)
        assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
        assert set(answer.headers["allow"].split(", ")) == allow


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b"[1", b"\xff\xfe", b"NaN", b'{"a": NaN}', b"{'a': 1}"])
def test_http_4_a_body_that_is_no_json_is_refused(client: Client, body: bytes) -> None:
    answer = create(client, body)
    assert (answer.status, answer.error["code"]) == (400, "body_invalid")


@pytest.mark.parametrize("body", [[], "x", 1, True])
def test_http_4_a_body_that_is_no_object_is_refused(client: Client, body: Any) -> None:
    assert create(client, body).status == 400


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"])
def test_http_4_another_media_type_is_unsupported(client: Client, media_type: str) -> None:
    body = json.dumps(basket()).encode()
    answer = create(client, body, headers={"content-type": media_type})
    assert (answer.status, answer.error["code"]) == (415, "media_type_unsupported")
    assert everything(client) == ([], [])


@pytest.mark.parametrize(
    "media_type", ["application/json", "application/json; charset=utf-8", "Application/JSON", None]
)
def test_http_4_a_body_without_a_media_type_counts_as_json(client: Client, media_type: str | None) -> None:
    headers = {} if media_type is None else {"content-type": media_type}
    assert create(client, json.dumps(basket()).encode(), headers=headers).status == 200


def test_http_4_a_body_above_two_mebibytes_is_too_large(client: Client) -> None:
    body = json.dumps(basket()).encode()
    limit = 2 * 1024 * 1024
    assert create(client, body.ljust(limit)).status == 200
    answer = create(client, body.ljust(limit + 1))
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")


def test_http_4_the_largest_valid_request_fits_however_it_is_escaped(client: Client) -> None:
    line = line_item(name="\U0001f375" * 250, description="\U0001f370" * 1_000, unit_amount=99_999_999, quantity=10_000)
    body = basket(line_items=[line] * 100, success_url=LONGEST_URL, return_url=LONGEST_URL, cancel_url=LONGEST_URL)
    assert create(client, body).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/checkout/sessions", basket(line_items=[])),
        ("POST", "/checkout/sessions", basket(expires_at=NOW)),
        ("POST", "/checkout/sessions", basket(line_items=[line_item(), line_item(currency="MYR")])),
        ("POST", "/checkout/sessions/cs_test_nothing/expire", None),
        ("PUT", "/checkout/sessions", basket()),
        ("GET", "/checkout/sessions?limit=0", None),
    ],
)
def test_http_5_a_refused_request_changes_nothing(client: Client, method: str, path: str, body: Any) -> None:
    client.pay(client.create()["id"])
    client.create()
    before = everything(client)
    assert client.send(method, path, body, headers={"idempotency-key": "k"}).status // 100 == 4
    assert everything(client) == before


def test_refusals_come_in_the_documented_order(client: Client) -> None:
    """Each step takes away the reason for one refusal; the next one then shows."""
    session = client.create(key="used")
    client.pay(session["id"])
    path = f"/checkout/sessions/{session['id']}/expire"
    bad_key = {"idempotency-key": "x" * 256}
    big, wrong = b"x" * (2 * 1024 * 1024 + 1), b"{"
    text = {"content-type": "text/plain", **bad_key}
    steps: list[tuple[Answer, int]] = [
        (client.put("/nowhere", big, authorization=None), 404),
        (client.put("/checkout/sessions", big, authorization=None), 405),
        (create(client, big, headers=text, authorization=None), 401),
        (create(client, big, headers=text), 413),
        (create(client, wrong, headers=text), 415),
        (create(client, wrong, headers=bad_key), 400),
        (client.post("/checkout/sessions/cs_test_nothing/expire", headers={"idempotency-key": "used"}), 404),
        (client.post(path, headers={"idempotency-key": "used"}), 200),
        (client.post(path, headers={"idempotency-key": "new"}), 409),
        (create(client, basket(expires_at=1), headers={"idempotency-key": "used"}), 200),
        (create(client, basket(expires_at=1), headers={"idempotency-key": "new"}), 422),
    ]
    assert [answer.status for answer, _ in steps] == [status for _, status in steps]


# CRE


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


# AMT


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


# RET


def test_ret_1_and_3_retrieve_returns_the_session_and_changes_nothing(client: Client) -> None:
    session = client.create()
    assert client.retrieve(session["id"]) == client.retrieve(session["id"]) == session
    paid = client.pay(session["id"]).json()
    assert client.retrieve(session["id"]) == client.retrieve(session["id"]) == paid


@pytest.mark.parametrize("session_id", ["cs_test_nothing", "x", "%00", "%2F", "%F0%9F%8D%B5", "a" * 5_000, "..", "~"])
def test_ret_2_an_unknown_id_is_not_found(client: Client, session_id: str) -> None:
    answer = client.get(f"/checkout/sessions/{session_id}")
    assert (answer.status, answer.error["code"]) == (404, "session_not_found")
    assert len(answer.body) < 1_000


@pytest.mark.parametrize("end", ["pay", "expire", "clock"])
def test_ret_4_only_the_two_statuses_ever_change(client: Client, end: str) -> None:
    client.freeze()
    session = client.create()
    if end == "pay":
        client.pay(session["id"])
    elif end == "expire":
        client.expire(session["id"])
    else:
        client.advance(86_400)
    after = client.retrieve(session["id"])
    assert {key for key in session if session[key] != after[key]} <= {"status", "payment_status"}
    assert after["status"] != "open"


# LIS


def test_lis_1_and_10_an_empty_list(client: Client) -> None:
    assert client.page() == {"object": "list", "data": [], "has_more": False, "url": "/checkout/sessions"}


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1.0", "1e1", "01", "+1", "%201", "1_0", "10&limit=10"])
def test_lis_2_a_limit_outside_one_to_a_hundred_is_refused(client: Client, limit: str) -> None:
    refused = client.get(f"/checkout/sessions?limit={limit}")
    assert (refused.status, refused.error["param"]) == (400, "limit")


@pytest.mark.parametrize(
    ("number", "limit", "length", "more"),
    [
        (9, None, 9, False),
        (10, None, 10, False),
        (11, None, 10, True),
        (2, 1, 1, True),
        (99, 100, 99, False),
        (100, 99, 99, True),
        (100, 100, 100, False),
        (101, 100, 100, True),
    ],
)
def test_lis_2_3_7_a_page_is_full_when_that_many_match(
    client: Client,
    number: int,
    limit: int | None,
    length: int,
    more: bool,  # noqa: FBT001
) -> None:
    ids = several(client, number)
    page = client.page("" if limit is None else f"limit={limit}")
    assert [each["id"] for each in page["data"]] == ids[:length]
    assert page["has_more"] is more


def test_lis_4_newest_first_also_within_a_second(client: Client, clock: ManualClock) -> None:
    ids = several(client, 9, clock)
    assert client.ids("limit=100") == client.ids("limit=100") == ids
    client.pay(ids[4])
    assert client.ids("limit=100") == ids


@pytest.mark.parametrize(
    ("query", "expected", "more"),
    [
        ("starting_after={0}&limit=2", [1, 2], True),
        ("starting_after={2}&limit=2", [3, 4], False),
        ("starting_after={3}&limit=2", [4], False),
        ("starting_after={4}&limit=2", [], False),
        ("ending_before={4}&limit=2", [2, 3], True),
        ("ending_before={2}&limit=2", [0, 1], False),
        ("ending_before={1}&limit=2", [0], False),
        ("ending_before={0}&limit=2", [], False),
        ("ending_before={4}", [0, 1, 2, 3], False),
    ],
)
def test_lis_5_6_7_a_cursor_marks_a_place(client: Client, query: str, expected: list[int], more: bool) -> None:  # noqa: FBT001
    ids = several(client, 5)
    page = client.page(query.format(*ids))
    assert [each["id"] for each in page["data"]] == [ids[index] for index in expected]
    assert page["has_more"] is more


def test_lis_8_a_status_is_as_of_now(client: Client, clock: ManualClock) -> None:
    clock.now = NOW
    overdue, paid, ended, kept = (client.create(expires_at=NOW + 1_800 + 60 * index)["id"] for index in range(4))
    client.pay(paid)
    client.expire(ended)
    assert client.ids("status=open") == [kept, overdue]
    clock.now += 1_800
    assert client.ids("status=open") == [kept]
    assert client.ids("status=complete") == [paid]
    assert client.ids("status=expired") == [ended, overdue]


@pytest.mark.parametrize("status", ["OPEN", "", "paid", "open,complete", "open&status=open"])
def test_lis_8_an_unknown_status_is_refused(client: Client, status: str) -> None:
    assert client.get(f"/checkout/sessions?status={status}").status == 400


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("created[gte]={1}", [3, 2, 1]),
        ("created[gt]={1}", [3, 2]),
        ("created[lte]={1}", [1, 0]),
        ("created[lt]={1}", [0]),
        ("created[gte]={1}&created[lte]={2}", [2, 1]),
        ("created[gt]={1}&created[lt]={2}", []),
        ("created[gt]={0}&created[gte]={2}&created[lt]={3}&created[lte]={3}", [2]),
        ("created[gte]=0&created[lte]=4102444800", [3, 2, 1, 0]),
        ("created[gt]={3}", []),
        ("created[gte]={3}&created[lte]={0}", []),
        ("created%5Bgte%5D={2}", [3, 2]),
    ],
)
def test_lis_9_bounds_on_creation_combine(client: Client, clock: ManualClock, query: str, expected: list[int]) -> None:
    sessions = []
    for _ in range(4):
        sessions.append(client.create())
        clock.now += 10
    times = [each["created"] for each in sessions]
    assert client.ids(query.format(*times)) == [sessions[index]["id"] for index in expected]


@pytest.mark.parametrize(
    "query",
    [
        "created=1",
        "created[]=1",
        "created[gte]=",
        "created[gte]=x",
        "created[gte]=1.5",
        "created[gte]=-1",
        "created[gte]=4102444801",
        "created[eq]=1",
        "created[gte]=1&created[gte]=1",
        "created[gte][x]=1",
        "created[gte]x=1",
        "created[gte",
    ],
)
def test_lis_9_a_bound_that_is_none_is_refused(client: Client, query: str) -> None:
    assert client.get(f"/checkout/sessions?{query}").status == 400


@pytest.mark.parametrize("query", ["limits=1", "page=2", "starting-after=x", "limit[gte]=1", "x"])
def test_an_unknown_query_parameter_is_refused(client: Client, query: str) -> None:
    refused = client.get(f"/checkout/sessions?{query}")
    assert (refused.status, refused.error["code"]) == (400, "parameter_unknown")


def walk(client: Client, cursor: str, query: str, start: str | None) -> list[str]:
    """All ids that following the cursors meets, newest first."""
    met: list[str] = []
    while True:
        page = client.page(query if start is None else f"{query}&{cursor}={start}")
        ids = [each["id"] for each in page["data"]]
        met = met + ids if cursor == "starting_after" else ids + met
        if not page["has_more"]:
            return met
        start = ids[-1] if cursor == "starting_after" else ids[0]


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_lis_11_and_12_walking_all_pages_meets_every_match_once(client: Client, clock: ManualClock, limit: int) -> None:
    ids = several(client, 11, clock)
    for index, session_id in enumerate(ids):
        if index % 3 == 1:
            client.pay(session_id)
    middle = client.retrieve(ids[5])["created"]
    filters: dict[str, Callable[[Json], bool]] = {
        "": lambda _: True,
        "&status=complete": lambda each: each["status"] == "complete",
        "&status=open&created[gte]=" + str(middle): lambda each: each["status"] == "open" and each["created"] >= middle,
    }
    everyone = client.page("limit=100")["data"]
    for query, keeps in filters.items():
        expected = [each["id"] for each in everyone if keeps(each)]
        assert walk(client, "starting_after", f"limit={limit}{query}", None) == expected
        oldest_first = walk(client, "ending_before", f"limit={limit}{query}", ids[-1])
        assert oldest_first == [each for each in expected if each != ids[-1]]


def test_lis_12_a_cursor_that_the_filter_leaves_out_still_marks_its_place(client: Client) -> None:
    ids = several(client, 5)
    client.pay(ids[2])
    assert client.ids(f"status=open&starting_after={ids[2]}") == ids[3:]
    assert client.ids(f"status=open&ending_before={ids[2]}") == ids[:2]


def test_lis_13_both_cursors_at_once_are_refused(client: Client) -> None:
    ids = several(client, 2)
    refused = client.get(f"/checkout/sessions?starting_after={ids[0]}&ending_before={ids[1]}")
    assert (refused.status, refused.error["code"]) == (422, "cursors_exclusive")


@pytest.mark.parametrize("cursor", ["starting_after", "ending_before"])
@pytest.mark.parametrize("session_id", ["cs_test_nothing", "", "%00", "x" * 3_000, "%F0%9F%8D%B5"])
def test_lis_13_a_cursor_that_names_no_session_is_refused(client: Client, cursor: str, session_id: str) -> None:
    refused = client.get(f"/checkout/sessions?{cursor}={session_id}")
    assert (refused.status, refused.error["code"], refused.error["param"]) == (422, "cursor_unknown", cursor)


def test_lis_14_an_entry_is_what_retrieve_returns(client: Client) -> None:
    ids = several(client, 3)
    client.pay(ids[0])
    client.expire(ids[1])
    assert client.page()["data"] == [client.retrieve(each) for each in ids]


# EXP


def test_exp_1_and_8_expiring_returns_the_session_expired_and_keeps_its_deadline(client: Client) -> None:
    session = client.create()
    expired = client.expire(session["id"])
    assert (expired.status, expired.json()) == (200, {**session, "status": "expired"})
    assert client.retrieve(session["id"]) == expired.json()


@pytest.mark.parametrize("end", ["pay", "expire", "clock"])
def test_exp_2_and_3_expiring_an_ended_session_is_refused_and_changes_nothing(client: Client, end: str) -> None:
    client.freeze()
    session = client.create()
    if end == "pay":
        client.pay(session["id"])
    elif end == "expire":
        client.expire(session["id"])
    else:
        client.advance(86_400)
    before = everything(client)
    refused = client.expire(session["id"])
    assert (refused.status, refused.error["type"], refused.error["code"]) == (409, "conflict_error", "session_not_open")
    assert everything(client) == before


def test_exp_4_expiring_an_unknown_session_is_not_found(client: Client) -> None:
    refused = client.expire("cs_test_nothing")
    assert (refused.status, refused.error["code"]) == (404, "session_not_found")


@pytest.mark.parametrize("body", [None, b"{", b"x" * 100])
def test_expire_ignores_whatever_body_comes(client: Client, body: bytes | None) -> None:
    session = client.create()
    headers = {} if body is None else {"content-type": "text/plain"}
    assert client.post(f"/checkout/sessions/{session['id']}/expire", body, headers=headers).status == 200


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "canceled"])
def test_exp_5_an_expired_session_cannot_be_paid(client: Client, outcome: str) -> None:
    session = client.create()
    client.expire(session["id"])
    assert client.pay(session["id"], outcome).error["code"] == "session_not_open"


def test_exp_6_the_page_of_an_expired_session_says_so(client: Client) -> None:
    session = client.create()
    client.expire(session["id"])
    page = client.get(f"/pay/{session['id']}", authorization=None)
    assert page.status == 200
    assert "expired" in page.body.decode().lower()
    assert "<form" not in page.body.decode().lower()


def test_exp_7_a_session_expires_at_its_deadline_and_not_a_second_earlier(client: Client, clock: ManualClock) -> None:
    session = client.create(expires_at=NOW + 1_800)
    clock.now = NOW + 1_799
    assert client.retrieve(session["id"]) == session
    assert client.ids("status=open") == [session["id"]]
    clock.now = NOW + 1_800
    assert client.ids("status=expired") == [session["id"]]
    assert client.retrieve(session["id"]) == {**session, "status": "expired"}
    assert client.pay(session["id"]).status == 409
    (event,) = client.data("events")
    assert (event["created"], event["request"]) == (NOW + 1_800, {"id": None, "idempotency_key": None})


# PAY


def test_pay_1_paying_completes(client: Client) -> None:
    session = client.create()
    paid = client.pay(session["id"])
    assert (paid.status, paid.json()) == (200, {**session, "status": "complete", "payment_status": "paid"})


def test_pay_2_a_complete_session_cannot_be_paid_again_and_its_page_says_so(client: Client) -> None:
    session = client.create()
    client.pay(session["id"])
    assert client.pay(session["id"]).error["code"] == "session_not_open"
    page = client.get(f"/pay/{session['id']}", authorization=None).body.decode().lower()
    assert "paid" in page
    assert "<form" not in page
    assert len(client.data("events")) == 1


def test_pay_4_the_open_page_leads_back_exactly_when_there_is_a_way(client: Client) -> None:
    back = "https://shop.example/basket"
    page = client.get(f"/pay/{client.create(cancel_url=back)['id']}", authorization=None).body.decode()
    assert f'href="{back}"' in page
    page = client.get(f"/pay/{client.create()['id']}", authorization=None).body.decode()
    assert 'data-testid="back"' not in page
    assert 'href="https://shop.example' not in page


def test_opening_the_page_changes_nothing(client: Client) -> None:
    session = client.create()
    client.get(f"/pay/{session['id']}", authorization=None)
    assert client.retrieve(session["id"]) == session
    assert client.get("/pay/cs_test_nothing", authorization=None).status == 404


# EVT


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


# IDM


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


# policies


def test_a_policy_chooses_the_statuses(make_client: MakeClient) -> None:
    client = make_client(policy=Policy(status_invalid=422, status_rule=400, status_not_open=400))
    assert create(client, basket(line_items=[])).status == 422
    assert create(client, basket(expires_at=NOW)).status == 400
    session = client.create()
    client.pay(session["id"])
    refused = client.expire(session["id"])
    assert (refused.status, refused.error["code"]) == (400, "session_not_open")


def test_a_policy_may_refuse_a_key_for_another_request(make_client: MakeClient) -> None:
    client = make_client(policy=Policy(idempotency_reuse="reject"))
    session = client.create(key="k")
    refused = client.expire(session["id"], key="k")
    assert (refused.status, refused.error["code"]) == (409, "idempotency_key_reused")
    assert client.create(key="k") == session == client.retrieve(session["id"])


def test_a_policy_may_refuse_unknown_fields(make_client: MakeClient) -> None:
    client = make_client(policy=Policy(unknown_fields="reject"))
    refused = create(client, basket(sucess_url="x", line_items=[{**line_item(), "quantty": 1}]))
    assert (refused.status, refused.error["code"]) == (400, "parameter_unknown")
    assert "did you mean" in refused.error["message"]
    assert create(client, basket(**{"x" * 100_000: 1})).error["param"].startswith("xxx")
    assert client.ids() == []


def test_a_policy_may_limit_the_currencies(make_client: MakeClient) -> None:
    client = make_client(policy=Policy(currencies=("SGD", "MYR")))
    assert client.create(line_items=[line_item(currency="MYR")])["currency"] == "MYR"
    refused = create(client, basket(line_items=[line_item(), line_item(currency="PHP")]))
    assert (refused.status, refused.error["param"]) == (400, "line_items[1].price_data.currency")
    assert "SGD, MYR" in refused.error["message"]
