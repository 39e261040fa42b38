"""Several hosts on one machine: network namespaces, joined by two networks.

The database's host has a network with the hosts that serve, the customers' host another one:

    database 10.77.1.1 ─── 10.77.1.2 first  10.77.2.2 ─── 10.77.2.1 customers
                      └─── 10.77.1.3 second 10.77.2.3 ───┘
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

DATABASE: Final = "10.77.1.1"
CUSTOMERS: Final = "10.77.2.1"
HOSTS: Final = ("first", "second")
PORT: Final = 4010
_CLONE_NEWNET: Final = 0x40000000
_RELAY: Final = Path(__file__).parent / "relay.py"


class NotAllowed(Exception):
    """Network namespaces cannot be made here; the message says why."""


def _ip(*arguments: str) -> None:
    ran = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise NotAllowed(f"ip {' '.join(arguments)}: {ran.stderr.strip()}")


class Hosts:
    """Four hosts and the two networks between them.

    Attributes:
        urls: Where the mock listens on each host that serves.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._relays: dict[str, subprocess.Popen[str]] = {}
        self._programs: list[subprocess.Popen[str]] = []
        self.urls = [f"http://10.77.2.{2 + index}:{PORT}" for index in range(len(HOSTS))]

    def namespace(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def build(self) -> None:
        """Make the hosts and their networks.

        Raises:
            NotAllowed: This process may not.
        """
        for name in ("database", "customers", "switch", *HOSTS):
            _ip("netns", "add", self.namespace(name))
            _ip("-n", self.namespace(name), "link", "set", "lo", "up")
        for network in ("inner", "outer"):
            _ip("-n", self.namespace("switch"), "link", "add", network, "type", "bridge")
            _ip("-n", self.namespace("switch"), "link", "set", network, "up")
        self._plug("database", "inner", DATABASE)
        self._plug("customers", "outer", CUSTOMERS)
        for index, name in enumerate(HOSTS):
            self._plug(name, "inner", f"10.77.1.{2 + index}")
            self._plug(name, "outer", f"10.77.2.{2 + index}")

    def _plug(self, name: str, network: str, address: str) -> None:
        switch, port = self.namespace("switch"), f"{name[:6]}-{network}"
        _ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", network, "netns", self.namespace(name))
        _ip("-n", switch, "link", "set", port, "up")
        _ip("-n", self.namespace(name), "addr", "add", f"{address}/24", "dev", network)
        _ip("-n", self.namespace(name), "link", "set", network, "up")
        self.join(name, network)

    def cut(self, name: str, network: str) -> None:
        """Let nothing pass between a host and a network; nobody is told."""
        _ip("-n", self.namespace("switch"), "link", "set", f"{name[:6]}-{network}", "nomaster")

    def join(self, name: str, network: str) -> None:
        """Let everything pass again."""
        _ip("-n", self.namespace("switch"), "link", "set", f"{name[:6]}-{network}", "master", network)

    @contextmanager
    def cut_off(self, name: str, network: str) -> Iterator[None]:
        self.cut(name, network)
        try:
            yield
        finally:
            self.join(name, network)

    @contextmanager
    def slowed(self, name: str, seconds: float) -> Iterator[None]:
        """Have everything between a host and the database take longer."""
        self._set_delay(name, seconds)
        try:
            yield
        finally:
            self._set_delay(name, 0)

    def _set_delay(self, name: str, seconds: float) -> None:
        relay = self._relays[name]
        assert relay.stdin is not None
        relay.stdin.write(f"{seconds}\n")
        relay.stdin.flush()

    def serve(self, url: str) -> None:
        """Serve the database at `url`, which names a socket, from each host."""
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        socket = f"{query['host'][0]}/.s.PGSQL.5432"
        for index, name in enumerate(HOSTS):
            port = 5_432 + index
            self._relays[name] = self.start("database", str(_RELAY), DATABASE, str(port), socket)
            store = f"postgresql://postgres@{DATABASE}:{port}/postgres?options={quote(query['options'][0])}"
            options = ["--host", f"10.77.2.{2 + index}", "--port", str(PORT), "--store", store]
            options += ["--webhook-allow", CUSTOMERS, "--seed", "7"]
            self.start(name, "-m", "qashier_mock", "serve", *options)

    def start(self, name: str, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a Python program on a host, and wait for its first line."""
        program = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace(name), sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            text=True,
        )
        self._programs.append(program)
        assert program.stdout is not None
        assert "ready" in program.stdout.readline(), f"{arguments} did not start"
        return program

    def run(self, name: str, *arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a Python program on a host to its end."""
        command = ["ip", "netns", "exec", self.namespace(name), sys.executable, *arguments]
        return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)

    def end(self) -> None:
        for program in reversed(self._programs):
            program.terminate()
            program.communicate(timeout=60)
        for name in ("database", "customers", "switch", *HOSTS):
            with suppress(NotAllowed):
                _ip("netns", "del", self.namespace(name))

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Be on a host: this thread, and those that it starts."""
        libc: Any = ctypes.CDLL(None, use_errno=True)
        with ExitStack() as stack:
            before = stack.enter_context(Path("/proc/thread-self/ns/net").open("rb"))
            there = stack.enter_context(Path("/run/netns", self.namespace(name)).open("rb"))
            if libc.setns(there.fileno(), _CLONE_NEWNET) != 0:
                raise NotAllowed(os.strerror(ctypes.get_errno()))
            try:
                yield
            finally:
                libc.setns(before.fileno(), _CLONE_NEWNET)


@contextmanager
def several_hosts(prefix: str) -> Iterator[Hosts]:
    """Hosts that are there for as long as the context lasts."""
    hosts = Hosts(prefix)
    try:
        hosts.build()
        yield hosts
    finally:
        hosts.end()
