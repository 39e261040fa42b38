"""What a run is told beforehand, and what it tells while it goes on."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qashier_contract.drive import Driver
    from qashier_contract.interrupts import Stop
    from qashier_contract.policy import Policy
    from qashier_contract.target import Transport
    from qashier_contract.verdicts import ClauseReport


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        driver: What is done now.
        done: How many drivers of the plan are done, of `total`.
        requests: How many requests were sent.
        left_s: Seconds until the end, going by the pace so far; never more than the budget leaves.
    """

    driver: str
    done: int
    total: int
    requests: int
    left_s: float


@dataclass(frozen=True, slots=True)
class Planned:
    """One line of `--plan`."""

    driver: Driver
    clauses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to check a target; what each means, `check` says."""

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


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
