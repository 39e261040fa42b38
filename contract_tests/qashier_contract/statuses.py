"""Sets of HTTP statuses that an expectation allows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final


@dataclass(frozen=True, slots=True)
class Statuses:
    """Some HTTP statuses, as inclusive ranges, and what they are called."""

    ranges: tuple[tuple[int, int], ...]
    words: str

    def __contains__(self, status: object) -> bool:
        return isinstance(status, int) and any(least <= status <= most for least, most in self.ranges)


SUCCESS: Final = Statuses(((200, 299),), "2xx")
NO_SUCCESS: Final = Statuses(((100, 199), (300, 599)), "no 2xx")
REFUSED: Final = Statuses(((400, 499),), "4xx")
NOT_REFUSED: Final = Statuses(((100, 399), (500, 599)), "no 4xx")
NO_FAULT: Final = Statuses(((100, 499),), "no 5xx")
NO_ERROR: Final = Statuses(((100, 399),), "no error")


def exactly(*statuses: int) -> Statuses:
    """These statuses alone."""
    return Statuses(tuple((status, status) for status in statuses), " or ".join(map(str, statuses)))


def anything_but(*statuses: int) -> Statuses:
    """Every status but these."""
    bounds = [99, *sorted(statuses), 600]
    ranges = tuple((before + 1, after - 1) for before, after in pairwise(bounds) if after - before > 1)
    return Statuses(ranges, "anything but " + " or ".join(map(str, statuses)))
