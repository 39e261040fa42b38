import httpx
import respx
from shop import pay


@respx.mock
def test_webhooks_pass_by_a_router(qashier_mock):
    labels = respx.post("https://ship.example/labels").respond(201)
    assert pay(qashier_mock)["type"] == "checkout.session.completed"
    httpx.post("https://ship.example/labels")
    assert labels.call_count == respx.calls.call_count == 1


def test_webhooks_pass_by_the_fixture(respx_mock, qashier_mock):
    assert pay(qashier_mock)["type"] == "checkout.session.completed"
    assert respx_mock.calls.call_count == 0
