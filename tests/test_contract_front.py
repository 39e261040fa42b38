"""The contract as pytest tests, run as its users run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from qashier_contract import CLAUSES

from qashier_mock import MockServer, Settings


def front(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A test run in a folder that has nothing of ours."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    # Only the plugins that matter here: importing all that are installed would take longer than the tests.
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    plugins = ["-p", "no:cacheprovider", "-p", "qashier_mock.pytest_plugin", "-p", "xdist"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, "-rs"]
    return subprocess.run(
        [*command, "--pyargs", "qashier_contract", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_clause_is_a_test(tmp_path: Path) -> None:
    run = front(tmp_path, "--qashier-url", "http://127.0.0.1", "--collect-only")
    assert f"{len(CLAUSES)} tests collected" in run.stdout, run.stdout + run.stderr


# Clauses that few scenarios exercise are asked for, so that a run is short.
def test_workers_share_one_run(tmp_path: Path) -> None:
    with MockServer() as mock:
        run = front(tmp_path, "--qashier-url", mock.url, "-k", "AUTH-1 or PAY-5", "-n", "2", "--qashier-strict")
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^2 passed", run.stdout, re.MULTILINE), run.stdout


def test_a_broken_clause_fails_its_own_test_and_says_how(tmp_path: Path) -> None:
    with MockServer(Settings(bugs=("authorise-does-not-pay",))) as mock:
        run = front(tmp_path, "--qashier-url", mock.url, "-k", "AUTH-1 or PAY-5", "--qashier-max-time", "600")
    assert run.returncode == 1, run.stdout + run.stderr
    assert re.search(r"^1 failed, 1 passed", run.stdout, re.MULTILINE), run.stdout
    assert "PAY-5 (documented)" in run.stdout
    assert "expected:" in run.stdout


def test_without_control_api_a_clause_about_time_is_skipped_with_its_reason(tmp_path: Path) -> None:
    with MockServer() as mock:
        run = front(tmp_path, "--qashier-url", mock.url, "-k", "IDM-4", "--qashier-control", "none")
    assert re.search(r"^1 skipped", run.stdout, re.MULTILINE), run.stdout
    assert "not exercised: " in run.stdout


def test_without_a_target_it_says_what_to_give(tmp_path: Path) -> None:
    run = front(tmp_path)
    assert run.returncode == 4
    assert "--qashier-url URL" in run.stdout + run.stderr
