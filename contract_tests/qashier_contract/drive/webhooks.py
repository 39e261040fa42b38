"""Webhooks received for real: who gets them, how they are signed, how they are tried again.

Comes after everything else: the day before it has ended all other sessions, so that no flood of their events arrives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from qashier_contract import oracle
from qashier_contract.drive import Opened, RunContext, Stage, driver, pages
from qashier_contract.drive.scenarios.scenario import altered
from qashier_contract.history import TOO_LATE, Capability
from qashier_contract.receiver import DROP, HOLD_S, PATIENCE_S, Receiver
from qashier_contract.target import Account
from qashier_contract.values import Json, is_integer

_SECRETS: Final = (
    "whsec_c2VjcmV0",
    "  péché ✓ with blanks \t\n",
    "0123abcdef456789",
    "c2VjcmV0" * 16,
    "0",
    "clé + clé: %41",
    "C0FFEE99",
    " ",
)
"""Secrets that an implementation might strip, decode (base64, hex, forms), cut, encode otherwise, or take for none."""
_REFUSALS: Final = (500, 410, 302, DROP, 404, 503, 429, 301)
"""What the failing endpoint says, over and over: each of them might be taken for a success, or for final."""
_TIMED: Final = (Capability.WEBHOOKS, Capability.PAY, Capability.CLOCK)
_A_MINUTE_S: Final = 61
"""Within a minute the first retry comes: what is due a second later is taken for none."""
_GLANCE_S: Final = 0.6
_FEW_GLANCES: Final = 2
"""How often is looked for a delivery, after one was waited for in vain."""
_BREATH_S: Final = 0.05
"""For how long a retry is waited for in small steps, each of which it might be due in."""
_LAG_S: Final = 3.0
"""For how long a retry that is due is waited for."""
_A_MOMENT_S: Final = 0.3
"""After the same event came elsewhere, for how long an endpoint goes on refusing it."""


class _Desk:
    """A receiver, and the endpoints that some accounts have there until it closes."""

    def __init__(self, context: RunContext) -> None:
        host = context.receiver_host or "127.0.0.1"
        self.context = context
        self.receiver = Receiver(
            context.recorder,
            host=host,
            port=context.receiver_port,
            public_url=context.receiver_url,
            pace=context.target.pace,
            hold_s=HOLD_S,
            patience_s=PATIENCE_S,
        )
        self.with_door: str | None = None
        """The endpoint behind a door, if there is one."""
        self._registered: dict[str, tuple[Account, str]] = {}
        self._glances = round(PATIENCE_S / _GLANCE_S)

    def __enter__(self) -> Self:
        self.receiver.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.receiver.close()
        try:
            for name in list(self._registered):
                self.remove(name)
        finally:
            self.receiver.__exit__()

    def register(
        self,
        name: str,
        secret: str | None = None,
        answer: Callable[[int], int] = lambda _: 200,
        account: Account | None = None,
        *,
        has_door: bool = False,
    ) -> bool:
        """Register a new path of the receiver, perhaps behind a door of its own; whether the target took it."""
        account = account or self.context.account
        url = self.receiver.add(name, account.number, secret, answer, has_door=has_door)
        exchange = account.add_endpoint(url, secret)
        endpoint_id = exchange.object.get("id")
        if exchange.succeeded:
            self.receiver.registered(name, str(endpoint_id))
            self._registered[name] = (account, str(endpoint_id))
        return exchange.succeeded

    @property
    def may_have_doors(self) -> bool:
        """Whether further ports of this machine can be reached: no one said where webhooks have to go."""
        context = self.context
        return not context.receiver_port and context.receiver_url is None and context.receiver_host == "127.0.0.1"

    def wait_for_each(self, names: Iterable[str], count: int) -> None:
        """Wait until each of some endpoints has so many deliveries.

        Meanwhile the target is asked for little, again and again: who answers that at once is not too busy to deliver.
        """
        for name in names:
            for _ in range(self._glances):
                if self.receiver.wait(name, count, _GLANCE_S):
                    break
                self.context.account.list(limit=1)
            else:
                self._glances = _FEW_GLANCES

    def remove(self, name: str) -> None:
        account, endpoint_id = self._registered.pop(name)
        if account.remove_endpoint(endpoint_id).succeeded:
            self.receiver.removed(name)


@driver(
    "Receive webhooks: who gets them, what is in them, how they are signed, how they are tried again.",
    needs=[Capability.WEBHOOKS, Capability.PAY],
    requests=88,
)
def webhooks(context: RunContext) -> None:
    with _Desk(context) as desk:
        _drive(context, desk)


@dataclass(slots=True)
class _Hanging:
    """A delivery that is left without an answer."""

    desk: _Desk
    account: Account
    name: str
    since_ns: int = 0


def hang(context: RunContext, account: Account) -> None:
    """Leave a delivery to an account without an answer."""
    desk = context.until_the_end.enter_context(_Desk(context))
    receiver, name = desk.receiver, f"{context.nonce}-hanging"
    receiver.clock_of, receiver.clock = account.number, context.now(account)
    if not desk.register(name, answer=lambda number: 200 if number else TOO_LATE, account=account):
        return
    paid = context.open(account=account).pay()
    if paid is not None and receiver.wait(name, 1):
        context.hanging = _Hanging(desk, account, name, time.monotonic_ns())


@driver(
    "Leave a delivery without an answer, in an account of its own, while other things are done.",
    needs=_TIMED,
    stage=Stage.DEPTH,
    requests=5,
    waits_s=10,  # where whoever causes an event has to wait until it is delivered
)
def an_endpoint_that_hangs(context: RunContext) -> None:
    if context.keys_are_free:
        account = context.made_up_account()
        account.set_clock(frozen=True)
        hang(context, account)


@driver(
    "Once the delivery without an answer must have been given up, let the retry come.",
    after="an endpoint that hangs",
    needs=_TIMED,
    stage=Stage.ENDLESS,
    requests=8,
    waits_s=10,
)
def after_ten_seconds(context: RunContext) -> None:
    if context.hanging is None and not context.keys_are_free:
        hang(context, context.account)
    if isinstance(hanging := context.hanging, _Hanging):
        receiver = hanging.desk.receiver
        receiver.hold(HOLD_S - (time.monotonic_ns() - hanging.since_ns) / 1e9)
        for _ in range(7):
            _move(hanging.account, receiver, 10)
        receiver.wait(hanging.name, 2)


def _drive(context: RunContext, desk: _Desk) -> None:
    account, receiver, register = context.account, desk.receiver, desk.register
    if context.can(Capability.CLOCK):
        receiver.clock = context.now()
    plain, gone, signed, odd, in_hex, long = (
        f"{context.nonce}-{word}" for word in ("plain", "gone", "signed", "odd", "inHex", "long")
    )
    short, accented, alike, theirs, shut = (
        f"{context.nonce}-{word}"
        for word in ("short", "accented?by=Path&n=1", "accented?by=Path&n=2", "theirs", "shut")
    )
    if not register(plain):
        return
    register(signed, _SECRETS[0], lambda _: 204)
    # Each clause has its turn before the rest comes.
    context.open().pay()
    early = (plain, signed)
    desk.wait_for_each(early, 1)
    if register(gone):
        desk.remove(gone)
    register(odd, _SECRETS[1], lambda n: (200, 202)[n % 2])
    register(in_hex, _SECRETS[2], lambda _: 201)
    for name, secret in ((long, _SECRETS[3]), (short, _SECRETS[4]), (accented, _SECRETS[5]), (alike, _SECRETS[6])):
        register(name, secret)
    if desk.may_have_doors and context.can(Capability.CLOCK) and register(shut, has_door=True):
        desk.with_door = shut
    if context.other is not None:
        register(theirs, _SECRETS[0], account=context.other)
        register(f"{theirs}-too", _SECRETS[7], account=context.other)
    texts = {"name": "Kopi <O> & “toast” — 咖啡 🍵 / \\", "description": 'a/b "c" é'}
    paid, expired, failed, refused = (context.open(context.line(1250, 2, **texts)) for _ in range(4))
    if not all((paid, expired, failed, refused)):
        return
    paid.pay()
    key = context.key()
    expired.expire(key=key)
    expired.expire(key=key)
    failed.pay("failed")
    failed.pay("canceled")
    paid.expire()
    foreign = altered(context.line(1250, 2), context.second_currency, "price_data", "currency")
    count = 2 + sum(context.open(line).pay() is not None for line in (context.line(0, 1), foreign))
    longest = _at_the_limits(context)
    many = context.open(*(longest if context.other is None else [context.line(1250, 2, **texts)] * len(longest)))
    count += many.expire() is not None
    count += _by_the_customer(context)
    later = (odd, in_hex, long, short, accented, alike, *([shut] if desk.with_door else []))
    desk.wait_for_each(later, count)  # before the clock moves on
    desk.wait_for_each(early, count + 1)
    due_s = oracle.SHORTEST_LIFE + 60
    due = context.open(expires_at=receiver.clock + due_s + _A_MINUTE_S) if receiver.clock is not None else None
    count += _by_the_clock(context, receiver, due_s)
    desk.wait_for_each(later, count)
    desk.wait_for_each(early, count + 1)
    paid.retrieve()
    expired.retrieve()
    if context.other is not None and context.open(*longest, account=context.other).expire() is not None:
        desk.wait_for_each((theirs, f"{theirs}-too"), 1)
    _be_refused(context, desk, refused, due, (*early, *later))
    account.events()


def _at_the_limits(context: RunContext) -> Sequence[Json]:
    """Lines that make an event as large as it may be: beyond what one message of a queue, or one read, may hold."""
    texts = (f"{n} ".ljust(oracle.DESCRIPTION_MOST, "咖") for n in range(oracle.LINES_MOST))
    return [context.line(1250, 2, description=text) for text in texts]


def _be_refused(context: RunContext, desk: _Desk, session: Opened, due: Opened | None, others: Collection[str]) -> None:
    """Let one more endpoint refuse everything that comes of a session of its own; then another session is `due`.

    At the endpoint behind a door, nobody listens when that session is paid, until the first try must have failed.
    """
    receiver, shut = desk.receiver, desk.with_door
    failing, beside, late = (f"{context.nonce}-{word}" for word in ("failing", "beside", "late"))
    desk.register(failing, _SECRETS[0], lambda n: _REFUSALS[n % len(_REFUSALS)])
    desk.register(beside, _SECRETS[6])
    refused = session.id if shut is not None and receiver.shut(shut) else None
    session.pay()
    receiver.wait(failing, 1)
    receiver.wait(beside, 1)
    if shut is not None and refused is not None:
        receiver.hold(_A_MOMENT_S)
        receiver.open(shut)
    desk.register(late)
    if context.can(Capability.CLOCK):
        _let_retries_come(desk, failing, refused, due, (failing, beside, late, *others))


def _by_the_customer(context: RunContext) -> int:
    """Pay a session on its page; how many sessions that ended."""
    if not context.can(Capability.PAGE):
        return 0
    session = pages.fresh(context)
    session.press("pay-card")
    shown = session.retrieve()
    return shown is not None and shown.object.get("status") == "complete"


def _by_the_clock(context: RunContext, receiver: Receiver, due_s: int) -> int:
    """Let the time of a session run out; how many sessions that ended."""
    if receiver.clock is None or not context.open(expires_at=receiver.clock + due_s):
        return 0
    _move(context.account, receiver, due_s)
    return 1


def _move(account: Account, receiver: Receiver, seconds: int) -> None:
    """Move the clock; what arrives meanwhile arrives by its new time."""
    if receiver.clock is not None:
        receiver.clock += seconds
        shown = account.advance(seconds).object.get("now")
        if is_integer(shown):
            receiver.clock = shown


def _let_retries_come(
    desk: _Desk, failing: str, refused: str | None, due: Opened | None, listening: Collection[str]
) -> None:
    """Move the clock until the first retry comes, as far again some times, then in growing steps over five days.

    Delays that do not grow betray themselves by as many retries in as many steps. A target that looks for what is due
    only now and then is given the time that it takes. Once a minute is over, the first retry must have come to the
    endpoint behind a door, where the event of the session `refused` was refused, and the clock ends the session that is
    `due`, of which the endpoints `listening` are told, the one that refused everything too.
    """
    receiver, account = desk.receiver, desk.context.account
    begins = receiver.clock
    before, first = receiver.count(failing), 0
    while first < 60 and receiver.count(failing) == before:
        _move(account, receiver, 10)
        first += 10
    moved_ns, lag_s = time.monotonic_ns(), 0.0
    if receiver.count(failing) == before and receiver.wait(failing, before + 1, _LAG_S):
        lag_s = 2 * (time.monotonic_ns() - moved_ns) / 1e9
    # Delays that shrink show in small steps only; who has to be waited for would be given too long at each.
    small = [first] * 6 if lag_s else [10] * (6 * first // 10)
    for step in (*small, 300, 900, 1_800, 7_200, 14_400, 43_200, 86_400, 86_400, 216_000):
        count = receiver.count(failing)
        _move(account, receiver, step)
        is_due = begins is not None and receiver.clock is not None and receiver.clock > begins + _A_MINUTE_S
        if is_due and refused is not None and desk.with_door is not None:
            receiver.wait(desk.with_door, 1, max(lag_s, _LAG_S), naming=refused)
            refused = None
        if is_due and due is not None and due.id is not None:
            for name in listening:
                receiver.wait(name, 1, naming=due.id)
            due = None
        receiver.wait(failing, count + 1, max(lag_s, _BREATH_S if step == 10 < first else 0))
