"""The pictures of the documentation show the pages as they are now.

Where a page has changed: `QASHIER_NEW_PICTURES=1 make test ARGS="tests/test_pictures.py"` takes them again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_harness import launched, pages
from pictures import ADDRESS, NOON, SCENES, digest_in, digest_of, page_of, path_of, take
from playwright.sync_api import Browser

from qashier_mock import MockAccount, MockServer, Settings

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with MockServer(Settings(public_url=ADDRESS, seed=1001)) as running:
        yield running


@pytest.fixture
def account(server: MockServer, request: pytest.FixtureRequest) -> Iterator[MockAccount]:
    key = re.sub(r"\W", "_", f"sk_test_{request.node.name}_docs")  # of the test, so that its ids repeat
    with MockAccount(server.url, key) as account:
        account.freeze(at=NOON)
        yield account


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.mark.parametrize("name", SCENES)
def test_a_picture_shows_the_page_as_it_is(account: MockAccount, request: pytest.FixtureRequest, name: str) -> None:
    scene = SCENES[name]
    path = scene.prepare(account)
    digest = digest_of(page_of(account, path))
    if os.environ.get("QASHIER_NEW_PICTURES"):
        browser = request.getfixturevalue("browser")
        size = {"width": scene.width, "height": scene.height}
        for page in pages(browser, viewport=size, is_mobile=scene.is_phone, has_touch=scene.is_phone):
            path_of(name).write_bytes(take(page, account.base_url + path, digest))
    assert path_of(name).is_file()
    assert digest_in(path_of(name).read_bytes()) == digest, f"{name} is out of date: see the top of this file"


def test_a_change_of_the_page_is_noticed_and_what_differs_from_run_to_run_is_not() -> None:
    assert digest_of("<p>Pay S$29.00") != digest_of("<p>Pay S$29.01")
    assert digest_of("req_01 in 1.2 ms at 127.0.0.1:4010") == digest_of("req_02 in 31 ms at 127.0.0.1:4011")


def test_a_picture_can_be_taken(account: MockAccount, browser: Browser) -> None:
    path = SCENES["hosted-page"].prepare(account)
    digest = digest_of(page_of(account, path))
    for page in pages(browser, viewport={"width": 640, "height": 480}):
        assert digest_in(take(page, account.base_url + path, digest)) == digest


def test_pictures_are_small_described_and_all_of_them_shown() -> None:
    shown: dict[str, str] = {}
    for page in DOCS.glob("*.md"):
        shown |= {file: text for text, file in re.findall(r"!\[([^\]]*)\]\(images/([a-z-]+)\.png\)", page.read_text())}
    assert shown.keys() == SCENES.keys()
    assert all(len(text) > 20 for text in shown.values()), "who cannot see a picture reads what it shows"
    assert {name: path_of(name).stat().st_size for name in SCENES if path_of(name).stat().st_size > 120_000} == {}
    assert {path.stem for path in (DOCS / "images").iterdir()} == SCENES.keys()
