"""The pytest fixture beside pytest-httpserver's and moto's server: python -m benchmarks.plugin --help.

The same suite runs with each, in a process of its own, in turns: from asking for the fixture to the first answer, a
test that has the fixture and does nothing, a request. Beside it: importing the web stack, and what a plugin adds to
each start of pytest, asked for or not. All are processor time, which says the same on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean, median
from typing import Any, Final

from benchmarks.contenders import ROOT, Missing, _environment

SUITE: Final = ROOT / "benchmarks" / "suite"
OURS: Final = "qashier-mock"
NOTHING: Final = "nothing"

_STACK: Final = "connexion, httptools, jinja2, jsonschema_rs, orjson, uvicorn, uvloop"
"""What the server is built on, without a line of ours."""

_TIMED: Final = "import time; began = time.process_time(); import {what}; print(time.process_time() - began)"

Numbers = dict[str, list[float]]


def _here(_folder: Path) -> str:
    return sys.executable


def _httpserver(folder: Path) -> str:
    return str(_environment(folder, "plugin-httpserver", "pytest-httpserver>=1.1", "pytest>=9,<10"))


def _moto(folder: Path) -> str:
    return str(_environment(folder, "plugin-moto", "moto[server,s3]>=5", "pytest>=9,<10", "requests>=2.32"))


CONTENDERS: Final[Mapping[str, tuple[Callable[[Path], str], str | None]]] = {
    NOTHING: (_here, None),
    OURS: (_here, "qashier_mock.pytest_plugin"),
    "pytest-httpserver": (_httpserver, "pytest_httpserver.pytest_plugin"),
    "moto server": (_moto, None),
}
"""Name: its Python, and its plugin."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plugin", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of the suite with each (default 5)")
    parser.add_argument("--folder", type=Path, default=ROOT / ".bench", help="where contenders are set up")
    parser.add_argument("--json", type=Path, default=ROOT / ".bench" / "plugin.json", help="the raw numbers")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    pythons: dict[str, str] = {}
    for name, (set_up, _) in CONTENDERS.items():
        try:
            pythons[name] = set_up(options.folder)
        except Missing as error:
            print(f"left out: {name}: {error}", file=sys.stderr)
    found: dict[str, Numbers] = {}
    stack: list[float] = []
    for number in range(options.rounds):
        for name, python in pythons.items():
            for kind, value in _run(name, python).items():
                found.setdefault(name, {}).setdefault(kind, []).append(value)
        stack.append(_import_time(sys.executable, _STACK))
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    print(table(found, median(stack)))
    options.json.write_text(json.dumps({"suite_s": found, "web_stack_s": stack}, indent=1))
    print(f"raw numbers: {options.json}")
    return 0


def _run(name: str, python: str) -> dict[str, float]:
    """Seconds of one run of the suite: the first answer, a test, a request, and importing the plugin."""
    plugin = CONTENDERS[name][1]
    with tempfile.TemporaryDirectory() as place:
        result = Path(place, "result.json")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHONDONT"))}
        environment |= {
            "BENCH_CONTENDER": name,
            "BENCH_RESULT": str(result),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        command = [python, "-m", "pytest", "-q", *([] if plugin is None else ["-p", plugin])]
        done = subprocess.run(command, cwd=SUITE, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the suite failed with {name}:\n{done.stdout}{done.stderr}")
        numbers: dict[str, Any] = json.loads(result.read_text())
    measured = {"test": mean(numbers["tests"])}
    if numbers["requests"]:
        measured |= {"first answer": numbers["first"], "request": mean(numbers["requests"])}
    measured["start"] = 0.0 if plugin is None else _import_time(python, plugin, before="pytest")
    return measured


def _import_time(python: str, what: str, *, before: str = "sys") -> float:
    script = f"import {before}; " + _TIMED.format(what=what)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    command = [python, "-W", "ignore", "-c", script]
    return float(subprocess.check_output(command, cwd=ROOT, env=environment, text=True))


def table(found: Mapping[str, Numbers], stack: float) -> str:
    """Medians of the rounds."""
    medians = {name: {kind: median(values) for kind, values in numbers.items()} for name, numbers in found.items()}
    base = medians.pop(NOTHING)["test"]
    ours = medians[OURS]
    lines = [
        "",
        "| fixture | at each start of pytest | to the first answer | a test | a request |",
        "|---|---|---|---|---|",
    ]
    for name, each in medians.items():
        cells = (each["start"], each["first answer"], each["test"] - base, each["request"])
        lines.append(f"| {name} | {' | '.join(f'{cell * 1000:.2f} ms' for cell in cells)} |")
    first, test, start = ours["first answer"] / stack, (ours["test"] - base) * 1000, ours["start"] * 1000
    lines += [
        "",
        f"First use: {first:.2f} times the import of the web stack, {stack * 1000:.0f} ms (target ≤ 1.5).",
        f"A test: {test:.2f} ms (target < 1). At each start of pytest: {start:.1f} ms (target < 5).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
