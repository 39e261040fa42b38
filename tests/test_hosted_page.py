"""The hosted page, asked and answered without a browser: what it shows, what it does, what it refuses."""

import asyncio
import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin

import httpx
import pytest

from qashier_mock.core.lifecycle import Trigger
from qashier_mock.core.model import AccountId, CheckoutSession, CreateSession, LineItem, PaymentStatus, Status
from qashier_mock.core.policy import Policy
from qashier_mock.core.request import RequestRef
from qashier_mock.core.sources import ManualClock, SeededIds
from qashier_mock.service import CheckoutService
from qashier_mock.stores.base import StoreUnavailable
from qashier_mock.stores.memory import MemoryStore
from qashier_mock.web.hosted import create_pages

ACCOUNT = AccountId("acct_pages")
BASE = "http://mock.test"
SUCCESS_URL = "https://shop.example/thanks?order=1"
RETURN_URL = "https://shop.example/return"
CANCEL_URL = "https://shop.example/cart?a=1&b=2"
COFFEE = LineItem("House blend", "Whole beans", "SGD", 1450, 2)
FILTERS = LineItem("Filters", None, "SGD", 590, 1)
SAMPLE = LineItem("Sample", None, "SGD", 0, 1)
FORM = "application/x-www-form-urlencoded"

VOID = {"meta", "link", "input", "br", "path", "circle", "rect"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""
    form: "Element | None" = None
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """A page as its reader meets it: the elements, and the text outside `head`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.text = ""
        self._open: list[Element] = []
        self.feed(html)
        assert not self._open, f"never closed: {[element.tag for element in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        element.form = next((each for each in reversed(self._open) if each.tag == "form"), None)
        if tag == "input" and element.form is not None and "name" in element.attributes:
            element.form.fields[element.attributes["name"]] = element.attributes["value"]
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data
        if not any(element.tag == "head" for element in self._open):
            self.text += data

    def all(self, testid: str) -> list[Element]:
        return [element for element in self.elements if element.attributes.get("data-testid") == testid]

    def one(self, testid: str) -> Element:
        (element,) = self.all(testid)
        return element

    def tags(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]


class Shop:
    """A merchant with an account, and a customer who visits the pages."""

    def __init__(self, store: MemoryStore) -> None:
        self.clock = ManualClock()
        self.store = store
        self.service = CheckoutService(
            store, clock=self.clock, ids=SeededIds(1), policy=Policy(), public_url=lambda: BASE
        )
        self.pages = create_pages(self.service)

    def session(
        self,
        *lines: LineItem,
        success_url: str = SUCCESS_URL,
        return_url: str = RETURN_URL,
        cancel_url: str | None = CANCEL_URL,
    ) -> CheckoutSession:
        params = CreateSession(lines or (COFFEE, FILTERS), success_url, return_url, cancel_url)
        return asyncio.run(self.service.create(ACCOUNT, params, RequestRef("req_1")))[0]

    def apply(self, session: CheckoutSession, trigger: Trigger) -> None:
        asyncio.run(self.service.apply(ACCOUNT, session.id, trigger))

    def expire(self, session: CheckoutSession) -> None:
        asyncio.run(self.service.expire(ACCOUNT, session.id, RequestRef("req_2")))

    def now(self, session: CheckoutSession) -> CheckoutSession:
        return asyncio.run(self.service.retrieve(ACCOUNT, session.id, "req_3"))[0]

    def event_count(self) -> int:
        async def count() -> int:
            async with self.store.transaction(ACCOUNT) as tx:
                return len(await tx.events())

        return asyncio.run(count())

    def visit(
        self,
        url: str,
        method: str = "GET",
        *,
        content: bytes | None = None,
        media_type: str | None = FORM,
    ) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.pages)
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
                headers = {} if content is None or media_type is None else {"content-type": media_type}
                return await client.request(method, url, content=content, headers=headers)

        return asyncio.run(send())

    def open(self, url: str) -> Page:
        answer = self.visit(url)
        assert answer.status_code == 200
        return Page(answer.text)

    def press(self, url: str, testid: str) -> httpx.Response:
        """Open a page and send the form of one of its buttons, as a browser would."""
        button = self.open(url).one(testid)
        assert button.tag == "button"
        assert button.form is not None
        assert button.form.attributes["method"] == "post"
        body = str(httpx.QueryParams(button.form.fields)).encode()
        return self.visit(urljoin(url, button.form.attributes["action"]), "POST", content=body)


@pytest.fixture
def shop() -> Shop:
    return Shop(MemoryStore())


def assert_sees_other(answer: httpx.Response, location: str) -> None:
    assert answer.status_code == 303
    assert answer.headers.get_list("location") == [location]


def assert_back_on_page(answer: httpx.Response, session: CheckoutSession, query: str = "") -> None:
    assert answer.status_code == 303
    assert urljoin(str(answer.request.url), answer.headers["location"]) == session.url + query


# what the page shows


def test_the_page_lists_what_is_bought(shop: Shop) -> None:
    page = shop.open(shop.session().url)
    coffee, filters = (" ".join(line.text.split()) for line in page.all("line-item"))
    assert coffee == "House blend S$29.00 Whole beans 2 \N{MULTIPLICATION SIGN} S$14.50"
    assert filters == "Filters S$5.90 1 \N{MULTIPLICATION SIGN} S$5.90"
    assert page.one("amount").text == "S$34.90"
    assert "shop.example" in page.tags("h1")[0].text


def test_amounts_have_the_form_of_their_currency(shop: Shop) -> None:
    page = shop.open(shop.session(LineItem("Tea", None, "JPY", 1250, 1)).url)
    assert page.one("amount").text == "¥1,250"


def test_a_hundred_lines_are_all_there(shop: Shop) -> None:
    lines = [LineItem(f"Item {number}", None, "SGD", number, 1) for number in range(100)]
    page = shop.open(shop.session(*lines).url)
    assert [line.text.split()[1] for line in page.all("line-item")] == [str(number) for number in range(100)]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "\"'&<>",
        "</bdi></p></style>",
        "قهوة\u202e",
        "{{ session.id }}",
        "a\x00b\x1f",
        "\U0001f600",
    ],
)
def test_what_the_merchant_wrote_is_shown_and_never_obeyed(shop: Shop, text: str) -> None:
    session = shop.session(LineItem(text, text * 2, "SGD", 1, 1))
    for url in (session.url, session.url + "/redirect"):
        assert not Page(shop.visit(url).text).tags("script")
    (line,) = shop.open(session.url).all("line-item")
    assert line.text.count(text) == 3


def test_urls_of_the_merchant_cannot_leave_their_attribute(shop: Shop) -> None:
    cancel_url = "https://shop.example/?q=\"'><script>alert(1)</script>&amp;"
    page = shop.open(shop.session(cancel_url=cancel_url).url)
    assert page.one("back").attributes["href"] == cancel_url
    assert not page.tags("script")


def test_a_page_is_complete_in_itself(shop: Shop) -> None:
    """No script, and nothing fetched from anywhere: the one style sheet is allowed by its hash."""
    session = shop.session()
    for url in (session.url, session.url + "/redirect", f"{BASE}/pay/unknown"):
        answer = shop.visit(url)
        policy = answer.headers["content-security-policy"]
        (style,) = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in policy
        assert policy.startswith("default-src 'none'")
        assert "form-action" not in policy, "it would stop the redirect to the shop"
        page = Page(answer.text)
        assert not [element for element in page.elements if {"src", "style", "onclick"} & element.attributes.keys()]
        assert [link.attributes["href"][:5] for link in page.tags("link")] == ["data:"]
        assert "url(" not in style


def test_every_answer_stays_out_of_caches_indexes_and_referrers(shop: Shop) -> None:
    session = shop.session()
    for answer in (shop.visit(session.url), shop.visit("/pay/unknown"), shop.press(session.url, "pay-card")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "noindex" in answer.headers["x-robots-tag"]


def test_a_page_says_what_it_is(shop: Shop) -> None:
    session = shop.session()
    for url in (session.url, session.url + "/redirect"):
        answer = shop.visit(url)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        page = Page(answer.text)
        assert page.tags("html")[0].attributes["lang"] == "en"
        assert page.tags("title")[0].text.strip()
        assert len(page.tags("main")) == len(page.tags("h1")) == 1
        assert "Test mode" in page.text
        assert "viewport" in [element.attributes.get("name") for element in page.tags("meta")]


def test_every_field_has_a_label(shop: Shop) -> None:
    page = shop.open(shop.session().url)
    shown = [element for element in page.tags("input") if element.attributes.get("type") != "hidden"]
    assert {element.attributes["id"] for element in shown} == {label.attributes["for"] for label in page.tags("label")}
    assert [element.attributes["name"] for element in shown if "name" in element.attributes] == ["number"]


# opening changes nothing


def test_opening_a_page_changes_nothing(shop: Shop) -> None:
    session = shop.session()
    for url in (session.url, session.url + "/redirect", session.url + "?outcome=declined"):
        for method in ("GET", "HEAD"):
            assert shop.visit(url, method).status_code == 200
    assert shop.now(session) == session
    assert shop.event_count() == 0


# test cards


@pytest.mark.parametrize("number", ["4242424242424242", "4242 4242 4242 4242", " 4242-4242-4242-4242 "])
def test_a_test_card_can_be_typed(shop: Shop, number: str) -> None:
    session = shop.session()
    answer = shop.visit(session.url, "POST", content=urlencode({"card": "approved", "number": number}).encode())
    assert (answer.status_code, answer.headers["location"]) == (303, SUCCESS_URL)


def test_the_declining_test_card_is_declined(shop: Shop) -> None:
    session = shop.session()
    form = urlencode({"card": "approved", "number": "4000 0000 0000 0002"}).encode()
    answer = shop.visit(session.url, "POST", content=form)
    assert answer.headers["location"].endswith("?outcome=declined#payment")
    assert "Your card was declined." in shop.open(session.url + "?outcome=declined").one("message").text


@pytest.mark.parametrize("number", ["4111111111111111", "", "abc", "4242424242424242\N{ARABIC-INDIC DIGIT ONE}"])
def test_any_other_card_is_refused_in_words_and_charges_nothing(shop: Shop, number: str) -> None:
    session = shop.session()
    answer = shop.visit(session.url, "POST", content=urlencode({"card": "approved", "number": number}).encode())
    assert (answer.status_code, answer.headers["location"]) == (303, f"./{session.id}?outcome=unknown_card#payment")
    page = shop.open(session.url + "?outcome=unknown_card")
    assert "This is not a test card. Nothing was charged. Type 4242 4242 4242 4242 to pay" in page.one("message").text
    assert page.all("pay-card")


# the words and links of the three statuses


def test_the_open_page_links_back_exactly_when_there_is_a_cancel_url(shop: Shop) -> None:
    """PAY-4: otherwise no link leads to the shop."""
    with_cancel, without = shop.session(), shop.session(cancel_url=None)
    page = shop.open(with_cancel.url)
    assert page.one("back").attributes["href"] == CANCEL_URL
    hrefs = [link.attributes["href"] for link in shop.open(without.url).tags("a")]
    assert all(urljoin(without.url, href).startswith(without.url) for href in hrefs)
    assert [link.attributes["href"] for link in page.tags("a") if link.attributes.get("data-testid") != "back"] == [
        href.replace(without.id, with_cancel.id) for href in hrefs
    ]


def test_the_way_back_is_named_after_where_it_leads(shop: Shop) -> None:
    session = shop.session(success_url="https://pay.shop.example/ok", cancel_url="https://www.shop.example/cart")
    assert shop.open(session.url).one("back").text == "Back to www.shop.example"
    shop.expire(session)
    ended = shop.open(session.url)
    assert ended.one("back").text == "Back to www.shop.example"
    assert "go back to www.shop.example and check out again" in ended.text


def test_an_expired_page_without_cancel_url_has_no_link_and_mentions_none(shop: Shop) -> None:
    session = shop.session(cancel_url=None)
    shop.expire(session)
    page = shop.open(session.url)
    assert not page.tags("a")
    assert "go back" not in page.text


def test_a_long_order_is_counted_in_lines_and_the_wallet_counts_pieces(shop: Shop) -> None:
    session = shop.session(*[LineItem(f"Item {index}", None, "SGD", 100, 3) for index in range(20)])
    page = shop.open(session.url)
    assert "20 lines. Scroll to see them all." in page.text
    assert "of 20 items" not in page.text
    assert "Items60" in "".join(shop.open(session.url + "/redirect").text.split())


@pytest.mark.parametrize("query", ["", "?outcome=declined", "?outcome=unknown_card"])
@pytest.mark.parametrize("line", [COFFEE, SAMPLE])
def test_the_open_page_claims_no_outcome(shop: Shop, line: LineItem, query: str) -> None:
    text = shop.open(shop.session(line).url + query).text.lower()
    assert "expired" not in text
    assert "paid" not in text


def test_the_page_of_an_expired_session_says_so(shop: Shop) -> None:
    """EXP-6."""
    session = shop.session()
    shop.expire(session)
    assert_ended(shop.open(session.url), says="expired", not_says="paid")


def test_the_page_of_a_session_that_the_clock_expired_says_so(shop: Shop) -> None:
    """EXP-7: at `expires_at`, not a second earlier."""
    session = shop.session()
    shop.clock.now = session.expires_at - 1
    assert shop.open(session.url).all("pay-card")
    shop.clock.now = session.expires_at
    assert_ended(shop.open(session.url), says="expired", not_says="paid")


@pytest.mark.parametrize("line", [COFFEE, SAMPLE])
def test_the_page_of_a_complete_session_says_that_it_is_paid(shop: Shop, line: LineItem) -> None:
    """PAY-2."""
    session = shop.session(line)
    shop.apply(session, Trigger.PAYMENT_SUCCEEDED)
    assert_ended(shop.open(session.url), says="paid", not_says="expired")


def assert_ended(page: Page, *, says: str, not_says: str) -> None:
    assert says in page.one("message").text.lower()
    assert not_says not in page.text.lower()
    assert not [element.tag for element in page.elements if element.tag in {"form", "button", "input"}]
    assert [link.attributes["href"] for link in page.tags("a")] == ([CANCEL_URL] if says == "expired" else [])
    assert page.all("amount")
    assert page.all("line-item")


# what the customer does


def test_paying_by_card_completes_and_leads_to_success_url(shop: Shop) -> None:
    """PAY-1."""
    session = shop.session()
    assert_sees_other(shop.press(session.url, "pay-card"), SUCCESS_URL)
    assert (shop.now(session).status, shop.now(session).payment_status) == (Status.COMPLETE, PaymentStatus.PAID)
    assert shop.event_count() == 1


@pytest.mark.parametrize(
    "rest",
    ["", "/", "?", "#", "/" + "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "\\"), "/{CS}?a=%zz&b=+"],
)
def test_the_way_to_the_shop_is_character_for_character(shop: Shop, rest: str) -> None:
    url = "HTTPS://Shop.Example:8443" + rest
    paid = shop.session(success_url=url)
    assert_sees_other(shop.press(paid.url, "pay-card"), url)
    authorised = shop.session(return_url=url)
    assert_sees_other(shop.press(authorised.url + "/redirect", "authorise"), url)


def test_an_order_of_total_zero_is_completed_without_payment(shop: Shop) -> None:
    """AMT-6."""
    session = shop.session(SAMPLE)
    page = shop.open(session.url)
    assert page.one("pay-card").text.strip() == "Complete order"
    assert not page.all("pay-declined")
    assert not page.all("pay-redirect")
    assert_sees_other(shop.press(session.url, "pay-card"), SUCCESS_URL)
    ended = shop.now(session)
    assert (ended.status, ended.payment_status) == (Status.COMPLETE, PaymentStatus.NO_PAYMENT_REQUIRED)


def test_a_declined_card_leaves_the_session_open_to_try_again(shop: Shop) -> None:
    """PAY-3."""
    session = shop.session()
    answer = shop.press(session.url, "pay-declined")
    assert_back_on_page(answer, session, "?outcome=declined#payment")
    assert shop.now(session) == session
    assert shop.event_count() == 0
    declined = urljoin(session.url, answer.headers["location"]).partition("#")[0]
    message = shop.open(declined).one("message").text
    assert "declined" in message
    assert "try again" in message
    assert_sees_other(shop.press(declined, "pay-card"), SUCCESS_URL)


def test_a_page_without_a_declined_card_has_no_message(shop: Shop) -> None:
    assert not shop.open(shop.session().url).all("message")


def test_authorising_at_the_method_completes_and_leads_to_return_url(shop: Shop) -> None:
    """PAY-5."""
    session = shop.session()
    link = shop.open(session.url).one("pay-redirect")
    method_page = urljoin(session.url, link.attributes["href"])
    assert_sees_other(shop.press(method_page, "authorise"), RETURN_URL)
    assert shop.now(session).payment_status is PaymentStatus.PAID


def test_cancelling_at_the_method_changes_nothing_and_leads_to_return_url(shop: Shop) -> None:
    """PAY-3, PAY-5."""
    session = shop.session()
    assert_sees_other(shop.press(session.url + "/redirect", "cancel"), RETURN_URL)
    assert shop.now(session) == session
    assert shop.event_count() == 0
    assert_sees_other(shop.press(session.url, "pay-card"), SUCCESS_URL)


@pytest.mark.parametrize("card", [b"card=approved", b"card=declined"])
@pytest.mark.parametrize("how", ["expired", "complete"])
def test_paying_too_late_leads_to_the_page_that_says_why(shop: Shop, how: str, card: bytes) -> None:
    """EXP-5, PAY-2: nothing happens twice."""
    session, ended = ended_session(shop, how)
    assert_back_on_page(shop.visit(session.url, "POST", content=card), session)
    assert shop.now(session) == ended
    assert shop.event_count() == 1


@pytest.mark.parametrize("decision", [b"decision=authorise", b"decision=cancel"])
@pytest.mark.parametrize("how", ["expired", "complete"])
def test_the_method_sends_the_customer_back_to_the_shop_also_when_too_late(
    shop: Shop, how: str, decision: bytes
) -> None:
    """PAY-5: the method does not know the session; the shop reads the outcome there."""
    session, ended = ended_session(shop, how)
    assert_sees_other(shop.visit(session.url + "/redirect", "POST", content=decision), RETURN_URL)
    assert shop.now(session) == ended
    assert shop.event_count() == 1


@pytest.mark.parametrize("how", ["expired", "complete"])
def test_the_method_asks_for_nothing_when_the_session_has_ended(shop: Shop, how: str) -> None:
    session, _ = ended_session(shop, how)
    assert_back_on_page(shop.visit(session.url + "/redirect"), session)


def ended_session(shop: Shop, how: str) -> tuple[CheckoutSession, CheckoutSession]:
    session = shop.session()
    if how == "expired":
        shop.expire(session)
    else:
        shop.apply(session, Trigger.PAYMENT_SUCCEEDED)
    return session, shop.now(session)


def test_a_session_that_expires_while_its_page_is_open_cannot_be_paid(shop: Shop) -> None:
    """EXP-5: the clock moves between opening and paying."""
    session = shop.session()
    shop.open(session.url)
    shop.clock.now = session.expires_at
    assert_back_on_page(shop.visit(session.url, "POST", content=b"card=approved"), session)
    assert shop.now(session).status is Status.EXPIRED


# what is refused


@pytest.mark.parametrize(("rest", "form"), [("", b"card=approved"), ("/redirect", b"decision=authorise")])
@pytest.mark.parametrize(
    "name", ["cs_test_nobody", "a%00b", "%2F", "%C3%A9", "%FF", "x" * 5000, "..%2f..", "%22%3E%3Cscript%3E", "a:b"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_session_is_not_found(shop: Shop, name: str, rest: str, form: bytes, method: str) -> None:
    answer = shop.visit(f"{BASE}/pay/{name}{rest}", method, content=form)
    assert answer.status_code == 404
    assert Page(answer.text).one("message").text.strip()
    assert "<script" not in answer.text


@pytest.mark.parametrize("rest", ["/", "/redirect/", "/other", "/redirect/more"])
def test_addresses_below_a_session_are_not_invented(shop: Shop, rest: str) -> None:
    answer = shop.visit(shop.session().url + rest)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("rest", ["", "/redirect"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_another_method_is_refused_with_the_allowed_ones(shop: Shop, method: str, rest: str) -> None:
    answer = shop.visit(shop.session().url + rest, method)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"", FORM, 400),
        (b"card", FORM, 400),
        (b"card=", FORM, 400),
        (b"card=Approved", FORM, 400),
        (b"card=approved&card=declined", FORM, 400),
        (b"card=approved&card=approved", FORM, 400),
        (b"decision=authorise", FORM, 400),
        (b"card=\xff\xfe", FORM, 400),
        (b"\xff" * 100, FORM, 400),
        (b"&".join([b"a=1"] * 1000), FORM, 400),
        (b"card=approved&a=" + b"1" * 8192, FORM, 413),
        (b"x" * 5_000_000, FORM, 413),
        (b'{"card": "approved"}', "application/json", 415),
        (b"card=approved", None, 415),
        (b"card=approved", "text/plain", 415),
        (b"card=approved", "application/x-www-form-urlencodedx", 415),
        (b"--x--", "multipart/form-data; boundary=x", 415),
    ],
)
def test_a_form_that_is_not_the_pages_own_changes_nothing(
    shop: Shop, body: bytes, media_type: str | None, status: int
) -> None:
    """HTTP-5, HTTP-6."""
    session = shop.session()
    answer = shop.visit(session.url, "POST", content=body, media_type=media_type)
    assert answer.status_code == status
    assert Page(answer.text).one("message").text.strip()
    assert shop.now(session) == session


def test_a_charset_or_capitals_in_the_media_type_are_fine(shop: Shop) -> None:
    session = shop.session()
    media_type = "Application/X-WWW-Form-URLEncoded; charset=nonsense"
    assert shop.visit(session.url, "POST", content=b"card=approved", media_type=media_type).status_code == 303


def test_a_store_that_is_gone_gives_a_page_too() -> None:
    class Gone(MemoryStore):
        async def owner(self, session_id: str) -> AccountId | None:
            raise StoreUnavailable(session_id)

    answer = Shop(Gone()).visit(f"{BASE}/pay/cs_test_1")
    assert answer.status_code == 503
    assert Page(answer.text).one("message")


def test_a_session_that_vanishes_between_opening_and_paying_is_not_found(shop: Shop) -> None:
    """A reset of the account may come in between."""
    session = shop.session()
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        async with shop.store.transaction(ACCOUNT, long=True) as tx:
            await tx.clear()
        return {"type": "http.request", "body": b"card=approved", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    asyncio.run(shop.pages(post_scope(session), receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 404


def test_a_customer_who_leaves_while_sending_pays_nothing(shop: Shop) -> None:
    session = shop.session()
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    asyncio.run(shop.pages(post_scope(session), receive, send))  # type: ignore[arg-type]
    assert sent == []
    assert shop.now(session) == session


def post_scope(session: CheckoutSession) -> dict[str, object]:
    return {
        "type": "http",
        "method": "POST",
        "path": f"/pay/{session.id}",
        "raw_path": f"/pay/{session.id}".encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", FORM.encode())],
    }
