"""`/docs` and `/openapi.json`: the document for people and tools, from the server itself."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from browser_harness import CONTRAST, launched, pages
from openapi_spec_validator import validate
from playwright.sync_api import Browser, expect

from qashier_mock import MockServer


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with MockServer() as server:
        yield server.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


def test_the_document_is_served_as_json_and_is_valid(url: str) -> None:
    document = httpx.get(f"{url}/openapi.json").json()
    validate(document)
    assert document["servers"][0]["url"] == "/"


def test_every_operation_parameter_and_property_is_on_the_page(url: str) -> None:
    document, page = httpx.get(f"{url}/openapi.json").json(), httpx.get(f"{url}/docs").text
    operations = [each["operationId"] for item in document["paths"].values() for each in item.values()]
    assert [each for each in operations if f'id="{each}"' not in page] == []
    session = document["components"]["schemas"]["CheckoutSession"]["properties"]
    assert [name for name in session if f"<code>{name}</code>" not in page] == []
    assert "<code>line_items[].price_data.product_data.name</code>" in page
    assert "created[gte]" in page


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_they_are_only_read(url: str, path: str) -> None:
    answer = httpx.post(url + path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_the_page_loads_nothing_from_another_host(url: str) -> None:
    answer = httpx.get(f"{url}/docs")
    policy = dict(each.strip().split(" ", 1) for each in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    sources = {source for sources in policy.values() for source in sources.split()}
    assert [source for source in sources if not source.startswith(("'none'", "'self'", "'sha256-", "data:"))] == []


def test_a_request_is_sent_from_the_page_and_its_answer_shown(url: str, browser: Browser) -> None:
    for page in pages(browser):
        page.goto(f"{url}/docs")
        create = page.locator("#create_checkout_session")
        create.get_by_role("button", name="Send").click()
        expect(create.get_by_label("Answer", exact=True)).to_contain_text("200 OK")
        expect(create.get_by_label("Answer", exact=True)).to_contain_text("cs_test_")
        listed = page.locator("#list_checkout_sessions")
        listed.get_by_label("limit").fill("1")
        listed.get_by_role("button", name="Send").click()
        expect(listed.get_by_label("Answer", exact=True)).to_contain_text("has_more")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off_and_every_text_stands_out(url: str, browser: Browser, scheme: str) -> None:
    for page in pages(browser, viewport={"width": 390, "height": 844}, color_scheme=scheme, is_mobile=True):
        page.goto(f"{url}/docs")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        ratio, text = page.evaluate(CONTRAST)[0]
        assert ratio >= 4.5, (text, ratio)
