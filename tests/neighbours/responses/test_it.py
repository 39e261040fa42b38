import requests
import responses
from shop import pay


@responses.activate
def test_webhooks_pass_by_registered_responses(qashier_mock):
    responses.add("POST", "https://ship.example/labels", status=201)
    assert pay(qashier_mock)["type"] == "checkout.session.completed"
    assert requests.post("https://ship.example/labels", timeout=1).status_code == 201
    assert len(responses.calls) == 1
