"""The inspector at `/_mock/`: what it shows, what its buttons do, whom it answers."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from types import FrameType

import httpx
import pytest
from browser_harness import CONTRAST, launched, pages
from mock_harness import drive, make_service, order
from playwright.sync_api import Browser, Page, expect
from qashier_contract.run import Run
from qashier_contract.settings import Settings as ContractSettings

from qashier_mock import MockAccount, MockServer, Settings
from qashier_mock.core.credentials import account_of, hint_of
from qashier_mock.core.model import AccountId
from qashier_mock.core.paging import CreatedRange, ListQuery
from qashier_mock.core.policy import Policy
from qashier_mock.core.request import RequestRef
from qashier_mock.core.sources import ManualClock, SeededIds
from qashier_mock.inspection import Inspection
from qashier_mock.receiver import WebhookReceiver
from qashier_mock.service import CheckoutService
from qashier_mock.stores.memory import MemoryStore

KEYS = count()
DEAD_END = "http://127.0.0.1:9/hook"
pytestmark = pytest.mark.usefixtures("one_authority")


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


def front(account: MockAccount) -> str:
    return httpx.get(f"{account.base_url}/_mock/").text


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


def test_a_request_that_found_the_session_paid_stands_behind_the_webhook_of_its_second(account: MockAccount) -> None:
    account.freeze()
    account.deliver_webhooks_to(DEAD_END)
    session = account.create_session()
    account.retrieve_session(session["id"])
    account.pay(session["id"])
    account.flush()
    account.retrieve_session(session["id"])
    found = re.findall(r'data-testid="entry-(\w+)"', shown(account, "sessions", session["id"]))
    assert found == ["request", "request", "event", "attempt", "request", "pending"]


def test_the_request_that_ended_the_session_stands_before_the_event_of_its_second(account: MockAccount) -> None:
    account.freeze()
    session = account.create_session()
    account.expire_session(session["id"])
    found = re.findall(r'data-testid="entry-(\w+)"', shown(account, "sessions", session["id"]))
    assert found == ["request", "request", "event"]


def test_an_attempt_has_the_body_its_signature_and_the_answer(account: MockAccount) -> None:
    with WebhookReceiver() as receiver:
        receiver.answer(418)
        account.deliver_webhooks_to(receiver.url, secret="whsec_hush")
        session = account.create_session()
        account.pay(session["id"])
        account.flush()
        (webhook,) = receiver.deliveries
    page = html.unescape(shown(account, "sessions", session["id"]))
    (attempt,) = re.findall(r'data-testid="entry-attempt".*?</li>', page, re.DOTALL)
    assert "418" in attempt
    assert webhook.headers["x-qashier-sign"] in attempt
    assert webhook.body.decode() in attempt


@pytest.mark.parametrize("status", ["open", "complete", "expired"])
def test_the_list_is_filtered_by_status(account: MockAccount, status: str) -> None:
    ids = {name: account.create_session()["id"] for name in ("open", "complete", "expired")}
    account.pay(ids["complete"])
    account.expire_session(ids["expired"])
    text = httpx.get(address(account), params={"status": status}).text
    assert {name for name, session_id in ids.items() if session_id in text} == {status}


def test_a_search_finds_a_session_by_its_id(account: MockAccount) -> None:
    wanted, other = account.create_session()["id"], account.create_session()["id"]
    text = httpx.get(address(account), params={"q": f" {wanted} "}).text
    assert (text.count(f"sessions/{wanted}") > 0, other in text) == (True, False)


@pytest.mark.parametrize(("move", "seconds"), [("1h", 3_600), ("24h", 86_400)])
def test_the_clock_has_buttons_for_an_hour_and_a_day(account: MockAccount, move: str, seconds: int) -> None:
    account.freeze()
    account.create_session()
    before = account.now
    assert f'name="move" value="{move}"' in shown(account)
    httpx.post(address(account, "clock"), data={"move": move, "back": "/_mock/"})
    assert account.now == before + seconds


@pytest.mark.parametrize("act", ["fail", "cancel"])
def test_a_customer_who_declines_or_cancels_leaves_the_session_open(account: MockAccount, act: str) -> None:
    session = account.create_session()
    assert f'name="act" value="{act}"' in shown(account, "sessions", session["id"])
    assert httpx.post(address(account, "sessions", session["id"]), data={"act": act}).status_code == 303
    assert account.retrieve_session(session["id"])["status"] == "open"


def test_every_control_is_one_that_a_keyboard_reaches(account: MockAccount) -> None:
    session = account.create_session()
    for path in ([], ["sessions", session["id"]], ["events"], ["requests"], ["endpoints"], ["faults"], ["advice"]):
        page = shown(account, *path)
        assert "<button" in page
        assert re.findall(r'<(?:a|button|input|select|summary)\b[^>]*tabindex="-|onclick|role="?button', page) == []


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


def test_sessions_are_paged_fifty_at_a_time(account: MockAccount) -> None:
    created = [account.create_session()["id"] for _ in range(120)]
    first = shown(account)
    assert first.count('data-testid="session"') == 50
    assert "Older" in first
    assert "Newer" not in first
    second = httpx.get(address(account), params={"after": created[-50]}).text
    assert created[-51] in second
    assert created[-50] not in second
    assert "Newer" in second


async def calls_of_looking_at(sessions: int) -> list[int]:
    """How many functions are called to show a page of an account, new and old, and to see whether there is news."""
    store = MemoryStore()
    service = CheckoutService(
        store, clock=ManualClock(), ids=SeededIds(1), policy=Policy(), public_url=lambda: "http://x.test"
    )
    inspection, account = Inspection(store, service), AccountId("acct_large")
    ids = [(await service.create(account, order(), RequestRef("req_1")))[0].id for _ in range(sessions)]
    looks: list[Callable[[], Awaitable[object]]] = [
        lambda: inspection.sessions(account, ListQuery(limit=50)),
        lambda: inspection.sessions(account, ListQuery(limit=50, starting_after=ids[60])),
        lambda: inspection.version(account),
        lambda: inspection.version(None),
    ]
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    found = []
    for look in looks:
        calls = 0
        sys.setprofile(count)
        try:
            await look()
        finally:
            sys.setprofile(None)
        found.append(calls)
    return found


def test_a_page_of_ten_thousand_sessions_is_no_more_work_than_one_of_a_hundred() -> None:
    few, many = (drive(calls_of_looking_at(sessions)) for sessions in (100, 10_000))
    assert all(more <= less * 1.5 for less, more in zip(few, many, strict=True)), (few, many)


@pytest.mark.parametrize("query", [ListQuery(10, starting_after="cs_gone"), ListQuery(10, ending_before="cs_gone")])
def test_an_unknown_cursor_begins_at_the_newest_and_keeps_the_filters(query: ListQuery) -> None:
    store = MemoryStore()
    service, clock = make_service(store=store)
    account = AccountId("acct_1")
    for _ in range(3):
        newest = drive(service.create(account, order(), RequestRef("req_1")))[0]
        clock.now += 1
    query = replace(query, created=CreatedRange.of(gte=newest.created))
    assert [each.id for each in drive(Inspection(store, service).sessions(account, query)).sessions] == [newest.id]


def turns_while_accounts_are_listed(accounts: int) -> int:
    service = CheckoutService(
        store := MemoryStore(),
        clock=ManualClock(),
        ids=SeededIds(1),
        policy=Policy(),
        public_url=lambda: "http://x.test",
    )
    for number in range(2 * accounts):
        drive(service.create(AccountId(f"acct_{number % accounts}"), order(), RequestRef("req_1")))
    listing, turns = Inspection(store, service).accounts(), 0
    while True:
        try:
            listing.send(None)
        except StopIteration as done:
            listed = done.value
            break
        turns += 1
    assert len(listed) == min(accounts, 200)
    return turns


def test_others_have_their_turn_while_very_many_accounts_are_listed() -> None:
    assert turns_while_accounts_are_listed(550) - turns_while_accounts_are_listed(50) == 5


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
    assert "Access refused" in answer.text


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


@contextmanager
def program(*arguments: str, ready: str) -> Iterator[str]:
    """A command of ours in a process of its own; the address that its first line ends with."""
    command = [sys.executable, "-m", "qashier_mock", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QASHIER_")}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert ready in line
            yield line.split()[-1]
        finally:
            process.terminate()


def test_a_stranger_makes_a_session_pays_it_listens_and_resends_in_six_clicks(page: Page) -> None:
    """What the pages say is all that it takes: each command and link below stands on the page before."""
    with program("serve", "--port", "0", ready="qashier-mock ready on") as url:
        page.goto(url)
        expect(page.get_by_role("heading", name="Nothing has happened yet")).to_be_visible()
        page.get_by_test_id("sample").click()
        page.get_by_test_id("pay").click()
        expect(page.get_by_test_id("entry-event")).to_be_visible()
        note = page.get_by_text("No webhook was sent, because the account has no endpoint.")
        _, *listen = note.get_by_role("code").inner_text().split()
        with program(*listen, ready="listening for webhooks of sk_test_default"):
            expect(note).to_have_count(0)
            page.get_by_test_id("resend").click()
            expect(page.get_by_test_id("entry-attempt").first).to_contain_text("200")
            page.close()


def test_an_endpoint_is_added_in_the_page_and_an_event_resent_to_it(page: Page) -> None:
    with MockServer() as server:
        page.goto(server.url)
        page.get_by_test_id("sample").click()
        page.get_by_test_id("pay").click()
        page.get_by_role("link", name="Add an endpoint").click()
        page.get_by_label("URL").fill(DEAD_END)
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_test_id("endpoint")).to_contain_text(DEAD_END)
        page.get_by_role("link", name="Sessions").click()
        page.get_by_test_id("session").get_by_role("link").click()
        page.get_by_test_id("resend").click()
        expect(page.get_by_test_id("entry-attempt").first).to_contain_text("no answer")


def test_accounts_that_the_checker_made_up_can_be_told_apart(server: MockServer) -> None:
    hints = set()
    for nonce in ("1000000007", "1000000008"):
        run = Run(server.url, ContractSettings())
        run.nonce = nonce
        hints |= {hint_of(run._made_up_key(letter)) for letter in "aA"}
    assert len(hints) == 4


def test_the_list_of_accounts_shows_each_ones_last_request(account: MockAccount) -> None:
    session = account.create_session()
    account.retrieve_session(session["id"])
    (card,) = re.findall(rf'href="/_mock/accounts/{account_of(account.api_key)}".*?</a>', front(account), re.DOTALL)
    assert "GET /checkout/sessions/" in card


def test_an_account_whose_key_this_process_has_not_seen_is_called_by_its_id(account: MockAccount) -> None:
    account_id = account_of("sk_test_of_another_process")
    assert f"<code>{account_id}</code>" in httpx.get(f"{account.base_url}/_mock/accounts/{account_id}").text


def test_what_is_paid_in_one_tab_arrives_by_itself_in_another(account: MockAccount, page: Page) -> None:
    session = account.create_session()
    page.goto(address(account, "sessions", session["id"]))
    expect(page.get_by_test_id("live")).to_be_visible()
    shopping = page.context.new_page()
    shopping.route("https://**", lambda route: route.fulfill(body="thanks"))
    shopping.goto(session["url"])
    shopping.get_by_test_id("pay-card").click()
    expect(page.get_by_test_id("entry-event")).to_be_visible()
    expect(page.get_by_text("complete", exact=True)).to_be_visible()


def test_the_clock_moves_to_the_next_deadline_and_the_session_expires(account: MockAccount, page: Page) -> None:
    session = account.create_session()
    page.goto(address(account, "sessions", session["id"]))
    page.get_by_role("button", name="To next deadline").click()
    expect(page.get_by_text("expired", exact=True)).to_be_visible()
    page.get_by_role("button", name="Freeze").click()
    expect(page.get_by_test_id("clock")).to_contain_text("frozen")


@pytest.mark.parametrize(
    ("tab", "form"),
    [
        ("faults", {"action": "delay", "seconds": "86401"}),
        ("faults", {"action": "delay", "seconds": "-1"}),
        ("faults", {"action": "delay", "seconds": "inf"}),
        ("faults", {"action": "status", "status": "200"}),
        ("faults", {"action": "drop", "times": "0"}),
        ("faults", {"action": "drop", "times": "1.5"}),
        ("faults", {"action": "drop", "times": "[" * 40_000}),
        ("faults", {"action": "duplicate", "about": "operation"}),
        ("faults", {"action": "lose_answer", "about": "webhook"}),
        ("faults", {}),
        ("endpoints", {"url": "http://[x"}),
        ("endpoints", {"url": "http://shop:password@127.0.0.1/hook"}),
        ("endpoints", {"url": "http://127.0.0.1:99999/hook"}),
        ("endpoints", {"url": DEAD_END, "secret": "s" * 1_001}),
        ("endpoints", {}),
    ],
)
def test_a_form_is_refused_where_the_control_api_would_refuse_it(
    account: MockAccount, tab: str, form: dict[str, str]
) -> None:
    answer = httpx.post(address(account, tab), data=form)
    assert answer.status_code == 422, answer.text
    assert "That did not work" in answer.text
    assert account.faults == []
    assert account.webhook_endpoints == []


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
