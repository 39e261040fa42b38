from pathlib import Path

from shop import open_session, pay, read_page


def test_a_server_starts_on_a_made_up_disk(fs, qashier_mock):
    assert not Path("/usr").exists()
    assert "Kopi O" in read_page(open_session(qashier_mock)["url"])


def test_a_server_that_has_started_goes_on(qashier_mock, fs):
    assert pay(qashier_mock)["type"] == "checkout.session.completed"
    assert "Kopi O" in read_page(open_session(qashier_mock)["url"])


def test_every_page_can_be_opened(qashier_mock, fs):
    paid, open_, expired = (open_session(qashier_mock) for _ in range(3))
    assert "Kopi O" in read_page(open_["url"])
    read_page(open_["url"] + "/redirect")
    qashier_mock.pay(paid["id"])
    assert "paid" in read_page(paid["url"])
    qashier_mock.advance(hours=25)
    assert "expired" in read_page(expired["url"])


def test_what_the_server_says_about_itself_can_be_read(qashier_mock, fs):
    assert read_page(f"{qashier_mock.base_url}/openapi.json").startswith("{")
    assert "Checkout" in read_page(f"{qashier_mock.base_url}/docs")
    assert "<html" in read_page(f"{qashier_mock.base_url}/_mock/")
