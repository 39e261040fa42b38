"""How a test run configures its mock."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class QashierMockConfig:
    """The configuration of a test run's mock. Override the fixture `qashier_mock_config` to return another one.

    Attributes:
        url: A running mock to use; None: one is started.
        port: Where a started one listens; 0 picks a free port. Under xdist the number of the worker is added.
        seed: What ids are drawn from, so that a test gets the same ids in every run; None: random.
        strict: Whether advice about a request itself is a 4xx.
        policy: A policy file (TOML), for a started one.
        webhook_bind: The address on which the tests' receivers listen.
        webhook_host: What the mock calls this machine when it delivers there; None: `webhook_bind`.
        report: How many entries of each kind a failing test's report shows; 0: no report.
    """

    url: str | None = None
    port: int = 0
    seed: int | None = None
    strict: bool = False
    policy: Path | None = None
    webhook_bind: str = "127.0.0.1"
    webhook_host: str | None = None
    report: int = 20
