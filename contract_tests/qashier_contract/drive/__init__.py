"""What produces observations. A driver sends and records; the clauses judge afterwards.

A driver is a function of a `RunContext` under `@driver(…)`; `run.py` runs the plan in its order until it is done or the
budget is spent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Final

from qashier_contract.addresses import origin_of
from qashier_contract.findings import Finding
from qashier_contract.history import Capability, Credentials, Exchange, History, Recorder, Terms
from qashier_contract.ledger import Ledger
from qashier_contract.page import Page, page_of, posts_to_itself, to_confirm
from qashier_contract.places import At, Part
from qashier_contract.target import Account, Key, Target
from qashier_contract.trace.sending import press
from qashier_contract.values import Json, is_integer

_MOST_CONFIRMED: Final = 3
"""On how many pages a customer says again that an act was meant."""


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
    receiver_host: str | None = None
    """Where our receiver listens, None if no webhook can reach it."""
    receiver_port: int = 0
    receiver_url: str | None = None
    seed: int = 0
    wanted: frozenset[str] = frozenset()
    """The ids of the clauses that will be judged."""
    broken_by: Callable[[History, Collection[str]], tuple[str, ...]] = lambda _history, _wanted: ()
    """Which of some clauses a history breaks, in the order of the contract: a driver knows no clause of its own."""
    budget_s: float = 60.0
    """How long the whole run may take: how much is drawn at random depends on it."""
    keys_are_free: bool = False
    """Whether the target takes keys that were made up, each as an account of its own with a clock of its own."""
    failed_checks: list[Finding] = field(default_factory=list)
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

    def made_up_account(self, more: str = "", twin: Account | None = None) -> Account:
        """A fresh account, its key lengthened by `more`; only where `keys_are_free`.

        A twin's key differs in one sign: where the other one has a hyphen, it has an underscore.
        """
        keys, ends = self.target.keys, self.terms.key_ends
        end = f"x{len(keys)}{more}" if twin is None else ends[twin.number - 2].replace("-", "_")
        keys.append(Key(f"sk_test_Check{self.nonce}{end}", keys[0].scheme))
        self.recorder.terms = replace(self.terms, key_ends=(*ends, end))
        return Account(self.target, len(keys) - 1)

    @property
    def terms(self) -> Terms:
        return self.recorder.terms

    def can(self, *needs: Capability) -> bool:
        return self.terms.capabilities.issuperset(needs)

    def now(self, account: Account | None = None) -> int | None:
        """The time of an account's clock, in epoch seconds; None if it cannot be read."""
        shown = (account or self.account).clock().object.get("now")
        return shown if is_integer(shown) else None

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

    def open(self, *lines: Json, account: Account | None = None, key: str | None = None, **fields: Json) -> Opened:
        """Create a session from a valid body."""
        account = account or self.account
        return Opened(account, account.create(self.body(*lines, **fields), key=key))


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


class Opened:
    """What a create opened, to go on with. Where it opened nothing, or nothing with a page, nothing is sent.

    Attributes:
        id: The session's id; None if the create opened none.
        url: The address of its hosted page; None if that is no absolute one.
    """

    def __init__(self, account: Account, exchange: Exchange) -> None:
        self.account, self.exchange = account, exchange
        session_id, url = exchange.object.get("id"), exchange.object.get("url")
        self.id = session_id if exchange.succeeded and isinstance(session_id, str) else None
        self.url = url if isinstance(url, str) and origin_of(url) is not None else None

    def __bool__(self) -> bool:
        return self.id is not None

    def retrieve(self, *, by: Account | None = None, credentials: Credentials | None = None) -> Exchange | None:
        return (by or self.account).retrieve(self.id, credentials=credentials) if self.id is not None else None

    def expire(self, *, by: Account | None = None, **how: Any) -> Exchange | None:
        return (by or self.account).expire(self.id, **how) if self.id is not None else None

    def pay(self, outcome: str = "succeeded") -> Exchange | None:
        return self.account.pay(self.id, outcome) if self.id is not None else None

    def view(self) -> Exchange | None:
        """Open the hosted page."""
        return self.account.view(self.id, self.url) if self.id is not None and self.url is not None else None

    def ask_by_get(self, act: str, page: Exchange | None) -> Exchange | None:
        """Ask for the session's page with the fields of a form on it that posts there; None if there is none."""
        shown = page_of(page) if page is not None else None
        if page is None or shown is None or self.id is None or not posts_to_itself(shown, act):
            return None
        pressed = press(self.account, self.id, page, act, "GET")
        return None if pressed is None else pressed()

    def press(self, act: str, page: Exchange | None = None) -> Exchange | None:
        """Press what carries a `data-testid` on a page, by default its own as it is now; None if there is nothing."""
        page = page or self.view()
        pressed = self.button(act, page)
        return None if page is None or pressed is None else self._confirmed(act, page, pressed())

    def _confirmed(self, act: str, page: Exchange, answer: Exchange) -> Exchange:
        """Say that an act was meant that was done on a page, where the answer is a page that asks; the last answer."""
        shop = [self.exchange.object.get(name) for name in ("success_url", "return_url")]
        for _ in range(_MOST_CONFIRMED):
            seen, shown = page_of(page), page_of(answer) if answer.succeeded else None
            text = At(answer, Part.RAW).value if shown is not None else None
            if seen is None or shown is None or not isinstance(text, str) or to_confirm(seen, act, shown) is None:
                break
            act = act.removesuffix(Page.CONFIRMED) + Page.CONFIRMED
            pressed = self.button(act, answer)
            if pressed is None or any(isinstance(url, str) and url in text for url in shop):
                break  # who is led to the shop is done
            page, answer = answer, pressed()
        return answer

    def has(self, act: str, page: Exchange | None) -> bool:
        """Whether a page has a button for an act that may be pressed: one whose form stays on the page's host."""
        shown = page_of(page) if page is not None else None
        is_there = shown is not None and "form" in shown.tests.get(act, {})
        return is_there and self.button(act, page) is not None

    def button(self, act: str, page: Exchange | None) -> Callable[[], Exchange] | None:
        """What presses something on a page; None if there is nothing, or it leads to another host."""
        return None if self.id is None or page is None else press(self.account, self.id, page, act)

    def at_the_method(self) -> Exchange | None:
        """The payment method's own page; None if there is none."""
        there = self.press("pay-redirect")
        return there if there is not None and page_of(there) is not None else None

    def do(self, *acts: str, page: Exchange | None = None) -> None:
        """Do one thing after another, and look at the session after each.

        Args:
            acts: `expire`, the outcome of a payment, or what is pressed on the page.
            page: A page, which may be stale. Without one, nothing is pressed. After a payment that failed, the customer
                goes on with the page that he sees then: its forms may be good for one press each.
        """
        for act in acts:
            if act == "expire":
                self.expire()
            elif act in {"succeeded", "failed", "canceled"}:
                self.pay(act)
            elif page is None:
                continue
            else:
                answer = self.press(act, page)
                shown = page_of(answer) if answer is not None and act == "pay-declined" else None
                if shown is not None:
                    page = answer if shown.forms else self.view() or page
            self.retrieve()


class Stage(IntEnum):
    """When a driver's turn comes."""

    FIRST = 1
    BREADTH = 2
    """Touches each clause once or a few times, in few requests: what a short budget is for."""
    DEPTH = 3
    """Goes through all boundaries and forms, the shortest step first."""
    HARSH = 4
    """What may bring a weak target down: before the longest steps of `DEPTH`, and after all others."""
    ENDLESS = 5
    """What draws its requests, or waits: it goes on until the budget is spent."""


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


def driver(
    purpose: str,
    *,
    name: str = "",
    needs: Collection[Capability] = (),
    stage: Stage = Stage.BREADTH,
    requests: int = 0,
    waits_s: int = 0,
    races: bool = False,
    after: str = "",
) -> Callable[[Callable[[RunContext], None]], Driver]:
    """Make a driver of a function, whose name it has by default; the arguments are those of `Driver`.

    The purpose is not taken from the docstring, which `python -OO` removes.
    """

    def enter(run: Callable[[RunContext], None]) -> Driver:
        named = name or run.__name__.replace("_", " ")
        return Driver(named, purpose, run, frozenset(needs), stage, requests, waits_s, races, after)

    return enter
