"""Two implementations side by side: the same scenarios with the same seed on both, and where they drift apart."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from qashier_contract import recorded
from qashier_contract.drive import Driver
from qashier_contract.errors import CheckError
from qashier_contract.history import Exchange
from qashier_contract.interrupts import Stop, stopping_on_signals
from qashier_contract.run import check
from qashier_contract.trace.drift import Drift, drifts, explained_by
from qashier_contract.trace.file import Trace
from qashier_contract.verdicts import ClauseReport, Report, Violation


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where two implementations drift apart: each kind of drift once, in the order in which they were met.

    `a` and `b` are their base URLs, `compared` is how many requests were compared.
    """

    a: str
    b: str
    seed: int
    drifts: tuple[Drift, ...]
    compared: int
    interrupted: bool = False


def diff(
    a: Trace | Path | str,
    b: Trace | Path | str,
    *,
    ignore: Sequence[str] = (),
    seed: int | None = None,
    keys: Sequence[str] = (),
    keys_of_b: Sequence[str] = (),
    **settings: Any,
) -> Difference:
    """Send the same scenarios with the same seed to two targets, and compare what they answer.

    Args:
        a: The base URL of a target, or a trace of a check, or the path of a file that holds one.
        b: The other one.
        ignore: Patterns of kinds of drifts that do not count, such as `headers.*`.
        seed: What is drawn is drawn from this; by default from the seed of a trace, or drawn itself.
        keys: The secret keys for both, as `check` takes them.
        keys_of_b: Other keys for B.
        settings: What else `check` takes, for both.

    Raises:
        CheckError: A side could not be tested, or nothing could be compared.
    """
    sides = [_side(a), _side(b)]
    seeds = {side.seed for side in sides if isinstance(side, Trace)}
    if None in seeds:
        raise CheckError("a trace of watched traffic holds no scenarios: diff takes traces of `qashier-mock check`")
    if len(seeds) == 2:
        raise CheckError("the traces were recorded with different seeds: record one again with the seed of the other")
    chosen = next(iter(seeds), None) if seeds else seed
    chosen = secrets.randbelow(2**32) if chosen is None else chosen
    names = [side.target if isinstance(side, Trace) else side for side in sides]
    settings = {"drivers": _is_the_same, "replay": False, **settings, "seed": chosen}
    reports, interrupted = _reports(sides, [keys, keys_of_b or keys], settings)
    names[: len(reports)] = [report.target for report in reports]
    difference = partial(Difference, a=names[0], b=names[1], seed=chosen, interrupted=interrupted)
    if len(reports) == 1:
        return difference(drifts=(), compared=0)
    traces = [Trace(history=report.history, target=report.target, seed=chosen) for report in reports]
    found, by_scenario = drifts(*traces, ignore=ignore)
    compared = sum(by_scenario.values())
    if not compared and not interrupted:
        raise CheckError("nothing could be compared: the two sides have no scenario in common")
    verdicts = _verdicts(reports, found, by_scenario, ignore)
    return difference(drifts=(*found, *verdicts), compared=compared)


def _reports(
    sides: Sequence[Trace | str], keys: Sequence[Sequence[str]], settings: dict[str, Any]
) -> tuple[Sequence[Report], bool]:
    """The reports on both sides, or on the first one alone where somebody pressed Ctrl-C; whether somebody did."""
    stop = settings.pop("stop", None)
    handling = stopping_on_signals(stop := Stop()) if stop is None else nullcontext()
    reports: list[Report] = []
    with handling:
        for side, own_keys in zip(sides, keys, strict=True):
            if isinstance(side, Trace):
                reports.append(recorded.judge(side))
            else:
                reports.append(check(side, stop=stop, keys=own_keys, **settings))
            # The stop may have come while the last answers were judged, too.
            if stop.is_set or reports[-1].interrupted:
                return reports, True
    return reports, False


def _side(side: Trace | Path | str) -> Trace | str:
    if isinstance(side, str) and side.startswith(("http://", "https://")):
        return side
    trace = recorded.read(side).trace
    return replace(trace, seed=None) if trace.history.terms.others_act else trace


def _is_the_same(driver: Driver) -> bool:
    """Whether a driver sends the same requests each time."""
    return driver.is_directed


def _verdicts(
    reports: Sequence[Report], found: Sequence[Drift], compared: Collection[str], ignore: Sequence[str]
) -> Iterator[Drift]:
    """The clauses that one side keeps and the other does not. What drifts already explains is added there."""
    told: list[Drift] = []
    for one, other in zip(*(report.clauses for report in reports), strict=True):
        kind = f"clause.{one.clause.id}"
        both_exercised = one.exercised and other.exercised
        if not both_exercised or bool(one.violations) is bool(other.violations):
            continue
        if any(fnmatchcase(kind, pattern) for pattern in ignore):
            continue
        drift = Drift(kind, _told(one), _told(other), "", _shown(one), _shown(other))
        drift.count, drift.is_explained = 1, False
        drift.numbers_a, drift.numbers_b = _evidence(one), _evidence(other)
        cause = explained_by([*found, *told], drift.numbers_a, drift.numbers_b)
        scenarios = {e.scenario for entry in (one, other) for v in entry.violations for e in v.exchanges}
        if cause is None and found and (len(found) == 1 or not scenarios & set(compared)):
            cause = found[0]  # nothing that was compared is known to be another cause
        if cause is not None:
            cause.following.append(kind)
            continue
        told.append(drift)
    yield from told


def _told(entry: ClauseReport) -> str:
    if not entry.violations:
        return "kept"
    return f"broken: expected {entry.violations[0].expected}, seen {entry.violations[0].seen}"


def _shown(entry: ClauseReport) -> Exchange | None:
    return next((exchange for v in entry.violations[:1] for exchange in v.exchanges[-1:]), None)


def _evidence(entry: ClauseReport) -> set[int]:
    """The numbers of the exchanges and deliveries that show how a clause was broken."""

    def numbers(violation: Violation) -> Iterator[int]:
        yield from (exchange.number for exchange in violation.exchanges)
        yield from (delivery.number for delivery in violation.deliveries)

    return {number for violation in entry.violations for number in numbers(violation)}
