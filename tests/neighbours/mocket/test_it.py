from mocket import Mocket, Mocketizer
from shop import open_session


def test_webhooks_and_the_control_api_pass_by_a_patched_socket(qashier_mock):
    webhooks = qashier_mock.webhooks
    session = open_session(qashier_mock)
    with Mocketizer():
        qashier_mock.pay(session["id"])
        assert webhooks.wait_for("checkout.session.completed", timeout=10)
        assert Mocket.request_list() == []
