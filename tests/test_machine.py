"""The machine's time: it goes on evenly, whatever happens to the calendar, and is out of reach of what tests patch."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AbstractContextManager

import freezegun
import pytest
import time_machine

from qashier_mock import server
from qashier_mock.machine import MachineClock, steady, wall


class Machine:
    """A machine whose calendar time can be set."""

    def __init__(self) -> None:
        self.passed = 500.0
        self.calendar = 1_000_000.0
        self.clock = MachineClock(wall=lambda: self.calendar, steady=lambda: self.passed)

    def run(self, seconds: float) -> float:
        """Let time pass; what the clock shows then."""
        self.passed += seconds
        self.calendar += seconds
        return self.clock()


def test_the_clock_shows_the_calendar_time() -> None:
    machine = Machine()
    assert machine.clock() == 1_000_000
    assert machine.run(0.25) == 1_000_000.25
    assert machine.run(86_400) == 1_086_400.25


def test_it_goes_on_evenly_when_the_calendar_is_set_back() -> None:
    machine = Machine()
    machine.run(10)
    machine.calendar -= 3_600
    assert [machine.run(1) - 1_000_000 for _ in range(3)] == [11, 12, 13]


def test_it_follows_when_the_calendar_is_set_forward_and_after_the_machine_has_slept() -> None:
    machine = Machine()
    machine.calendar += 3_600
    assert machine.run(1) == 1_003_601


def test_it_never_goes_back() -> None:
    machine = Machine()
    shown = [machine.clock()]
    for step in (-5, 7, -3_600, 0, 0.5, 90_000, -90_000):
        machine.calendar += step
        shown += [machine.run(0.1), machine.run(0.6)]
    assert shown == sorted(set(shown))


@pytest.mark.parametrize(
    "patch",
    [freezegun.freeze_time("2031-01-01"), time_machine.travel("2031-01-01", tick=False)],
    ids=["freezegun", "time-machine"],
)
def test_no_patch_of_time_reaches_it(patch: AbstractContextManager[object]) -> None:
    began, passed = wall(), steady()
    with patch:
        assert time.time() > began + 86_400, "the patch works"  # noqa: TID251 - what is patched
        assert began <= wall() < began + 3_600
        assert passed <= steady() < passed + 3_600
        assert began <= MachineClock()() < began + 3_600


def test_the_timers_of_a_server_without_uvloop_go_on_while_time_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with freezegun.freeze_time("2031-01-01"), asyncio.Runner(loop_factory=server.new_event_loop) as runner:
        runner.run(asyncio.wait_for(asyncio.sleep(0.01), 10))
