"""Drills for a shop: is an order fulfilled exactly once, whatever happens to its webhooks?

A drill is a short story. The shop opens a checkout session, the customer pays (or does not), the webhooks come late,
twice, not at all, or forged, and in the end the shop is asked how often it fulfilled the order. Nothing here knows in
which language the shop is written: it is asked through the `Shop` protocol, and pushed through the control API.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from qashier_mock.client import MockAccount
from qashier_mock.testing import WebhookDisorder

_OUTAGE_S: Final = 300
"""How long the provider is down, in seconds of the account's clock: the first retries come while it is."""
_RETRIES_S: Final = 86_400
"""Seconds after which every retry of a webhook has come."""
_FORGERS_SECRET: Final = "whsec_of_a_forger"  # noqa: S105 - nobody's secret: that is its point


class DrillError(Exception):
    """A drill could not be held: the shop or the mock did not do what any drill needs. The message says what to do."""


class Shop(Protocol):
    """What a drill asks of a shop. Each call may raise `DrillError`."""

    @property
    def abilities(self) -> frozenset[str]:
        """Which of `reconcile` and `restart` it can do."""

    def order(self) -> str:
        """Let a customer order something: the id of the checkout session that the shop created for it."""

    def fulfilled(self, session_id: str, wanted: int) -> int:
        """How often the order of a session was fulfilled; asked again for a while if it is not `wanted` yet."""

    def reconcile(self) -> None:
        """Let the shop ask the provider for what no webhook told it."""

    def restart(self) -> None:
        """Stop the shop and start it again."""

    def receive(self, url: str, body: bytes, secret: str | None) -> str:
        """Send a forged webhook to the shop, signed with `secret` or, if None, not signed: what it answered."""


@dataclass(slots=True)
class Story:
    """What a drill does, step by step, and what came of it.

    Attributes:
        steps: What happened so far, a sentence each.
        wrong: Orders that were not fulfilled as often as they should: a sentence each.
    """

    shop: Shop
    account: MockAccount
    steps: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _told: int = field(init=False)

    def __post_init__(self) -> None:
        """Begin behind the webhook attempts that the account has had."""
        self._told = len(self.account.deliveries)

    def note(self, sentence: str) -> None:
        """Add a step, behind the webhook attempts until now. What causes attempts is noted before it is done."""
        self.catch_up()
        self.steps.append(sentence)

    def order(self) -> str:
        """Order something: the id of the checkout session."""
        session_id = self.shop.order()
        self.note(f"The shop created {session_id}.")
        return session_id

    def pay(self, session_id: str) -> None:
        """Pay as the customer."""
        self.note(f"The customer paid {session_id}.")
        self.account.pay(session_id)

    def decline(self, session_id: str) -> None:
        """Let the payment fail."""
        self.note("The payment was declined.")
        self.account.fail(session_id)

    def pass_time(self, seconds: int) -> None:
        """Move the account's clock forward; webhooks and retries that fall due are delivered."""
        self.note(f"{seconds} s passed.")
        self.account.advance(seconds=seconds)

    def reconcile(self) -> None:
        """Let the shop reconcile."""
        self.note("The shop reconciled.")
        self.shop.reconcile()

    def ask(self, session_id: str, wanted: int) -> None:
        """Ask how often the order was fulfilled, and note it where that is not what was wanted."""
        count = self.shop.fulfilled(session_id, wanted)
        said = f"The order of {session_id} was fulfilled {count} time{'' if count == 1 else 's'}"
        self.note(f"{said}.")
        if count != wanted:
            self.wrong.append(f"{said}, not {wanted}.")

    def catch_up(self) -> None:
        """Add the webhook attempts since the last step."""
        attempts = self.account.deliveries
        for attempt in attempts[self._told :]:
            answer = attempt["error"] or attempt["status"]
            self.steps.append(f"Webhook attempt {attempt['number']} of {attempt['type']}: {answer}.")
        self._told = len(attempts)


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill.

    Attributes:
        summary: What it shows, in a sentence.
        needs: What the shop must be able to do: `reconcile`, `restart`.
    """

    name: str
    summary: str
    tell: Callable[[Story], None]
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one drill.

    Attributes:
        wrong: What the shop did wrong, a sentence each; empty if it passed.
        steps: What happened, a sentence each.
        skipped: Why it was not held; None if it was.
    """

    drill: Drill
    wrong: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    skipped: str | None = None

    @property
    def verdict(self) -> str:
        """`passed`, `failed` or `skipped`."""
        if self.skipped is not None:
            return "skipped"
        return "failed" if self.wrong else "passed"


def hold(shop: Shop, account: MockAccount, drills: Iterable[Drill]) -> Iterator[Outcome]:
    """Hold drills one after the other; each outcome as it comes.

    Raises:
        DrillError: The shop or the mock did not do what any drill needs.
        MockError: The mock refused a call, or does not answer.
    """
    for drill in drills:
        if missing := sorted(drill.needs - shop.abilities):
            yield Outcome(drill, skipped=f"give --{missing[0]} to hold it")
            continue
        story = Story(shop, account)
        try:
            drill.tell(story)
        finally:
            account.clear_faults()
        story.catch_up()
        yield Outcome(drill, tuple(story.wrong), tuple(story.steps))


# The drills


def _disturbed(name: str, *, orders: int = 1) -> Callable[[Story], None]:
    """Orders that are paid while a disorder of webhooks is in force; each must be fulfilled once."""

    def tell(story: Story) -> None:
        disorder = WebhookDisorder(story.account, name)
        session_ids = [story.order() for _ in range(orders)]
        for session_id in session_ids:
            story.pay(session_id)
        story.account.flush()  # what comes at once is told before the time that passes
        story.note("Eleven minutes passed.")
        disorder.settle()
        if disorder.loses:
            story.reconcile()
        for session_id in session_ids:
            story.ask(session_id, 1)

    return tell


def _never_paid(story: Story) -> None:
    session_id = story.order()
    story.decline(session_id)
    story.note("The customer cancelled.")
    story.account.cancel(session_id)
    story.account.flush()
    story.ask(session_id, 0)


def _declined_then_paid(story: Story) -> None:
    session_id = story.order()
    story.decline(session_id)
    story.pay(session_id)
    story.account.flush()
    story.ask(session_id, 1)


def _expired(story: Story) -> None:
    session_id = story.order()
    story.note("The session expired.")
    story.account.expire_session(session_id)
    story.account.flush()
    story.ask(session_id, 0)


def _forged(story: Story) -> None:
    paid, unpaid = story.order(), story.order()
    with story.account.fault("drop", webhook="*"):
        story.pay(paid)
        story.account.flush()
    event = next(each for each in story.account.events if each["data"]["object"]["id"] == paid)
    true, shown = event["data"]["object"], story.account.retrieve_session(unpaid)
    lie = {**shown, "status": true["status"], "payment_status": true["payment_status"]}
    body = json.dumps({**event, "id": f"{event['id']}0", "data": {"object": lie}}).encode()
    for endpoint in story.account.webhook_endpoints:
        for secret, how in ((_FORGERS_SECRET, "signed with another secret"), (None, "not signed")):
            answer = story.shop.receive(endpoint["url"], body, secret)
            story.note(f"A forged webhook, {how}, said that {unpaid} was paid; the shop answered {answer}.")
    story.ask(unpaid, 0)
    story.note(f"The true webhook of {paid} came.")
    story.account.deliver_again(event["id"])
    story.ask(paid, 1)


def _restarted(story: Story) -> None:
    session_id = story.order()
    story.pay(session_id)
    story.account.flush()
    story.ask(session_id, 1)
    story.note("The shop was restarted.")
    story.shop.restart()
    story.note("The webhook came again.")
    for event in story.account.events:
        if event["data"]["object"]["id"] == session_id:
            story.account.deliver_again(event["id"])
    story.ask(session_id, 1)


def _provider_down(story: Story) -> None:
    session_id = story.order()
    story.note("From here on, the provider's API answers 503.")
    with story.account.fault("status", operation="*", status=503):
        story.pay(session_id)
        story.account.flush()
        story.pass_time(_OUTAGE_S)
    story.note("The provider's API answers again.")
    story.pass_time(_RETRIES_S)
    if "reconcile" in story.shop.abilities:
        story.reconcile()
    story.ask(session_id, 1)


_RECONCILES: Final = frozenset({"reconcile"})
DRILLS: Final[Mapping[str, Drill]] = {
    drill.name: drill
    for drill in (
        Drill("in-order", "Each webhook comes once, at once.", _disturbed("in_order")),
        Drill("twice", "Each webhook comes twice.", _disturbed("duplicated")),
        Drill("late", "The webhook comes ten minutes late.", _disturbed("late")),
        Drill(
            "swapped", "The webhook of the second order overtakes that of the first.", _disturbed("swapped", orders=2)
        ),
        Drill("replayed", "The webhook comes again after it was answered.", _disturbed("replayed")),
        Drill("lost", "No webhook comes; the shop reconciles.", _disturbed("lost"), _RECONCILES),
        Drill(
            "badly-signed",
            "Webhooks are signed with another key; the shop reconciles.",
            _disturbed("forged"),
            _RECONCILES,
        ),
        Drill("forged", "A forged webhook says that an unpaid session is paid.", _forged),
        Drill("unpaid", "The payment is declined, then cancelled: nothing may be fulfilled.", _never_paid),
        Drill("second-try", "The payment is declined, then succeeds.", _declined_then_paid),
        Drill("expired", "The session expires unpaid: nothing may be fulfilled.", _expired),
        Drill("restart", "The shop restarts, and the webhook comes again.", _restarted, frozenset({"restart"})),
        Drill("provider-down", "The provider's API is down while the webhook comes.", _provider_down),
    )
}
"""Every drill by its name, in the order in which they are held."""


def report(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The JSON report: `{"verdict", "drills": [{"name", "summary", "verdict", "wrong", "steps", "skipped"}]}`."""
    return {
        "verdict": verdict(outcomes),
        "drills": [
            {
                "name": outcome.drill.name,
                "summary": outcome.drill.summary,
                "verdict": outcome.verdict,
                "wrong": list(outcome.wrong),
                "steps": list(outcome.steps),
                "skipped": outcome.skipped,
            }
            for outcome in outcomes
        ],
    }


def verdict(outcomes: Sequence[Outcome]) -> str:
    """`failed` if any drill failed, `passed` if one passed, else `skipped`."""
    verdicts = {outcome.verdict for outcome in outcomes}
    return next((word for word in ("failed", "passed") if word in verdicts), "skipped")
