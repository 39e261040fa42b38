"""The documentation: it builds without a dead link, loads nothing from elsewhere, and its signature snippets run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from qashier_mock.cli import COMMANDS, DONE, main
from qashier_mock.client import FaultRule
from qashier_mock.core.signing import sign
from qashier_mock.drill import DRILLS
from qashier_mock.receiver import ReceivedWebhook, WebhookReceiver
from qashier_mock.testing import QashierMock, QashierMockServer, WebhookDisorder

ROOT: Final = Path(__file__).resolve().parent.parent
BODY: Final = b'{"name": "caf\\u00e9"}'
SECRET: Final = "whsec_docs"
FIXTURES: Final = (QashierMock, QashierMockServer, FaultRule, WebhookReceiver, ReceivedWebhook, WebhookDisorder)
PATH: Final = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def test_it_builds_without_a_dead_link_and_loads_nothing_from_another_host(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    loaded = (
        r'<(?:script|img|iframe)[^>]*\bsrc="https?://|<link[^>]*rel="?(?:stylesheet|preload|icon)[^>]*href="https?://'
    )
    pages = {file: file.read_text("utf-8") for file in (tmp_path / "site").rglob("*.html")}
    assert pages
    assert {file.parent.name: re.findall(loaded, text) for file, text in pages.items() if re.search(loaded, text)} == {}
    reference = (tmp_path / "site" / "pytest-reference" / "index.html").read_text("utf-8")
    offered = {name for kind in FIXTURES for name in dir(kind) if not name.startswith("_") and name != "include"}
    listed = set(re.findall(r'(?:id|title)="qashier_mock[\w.]*\.(\w+)"', reference))
    assert offered - listed == set()


INCLUDED: Final = [
    (path.name, name)
    for path in (ROOT / "docs").glob("*.md")
    for name in re.findall(r'^--8<-- "([^"]+)"$', path.read_text("utf-8"), re.MULTILINE)
]
"""Files that the site shows in a page, by the page."""


@pytest.mark.parametrize(("name", "file"), INCLUDED, ids=[file for _, file in INCLUDED])
def test_who_reads_a_page_in_the_repository_is_led_to_the_files_that_only_the_site_shows(name: str, file: str) -> None:
    assert f"](../{file})\n\n```" in page(name)


def test_every_file_that_a_page_leads_to_is_there() -> None:
    links = [
        link for path in (ROOT / "docs").glob("*.md") for link in re.findall(r"\]\(\.\./([^)]+)\)", page(path.name))
    ]
    assert len(links) >= len(INCLUDED) > 0
    assert [link for link in links if not (ROOT / link).is_file()] == []


PEERS: Final = ("stripe-mock", "localstripe", "PaperTiger", "emulate", "Prism", "WireMock", "Schemathesis", "moto")


def test_every_row_about_another_tool_says_how_it_is_known() -> None:
    rows = [line for line in page("comparison.md").splitlines() if line.startswith("| ") and "how we know" not in line]
    assert [row for row in rows if not re.search(r"\| (documentation[^|]*|our tests[^|]*) \|$", row)] == []
    assert [name for name in PEERS if sum(name in row for row in rows) == 0] == []
    assert [name for name in PEERS if f"- **{name}**" not in page("comparison.md")] == []


def test_every_command_is_named_somewhere() -> None:
    texts = "".join(path.read_text("utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    assert [name for name in COMMANDS if not re.search(rf"\b{name}\b", texts)] == []


COMMAND_LINES: Final = sorted(
    {
        (path.name, line)
        for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for line in re.findall(
            r"^ *(?:\$ |docker run .* )?qashier-mock ([a-z]+ .*)$",
            re.sub(r" \\\n>?", " ", path.read_text("utf-8")),
            re.MULTILINE,
        )
        if line.split()[0] in COMMANDS
    }
)
"""Each line of a page that runs a command, without the name of the program."""


@pytest.mark.parametrize(("where", "line"), COMMAND_LINES, ids=[line for _, line in COMMAND_LINES])
def test_a_command_of_the_documentation_has_the_options_that_it_is_shown_with(
    where: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *arguments = shlex.split(re.split(r" \$\(| \| | \|\| ", line)[0], comments=True)
    assert main([command, "--help"]) == DONE
    understood = set(re.findall(r"--?[a-z][a-z-]*", capsys.readouterr().out))
    shown = {each.partition("=")[0] for each in arguments if each.startswith("-")}
    assert shown <= understood, f"{where} shows what {command} does not have"


def test_no_page_needs_a_new_curl() -> None:
    """`--json` came with curl 7.82; Debian 11 and Ubuntu 22.04 have older ones."""
    shown = (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/README.md"))
    assert [path.name for path in shown if "--json " in path.read_text("utf-8")] == []


def test_every_drill_is_in_the_table() -> None:
    assert re.findall(r"^\| `([a-z-]+)` \|", page("drill.md").split("| drill |")[1], re.MULTILINE) == list(DRILLS)


def snippet(language: str) -> str:
    found = re.search(rf"    ```{language}\n(.*?)    ```", page("webhooks.md"), re.DOTALL)
    assert found is not None
    return "\n".join(line.removeprefix("    ") for line in found[1].splitlines())


def program(language: str, body: bytes, signature: str) -> list[str]:
    """What prints whether the snippet takes a signature."""
    code, hexed = snippet(language), body.hex()
    if language == "python":
        call = f"print(is_signed(bytes.fromhex({hexed!r}), {signature!r}, {SECRET!r}))"
        return [sys.executable, "-c", f"{code}\n{call}"]
    if language == "js":
        call = f"console.log(isSigned(Buffer.from('{hexed}', 'hex'), '{signature}', '{SECRET}'));"
        return ["node", "--input-type=module", "-e", f"{code}\n{call}"]
    call = f"echo isSigned(hex2bin('{hexed}'), '{signature}', '{SECRET}') ? 'true' : 'false';"
    return ["php", "-r", f"{code}\n{call}"]


@pytest.mark.parametrize("language", ["python", "js", "php"])
def test_the_snippet_takes_the_signature_of_the_raw_body_and_no_other(language: str) -> None:
    right = sign(BODY, SECRET)
    cases = [(BODY, right), (BODY, sign(BODY, "another")), (BODY, ""), (BODY.replace(b" ", b""), right)]
    said = []
    for body, signature in cases:
        command = program(language, body, signature)
        found = shutil.which(command[0], path=PATH)
        assert found is not None, f"there is no {command[0]}: run `make test`, which sets it up"
        run = subprocess.run([found, *command[1:]], capture_output=True, text=True, check=True)
        said.append(run.stdout.strip().lower())
    assert said == ["true", "false", "false", "false"]
