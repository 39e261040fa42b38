from urllib.request import urlopen

import httpretty
import pytest
from shop import open_session


@pytest.mark.parametrize("others_pass", [True, False])
def test_webhooks_and_the_control_api_pass_by_a_patched_socket(qashier_mock, others_pass):
    webhooks = qashier_mock.webhooks
    session = open_session(qashier_mock)
    with httpretty.enabled(allow_net_connect=others_pass):
        httpretty.register_uri(httpretty.GET, "http://ship.example/labels", body="a label")
        assert urlopen("http://ship.example/labels").read() == b"a label"
        qashier_mock.pay(session["id"])
        assert webhooks.wait_for("checkout.session.completed", timeout=10)
        assert len(httpretty.latest_requests()) == 1


def test_a_receiver_may_begin_while_sockets_are_patched(qashier_mock):
    session = open_session(qashier_mock)
    with httpretty.enabled(allow_net_connect=False):
        webhooks = qashier_mock.webhooks
        qashier_mock.pay(session["id"])
        assert webhooks.wait_for("checkout.session.completed", timeout=10)
