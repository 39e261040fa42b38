"""A served mock under pressure: what a client can cost it in memory, descriptors and threads, and how long others wait.

Each test takes down what it measured, as a `figure`; pytest lists them all at the end.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from copy import deepcopy
from random import Random
from typing import Any, Final

import pytest
from crash_harness import Receiver
from mock_harness import basket
from pressure_harness import HAS_PROC, Bystander, Caller, Served, basic, hang_up, least, served
from store_harness import Place

from qashier_mock.core.journal import CAPACITY

pytest_plugins = ["store_fixtures"]
pytestmark = [pytest.mark.soak, pytest.mark.skipif(not HAS_PROC, reason="this system has no /proc to measure with")]

IN_FULL: Final = os.environ.get("QASHIER_SOAK", "full") == "full"
MB: Final = 1_000_000
WAIT_MS: Final = 100
"""What nobody waits longer than, whatever somebody else sends."""
STORES: Final = ["memory", "sqlite", "postgresql"] if IN_FULL else ["memory"]
Figure = Callable[[str, float, float], None]

# ── bodies ──────────────────────────────────────────────────────────────────────────────────────────────────────────

SIZE: Final = 4 * MB if IN_FULL else 2 * MB


def many(element: bytes, size: int = SIZE) -> bytes:
    return b",".join([element] * (size // (len(element) + 1)))


BAD: Final[dict[str, Callable[[], bytes]]] = {
    "nested arrays for sessions": lambda: b'{"sessions":[' + many(b"[[[]]]") + b"]}",
    "one session of nested arrays": lambda: b'{"sessions":[[' + many(b"[[[]]]") + b"]]}",
    "small objects for events": lambda: b'{"version":1,"events":[' + many(b'{"b":1}') + b"]}",
    "strings for deliveries": lambda: b'{"version":1,"deliveries":[' + many(b'"ab"') + b"]}",
    "nested arrays under a name of its own": lambda: b'{"version":1,"mine":[' + many(b"[[[]]]") + b"]}",
    "too deep": lambda: b'{"version":1,"sessions":' + b"[" * SIZE,
    "very many names": lambda: b"{" + b",".join(b'"k%d":1' % number for number in range(SIZE // 13)) + b"}",
    "no JSON in the end": lambda: b'{"version":1,"unconfirmed":[' + many(b'"cs_test_aaaa"') + b"]",
    "more than may be sent": lambda: b'{"version":1,"sessions":[' + many(b"[[[]]]", 10 * SIZE) + b"]}",
}


@pytest.fixture(scope="module")
def mock() -> Iterator[Served]:
    """A server whose state is in memory."""
    with served() as server:
        yield server


@pytest.mark.parametrize("name", BAD)
def test_a_refused_body_costs_ten_times_its_bytes_and_nobody_waits(mock: Served, name: str, figure: Figure) -> None:
    body = BAD[name]()
    base = mock.memory
    mock.forget_peak()

    def put() -> float:
        refused_early = suppress(ConnectionError)  # by its length, before it was sent
        with Bystander(mock) as bystander, mock.client("sk_test_refused") as client, refused_early:
            status, _ = client.ask("PUT", "/_mock/v1/snapshot", body)
            assert status == (413 if len(body) > 2 * SIZE else 400)
        return bystander.longest * 1_000

    waited_ms = least(put, enough=WAIT_MS)
    most = (10 * len(body) + 32 * MB) / MB
    figure(f"{name}, {len(body) / MB:.1f} MB refused: memory, MB", (mock.peak - base) / MB, most)
    figure(f"{name}, {len(body) / MB:.1f} MB refused: another waits, ms", waited_ms, WAIT_MS)


def large_snapshot(server: Served, size: int) -> dict[str, Any]:
    """A valid snapshot of about so many bytes: one session, many times."""
    with server.client("sk_test_model") as client:
        client.create()
        _, model = client.ask("GET", "/_mock/v1/snapshot")
    (session,) = model["sessions"]
    copies = size // len(json.dumps(session))
    model["sessions"] = [{**session, "id": f"{session['id'][:-6]}{number:06}"} for number in range(copies)]
    found: dict[str, Any] = model
    return found


@pytest.mark.parametrize("kind", STORES)
def test_nobody_waits_for_a_large_snapshot(kind: str, new_place: Callable[[str], Place], figure: Figure) -> None:
    """It is valid, and put in, taken out again, put in once more, or refused for what stands at its end."""
    with served("--store", new_place(kind).url) as server:
        good = large_snapshot(server, SIZE)
        late = deepcopy(good)
        late["sessions"][-1]["expires_at"] = late["sessions"][-1]["created"]
        for what, method, status, snapshot in (
            ("put in", "PUT", 200, good),
            ("taken out", "GET", 200, None),
            ("put in again", "PUT", 200, good),
            ("refused at its end", "PUT", 422, late),
        ):
            body = None if snapshot is None else json.dumps(snapshot).encode()

            def send(method: str = method, body: bytes | None = body, status: int = status) -> float:
                with Bystander(server) as bystander, server.client("sk_test_large") as client:
                    answered, told = client.ask(method, "/_mock/v1/snapshot", body)
                    assert answered == status, told
                return bystander.longest * 1_000

            figure(
                f"{kind}: a snapshot of {len(json.dumps(good)) / MB:.0f} MB is {what}: another waits, ms",
                least(send, enough=WAIT_MS),
                WAIT_MS,
            )


LARGE: Final = 100_000 if IN_FULL else 4_000
"""Sessions of an account that is far larger than a snapshot may be that is put in."""


@pytest.mark.parametrize("kind", STORES)
def test_nobody_waits_for_a_large_account(kind: str, new_place: Callable[[str], Place], figure: Figure) -> None:
    """All that it has is read, all of it expires at once, its old keys are forgotten, and it is replaced."""
    # A database server takes a millisecond or more for each session that expires: of 100,000 nobody would hear within
    # two minutes.
    size = LARGE // 10 if kind == "postgresql" else LARGE
    with served("--store", new_place(kind).url) as server:
        server.create_many("sk_test_large", size)
        for what, method, path, body in (
            ("its snapshot is taken", "GET", "/_mock/v1/snapshot", None),
            ("it expires", "POST", "/_mock/v1/clock/advance", {"seconds": 90_000}),
            ("its events are listed", "GET", "/_mock/v1/events", None),
            ("its advice is listed", "GET", "/_mock/v1/advice", None),
            ("its snapshot is taken again", "GET", "/_mock/v1/snapshot", None),
            ("its keys are forgotten", "POST", "/checkout/sessions", basket()),
            ("another takes its place", "PUT", "/_mock/v1/snapshot", large_snapshot(server, 1)),
        ):

            def send(method: str = method, path: str = path, body: object = body) -> float:
                with Bystander(server) as bystander, server.client("sk_test_large") as client:
                    status, told = client.ask(method, path, body, **{"Idempotency-Key": "new"})
                assert status == 200, told
                for listed in (told.get("expired"), told.get("sessions")):
                    assert not isinstance(listed, list) or len(listed) == size
                return bystander.longest * 1_000

            waited_ms = least(send, enough=WAIT_MS) if method == "GET" else send()
            figure(f"{kind}: an account of {size:,} sessions, {what}: another waits, ms", waited_ms, WAIT_MS)


def test_an_endless_trailer_costs_nothing(mock: Served, figure: Figure) -> None:
    base = mock.memory
    mock.forget_peak()
    size = 50 * MB if IN_FULL else 5 * MB
    head = b"POST /checkout/sessions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    with mock.connect() as connection, suppress(ConnectionError):
        connection.sendall(head)
        for _ in range(size // 65_536):
            connection.sendall(b"A: b\r\n" * 10_922)
    figure(f"{size / MB:.0f} MB of trailers without a key: memory, MB", (mock.peak - base) / MB, 4)


# ── connections ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_silent_connections_shut_nobody_out(figure: Figure) -> None:
    """More of them than the server has descriptors: the oldest are closed, and others have their turn at once."""
    descriptors, count = (1_024, 1_200) if IN_FULL else (128, 160)
    with served(descriptors=descriptors) as server:
        silent = [server.connect() for _ in range(count)]
        for each in silent[::2]:
            with suppress(OSError):
                each.sendall(b"GET /checkout/sess")
        try:
            began = time.perf_counter()
            with server.client("sk_test_patient") as client:
                assert client.ask("GET", "/checkout/sessions")[0] == 200
            waited_ms = (time.perf_counter() - began) * 1_000
        finally:
            hang_up(silent)
    figure(f"{count:,} silent connections on {descriptors:,} descriptors: another waits, ms", waited_ms, 1_000)
    told = [line for line in server.log if "closed one that was silent" in line]
    figure(f"{count:,} silent connections on {descriptors:,} descriptors: lines in the log", len(server.log), 1)
    assert told


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgresql"])
def test_whoever_stops_sending_gets_the_whole_answer_wherever_state_is_kept(
    kind: str, new_place: Callable[[str], Place], figure: Figure
) -> None:
    count = 50
    body = json.dumps(basket()).encode()
    lines = (
        "POST /checkout/sessions HTTP/1.1", "Host: localhost", f"Authorization: {basic('sk_test_half')}",
        "Content-Type: application/json", f"Content-Length: {len(body)}", "", "",
    )  # fmt: skip
    with served("--store", new_place(kind).url) as server:
        answered = 0
        for _ in range(count):
            with server.connect() as connection:
                connection.sendall("\r\n".join(lines).encode() + body)
                connection.shutdown(socket.SHUT_WR)
                received = b""
                while data := connection.recv(65_536):
                    received += data
            answered += received.startswith(b"HTTP/1.1 200 ") and received.endswith(b"}")
    figure(f"{kind}: half-closed creates of {count} without an answer", count - answered, 0)


def test_calls_that_were_abandoned_while_they_were_held_up_do_not_stay(figure: Figure) -> None:
    """A fault holds them up for half an hour; whoever sent them has hung up. Others are answered all the same."""
    descriptors, count = (1_024, 20_000) if IN_FULL else (256, 400)
    with served(descriptors=descriptors) as server, server.client("sk_test_delayed") as client:
        rule = {"operation": "*", "action": "delay", "seconds": 1_800, "times": 100_000}
        status, told = client.ask("POST", "/_mock/v1/faults", rule)
        assert status == 201, told
        request = f"GET /checkout/sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic(client.key)}\r\n\r\n"
        base, threads = server.memory, server.threads
        for _ in range(count):
            with server.connect() as connection:
                connection.sendall(request.encode())
        with server.client("sk_test_others") as other:
            assert other.ask("GET", "/checkout/sessions")[0] == 200
        figure(f"{count:,} abandoned calls under a delay: memory, MB", (server.memory - base) / MB, 50)
        figure(f"{count:,} abandoned calls under a delay: descriptors", server.descriptors, descriptors / 2)
        figure(f"{count:,} abandoned calls under a delay: threads", server.threads - threads, 4)


# ── growth ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", STORES)
def test_keys_that_only_read_leave_nothing_behind(kind: str, new_place: Callable[[str], Place], figure: Figure) -> None:
    first, count = (4_000, 60_000 if kind == "memory" else 6_000) if IN_FULL else (2_500, 1_000)
    with served("--store", new_place(kind).url) as server, server.client("") as client:
        for number in range(first):  # as many visitors as are kept
            client.ask("GET", "/checkout/sessions", key=f"sk_test_first{number}")
        base = server.memory
        for number in range(count):
            assert client.ask("GET", "/checkout/sessions", key=f"sk_test_reader{number}")[0] == 200
        figure(f"{kind}: {count:,} more keys that only read: memory, MB", (server.memory - base) / MB, 12)


def test_a_webhook_secret_has_a_greatest_length(mock: Served) -> None:
    with mock.client("sk_test_secret") as client:
        endpoint = {"url": "http://localhost:1/hooks", "secret": "x" * 1_000}
        assert client.ask("POST", "/_mock/v1/webhook-endpoints", endpoint)[0] == 201
        assert client.ask("POST", "/_mock/v1/webhook-endpoints", {**endpoint, "secret": "x" * 1_001})[0] == 400


# ── for long ────────────────────────────────────────────────────────────────────────────────────────────────────────

LONG_S: Final = float(os.environ.get("QASHIER_SOAK_SECONDS", "3600" if IN_FULL else "2"))
"""How long shops work, on all stores at the same time. An hour, where nobody asks for less."""
CACHED_MB: Final = {"sqlite": 64}
"""What a store keeps in memory of its file, at most, by its own settings."""
WARM: Final = 0.1
"""The share of it after which nothing grows any more."""


class Worker:
    """A shop that does a bit of everything, again and again, and begins anew now and then."""

    def __init__(self, kind: str, client: Caller, number: int, receiver: Receiver) -> None:
        self.kind = kind
        self.longest_journal = 0
        self._ask = client.ask
        self._receiver = receiver
        self._random = Random(number)  # noqa: S311 - a test repeats with its seed
        self._open: list[str] = []
        self.steps = 0
        self._begin()

    def _begin(self) -> None:
        self._ask("POST", "/_mock/v1/reset")
        self._ask("POST", "/_mock/v1/webhook-endpoints", {"url": self._receiver.url})
        self._open.clear()

    def step(self) -> None:
        self.steps += 1
        if self.steps % 1_500 == 0:
            _, journal = self._ask("GET", "/_mock/v1/requests")
            self.longest_journal = max(self.longest_journal, len(journal["data"]))
            _, whole = self._ask("GET", "/_mock/v1/snapshot")
            assert self._ask("PUT", "/_mock/v1/snapshot", whole)[0] == 200
            self._begin()
        choice = self._random.randrange(12)
        if choice < 4 or not self._open:
            status, session = self._ask(
                "POST", "/checkout/sessions", basket(), **{"Idempotency-Key": f"key-{self.steps}"}
            )
            assert status == 200, session
            self._open.append(session["id"])
        elif choice == 4:
            assert self._ask("POST", f"/_mock/v1/sessions/{self._open.pop()}/pay", {"outcome": "succeeded"})[0] == 200
        elif choice == 5:
            assert self._ask("POST", f"/checkout/sessions/{self._open.pop()}/expire")[0] == 200
        elif choice == 6:
            assert self._ask("POST", "/checkout/sessions", {"line_items": [[]] * 200})[0] == 400
        elif choice == 7:
            assert (
                self._ask("GET", "/checkout/sessions", key=f"sk_test_passer{self._random.randrange(10**9)}")[0] == 200
            )
        elif choice == 8:
            assert self._ask("GET", f"/checkout/sessions/{self._open[-1]}")[0] == 200
        else:
            assert self._ask("GET", "/checkout/sessions?limit=20&status=open")[0] == 200


def test_nothing_grows_while_shops_work_for_long(new_place: Callable[[str], Place], figure: Figure) -> None:
    kinds = ["memory", "sqlite", "postgresql"] if IN_FULL else ["memory", "sqlite"]
    with ExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        servers = {kind: stack.enter_context(served("--store", new_place(kind).url)) for kind in kinds}
        workers = [
            Worker(kind, stack.enter_context(server.client(f"sk_test_worker_{number}")), number, receiver)
            for kind, server in servers.items()
            for number in range(2)
        ]
        began = time.monotonic()
        before: dict[str, tuple[int, int, int]] = {}
        while (passed := time.monotonic() - began) < LONG_S or not before:
            for worker in workers:
                worker.step()
            if not before and passed > LONG_S * WARM:
                before = {kind: (each.memory, each.descriptors, each.threads) for kind, each in servers.items()}
            receiver.events.clear()
        for kind, each in servers.items():
            steps = sum(worker.steps for worker in workers if worker.kind == kind)
            what = f"{kind}, {steps:,} requests in {LONG_S:,.0f} s"
            memory, descriptors, threads = before[kind]
            figure(f"{what}: memory, MB more", (each.memory - memory) / MB, 40 + CACHED_MB.get(kind, 0))
            figure(f"{what}: descriptors more", each.descriptors - descriptors, 16)
            figure(f"{what}: threads more", each.threads - threads, 8)
            journal = max(worker.longest_journal for worker in workers if worker.kind == kind)
            figure(f"{what}: requests in a journal", journal, CAPACITY)
    assert [line for each in servers.values() for line in each.log] == []
