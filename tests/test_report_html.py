"""The report as one page: what stands where, that nothing hostile gets through, and that it needs no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser_harness import launched
from playwright.sync_api import Browser
from qashier_contract import CLAUSES, check
from qashier_contract.findings import PassesCheck, expect
from qashier_contract.history import Delivery, Endpoint, Exchange, History, Reply, Request
from qashier_contract.places import status_of
from qashier_contract.report.html import render
from qashier_contract.verdicts import ClauseReport, Report, Verdict

from tests.targets import touching, within

HOSTILE = """</title></script></pre><script>alert(1)</script><img src=x onerror=alert(2)>"'&\x00"""
LONE = "\ud800"
"""Half of a character: JSON can hold it, UTF-8 cannot."""
KEYS = ("sk_test_firstSecretOfThisRun", "sk_test_secondSecretOfThisRun")
VOID = {"meta", "input", "br", "link", "img", "hr"}
MS = 1_000_000


class Tree(HTMLParser):
    """The elements of a page, and whether each was closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in {"script", "style"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def report() -> Report:
    """What a run says of a target with defects, the events and another account's keys among them."""
    return check(
        "http://127.0.0.1",
        keys=KEYS,
        transport=within("expire complete", "keys shared by accounts", "limit 100 gives 99"),
        seed=1,
        only=["EXP-*", "IDM-7", "LIS-3", "AUTH-*"],
        drivers=lambda driver: touching(driver) or driver.name == "a long list",
    )


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return render(report)


def exchange(number: int, start_ms: int, end_ms: int, **more: Any) -> Exchange:
    given: dict[str, Any] = {
        "request": Request(method="POST", path="/checkout/sessions", body=b"{}"),
        "reply": Reply(status=200, headers=(("request-id", f"req_{number}"),), body=b"{}"),
        **more,
    }
    return Exchange(number=number, sent_ns=start_ms * MS, received_ns=end_ms * MS, **given)


def told(clause: str, *exchanges: Exchange, deliveries: tuple[Delivery, ...] = (), **more: Any) -> Report:
    words = {"expected": "one session", "seen": "two sessions", **more}
    check = PassesCheck(status_of(exchanges[-1]), words["expected"], words["seen"])
    violation = replace(expect(check, "", *exchanges, deliveries=deliveries), clause=clause)
    entry = ClauseReport(CLAUSES[clause], Verdict.FAILED, 1, (violation,))
    history = History(exchanges=exchanges, deliveries=deliveries)
    return Report("http://127.0.0.1:1/", 1, (entry,), len(exchanges), 0.1, history=history)


def boxes(page: str) -> dict[str, tuple[float, float, float]]:
    """Where each bar of the drawings begins and ends, px from the left, and how far down it is, by its words."""
    drawn = re.findall(r'<rect class="box" x="([\d.]+)" y="(\d+)" width="([\d.]+)".*?<text[^>]*>([^<]+)<', page)
    return {words: (float(x), float(x) + float(width), float(y)) for x, y, width, words in drawn}


def test_the_verdict_comes_first_and_then_what_broke(report: Report, page: str) -> None:
    tree = Tree(page)
    assert report.verdict is Verdict.FAILED
    assert len(tree.all("h1")) == 1
    assert page.index("<h1") < page.index('id="broken"') < page.index('id="clauses"') < page.index('id="visited"')
    assert f"--seed {report.seed}" in tree.text


def test_every_clause_stands_there_with_its_source_and_verdict(report: Report, page: str) -> None:
    tree = Tree(page)
    assert {entry.clause.id for entry in report.clauses} <= {attributes.get("id") for _, attributes in tree.found}
    for entry in report.clauses:
        assert entry.clause.statement.replace("`", "") in re.sub(r"\s+([.,;:])", r"\1", tree.text).replace("`", "") or (
            entry.clause.statement.split("`")[0].strip() in tree.text
        )


def test_every_broken_clause_says_what_was_expected_and_seen_and_how_to_see_it_again(report: Report, page: str) -> None:
    tree = Tree(page)
    broken = [entry for entry in report.clauses if entry.violations]
    assert {"EXP-3", "IDM-7", "LIS-3"} <= {entry.clause.id for entry in broken}
    for entry in broken:
        first = entry.violations[0]
        assert " ".join(first.expected.split()) in tree.text
        assert " ".join(first.seen.split()) in tree.text
        assert all(request_id in page for request_id in first.request_ids)
        assert any(attributes.get("id") == f"broken-{entry.clause.id}" for attributes in tree.all("section"))
    assert "curl -sS" in page
    assert "def test_exp_3" in page


def test_links_within_the_page_lead_somewhere(page: str) -> None:
    tree = Tree(page)
    ids = [attributes["id"] for _, attributes in tree.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in tree.all("a")} <= {f"#{each}" for each in ids}


def test_the_matrix_says_how_often_each_operation_answered_with_each_status(report: Report, page: str) -> None:
    tree = Tree(page)
    heads = [attributes.get("scope") for attributes in tree.all("th")]
    assert "col" in heads
    assert "row" in heads
    for operation, row in report.matrix.items():
        shown = re.search(rf'<th scope="row">{operation}</th>((?:<td[^>]*>[^<]*</td>)+)', page[page.rindex("<table") :])
        assert shown is not None
        assert [int(n) for n in re.findall(r">(\d+)<", shown[1])] == [row[status] for status in sorted(row)]


def test_why_a_clause_was_not_exercised_is_said() -> None:
    entry = ClauseReport(CLAUSES["EVT-6"], Verdict.NOT_EXERCISED, reason="no webhooks reach this checker")
    shown = Tree(render(Report("http://127.0.0.1:1", 1, (entry,)))).text
    assert "Not exercised, no webhooks reach this checker: EVT-6" in shown
    assert "Nothing was tested" in shown


def test_nothing_hostile_becomes_markup() -> None:
    body = HOSTILE.encode()
    request = Request(
        method="POST",
        path=f"/checkout/{HOSTILE}",
        query=HOSTILE,
        headers=(("X-Odd", HOSTILE), ("Authorization", HOSTILE)),
        body=body,
    )
    reply = Reply(status=200, headers=(("request-id", HOSTILE), ("x-odd", HOSTILE)), body=body)
    endpoint = Endpoint(url="http://127.0.0.1:1/", account=0, registered_ns=0)
    delivery = Delivery(
        number=2,
        endpoint=endpoint,
        method=HOSTILE,
        headers=(("x-odd", HOSTILE),),
        body=b'{"type": "</pre><script>alert(1)</script>\\ud800"}',
        received_ns=MS,
        answered=200,
    )
    failed = exchange(3, 3, 4, reply=None, failure=HOSTILE)
    hostile = told(
        "EVT-3",
        exchange(1, 0, 1, request=request, reply=reply),
        failed,
        deliveries=(delivery,),
        expected=HOSTILE + LONE,
        seen=HOSTILE + LONE,
    )
    page = render(replace(hostile, target=f"http://{HOSTILE}", notes=(HOSTILE,)))
    page.encode("utf-8")
    tree = Tree(page)
    assert len(tree.all("script")) == 1
    assert tree.all("img") == []
    assert not any(name.startswith("on") for _, attributes in tree.found for name in attributes)
    assert "alert(1)" in tree.text


def test_nothing_is_fetched_from_anywhere(page: str) -> None:
    tree = Tree(page)
    assert not any({"src", "srcset", "action", "data"} & set(attributes) for _, attributes in tree.found)
    assert all(link["href"].startswith("#") for link in tree.all("a"))
    assert tree.all("link") == []
    assert tree.all("iframe") == []
    styles = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    assert "@import" not in styles
    assert "url(" not in styles
    policies = [meta["content"] for meta in tree.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert any(policy.startswith("default-src 'none'") for policy in policies)


def test_no_secret_is_shown(page: str) -> None:
    assert not [key for key in KEYS if key in page]
    assert not re.search(r"Basic [A-Za-z0-9+/]{12}", page)


def test_what_follows_from_another_clause_comes_after_it_and_says_so() -> None:
    create, read = exchange(1, 0, 10), exchange(2, 12, 20)
    first, second = told("RET-1", create), told("CRE-6", create, read)
    history = History(exchanges=(create, *(exchange(number, 30, 40) for number in range(3, 9))))
    page = render(replace(second, clauses=(*second.clauses, *first.clauses), history=history))
    assert page.index('id="broken-RET-1"') < page.index('id="broken-CRE-6"')
    assert 'probably because of <a href="#broken-RET-1">RET-1</a>' in page


def test_requests_that_ran_at_the_same_time_share_a_part_of_the_drawing() -> None:
    drawn = boxes(render(told("IDM-6", exchange(1, 0, 10), exchange(2, 4, 14), exchange(3, 20, 22))))
    first, second, third = drawn["1 create"], drawn["2 create"], drawn["3 create"]
    assert first[0] < second[0] < first[1] < second[1] < third[0]
    assert first[2] == third[2] != second[2]


def test_each_account_has_a_lane_and_so_have_its_webhooks() -> None:
    endpoint = Endpoint(url="http://127.0.0.1:1/", account=1, registered_ns=0)
    delivery = Delivery(
        number=3,
        endpoint=endpoint,
        method="POST",
        headers=(),
        body=b'{"type": "checkout.session.completed"}',
        received_ns=30 * MS,
        answered=200,
    )
    page = render(told("EVT-3", exchange(1, 0, 10), exchange(2, 12, 20, account=1), deliveries=(delivery,)))
    assert re.findall(r'<text class="who"[^>]*>([^<]+)<', page) == ["account 1", "account 2", "webhooks of account 2"]
    drawn = boxes(page)
    assert drawn["1 create"][2] < drawn["2 create"][2] < drawn["3 completed"][2]


def test_only_where_a_violation_shows_is_filled_in() -> None:
    page = render(told("IDM-6", exchange(1, 0, 10), exchange(2, 4, 14)))
    assert re.findall(r'<g class="[^"]*failing">.*?<text[^>]*>([^<]+)<', page) == ["2 create"]


def test_a_report_of_a_thousand_exchanges_and_many_broken_clauses_stays_below_two_megabytes() -> None:
    body = b'{"note": "' + b"<&>" * 1_000 + b'"}'
    reply = Reply(status=200, headers=(("x-odd", "y" * 500),), body=body)
    request = Request(method="POST", path="/checkout/sessions", body=body)
    exchanges = tuple(exchange(n, n * 2, n * 2 + 1, request=request, reply=reply) for n in range(1, 1001))
    entries = []
    for number in range(100, 140):
        clause = replace(CLAUSES["HTTP-2"], id=f"HTTP-{number}")
        violations = tuple(
            replace(expect(PassesCheck(status_of(last), "one", f"two, {place}"), "", *others), clause=clause.id)
            for place in range(20)
            for *others, last in [exchanges[place : place + 4]]
        )
        entries.append(ClauseReport(clause, Verdict.FAILED, 20, violations))
    everything = Report("http://127.0.0.1:1", 1, tuple(entries), 1000, 9.0, history=History(exchanges=exchanges))
    page = render(everything)
    assert len(page.encode()) < 2_000_000
    assert "left out to keep this page small" in page
    assert all(f'id="broken-{entry.clause.id}"' in page for entry in entries)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


def test_a_browser_shows_it_on_a_phone_finds_clauses_and_asks_nobody(
    browser: Browser, page: str, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    shown = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    asked: list[str] = []
    wrong: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    shown.goto(file.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") == 390
    assert shown.evaluate("document.querySelector('h1').getBoundingClientRect().bottom") < 300
    assert shown.locator("svg.lanes").first.is_visible()
    shown.get_by_label("Find a clause").fill("EXP-3")
    assert shown.locator(".clauses > li:visible").count() >= 1
    assert shown.locator(".clauses > li[id=EXP-3]").is_visible()
    assert not shown.locator(".clauses > li[id=LIS-3]").is_visible()
    assert asked == [file.as_uri()]
    assert wrong == []
    shown.close()
