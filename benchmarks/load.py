"""Load and its cost: wrk on one core, a server on another, CPU time from the kernel's accounting.

CPU per request is what the server's processes spent, by the kernel's own clocks of them, divided by the answers
that wrk counted: a noisy neighbour makes a slice slower, but not dearer.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SERVER_CORE: Final = 0
LOAD_CORE: Final = 1

_OF_A_PROCESS: Final = 2
"""With a process id, what `clock_getcpuclockid` of the C library makes of it on Linux; Python has no such function."""

_REPORT: Final = """
done = function(summary, latency, requests)
  io.stderr:write(string.format('{"requests": %d, "duration_us": %d, "refused": %d, "broken": %d, "median_us": %d}\\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50)))
end
"""


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent again and again.

    Attributes:
        method: GET or POST.
        path: With its query.
        headers: By name.
        body: Sent as it is.
        idempotency_keys: Whether each request carries a key of its own.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    idempotency_keys: bool = False

    def script(self) -> str:
        """The request as wrk's Lua."""
        lines = [f"wrk.method = {json.dumps(self.method)}"]
        lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in self.headers.items()]
        if self.body is not None:
            lines.append(f"wrk.body = {json.dumps(self.body)}")
        if self.idempotency_keys:
            run = os.urandom(6).hex()
            lines.append(
                "local n = 0\nrequest = function()\n  n = n + 1\n"
                f'  wrk.headers["Idempotency-Key"] = "{run}-" .. n\n  return wrk.format()\nend'
            )
        return "\n".join(lines) + _REPORT


@dataclass(frozen=True, slots=True)
class Slice:
    """One measurement.

    Attributes:
        requests: Answers counted.
        seconds: How long it took.
        cpu_seconds: What the server's processes spent meanwhile.
        median_us: Median latency as the client saw it, microseconds.
        refused: Answers that were not 2xx or 3xx.
    """

    requests: int
    seconds: float
    cpu_seconds: float
    median_us: float
    refused: int

    @property
    def cpu_us(self) -> float:
        """CPU per request, microseconds."""
        return self.cpu_seconds / max(self.requests, 1) * 1e6


class LoadUnavailable(Exception):
    """There is nothing to measure with, or nothing to compare with."""


class LoadBroken(Exception):
    """A server did not stand the load, or could not be reached."""


def find_wrk() -> str:
    """The load generator.

    Raises:
        LoadUnavailable: It is not installed.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise LoadUnavailable("wrk is not on PATH; on Debian: apt-get install wrk")
    return wrk


def apply(request: Request, url: str, pid: int, *, seconds: int, connections: int) -> Slice:
    """Load a server for a while.

    Args:
        request: What is sent.
        url: The server's address, without a path.
        pid: Its process; its descendants count as well.
        seconds: How long.
        connections: How many at a time, each with one request under way.

    Raises:
        LoadBroken: Connections broke, or nothing was answered.
    """
    wrk = find_wrk()
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(request.script())
        script.flush()
        before = cpu_seconds(pid)
        command = [*pinned(LOAD_CORE), wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name]
        done = subprocess.run([*command, url + request.path], capture_output=True, text=True, check=False)
        spent = cpu_seconds(pid) - before
    report = next((line for line in done.stderr.splitlines() if line.startswith("{")), None)
    if report is None:
        raise LoadBroken(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    seen = json.loads(report)
    if seen["broken"] or not seen["requests"]:
        raise LoadBroken(f"{seen['broken']} connections broke, {seen['requests']} requests were answered")
    return Slice(seen["requests"], seen["duration_us"] / 1e6, spent, seen["median_us"], seen["refused"])


def pinned(core: int) -> list[str]:
    """A command prefix that keeps a process on one core, where the machine has more than one."""
    taskset = shutil.which("taskset")
    return [taskset, "-c", str(core)] if taskset and (os.cpu_count() or 1) > core else []


def cpu_seconds(pid: int) -> float:
    """What a process and its descendants have spent on a CPU so far."""
    return sum(_own_cpu_seconds(each) for each in (pid, *_descendants(pid)))


def _own_cpu_seconds(pid: int) -> float:
    """What all threads of a process have spent.

    Those that have ended are included: some servers have a thread for each connection, and it ends with that.
    """
    try:
        return time.clock_gettime((~pid << 3) | _OF_A_PROCESS)
    except OSError:  # it has ended meanwhile
        return 0.0


def _descendants(pid: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            names = children.read_text().split()
        except OSError:
            continue
        for name in names:
            found += [int(name), *_descendants(int(name))]
    return found
