"""A server with several workers, run as a program by the tests: `serve_workers.py STORE COUNT [SEED]`."""

from __future__ import annotations

import logging
import sys

from qashier_mock.address import bind, url_of
from qashier_mock.app import MockApp, Settings
from qashier_mock.stores.factory import open_store
from qashier_mock.workers import WorkersFailed, run_workers


def main(store: str, count: str, seed: str | None = None) -> int:
    """Serve on a free port, which is printed once every worker is ready."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    listener = bind("127.0.0.1", 0)
    address = url_of(listener)

    def make_app() -> MockApp:
        app = MockApp(Settings(seed=None if seed is None else int(seed)), store=open_store(store))
        app.listen_on(address, host="127.0.0.1")
        return app

    try:
        run_workers(listener, int(count), make_app=make_app, ready=lambda: print(address, flush=True))  # noqa: T201
    except WorkersFailed as error:
        sys.exit(f"failed: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
