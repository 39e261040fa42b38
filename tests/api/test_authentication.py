"""Who may call, and what of whom an account sees (AUTH)."""

from __future__ import annotations

import base64
import re

import pytest
from api_calls import basic, create
from mock_harness import Client, basket


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
