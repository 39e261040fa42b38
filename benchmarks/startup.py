"""From the start of a process to its first 200, side by side; and how long a mock in a thread takes to stop."""

from __future__ import annotations

import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.contenders import AUTH, CONTENDERS, OURS, Missing, environment, fetch, free_port, ours
from benchmarks.load import SERVER_CORE, Request, cpu_seconds, pinned

_COMPARED: Final = (OURS, "FastAPI", "Connexion, our handlers")
_LIMIT_S: Final = 30
HELP: Final = "serve --help"
IDLE: Final = "idle"
KEPT: Final = "a connection kept alive"
STOP_TARGET_MS: Final = 20


@dataclass(frozen=True, slots=True)
class Start:
    """One start, or one command.

    Attributes:
        seconds: As somebody who waits sees it.
        cpu_seconds: What it spent on a CPU, which neighbours do not change.
    """

    seconds: float
    cpu_seconds: float


def measure(folder: Path, *, rounds: int) -> dict[str, list[Start]]:
    """Starts of each contender, in turns."""
    compared = [each for each in CONTENDERS if each.name in _COMPARED]
    starts: dict[str, list[Start]] = {}
    for _ in range(rounds):
        for contender in compared:
            port = free_port()
            try:
                command = [*pinned(SERVER_CORE), *contender.command(folder, port)]
            except Missing as error:
                print(f"left out: {contender.name}: {error}", file=sys.stderr)
                continue
            starts.setdefault(contender.name, []).append(_to_first_answer(command, port, contender.ready))
        starts.setdefault(HELP, []).append(_help(folder))
    return starts


def _to_first_answer(command: Sequence[str], port: int, path: str) -> Start:
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    try:
        while time.perf_counter() < began + _LIMIT_S:
            try:
                fetch(f"http://127.0.0.1:{port}", Request("GET", path, AUTH))
            except OSError:
                time.sleep(0.002)
            else:
                return Start(time.perf_counter() - began, cpu_seconds(process.pid))
    finally:
        process.terminate()
        process.wait()
    raise TimeoutError(f"no answer within {_LIMIT_S} s")


def _help(folder: Path) -> Start:
    command = [*pinned(SERVER_CORE), *ours(folder), "serve", "--help"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment())
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Start(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def table(starts: dict[str, list[Start]]) -> str:
    """Medians, and how they compare with FastAPI's."""
    fastapi = starts.get("FastAPI")
    lines = ["From start to the first 200 (target: not slower than FastAPI; serve --help under 0.15 s)", ""]
    lines += ["| | seconds | of FastAPI | CPU seconds | of FastAPI |", "|---|---|---|---|---|"]
    for name, done in starts.items():
        seconds, cpu = (statistics.median(values) for values in _columns(done))
        of_seconds = of_cpu = ""
        if fastapi and name != HELP:
            base_seconds, base_cpu = (statistics.median(values) for values in _columns(fastapi))
            of_seconds, of_cpu = f"{seconds / base_seconds:.2f}", f"{cpu / base_cpu:.2f}"
        lines.append(f"| {name} | {seconds:.2f} | {of_seconds} | {cpu:.2f} | {of_cpu} |")
    return "\n".join(lines) + "\n"


def _columns(starts: Sequence[Start]) -> tuple[list[float], list[float]]:
    return [each.seconds for each in starts], [each.cpu_seconds for each in starts]


def stops(*, rounds: int) -> dict[str, list[float]]:
    """Seconds until a mock in a thread has stopped, as its fixture waits for it."""
    from qashier_mock.server import MockServer  # noqa: PLC0415 - only the servers are measured elsewhere

    seconds: dict[str, list[float]] = {IDLE: [], KEPT: []}
    for _ in range(rounds):
        for name, taken in seconds.items():
            mock = MockServer().start()
            host, _, port = mock.url.rpartition("//")[2].partition(":")
            with socket.create_connection((host, int(port)), timeout=_LIMIT_S) as connection:
                connection.sendall(b"GET /_mock/v1/health HTTP/1.1\r\nHost: mock\r\n\r\n")
                connection.recv(65_536)
                if name == IDLE:
                    connection.close()
                    fetch(mock.url, Request("GET", "/_mock/v1/health"))
                began = time.perf_counter()
                mock.stop()
                taken.append(time.perf_counter() - began)
    return seconds


def table_of_stops(seconds: dict[str, list[float]]) -> str:
    """Medians."""
    lines = [f"Stopping a mock in a thread (target: ≤ {STOP_TARGET_MS} ms)", "", "| | ms |", "|---|---|"]
    lines += [f"| {name} | {statistics.median(values) * 1000:.0f} |" for name, values in seconds.items()]
    return "\n".join(lines) + "\n"
