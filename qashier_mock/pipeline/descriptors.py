"""How many connections a process may hold, as far as the system limits its descriptors."""

from __future__ import annotations

import sys
from typing import Final

KEPT_FREE: Final = 320
"""Descriptors that connections leave to webhooks, files and databases; at least half are for connections."""


def most_connections() -> int:
    """Return how many connections this process may hold."""
    try:
        import resource  # noqa: PLC0415
    except ImportError:  # Windows has none, and no such limit
        return sys.maxsize
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - min(KEPT_FREE, limit // 2)
