"""What stops everybody for as long as it takes: Python's collector of garbage, and freeing very much at once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

MANY: Final = 1024 * 1024
"""Bytes of JSON whose objects the collector looks at for some 10 ms."""

YOUNG: Final = 10_000
"""Objects that are made before the collector looks at them; Python's own number is 700."""

FREED_AT_ONCE: Final = 2_000
"""Values that are freed in some 2 ms."""


def let_go(lists: Sequence[list[Any]]) -> None:
    """Empty lists that nobody else has; very long ones some values at a time, others having their turn in between."""
    left = [each for each in lists if len(each) > FREED_AT_ONCE]
    if left:
        del left[-1][-FREED_AT_ONCE:]
        asyncio.get_running_loop().call_soon(let_go, left)


@contextmanager
def garbage_left(size: int) -> Iterator[None]:
    """Make the objects of so many bytes of JSON; if they are many, without the collector.

    Nearly all of them are freed without it. In a process that has set its own objects aside with `gc.freeze`, so are
    these set aside: else the collector would look at all of them three times, each time for 100 ms and more.
    """
    if size < MANY:
        yield
        return
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count():
            gc.freeze()
        if was_enabled:
            gc.enable()


def collect_seldom() -> None:
    """Set aside all that there is, and look for garbage less often: for a process that is a mock and nothing else.

    What the program consists of stays, and so does what a create makes. Other objects are freed without the collector,
    which would look at them for a tenth of the time that a create takes.
    """
    gc.freeze()
    gc.set_threshold(YOUNG)
