"""What a run is told beforehand, and what it tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from qashier_contract.drive import Driver
from qashier_contract.interrupts import Stop
from qashier_contract.policy import Policy
from qashier_contract.target import Transport
from qashier_contract.verdicts import ClauseReport, Progress


@dataclass(frozen=True, slots=True)
class Planned:
    """One line of `--plan`."""

    driver: Driver
    clauses: tuple[str, ...]


class Judging(TypedDict, total=False):
    """By what to judge; by default by every clause, with assumed ones as warnings."""

    only: Sequence[str]
    """Patterns of clause ids, such as `LIS-*`, to exercise and judge; all by default."""
    skip: Sequence[str]
    """Patterns of clause ids to leave out."""
    strict: bool
    """Let assumed clauses fail instead of warn."""
    policy: Policy | None
    """Answers to what the documentation leaves open; by default those that a trace was recorded with."""


class Options(Judging, total=False):
    """What may be said of a check; what is left out is as in `Settings`."""

    keys: Sequence[str]
    """The secret keys of one account, or of two. On loopback one is made up where none is given."""
    max_time_s: float
    """The most it takes, judging included, clean-up aside."""
    seed: int | None
    """What is drawn, is drawn from this; drawn itself by default, and reported."""
    rate: float | None
    """Requests per second; by default as fast as they come on loopback, 20 elsewhere."""
    fail_fast: bool
    """Stop at the first clause that fails."""
    control: str
    """Where `/_mock/v1` hangs; `auto` asks the target's host, `none` does without."""
    webhook_listen: str | None
    """`HOST:PORT` where our webhook receiver listens."""
    webhook_public_url: str | None
    """How the target reaches that receiver."""
    currencies: Sequence[str]
    """What the account may charge, the first for most requests."""
    max_sessions: int | None
    """How many sessions may be opened."""
    allow_live: bool
    """Whether a live key may be used."""
    timeout_s: float
    """After how many seconds an answer counts as lost."""
    progress: Callable[[Progress], None] | None
    """Told before each driver."""
    violated: Callable[[ClauseReport], None] | None
    """Told of each clause that turns out to be broken, while the run goes on; at most once each."""
    stop: Stop | None
    """What ends the run early; without one, Ctrl-C and SIGTERM do."""
    transport: Transport | None
    """Carries the requests instead of HTTP: a target inside this process."""
    drivers: Callable[[Driver], bool] | None
    """Which drivers of the plan run; all by default."""
    own: bool
    """Whether the target is our own mock, started by the caller: it is judged by the strict document as well, and
    assumed clauses fail."""
    replay: bool
    """Whether violations are sent again, within the same budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to check a target: `Options`, whole."""

    keys: Sequence[str] = ()
    max_time_s: float = 60.0
    seed: int | None = None
    rate: float | None = None
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    strict: bool = False
    fail_fast: bool = False
    control: str = "auto"
    webhook_listen: str | None = None
    webhook_public_url: str | None = None
    currencies: Sequence[str] = ()
    policy: Policy | None = None
    max_sessions: int | None = None
    allow_live: bool = False
    timeout_s: float = 30.0
    progress: Callable[[Progress], None] | None = None
    violated: Callable[[ClauseReport], None] | None = None
    stop: Stop | None = None
    transport: Transport | None = None
    drivers: Callable[[Driver], bool] | None = None
    own: bool = False
    replay: bool = True
