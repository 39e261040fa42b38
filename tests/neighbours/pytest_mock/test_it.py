from shop import pay


def test_a_test_without_network_and_time_of_its_own_is_told_of_payments(mocker, qashier_mock):
    webhooks = qashier_mock.webhooks
    for name in ("socket", "create_connection", "getaddrinfo"):
        mocker.patch(f"socket.{name}", side_effect=AssertionError("no network"))
    for name, value in (("sleep", None), ("time", 0.0), ("monotonic", 1.0)):
        mocker.patch(f"time.{name}", return_value=value)
    qashier_mock.pay(qashier_mock.create_session())
    assert webhooks.wait_for("checkout.session.completed", timeout=10)


def test_a_test_without_chance_has_sessions_of_different_ids(mocker, qashier_mock):
    mocker.patch("os.urandom", side_effect=bytes)
    mocker.patch("random.random", return_value=0.0)
    assert qashier_mock.create_session()["id"] != qashier_mock.create_session()["id"]


def test_a_test_without_environment_is_told_of_payments(mocker, qashier_mock):
    mocker.patch.dict("os.environ", clear=True)
    assert pay(qashier_mock)["type"] == "checkout.session.completed"
