"""How many connections a process may hold, as far as the system limits its descriptors, and which one makes room."""

from __future__ import annotations

import sys
from typing import Final, Protocol

from qashier_mock.pipeline.logs import logger

KEPT_FREE: Final = 320
"""Descriptors that connections leave to webhooks, files and databases; at least half are for connections."""
WARN_EVERY_S: Final = 60.0
"""Seconds between two warnings about silent clients."""


def most_connections() -> int:
    """Return how many connections this process may hold."""
    try:
        import resource  # noqa: PLC0415
    except ImportError:  # Windows has none, and no such limit
        return sys.maxsize
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - min(KEPT_FREE, limit // 2)


class Connection(Protocol):
    """One connection of a server."""

    def is_silent(self) -> bool:
        """Whether no whole request has come yet."""

    def is_idle(self) -> bool:
        """Whether the last request has been answered, and no further one has begun."""

    def leave(self) -> None:
        """Close at once."""


class Connections:
    """The connections of one server. Where there is no room for another, one of them makes it."""

    def __init__(self) -> None:
        self._open: dict[Connection, None] = {}  # the oldest first
        self._most = most_connections()
        self._warned_at = -WARN_EVERY_S

    def add(self, connection: Connection, now: float) -> None:
        """Add a connection. One that has never sent a whole request makes room, or else one that waits between two."""
        if len(self._open) >= self._most:
            chosen = next((each for each in self._open if each.is_silent()), None)
            chosen = chosen or next((each for each in self._open if each.is_idle()), None)
            if chosen is not None:
                self.warn(now, "too many connections: closed one that was silent; the limit of descriptors is near")
                del self._open[chosen]
                chosen.leave()
        self._open[connection] = None

    def remove(self, connection: Connection) -> None:
        """Remove a connection that has ended."""
        self._open.pop(connection, None)

    def warn(self, now: float, message: str, *values: object) -> None:
        """Warn of silent clients, at most once a minute."""
        if now - self._warned_at > WARN_EVERY_S:
            self._warned_at = now
            logger.warning(message, *values)
