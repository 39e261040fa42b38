"""Every snippet of the documentation is run, but those that say that they are shown only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from documentation import PAGES, ROOT, Block, blocks, calls, conversation, matches, run
from drill_shop import SECRET, ConfirmingShop

from qashier_mock import MockAccount, MockServer
from qashier_mock.cli.options import parse
from qashier_mock.cli.serve import OPTIONS
from qashier_mock.core.policy import Policy

KEY = "sk_test_demo"
ELSEWHERE = {
    ("README.md", "console"): "test_readme.py",
    ("README.md", "sh"): "test_readme.py",
    ("README.md", "text"): "test_readme.py",
    ("docs/ci.md", "yaml"): "test_ci.py",
    ("docs/hosted-page.md", "python"): "here",
    ("docs/node-shop.md", "json"): "test_shops_in_other_languages.py",
    ("docs/node-shop.md", "ts"): "test_shops_in_other_languages.py",
    ("docs/php-shop.md", "php"): "test_shops_in_other_languages.py",
    ("docs/php-shop.md", "xml"): "test_shops_in_other_languages.py",
    ("docs/pytest.md", "python"): "test_pytest_guide.py",
    ("docs/webhooks.md", "python"): "test_docs_site.py",
    ("docs/webhooks.md", "js"): "test_docs_site.py",
    ("docs/webhooks.md", "php"): "test_docs_site.py",
    ("docs/architecture.md", "text"): "test_architecture.py",
}
"""Blocks by page and language that another test runs."""


@pytest.fixture(scope="module")
def mock() -> Iterator[MockServer]:
    with MockServer() as server:
        yield server


@pytest.fixture
def account(mock: MockServer) -> Iterator[MockAccount]:
    with MockAccount(mock.url, KEY) as account:
        account.reset()
        yield account


@pytest.fixture
def shop_url(account: MockAccount) -> Iterator[str]:
    """A shop as the pages tell of one: `/orders`, `/shipments?session=`, `/reconcile`, `/webhooks/qashier`."""
    shop = ConfirmingShop(account)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            (session_id,) = parse_qs(urlsplit(self.path).query)["session"]
            self.answer(200, str(shop.fulfilled(session_id, 0)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path == "/webhooks/qashier":
                return self.answer(shop.hear(body, self.headers.get("x-qashier-sign")), "")
            shop.order() if self.path == "/orders" else shop.reconcile()
            return self.answer(200, "")

        def answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False  # a request under way ends before the account's connections are closed
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        shop.url = f"http://127.0.0.1:{server.server_port}"
        account.deliver_webhooks_to(f"{shop.url}/webhooks/qashier", secret=SECRET)
        yield shop.url
        server.shutdown()
        thread.join()


def is_run(page: str, block: Block) -> bool:
    """Whether some test runs a block, or holds it against what it shows."""
    if block.why is not None or (page, block.language) in ELSEWHERE:
        return True
    return block.language in {"console", "toml"} or (block.title is not None and block.language == "json")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_says_that_it_is_shown_only(page: str) -> None:
    assert [block.text for block in blocks(PAGES[page]) if not is_run(page, block)] == []


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if page != "README.md" and conversation(text)])
def test_the_commands_of_a_page_print_what_it_shows(page: str, tmp_path: Path, mock: MockServer, shop_url: str) -> None:
    addresses = {
        "http://127.0.0.1:4010": mock.url,
        "https://staging.example": mock.url,
        "http://127.0.0.1:3000": shop_url,
    }
    run(PAGES[page], tmp_path, mock.url, addresses=addresses)


@pytest.mark.parametrize(("page", "call"), [(page, call) for page, text in PAGES.items() for call in calls(text)])
def test_a_call_in_a_table_works(page: str, call: tuple[str, str, str | None], account: MockAccount) -> None:
    method, path, body = call
    session = account.create_session()["id"]
    if "/events/" in path:
        account.pay(session)
        path = path.replace("{id}", account.events[0]["id"])
    if path == "/_mock/v1/snapshot" and method == "PUT":
        body = json.dumps(account.snapshot())
    answer = account.call(method, path.replace("{id}", session), None if body is None else json.loads(body))
    assert isinstance(answer, dict)


TOML = [(page, block.text) for page, text in PAGES.items() for block in blocks(text) if block.language == "toml"]


@pytest.mark.parametrize(("page", "text"), TOML, ids=range(len(TOML)))
def test_a_configuration_is_understood(page: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "[tool.qashier-mock" in text:
        (tmp_path / "qashier-mock.toml").write_text(text, "utf-8")
        table = tomllib.loads(text)["tool"]["qashier-mock"]["serve"]
        monkeypatch.chdir(tmp_path)
        options = parse("serve", "", OPTIONS, [])
        assert {name: getattr(options, name.replace("-", "_")) for name in table} == table
    else:
        assert Policy.read(text) == Policy(), "these are the defaults"


def test_what_is_shown_only_says_why() -> None:
    reasons = [block.why for text in PAGES.values() for block in blocks(text) if block.why]
    assert all(len(why) > 10 for why in reasons)
    assert len(reasons) == sum(text.count("<!-- shown only:") for text in PAGES.values()), "one stands at no block"


def test_an_ellipsis_stands_for_anything_and_nothing_else_does() -> None:
    assert matches('{"id": …}', '{"id": 1,\n"b": 2}')
    assert not matches('{"id": 1}', '{"id": 2}')
    assert not re.search("…", "...")


def test_the_browser_test_that_is_shown_passes(tmp_path: Path) -> None:
    """With the `page` of our own harness, which is that of pytest-playwright but for the browser."""
    (block,) = (block for block in blocks(PAGES["docs/hosted-page.md"]) if block.language == "python")
    (tmp_path / str(block.title)).write_text(block.text, "utf-8")
    (tmp_path / "conftest.py").write_text(
        "import pytest\nfrom browser_harness import launched\n\n\n"
        "@pytest.fixture\ndef page():\n    with launched() as browser:\n        yield browser.new_page()\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT / "tests" / "support")}
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "qashier_mock.pytest_plugin"]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
