"""The same suite with each contender's fixture: `BENCH_CONTENDER` names it, `BENCH_RESULT` is where times go.

Times are the processor's, of all threads: client, server and fixture share a process, and a busy machine counts less.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any
from urllib.parse import urlsplit

import pytest

CONTENDER = os.environ["BENCH_CONTENDER"]

SESSION = {"id": "cs_test_000000000000000000000000", "status": "open", "padding": "x" * 530}
ORDER = json.dumps(
    {
        "line_items": [
            {
                "price_data": {"currency": "SGD", "product_data": {"name": "Nasi lemak"}, "unit_amount": 625},
                "quantity": 2,
            }
        ],
        "success_url": "https://shop.example/orders/1001/thanks",
        "return_url": "https://shop.example/orders/1001",
    }
)


@dataclass
class Times:
    """What was measured, in seconds."""

    began: float = 0
    first_answer: float = 0
    tests: list[float] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)


@dataclass
class Provider:
    """What the fixture under measure gave, and the request to send there."""

    address: str
    method: str
    path: str
    headers: dict[str, str]


TIMES = Times()


@pytest.fixture(scope="session")
def times() -> Times:
    return TIMES


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> Provider | None:
    """The contender's fixture, fresh for the test as its users would have it."""
    return FIXTURES[CONTENDER](request)


def _nothing(_request: pytest.FixtureRequest) -> None:
    return None


def _ours(request: pytest.FixtureRequest) -> Provider:
    mock = request.getfixturevalue("qashier_mock")
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {mock.api_key}"}
    return Provider(urlsplit(mock.base_url).netloc, "POST", "/checkout/sessions", headers)


def _httpserver(request: pytest.FixtureRequest) -> Provider:
    server = request.getfixturevalue("httpserver")
    server.expect_request("/checkout/sessions", method="POST").respond_with_json(SESSION)
    address = f"{server.host}:{server.port}"
    return Provider(address, "POST", "/checkout/sessions", {"Content-Type": "application/json"})


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Any]:
    server = import_module("moto.server").ThreadedMotoServer(port=0)
    server.start()
    yield server
    server.stop()


def _moto(request: pytest.FixtureRequest) -> Provider:
    """State is server-wide there: a test begins by resetting it, and makes the bucket that it works in."""
    requests = import_module("requests")
    host, port = request.getfixturevalue("moto_server").get_host_and_port()
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"}
    requests.post(f"http://{host}:{port}/moto-api/reset", timeout=30)
    requests.put(f"http://{host}:{port}/bench", headers={"Host": "s3.amazonaws.com", **headers}, timeout=30)
    return Provider(f"{host}:{port}", "PUT", "/bench/object", {"Host": "s3.amazonaws.com", **headers})


FIXTURES = {"nothing": _nothing, "qashier-mock": _ours, "pytest-httpserver": _httpserver, "moto server": _moto}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    began = TIMES.began = process_time()
    result = yield
    if item.name.startswith("test_each"):
        TIMES.tests.append(process_time() - began)
    return result


def pytest_sessionfinish() -> None:
    result = {"first": TIMES.first_answer, "tests": TIMES.tests, "requests": TIMES.requests}
    Path(os.environ["BENCH_RESULT"]).write_text(json.dumps(result))
