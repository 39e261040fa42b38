"""What the crash tests share: a server that is killed, clients that write all the time, and what they were told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any, Final, Self
from urllib.parse import urlsplit

from mock_harness import basket

PROGRAM: Final = Path(__file__).parent / "serve_again.py"
PATIENCE: Final = 60
"""Seconds for one answer: while no server runs, a request waits for the next one."""


class KilledServer:
    """`serve_again.py`, told what to do.

    Attributes:
        url: Where it listens, before and after each kill.
    """

    def __init__(self, store: str, count: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, PROGRAM, store, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self.log = ""

    def _tell(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def kill(self, number: int = 0) -> None:
        """Kill a server at whatever it is doing, and start another one in its place."""
        assert self._tell(f"kill {number}"), "it did not start again"

    def pid(self, number: int = 0) -> int:
        return int(self._tell(f"pid {number}"))

    def set_calendar(self, hours: int, number: int = 0) -> None:
        """Set the calendar of a server's machine an hour back (-1) or forward (1)."""
        os.kill(self.pid(number), signal.SIGUSR1 if hours < 0 else signal.SIGUSR2)

    @contextmanager
    def standing_still(self, number: int = 0) -> Iterator[None]:
        """Stop a server without ending it, as a debugger or a suspended machine does."""
        pid = self.pid(number)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def stop(self) -> int:
        """End it cleanly; the exit code."""
        _, self.log = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode

    def abort(self) -> None:
        if self._process.poll() is None:
            self._process.communicate(timeout=PATIENCE)


@contextmanager
def killed_server(store: str, count: int = 1) -> Iterator[KilledServer]:
    server = KilledServer(store, count)
    try:
        yield server
    finally:
        server.abort()


class Receiver:
    """A shop's webhook endpoint in a thread; it remembers the events that came, however often they did."""

    def __init__(self, pulse: Pulse | None = None, *, host: str = "127.0.0.1") -> None:
        """Receive on `host`; `pulse` is told of each event that was `delivered`."""
        self.events: dict[str, dict[str, Any]] = {}
        self.deliveries = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["content-length"])))
                before = receiver.events.setdefault(event["id"], event)
                assert before == event, "an event that is sent again is the same"
                receiver.deliveries += 1
                if pulse is not None:
                    pulse.beat("delivered")
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # a sender that is killed hangs up

        self._server = Server((host, 0), Handler)
        self.url = f"http://{host}:{self._server.server_address[1]}/hooks"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Pulse:
    """Counts what happens in other threads, so that a test can wait for it instead of for time to pass."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._changed = threading.Condition()

    def beat(self, what: str) -> None:
        with self._changed:
            self._count[what] += 1
            self._changed.notify_all()

    def wait(self, what: str, times: int) -> None:
        """Wait until it has happened so many times more."""
        with self._changed:
            wanted = self._count[what] + times
            assert self._changed.wait_for(lambda: self._count[what] >= wanted, PATIENCE), f"nothing was {what} any more"


class Lost(Exception):
    """No answer came: what was asked may have been done, or not."""


class Refused(Exception):
    """The server said that it cannot: it did nothing, unless its database went just when it had committed."""


@dataclass
class Writer:
    """One shop that creates, pays and expires, and writes down each answer that it gets.

    Attributes:
        created: For each idempotency key, the first answer that told of it.
        ended: For each session that was ended, how: the status that was acknowledged.
        request_ids: Of all answers.
        lost: Requests without an answer.
        refused: Requests that were answered with 503.
        is_refusal_certain: Whether what was answered with 503 was not done.
    """

    url: str
    key: str
    random: Random
    pulse: Pulse
    is_refusal_certain: bool = True
    created: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    expire_keys: dict[str, str] = field(default_factory=dict)
    request_ids: list[str] = field(default_factory=list)
    lost: int = 0
    refused: int = 0
    failure: BaseException | None = None
    _connection: HTTPConnection | None = None
    _open: list[str] = field(default_factory=list)
    _count: int = 0

    def ask(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> tuple[int, Any]:
        """One request, one answer.

        Raises:
            Lost: None came.
            Refused: It was 503.
        """
        headers = {"authorization": "Basic " + b64encode(f"{self.key}:".encode()).decode()}
        if body is not None:
            headers["content-type"] = "application/json"
        if key is not None:
            headers["idempotency-key"] = key
        if self._connection is None:
            self._connection = HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = self._connection.getresponse()
            content = reply.read()
        except (OSError, HTTPException) as error:
            self.hang_up()
            self.lost += 1
            raise Lost from error
        self.request_ids.append(reply.headers["request-id"])
        answer: Any = json.loads(content) if content else None
        if reply.status == 503:
            assert answer["error"]["code"] == "unavailable", answer
            self.refused += 1
            self.pulse.beat("refused")
            raise Refused
        self.pulse.beat("answered")
        return reply.status, answer

    def insist(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> tuple[int, Any]:
        """Ask until there is an answer, as a shop does that has an idempotency key."""
        while True:
            try:
                return self.ask(method, path, body, key=key)
            except (Lost, Refused):
                continue

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def run(self, stop: threading.Event) -> None:
        """Write until told to stop."""
        try:
            while not stop.is_set():
                self._step()
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.failure = error
        finally:
            self.hang_up()

    def _step(self) -> None:
        if self._open and self.random.random() < 0.6:
            session_id = self._open.pop(self.random.randrange(len(self._open)))
            (self._pay if self.random.random() < 0.5 else self._expire)(session_id)
            return
        self._count += 1
        key = f"create {self._count}".replace(" ", "-")
        status, session = self.insist("POST", "/checkout/sessions", basket(), key=key)
        assert status == 200, session
        self.created[key] = session
        self._open.append(session["id"])

    def _pay(self, session_id: str) -> None:
        """Nothing but the session keeps a payment from being made twice: 409 tells that an earlier one came through."""
        path = f"/_mock/v1/sessions/{session_id}/pay"
        is_repeated = False
        while True:
            try:
                status, answer = self.ask("POST", path, {"outcome": "succeeded"})
            except Refused:
                is_repeated = is_repeated or not self.is_refusal_certain
                continue
            except Lost:
                is_repeated = True
                continue
            assert status == 200 or (status == 409 and is_repeated), (status, answer)
            self.ended[session_id] = "complete"
            return

    def _expire(self, session_id: str) -> None:
        key = f"expire-{session_id}"
        status, session = self.insist("POST", f"/checkout/sessions/{session_id}/expire", key=key)
        assert (status, session["status"]) == (200, "expired"), session
        self.ended[session_id] = "expired"
        self.expire_keys[key] = session_id


@dataclass
class TimeTraveller(Writer):
    """A shop whose clock is moved all the time, while sessions expire by it.

    Attributes:
        advanced: Seconds that its clock was moved, as acknowledged.
    """

    advanced: int = 0

    def _step(self) -> None:
        for _ in range(2):
            self._count += 1
            key = f"create-{self._count}"
            _, session = self.insist("POST", "/checkout/sessions", basket(), key=key)
            self.created[key] = session
        try:
            status, moved = self.ask("POST", "/_mock/v1/clock/advance", {"seconds": 50_000})
        except (Lost, Refused):
            return
        assert status == 200, moved
        self.advanced += 50_000
        for session_id in moved["expired"]:
            assert session_id not in self.ended, "it expired already"
            self.ended[session_id] = "expired"


@contextmanager
def writing(
    urls: Sequence[str],
    receiver: Receiver,
    pulse: Pulse,
    seed: int,
    number: int = 4,
    *,
    is_refusal_certain: bool = True,
) -> Iterator[list[Writer]]:
    """Shops that write all the time, one of them with a moving clock; in the end none has failed.

    Each of them calls one of the `urls`.
    """
    random = Random(seed)  # noqa: S311 - a test repeats with its seed
    kinds = [TimeTraveller, *[Writer] * (number - 1)]
    writers = [
        kind(urls[each % len(urls)], f"sk_test_writer_{each}", Random(random.random()), pulse, is_refusal_certain)  # noqa: S311
        for each, kind in enumerate(kinds)
    ]
    for writer in writers:
        status, _ = writer.insist("POST", "/_mock/v1/webhook-endpoints", {"url": receiver.url})
        assert status == 201
    stop = threading.Event()
    threads = [threading.Thread(target=writer.run, args=(stop,)) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        yield writers
    finally:
        stop.set()
        for thread in threads:
            thread.join(2 * PATIENCE)
    for writer in writers:
        if writer.failure is not None:
            raise writer.failure


def pass_retries(writers: list[Writer]) -> None:
    """Let so much time pass on the shops' clocks that the first three tries of a webhook may fail."""
    for writer in writers:
        status, _ = writer.insist("POST", "/_mock/v1/clock/advance", {"seconds": 10 + 60 + 300})
        assert status == 200


def judge(writers: list[Writer], receiver: Receiver) -> None:
    """Everything that was acknowledged is there, each once."""
    told: list[str] = []
    for writer in writers:
        try:
            told += _judge(writer)
        finally:
            writer.hang_up()
    assert set(receiver.events) >= set(told), "an event was never delivered"
    repeated = [
        each for each, count in Counter(id_ for writer in writers for id_ in writer.request_ids).items() if count > 1
    ]
    assert repeated == [], "a request id was given out twice"


def _judge(writer: Writer) -> list[str]:
    """Ids of the account's events."""
    status, clock = writer.insist("GET", "/_mock/v1/clock")
    assert (status, clock["frozen"]) == (200, False), "a clock that was moved goes on"
    # A move that died may have ended seconds before a deadline: nothing shall expire between one look and the next.
    status, _ = writer.insist("PUT", "/_mock/v1/clock", {"frozen": True})
    assert status == 200
    writer.insist("POST", "/_mock/v1/deliveries/flush")
    listed = _list(writer)
    assert {session["id"] for session in writer.created.values()} == set(listed), "one session for each key, no more"
    _judge_keys(writer, listed)
    for session_id, session in listed.items():
        expected = writer.ended.get(session_id)
        if expected is not None:
            assert session["status"] == expected, "a transition was lost"
        elif not isinstance(writer, TimeTraveller):
            assert session["status"] == "open", "nobody has ended it"
    _, events = writer.insist("GET", "/_mock/v1/events")
    told = Counter(event["data"]["object"]["id"] for event in events["data"])
    assert set(told.values()) <= {1}, "a session has one event in its life"
    untold = {each for each, session in listed.items() if session["status"] != "open"} ^ set(told)
    assert not untold, [listed[each] for each in untold]
    for event in events["data"]:
        session = listed[event["data"]["object"]["id"]]
        assert (event["data"]["object"], event["type"]) == (session, TYPES[session["status"]])
    return [event["id"] for event in events["data"]]


TYPES: Final = {"complete": "checkout.session.completed", "expired": "checkout.session.expired"}


def _list(writer: Writer) -> dict[str, dict[str, Any]]:
    """Every session of the account, walked page by page."""
    listed: dict[str, dict[str, Any]] = {}
    cursor = ""
    while True:
        _, page = writer.insist("GET", f"/checkout/sessions?limit=100{cursor}")
        for session in page["data"]:
            assert session["id"] not in listed, "a session is listed twice"
            listed[session["id"]] = session
        if not page["has_more"]:
            return listed
        cursor = f"&starting_after={page['data'][-1]['id']}"


def _judge_keys(writer: Writer, listed: dict[str, dict[str, Any]]) -> None:
    """Each key answers what it answered at first."""
    for key, first in writer.created.items():
        status, again = writer.insist("POST", "/checkout/sessions", basket(), key=key)
        if isinstance(writer, TimeTraveller) and again["id"] not in listed:
            continue  # a day has passed on its clock: the key was forgotten
        assert (status, again) == (200, first)
    for key, session_id in writer.expire_keys.items():
        status, again = writer.insist("POST", f"/checkout/sessions/{session_id}/expire", key=key)
        assert (status, again) == (200, listed[session_id])
