"""The contract as pytest tests: one run of the checker, shared by all tests and, under xdist, by all workers.

    pytest --pyargs qashier_contract --qashier-url https://staging.example/v3/payment/qpay

The options are registered by the plugin of qashier-mock: pytest reads those of a folder below `--pyargs` too late.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import pytest

from qashier_contract import CheckError, ClauseReport, check
from qashier_contract.clauses import CLAUSES

_KEYS: Final = ("QASHIER_API_KEY", "QASHIER_API_KEY_2")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the run said of one clause: the verdict; why it was not exercised, or what was expected and seen."""

    verdict: str
    told: str


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse to collect tests of the contract without a target: they would have nothing to say."""
    here = Path(__file__).parent
    if any(item.path.parent == here for item in items) and not config.getoption("qashier_url"):
        raise pytest.UsageError("the contract tests need a target: pytest --pyargs qashier_contract --qashier-url URL")


@pytest.fixture(scope="session")
def contract(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What one run of the checker said of each clause that was asked for.

    Under xdist the first worker that gets here runs it, and the others wait for what it writes down.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base if os.environ.get("PYTEST_XDIST_WORKER") is None else base.parent
    written = shared / "contract.json"
    with (shared / "contract.lock").open("w") as lock:
        _wait_for_lock(lock)
        if not written.is_file():
            written.write_text(json.dumps(_run(request)), "utf-8")
    return {name: Outcome(*told) for name, told in json.loads(written.read_text("utf-8")).items()}


def _wait_for_lock(file: IO[str]) -> None:
    """Lock a file until it is closed."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - each system has one of the two

        while True:
            with suppress(OSError):  # it gives up after ten seconds
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                return
    else:
        import fcntl  # noqa: PLC0415 - each system has one of the two

        fcntl.flock(file, fcntl.LOCK_EX)


def _run(request: pytest.FixtureRequest) -> dict[str, tuple[str, str]]:
    options = request.config.getoption
    asked = {item.callspec.params["clause"] for item in request.session.items if hasattr(item, "callspec")}
    try:
        report = check(
            options("qashier_url"),
            keys=[key for key in map(os.environ.get, _KEYS) if key],
            max_time_s=float(options("qashier_max_time")),
            seed=options("qashier_seed"),
            strict=options("qashier_strict"),
            control=options("qashier_control"),
            only=[] if asked >= set(CLAUSES) else sorted(asked & set(CLAUSES)),
        )
    except CheckError as error:
        pytest.exit(f"nothing could be tested: {error}", returncode=pytest.ExitCode.USAGE_ERROR)
    if report.interrupted:
        raise KeyboardInterrupt
    return {entry.clause.id: (entry.verdict.value, _told(entry, report.seed)) for entry in report.clauses}


def _told(entry: ClauseReport, seed: int | None) -> str:
    if not entry.violations:
        return entry.reason or ""
    lines = [f"{entry.clause.id} ({entry.clause.source.value}): {entry.clause.statement}"]
    for violation in entry.violations[:3]:
        lines += [f"expected: {violation.expected}", f"seen:     {violation.seen}"]
        lines += [f"    {exchange}" for exchange in violation.exchanges]
    lines.append(f"seed: {seed}")
    return "\n".join(lines)
