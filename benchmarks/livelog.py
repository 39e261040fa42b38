"""What the live log of `serve` adds to a request: python -m benchmarks.livelog.

Three servers, by turns: one with `--quiet`, one with the log as text, one as JSON; somebody reads what they write. One
client retrieves and creates sessions over a connection that is kept. Told is CPU time by the kernel's accounting, the
median of the rounds, and how much more that is than with `--quiet`. Exit code 1 if it is more than a tenth.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from threading import Event, Thread
from typing import IO, Final
from urllib.parse import urlsplit

from benchmarks.contenders import JSON_HEADERS, ORDER
from benchmarks.load import SERVER_CORE, cpu_seconds, pinned

MOST: Final = 0.10
"""Of a request's CPU time."""
OFF: Final = "off"
_WRITTEN_S: Final = 0.3
"""Seconds after which every line is written."""
WAYS: Final = {OFF: ("--quiet",), "text": (), "json": ("--log-format", "json")}


@dataclass(slots=True)
class Served:
    """A server, its process, a connection that is kept, and how many characters it has logged."""

    pid: int
    connection: http.client.HTTPConnection
    session: str = ""
    logged: int = 0

    def read(self, log: IO[str]) -> None:
        """Read the log, so that nothing of it is left out."""
        for line in log:
            self.logged += len(line)

    def send(self, method: str) -> str:
        """Retrieve the session, or create one; its id."""
        path = "/checkout/sessions" if method == "POST" else f"/checkout/sessions/{self.session}"
        self.connection.request(method, path, ORDER if method == "POST" else None, JSON_HEADERS)
        answer = self.connection.getresponse()
        content = answer.read()
        assert answer.status == HTTPStatus.OK
        return str(json.loads(content)["id"])

    def cost_us(self, method: str, requests: int) -> float:
        """CPU time of a request, microseconds."""
        self.connection.close()  # the server does not wait for ever while the others have their turns
        self.send("GET")
        before = cpu_seconds(self.pid)
        for _ in range(requests):
            self.send(method)
        Event().wait(_WRITTEN_S)  # lines are written a moment later
        return (cpu_seconds(self.pid) - before) / requests * 1e6


@contextmanager
def started(*options: str) -> Iterator[Served]:
    """`serve` with these options, on a free port."""
    command = [*pinned(SERVER_CORE), sys.executable, "-m", "qashier_mock", "serve", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            url = json.loads(line)["url"] if line.startswith("{") else line.split()[-1]
            parts = urlsplit(url)
            served = Served(process.pid, http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30))
            Thread(target=served.read, args=(process.stderr,), daemon=True).start()
            served.session = served.send("POST")
            yield served
            served.connection.close()
        finally:
            process.terminate()


def measure(*, rounds: int, requests: int) -> dict[str, dict[str, list[float]]]:
    """Microseconds of CPU of a request, by kind, way and round."""
    found: dict[str, dict[str, list[float]]] = {"retrieve": {}, "create": {}}
    with ExitStack() as stack:
        servers = {way: stack.enter_context(started(*options)) for way, options in WAYS.items()}
        for number in range(-1, rounds):  # the first one is to warm up
            ways = list(servers) if number % 2 else list(reversed(servers))
            for kind, method in (("retrieve", "GET"), ("create", "POST")):
                for way in ways:
                    cost = servers[way].cost_us(method, requests)
                    if number >= 0:
                        found[kind].setdefault(way, []).append(cost)
        assert [bool(served.logged) for served in servers.values()] == [False, True, True]
    return found


def more_than_off(costs: dict[str, list[float]], way: str) -> float:
    """How much more a way costs: the median of the rounds, each with itself."""
    return statistics.median((cost - without) / without for cost, without in zip(costs[way], costs[OFF], strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.livelog", description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="rounds (default 25)")
    parser.add_argument("--requests", type=int, default=1500, help="requests of each kind in each round (default 1500)")
    options = parser.parse_args()
    found = measure(rounds=options.rounds, requests=options.requests)
    most = 0.0
    for kind, costs in found.items():
        for way, each in costs.items():
            more = more_than_off(costs, way)
            most = max(most, more)
            print(f"{kind}, live log {way}: {statistics.median(each):.0f} us of CPU, {more:+.1%}")
    return 0 if most <= MOST else 1


if __name__ == "__main__":
    raise SystemExit(main())
