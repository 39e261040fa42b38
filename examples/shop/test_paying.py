"""From the basket to the shipment, with what customers and providers do on the way."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import requests
from conftest import Shop

from qashier_mock.testing import QashierMock


def test_a_paid_order_is_shipped(shop: Shop, qashier_mock: QashierMock) -> None:
    order = shop.buy("House blend", quantity=2)
    assert order.session_id is not None
    session = qashier_mock.pay(order.session_id)
    assert (session["currency"], session["amount_total"]) == ("SGD", 2900)
    qashier_mock.flush()
    assert shop.order(order.id).status == "paid"
    assert shop.shipped == [order.id]
    assert "paid" in requests.get(session["success_url"], timeout=30).text


def test_an_abandoned_checkout_ships_nothing_and_can_be_taken_up_again(shop: Shop, qashier_mock: QashierMock) -> None:
    order = shop.buy()
    assert order.session_id is not None
    qashier_mock.advance(hours=23)
    assert (shop.order(order.id).status, shop.shipped) == ("pending", [])
    again = shop.post(f"/orders/{order.id}/pay")
    assert again.headers["Location"].endswith(order.session_id)
    qashier_mock.pay(order.session_id)
    qashier_mock.flush()
    assert shop.shipped == [order.id]


def test_an_expired_checkout_closes_the_order_until_it_is_paid_in_a_new_one(
    shop: Shop, qashier_mock: QashierMock
) -> None:
    order = shop.buy()
    assert qashier_mock.advance(hours=24)["expired"] == [order.session_id]
    assert shop.order(order.id).status == "expired"
    shop.post(f"/orders/{order.id}/pay")
    second = shop.order(order.id)
    assert (second.status, second.attempt) == ("pending", 2)
    assert second.session_id not in {None, order.session_id}
    qashier_mock.pay(str(second.session_id))
    qashier_mock.flush()
    assert (shop.order(order.id).status, shop.shipped) == ("paid", [order.id])


def test_a_declined_payment_can_be_tried_again(shop: Shop, qashier_mock: QashierMock) -> None:
    order = shop.buy()
    qashier_mock.fail(str(order.session_id))
    qashier_mock.flush()
    assert (shop.order(order.id).status, shop.shipped) == ("pending", [])
    qashier_mock.pay(str(order.session_id))
    qashier_mock.flush()
    assert shop.shipped == [order.id]


def test_a_cancelled_order_cannot_be_paid_any_more(shop: Shop, qashier_mock: QashierMock) -> None:
    order = shop.buy()
    shop.post(f"/orders/{order.id}/cancel")
    assert shop.order(order.id).status == "expired"
    assert qashier_mock.sessions[0]["status"] == "expired"


def test_cancelling_comes_too_late_for_a_payment(shop: Shop, qashier_mock: QashierMock) -> None:
    qashier_mock.fault("drop", webhook="*")
    order = shop.buy()
    qashier_mock.pay(str(order.session_id))
    shop.post(f"/orders/{order.id}/cancel")
    assert (shop.order(order.id).status, shop.shipped) == ("paid", [order.id])


def test_a_lost_answer_to_create_does_not_make_a_second_session(shop: Shop, qashier_mock: QashierMock) -> None:
    with qashier_mock.fault("lose_answer", operation="create_checkout_session", times=1) as rule:
        order = shop.buy()
        assert rule.applied == 1
    assert [each["id"] for each in qashier_mock.sessions] == [order.session_id]
    keys = {each["idempotency_key"] for each in qashier_mock.requests}
    assert keys == {f"order-{order.id}-attempt-1"}
    assert shop.waits == [0.5]


def test_a_busy_provider_is_asked_again_when_it_says(shop: Shop, qashier_mock: QashierMock) -> None:
    qashier_mock.fault("status", status=429, retry_after=7, times=2)
    order = shop.buy()
    assert order.session_id == qashier_mock.sessions[0]["id"]
    assert shop.waits == [7, 7]


@pytest.mark.parametrize("trouble", [{"action": "drop"}, {"action": "status", "status": 503}, {"action": "truncate"}])
def test_with_the_provider_down_the_order_is_kept(
    shop: Shop, qashier_mock: QashierMock, trouble: dict[str, str]
) -> None:
    with qashier_mock.fault(**trouble):  # type: ignore[arg-type]
        answer = shop.post("/orders", item="Filter papers", quantity="1")
        assert answer.status_code == 503
        assert "please try again" in answer.text
    assert shop.order(1).status == "pending"
    answer = shop.post("/orders/1/pay")
    assert urlsplit(answer.headers["Location"]).path.startswith("/pay/cs_test_")
    assert len(qashier_mock.sessions) == 1


def test_a_session_whose_answer_never_came_still_pays_its_order(shop: Shop, qashier_mock: QashierMock) -> None:
    """The customer has no address to go to, but a colleague pays from the provider's dashboard: it counts."""
    with qashier_mock.fault("lose_answer", operation="create_checkout_session"):
        assert shop.post("/orders", item="House blend", quantity="1").status_code == 503
    (session,) = qashier_mock.sessions
    qashier_mock.pay(session["id"])
    qashier_mock.flush()
    assert (shop.order(1).status, shop.shipped) == ("paid", [1])
