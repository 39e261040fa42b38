"""The snippets of the documentation: found in its pages, and run as a reader would type them.

A `console` block is a conversation: `$ ` begins a command, `> ` continues it, the rest is what it prints. `…` stands
for anything. A block with a title is a file of that name. A comment `<!-- shown only: why -->` before a block says that
no test runs it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
"""Every page by its name."""
PATIENCE_S: Final = 120
_FENCE: Final = re.compile(
    r'(?:^ *<!-- shown only: (?P<why>[^>]+) -->\n)?^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n'
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: Behind the fence.
        text: What is in it, without indentation.
        title: The file that it is, if it is one.
        why: Why it is shown only, if it is.
    """

    language: str
    text: str
    title: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class Command:
    """One command of a console block and the output printed below it."""

    line: str
    output: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    found = []
    for each in _FENCE.finditer(page):
        text = "".join(line.removeprefix(each["indent"]) for line in each["text"].splitlines(keepends=True))
        found.append(Block(each["language"], text, each["title"], each["why"]))
    return found


def conversation(page: str) -> list[Command]:
    """The commands of a page that are run."""
    commands = []
    for block in blocks(page):
        if block.language != "console" or block.why is not None:
            continue
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            length = 1
            while length < len(lines) and lines[length].startswith("> "):
                length += 1
            line = "\n".join([lines[0], *(each[2:] for each in lines[1:length])])
            commands.append(Command(line, "\n".join(lines[length:]).strip()))
    return commands


def plain(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"\b(cs_test|we|evt|dlv|flt)_[0-9a-f]{24}\b", r"\1_ID", text)
    text = re.sub(r"\breq_[0-9a-f]+\b", "req_ID", text)
    text = re.sub(r'"(created|expires_at|now)":\s?\d+', r'"\1":TIME', text)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text).strip()


def matches(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed."""
    pattern = ".*".join(re.escape(part) for part in plain(shown).split("…"))
    return re.fullmatch(pattern, plain(printed), re.DOTALL) is not None


def run(page: str, folder: Path, url: str, *, addresses: Mapping[str, str]) -> None:
    """Run a page's commands, one after the other in one shell, and hold what each prints against the page.

    Args:
        page: Its text.
        folder: Where the commands run. Files that the page shows are written there.
        url: A running mock.
        addresses: What a page calls an address, and where it really is.
    """
    commands = conversation(page)
    for block in blocks(page):
        if block.title is not None:
            (folder / block.title).write_text(_translated(block.text, addresses), "utf-8")
    script = ["set -e", "set -o pipefail"]
    for number, command in enumerate(commands):
        script.append(f"{{ {_translated(command.line, addresses)}\n}} > {folder / f'{number}.out'}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QASHIER")}
    environment["PATH"] = f"{programs(folder, url)}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for number, command in enumerate(commands):
        printed = (folder / f"{number}.out").read_text("utf-8")
        assert matches(_translated(command.output, addresses), printed), f"{command.line}\nprints\n{printed}"


def _translated(text: str, addresses: Mapping[str, str]) -> str:
    for shown, real in addresses.items():
        text = text.replace(shown, real)
    return text


def programs(folder: Path, url: str) -> Path:
    """A folder with `qashier-mock` as an installation has it, but for what a test cannot wait for."""
    place = folder / "bin"
    place.mkdir()
    program = place / "qashier-mock"
    # Without the environment's packages, which it has no need of: it is started for each command.
    program.write_text(f"#!{sys.executable} -S\n{_PROGRAM.replace('URL', repr(url))}")
    program.chmod(0o755)
    return place


_PROGRAM: Final = """
import os, sys

name, *given = sys.argv[1:]
if name in {"pay", "fail", "cancel", "events", "resend", "advance", "trigger", "listen", "drill"}:
    given += ["--url", URL]  # of this test's mock
if name in {"serve", "watch"}:
    given += ["--port", "0"]
if name == "check" and "--plan" not in given:
    given += ["--only", "AUTH-1", "--max-time", "10s"]  # one clause tells whether the command works
if name == "drill":
    given += ["--only", "in-order"]
command = [sys.executable, "-m", "qashier_mock", name, *given]
if name not in {"serve", "watch", "listen"}:
    os.execv(sys.executable, command)
import subprocess
with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
    line = process.stdout.readline()
    print(line, end="")  # it would run until Ctrl-C
    process.terminate()
raise SystemExit(0 if " on http" in line else 1)
"""


def calls(page: str) -> list[tuple[str, str, str | None]]:
    """Method, path and body of each call in the tables of a page."""
    cells: Sequence[str] = [line for line in page.splitlines() if line.startswith("|")]
    found = []
    for line in cells:
        for method, path, body in re.findall(r"`(GET|POST|PUT|DELETE) (/_mock/v1/[^ `]+)`(?: `(\{[^`…]*\})`)?", line):
            found.append((method, path, body or None))
    return found
