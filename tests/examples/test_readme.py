"""Every command of the README is run, and what it prints is what the README says, but for ids, times and ports."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from documentation import PAGES, ROOT, blocks, matches, run

from qashier_mock import MockServer

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


def test_the_commands_of_make_are_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {word for block in shown("sh") for word in re.findall(r"^make ([a-z]+)", block, re.MULTILINE)}
    assert {"serve", "test"} <= named <= targets


def test_every_file_that_is_linked_is_there() -> None:
    links = re.findall(r"\]\(([^):]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []


def test_it_leads_to_every_page_but_those_that_another_page_leads_to() -> None:
    linked = set(re.findall(r"\((docs/[a-z-]+\.md)", README))
    assert PAGES.keys() - linked - {"README.md"} == {
        *("docs/index.md", "docs/node-shop.md", "docs/php-shop.md", "docs/pytest-reference.md"),
    }


def test_it_is_one_screen_and_no_line_is_long() -> None:
    lines = README.splitlines()
    assert len(lines) <= 90
    assert [line for line in lines if len(line) > 180] == []
