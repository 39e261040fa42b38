"""A day of the account's clock: deadlines to the second, and how long idempotency keys are remembered.

Comes last of its stage, but for the webhooks, because it ends every session that is still open.
"""

from __future__ import annotations

from typing import Final

from qashier_contract import oracle
from qashier_contract.drive import Opened, RunContext, Stage, driver
from qashier_contract.history import Capability

_PART_S: Final = 0.23
"""Parts of a second, none of which is a whole one after four of them."""
_FIRST_TOUCHES: Final = ("pay", "expire", "list", "retrieve", "view", "nothing")


@driver(
    "Take sessions and idempotency keys past their deadlines, to the second.",
    needs=[Capability.CLOCK, Capability.PAY],
    requests=92,
)
def a_day(context: RunContext) -> None:
    # Each session is first touched in another way: what only expires when it is looked at betrays itself.
    account = context.account
    account.set_clock(frozen=True)
    start = context.now()
    if start is None:
        return
    default = context.open()
    keys = [context.key() for _ in range(3)]
    bodies = [context.body() for _ in keys]
    for key, body in zip(keys, bodies, strict=True):
        account.create(body, key=key)
    # Asked anew it would be too late; a replay asks nothing.
    timed_key, timed = context.key(), context.body(expires_at=start + 3_600)
    account.create(timed, key=timed_key)
    ended, end_key = context.open(expires_at=start + 3_600), context.key()
    ended.expire(key=end_key)
    elapsed = _to_their_deadlines(context, start)
    account.advance(43_200 - elapsed)
    account.create(bodies[0], key=keys[0])
    account.create(timed, key=timed_key)
    account.advance(43_199)
    account.create(bodies[0], key=keys[0])
    account.create(bodies[1], key=keys[1])
    ended.expire(key=end_key)
    default.retrieve()
    account.advance(1)
    for key, body in zip(keys, bodies, strict=True):
        account.create(body, key=key)
    default.retrieve()
    if ended:
        ended.expire(key=end_key)
        account.create(context.body(), key=end_key)
    # The new answer is remembered in its turn.
    account.create(bodies[2], key=keys[2])
    default.pay()
    default.expire()
    default.retrieve()
    account.list(status="expired", limit=10)
    account.list(limit=5)
    context.open()
    if context.can(Capability.EVENTS):
        context.events(account)
    account.advance(oracle.LONGEST_LIFE)


def _to_their_deadlines(context: RunContext, start: int) -> int:
    """Open sessions and take them to their deadlines; how many seconds have passed since the start."""
    account = context.account
    touched = {
        how: context.open(expires_at=start + oracle.SHORTEST_LIFE + place) for place, how in enumerate(_FIRST_TOUCHES)
    }
    free = context.open(context.line(0, 1), expires_at=start + oracle.SHORTEST_LIFE)
    tried = context.open(expires_at=start + oracle.SHORTEST_LIFE)
    tried.pay("failed")
    tried.pay("canceled")
    early = {how: context.open(expires_at=start + oracle.SHORTEST_LIFE) for how in ("pay", "expire", "retrieve")}
    context.open(expires_at=start + 3_600).expire()
    account.advance(oracle.SHORTEST_LIFE - 1)
    for how, session in early.items():
        _touch(context, session, how)
        session.retrieve()
    account.list(status="open", limit=25)
    for how, session in touched.items():
        account.advance(1)
        _touch(context, session, how)
    for session in (free, tried):
        session.retrieve()
    if context.can(Capability.PAGE):
        free.view()
    # A failed payment is none either.
    touched["nothing"].pay("failed")
    if context.can(Capability.EVENTS):
        context.events(account)
    for session in (*touched.values(), *early.values()):
        session.retrieve()
    account.list(status="expired", limit=25)
    account.list(status="open", limit=25)
    return oracle.SHORTEST_LIFE - 1 + len(touched)


@driver(
    "Let everything that is still open expire at once, and look at what became of it.",
    needs=[Capability.CLOCK],
    stage=Stage.DEPTH,
    requests=14,
)
def the_day_after(context: RunContext) -> None:
    for account in filter(None, (context.account, context.other)):
        account.set_clock(frozen=True)
        last = context.open(account=account)
        account.advance(oracle.LONGEST_LIFE)
        account.list(status="open")
        account.list(status="expired", limit=oracle.LIMIT_MOST)
        if last.id is not None:
            account.list(status="expired", limit=oracle.LIMIT_MOST, starting_after=last.id)
            last.retrieve()
        if context.can(Capability.EVENTS):
            context.events(account)


@driver(
    "Move a clock that goes on by itself: sessions are created by it, and end by it.",
    needs=[Capability.CLOCK],
    stage=Stage.DEPTH,
    requests=30,
)
def a_clock_that_runs(context: RunContext) -> None:
    account = context.made_up_account() if context.keys_are_free else context.account
    account.set_clock(frozen=False)
    for _ in range(4):
        # Within one second, now early and now late in it: a clock that is rounded up shows the next one.
        account.clock()
        account.create(context.body())
        account.clock()
        context.target.pace.sleep(_PART_S)
    for seconds in (7_200, oracle.LONGEST_LIFE):
        opened = context.open(account=account)
        account.advance(seconds)
        account.clock()
        context.open(account=account).retrieve()
        account.clock()
        opened.retrieve()
    opened.pay()
    opened.retrieve()
    account.list(status="expired", limit=10)
    account.list(status="open", limit=10)
    account.set_clock(frozen=True)


def _touch(context: RunContext, session: Opened, how: str) -> None:
    if how == "list" and session:
        context.account.list(status="open", limit=5)
        context.account.list(status="expired", limit=5)
    elif how in {"pay", "expire", "retrieve"} or (how == "view" and context.can(Capability.PAGE)):
        getattr(session, how)()
