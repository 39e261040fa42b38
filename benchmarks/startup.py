"""From the start of a process to its first 200, side by side."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.contenders import AUTH, CONTENDERS, OURS, Missing, fetch, free_port
from benchmarks.load import SERVER_CORE, Request, pinned

_COMPARED: Final = (OURS, "FastAPI", "Connexion, our handlers")
_LIMIT_S: Final = 30
HELP: Final = "serve --help"


def measure(folder: Path, *, rounds: int) -> dict[str, list[float]]:
    """Seconds for each contender and round, in turns."""
    compared = [each for each in CONTENDERS if each.name in _COMPARED]
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for contender in compared:
            port = free_port()
            try:
                command = [*pinned(SERVER_CORE), *contender.command(folder, port)]
            except Missing as error:
                print(f"left out: {contender.name}: {error}", file=sys.stderr)
                continue
            seconds.setdefault(contender.name, []).append(_to_first_answer(command, port, contender.ready))
        began = time.perf_counter()
        command = [*pinned(SERVER_CORE), sys.executable, "-m", "qashier_mock", "serve", "--help"]
        subprocess.run(command, check=True, capture_output=True)
        seconds.setdefault(HELP, []).append(time.perf_counter() - began)
    return seconds


def _to_first_answer(command: Sequence[str], port: int, path: str) -> float:
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() < began + _LIMIT_S:
            try:
                fetch(f"http://127.0.0.1:{port}", Request("GET", path, AUTH))
            except OSError:
                time.sleep(0.002)
            else:
                return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()
    raise TimeoutError(f"no answer within {_LIMIT_S} s")


def table(seconds: dict[str, list[float]]) -> str:
    """Medians, and how they compare with FastAPI's."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    fastapi = medians.get("FastAPI")
    lines = ["From start to the first 200 (target: not slower than FastAPI; serve --help under 0.15 s)", ""]
    lines += ["| | seconds | of FastAPI |", "|---|---|---|"]
    for name, median in medians.items():
        ratio = f"{median / fastapi:.2f}" if fastapi and name != HELP else ""
        lines.append(f"| {name} | {median:.2f} | {ratio} |")
    return "\n".join(lines) + "\n"
