"""Measure side by side and print ratios: python -m benchmarks --help.

All servers run at the same time, each idle but while it is loaded. Slices of ours alternate with slices of the others
on one core, over several rounds, and medians are compared. What cannot be set up is named and left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks import startup
from benchmarks.contenders import BASELINE, CONTENDERS, CREATE, LIST, OURS, RETRIEVE, ROOT, Contender, Missing, running
from benchmarks.load import LoadUnavailable, Request, Slice, apply

WORK: Final = (RETRIEVE, CREATE, LIST)
TARGETS: Final = {RETRIEVE: 1.2, CREATE: 1.0, LIST: 0.8}
ALONE: Final = "one client at a time"

Results = dict[str, dict[str, list[Slice]]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="slices of each server for each work (default 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a slice (default 2)")
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
        results = measure(chosen, options)
    except LoadUnavailable as error:
        print(error, file=sys.stderr)
        return 2
    print(table(results))
    starts = startup.measure(options.folder, rounds=options.rounds)
    print(startup.table(starts))
    raw: dict[str, Any] = {
        "load": {
            name: {work: [asdict(each) for each in slices] for work, slices in done.items()}
            for name, done in results.items()
        },
        "startup_s": starts,
    }
    options.json.write_text(json.dumps(raw, indent=1))
    print(f"raw numbers: {options.json}")
    return 0


def measure(contenders: list[Contender], options: argparse.Namespace) -> Results:
    """Load every contender with all its work, in turns."""
    results: Results = {}
    with ExitStack() as stack:
        started: list[tuple[str, str, int, dict[str, Request]]] = []
        for contender in contenders:
            try:
                url, pid = stack.enter_context(running(contender, options.folder))
                started.append((contender.name, url, pid, dict(contender.requests(url))))
            except (Missing, OSError, ValueError, KeyError) as error:
                print(f"left out: {contender.name}: {error}", file=sys.stderr)
        for number in range(options.rounds):
            for work in (*WORK, ALONE):
                for name, url, pid, requests in started:
                    request = requests.get(RETRIEVE if work == ALONE else work)
                    if request is None or (work == ALONE and name not in {OURS, BASELINE, "raw ASGI"}):
                        continue
                    connections = 1 if work == ALONE else options.connections
                    done = apply(request, url, pid, seconds=options.seconds, connections=connections)
                    results.setdefault(name, {}).setdefault(work, []).append(done)
            print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    return results


def table(results: Results) -> str:
    """What a CPU-second of each server does, as multiples of bare Starlette's static answer."""
    base = {
        RETRIEVE: _cpu(results, BASELINE, RETRIEVE),
        CREATE: _cpu(results, BASELINE, CREATE),
        LIST: _cpu(results, f"{BASELINE}, page", LIST),
    }
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
            spent = _cpu(results, name, work)
            if spent is None or base[work] is None:
                cells.append("")
                continue
            refused = sum(each.refused for each in done[work]) / max(sum(each.requests for each in done[work]), 1)
            cells.append(f"{base[work] / spent:.2f} ({spent:.0f})" + (f" {refused:.0%} refused" if refused else ""))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append(f"| *target* | {' | '.join(f'≥ {TARGETS[work]}' for work in WORK)} |")
    ours, bare = (_median(results, name, ALONE) for name in (OURS, BASELINE))
    if ours and bare:
        lines += [
            "",
            f"One client, one retrieve at a time: {ours / bare:.2f} times bare Starlette's latency (target ≤ 1.15)",
        ]
    return "\n".join(lines) + "\n"


def _cpu(results: Results, name: str, work: str) -> Any:
    slices = results.get(name, {}).get(work)
    return statistics.median(each.cpu_us for each in slices) if slices else None


def _median(results: Results, name: str, work: str) -> float | None:
    slices = results.get(name, {}).get(work)
    return statistics.median(each.seconds / each.requests for each in slices) if slices else None


if __name__ == "__main__":
    raise SystemExit(main())
