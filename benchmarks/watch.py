"""What `qashier-mock watch` adds to a request: python -m benchmarks.watch.

One client retrieves a session from the mock, by turns directly and through the proxy, both in processes of their own;
the proxy judges all the while. Told is the difference of the medians. Exit code 1 if it is more than 2 ms.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

MOST_MS: Final = 2.0
BODY: Final = {
    "line_items": [
        {"price_data": {"currency": "SGD", "product_data": {"name": "Kopi"}, "unit_amount": 500}, "quantity": 2}
    ],
    "success_url": "https://shop.example/thanks",
    "return_url": "https://shop.example/return",
}
HEADERS: Final = {
    "Authorization": "Basic " + b64encode(b"sk_test_benchmark:").decode(),
    "Content-Type": "application/json",
}


@contextmanager
def started(*arguments: str) -> Iterator[str]:
    """A command of `qashier-mock` that says on its first line where it is ready; that address."""
    command = [sys.executable, "-m", "qashier_mock", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://[^ ,\n]+", process.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            process.terminate()


def connected(url: str) -> http.client.HTTPConnection:
    """A connection that is kept."""
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)


def took_ms(connection: http.client.HTTPConnection, path: str) -> float:
    """How long one retrieve takes, milliseconds."""
    began = time.perf_counter()
    connection.request("GET", path, headers=HEADERS)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == HTTPStatus.OK
    return (time.perf_counter() - began) * 1_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watch", description=__doc__)
    parser.add_argument("--requests", type=int, default=2_000, help="requests each way (default 2000)")
    requests: int = parser.parse_args().requests
    with ExitStack() as stack:
        mock = stack.enter_context(started("serve", "--port", "0"))
        ways = {
            "directly": connected(mock),
            "watched": connected(stack.enter_context(started("watch", "--port=0", mock))),
        }
        ways["directly"].request("POST", "/checkout/sessions", json.dumps(BODY), HEADERS)
        path = f"/checkout/sessions/{json.load(ways['directly'].getresponse())['id']}"
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(requests):
            for name, connection in ways.items():
                times[name].append(took_ms(connection, path))
        for connection in ways.values():
            connection.close()
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        tail = statistics.quantiles(times[name], n=100)[98]
        print(f"{name}: median {median:.2f} ms, 99 of 100 within {tail:.2f} ms, of {requests} requests")
    added = medians["watched"] - medians["directly"]
    print(f"watch adds {added:.2f} ms at the median (at most {MOST_MS:.0f} ms)")
    return 0 if added <= MOST_MS else 1


if __name__ == "__main__":
    raise SystemExit(main())
