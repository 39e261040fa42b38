"""The example shop's own tests pass, in a test run of their own as its owners would start it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from qashier_mock.testing import QashierMockServer

SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"


@pytest.mark.parametrize(("files", "count"), [(["test_paying.py", "test_webhooks.py"], 27), (["test_browser.py"], 10)])
def test_the_tests_of_the_shop_pass(files: list[str], count: int) -> None:
    # Only the plugin that the shop needs: importing everything that is installed here would take longer than the tests.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "qashier_mock.pytest_plugin"]
    run = subprocess.run(
        [sys.executable, *arguments, *files], cwd=SHOP, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(rf"^{count} passed", run.stdout, re.MULTILINE), run.stdout


def test_every_file_of_the_shop_is_in_its_readme() -> None:
    readme = (SHOP / "README.md").read_text()
    files = {path.name for path in (*SHOP.glob("*.py"), *SHOP.glob("shop/*.py"))} - {"__init__.py", "__main__.py"}
    assert {name for name in files if f"{name}`" not in readme} == set()


def test_the_shop_runs_as_its_readme_says(tmp_path: Path) -> None:
    with QashierMockServer() as mock:
        account = mock.account()
        environment = {
            **os.environ,
            "QASHIER_URL": mock.base_url,
            "QASHIER_API_KEY": account.api_key,
            "SHOP_DATABASE": str(tmp_path / "shop.sqlite3"),
            "PORT": "0",
        }
        with subprocess.Popen(
            [sys.executable, "-m", "shop"], cwd=SHOP, env=environment, stdout=subprocess.PIPE, text=True
        ) as shop:
            try:
                assert shop.stdout is not None
                url = shop.stdout.readline().rpartition(" ")[2].strip()
                account.deliver_webhooks_to(f"{url}/webhooks/qashier", secret="whsec_example")
                order = {"item": "House blend", "quantity": "3"}
                answer = requests.post(f"{url}/orders", data=order, allow_redirects=False, timeout=30)
                account.pay(answer.headers["Location"].rpartition("/")[2])
                account.flush()
                assert "paid" in requests.get(f"{url}/orders/1", timeout=30).text
            finally:
                shop.terminate()
        account.close()
