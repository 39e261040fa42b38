"""The shop under test: a real server on a free port, with a mock of the payment provider behind it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from shop import Config, create_app
from shop.app import reconcile
from shop.orders import Order, Orders
from werkzeug.serving import make_server

from qashier_mock.testing import QashierMock

WEBHOOK_SECRET = "whsec_of_the_shop"


class Shop:
    """The shop as its customers and its owner see it.

    Attributes:
        url: Where it is.
        waits: How long it wanted to wait, each time before it asked the provider again; tests do not really wait.
    """

    def __init__(self, mock: QashierMock, database: Path) -> None:
        self.waits: list[float] = []
        self._server = make_server("127.0.0.1", 0, lambda *_: [], threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._server.app = self.app = create_app(
            Config(
                provider_url=mock.base_url,
                api_key=mock.api_key,
                webhook_secret=WEBHOOK_SECRET,
                public_url=self.url,
                database=str(database),
                wait=self.waits.append,
            )
        )
        self._orders = Orders(str(database))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._orders.close()

    def buy(self, item: str = "House blend", quantity: int = 2) -> Order:
        """Order something, up to where the customer is sent to the provider's page."""
        answer = self.post("/orders", item=item, quantity=str(quantity))
        assert answer.status_code == 303, answer.text
        session_id = answer.headers["Location"].rpartition("/")[2]
        order = self._orders.find_by_session(session_id)
        assert order is not None
        return order

    def post(self, path: str, **fields: str) -> requests.Response:
        return requests.post(self.url + path, data=fields, allow_redirects=False, timeout=30)

    def order(self, order_id: int) -> Order:
        order = self._orders.find(order_id)
        assert order is not None
        return order

    @property
    def shipped(self) -> list[int]:
        return self._orders.shipped()

    def reconcile(self) -> int:
        """What the shop does every few minutes."""
        with self.app.app_context():
            return reconcile()


@pytest.fixture
def shop(qashier_mock: QashierMock, tmp_path: Path) -> Iterator[Shop]:
    """A shop with an account of its own at the provider, which knows where to send webhooks."""
    shop = Shop(qashier_mock, tmp_path / "shop.sqlite3")
    qashier_mock.deliver_webhooks_to(f"{shop.url}/webhooks/qashier", secret=WEBHOOK_SECRET)
    yield shop
    shop.close()
