"""A shop as a neighbour's project has it; it talks to the mock with the standard library, which nobody patches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from qashier_mock.testing import QashierMock

ORDER = {
    "line_items": [
        {
            "price_data": {"currency": "SGD", "product_data": {"name": "Kopi O"}, "unit_amount": 180},
            "quantity": 2,
        }
    ],
    "success_url": "https://shop.example/thanks",
    "return_url": "https://shop.example/orders/1",
}


def open_session(mock: QashierMock) -> dict[str, Any]:
    """A new checkout session."""
    headers = {"authorization": f"Bearer {mock.api_key}", "content-type": "application/json"}
    request = Request(f"{mock.base_url}/checkout/sessions", json.dumps(ORDER).encode(), headers)
    with urlopen(request) as answer:
        session: dict[str, Any] = json.load(answer)
    return session


def read_page(url: str) -> str:
    """What the customer sees."""
    with urlopen(url) as answer:
        page: str = answer.read().decode()
    return page


def pay(mock: QashierMock) -> Mapping[str, Any]:
    """The event of a session that was paid, as it was delivered in the background."""
    webhooks = mock.webhooks  # from here on events are delivered, and not handed over
    session = open_session(mock)
    mock.pay(session["id"])
    return webhooks.wait_for("checkout.session.completed", timeout=10)
