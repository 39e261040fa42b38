"""What `--store` may be."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_harness import ACCOUNTS

from qashier_mock.stores.base import Store, StoreUrlError
from qashier_mock.stores.factory import open_store
from qashier_mock.stores.memory import MemoryStore
from qashier_mock.stores.sqlite import SqliteStore

pytest_plugins = ["store_fixtures"]

ONE, TWO = ACCOUNTS


@pytest.mark.parametrize(
    ("url", "kind"),
    [("memory", MemoryStore), ("sqlite:///mock.db", SqliteStore), ("sqlite:////var/lib/mock.db", SqliteStore)],
)
def test_a_url_names_a_store(url: str, kind: type[Store]) -> None:
    store = open_store(url)
    assert isinstance(store, kind)
    assert not store.is_shared


def test_a_sqlite_url_names_a_file() -> None:
    for url, path in (("sqlite:///a/mock.db", "a/mock.db"), ("sqlite:////a/mock.db", "/a/mock.db")):
        store = open_store(url)
        assert isinstance(store, SqliteStore)
        assert store._path == Path(path)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///folder/", "names no file"),
        ("sqlite://mock.db", "sqlite:///FILE"),
        ("redis://localhost", "not redis:"),
        ("mysql://root:secret@db/mock", "not mysql:"),
        ("", "a store is memory"),
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str, says: str) -> None:
    with pytest.raises(StoreUrlError, match=says) as refused:
        open_store(url)
    assert "secret" not in str(refused.value)
