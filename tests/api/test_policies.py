"""What a policy file changes."""

from __future__ import annotations

from api_calls import MakeClient, create
from mock_harness import NOW, basket, line_item

from qashier_mock.core.policy import Policy


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
