"""Two implementations side by side: the same scenarios with the same seed on both, and where they drift apart."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
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
    """Where two implementations drift apart.

    Attributes:
        a: One of them: its base URL.
        b: The other one.
        seed: What the requests were drawn from.
        drifts: Each kind once, in the order in which they were met.
        compared: How many requests were compared.
        interrupted: Whether somebody pressed Ctrl-C before the end.
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
    stop = settings.pop("stop", None)
    handling = stopping_on_signals(stop := Stop()) if stop is None else nullcontext()
    reports: list[Report] = []
    interrupted = False
    with handling:
        for side, own_keys in zip(sides, (keys, keys_of_b or keys), strict=True):
            if isinstance(side, Trace):
                reports.append(recorded.judge(side))
            else:
                to_check = {"seed": chosen, "keys": own_keys, "drivers": _is_the_same, "replay": False, **settings}
                reports.append(check(side, stop=stop, **to_check))
            # The stop may have come while the last answers were judged, too.
            if interrupted := stop.is_set or reports[-1].interrupted:
                break
    if len(reports) == 1:
        name = sides[1].target if isinstance(sides[1], Trace) else sides[1]
        return Difference(a=reports[0].target, b=name, seed=chosen, drifts=(), compared=0, interrupted=True)
    report_a, report_b = reports
    traces = [Trace(history=report.history, target=report.target, seed=chosen) for report in (report_a, report_b)]
    found, by_scenario = drifts(*traces, ignore=ignore)
    compared = sum(by_scenario.values())
    if not compared and not interrupted:
        raise CheckError("nothing could be compared: the two sides have no scenario in common")
    return Difference(
        a=report_a.target,
        b=report_b.target,
        seed=chosen,
        drifts=(*found, *_verdicts(report_a, report_b, found, by_scenario, ignore)),
        compared=compared,
        interrupted=interrupted,
    )


def _side(side: Trace | Path | str) -> Trace | str:
    if isinstance(side, Trace):
        return side
    if isinstance(side, str) and side.startswith(("http://", "https://")):
        return side
    found = recorded.read(Path(side))
    if found.trace.history.terms.others_act:
        return replace(found.trace, seed=None)
    return found.trace


def _is_the_same(driver: Driver) -> bool:
    """Whether a driver sends the same requests each time."""
    return driver.is_directed


def _verdicts(
    a: Report, b: Report, found: Sequence[Drift], compared: Collection[str], ignore: Sequence[str]
) -> Iterator[Drift]:
    """The clauses that one side keeps and the other does not. What drifts already explains is added there."""
    told: list[Drift] = []
    for one, other in zip(a.clauses, b.clauses, strict=True):
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
