"""Wherever the state is kept, the mock keeps the contract: servers as users start them, judged over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from qashier_contract import Verdict, check
from store_harness import Place

from tests.targets import touching

if TYPE_CHECKING:
    from qashier_contract import Report

pytest_plugins = ["store_fixtures"]

LASTING: Final = (("sqlite", 1), ("postgresql", 2))
SERVED: Final = {"sample": (("postgresql", 2),), "full": (("memory", 1), ("postgresql", 1), *LASTING)}
"""Each store, and how many processes serve it; a sample leaves out what other tests have."""
BUDGET_S: Final = {"sample": 60.0, "full": 300.0}
"""What a check may take: how much it draws is in proportion. The smaller one is what selfcheck's runs have."""
SOAK: Final = os.environ.get("QASHIER_SOAK", "full")
PATIENCE: Final = 60
TESTS: Final = Path(__file__).parent
STATEFUL: Final = ("control", "test_webhooks.py")
SUITE: Final = {"sample": STATEFUL, "full": (*STATEFUL, "api", "test_hosted_page.py")}
"""What asks an app in process, each answer judged by the document; the sample has what changes a store most."""


@contextmanager
def served(store: str, workers: int) -> Iterator[str]:
    """`qashier-mock serve` with that store; its URL."""
    command = [sys.executable, "-m", "qashier_mock", "serve", "--port", "0", "--log-format", "json"]
    command += ["--quiet"]  # what is left in the log is trouble; a line for each request would fill the pipe
    command += ["--store", store, "--workers", str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            _, log = process.communicate(timeout=PATIENCE)
    assert (process.returncode, log) == (0, "")


def assert_kept(report: Report) -> None:
    """Every clause was exercised and kept, the assumed ones too, in answers exactly as the document says."""
    assert [(each.clause, each.expected, each.seen) for each in report.violations] == []
    assert report.verdict is Verdict.PASSED
    assert [entry.clause.id for entry in report.clauses if not entry.exercised] == []


def processes_that_raced(report: Report) -> int:
    """How many processes answered about one session that was paid, expired and read at once, at most."""
    answered: dict[str, set[str]] = defaultdict(set)
    for each in report.history.exchanges:
        if each.scenario == "races" and each.request.session_id and each.request_id:
            answered[each.request.session_id].add(each.request_id[:-8])  # what comes after that, each process counts
    return max(map(len, answered.values()))


def test_a_second_server_on_a_file_ends_with_one_line(new_place: Callable[[str], Place]) -> None:
    store = new_place("sqlite").url
    with served(store, 1):
        command = [sys.executable, "-m", "qashier_mock", "serve", "--port", "0", "--store", store]
        second = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr.count("\n") == 1
    assert "Another server uses it; stop that one, or give --store another file." in second.stderr


@pytest.mark.parametrize(("kind", "workers"), LASTING)
def test_what_lasts_keeps_the_contract(kind: str, workers: int, new_place: Callable[[str], Place]) -> None:
    """Two processes race on one session, too: whether what they answered fits one order is for CON-1 to judge."""
    with served(new_place(kind).url, workers) as url:
        report = check(url, own=True, seed=1, max_time_s=600, drivers=touching)
    assert_kept(report)
    assert processes_that_raced(report) == workers


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "workers"), SERVED[SOAK])
def test_every_store_keeps_the_contract_whatever_is_drawn(
    kind: str, workers: int, new_place: Callable[[str], Place]
) -> None:
    """The whole plan, as `qashier-mock check --strict` and selfcheck's correct run have it."""
    with served(new_place(kind).url, workers) as url:
        report = check(url, own=True, seed=1, max_time_s=BUDGET_S[SOAK])
    assert_kept(report)
    assert processes_that_raced(report) == workers


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_tests_of_the_api_pass_on_every_store(kind: str) -> None:
    """The same tests that `make test` runs over a memory, in a run of their own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env["QASHIER_TEST_STORE"] = kind
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "store_fixtures"]
    command += [str(TESTS / name) for name in SUITE[SOAK]]
    done = subprocess.run(command, cwd=TESTS.parent, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
