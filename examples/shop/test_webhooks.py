"""Hearing of payments: whatever happens to webhooks, an order is shipped once, and only when it is paid."""

from __future__ import annotations

import json

import requests
from conftest import WEBHOOK_SECRET, Shop

from qashier_mock.receiver import WebhookReceiver
from qashier_mock.testing import QashierMock, WebhookDisorder


def test_orders_are_shipped_exactly_once_however_webhooks_come(
    shop: Shop, qashier_mock: QashierMock, qashier_webhook_disorder: WebhookDisorder
) -> None:
    paid = [shop.buy() for _ in range(4)]
    expired, open_still = shop.buy(), shop.buy()
    for order in paid:
        qashier_mock.pay(str(order.session_id))
    qashier_mock.expire_session(str(expired.session_id))

    qashier_webhook_disorder.settle()
    if qashier_webhook_disorder.loses:
        assert shop.shipped != [order.id for order in paid]
        assert shop.reconcile() > 0
    assert shop.reconcile() == 0

    assert shop.shipped == [order.id for order in paid]
    assert {shop.order(order.id).status for order in paid} == {"paid"}
    assert shop.order(expired.id).status == "expired"
    assert shop.order(open_still.id).status == "pending"


def test_lost_webhooks_are_made_up_for_by_reconciliation(shop: Shop, qashier_mock: QashierMock) -> None:
    qashier_mock.fault("drop", webhook="*")
    orders = [shop.buy() for _ in range(3)]
    qashier_mock.pay(str(orders[0].session_id))
    qashier_mock.expire_session(str(orders[1].session_id))
    qashier_mock.flush()
    assert shop.shipped == []
    assert shop.reconcile() == 2
    assert [shop.order(each.id).status for each in orders] == ["paid", "expired", "pending"]
    assert shop.shipped == [orders[0].id]
    (listed,) = [each["path"] for each in qashier_mock.requests if each["operation"] == "list_checkout_sessions"]
    assert "created%5Bgte%5D=" in listed


def test_reconciliation_walks_all_pages(shop: Shop, qashier_mock: QashierMock) -> None:
    order = shop.buy()
    for _ in range(101):
        qashier_mock.create_session()
    qashier_mock.fault("drop", webhook="*")
    qashier_mock.pay(str(order.session_id))
    assert shop.reconcile() == 1
    assert shop.shipped == [order.id]


def test_the_news_of_an_old_session_do_not_undo_a_payment(shop: Shop, qashier_mock: QashierMock) -> None:
    """The first session expires, the order is paid in a second one, and only then the first news arrive."""
    qashier_mock.fault("delay", webhook="checkout.session.expired", seconds=600)
    order = shop.buy()
    qashier_mock.expire_session(str(order.session_id))
    shop.post(f"/orders/{order.id}/pay")
    qashier_mock.pay(str(shop.order(order.id).session_id))
    qashier_mock.advance(minutes=11)
    assert [each["type"] for each in qashier_mock.deliveries] == [
        "checkout.session.completed",
        "checkout.session.expired",
    ]
    assert (shop.order(order.id).status, shop.shipped) == ("paid", [order.id])


def test_forged_webhooks_are_refused(shop: Shop, qashier_mock: QashierMock) -> None:
    order = shop.buy()
    body = json.dumps({"type": "checkout.session.completed", "data": {"object": {"id": order.session_id}}})
    for signature in ("", "bm9uc2Vuc2U=", qashier_mock.sign(body, "another secret")):
        answer = requests.post(
            f"{shop.url}/webhooks/qashier", data=body, headers={"x-qashier-sign": signature}, timeout=30
        )
        assert answer.status_code == 401
    assert shop.shipped == []


def test_a_webhook_that_says_paid_too_early_changes_nothing(shop: Shop, qashier_mock: QashierMock) -> None:
    """Its signature is right, but the session says otherwise: the session counts."""
    order = shop.buy()
    session = {**qashier_mock.sessions[0], "status": "complete", "payment_status": "paid"}
    body = json.dumps({"type": "checkout.session.completed", "data": {"object": session}})
    headers = {"x-qashier-sign": qashier_mock.sign(body, WEBHOOK_SECRET), "Content-Type": "application/json"}
    assert requests.post(f"{shop.url}/webhooks/qashier", data=body, headers=headers, timeout=30).ok
    assert (shop.order(order.id).status, shop.shipped) == ("pending", [])


def test_a_webhook_while_the_provider_is_down_is_sent_again(shop: Shop, qashier_mock: QashierMock) -> None:
    order = shop.buy()
    with qashier_mock.fault("status", operation="retrieve_checkout_session", status=503):
        qashier_mock.pay(str(order.session_id))
        qashier_mock.flush()
        assert [each["status"] for each in qashier_mock.deliveries] == [503]
    qashier_mock.advance(seconds=10)
    assert [each["status"] for each in qashier_mock.deliveries] == [503, 204]
    assert shop.shipped == [order.id]


def test_webhooks_about_what_the_shop_does_not_know_are_accepted(shop: Shop, qashier_mock: QashierMock) -> None:
    """Another system of the merchant uses the same account."""
    with WebhookReceiver() as other:
        qashier_mock.deliver_webhooks_to(other.url)
        qashier_mock.pay(qashier_mock.create_session()["id"])
        other.wait_for("checkout.session.completed")
    assert {each["outcome"] for each in qashier_mock.flush()} <= {"delivered"}
    assert {each["outcome"] for each in qashier_mock.deliveries} == {"delivered"}
    assert shop.shipped == []
