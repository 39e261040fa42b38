"""What the tests under pressure share: a server as users start it, what it takes, and a bystander who waits for it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, Self

from mock_harness import basket

PATIENCE: Final = 120
"""Seconds for one answer: a test ends red instead of never."""
PROC: Final = Path("/proc")
HAS_PROC: Final = PROC.joinpath("self", "clear_refs").exists()
"""Whether this system tells what a process takes, as Linux does."""


LIMITED: Final = """
import resource, sys
most = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
from qashier_mock.cli import main
sys.exit(main())
"""


def basic(key: str) -> str:
    return "Basic " + b64encode(f"{key}:".encode()).decode()


@dataclass
class Served:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    host: str
    port: int
    log: list[str] = field(default_factory=list)

    def _status(self, name: str) -> int:
        found = re.search(
            rf"^{name}:\s+(\d+)", PROC.joinpath(str(self.process.pid), "status").read_text(), re.MULTILINE
        )
        assert found is not None
        return int(found[1])

    @property
    def memory(self) -> int:
        """Bytes that it takes now."""
        return self._status("VmRSS") * 1024

    @property
    def peak(self) -> int:
        """Bytes that it took at most since `forget_peak`."""
        return self._status("VmHWM") * 1024

    @property
    def threads(self) -> int:
        return self._status("Threads")

    @property
    def descriptors(self) -> int:
        return len(list(PROC.joinpath(str(self.process.pid), "fd").iterdir()))

    def forget_peak(self) -> None:
        PROC.joinpath(str(self.process.pid), "clear_refs").write_text("5")

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=PATIENCE)

    def client(self, key: str) -> Caller:
        return Caller(self, key)

    def create_many(self, key: str, count: int) -> None:
        """Create so many sessions, each with an idempotency key; a hundred requests are under way at once."""
        body = json.dumps(basket()).encode()
        head = "POST /checkout/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += f"Authorization: {basic(key)}\r\nContent-Length: {len(body)}\r\nIdempotency-Key: "
        with self.connect() as connection, connection.makefile("rb") as answers:
            for begin in range(0, count, 100):
                numbers = range(begin, min(begin + 100, count))
                connection.sendall(b"".join([f"{head}{number}\r\n\r\n".encode() + body for number in numbers]))
                for _ in numbers:
                    status, *lines = iter(answers.readline, b"\r\n")
                    assert status.split()[1] == b"200", status
                    (length,) = [int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")]
                    answers.read(length)


class Caller:
    """One connection, and the key that it calls with."""

    def __init__(self, served: Served, key: str) -> None:
        self._connection = HTTPConnection(served.host, served.port, timeout=PATIENCE)
        self.key = key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Authorization": basic(key or self.key), "Content-Type": "application/json", **headers}
        try:
            self._connection.request(method, path, content, sent)
            answer = self._connection.getresponse()
        except (ConnectionResetError, BrokenPipeError):  # it was idle for so long that the server had closed it
            self._connection.close()
            self._connection.request(method, path, content, sent)
            answer = self._connection.getresponse()
        told = answer.read()
        return answer.status, json.loads(told) if told else None

    def create(self) -> dict[str, Any]:
        status, session = self.ask("POST", "/checkout/sessions", basket())
        assert status == 200, session
        made: dict[str, Any] = session
        return made


@contextmanager
def served(*options: str, descriptors: int | None = None) -> Iterator[Served]:
    """`qashier-mock serve` on a free port, with at most so many descriptors."""
    command = [sys.executable, "-c", LIMITED, str(descriptors or 4_096)]
    command += ["serve", "--port", "0", "--log-format", "json", "--quiet", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    log: list[str] = []
    reading = threading.Thread(target=log.extend, args=(process.stderr,), daemon=True)
    try:
        host, port = json.loads(process.stdout.readline())["url"].removeprefix("http://").split(":")
        reading.start()
        yield Served(process, host, int(port), log)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        reading.join(PATIENCE)
        process.stdout.close()
        process.stderr.close()


class Bystander:
    """Another client, who asks all the time, and remembers how long it waited at most, in seconds.

    Not counted is the time that it, or the thread that serves it, waited for a processor: that is other programs' work.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._stop = threading.Event()
        self._asked = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._ask)
        self.longest = 0.0
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        for _ in range(20):  # it is at it
            assert self._asked.acquire(timeout=PATIENCE)
        self.longest = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        if self.failure is not None:
            raise self.failure

    def _ask(self) -> None:
        try:
            with self._served.client("sk_test_bystander") as client:
                while not self._stop.is_set():
                    began = time.perf_counter() - self._queued()
                    status, _ = client.ask("GET", "/checkout/sessions")
                    self.longest = max(self.longest, time.perf_counter() - self._queued() - began)
                    assert status == 200
                    self._asked.release()
                    self._stop.wait(0.001)
        except BaseException as error:  # noqa: BLE001 - told where the test is
            self.failure = error
            self._asked.release(20)

    def _queued(self) -> float:
        """Seconds that the two threads have been ready to run, and did not."""
        process = self._served.process.pid
        threads = (PROC / "thread-self" / "schedstat", PROC / str(process) / "task" / str(process) / "schedstat")
        return sum(int(each.read_text().split()[1]) for each in threads) / 1e9


def least(measure: Callable[[], float], *, enough: float, times: int = 5) -> float:
    """The least of several measurements, since a busy machine only ever adds; no more of them once it is `enough`."""
    best = measure()
    for _ in range(times - 1):
        if best <= enough:
            break
        best = min(best, measure())
    return best


def hang_up(connections: Sequence[socket.socket]) -> None:
    for each in connections:
        with suppress(OSError):
            each.close()
