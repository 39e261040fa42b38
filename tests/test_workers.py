"""Several processes behind one socket: they share the work, stop together, and do without one that dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
import pytest
from mock_harness import basket
from store_harness import Place

pytest_plugins = ["store_fixtures"]

PROGRAM = Path(__file__).parent / "support" / "serve_workers.py"


@dataclass
class Workers:
    """A running server with several workers."""

    process: subprocess.Popen[str]
    url: str
    _connections: list[HTTPConnection] = field(default_factory=list)

    @property
    def living(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children())

    def connect(self) -> HTTPConnection:
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=20)
        self._connections.append(connection)
        return connection

    def hang_up(self) -> None:
        for each in self._connections:
            each.close()

    def end(self) -> str:
        """Wait for the end; what was logged."""
        _, log = self.process.communicate(timeout=20)
        return log


@contextmanager
def serving(store: str, count: int = 2, seed: int = 1) -> Iterator[Workers]:
    process = subprocess.Popen(
        [sys.executable, PROGRAM, store, str(count), str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        workers = Workers(process, process.stdout.readline().strip())
        yield workers
        workers.hang_up()
    finally:
        process.terminate()
        process.wait(20)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def ask(connection: HTTPConnection, method: str, path: str, body: Any = None) -> tuple[int, str, Any]:
    """Status, request id and body of an answer."""
    headers = {"authorization": "Basic " + b64encode(b"sk_test_workers:").decode(), "content-type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    reply = connection.getresponse()
    return reply.status, reply.headers["request-id"], json.loads(reply.read())


def process_of(request_id: str) -> str:
    """What the ids of one process have in common."""
    return request_id[:-8]


def wait_for(claim: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Let the other process run until the claim holds; it is asked in vain a bounded number of times."""
    for _ in range(400):
        if claim():
            return
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("it never came true")


def test_workers_share_the_work_and_stop_together(database: Place) -> None:
    with serving(database.url) as workers:
        connections = [workers.connect() for _ in range(2)]
        seen: dict[str, HTTPConnection] = {}
        while len(seen) < 2:  # whoever is free takes a connection
            status, request_id, session = ask(connections[-1], "POST", "/checkout/sessions", basket())
            assert status == 200
            seen.setdefault(process_of(request_id), connections[-1])
            connections.append(workers.connect())
        one, other = seen.values()
        assert ask(one, "GET", f"/checkout/sessions/{session['id']}")[2] == session
        assert ask(other, "GET", f"/checkout/sessions/{session['id']}")[2] == session
        assert session["url"].startswith(workers.url)
        ids = [ask(each, "GET", "/checkout/sessions")[1] for each in (one, other) for _ in range(5)]
        assert len(set(ids)) == 10
        living = workers.living
        assert len(living) == 2
        workers.process.terminate()
        assert workers.end() == ""
        assert workers.process.returncode == 0
        assert not [each for each in living if each.is_running()]
        with pytest.raises(ConnectionRefusedError):
            workers.connect().connect()


def test_a_signal_to_the_whole_group_is_one_signal(database: Place) -> None:
    with serving(database.url) as workers:
        for each in workers.living:
            each.send_signal(signal.SIGINT)
        workers.process.send_signal(signal.SIGINT)
        assert workers.end() == ""
        assert workers.process.returncode == 0


def test_the_others_go_on_without_a_worker_that_dies(database: Place) -> None:
    with serving(database.url) as workers:
        _, _, session = ask(workers.connect(), "POST", "/checkout/sessions", basket())
        dead, alive = workers.living
        dead.kill()
        wait_for(lambda: workers.living == [alive], workers.process)
        for _ in range(3):
            assert ask(workers.connect(), "GET", f"/checkout/sessions/{session['id']}")[2] == session
        workers.process.terminate()
        log = workers.end()
        assert log.strip() in {f"worker {n} (process {dead.pid}) has ended by SIGKILL; 1 are left" for n in (0, 1)}
        assert workers.process.returncode == 0


def test_without_any_worker_the_server_ends_and_says_so(database: Place) -> None:
    with serving(database.url) as workers:
        for each in workers.living:
            each.kill()
        assert workers.end().endswith("failed: no worker is left\n")
        assert workers.process.returncode == 1


def test_workers_do_not_outlive_their_parent(database: Place) -> None:
    with serving(database.url) as workers:
        living = workers.living
        os.kill(workers.process.pid, signal.SIGKILL)
        workers.process.wait(20)
        _, alive = psutil.wait_procs(living, timeout=20)
        assert alive == []


def test_a_store_that_cannot_be_reached_ends_the_start_with_one_reason() -> None:
    with serving("postgresql://127.0.0.1:1/nothing") as workers:
        assert workers.url == "", "it was never ready"
        log = workers.end()
        assert log.startswith("failed: PostgreSQL at 127.0.0.1 (database nothing) cannot be used")
        assert log.count("\n") == 1
        assert workers.process.returncode == 1
