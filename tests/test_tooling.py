"""The targets exist, set themselves up and stop cleanly; what the documents tell people to type is what there is."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
import yaml
from packaging.requirements import Requirement

ROOT: Final = Path(__file__).resolve().parent.parent
MAKEFILE: Final = (ROOT / "Makefile").read_text()
TARGETS: Final = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
PATIENCE: Final = 30
"""Seconds within which a process has to do what it was told; a limit for failures, nothing waits for it to pass."""


@pytest.fixture(scope="module")
def set_up() -> ModuleType:
    """The script tools/set_up.py as a module."""
    spec = importlib.util.spec_from_file_location("set_up", ROOT / "tools" / "set_up.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_targets_in(text: str) -> set[str]:
    """The targets of every `make …` that a Markdown text tells somebody to type, in a code span or a block of code."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    commands = [line for line in lines + re.findall(r"`([^`\n]+)`", text) if re.match(r"([A-Z_]+=\S+ )*make ", line)]
    words = [re.sub(r'"[^"]*"|#.*', "", command).partition("make ")[2].split() for command in commands]
    return {word for command in words for word in command if re.fullmatch(r"[a-z]+", word)}


def test_the_tests_with_the_oldest_versions_are_there() -> None:
    passes = runpy.run_path(str(ROOT / "tools" / "lowest.py"))["PASSES"]
    assert [name for names in passes.values() for name in names if not (ROOT / "tests" / name).exists()] == []


def test_there_is_a_target_for_everything_that_is_done_here() -> None:
    assert {"help", "serve", "test", "lint", "types", "contract", "soak", "bench"} <= TARGETS


def test_no_target_is_mistaken_for_a_file() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == TARGETS


def test_help_lists_the_targets() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"serve", "test", "lint", "types", "contract", "soak", "bench"} <= {
        line.split()[0] for line in shown.splitlines() if not line.startswith("make")
    }


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_a_document_names_only_targets_that_exist(document: str) -> None:
    named = make_targets_in((ROOT / document).read_text())
    assert named
    assert named <= TARGETS


def test_the_readme_says_how_to_serve_and_how_to_test() -> None:
    assert {"serve", "test"} <= make_targets_in((ROOT / "README.md").read_text())


def test_what_is_called_a_target_is_found() -> None:
    text = """Run `make lint types` and `SIZE=2 make soak`; that will make sense.
```console
$ make serve ARGS="--port 1"  # and make more
```
"""
    assert make_targets_in(text) == {"lint", "types", "soak", "serve"}


def test_ci_runs_every_check() -> None:
    steps = re.findall(r"^(?:\w+=\w+ )?step (.*)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    targets = {word for step in steps for word in step.partition("ARGS=")[0].split() if not word.startswith("--")}
    assert targets == {"test", "lint", "types", "contract", "soak"}


def test_the_hooks_of_a_commit_run_tools_of_the_environment() -> None:
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in configuration["repos"] for hook in repository["hooks"]]
    assert {hook["id"] for hook in hooks} == {"format", "lint", "imports", "documents"}
    assert all(hook["entry"].startswith(".venv/bin/python -") for hook in hooks)


def test_versions_of_node_tools_are_exact() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    assert [
        version for version in package["devDependencies"].values() if not re.fullmatch(r"\d+\.\d+\.\d+", version)
    ] == []


def test_no_lock_file_records_the_address_of_a_registry() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    locks = {"package-lock.json", "yarn.lock", "pnpm-lock.yaml", "uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock"}
    assert [path for path in tracked if Path(path).name in locks] == []


@pytest.mark.parametrize("whom", ["make", "its process group"])
def test_serve_ends_with_make_on_sigterm(whom: str) -> None:
    """Whether the signal goes to make alone or to its whole group: the server stops, then make, and nothing is left."""
    venv = os.path.relpath(sys.prefix, ROOT)  # relative, as make cannot have blanks in a target's name
    # The tests' own environment counts as set up: nothing is installed in a test.
    command = ["make", f"VENV={venv}", "-o", f"{venv}/.set-up-serve", "serve", "ARGS=--port 0 --log-format json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    make = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with make:
        try:
            assert make.stdout is not None
            url = json.loads(make.stdout.readline())["url"]
            host, _, port = url.removeprefix("http://").partition(":")
            socket.create_connection((host, int(port)), PATIENCE).close()
            if whom == "make":
                make.send_signal(signal.SIGTERM)
            else:
                os.killpg(make.pid, signal.SIGTERM)
            make.wait(PATIENCE)
            # End of file: no process is left that holds the output. The server's socket went with it.
            assert make.stdout.read() == ""
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, int(port)), PATIENCE)
        finally:
            if make.poll() is None:
                os.killpg(make.pid, signal.SIGKILL)


def test_any_python_3_can_read_how_it_is_refused() -> None:
    source = (ROOT / "tools" / "set_up.py").read_text()
    ast.parse(source, feature_version=(3, 7))


def test_groups_of_dependencies_include_each_other(set_up: ModuleType) -> None:
    groups = {"test": ["pytest", {"include-group": "lint"}], "lint": ["ruff", "mypy"]}
    assert set_up.requirements_of("test", groups) == ["pytest", "ruff", "mypy"]


def test_the_set_up_reads_every_group_of_this_project(set_up: ModuleType) -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    found = [requirement for group in groups for requirement in set_up.requirements_of(group, groups)]
    assert {"pytest", "ruff", "hatchling"} <= {re.split(r"[^a-z-]", requirement)[0] for requirement in found}


@pytest.mark.parametrize(
    ("version", "answer"),
    [("v18.20.4", False), ("v20.18.9", False), ("v20.19.0", True), ("v24.1.0", True), ("?", False)],
)
def test_an_old_node_counts_as_none(set_up: ModuleType, tmp_path: Path, version: str, *, answer: bool) -> None:
    for name in ("node", "npm"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    assert set_up.node_is_new_enough(str(tmp_path)) is answer


def test_node_without_npm_counts_as_none(set_up: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "node").write_text("#!/bin/sh\necho v24.0.0\n")
    (tmp_path / "node").chmod(0o755)
    assert set_up.node_is_new_enough(str(tmp_path)) is False


def test_a_part_made_from_something_else_is_made_again(set_up: ModuleType, tmp_path: Path) -> None:
    stamp = tmp_path / "stamp"
    digest = set_up.digest_of(["pytest>=9"])
    assert not set_up.stamp_fits(stamp, digest)
    stamp.write_text(digest)
    assert set_up.stamp_fits(stamp, digest)
    assert not set_up.stamp_fits(stamp, set_up.digest_of(["pytest>=10"]))


def test_an_environment_is_made_again_when_packages_move_and_not_for_the_linters_settings(set_up: ModuleType) -> None:
    def digest(change: tuple[str, str] | None = None) -> str:
        text = (ROOT / "pyproject.toml").read_text("utf-8")
        if change is not None:
            assert change[0] in text
            text = text.replace(*change)
        return str(set_up.digest_of(set_up.environment_of(Path("venv"), tomllib.loads(text))))

    assert digest() == digest(("line-length = 120", "line-length = 100"))
    moved = '"contract_tests/qashier_contract"]', '"elsewhere/qashier_contract"]'
    for change in (moved, ("hatchling>=1.27", "hatchling>=1.28"), ("httpretty>=1.1", "httpretty>=1.2")):
        assert digest() != digest(change), change


def test_a_part_that_still_fits_is_touched_for_make(set_up: ModuleType, tmp_path: Path) -> None:
    stamp = tmp_path / "stamp"
    stamp.write_text(set_up.digest_of("same"))
    os.utime(stamp, (1, 1))
    assert set_up.stamp_fits(stamp, set_up.digest_of("same"))
    assert stamp.stat().st_mtime > 1


def test_a_browser_that_cannot_be_run_is_named_in_the_refusal() -> None:
    run = subprocess.run(
        [sys.executable, "tools/set_up.py", "browser"],
        cwd=ROOT,
        env={**os.environ, "QASHIER_TEST_BROWSER": "no-such-browser"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "no-such-browser" in run.stderr


@pytest.mark.parametrize(
    ("version", "answer"), [("javac 11.0.2", False), ("javac 1.8.0_392", False), ("javac 17.0.15", True), ("?", False)]
)
def test_an_old_java_counts_as_none(
    set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, *, answer: bool
) -> None:
    for name in ("java", "javac"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert set_up.has_java(tmp_path) is answer


def test_what_the_tests_run_is_named_where_it_cannot_be_installed(
    set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("QASHIER_TEST_GUZZLE", str(tmp_path / "nothing"))
    monkeypatch.setattr(set_up, "may_use_apt", lambda: True)  # and it brought nothing
    for program in set_up.PROGRAMS:
        assert not program.is_there(tmp_path)
        with pytest.raises(SystemExit, match=program.what) as refused:
            program.need(tmp_path)
        assert program.otherwise in str(refused.value)


def test_debian_packages_come_at_once_while_the_rest_is_made(
    set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apt-get").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(set_up, "may_use_apt", lambda: True)
    with set_up.debian_packages(["php-cli", "chromium", "php-cli"]):
        (tmp_path / "made").touch()
    update, install = (tmp_path / "asked").read_text().splitlines()
    assert update.startswith("update")
    assert install.endswith(" php-cli chromium")


def folders_for_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, npm: str) -> list[Path]:
    """Two folders with a `package.json`, and as npm a script, in whose folder `npm` is run."""
    for name, script in (("node", "echo v24.0.0"), ("npm", f'[ "$1" = install ] || exit 2\n{npm}')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    folders = [tmp_path / "tools", tmp_path / "shop"]
    for folder in folders:
        folder.mkdir()
        (folder / "package.json").write_text(json.dumps({"name": folder.name}))
    return folders


def test_packages_of_node_come_at_once_while_the_rest_is_made(
    set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = folders_for_npm(tmp_path, monkeypatch, "read -r go <go && mkdir node_modules && echo $go >>asked")
    for folder in folders:
        os.mkfifo(folder / "go")
    with set_up.node_packages(tmp_path, folders):
        for folder in folders:
            (folder / "go").write_text("made\n")  # which waits until npm reads it
    with set_up.node_packages(tmp_path, folders):
        pass
    assert [(folder / "asked").read_text() for folder in folders] == ["made\n", "made\n"]


def test_npm_that_fails_ends_the_set_up_without_a_stamp(
    set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = folders_for_npm(tmp_path, monkeypatch, "mkdir node_modules; exit 3")
    with pytest.raises(SystemExit, match="failed with exit code 3"):  # noqa: SIM117
        with set_up.node_packages(tmp_path, folders[:1]):
            pass
    assert not (folders[0] / "node_modules" / ".set-up").exists()


def test_node_comes_into_the_environment_where_the_machine_has_none(
    set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = folders_for_npm(tmp_path, monkeypatch, "PATH=/usr/bin:/bin; mkdir node_modules")
    programs = tmp_path / "venv" / "bin"
    programs.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))

    def pip_install(venv: Path, wheel: str) -> None:
        assert (venv, wheel) == (tmp_path / "venv", set_up.NODE_WHEEL)
        for name in ("node", "npm"):
            (tmp_path / name).rename(programs / name)

    monkeypatch.setattr(set_up, "pip_install", pip_install)
    with set_up.node_packages(tmp_path / "venv", folders):
        assert not any(programs.iterdir())
    assert all((folder / "node_modules" / ".set-up").exists() for folder in folders)


def test_an_end_takes_the_installer_along(set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "busy")
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\nread -r _ <{tmp_path}/busy\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(set_up, "may_use_apt", lambda: True)
    with pytest.raises(SystemExit), set_up.debian_packages(["chromium"]):
        raise SystemExit(143)


FIXED: Final = {
    "anyio": (4, 14, 2),  # GHSA-82r6-8w77-94w6
    "certifi": (2024, 7, 4),  # GHSA-248v-346w-9cwc
    "h11": (0, 16),  # GHSA-vqfr-h8mv-ghfj
    "httptools": (0, 6, 3),  # CVE-2024-27982, of the parser that it brings
    "jinja2": (3, 1, 6),  # GHSA-cpwx-vrp4-4pq7
    "orjson": (3, 11, 6),  # GHSA-hx9q-6w63-j58v
    "python-multipart": (0, 0, 31),  # GHSA-v9pg-7xvm-68hf
}
"""Of each dependency that advisories name, the first version that none of them does, and the last of them.

Starlette is left out: `HOLES` holds what is promised of it instead.
"""
HOLES: Final = {
    "request.url.": "taken from any Host (fixed in 1.0.1)",
    ".form(": "limits that do not hold (fixed in 1.3.1)",
    "StaticFiles": "shares of other machines on Windows (fixed in 1.1)",
    "FileResponse": "ranges that take long (fixed in 0.49.1)",
    "HTTPEndpoint": "methods that are no HTTP methods (fixed in 1.1)",
}
"""What of Starlette published advisories name, and what is wrong with it in some versions."""


@pytest.mark.parametrize("name", FIXED)
def test_no_version_of_a_dependency_is_accepted_that_an_advisory_names(name: str) -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (found,) = (re.match(rf"{name}>=([\d.]+)", each) for each in dependencies if re.match(rf"{name}\b(?!-)", each))
    assert found is not None, "it has no lower bound"
    assert tuple(map(int, found[1].split("."))) >= FIXED[name]


def test_every_dependency_says_what_it_is_for() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert [line for line in listed.splitlines() if not re.search(r'",\s+# \w+', line)] == []


@pytest.mark.parametrize("version", ["0.37.2", "0.41.3", "1.0.1"])
def test_starlette_may_be_the_one_that_a_fastapi_of_last_year_wants(version: str) -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (starlette,) = (Requirement(each) for each in dependencies if each.startswith("starlette"))
    assert starlette.specifier.contains(version)


@pytest.mark.parametrize("part", HOLES)
def test_no_part_of_starlette_is_used_that_an_advisory_names(part: str) -> None:
    used = [
        path.name
        for path in (ROOT / "qashier_mock").rglob("*.py")
        if "starlette" in path.read_text("utf-8") and part in path.read_text("utf-8")
    ]
    assert used == [], HOLES[part]
