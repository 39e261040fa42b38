"""How many connections a process may hold, as far as the system limits its descriptors."""

from __future__ import annotations

import sys
from typing import Final

KEPT_FREE: Final = 320
"""Descriptors that connections leave to webhooks, files and databases; at least half are for connections."""


def most_connections() -> int:
    """Return how many connections this process may hold."""
    if sys.platform == "win32":
        return sys.maxsize
    import resource  # noqa: PLC0415 - there is none on Windows

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - min(KEPT_FREE, limit // 2)
