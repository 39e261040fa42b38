"""What produces observations. A driver sends and records; the clauses judge afterwards.

A driver is a function of a `World`, entered in a plan with `driver(…)` or `scenario(…)`; `run.py` runs the plan in its
order until it is done or the budget is spent.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from qashier_contract.addresses import origin_of
from qashier_contract.history import Capability, Exchange, History, Recorder
from qashier_contract.ledger import Ledger
from qashier_contract.target import Account, Key, Target
from qashier_contract.values import Json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from qashier_contract.verdicts import FailedCheck


@dataclass(slots=True)
class RunContext:
    """What a driver works with.

    `account` is the main account, `other` a second one where there is one. `nonce` is new in every run, so that neither
    idempotency keys nor sessions are mistaken for those of an earlier one.
    """

    target: Target
    recorder: Recorder
    account: Account
    other: Account | None
    nonce: str
    currency: str = "SGD"
    second_currency: str = "MYR"
    capabilities: frozenset[Capability] = frozenset()
    receiver_host: str | None = None
    """Where our receiver listens, None if no webhook can reach it."""
    receiver_port: int = 0
    receiver_url: str | None = None
    strict: bool = False
    seed: int = 0
    wanted: frozenset[str] = frozenset()
    """The ids of the clauses that will be judged."""
    broken_by: Callable[[History, Collection[str]], tuple[str, ...]] = lambda _history, _wanted: ()
    """Which of some clauses a history breaks, in the order of the contract: a driver knows no clause of its own."""
    budget_s: float = 60.0
    """How long the whole run may take: how much is drawn at random depends on it."""
    keys_are_free: bool = False
    """Whether the target takes keys that were made up, each as an account of its own with a clock of its own."""
    own: bool = False
    """Whether the target is our own mock, which must answer exactly as the document says."""
    failed_checks: list[FailedCheck] = field(default_factory=list)
    """Where our own mock left the strict document, found by a driver that has checks of its own."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the report should know."""
    look: Callable[[], None] = lambda: None
    """Judges what was observed so far, where that costs little. A driver that takes long calls it now and then."""
    hanging: object = None
    """The delivery that is left without an answer, for the driver that comes back to it."""
    until_the_end: ExitStack = field(default_factory=ExitStack)
    """What is closed when the last driver is done."""
    _count: int = field(default=0)

    def made_up_account(self, more: str = "") -> Account:
        """A fresh account, its key lengthened by `more`; only where `keys_are_free`."""
        keys = self.target.keys
        keys.append(Key(f"sk_test_Check{self.nonce}x{len(keys)}{more}", keys[0].scheme))
        return Account(self.target, len(keys) - 1)

    def can(self, *needs: Capability) -> bool:
        return set(needs) <= self.capabilities

    def mark(self) -> str:
        """A word that occurs in no other request of this or any run."""
        self._count += 1
        return f"{self.nonce}-{self._count}"

    def key(self, name: str = "") -> str:
        """An idempotency key that nobody has used."""
        return f"check-{self.mark()}{name}"

    def events(self, account: Account) -> None:
        """Read the list of events; once more after a moment if it lacks what it may get yet."""
        account.events()
        wait_for_pending_events(self.target, self.recorder, account.number)

    def line(self, unit_amount: Json = 1250, quantity: Json = 2, **product: Json) -> dict[str, Json]:
        """A line item. Further arguments are `product_data`."""
        return {
            "price_data": {
                "currency": self.currency,
                "product_data": {"name": "Kaya toast", **product},
                "unit_amount": unit_amount,
            },
            "quantity": quantity,
        }

    def body(self, *lines: Json, **fields: Json) -> dict[str, Json]:
        """A valid body for create, its `success_url` marked; `fields` replace or add."""
        return {
            "line_items": list(lines) or [self.line()],
            "success_url": f"https://shop.example/thanks/{self.mark()}",
            "return_url": "https://shop.example/basket/return",
            **fields,
        }

    def open(self, *lines: Json, account: Account | None = None, key: str | None = None, **fields: Json) -> Exchange:
        """Create a session from a valid body."""
        return (account or self.account).create(self.body(*lines, **fields), key=key)


def wait_for_pending_events(target: Target, recorder: Recorder, *numbers: int) -> None:
    """Read the lists of events again that lack something, as soon as it must be there.

    Args:
        target: Whom to ask.
        recorder: What was observed so far.
        numbers: In which accounts' names; all, if none is given.
    """
    due = {
        number: at
        for number, at in Ledger(recorder.history()).endings.overdue().items()
        if not numbers or number in numbers
    }
    if due:
        target.pace.sleep(max(0, max(due.values()) - time.monotonic_ns()) / 1e9)
    for number in due:
        Account(target, number).events()


def page_url_of(exchange: Exchange) -> str | None:
    """The address of the hosted page of the session that an answer shows, None if that is no absolute one."""
    url = exchange.object.get("url")
    return url if isinstance(url, str) and origin_of(url) is not None else None


def id_of(exchange: Exchange) -> str | None:
    """The id of the session that an answer shows, None if it shows none."""
    session_id = exchange.object.get("id")
    return session_id if exchange.succeeded and isinstance(session_id, str) else None


class Stage(IntEnum):
    """When a driver's turn comes."""

    FIRST = 1
    BREADTH = 2
    """Touches each clause once or a few times, in few requests: what a short budget is for."""
    DEPTH = 3
    """Goes through all boundaries and forms."""
    ENDLESS = 4
    """Goes on until the budget is spent."""
    HARSH = 5
    """What may bring a weak target down, and so comes last."""


@dataclass(frozen=True, slots=True)
class Driver:
    """One step of the plan: what it does in a sentence, what it needs, what it costs.

    Which clauses it exercises is measured, not stated: `plan.measured`.
    """

    name: str
    purpose: str
    run: Callable[[RunContext], None]
    needs: frozenset[Capability] = frozenset()
    stage: Stage = Stage.BREADTH
    requests: int = 0
    """About how many requests it sends; 0 for one that draws them, and goes on until the budget is spent."""
    waits_s: int = 0
    """How many seconds it may have to let pass."""
    races: bool = False
    """Whether it sends requests at once, so that what comes of them differs from run to run."""
    after: str = ""
    """The name of the driver whose work it goes on with."""

    @property
    def is_directed(self) -> bool:
        """Whether it sends the same requests each time, and does not wait."""
        return self.requests > 0 and not self.waits_s
