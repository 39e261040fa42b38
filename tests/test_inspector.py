"""The inspector at `/_mock/`: what it shows, what its buttons do, whom it answers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest
from browser_harness import CONTRAST, launched, pages
from playwright.sync_api import Browser, Page, expect

from qashier_mock import MockAccount, MockServer, Settings
from qashier_mock.core.credentials import account_of, hint_of
from qashier_mock.stores.sqlite import SqliteStore

KEYS = count()
DEAD_END = "http://127.0.0.1:9/hook"


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with MockServer() as running:
        yield running


@pytest.fixture
def account(server: MockServer) -> Iterator[MockAccount]:
    with MockAccount(server.url, f"sk_test_inspected_{next(KEYS)}") as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    yield from pages(browser, viewport={"width": 1280, "height": 900})


def address(account: MockAccount, *more: str) -> str:
    return "/".join([account.base_url, "_mock", "accounts", account_of(account.api_key), *more])


def shown(account: MockAccount, *more: str) -> str:
    answer = httpx.get(address(account, *more))
    assert answer.status_code == 200, answer.text
    return answer.text


# What it shows


def test_a_browser_at_the_root_is_led_to_the_accounts_and_no_key_is_shown(account: MockAccount) -> None:
    account.create_session()
    front = httpx.get(account.base_url, headers={"accept": "text/html"}, follow_redirects=True)
    assert front.url == f"{account.base_url}/_mock/"
    assert account_of(account.api_key) in front.text
    assert account.api_key not in front.text


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("sk_test_default", "sk_test_default"),
        ("sk_test_short", "sk_test_…"),
        ("sk_test_0123456789abcdef", "sk_test_…cdef"),
    ],
)
def test_a_key_is_recognised_by_a_hint_that_does_not_give_it_away(key: str, hint: str) -> None:
    assert hint_of(key) == hint


def test_a_session_has_its_timeline_from_create_over_the_page_to_the_webhook(account: MockAccount) -> None:
    account.deliver_webhooks_to(DEAD_END, secret="whsec_hush")
    session = account.create_session()
    httpx.get(session["url"])
    account.pay(session["id"])
    account.flush()
    text = shown(account, "sessions", session["id"])
    story = ["entry-request", "entry-page", "entry-event", "entry-attempt", "entry-pending"]
    places = [text.index(f'data-testid="{step}"') for step in story]
    assert places == sorted(places)
    assert "Signature" in text
    assert "whsec_hush" not in text


def test_page_views_stay_out_of_the_journal_of_the_integration(account: MockAccount) -> None:
    session = account.create_session()
    httpx.get(session["url"])
    assert [entry["method"] for entry in account.requests] == ["POST"]


@pytest.mark.parametrize("tab", ["", "events", "deliveries", "endpoints", "requests", "advice", "faults"])
def test_every_tab_of_an_account_that_has_nothing_says_so(account: MockAccount, tab: str) -> None:
    assert 'class="empty"' in shown(account, *([tab] if tab else []))


@pytest.mark.parametrize("asked", ["15.80", "1580", "1,580"])
def test_a_search_finds_sessions_by_amount(account: MockAccount, asked: str) -> None:
    line = {"price_data": {"currency": "SGD", "product_data": {"name": "x"}, "unit_amount": 1580}, "quantity": 1}
    wanted = account.create_session(line_items=[line])
    other = account.create_session()
    text = httpx.get(address(account), params={"q": asked}).text
    assert wanted["id"] in text
    assert other["id"] not in text


def test_ten_thousand_sessions_are_paged_fifty_at_a_time(account: MockAccount) -> None:
    created = [account.create_session()["id"] for _ in range(120)]
    first = shown(account)
    assert first.count('data-testid="session"') == 50
    assert "Older" in first
    assert "Newer" not in first
    second = httpx.get(address(account), params={"after": created[-50]}).text
    assert created[-51] in second
    assert created[-50] not in second
    assert "Newer" in second


def test_what_the_integration_sends_is_escaped(account: MockAccount) -> None:
    line = {"price_data": {"currency": "SGD", "product_data": {"name": "<script>x</script>"}, "unit_amount": 1}}
    session = account.create_session(line_items=[{**line, "quantity": 1}])
    for text in (shown(account, "sessions", session["id"]), shown(account, "requests")):
        assert "<script>x" not in text


def test_the_curl_line_takes_the_key_from_the_environment(account: MockAccount) -> None:
    account.create_session()
    text = shown(account, "requests")
    assert "$QASHIER_API_KEY:" in text.replace("&#34;", '"')
    assert account.api_key not in text


@pytest.mark.parametrize("path", ["accounts/acct_none/sessions/cs_test_none", "nothing"])
def test_what_is_not_there_is_a_page_that_leads_back(account: MockAccount, path: str) -> None:
    answer = httpx.get(f"{account.base_url}/_mock/{path}")
    assert answer.status_code in {404, 422}
    assert 'href="/_mock/"' in answer.text


def test_it_works_on_a_store_in_a_file(tmp_path: Path) -> None:
    with MockServer(store=SqliteStore(tmp_path / "mock.sqlite3")) as server:
        with MockAccount(server.url, "sk_test_in_a_file") as account:
            session = account.create_session()
            account.pay(session["id"])
            assert "checkout.session.completed" in shown(account, "sessions", session["id"])
        assert account_of("sk_test_in_a_file") in httpx.get(f"{server.url}/_mock/").text


# Whom it answers


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"Host": "attacker.example"}),
        ("POST", {"Origin": "https://attacker.example"}),
        ("POST", {"Origin": "null"}),
        ("POST", {"Sec-Fetch-Site": "cross-site"}),
    ],
)
def test_a_page_of_a_stranger_is_not_answered(server: MockServer, method: str, headers: dict[str, str]) -> None:
    path = "/_mock/" if method == "GET" else "/_mock/accounts"
    answer = httpx.request(method, server.url + path, headers=headers, content=b"sample=1")
    assert answer.status_code == 403
    assert "Not from here" in answer.text


def test_a_link_from_elsewhere_may_lead_to_it(server: MockServer) -> None:
    assert httpx.get(f"{server.url}/_mock/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_a_token_opens_it_under_any_name_and_leaves_the_address() -> None:
    with MockServer(Settings(inspector_token="let-me-in")) as server:
        url = f"{server.url}/_mock/"
        elsewhere = {"Host": "mock.internal"}
        assert httpx.get(url, headers=elsewhere).status_code == 403
        assert httpx.get(url, headers=elsewhere, params={"token": "wrong"}).status_code == 403
        welcome = httpx.get(url, headers=elsewhere, params={"token": "let-me-in"})
        assert welcome.status_code == 303
        assert "token" not in welcome.headers["location"]
        cookie = welcome.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert httpx.get(url, headers={**elsewhere, "Cookie": cookie.partition(";")[0]}).status_code == 200


def test_nothing_is_fetched_from_elsewhere_and_no_other_script_runs(server: MockServer) -> None:
    policy = httpx.get(f"{server.url}/_mock/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_server_with_an_open_page_stops_at_once() -> None:
    with MockServer() as server, httpx.stream("GET", f"{server.url}/_mock/live", timeout=10) as news:
        lines = news.iter_lines()
        assert next(lines).startswith("retry:")
        server.stop()
        assert "".join(lines) == ""


# In a browser


def test_a_stranger_makes_a_session_pays_it_adds_an_endpoint_and_resends(page: Page) -> None:
    with MockServer() as server:
        page.goto(server.url)
        expect(page.get_by_role("heading", name="Nothing has happened yet")).to_be_visible()
        page.get_by_test_id("sample").click()
        page.get_by_test_id("pay").click()
        expect(page.get_by_test_id("entry-event")).to_be_visible()
        page.get_by_role("link", name="Add an endpoint").click()
        page.get_by_label("URL").fill(DEAD_END)
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_test_id("endpoint")).to_contain_text(DEAD_END)
        page.get_by_role("link", name="Sessions").click()
        page.get_by_test_id("session").get_by_role("link").click()
        page.get_by_test_id("resend").click()
        expect(page.get_by_test_id("entry-attempt").first).to_contain_text("no answer")


def test_what_happens_elsewhere_arrives_within_a_second(account: MockAccount, page: Page) -> None:
    session = account.create_session()
    page.goto(address(account, "sessions", session["id"]))
    expect(page.get_by_test_id("live")).to_be_visible()
    account.pay(session["id"])
    expect(page.get_by_test_id("entry-event")).to_be_visible(timeout=1_500)
    expect(page.get_by_text("complete", exact=True)).to_be_visible()


def test_the_clock_moves_to_the_next_deadline_and_the_session_expires(account: MockAccount, page: Page) -> None:
    session = account.create_session()
    page.goto(address(account, "sessions", session["id"]))
    page.get_by_role("button", name="To next deadline").click()
    expect(page.get_by_text("expired", exact=True)).to_be_visible()
    page.get_by_role("button", name="Freeze").click()
    expect(page.get_by_test_id("clock")).to_contain_text("frozen")


def test_a_fault_is_scripted_and_removed(account: MockAccount, page: Page) -> None:
    page.goto(address(account, "faults"))
    page.get_by_label("What goes wrong").select_option("status")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_test_id("fault")).to_contain_text("503")
    assert account.faults[0]["action"] == "status"
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_test_id("fault")).to_have_count(0)


def test_without_scripts_everything_still_works(account: MockAccount, browser: Browser) -> None:
    for page in pages(browser, java_script_enabled=False):
        page.goto(address(account))
        page.get_by_test_id("sample").click()
        page.get_by_test_id("expire").click()
        assert page.get_by_text("expired", exact=True).is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off_and_every_text_stands_out(
    account: MockAccount, browser: Browser, scheme: str
) -> None:
    account.deliver_webhooks_to(DEAD_END)
    session = account.create_session(metadata={"a": 1})
    account.pay(session["id"])
    account.flush()
    for page in pages(browser, viewport={"width": 390, "height": 844}, color_scheme=scheme, is_mobile=True):
        for path in ("", f"sessions/{session['id']}", "events", "deliveries", "requests", "advice", "faults"):
            page.goto(address(account, path).rstrip("/"))
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
            ratio, text = page.evaluate(CONTRAST)[0]
            assert ratio >= 4.5, (path, text, ratio)
