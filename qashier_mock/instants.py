"""Lengths of time and instants as people give them, in whole seconds."""

from __future__ import annotations

from datetime import datetime, timedelta


def whole_seconds(seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> int:
    """A length of time in seconds; ValueError where it is negative, or not a whole number of them."""
    total = timedelta(seconds=seconds, minutes=minutes, hours=hours, days=days).total_seconds()
    if total < 0 or total != int(total):
        raise ValueError(f"a clock moves forward by whole seconds, not by {total:g}")
    return int(total)


def epoch_seconds(instant: datetime | float | str) -> int:
    """An instant in whole epoch seconds; ValueError where it has no time zone, or is not a time."""
    if isinstance(instant, int | float):
        return int(instant)
    if isinstance(instant, str):
        try:
            instant = datetime.fromisoformat(instant)
        except ValueError:
            raise ValueError(f"{instant!r} is not a time in ISO 8601, like 2026-01-01T00:00:00Z") from None
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone, so it names no instant: add one, like Z for UTC")
    return int(instant.timestamp())
