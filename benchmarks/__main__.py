"""Measure side by side and print ratios: python -m benchmarks --help.

All servers run at the same time, each idle but while it is loaded. Slices of ours alternate with slices of the others
on one core, over several rounds, each second round in the opposite order. A ratio is taken within a round, where both
sides had the same neighbours; the median of the rounds is told. What cannot be set up is named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import growth, startup
from benchmarks.contenders import (
    BASELINE,
    CONTENDERS,
    CREATE,
    LIST,
    LIST_SIZE,
    OURS,
    RETRIEVE,
    ROOT,
    STATIC_SIZE,
    Contender,
    Missing,
    fetch,
    running,
)
from benchmarks.load import LoadBroken, LoadUnavailable, Request, Slice, apply, find_wrk

WORK: Final = (RETRIEVE, CREATE, LIST)
TARGETS: Final = {RETRIEVE: 1.2, CREATE: 0.6, LIST: 0.8}
ALONE: Final = "one client at a time"
SIZES: Final = {RETRIEVE: STATIC_SIZE, CREATE: STATIC_SIZE, LIST: LIST_SIZE}

Results = dict[str, dict[str, list[Slice]]]


@dataclass(frozen=True, slots=True)
class Started:
    """A contender that runs."""

    name: str
    url: str
    pid: int
    requests: dict[str, Request]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="slices of each server for each work (default 5)")
    parser.add_argument("--seconds", type=int, default=2, help="length of a slice, whole seconds (default 2)")
    parser.add_argument("--connections", type=int, default=16, help="clients at a time (default 16)")
    parser.add_argument("--only", action="append", default=[], help="this contender beside ours and the baseline")
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench", help="where contenders are set up")
    parser.add_argument("--json", type=Path, default=ROOT / ".bench" / "results.json", help="the raw numbers")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    chosen = [
        each for each in CONTENDERS if not options.only or each.name in {*options.only, OURS} or BASELINE in each.name
    ]
    try:
        find_wrk()
        results = measure(chosen, options)
    except LoadUnavailable as error:
        print(error, file=sys.stderr)
        return 2
    print(table(results))
    starts = startup.measure(options.folder, rounds=options.rounds)
    print(startup.table(starts))
    stops = startup.stops(rounds=options.rounds)
    print(startup.table_of_stops(stops))
    grown = growth.measure(size=growth.LARGE, rounds=options.rounds)
    print(growth.table(grown, growth.LARGE))
    raw: dict[str, Any] = {
        "load": {
            name: {work: [asdict(each) for each in slices] for work, slices in done.items()}
            for name, done in results.items()
        },
        "startup": {name: [asdict(each) for each in done] for name, done in starts.items()},
        "stop_s": stops,
        "growth_us": grown,
        "cores": os.cpu_count(),
    }
    options.json.write_text(json.dumps(raw, indent=1))
    print(f"raw numbers: {options.json}")
    return 0


def measure(contenders: list[Contender], options: argparse.Namespace) -> Results:
    """Load every contender with all its work, in turns."""
    results: Results = {}
    with ExitStack() as stack:
        started: list[Started] = []
        for contender in contenders:
            try:
                url, pid = stack.enter_context(running(contender, options.folder))
                started.append(Started(contender.name, url, pid, dict(contender.requests(url))))
            except (Missing, OSError, ValueError, KeyError) as error:
                print(f"left out: {contender.name}: {error}", file=sys.stderr)
        _compare_sizes(started)
        for number in range(options.rounds):
            order = started if number % 2 == 0 else started[::-1]
            for work in (*WORK, ALONE):
                for each in order:
                    request = each.requests.get(RETRIEVE if work == ALONE else work)
                    if request is None or (work == ALONE and each.name not in {OURS, BASELINE, "raw ASGI"}):
                        continue
                    connections = 1 if work == ALONE else options.connections
                    try:
                        done = apply(request, each.url, each.pid, seconds=options.seconds, connections=connections)
                    except LoadBroken as error:
                        print(f"left out: {each.name}, {work}, round {number + 1}: {error}", file=sys.stderr)
                        results.get(each.name, {}).pop(work, None)
                        del each.requests[RETRIEVE if work == ALONE else work]
                        continue
                    results.setdefault(each.name, {}).setdefault(work, []).append(done)
            print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    return results


def _compare_sizes(started: list[Started]) -> None:
    """See that the baseline answers with as many bytes as ours.

    Raises:
        LoadUnavailable: It does not; a comparison would be worth nothing.
    """
    ours = next((each for each in started if each.name == OURS), None)
    if ours is None:
        raise LoadUnavailable(f"{OURS} itself could not be started")
    for work, size in SIZES.items():
        real = len(fetch(ours.url, ours.requests[work]))
        if abs(real - size) > size / 50:
            raise LoadUnavailable(f"{work}: ours answers {real} bytes, the baseline {size}; see contenders.py")


def table(results: Results) -> str:
    """What a CPU-second of each server does, as multiples of bare Starlette's static answer."""
    lines = [
        "",
        "Requests per CPU-second, as multiples of bare Starlette answering a static body of the same size",
        "(µs of CPU per request; share of answers that were not 2xx or 3xx, if any):",
        "",
        f"| | {' | '.join(WORK)} |",
        f"|---|{'---|' * len(WORK)}",
    ]
    for name, done in results.items():
        cells = []
        for work in WORK:
            baseline = results.get(f"{BASELINE}, page" if work == LIST else BASELINE, {}).get(work)
            slices = done.get(work)
            if not slices or not baseline:
                cells.append("")
                continue
            ratio = statistics.median(bare.cpu_us / each.cpu_us for bare, each in zip(baseline, slices, strict=True))
            spent = statistics.median(each.cpu_us for each in slices)
            refused = sum(each.refused for each in slices) / sum(each.requests for each in slices)
            cells.append(f"{ratio:.2f} ({spent:.0f})" + (f" {refused:.0%} refused" if refused else ""))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append(f"| *target* | {' | '.join(f'≥ {TARGETS[work]}' for work in WORK)} |")
    ours, bare = (results.get(name, {}).get(ALONE) for name in (OURS, BASELINE))
    if ours and bare:
        slower = statistics.median(
            (each.seconds / each.requests) / (other.seconds / other.requests)
            for each, other in zip(ours, bare, strict=True)
        )
        dearer = statistics.median(each.cpu_us / other.cpu_us for each, other in zip(ours, bare, strict=True))
        alone = f"{slower:.2f} times bare Starlette's time for one (target ≤ 1.1), {dearer:.2f} times its CPU"
        lines += ["", f"One client, one retrieve at a time: {alone}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
