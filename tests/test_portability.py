"""Windows and macOS by construction: what only POSIX has is taken away here, because neither can be run."""

from __future__ import annotations

import ast
import asyncio
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn

import pytest
import yaml

from qashier_mock.server import new_event_loop
from qashier_mock.stores.memory import MemoryStore
from qashier_mock.stores.postgres import PostgresStore

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = [
    path for folder in ("qashier_mock", "contract_tests", "tools") for path in sorted((ROOT / folder).rglob("*.py"))
]
POSIX_MODULES: Final = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty", "uvloop"}
WORKERS: Final = ROOT / "qashier_mock" / "workers.py"
"""The one module that needs a system which can fork; `serve --workers` says so elsewhere."""
POSIX_NAMES: Final = {"AF_UNIX", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "fork", "pthread_sigmask", "waitpid"}

WINDOWS: Final = """
import asyncio, importlib.abc, os, signal, sys

class NotThere(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in {modules!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotThere())
for name in {modules!r}:
    sys.modules.pop(name, None)
missing = ((os, "fork"), (os, "geteuid"), (signal, "SIGKILL"), (signal, "SIGHUP"), (signal, "pthread_sigmask"))
for owner, name in missing:
    delattr(owner, name)

def refuse(*_):
    raise NotImplementedError

asyncio.SelectorEventLoop.add_signal_handler = refuse
from qashier_mock.cli import main
sys.exit(main({arguments!r}))
"""
"""A program that runs a command where what Windows lacks is gone."""


def as_on_windows(*arguments: str) -> list[str]:
    return [sys.executable, "-c", WINDOWS.format(modules=POSIX_MODULES - {"posix"}, arguments=list(arguments))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_works_and_stops_cleanly_without_what_only_posix_has(number: signal.Signals) -> None:
    command = as_on_windows("serve", "--port", "0", "--quiet")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("qashier-mock ready on http://127.0.0.1:")
            process.send_signal(number)
            assert process.wait(20) == 0
            assert process.communicate() == ("", "")
        finally:
            process.kill()


def test_workers_are_refused_in_words_where_nothing_can_fork() -> None:
    command = as_on_windows("serve", "--port", "0", "--workers", "2", "--store", "postgresql://nobody@127.0.0.1:1/x")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("qashier-mock: serve: --workers needs a system that can fork")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["clauses", "spec"])
def test_commands_work_without_what_only_posix_has(command: str) -> None:
    done = subprocess.run(as_on_windows(command), capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", [ROOT / "tools/set_up.py", ROOT / "contract_tests/qashier_contract/conftest.py"])
def test_a_file_is_locked_with_what_windows_has(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    attempts: list[int] = []

    class Msvcrt(ModuleType):
        LK_LOCK = 1

        @staticmethod
        def locking(_descriptor: int, mode: int, _size: int) -> None:
            attempts.append(mode)
            if len(attempts) == 1:
                raise OSError(36, "Resource deadlock avoided")

    monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt("msvcrt"))
    monkeypatch.setattr(sys, "platform", "win32")
    [function] = [
        node
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.strip("_") == "wait_for_lock"
    ]
    scope: dict[str, Any] = {}
    source = f"import sys\nfrom contextlib import suppress\nfrom typing import IO\n\n{ast.unparse(function)}"
    exec(source, scope)  # noqa: S102 - our own function, without the module around it
    with (tmp_path / "lock").open("w") as file:
        scope[function.name](file)
    assert attempts == [1, 1]


def test_the_workflow_names_tests_that_exist_on_all_three_systems() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8"))
    job = workflow["jobs"]["systems"]
    assert {"ubuntu-latest", "macos-latest", "windows-latest"} <= set(job["strategy"]["matrix"]["system"])
    named = [word for step in job["steps"] for word in step.get("run", "").split() if word.startswith("tests/")]
    assert named
    assert [word for word in named if not (ROOT / word).exists()] == []


class Proactor(asyncio.SelectorEventLoop):
    """Stands for the usual event loop of Windows, which cannot watch a socket."""

    def add_reader(self, *_: object) -> NoReturn:
        raise NotImplementedError


def test_a_store_whose_driver_watches_sockets_gets_an_event_loop_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    monkeypatch.setattr(asyncio, "new_event_loop", Proactor)
    chosen = []
    for store in (None, MemoryStore(), PostgresStore("postgresql://nobody@127.0.0.1:1/x")):
        with closing(new_event_loop(store)) as loop:
            chosen.append(type(loop))
    assert chosen == [Proactor, Proactor, asyncio.SelectorEventLoop]


def imported_at_the_top(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_needs_nothing_that_only_posix_has(path: Path) -> None:
    assert not imported_at_the_top(path) & POSIX_MODULES
    names = {node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)}
    assert path == WORKERS or not names & POSIX_NAMES
    assert "add_signal_handler" not in names or path.name == "server.py"
