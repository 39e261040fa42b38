"""The hosted page in a real browser, headless, against a real server: what a customer sees, presses and reaches.

The browser is the one named in `QASHIER_TEST_BROWSER`, else a Chromium or Chrome on the PATH, else Playwright's own.
"""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import httpx
import pytest
from browser_harness import CONTRAST, launched, pages
from playwright.sync_api import Browser, Page

from qashier_mock import MockServer

KEYS = count()


class Shop:
    """A merchant: one account of the mock, and a web site that customers come back to."""

    def __init__(self, mock_url: str, site_url: str) -> None:
        self.site = site_url
        self._api = httpx.Client(base_url=mock_url, auth=(f"sk_test_browser{next(KEYS)}", ""), timeout=30)

    def session(self, *lines: dict[str, Any], currency: str = "SGD", **more: str) -> dict[str, Any]:
        chosen = lines or ({"name": "House blend", "unit_amount": 1450, "quantity": 2},)
        body = {
            "line_items": [
                {
                    "price_data": {
                        "currency": currency,
                        "product_data": {key: line[key] for key in ("name", "description") if key in line},
                        "unit_amount": line["unit_amount"],
                    },
                    "quantity": line["quantity"],
                }
                for line in chosen
            ],
            "success_url": f"{self.site}/success?order=1&a=b",
            "return_url": f"{self.site}/return?a=1&b=2",
            **more,
        }
        return self._call("POST", "/checkout/sessions", body)

    def now(self, session: dict[str, Any]) -> tuple[str, str]:
        answer = self._call("GET", f"/checkout/sessions/{session['id']}")
        return answer["status"], answer["payment_status"]

    def advance(self, seconds: int) -> None:
        self._call("POST", "/_mock/v1/clock/advance", {"seconds": seconds})

    def close(self) -> None:
        self._api.close()

    def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self._api.request(method, path, json=body) if body is not None else self._api.request(method, path)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


class _Site(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"<!doctype html><title>The shop</title><p>Welcome back"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def mock_url() -> Iterator[str]:
    with MockServer() as server:
        yield server.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def shop(mock_url: str, site: str) -> Iterator[Shop]:
    shop = Shop(mock_url, site)
    yield shop
    shop.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    yield from pages(browser, viewport={"width": 1280, "height": 900})


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    yield from pages(browser, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)


@pytest.fixture
def scriptless(browser: Browser) -> Iterator[Page]:
    yield from pages(browser, java_script_enabled=False)


def arrive(page: Page, url: str) -> None:
    """Wait until exactly that is the address; Playwright alone would take a `?` for a wildcard."""
    page.wait_for_url(lambda reached: reached == url)


def visible_text(page: Page) -> str:
    return page.locator("body").inner_text()


def test_paying_by_card_takes_one_press_and_leads_to_success_url(shop: Shop, page: Page) -> None:
    """PAY-1."""
    session = shop.session()
    page.goto(session["url"])
    assert page.get_by_test_id("amount").inner_text() == "S$29.00"
    page.get_by_test_id("pay-card").click()
    arrive(page, session["success_url"])
    assert shop.now(session) == ("complete", "paid")


def test_the_complete_page_says_paid_and_offers_nothing(shop: Shop, page: Page) -> None:
    """PAY-2: also when the customer goes back in the browser's history."""
    session = shop.session()
    page.goto(session["url"])
    page.get_by_test_id("pay-card").click()
    arrive(page, session["success_url"])
    page.go_back()
    assert "paid" in page.get_by_test_id("message").inner_text().lower()
    assert page.locator("form, button, a").count() == 0


@pytest.mark.parametrize(("answer", "outcome"), [("authorise", ("complete", "paid")), ("cancel", ("open", "unpaid"))])
def test_the_method_leads_to_return_url(shop: Shop, page: Page, answer: str, outcome: tuple[str, str]) -> None:
    """PAY-5."""
    session = shop.session()
    page.goto(session["url"])
    page.get_by_test_id("pay-redirect").click()
    page.get_by_test_id(answer).click()
    arrive(page, session["return_url"])
    assert shop.now(session) == outcome


def test_the_way_back_leads_to_cancel_url(shop: Shop, page: Page) -> None:
    """PAY-4."""
    session = shop.session(cancel_url=f"{shop.site}/cart?a=1&b=2")
    page.goto(session["url"])
    page.get_by_test_id("back").click()
    arrive(page, f"{shop.site}/cart?a=1&b=2")
    assert shop.now(session) == ("open", "unpaid")


def test_without_a_cancel_url_nothing_leads_to_the_shop(shop: Shop, page: Page) -> None:
    """PAY-4."""
    session = shop.session()
    page.goto(session["url"])
    assert page.get_by_test_id("back").count() == 0
    links = page.locator("a").evaluate_all("links => links.map((link) => link.href)")
    assert [link for link in links if not link.startswith(session["url"])] == []


def test_a_declined_card_is_told_and_another_try_succeeds(shop: Shop, page: Page) -> None:
    """PAY-3."""
    session = shop.session()
    page.goto(session["url"])
    page.get_by_test_id("pay-declined").click()
    message = page.get_by_test_id("message")
    message.wait_for()
    assert "declined" in message.inner_text()
    assert "try again" in message.inner_text()
    assert shop.now(session) == ("open", "unpaid")
    page.get_by_test_id("pay-card").click()
    arrive(page, session["success_url"])
    assert shop.now(session) == ("complete", "paid")


def test_a_session_that_expires_while_its_page_is_open_cannot_be_paid(shop: Shop, page: Page) -> None:
    """EXP-5, EXP-6."""
    session = shop.session()
    page.goto(session["url"])
    shop.advance(86_400)
    page.get_by_test_id("pay-card").click()
    message = page.get_by_test_id("message")
    message.wait_for()
    assert "expired" in message.inner_text()
    assert page.url == session["url"]
    assert page.locator("form, button, a").count() == 0
    assert shop.now(session) == ("expired", "unpaid")


def test_the_keyboard_alone_is_enough_to_pay(shop: Shop, page: Page) -> None:
    session = shop.session(cancel_url=f"{shop.site}/cart")
    page.goto(session["url"])
    order = []
    for _ in range(12):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.dataset.testid ?? document.activeElement.className"))
        outline = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
        assert outline >= 2, f"{order[-1]} does not show that it has the focus"
        if order[-1] == "pay-card":
            break
    assert order[0] == "skip"
    assert order[1] == "back"
    page.keyboard.press("Enter")
    arrive(page, session["success_url"])
    assert shop.now(session) == ("complete", "paid")


def test_in_forced_colours_the_main_button_stands_out_from_the_second(shop: Shop, browser: Browser) -> None:
    """The browser gives every button the same ground, but for one that says that it chooses its own."""
    url = shop.session()["url"]
    for page in pages(browser, forced_colors="active"):
        page.goto(url)
        main, second = (
            page.get_by_test_id(name).evaluate(
                "button => [getComputedStyle(button).forcedColorAdjust, getComputedStyle(button).backgroundColor]"
            )
            for name in ("pay-card", "pay-declined")
        )
        assert main[0] == "none"
        assert main[1] != second[1]


def test_the_skip_link_leads_past_the_items(shop: Shop, page: Page) -> None:
    page.goto(shop.session(cancel_url=f"{shop.site}/cart")["url"])
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "payment"


def test_no_script_is_needed(shop: Shop, scriptless: Page) -> None:
    session = shop.session()
    scriptless.goto(session["url"])
    scriptless.get_by_test_id("pay-declined").click()
    scriptless.get_by_test_id("message").wait_for()
    scriptless.get_by_test_id("pay-redirect").click()
    scriptless.get_by_test_id("cancel").click()
    arrive(scriptless, session["return_url"])
    scriptless.goto(session["url"])
    scriptless.get_by_test_id("pay-card").click()
    arrive(scriptless, session["success_url"])
    assert shop.now(session) == ("complete", "paid")


def test_the_open_page_shows_neither_paid_nor_expired(shop: Shop, page: Page) -> None:
    """EXP-6, PAY-2: those words are left to the pages that mean them."""
    for line in (
        {"name": "Tea", "unit_amount": 100, "quantity": 1},
        {"name": "Sample", "unit_amount": 0, "quantity": 1},
    ):
        session = shop.session(line)
        for url in (session["url"], session["url"] + "?outcome=declined"):
            page.goto(url)
            assert "paid" not in visible_text(page).lower()
            assert "expired" not in visible_text(page).lower()


def test_the_longest_texts_stay_in_the_window_of_a_phone(shop: Shop, phone: Page) -> None:
    lines = [
        {"name": "W" * 250, "description": "x" * 1000, "unit_amount": 99_999_999, "quantity": 10_000},
        {"name": "<script>alert(1)</script>", "unit_amount": 1, "quantity": 1},
    ]
    session = shop.session(*lines, success_url=f"http://{'a-long-name.' * 20}example/")
    for url in (session["url"], session["url"] + "/redirect"):
        phone.goto(url)
        assert phone.evaluate("document.documentElement.scrollWidth") == 390
    phone.goto(session["url"])
    assert "<script>alert(1)</script>" in visible_text(phone)


def test_a_hundred_lines_leave_the_payment_within_reach_of_a_phone(shop: Shop, phone: Page) -> None:
    lines = [{"name": f"Item {number}", "unit_amount": 100, "quantity": 1} for number in range(100)]
    phone.goto(shop.session(*lines)["url"])
    assert phone.get_by_test_id("line-item").count() == 100
    assert phone.evaluate("document.documentElement.scrollHeight") < 2 * 844
    phone.get_by_test_id("line-item").last.scroll_into_view_if_needed()
    assert phone.get_by_test_id("line-item").last.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(shop: Shop, browser: Browser, scheme: str) -> None:
    """WCAG 2 AA, 1.4.3: at least 4.5 to 1, in both colour schemes."""
    session, ended = shop.session(), shop.session()
    for page in pages(browser, color_scheme=scheme):
        page.goto(ended["url"])
        page.get_by_test_id("pay-card").click()
        arrive(page, ended["success_url"])
        for url in (session["url"] + "?outcome=declined", session["url"] + "/redirect", ended["url"]):
            page.goto(url)
            ratio, text = page.evaluate(CONTRAST)[0]
            assert ratio >= 4.5, f"{text!r} has a contrast of {ratio:.1f}"
