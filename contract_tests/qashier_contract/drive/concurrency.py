"""Concurrent rounds: several requests at once, released together, judged afterwards for linearizability.

A round whose requests did not overlap shows nothing; it is repeated a few times, and does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from qashier_contract import oracle
from qashier_contract.drive import Opened, RunContext, Stage, driver, pages
from qashier_contract.history import Capability, Credentials, Exchange, overlap
from qashier_contract.values import Json

_THREADS: Final = 6
_MANY: Final = 4
_SPARE: Final = 2
"""How many rounds more may be tried where some did not overlap."""
_MARGIN_S: Final = 30
"""Seconds that a session lives beyond the least, so that a second that ticks meanwhile does not make it too short."""


_PAY, _CLOCK, _PAGE = Capability.PAY, Capability.CLOCK, Capability.PAGE
_SHAPES: Final[Sequence[tuple[tuple[str, ...], Sequence[Capability], bool]]] = (
    (("expire", "expire", "expire", "read"), (), False),
    (("pay", "expire", "read", "expire", "pay"), [_PAY], False),
    (("pay", "pay", "pay"), [_PAY], False),
    (("pay", "expire"), [_PAY], False),
    (("pay", "clock", "expire", "read"), [_PAY, _CLOCK], True),
    (("pay", "read", "read", "read", "read"), [_PAY], True),
    (("pay-card", "expire", "read", "pay-card"), [_PAGE], True),
    (("authorise", "expire", "read"), [_PAGE], True),
    (("pay", "pay-card", "read"), [_PAGE, _PAY], True),
    (("decline", "expire", "read"), [_PAY], True),
    (("cancel", "pay", "read"), [_PAY], True),
)
"""Who does what at once in a round, what it takes, and whether it is for when every clause has had its turn."""


def _races(context: RunContext, rounds: int, depths: Sequence[bool]) -> None:
    """Pay, expire and read one session at once, and let its time run out; `rounds` that count of each shape."""
    for shape, needs, is_deep in _SHAPES:
        if is_deep not in depths or not context.can(*needs):
            continue
        counted = 0
        for _ in range(rounds + _SPARE):
            if counted == rounds:
                break
            if not (done := _race(context, shape)):
                break
            counted += overlap(done)
    if context.can(Capability.EVENTS):
        context.account.events()


def _race(context: RunContext, shape: Sequence[str]) -> list[Exchange]:
    """One round; empty where it cannot be held: no session could be opened, or its page has no such button."""
    account, now = context.account, context.now() if "clock" in shape else None
    timed: dict[str, Json] = {} if now is None else {"expires_at": now + oracle.SHORTEST_LIFE + _MARGIN_S}
    session = pages.fresh(context, **timed)
    if session.id is None:
        return []
    session_id = session.id
    acts: dict[str, Callable[[], Exchange]] = {
        "expire": partial(account.expire, session_id),
        "pay": partial(account.pay, session_id),
        "decline": partial(account.pay, session_id, "failed"),
        "cancel": partial(account.pay, session_id, "canceled"),
        "read": partial(account.retrieve, session_id),
        "clock": partial(account.advance, oracle.SHORTEST_LIFE + _MARGIN_S),
    }
    for act in {"pay-card", "authorise"} & set(shape):
        page = session.view() if act == "pay-card" else session.at_the_method()
        button = session.button(act, page) if session.has(act, page) else None
        if button is None:
            return []
        acts[act] = button
    done = context.target.at_once([acts[word] for word in shape])
    account.retrieve(session_id)
    return done


def _twins(context: RunContext, rounds: int) -> None:
    """Use one idempotency key several times at once, and open several sessions at once."""
    counted = 0
    for _ in range(rounds + _SPARE):
        if counted == rounds:
            break
        body, key = context.body(), context.key()
        counted += overlap(context.target.at_once([partial(context.account.create, body, key=key)] * 4))
        context.account.list(limit=10)
        if rounds > 1:
            body, key = context.body(), context.key()
            create = partial(context.account.create, body, key=key, credentials=Credentials.BEARER)
            context.target.at_once([create] * 4)
            context.account.list(limit=10)
    for _ in range(rounds):
        end_key, session = context.key(), context.open()
        if session.id is not None:
            context.target.at_once([partial(context.account.expire, session.id, key=end_key)] * 3)
            session.retrieve()
        bodies = [context.body() for _ in range(_THREADS)]
        context.target.at_once([partial(context.account.create, body) for body in bodies])
        context.account.list(limit=100)
    if context.can(Capability.EVENTS):
        context.account.events()


def _side_by_side(context: RunContext) -> None:
    """Do the same with several sessions of both accounts at once: each answer is about what its own request names."""
    target, account, other = context.target, context.account, context.other or context.account
    whose = (account, other, account, other, account, account)
    bodies = [context.body(context.line(1250 + n, 2 + n, name=f"No. {n}")) for n in range(len(whose))]
    creates = [partial(one.create, body, key=context.key()) for one, body in zip(whose, bodies, strict=True)]
    opened = [Opened(one, sent) for one, sent in zip(whose, target.at_once(creates), strict=True)]
    ids = [session.id for session in opened if session.id is not None]
    if len(ids) == len(opened):
        target.at_once([partial(one.retrieve, session_id) for one, session_id in zip(whose, ids, strict=True)])
        if context.can(_PAGE) and all(session.url is not None for session in opened):
            target.at_once([partial(s.account.view, str(s.id), str(s.url)) for s in opened[:4]])
        expires = zip(whose[:4], ids, strict=False)
        target.at_once([partial(one.expire, session_id, key=context.key()) for one, session_id in expires])
        last = context.key()  # of two requests: only one of them is done
        target.at_once([partial(account.expire, session_id, key=last) for session_id in ids[4:]])
    target.at_once([partial(account.list, limit=limit) for limit in (1, 2, 3, 4)])
    if context.can(Capability.EVENTS):
        for one in {each.number: each for each in whose}.values():
            one.events()


@driver(
    "Send one idempotency key several times at once, and do the same with several sessions at once, of two accounts.",
    name="the same at once",
    requests=48,
    races=True,
)
def twins(context: RunContext) -> None:
    _twins(context, 1)
    _side_by_side(context)


@driver(
    "Pay, expire and read one session at once, as its time runs out: exactly one wins.",
    requests=40,
    races=True,
)
def races(context: RunContext) -> None:
    _races(context, 1, [False])


@driver(
    "Pay and decline on the page while others pay, expire and read the session, once in each way.",
    stage=Stage.DEPTH,
    requests=55,
    races=True,
)
def further_races(context: RunContext) -> None:
    _races(context, 1, [True])


# A gap between a check and the act that it is for is narrow: it is hit once in a while.
@driver(
    "Send one idempotency key several times at once, and open several sessions at once, round after round.",
    name="the same at once, again",
    stage=Stage.DEPTH,
    requests=145,
    races=True,
)
def more_twins(context: RunContext) -> None:
    _twins(context, _MANY)
    for _ in range(2):
        _side_by_side(context)


@driver(
    "Pay, expire and read one session at once, as its time runs out, round after round.",
    name="races, again",
    stage=Stage.DEPTH,
    requests=150,
    races=True,
)
def more_races(context: RunContext) -> None:
    _races(context, _MANY - 1, [False, True])
