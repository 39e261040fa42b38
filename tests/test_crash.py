"""Nothing that was acknowledged is lost and nothing happens twice, whenever the server dies or its store fails."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import postgres_harness
import pytest
from crash_harness import Pulse, Receiver, Refused, Writer, judge, killed_server, writing
from mock_harness import basket
from store_harness import Place

pytest_plugins = ["store_fixtures"]

ROUNDS = {"sample": 8, "full": 200}
OUTAGE = {"sample": 1, "full": 10}
"""Seconds."""
STANDSTILL = 8
"""Seconds; a server that is silent for five is taken for dead."""


def size(of: dict[str, int]) -> int:
    return of[os.environ.get("QASHIER_SOAK", "full")]


def die_again_and_again(url: str, *, servers: int, rounds: int, seed: int) -> None:
    """Kill a server at whatever it is doing, so many times, while shops write; then ask for all that they were told."""
    random = Random(seed)  # noqa: S311 - a test repeats with its seed
    pulse = Pulse()
    with Receiver() as receiver, killed_server(url, servers) as server:
        with writing([server.url], receiver, pulse, seed) as writers:
            for _ in range(rounds):
                pulse.wait("answered", random.choice([0, 1, 5, 20, 50]))
                server.kill(random.randrange(servers))
            pulse.wait("answered", 1)
        assert any(writer.lost for writer in writers), "no kill met a request under way"
        judge(writers, receiver)
        assert server.stop() == 0


def test_a_file_survives_the_death_of_its_server(new_place: Callable[[str], Place]) -> None:
    die_again_and_again(new_place("sqlite").url, servers=1, rounds=5, seed=1)


def test_the_servers_of_a_database_do_without_one_that_dies(new_place: Callable[[str], Place]) -> None:
    die_again_and_again(new_place("postgresql").url, servers=2, rounds=4, seed=2)


@pytest.mark.soak
def test_a_file_survives_the_death_of_its_server_hundreds_of_times(new_place: Callable[[str], Place]) -> None:
    die_again_and_again(new_place("sqlite").url, servers=1, rounds=size(ROUNDS), seed=3)


@pytest.mark.soak
@pytest.mark.parametrize("servers", [1, 3])
def test_a_database_survives_the_death_of_its_servers_hundreds_of_times(
    new_place: Callable[[str], Place], servers: int
) -> None:
    die_again_and_again(new_place("postgresql").url, servers=servers, rounds=size(ROUNDS), seed=4)


def test_a_disk_that_is_full_for_a_while_loses_nothing(new_place: Callable[[str], Place]) -> None:
    """No file of the server may grow: the system refuses what it writes, as it does when there is no room."""
    pulse = Pulse()
    with Receiver() as receiver, killed_server(new_place("sqlite").url) as server:
        with writing([server.url], receiver, pulse, seed=5) as writers:
            pulse.wait("answered", 100)
            pid = server.pid()
            _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (16_384, most))
            pulse.wait("refused", 50)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
            pulse.wait("answered", 50)
        judge(writers, receiver)
        assert not any(writer.lost for writer in writers), "each request was answered"
        assert server.stop() == 0


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgresql"])
def test_a_calendar_that_is_set_back_and_forth_stops_nothing(new_place: Callable[[str], Place], kind: str) -> None:
    """Webhooks go on although the time for which they were planned is an hour away now."""
    pulse = Pulse()
    servers = 2 if kind == "postgresql" else 1
    with Receiver(pulse) as receiver, killed_server(new_place(kind).url, servers) as server:
        with writing([server.url], receiver, pulse, seed=7) as writers:
            for hours in (-1, 1, -1):
                server.set_calendar(hours)
                pulse.wait("delivered", 20)
                pulse.wait("answered", 20)
        judge(writers, receiver)
        assert not any(writer.lost or writer.refused for writer in writers)
        assert server.stop() == 0


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_snapshot_is_put_in_wholly_or_not_at_all_whenever_its_server_dies(
    new_place: Callable[[str], Place], kind: str
) -> None:
    random = Random(10)  # noqa: S311 - a test repeats with its seed
    pulse = Pulse()
    met = 0
    with killed_server(new_place(kind).url) as server, Receiver() as receiver, ThreadPoolExecutor() as pool:
        shop = Writer(server.url, "sk_test_shop", random, Pulse())
        stages = []
        for stage in range(2):
            for number in range(150):
                shop.insist("POST", "/checkout/sessions", basket(), key=f"create-{stage}-{number}")
            stages.append(shop.insist("GET", "/_mock/v1/snapshot")[1])
        with writing([server.url], receiver, pulse, seed=11, number=2):
            for number in range(size(ROUNDS)):
                wanted = stages[number % 2]
                putting = pool.submit(shop.ask, "PUT", "/_mock/v1/snapshot", wanted)
                pulse.wait("answered", random.randrange(8))
                server.kill()
                is_acknowledged = putting.exception() is None
                met += not is_acknowledged
                kept = shop.insist("GET", "/_mock/v1/snapshot")[1]
                parts = [[kept[part], wanted[part]] for part in ("sessions", "idempotency")]
                is_new = parts[0][0] == parts[0][1]
                assert is_new or not is_acknowledged
                if not is_new:
                    parts = [[kept[part], stages[1 - number % 2][part]] for part in ("sessions", "idempotency")]
                assert all(one == other for one, other in parts), "it is neither"
        shop.hang_up()
        assert server.stop() == 0
    assert met, "no kill met a snapshot on its way"


def test_nothing_is_acknowledged_once_the_file_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "mock.db"
    with killed_server(f"sqlite:///{file}") as server:
        writer = Writer(server.url, "sk_test_writer", Random(8), Pulse())  # noqa: S311 - a test repeats with its seed
        session = writer.insist("POST", "/checkout/sessions", basket(), key="kept")[1]
        file.unlink()
        for key in ("first", "second"):
            with pytest.raises(Refused):
                writer.ask("POST", "/checkout/sessions", basket(), key=key)
        with pytest.raises(Refused):
            writer.ask("POST", f"/checkout/sessions/{session['id']}/expire")
        writer.hang_up()
        assert server.stop() == 0
        assert server.log.count(f"the store cannot be used: {file} was deleted or moved") == 1, (
            "the reason is told once"
        )


@pytest.mark.soak
def test_a_server_that_stood_still_does_nothing_twice(new_place: Callable[[str], Place]) -> None:
    """Longer than it takes to be taken for dead: another one has done by then what this one had begun."""
    pulse = Pulse()
    with Receiver(pulse) as receiver, killed_server(new_place("postgresql").url, 2) as server:
        with writing([server.url], receiver, pulse, seed=9, is_refusal_certain=False) as writers:
            for _ in range(size({"sample": 1, "full": 5})):
                pulse.wait("answered", 50)
                with server.standing_still():
                    postgres_harness.stay_away(STANDSTILL)
                pulse.wait("delivered", 20)
        judge(writers, receiver)
        assert not any(writer.lost for writer in writers), "each request was answered"
        assert server.stop() == 0


@pytest.mark.soak
def test_a_database_that_is_gone_for_a_while_loses_nothing(tmp_path: Path) -> None:
    """It dies without saying goodbye, and what it acknowledged it had written to the disk."""
    pulse = Pulse()
    folder = postgres_harness.folder_for(tmp_path)
    with postgres_harness.running(folder) as postgres, Receiver() as receiver:
        url = postgres_harness.url_of(postgres, schema="gone", durable=True)
        with killed_server(url, count=2) as server:
            with writing([server.url], receiver, pulse, seed=6, is_refusal_certain=False) as writers:
                pulse.wait("answered", 100)
                postgres_harness.kill(postgres)
                postgres_harness.stay_away(size(OUTAGE))
                pulse.wait("refused", 10)
                postgres_harness.start_again(postgres)
                pulse.wait("answered", 100)
            judge(writers, receiver)
            assert not any(writer.lost for writer in writers), "each request was answered"
            assert server.stop() == 0
