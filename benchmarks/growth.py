"""What an account with very many sessions costs, as its users see it: the same requests to two servers, in turns.

Each server keeps its state in memory, and has one account: the small one with a thousand sessions, the large one with
as many as are asked for. Requests come one at a time, for sessions drawn from all there are. A ratio is taken within a
round, from what the kernel accounts to the servers, and the median of the rounds is told.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from threading import Event
from time import time  # noqa: TID251 - servers that are started have the real clock
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from benchmarks.contenders import AUTH, JSON_HEADERS, KEY, ORDER, environment
from benchmarks.load import SERVER_CORE, cpu_seconds, pinned
from benchmarks.stores import PER_SECOND, SHAPES, SMALL, Load
from qashier_mock.core.credentials import account_of
from qashier_mock.server import MockServer
from qashier_mock.stores.memory import MemoryStore

LARGE: Final = 1_000_000
TARGET: Final = 1.3
REQUESTS: Final = 300
"""Of each kind, in each round."""
EXPIRED: Final = 100
"""The small server has a thousand sessions for all rounds, and each expires once."""

Sent: TypeAlias = tuple[str, str, Mapping[str, str], str | None]
"""A request: method, path, headers, body."""


@dataclass(slots=True)
class Served:
    """A server with its sessions.

    Attributes:
        pid: Its process.
        connection: To it, kept alive.
        some: Ids of sessions, drawn from all; none is drawn twice.
        oldest: The id of the first.
        created: When one of them was created, epoch seconds.
    """

    pid: int
    connection: http.client.HTTPConnection
    some: list[str]
    oldest: str
    created: int


def measure(*, size: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Microseconds of CPU for a request to the small and to the large server, by kind and round."""
    found: dict[str, list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        servers = [stack.enter_context(_started(each)) for each in (SMALL, size)]
        works = [_works(server) for server in servers]
        for number in range(-1, rounds):  # the first one is to warm up
            for kind in works[0]:
                order = (0, 1) if number % 2 else (1, 0)
                spent = {place: _cost(servers[place], works[place][kind], kind) for place in order}
                if number >= 0:
                    found.setdefault(kind, []).append((spent[0], spent[1]))
    return found


def _works(server: Served) -> dict[str, Callable[[], Sent]]:
    drawn, expiring = cycle(server.some), iter(server.some)
    since = server.created - 3
    numbers = iter(range(10**9))

    def create() -> Sent:
        return "POST", "/checkout/sessions", {**JSON_HEADERS, "Idempotency-Key": f"growth-{next(numbers)}"}, ORDER

    def get(path: str) -> Sent:
        return "GET", f"/checkout/sessions{path}", AUTH, None

    return {
        "create": create,
        "retrieve": lambda: get(f"/{next(drawn)}"),
        "first page": lambda: get(""),
        "page after the oldest": lambda: get(f"?ending_before={server.oldest}"),
        "expire": lambda: ("POST", f"/checkout/sessions/{next(expiring)}/expire", AUTH, None),
        "page of a status": lambda: get("?status=open"),
        "page of a time": lambda: get(f"?created[gte]={since}&created[lt]={since + 2}"),
    }


def _cost(server: Served, work: Callable[[], Sent], kind: str) -> float:
    count = EXPIRED if kind == "expire" else REQUESTS
    requests = [work() for _ in range(count)]
    before = cpu_seconds(server.pid)
    for method, path, headers, body in requests:
        server.connection.request(method, path, body=body, headers=dict(headers))
        answer = server.connection.getresponse()
        content = answer.read()
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:200]!r}")
    return (cpu_seconds(server.pid) - before) / count * 1e6


@contextmanager
def _started(size: int) -> Iterator[Served]:
    command = [*pinned(SERVER_CORE), sys.executable, "-m", "benchmarks.growth", "--serve", str(size)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment()) as process,
    ):
        try:
            assert process.stdout is not None
            told: dict[str, Any] = json.loads(process.stdout.readline())
            connection = http.client.HTTPConnection(urlsplit(told.pop("url")).netloc, timeout=60)
            yield Served(process.pid, connection, **told)
            connection.close()
        finally:
            process.terminate()


async def _fill(store: MemoryStore, size: int) -> Load:
    await store.open()
    load = Load(store, SHAPES[0], int(time()) - size // PER_SECOND, account=account_of(KEY))
    await load.fill(size)
    return load


def _serve(size: int) -> None:
    """Serve so many sessions until told to stop, and say where, and which there are."""
    store = MemoryStore()
    load = asyncio.run(_fill(store, size))
    with MockServer(store=store) as server:
        ids = [session_id for _, session_id in load.random.sample(load.sessions, min(size, 20_000))]
        told = {"url": server.url, "some": ids, "oldest": load.sessions[0][1], "created": load.clock.now}
        print(json.dumps(told), flush=True)
        Event().wait()


def table(results: dict[str, list[tuple[float, float]]], size: int) -> str:
    """Markdown: what a request costs on the large server, and how many times as much as on the small one."""
    lines = [
        "",
        f"One account with {size:,} sessions: µs of CPU for a request (times that with {SMALL:,}; target ≤ {TARGET}):",
        "",
        "| | cost |",
        "|---|---|",
    ]
    for kind, rounds in results.items():
        ratio = statistics.median(large / small for small, large in rounds)
        lines.append(f"| {kind} | {statistics.median(large for _, large in rounds):.0f} ({ratio:.2f}) |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--size", type=int, default=LARGE, help=f"sessions of the large server (default {LARGE:,})")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each kind (default 7)")
    parser.add_argument("--json", type=Path, help="where to write the raw numbers")
    parser.add_argument("--serve", type=int, metavar="SIZE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve(options.serve)
        return 0
    results = measure(size=options.size, rounds=options.rounds)
    print(table(results, options.size))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
