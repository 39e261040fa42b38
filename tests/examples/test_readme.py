"""Every command of the README is run, and what it prints is what the README says, but for ids, times and ports."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from documentation import PAGES, ROOT, blocks, matches, run

from qashier_mock import MockServer
from qashier_mock.cli.options import parse
from qashier_mock.cli.serve import OPTIONS

README = PAGES["README.md"]


def shown(language: str) -> list[str]:
    return [block.text for block in blocks(README) if block.language == language]


@pytest.fixture(scope="module")
def receiver() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(ROOT / "examples" / "receive.py"), "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        yield process
        process.terminate()


def test_the_conversation_goes_as_printed(tmp_path: Path, receiver: subprocess.Popen[str]) -> None:
    assert receiver.stdout is not None
    waiting = receiver.stdout.readline()
    received_port = re.search(r":(\d+)$", waiting.strip())
    assert received_port is not None
    with MockServer() as mock:
        addresses = {"http://127.0.0.1:4010": mock.url, ":8787": ":" + received_port[1]}
        run(README, tmp_path, mock.url, addresses=addresses)
    printed = next(block for block in shown("text") if "waiting for webhooks" in block)
    assert matches(printed, waiting + receiver.stdout.readline())


def test_the_tests_shown_pass_beside_the_shop(tmp_path: Path) -> None:
    shop = shutil.copytree(ROOT / "examples" / "shop", tmp_path / "shop", ignore=shutil.ignore_patterns("test_*"))
    (shop / "test_readme.py").write_text(shown("python")[0], "utf-8")
    # Only the plugin that the shop needs: importing everything that is installed here would take longer than the tests.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "qashier_mock.pytest_plugin", "test_readme.py"]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=shop, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^9 passed", done.stdout, re.MULTILINE), done.stdout


def test_the_commands_of_make_are_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {word for block in shown("sh") for word in re.findall(r"^make ([a-z]+)", block, re.MULTILINE)}
    assert {"serve", "test"} <= named <= targets


def test_the_configuration_shown_is_understood(tmp_path: Path) -> None:
    (tmp_path / "qashier-mock.toml").write_text(shown("toml")[0], "utf-8")
    options = parse("serve", "", OPTIONS, [], environ={}, folder=tmp_path)
    assert options.port == 4011
    assert options.webhook_url == ["http://127.0.0.1:8000/webhooks/qashier"]


def test_every_file_that_is_linked_is_there() -> None:
    links = re.findall(r"\]\(([^):]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
