"""Python's collector of garbage, which stops everybody for as long as it looks at all that there is."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def garbage_left() -> Iterator[None]:
    """Make many objects without the collector.

    Nearly all of them are freed without it. In a process that has set its own objects aside with `gc.freeze`, so are
    these set aside: else the collector would look at all of them three times, each time for 100 ms and more.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count():
            gc.freeze()
        if was_enabled:
            gc.enable()
