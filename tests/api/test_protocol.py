"""What goes before and beside the work itself: ids of requests, media types, errors, sizes (HTTP)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from api_calls import LONGEST_URL, create, everything
from mock_harness import NOW, Answer, Client, basket, line_item


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
    assert "the inspector, for browsers, at /_mock/" in answer.error["message"]
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
