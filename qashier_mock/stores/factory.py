"""From the URL of `--store` to a store."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from qashier_mock.stores.base import Store, StoreUrlError
from qashier_mock.stores.memory import MemoryStore

MEMORY: Final = "memory"
_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = ("postgresql://", "postgres://")


def open_store(url: str) -> Store:
    """The store that `memory`, `sqlite:///FILE` or `postgresql://…` names; nothing is connected to before its `open()`.

    Raises:
        StoreUrlError: It names none, or PostgreSQL's driver is not installed.
    """
    if url == MEMORY:
        return MemoryStore()
    if url.startswith(_SQLITE):
        from qashier_mock.stores.sqlite import SqliteStore  # noqa: PLC0415 - who keeps state in memory need not wait

        return SqliteStore(_file(url))
    if url.startswith(_POSTGRES):
        if find_spec("psycopg") is None:
            raise StoreUrlError("a PostgreSQL store needs a driver: pip install qashier-mock[postgres]")
        from qashier_mock.stores.postgres import PostgresStore  # noqa: PLC0415 - needs the extra

        return PostgresStore(url)
    raise StoreUrlError(f"a store is memory, sqlite:///FILE or postgresql://…, not {url.partition(':')[0]}:…")


def _file(url: str) -> Path:
    name = url.removeprefix(_SQLITE)
    if not name or name == ":memory:" or name.endswith("/"):
        raise StoreUrlError(f"{url} names no file: write sqlite:///mock.db, or sqlite:////var/lib/mock.db")
    return Path(name)
