import pook
from shop import open_session


def test_webhooks_and_the_control_api_pass_by_patched_clients(qashier_mock):
    webhooks = qashier_mock.webhooks
    session = open_session(qashier_mock)
    with pook.use():
        qashier_mock.pay(session["id"])
        assert webhooks.wait_for("checkout.session.completed", timeout=10)
    assert not pook.unmatched_requests()
