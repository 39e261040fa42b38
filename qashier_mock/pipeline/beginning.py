"""Requests that begin at once, as most have their answer before they would have to wait for anything.

A task costs a tenth of a retrieve, and where one client sends one request at a time a turn of the event loop besides.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any


def begin(request: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
    """Carry out a request now, as far as it does not wait; the rest in a task of the running loop, put into `tasks`."""
    try:
        awaited = request.send(None)
    except StopIteration:
        return
    task = asyncio.get_running_loop().create_task(_end(request, awaited))
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def have_a_task() -> None:
    """Go on in a task: what asks for the current one, as timeouts do, is to call this first."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)


async def _end(request: Coroutine[Any, Any, None], awaited: Any) -> None:
    await _rest(request, awaited)


@types.coroutine
def _rest(request: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """Go on with a request that waits for `awaited`, as `yield from` would, had it begun here."""
    while True:
        failure: BaseException | None = None
        try:
            yield awaited
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is meant for the request
            failure = error
        try:
            awaited = request.send(None) if failure is None else request.throw(failure)
        except StopIteration:
            return
