"""A customer with a real browser, headless, from the shop to the provider's page and back.

The browser is the one named in `QASHIER_TEST_BROWSER`, else a Chromium or Chrome on the PATH, else Playwright's own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from conftest import Shop
from playwright.sync_api import Browser, Page, sync_playwright

from qashier_mock.testing import QashierMock, WebhookDisorder

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    named = os.environ.get("QASHIER_TEST_BROWSER")
    path = named or next((found for name in BROWSERS if (found := shutil.which(name))), None)
    # The sandbox of Chromium refuses to run as root, which is what containers are.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    page.close()


def buy(page: Page, shop: Shop) -> None:
    """Choose something; the shop sends the browser to the provider's page."""
    page.goto(shop.url)
    page.get_by_label("How many").fill("2")
    page.get_by_role("button", name="Buy").click()
    page.get_by_test_id("pay-card").wait_for()
    assert page.get_by_test_id("amount").inner_text() == "S$29.00"


def pay_and_go_on_to_the_shop(page: Page) -> None:
    page.get_by_test_id("pay-card").click()
    page.get_by_role("heading", name="Thank you").wait_for()


def pay_and_close_the_page(page: Page) -> None:
    """The customer is gone as soon as the payment is through; the shop has nothing but the webhook."""
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.get_by_test_id("pay-card").click(no_wait_after=True)
    page.close()


def test_an_order_paid_in_a_browser_is_shipped_exactly_once_however_webhooks_come(
    shop: Shop, qashier_mock: QashierMock, qashier_webhook_disorder: WebhookDisorder, page: Page
) -> None:
    buy(page, shop)
    pay_and_go_on_to_the_shop(page)
    another = shop.buy()  # so that one webhook can overtake another
    qashier_mock.pay(str(another.session_id))
    qashier_webhook_disorder.settle()
    if qashier_webhook_disorder.loses:
        assert shop.reconcile() > 0
    assert shop.reconcile() == 0
    assert shop.shipped == [1, another.id]
    assert all(each["payment_status"] == "paid" for each in qashier_mock.sessions)


def test_an_order_is_shipped_when_the_customer_closes_the_page(
    shop: Shop, qashier_mock: QashierMock, page: Page
) -> None:
    buy(page, shop)
    pay_and_close_the_page(page)
    qashier_mock.flush()
    assert shop.shipped == [1]


def test_the_customer_sees_how_the_order_stands(shop: Shop, qashier_mock: QashierMock, page: Page) -> None:
    buy(page, shop)
    page.get_by_test_id("pay-declined").click()
    page.get_by_test_id("message").wait_for()
    page.get_by_test_id("back").click()
    assert page.get_by_test_id("status").inner_text() == "pending"
    page.get_by_role("button", name="Pay").click()
    page.get_by_test_id("pay-redirect").click()
    page.get_by_test_id("cancel").click()
    assert page.get_by_test_id("status").inner_text() == "pending"
    page.get_by_role("button", name="Pay").click()
    page.get_by_test_id("pay-redirect").click()
    page.get_by_test_id("authorise").click()
    page.wait_for_url(f"{shop.url}/orders/1/return")
    qashier_mock.flush()
    page.reload()
    assert page.get_by_test_id("status").inner_text() == "paid"
    assert len(qashier_mock.sessions) == 1
