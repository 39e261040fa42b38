"""Concurrent rounds: several requests at once, released together, judged afterwards for linearizability.

A round whose requests did not overlap shows nothing; it is repeated a few times, and does not count.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final

from contract_tests.clauses.concurrency import overlap
from contract_tests.drive import Driver, World, id_of
from contract_tests.history import Capability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from contract_tests.history import Exchange

_THREADS: Final = 6


def together(acts: Sequence[Callable[[], Exchange]]) -> list[Exchange]:
    """Do several things at once: every thread waits until all are ready."""
    barrier = threading.Barrier(len(acts))

    def one(act: Callable[[], Exchange]) -> Exchange:
        barrier.wait(timeout=10)
        return act()

    with ThreadPoolExecutor(max_workers=len(acts)) as pool:
        waiting = [pool.submit(one, act) for act in acts]
        return [result.result() for result in waiting]


def races(world: World) -> None:
    """Pay, expire and read one session at once, round after round."""
    account = world.account
    can_pay = world.can(Capability.PAY)
    shapes: tuple[tuple[str, ...], ...] = (
        ("expire", "expire", "expire", "read"),
        *((("pay", "expire", "read", "expire", "pay"), ("pay", "pay", "pay"), ("pay", "expire")) if can_pay else ()),
    )
    for shape in (*shapes, *shapes[:2]):
        for _ in range(3):
            session_id = id_of(world.open())
            if session_id is None:
                return
            acts: dict[str, Callable[[], Exchange]] = {
                "expire": partial(account.expire, session_id),
                "pay": partial(account.pay, session_id),
                "read": partial(account.retrieve, session_id),
            }
            done = together([acts[word] for word in shape])
            account.retrieve(session_id)
            if overlap(done):
                break
    if world.can(Capability.EVENTS):
        account.events()


def twins(world: World) -> None:
    """Create with the same idempotency key several times at once, and several sessions at once."""
    for _ in range(3):
        body, key = world.body(), world.key()
        done = together([partial(world.account.create, body, key=key)] * 4)
        world.account.list(limit=10)
        if overlap(done):
            break
    end_key, session_id = world.key(), id_of(world.open())
    if session_id is not None:
        together([partial(world.account.expire, session_id, key=end_key)] * 3)
        world.account.retrieve(session_id)
    bodies = [world.body() for _ in range(_THREADS)]
    together([partial(world.account.create, body) for body in bodies])
    world.account.list(limit=100)


DRIVERS: Final = (
    Driver(
        name="the same at once",
        purpose="Send one idempotency key several times at once, and open several sessions at once.",
        clauses=("IDM-6", "CON-2", "CRE-10", "HTTP-6"),
        run=twins,
        requests=20,
    ),
    Driver(
        name="races",
        purpose="Pay, expire and read one session at once: exactly one wins.",
        clauses=("CON-1", "EVT-2", "EVT-5", "HTTP-6"),
        run=races,
        requests=40,
    ),
)
