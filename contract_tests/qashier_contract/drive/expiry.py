"""A day of the account's clock: deadlines to the second, and how long idempotency keys are remembered.

Comes last of its stage, but for the webhooks, because it ends every session that is still open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qashier_contract import oracle
from qashier_contract.drive import Driver, RunContext, Stage, id_of, page_url_of
from qashier_contract.history import Capability
from qashier_contract.values import is_integer

if TYPE_CHECKING:
    from qashier_contract.history import Exchange

_FIRST_TOUCHES: Final = ("pay", "expire", "list", "retrieve", "view", "nothing")


def a_day(context: RunContext) -> None:
    """Take sessions and keys past their deadlines, a second before and to the second.

    Each session is first touched in another way: what only expires when it is looked at betrays itself.
    """
    account = context.account
    account.set_clock(frozen=True)
    start = account.clock().object.get("now")
    if not is_integer(start):
        return
    default = context.open()
    keys = [context.key() for _ in range(3)]
    bodies = [context.body() for _ in keys]
    for key, body in zip(keys, bodies, strict=True):
        account.create(body, key=key)
    # Asked anew it would be too late; a replay asks nothing.
    timed_key, timed = context.key(), context.body(expires_at=start + 3_600)
    account.create(timed, key=timed_key)
    ended, end_key = id_of(context.open(expires_at=start + 3_600)), context.key()
    if ended is not None:
        account.expire(ended, key=end_key)
    touched = {
        how: context.open(expires_at=start + oracle.SHORTEST_LIFE + place) for place, how in enumerate(_FIRST_TOUCHES)
    }
    free = context.open(context.line(0, 1), expires_at=start + oracle.SHORTEST_LIFE)
    tried = context.open(expires_at=start + oracle.SHORTEST_LIFE)
    if (tried_id := id_of(tried)) is not None:
        account.pay(tried_id, "failed")
        account.pay(tried_id, "canceled")
    early = {how: context.open(expires_at=start + oracle.SHORTEST_LIFE) for how in ("pay", "expire", "retrieve")}
    replaced = context.open(expires_at=start + 3_600)
    if (replaced_id := id_of(replaced)) is not None:
        account.expire(replaced_id)
    account.advance(oracle.SHORTEST_LIFE - 1)
    for how, opened in early.items():
        _touch(context, opened, how)
        _look(context, opened)
    account.list(status="open", limit=25)
    for how, opened in touched.items():
        account.advance(1)
        _touch(context, opened, how)
    for opened in (free, tried):
        _look(context, opened)
    # A failed payment is none either.
    if (late := id_of(touched["nothing"])) is not None:
        account.pay(late, "failed")
    if Capability.EVENTS in context.capabilities:
        context.events(account)
    for opened in (*touched.values(), *early.values()):
        _look(context, opened)
    account.list(status="expired", limit=25)
    account.list(status="open", limit=25)
    elapsed = oracle.SHORTEST_LIFE - 1 + len(touched)
    account.advance(43_200 - elapsed)
    account.create(bodies[0], key=keys[0])
    account.create(timed, key=timed_key)
    account.advance(43_199)
    account.create(bodies[0], key=keys[0])
    account.create(bodies[1], key=keys[1])
    if ended is not None:
        account.expire(ended, key=end_key)
    _look(context, default)
    account.advance(1)
    for key, body in zip(keys, bodies, strict=True):
        account.create(body, key=key)
    _look(context, default)
    if ended is not None:
        account.expire(ended, key=end_key)
        account.create(context.body(), key=end_key)
    # The new answer is remembered in its turn.
    account.create(bodies[2], key=keys[2])
    if (default_id := id_of(default)) is not None:
        account.pay(default_id)
        account.expire(default_id)
        account.retrieve(default_id)
    account.list(status="expired", limit=10)
    account.list(limit=5)
    context.open()
    if Capability.EVENTS in context.capabilities:
        context.events(account)
    account.advance(oracle.LONGEST_LIFE)


def the_day_after(context: RunContext) -> None:
    """Let everything that is still open expire at once, and look at what became of it."""
    for account in (context.account, context.other):
        if account is None:
            continue
        account.set_clock(frozen=True)
        last = context.open(account=account)
        account.advance(oracle.LONGEST_LIFE)
        account.list(status="open")
        account.list(status="expired", limit=oracle.LIMIT_MOST)
        if (last_id := id_of(last)) is not None:
            account.list(status="expired", limit=oracle.LIMIT_MOST, starting_after=last_id)
            account.retrieve(last_id)
        if Capability.EVENTS in context.capabilities:
            context.events(account)


def _look(context: RunContext, opened: Exchange) -> None:
    if (session_id := id_of(opened)) is not None:
        context.account.retrieve(session_id)


def _touch(context: RunContext, opened: Exchange, how: str) -> None:
    session_id, url = id_of(opened), page_url_of(opened)
    if session_id is None:
        return
    if how == "pay":
        context.account.pay(session_id)
    elif how == "expire":
        context.account.expire(session_id)
    elif how == "list":
        context.account.list(status="open", limit=5)
        context.account.list(status="expired", limit=5)
    elif how == "retrieve":
        context.account.retrieve(session_id)
    elif how == "view" and url is not None and Capability.PAGE in context.capabilities:
        context.account.view(session_id, url)


DRIVERS: Final = (
    Driver(
        name="a day",
        purpose="Take sessions and idempotency keys past their deadlines, to the second.",
        run=a_day,
        needs=frozenset({Capability.CLOCK, Capability.PAY}),
        requests=92,
    ),
    Driver(
        name="the day after",
        purpose="Let everything that is still open expire at once, and look at what became of it.",
        run=the_day_after,
        needs=frozenset({Capability.CLOCK}),
        stage=Stage.DEPTH,
        requests=14,
    ),
)
