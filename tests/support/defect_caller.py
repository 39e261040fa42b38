"""A mock in process, maybe with defects, and all that a probe does to it.

Its webhooks end in a list, and its machine's clock stands, so that a probe takes milliseconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson

from qashier_mock.app import MockApp, Settings

NOW = 1_750_000_000
DAY = 86_400
BASE = "http://pay.test"
SESSIONS = "/checkout/sessions"
SUCCESS_URL = "https://Shop.example/thanks?a=1&b=%7B2%7D#top"
RETURN_URL = "https://Shop.example"
CANCEL_URL = "https://shop.example/cart"

Json = dict[str, Any]


class Broken(AssertionError):
    """The clause does not hold."""


def expect(condition: object, what: object) -> None:
    """Raise `Broken` where the condition does not hold."""
    if not condition:
        raise Broken(str(what)[:300])


@dataclass
class Seen:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body; `Broken` where it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            raise Broken(f"not JSON: {self.body[:60]!r}") from None

    @property
    def refused(self) -> bool:
        return 400 <= self.status < 500

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Endpoint:
    """Where webhooks end: what came, and what it answers."""

    id: str
    url: str
    statuses: list[int] = field(default_factory=list)
    received: list[httpx.Request] = field(default_factory=list)

    @property
    def events(self) -> list[Json]:
        return [orjson.loads(request.content) for request in self.received]


def line(name: str = "Coffee", amount: int = 450, quantity: int = 2, currency: str = "SGD", **more: Any) -> Json:
    """A line of an order; `description` is one of `more`."""
    price = {"currency": currency, "product_data": {"name": name, **more}, "unit_amount": amount}
    return {"price_data": price, "quantity": quantity}


def order(*lines: Json, without: str | None = None, **changes: Any) -> Json:
    """The body of a create."""
    body = {"line_items": list(lines) or [line()], "success_url": SUCCESS_URL, "return_url": RETURN_URL, **changes}
    if without is not None:
        body.pop(without, None)
    return body


class Mock:
    """A mock, maybe with defects, and all that a probe does to it."""

    def __init__(self, *bugs: str) -> None:
        self._accounts = itertools.count(1)
        self.begin()
        self.app = MockApp(Settings(seed=7, public_url=BASE, bugs=bugs), clock=lambda: float(NOW))
        self.app.dispatcher._send = self._receive

    def begin(self) -> None:
        """Go on with two accounts that have nothing yet."""
        number = next(self._accounts)
        self.key, self.other = f"sk_test_first_{number}", f"sk_test_second_{number}"
        self.endpoints: dict[str, Endpoint] = {}
        self.statuses: set[int] = set()

    async def _receive(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        endpoint = self.endpoints[url]
        endpoint.received.append(httpx.Request("POST", url, content=body, headers=dict(headers)))
        return endpoint.statuses.pop(0) if endpoint.statuses else 200

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "",
        idempotency: str | None = None,
        **headers: str,
    ) -> Seen:
        """Send a request; `body` is bytes as they are, or anything as JSON. Without a `key` it is `mock.key`."""
        raw_path, _, query = path.partition("?")
        content = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        sent = {"host": "pay.test", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if key is not None:
            sent.setdefault("authorization", f"Bearer {key or self.key}")
        if idempotency is not None:
            sent["idempotency-key"] = idempotency
        if body is not None:
            sent.setdefault("content-type", "application/json")
            sent["content-length"] = str(len(content))
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": raw_path,
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items() if value],
        }
        pending = [{"type": "http.request", "body": content, "more_body": False}]
        started: Json = {}
        chunks: list[bytes] = []

        async def receive() -> Json:
            return pending.pop() if pending else {"type": "http.disconnect"}

        async def collect(message: Any) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            else:
                chunks.append(message.get("body", b""))

        try:
            await self.app.asgi(scope, receive, collect)
        except ConnectionError:
            raise Broken("the connection was closed without an answer") from None
        self.statuses.add(started["status"])
        answered = {name.decode().lower(): value.decode("latin-1") for name, value in started["headers"]}
        return Seen(started["status"], answered, b"".join(chunks))

    async def control(self, method: str, path: str, body: Any = None, *, key: str = "") -> Any:
        """Call the control API, which has to succeed."""
        seen = await self.send(method, f"/_mock/v1{path}", body, key=key)
        assert seen.status < 300, f"{method} {path}: {seen.status} {seen.body[:200]!r}"
        return seen.json if seen.body else None

    async def try_create(self, *lines: Json, key: str = "", idempotency: str | None = None, **changes: Any) -> Seen:
        return await self.send("POST", SESSIONS, order(*lines, **changes), key=key, idempotency=idempotency)

    async def create(self, *lines: Json, **changes: Any) -> Json:
        """Open a session; `Broken` where that does not succeed."""
        seen = await self.try_create(*lines, **changes)
        expect(seen.status == 200, f"create: {seen.status} {seen.body[:200]!r}")
        session: Json = seen.json
        return session

    async def retrieve(self, session: Json, *, key: str = "") -> Json:
        seen = await self.send("GET", f"{SESSIONS}/{session['id']}", key=key)
        expect(seen.status == 200, f"retrieve: {seen.status}")
        found: Json = seen.json
        return found

    async def try_expire(self, session: Json, *, key: str = "", idempotency: str | None = None) -> Seen:
        return await self.send("POST", f"{SESSIONS}/{session['id']}/expire", key=key, idempotency=idempotency)

    async def expire(self, session: Json, **more: Any) -> Json:
        seen = await self.try_expire(session, **more)
        expect(seen.status == 200, f"expire: {seen.status}")
        found: Json = seen.json
        return found

    async def try_pay(self, session: Json, outcome: str = "succeeded", *, key: str = "") -> Seen:
        return await self.send("POST", f"/_mock/v1/sessions/{session['id']}/pay", {"outcome": outcome}, key=key)

    async def pay(self, session: Json, outcome: str = "succeeded") -> None:
        seen = await self.try_pay(session, outcome)
        expect(seen.status == 200, f"pay: {seen.status}")

    async def try_list(self, *, key: str = "", **parameters: Any) -> Seen:
        query = urlencode({name.replace("__", "[") + "]" * ("__" in name): value for name, value in parameters.items()})
        return await self.send("GET", f"{SESSIONS}?{query}" if query else SESSIONS, key=key)

    async def page(self, *, key: str = "", **parameters: Any) -> Json:
        """A page; `created__gte` is the parameter `created[gte]`."""
        seen = await self.try_list(key=key, **parameters)
        expect(seen.status == 200, f"list: {seen.status} {seen.body[:200]!r}")
        found: Json = seen.json
        return found

    async def ids(self, **parameters: Any) -> list[str]:
        return [entry["id"] for entry in (await self.page(**parameters))["data"]]

    async def advance(self, seconds: int) -> None:
        await self.control("POST", "/clock/advance", {"seconds": seconds})

    async def events(self, *, key: str = "") -> list[Json]:
        found: list[Json] = (await self.control("GET", "/events", key=key))["data"]
        return found

    async def listen(self, *statuses: int, secret: str | None = None, name: str = "hook") -> Endpoint:
        url = f"http://{name}.test/"
        made = await self.control(
            "POST", "/webhook-endpoints", {"url": url, **({} if secret is None else {"secret": secret})}
        )
        self.endpoints[url] = Endpoint(made["id"], url, list(statuses))
        return self.endpoints[url]

    async def flush(self) -> None:
        await self.control("POST", "/deliveries/flush")

    async def show(self, session: Json, part: str = "") -> Seen:
        """Open the hosted page."""
        return await self.send("GET", f"/pay/{session['id']}{part}", key=None)

    async def press(self, session: Json, form: str, part: str = "") -> Seen:
        """Send one of the forms of the hosted pages."""
        kind = "application/x-www-form-urlencoded"
        return await self.send("POST", f"/pay/{session['id']}{part}", form.encode(), key=None, content_type=kind)

    async def sessions(self, count: int, **changes: Any) -> list[Json]:
        """Open sessions; the newest comes last."""
        return [await self.create(**changes) for _ in range(count)]
