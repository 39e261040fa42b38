"""What a command needs beyond the plain installation."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from qashier_mock.cli import CommandError


def needs_contract(command: str) -> None:
    """Refuse to go on without the packages of the extra `contract`, and say what to install."""
    missing = [name for name in ("hypothesis", "schemathesis") if not find_spec(name)]
    if missing:
        raise CommandError(
            f"{command} needs {', '.join(missing)}, which this installation does not have: "
            "pip install 'qashier-mock[contract]'"
        )


@contextmanager
def without_hypothesis_folder() -> Iterator[None]:
    """Keep what Hypothesis writes down for later out of the working folder, which may be read-only."""
    name = "HYPOTHESIS_STORAGE_DIRECTORY"
    if name in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="qashier-mock-", ignore_cleanup_errors=True) as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            del os.environ[name]
