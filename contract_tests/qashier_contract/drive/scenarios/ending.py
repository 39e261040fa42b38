"""How a session ends: expired early, paid, or neither, and the events of it (EXP, PAY, EVT)."""

from __future__ import annotations

from typing import Final

from qashier_contract.drive import RunContext, Stage, id_of
from qashier_contract.drive.scenarios.scenario import now, scenario
from qashier_contract.history import Capability


@scenario("Expire sessions early, twice, with a body that nobody reads, and look at them afterwards.", requests=30)
def expiring(context: RunContext) -> None:
    account = context.account
    moment = now(context)
    plain = context.open()
    timed = context.open(expires_at=moment + 3_600) if moment is not None else context.open()
    for opened in (plain, timed):
        if (session_id := id_of(opened)) is not None:
            account.retrieve(session_id)
            account.expire(session_id)
            account.retrieve(session_id)
            account.expire(session_id)
            account.retrieve(session_id)
            account.retrieve(session_id)
    account.list(limit=2)
    odd = id_of(context.open())
    if odd is not None:
        account.expire(odd, body={"status": "complete"})
        account.retrieve(odd)
    for content, media_type in ((b"now, please", "text/plain"), (b"", "application/x-www-form-urlencoded"), (b"{", "")):
        if (session_id := id_of(context.open())) is not None:
            account.expire(session_id, body=content, headers=(("Content-Type", media_type),))
    account.list(status="expired", limit=3)
    account.list(status="open", limit=3)


@scenario(
    "Pay, pay again, fail, cancel, pay what is expired, expire what is paid, and pay nothing.",
    needs=(Capability.PAY,),
    requests=38,
)
def paying(context: RunContext) -> None:
    account = context.account

    def then(session_id: str, *acts: str) -> None:
        for act in acts:
            if act == "expire":
                account.expire(session_id)
            else:
                account.pay(session_id, act)
            account.retrieve(session_id)

    for acts in (
        ("succeeded", "succeeded", "expire", "failed"),
        ("failed", "canceled", "failed", "succeeded"),
        ("canceled", "expire", "succeeded", "failed"),
    ):
        session_id = id_of(context.open(cancel_url="https://shop.example/basket"))
        if session_id is not None:
            account.retrieve(session_id)
            then(session_id, *acts)
    free = id_of(context.open(context.line(0, 4)))
    if free is not None:
        then(free, "failed", "succeeded", "succeeded", "expire")
    also_free = id_of(context.open(context.line(0, 1)))
    if also_free is not None:
        then(also_free, "expire", "expire", "succeeded")
    account.list(limit=6)
    for status in ("complete", "expired", "open"):
        account.list(status=status, limit=4)


@scenario(
    "End sessions in every way, refuse to end others, and read what events that made.",
    needs=(Capability.EVENTS, Capability.PAY),
    requests=22,
)
def events(context: RunContext) -> None:
    account = context.account
    paid, failed, expired, keyed = (id_of(context.open()) for _ in range(4))
    if None not in {paid, failed, expired, keyed}:
        if context.can(Capability.CLOCK):
            account.advance(90)
        account.pay(str(paid))
        account.pay(str(paid))
        account.pay(str(failed), "failed")
        account.pay(str(failed), "canceled")
        account.expire(str(expired))
        account.expire(str(expired))
        account.expire(str(paid))
        key = context.key()
        account.expire(str(keyed), key=key)
        account.expire(str(keyed), key=key)
        account.retrieve(str(paid))
        account.retrieve(str(keyed))
        free = id_of(context.open(context.line(0, 1)))
        if free is not None:
            account.pay(free)
    account.events()
    if context.other is not None:
        theirs = id_of(context.open(account=context.other))
        if theirs is not None:
            context.other.expire(theirs)
            context.other.events()


@scenario(
    "End sessions that are free, long, tried before, or opened with a key, and read what events that made.",
    needs=(Capability.EVENTS, Capability.PAY),
    stage=Stage.DEPTH,
    requests=31,
)
def further_events(context: RunContext) -> None:
    account = context.account
    # Many lines are told as well; the key that is told is that of the request that ended the session.
    free = id_of(context.open(context.line(0, 1)))
    if free is not None:
        account.expire(free)
    long = id_of(context.open(*(context.line(100 + n, 1, name=f"No. {n}") for n in range(26)), key=context.key()))
    if long is not None:
        account.expire(long, key=context.key("-MiXed.Case"))
        account.retrieve(long)
    # What failed before it expired is over as well.
    tried = id_of(context.open())
    if tried is not None:
        account.pay(tried, "failed")
        account.expire(tried)
        account.pay(tried)
        account.retrieve(tried)
    # However often it is looked at, nothing becomes of it.
    watched = id_of(context.open())
    for _ in range(12 if watched is not None else 0):
        account.retrieve(str(watched))
    made_with_key = id_of(context.open(key=context.key()))
    if made_with_key is not None:
        account.expire(made_with_key)
    paid_with_key = id_of(context.open(key=context.key()))
    if paid_with_key is not None:
        account.pay(paid_with_key)
    account.events()


DRIVERS: Final = (
    expiring,
    paying,
    events,
    further_events,
)
