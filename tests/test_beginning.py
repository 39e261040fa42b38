"""Requests that begin without a task of their own, and get one only where they wait."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from qashier_mock.pipeline.beginning import begin, have_a_task


def carried_out(request: Coroutine[Any, Any, None], *, cancel: bool = False) -> int:
    """Begin a request and wait for its end; how many tasks that took."""

    async def run() -> int:
        tasks: set[asyncio.Task[None]] = set()
        asyncio.get_running_loop().call_soon(begin, request, tasks)
        await asyncio.sleep(0)
        taken = list(tasks)
        await asyncio.sleep(0)
        for task in taken:
            if cancel:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.sleep(0)
        assert not tasks
        return len(taken)

    return asyncio.run(run())


def test_what_does_not_wait_is_done_at_once() -> None:
    story: list[str] = []

    async def request() -> None:
        story.append("done" if asyncio.current_task() is None else "in a task")

    assert carried_out(request()) == 0
    assert story == ["done"]


def test_what_waits_goes_on_in_a_task() -> None:
    story: list[object] = []

    async def request() -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, "waited for")
        story.append(await future)
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        story.append("done")

    assert carried_out(request()) == 1
    assert story == ["waited for", "done"]


def test_what_needs_a_task_asks_for_one() -> None:
    async def request() -> None:
        await have_a_task()
        own = asyncio.current_task()
        assert own is not None
        await have_a_task()
        assert asyncio.current_task() is own

    assert carried_out(request()) == 1


def test_what_was_waited_for_may_fail() -> None:
    story: list[str] = []

    async def request() -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, ValueError("no"))
        with pytest.raises(ValueError, match="no"):
            await future
        story.append("done")

    assert carried_out(request()) == 1
    assert story == ["done"]


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("swallows", [True, False])
def test_a_cancellation_reaches_the_request(*, swallows: bool, goes_on: bool) -> None:
    story: list[str] = []

    async def request() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            story.append("cancelled")
            if not swallows:
                raise
        if goes_on:
            await asyncio.sleep(0)
            story.append("done")

    assert carried_out(request(), cancel=True) == 1
    assert story == (["cancelled", "done"] if swallows and goes_on else ["cancelled"])
