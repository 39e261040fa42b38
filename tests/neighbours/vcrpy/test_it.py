import vcr
from shop import open_session


def test_webhooks_pass_by_a_cassette(qashier_mock, tmp_path):
    webhooks = qashier_mock.webhooks
    session = open_session(qashier_mock)
    with vcr.use_cassette(tmp_path / "cassette.yaml", record_mode="none") as cassette:
        qashier_mock.pay(session["id"])
        assert webhooks.wait_for("checkout.session.completed", timeout=10)
        assert len(cassette) == cassette.play_count == 0
