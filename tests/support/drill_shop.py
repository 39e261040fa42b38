"""Two shops to drill, in memory and on the standard library, each with faults that it can be told to have.

`ConfirmingShop` asks the API how a session stands whenever a webhook comes. `TrustingShop` believes what a signed
webhook says. Both fulfil an order once, unless a fault is named.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from qashier_mock import MockAccount
from qashier_mock.connections import MockError
from qashier_mock.core.signing import sign

SECRET: Final = "whsec_shop"
FAULTS: Final = (
    "ships twice",
    "trusts forged events",
    "misses lost ones",
    "ships expired ones",
    "ships at order",
    "forgets when restarted",
    "answers 200 while the provider is down",
)


class ConfirmingShop:
    """Fulfils what the API says is paid. It is a `qashier_mock.drill.Shop`, and listens for webhooks."""

    def __init__(self, account: MockAccount, fault: str = "") -> None:
        assert fault in {"", *FAULTS}
        self.account = account
        self.fault = fault
        self.shipped: Counter[str] = Counter()
        self.settled: set[str] = set()
        self.url = ""
        self._lock = threading.Lock()

    abilities = frozenset({"reconcile", "restart"})

    def order(self) -> str:
        session_id = self.account.create_session()["id"]
        if self.fault == "ships at order":
            self._ship(session_id)
        return session_id

    def fulfilled(self, session_id: str, wanted: int) -> int:  # noqa: ARG002 - nothing happens later here
        return self.shipped[session_id]

    def reconcile(self) -> None:
        if self.fault != "misses lost ones":
            for session in self.account.sessions:
                self._settle(dict(session))

    def restart(self) -> None:
        if self.fault == "forgets when restarted":
            self.settled.clear()

    def receive(self, url: str, body: bytes, secret: str | None) -> str:  # noqa: ARG002 - it knows its own address
        return str(self.hear(body, None if secret is None else sign(body, secret)))

    def hear(self, body: bytes, signature: str | None) -> int:
        """A webhook: the status to answer."""
        if signature != sign(body, SECRET) and self.fault != "trusts forged events":
            return 401
        try:
            self._settle(self._as_known(json.loads(body)["data"]["object"]))
        except MockError:
            return 200 if self.fault == "answers 200 while the provider is down" else 503
        return 200

    def _as_known(self, told: dict[str, Any]) -> dict[str, Any]:
        if self.fault == "trusts forged events":
            return told
        return dict(self.account.retrieve_session(told["id"]))

    def _settle(self, session: dict[str, Any]) -> None:
        paid = session["status"] == "complete" or (
            session["status"] == "expired" and self.fault == "ships expired ones"
        )
        with self._lock:
            if paid and (session["id"] not in self.settled or self.fault == "ships twice"):
                self.settled.add(session["id"])
                self._ship(session["id"])

    def _ship(self, session_id: str) -> None:
        self.shipped[session_id] += 1


class TrustingShop(ConfirmingShop):
    """Believes a signed webhook without asking."""

    def _as_known(self, told: dict[str, Any]) -> dict[str, Any]:
        return told


@contextmanager
def open_shop(shop: ConfirmingShop) -> Iterator[ConfirmingShop]:
    """Serve a shop's webhooks on loopback, registered as an endpoint of its account."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(shop.hear(body, self.headers.get("x-qashier-sign")))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    shop.url = f"http://127.0.0.1:{server.server_address[1]}/webhooks"
    shop.account.deliver_webhooks_to(shop.url, secret=SECRET)
    try:
        yield shop
    finally:
        server.shutdown()
        server.server_close()
