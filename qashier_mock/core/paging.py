"""Which slice of an ordered list answers a query, and whether there is more.

A store keeps an account's sessions in order of creation and gives each its *position* (its `sequence`). A list query
then is an interval of positions, walked from one end until `limit` sessions were met: O(log n + limit), whatever
the account holds. Answers are newest first (LIS-4).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

from qashier_mock.core.model import CheckoutSession, Status, value

T = TypeVar("T")


@value
class CreatedRange:
    """Bounds on `created`, epoch seconds, `since` inclusive and `until` exclusive; None is unbounded (LIS-9)."""

    since: int | None = None
    until: int | None = None

    @classmethod
    def of(
        cls, *, gt: int | None = None, gte: int | None = None, lt: int | None = None, lte: int | None = None
    ) -> CreatedRange:
        """The interval in which every given bound holds; times are whole seconds, so `gt` n is `gte` n + 1."""
        since, until = gte, lt
        if gt is not None:
            since = gt + 1 if since is None else max(since, gt + 1)
        if lte is not None:
            until = lte + 1 if until is None else min(until, lte + 1)
        return cls(since, until)


@value
class ListQuery:
    """A list request: at most `limit` (1 to 100) sessions beyond a cursor, of one status, created in a range."""

    limit: int
    starting_after: str | None = None
    ending_before: str | None = None
    status: Status | None = None
    created: CreatedRange = CreatedRange()


@value
class Page:
    """An answer: sessions newest first, and whether the walk in that direction has more (LIS-7)."""

    sessions: tuple[CheckoutSession, ...]
    has_more: bool


@value
class Interval:
    """Positions from `first` (inclusive) to `end` (exclusive), walked `newest_first` or the other way."""

    first: int
    end: int
    newest_first: bool

    def after_cursor(self, query: ListQuery, cursor: int | None) -> Interval:
        """What is left of the interval beyond the cursor's position, which need not lie within it (LIS-5, 6, 12)."""
        if cursor is None:
            return self
        if query.ending_before is not None:
            return Interval(max(self.first, cursor + 1), self.end, newest_first=False)
        return Interval(self.first, min(self.end, cursor), newest_first=True)


def take(walk: Iterable[T], limit: int, *, newest_first: bool) -> tuple[tuple[T, ...], bool]:
    """The first `limit` of a walk in newest-first order, and whether the walk goes on (LIS-3, LIS-7)."""
    met = tuple(islice(walk, limit + 1))
    has_more = len(met) > limit
    entries = met[:limit] if has_more else met
    return (entries if newest_first else entries[::-1]), has_more
