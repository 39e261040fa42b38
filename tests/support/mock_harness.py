"""What the tests of the mock share: a client that calls an app in process, a receiver of webhooks, a sample basket."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from qashier_mock.app import MockApp
from qashier_mock.core.credentials import account_of
from qashier_mock.core.model import AccountId, CreateSession, LineItem
from qashier_mock.core.policy import Policy
from qashier_mock.core.request import RequestRef
from qashier_mock.core.sources import ManualClock, SeededIds
from qashier_mock.service import CheckoutService
from qashier_mock.stores.memory import MemoryStore

T = TypeVar("T")
Json = dict[str, Any]

NOW: Final = 1_767_225_600
"""Where a manual clock of the tests begins: 2026-01-01, 00:00 UTC."""

ACCOUNT: Final = AccountId("acct_main")
OTHER_ACCOUNT: Final = AccountId("acct_other")
HANG: Final = 0
"""Instead of a status: the receiver never answers."""


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits for anything, as nothing over a memory store does."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise AssertionError("it has waited for something")


def line_item(**changes: Any) -> Json:
    """A line of a basket; `name`, `description`, `currency`, `unit_amount`, `quantity` may be given."""
    product = {"name": changes.pop("name", "Kopi O")}
    if "description" in changes:
        product["description"] = changes.pop("description")
    line = {
        "price_data": {
            "currency": changes.pop("currency", "SGD"),
            "product_data": product,
            "unit_amount": changes.pop("unit_amount", 180),
        },
        "quantity": changes.pop("quantity", 2),
    }
    assert not changes
    return line


def basket(**changes: Any) -> Json:
    """A valid body of create, with some fields changed."""
    return {
        "line_items": [line_item()],
        "success_url": "https://shop.example/orders/1/thanks",
        "return_url": "https://shop.example/orders/1",
        **changes,
    }


def order(**changes: Any) -> CreateSession:
    """The same as the service takes it."""
    given: Json = {
        "line_items": (LineItem("Kopi O", None, "SGD", 180, 2),),
        "success_url": "https://shop.example/orders/1/thanks",
        "return_url": "https://shop.example/orders/1",
        **changes,
    }
    return CreateSession(**given)


def request(key: str | None = None, *, fingerprint: bytes = b"", **more: Any) -> RequestRef:
    """The API request behind a command of the service."""
    return RequestRef("req_1", key, fingerprint, **more)


def make_service(**options: Any) -> tuple[CheckoutService, ManualClock]:
    """A service over an empty memory, and its clock."""
    clock = ManualClock(NOW)
    given: Json = {"store": MemoryStore(), "policy": Policy(), "public_url": lambda: "http://mock.test", **options}
    return CheckoutService(clock=clock, ids=SeededIds(1), **given), clock


@dataclass(frozen=True)
class Answer:
    """What an app answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Json:
        found: Json = self.json()["error"]
        return found


class Client:
    """Calls an app in process, as the shop of one key; every answer is judged by the document."""

    def __init__(self, app: MockApp, runner: asyncio.Runner, key: str) -> None:
        self.app = app
        self.key = key
        self.runner = runner

    @property
    def account(self) -> AccountId:
        """The account of the key."""
        return account_of(self.key)

    @property
    def other(self) -> Client:
        """The same app with the key of another account."""
        return self.of(f"{self.key}_other")

    def of(self, key: str) -> Client:
        """The same app with another key."""
        return Client(self.app, self.runner, key)

    def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        authorization: str | None = "",
    ) -> Answer:
        """Send a request.

        Args:
            method: The HTTP method.
            target: Path and query as they stand in the request line.
            body: Sent as JSON; bytes as they are, with a media type only if `headers` name one; None for no body.
            headers: Further headers.
            authorization: The header of that name; None for none, empty for the client's key.
        """
        return self.runner.run(self.asend(method, target, body, headers=headers, authorization=authorization))

    async def asend(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        authorization: str | None = "",
    ) -> Answer:
        """`send`, within the client's event loop."""
        if authorization == "":
            authorization = "Basic " + base64.b64encode(f"{self.key}:".encode()).decode()
        sent = [(b"host", b"mock.test")]
        if authorization is not None:
            sent.append((b"authorization", authorization.encode("latin-1")))
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None:
            sent.append((b"content-length", str(len(content)).encode()))
            if not isinstance(body, bytes):
                sent.append((b"content-type", b"application/json"))
        sent += [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": sent,
            "extensions": {},
        }
        messages = [{"type": "http.request", "body": content, "more_body": False}]
        answered: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            answered.append(message)

        await self.app.asgi(scope, receive, send)
        start, *rest = answered
        names = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], names, b"".join(each.get("body", b"") for each in rest))

    def get(self, target: str, **options: Any) -> Answer:
        return self.send("GET", target, **options)

    def post(self, target: str, body: Any = None, **options: Any) -> Answer:
        return self.send("POST", target, body, **options)

    def put(self, target: str, body: Any = None, **options: Any) -> Answer:
        return self.send("PUT", target, body, **options)

    def delete(self, target: str, **options: Any) -> Answer:
        return self.send("DELETE", target, **options)

    # what most tests begin with

    def ok(self, method: str, target: str, body: Any = None, **options: Any) -> Any:
        """The body of a request that must succeed."""
        answer = self.send(method, target, body, **options)
        assert answer.status // 100 == 2, answer
        return answer.json() if answer.body else None

    def create(self, *, key: str | None = None, **changes: Any) -> Json:
        """A new session; `key` is its idempotency key, the rest changes the basket."""
        headers = {} if key is None else {"idempotency-key": key}
        session: Json = self.ok("POST", "/checkout/sessions", basket(**changes), headers=headers)
        return session

    def retrieve(self, session_id: str) -> Json:
        session: Json = self.ok("GET", f"/checkout/sessions/{session_id}")
        return session

    def expire(self, session_id: str, *, key: str | None = None) -> Answer:
        headers = {} if key is None else {"idempotency-key": key}
        return self.post(f"/checkout/sessions/{session_id}/expire", headers=headers)

    def pay(self, session_id: str, outcome: str = "succeeded") -> Answer:
        return self.post(f"/_mock/v1/sessions/{session_id}/pay", {"outcome": outcome})

    def page(self, query: str = "") -> Json:
        page: Json = self.ok("GET", f"/checkout/sessions?{query}")
        return page

    def ids(self, query: str = "") -> list[str]:
        """The ids of a page."""
        return [each["id"] for each in self.page(query)["data"]]

    def freeze(self, at: int | None = None) -> Json:
        moved: Json = self.ok("PUT", "/_mock/v1/clock", {"frozen": True} if at is None else {"now": at, "frozen": True})
        return moved

    def advance(self, seconds: int) -> Json:
        moved: Json = self.ok("POST", "/_mock/v1/clock/advance", {"seconds": seconds})
        return moved

    def data(self, what: str) -> list[Json]:
        """The list at a path of the control API."""
        data: list[Json] = self.ok("GET", f"/_mock/v1/{what}")["data"]
        return data

    def subscribe(self, url: str, **more: Any) -> Json:
        """A new webhook endpoint."""
        endpoint: Json = self.ok("POST", "/_mock/v1/webhook-endpoints", {"url": url, **more})
        return endpoint

    def break_(self, **rule: Any) -> Json:
        """A new fault rule."""
        made: Json = self.ok("POST", "/_mock/v1/faults", rule)
        return made


@dataclass
class Received:
    """One webhook as it came in."""

    body: bytes
    headers: Mapping[str, str]
    path: str

    @property
    def event(self) -> Json:
        event: Json = json.loads(self.body)
        return event


@dataclass
class Receiver:
    """A shop's webhook endpoint: a real server on loopback, on the event loop of the client.

    Attributes:
        received: What came in, in order.
        answers: The statuses to answer with, one each; 200 when there are no more, `HANG` for never.
        on_arrival: Awaited with each webhook before it is answered.
    """

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: deque[int] = field(default_factory=deque)
    on_arrival: Callable[[Received], Awaitable[Any]] | None = None
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    @property
    def types(self) -> list[str]:
        return [each.event["type"] for each in self.received]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/hooks"

    async def stop(self) -> None:
        self._closing.set()
        await self.close()

    async def close(self) -> None:
        """Listen no longer."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def arrived(self, number: int) -> None:
        """Wait until that many webhooks have come in."""
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.received) >= number)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
            body = await reader.readexactly(int(headers["content-length"]))
            received = Received(body, headers, head[0].split()[1])
            async with self._arrived:
                self.received.append(received)
                self._arrived.notify_all()
            if self.on_arrival is not None:
                await self.on_arrival(received)
            status = self.answers.popleft() if self.answers else 200
            if status == HANG:
                await self._closing.wait()
            else:
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
                await writer.drain()
        finally:
            writer.close()
