"""What tests of the API call again and again."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from mock_harness import Answer, Client

from qashier_mock.core.sources import ManualClock

MakeClient = Callable[..., Client]
LONGEST_URL = "https://shop.example/" + "u" * (2_048 - len("https://shop.example/"))


def basic(user: str, password: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def create(client: Client, body: Any, **options: Any) -> Answer:
    return client.post("/checkout/sessions", body, **options)


def everything(client: Client) -> tuple[Any, ...]:
    """All that a refused request might have changed (HTTP-5)."""
    return (client.page("limit=100")["data"], client.data("events"))


def several(client: Client, number: int, clock: ManualClock | None = None) -> list[str]:
    """The ids of some new sessions, newest first; each second one is a second later if there is a clock."""
    ids = []
    for index in range(number):
        if clock is not None and index % 2:
            clock.now += 1
        ids.append(client.create()["id"])
    return ids[::-1]
