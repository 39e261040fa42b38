"""The clock of an account: moved, frozen, released."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from mock_harness import NOW, Client, Json, Receiver

from qashier_mock.core.sources import ManualClock

MakeClient = Callable[..., Client]
LATEST = 4_102_444_800 - 86_400


def test_a_new_account_shows_the_machines_time(client: Client, clock: ManualClock) -> None:
    assert client.ok("GET", "/_mock/v1/clock") == {"now": NOW, "frozen": False}
    clock.now += 5
    assert client.ok("GET", "/_mock/v1/clock") == {"now": NOW + 5, "frozen": False}


def test_a_frozen_clock_stands_until_it_is_released_and_goes_on_from_there(client: Client, clock: ManualClock) -> None:
    assert client.freeze() == {"now": NOW, "frozen": True, "expired": []}
    clock.now += 100
    assert client.ok("GET", "/_mock/v1/clock") == {"now": NOW, "frozen": True}
    released = client.ok("PUT", "/_mock/v1/clock", {"frozen": False})
    assert released == {"now": NOW, "frozen": False, "expired": []}
    clock.now += 3
    assert client.ok("GET", "/_mock/v1/clock") == {"now": NOW + 3, "frozen": False}


def test_a_clock_jumps_forward_running_or_frozen(client: Client, clock: ManualClock) -> None:
    assert client.ok("PUT", "/_mock/v1/clock", {"now": NOW + 50}) == {"now": NOW + 50, "frozen": False, "expired": []}
    clock.now += 1
    assert client.ok("GET", "/_mock/v1/clock")["now"] == NOW + 51
    assert client.freeze(NOW + 60)["now"] == NOW + 60
    moved = client.ok("PUT", "/_mock/v1/clock", {"now": NOW + 70})
    assert moved == {"now": NOW + 70, "frozen": True, "expired": []}


def test_advancing_moves_a_running_clock_and_leaves_a_frozen_one_frozen(client: Client, clock: ManualClock) -> None:
    assert client.advance(60) == {"now": NOW + 60, "frozen": False, "expired": []}
    clock.now += 5
    client.freeze()
    assert client.advance(60) == {"now": NOW + 125, "frozen": True, "expired": []}
    assert client.advance(0) == {"now": NOW + 125, "frozen": True, "expired": []}


def test_an_account_that_has_nothing_may_be_set_to_any_instant(client: Client, clock: ManualClock) -> None:
    assert client.freeze(0) == {"now": 0, "frozen": True, "expired": []}
    assert client.ok("PUT", "/_mock/v1/clock", {"now": NOW - 7, "frozen": False})["now"] == NOW - 7
    clock.now += 2
    assert client.ok("GET", "/_mock/v1/clock")["now"] == NOW - 5
    assert client.ok("PUT", "/_mock/v1/clock", {"now": NOW - 6})["frozen"] is False
    session = client.create()
    assert session["created"] == NOW - 6


def test_a_clock_never_goes_backwards_once_there_is_a_session(client: Client) -> None:
    client.create()
    before = client.freeze()
    refused = client.put("/_mock/v1/clock", {"now": NOW - 1})
    assert (refused.status, refused.error["param"]) == (400, "now")
    assert str(NOW - 1) in refused.error["message"]
    assert client.ok("GET", "/_mock/v1/clock") == {"now": before["now"], "frozen": True}


@pytest.mark.parametrize(
    "body", [{"seconds": -1}, {"seconds": 1.5}, {"seconds": "1"}, {}, {"seconds": 1, "minutes": 1}]
)
def test_a_move_that_is_no_whole_number_forward_is_refused(client: Client, body: Json) -> None:
    assert client.post("/_mock/v1/clock/advance", body).status == 400
    assert client.ok("GET", "/_mock/v1/clock")["now"] == NOW


def test_a_clock_stops_a_day_before_the_last_time_there_is(client: Client) -> None:
    refused = client.post("/_mock/v1/clock/advance", {"seconds": LATEST - NOW + 1})
    assert (refused.status, refused.error["param"]) == (400, "seconds")
    assert client.advance(LATEST - NOW)["now"] == LATEST
    assert client.create()["expires_at"] == LATEST + 86_400
    assert client.put("/_mock/v1/clock", {"now": LATEST + 1}).status == 400


def test_two_moves_at_once_add_up(client: Client, runner: asyncio.Runner) -> None:
    client.freeze()

    async def both() -> list[Json]:
        move = ("POST", "/_mock/v1/clock/advance", {"seconds": 60})
        return [each.json() for each in await asyncio.gather(client.asend(*move), client.asend(*move))]

    runner.run(both())
    assert client.ok("GET", "/_mock/v1/clock")["now"] == NOW + 120


def test_two_moves_at_once_add_up_also_while_the_first_waits_for_a_webhook(
    client: Client, runner: asyncio.Runner, receiver: Receiver
) -> None:
    client.freeze()
    client.subscribe(receiver.url)
    client.create()
    client.advance(86_399)
    seconds = asyncio.Event()

    async def hold(_: Any) -> None:
        await seconds.wait()

    receiver.on_arrival = hold

    async def both() -> None:
        first = asyncio.create_task(client.asend("POST", "/_mock/v1/clock/advance", {"seconds": 60}))
        await receiver.arrived(1)
        second = asyncio.create_task(client.asend("POST", "/_mock/v1/clock/advance", {"seconds": 60}))
        await asyncio.sleep(0)
        seconds.set()
        await asyncio.gather(first, second)

    runner.run(both())
    assert client.ok("GET", "/_mock/v1/clock")["now"] == NOW + 86_399 + 120


def test_exp_7_advancing_expires_what_falls_due_in_order_of_its_deadline(client: Client) -> None:
    client.freeze()
    late = client.create(expires_at=NOW + 7_200)["id"]
    soon = client.create(expires_at=NOW + 1_800)["id"]
    later = client.create(expires_at=NOW + 7_201)["id"]
    assert client.advance(1_799)["expired"] == []
    assert client.advance(5_401)["expired"] == [soon, late]
    assert [(each["data"]["object"]["id"], each["created"]) for each in client.data("events")] == [
        (soon, NOW + 1_800),
        (late, NOW + 7_200),
    ]
    assert client.retrieve(later)["status"] == "open"
    assert client.ok("PUT", "/_mock/v1/clock", {"now": NOW + 7_201})["expired"] == [later]


def test_each_account_has_a_clock_of_its_own(client: Client) -> None:
    client.freeze(NOW + 500)
    assert client.other.ok("GET", "/_mock/v1/clock") == {"now": NOW, "frozen": False}
