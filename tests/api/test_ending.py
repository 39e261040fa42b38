"""How a session ends: expired, paid, or neither (EXP, PAY)."""

from __future__ import annotations

import pytest
from api_calls import everything
from mock_harness import NOW, Client

from qashier_mock.core.sources import ManualClock


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
