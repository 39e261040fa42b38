import httpx
from shop import pay


def test_webhooks_pass_by_the_fixture(httpx_mock, qashier_mock):
    httpx_mock.add_response(url="https://ship.example/labels", status_code=201)
    assert pay(qashier_mock)["type"] == "checkout.session.completed"
    assert httpx.post("https://ship.example/labels").status_code == 201
    assert len(httpx_mock.get_requests()) == 1


def test_webhooks_pass_by_a_fixture_that_comes_later(qashier_mock, httpx_mock):
    assert pay(qashier_mock)["type"] == "checkout.session.completed"
    assert httpx_mock.get_requests() == []
