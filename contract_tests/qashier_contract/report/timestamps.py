"""What the machine's clock showed when something was observed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qashier_contract.history import History


def iso_time(history: History, monotonic_ns: int, *, whole: bool = False) -> str:
    """A monotonic moment as ISO 8601 in UTC, to the microsecond, or to whole seconds without a zone.

    Without a record of the machine's clock it counts from the epoch, so that differences stay true.
    """
    terms = history.terms
    elapsed_ns = monotonic_ns - terms.monotonic_ns
    moment = datetime.fromtimestamp(((terms.wall_ns or 0) + elapsed_ns) / 1e9, UTC)
    if whole:
        return moment.replace(tzinfo=None).isoformat(timespec="seconds")
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
