"""Coroutines that are started without a task, and get one only where they have to wait."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator


@types.coroutine
def go_on(coroutine: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """Drive a coroutine on that has been started without a task, and now waits."""
    if waits_for is not None:
        try:
            yield waits_for
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is meant for the coroutine
            try:
                waits_for = coroutine.throw(error)
            except StopIteration:
                return
            yield from go_on(coroutine, waits_for)
            return
    yield from coroutine.__await__()


@types.coroutine
def task_of_its_own() -> Generator[None, None, None]:
    """Leave a coroutine that has been started without a task; it goes on in one."""
    yield
