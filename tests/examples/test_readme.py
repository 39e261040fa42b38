"""Every command of the README is run, and what it prints is what the README says, but for ids, times and ports."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from qashier_mock import MockServer

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


@dataclass(frozen=True)
class Command:
    """One command of a console block and the output printed below it."""

    line: str
    output: str


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def conversation() -> list[Command]:
    commands = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            length = 1
            while length < len(lines) and lines[length].startswith("> "):
                length += 1
            line = "\n".join([lines[0], *(each[2:] for each in lines[1:length])])
            commands.append(Command(line, "\n".join(lines[length:]).strip()))
    return commands


def plain(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"\b(cs_test|we|evt|dlv)_[0-9a-f]{24}\b", r"\1_ID", text)
    text = re.sub(r'"(created|expires_at|now)":\s?\d+', r'"\1":TIME', text)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text).strip()


@pytest.fixture(scope="module")
def receiver() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(ROOT / "examples" / "receive.py"), "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        yield process
        process.terminate()


def test_the_conversation_goes_as_printed(
    tmp_path: Path, receiver: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert receiver.stdout is not None
    waiting = receiver.stdout.readline()
    received_port = re.search(r":(\d+)$", waiting.strip())
    assert received_port is not None
    commands = conversation()
    with MockServer() as mock:
        ports = {":4010": ":" + mock.url.rsplit(":", 1)[1], ":8787": ":" + received_port[1]}
        monkeypatch.setenv("PATH", f"{_commands(tmp_path, mock.url)}:{os.environ['PATH']}")
        script = ["set -e", "set -o pipefail"]
        for number, command in enumerate(commands):
            line = command.line
            for printed, real in ports.items():
                line = line.replace(printed, real)
            script.append(f"{{ {line}\n}} > {number}.out")
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
    for number, command in enumerate(commands):
        assert plain((tmp_path / f"{number}.out").read_text("utf-8")) == plain(command.output), command.line
    printed = next(block for block in blocks("text") if "waiting for webhooks" in block)
    assert plain(waiting + receiver.stdout.readline()) == plain(printed)


def _commands(folder: Path, url: str) -> Path:
    """A folder with `qashier-mock`, as an installation has it, pointed at this test's server."""
    place = folder / "bin"
    place.mkdir()
    program = place / "qashier-mock"
    program.write_text(
        "#!/bin/sh\n"
        f'case "$1" in advance|trigger) set -- "$@" --url {url};; esac\n'
        f'exec "{sys.executable}" -m qashier_mock "$@"\n'
    )
    program.chmod(0o755)
    return place


def test_the_tests_shown_pass_beside_the_shop(tmp_path: Path) -> None:
    shop = shutil.copytree(ROOT / "examples" / "shop", tmp_path / "shop", ignore=shutil.ignore_patterns("test_*"))
    (shop / "test_readme.py").write_text(blocks("python")[0], "utf-8")
    # Only the plugin that the shop needs: importing everything that is installed here would take longer than the tests.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "qashier_mock.pytest_plugin", "test_readme.py"]
    run = subprocess.run(
        [sys.executable, *arguments], cwd=shop, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^9 passed", run.stdout, re.MULTILINE), run.stdout


def test_the_commands_of_make_are_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {word for block in blocks("sh") for word in re.findall(r"^make ([a-z]+)", block, re.MULTILINE)}
    assert {"serve", "test"} <= named <= targets


def test_the_configuration_shown_is_understood(tmp_path: Path) -> None:
    (tmp_path / "qashier-mock.toml").write_text(blocks("toml")[0], "utf-8")
    from qashier_mock.cli.options import parse
    from qashier_mock.cli.serve import OPTIONS

    options = parse("serve", "", OPTIONS, [], environ={}, folder=tmp_path)
    assert options.port == 4011
    assert options.webhook_url == ["http://127.0.0.1:8000/webhooks/qashier"]


def test_every_file_that_is_linked_is_there() -> None:
    links = re.findall(r"\]\(([^):]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
