"""The shops on Node.js and in PHP: their own tests pass, and `qashier-mock drill` finds nothing wrong with them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from qashier_mock import MockServer

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"
MOCK: Final = f"{sys.executable} -m qashier_mock"
# Node.js may be the one that the set-up put beside this Python.
PATH: Final = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


@dataclass(frozen=True)
class Shop:
    """How a shop is tested and started.

    Attributes:
        folder: Where it is, below `examples`.
        test: Runs its own tests.
        start: Starts it on a free port.
        ready: Finds its address in what it prints once it is ready.
        pauses: What makes it try again at once.
    """

    folder: str
    test: Sequence[str]
    start: Sequence[str]
    ready: str
    pauses: Mapping[str, str]


NODE = Shop(
    folder="node-shop",
    test=("npm", "test"),
    start=("node", "--import", "tsx", "src/main.ts"),
    ready=r"open on (http://\S+)",
    pauses={"PORT": "0"},
)
PHP = Shop(
    folder="php-shop",
    test=("phpunit",),
    start=("php", "-S", "127.0.0.1:0", "public/index.php"),
    ready=r"\((http://127\.0\.0\.1:\d+)\) started",
    pauses={"SHOP_PAUSES": "0.001,0.001", "PHP_CLI_SERVER_WORKERS": "3"},
)


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": PATH, "QASHIER_MOCK": MOCK, **more}


@contextmanager
def open_shop(shop: Shop, mock: MockServer, key: str, folder: Path) -> Iterator[str]:
    """The shop, using an account of the mock; its address."""
    orders = {"SHOP_ORDERS": str(folder / "orders.json"), "SHOP_DATABASE": str(folder / "shop.sqlite3")}
    with subprocess.Popen(
        shop.start,
        cwd=EXAMPLES / shop.folder,
        env=environment(QASHIER_URL=mock.url, QASHIER_API_KEY=key, **orders, **shop.pauses),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = ""
        try:
            for line in process.stdout:
                printed += line
                if found := re.search(shop.ready, line):
                    yield found[1]
                    return
            pytest.fail(f"the shop ended before it was ready: {printed}")
        finally:
            process.terminate()


def fetch(code: str) -> str:
    """A shell command that prints what a URL answers, on a machine without curl too."""
    return shlex.join([sys.executable, "-c", f"import urllib.request as u; {code}"])


@pytest.mark.parametrize("shop", [NODE, PHP], ids=lambda shop: shop.folder)
def test_the_tests_of_the_shop_pass(shop: Shop) -> None:
    run = subprocess.run(
        shop.test, cwd=EXAMPLES / shop.folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("shop", [NODE, PHP], ids=lambda shop: shop.folder)
def test_the_shop_passes_every_drill(shop: Shop, tmp_path: Path) -> None:
    key = f"sk_test_{shop.folder}"
    with MockServer() as mock, open_shop(shop, mock, key, tmp_path) as url:
        # The redirect to the hosted page is followed: opening the page changes nothing.
        order = fetch(f"u.urlopen('{url}/orders', b'item=House+blend')")
        shipments = fetch(f"print(u.urlopen('{url}/shipments?session=' + __import__('sys').argv[1]).read().decode())")
        options = ["--order", order, "--fulfilled", f"{shipments} {{session_id}}", "--patience", "20"]
        options += ["--reconcile", fetch(f"u.urlopen('{url}/reconcile', b'')"), "--url", mock.url]
        report = tmp_path / "drill.json"
        options += ["--webhook-url", f"{url}/webhooks/qashier", "--report", f"json={report}"]
        run = subprocess.run(
            [sys.executable, "-m", "qashier_mock", "drill", *options],
            env=environment(QASHIER_API_KEY=key, QASHIER_WEBHOOK_SECRET="whsec_example"),
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stdout + run.stderr
    drills = json.loads(report.read_text())["drills"]
    assert [drill["name"] for drill in drills if drill["verdict"] == "skipped"] == ["restart"]


@pytest.mark.parametrize("shop", [NODE, PHP], ids=lambda shop: shop.folder)
def test_every_file_of_the_shop_is_in_its_readme(shop: Shop) -> None:
    folder = EXAMPLES / shop.folder
    readme = (folder / "README.md").read_text()
    files = {
        str(path.relative_to(folder))
        for kind in ("src", "public", "test", "tests")
        for path in folder.glob(f"{kind}/*")
    }
    assert files
    assert {name for name in files if f"`{name}`" not in readme} == set()


@pytest.mark.parametrize("shop", [NODE, PHP], ids=lambda shop: shop.folder)
def test_every_file_of_the_shop_is_on_its_page(shop: Shop) -> None:
    """Who reads the documentation alone can copy the whole shop from there."""
    listed = subprocess.run(
        ["git", "ls-files", f"examples/{shop.folder}"], cwd=EXAMPLES.parent, capture_output=True, text=True, check=True
    )
    files = {name for name in listed.stdout.split() if not re.search(r"/(README.md|\.\w+)$", name)}
    page = (EXAMPLES.parent / "docs" / f"{shop.folder}.md").read_text()
    assert files
    assert {name for name in files if f'--8<-- "{name}"' not in page} == set()
