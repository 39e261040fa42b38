"""What is measured: a first request, tests that do nothing, and many requests in a row."""

from __future__ import annotations

from http import HTTPStatus
from http.client import HTTPConnection
from time import process_time

import pytest

from benchmarks.suite.conftest import ORDER, Provider, Times

TESTS = 200
REQUESTS = 500


def test_first(provider: Provider | None, times: Times) -> None:
    """From before the fixture is made to the first answer."""
    if provider is not None:
        connection = HTTPConnection(provider.address)
        send(connection, provider, 0)
        times.first_answer = process_time() - times.began
        connection.close()


@pytest.mark.parametrize("number", range(TESTS))
def test_each(provider: Provider | None, number: int) -> None:
    """Nothing but the fixture; the whole test is timed."""


def test_requests(provider: Provider | None, times: Times) -> None:
    """One client that keeps its connection."""
    if provider is None:
        return
    connection = HTTPConnection(provider.address)
    for number in range(REQUESTS):
        began = process_time()
        send(connection, provider, number)
        times.requests.append(process_time() - began)
    connection.close()


def send(connection: HTTPConnection, provider: Provider, number: int) -> None:
    headers = {**provider.headers, "Idempotency-Key": f"order-{number}"}
    connection.request(provider.method, provider.path, ORDER, headers)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == HTTPStatus.OK
