"""How a session ends: expired early, paid, or neither, and the events of it (EXP, PAY, EVT)."""

from __future__ import annotations

from qashier_contract import oracle
from qashier_contract.drive import RunContext, Stage, driver
from qashier_contract.drive.scenarios.accepted import TEXTS
from qashier_contract.drive.scenarios.scenario import URLS, long_url, now
from qashier_contract.history import Capability
from qashier_contract.values import Json


@driver("Expire sessions early, twice, with a body that nobody reads, and look at them afterwards.", requests=30)
def expiring(context: RunContext) -> None:
    account = context.account
    moment = now(context)
    plain = context.open()
    timed = context.open(expires_at=moment + 3_600) if moment is not None else context.open()
    for session in (plain, timed):
        session.retrieve()
        session.expire()
        session.retrieve()
        session.expire()
        session.retrieve()
        session.retrieve()
    account.list(limit=2)
    odd = context.open()
    odd.expire(body={"status": "complete"})
    odd.retrieve()
    for content, media_type in ((b"now, please", "text/plain"), (b"", "application/x-www-form-urlencoded"), (b"{", "")):
        context.open().expire(body=content, headers=(("Content-Type", media_type),))
    account.list(status="expired", limit=3)
    account.list(status="open", limit=3)


@driver(
    "Pay, pay again, fail, cancel, pay what is expired, expire what is paid, and pay nothing.",
    needs=[Capability.PAY],
    requests=65,
)
def paying(context: RunContext) -> None:
    account = context.account
    for acts in (
        ("succeeded", "succeeded", "expire", "failed"),
        ("failed", "canceled", "failed", "succeeded"),
        ("canceled", "expire", "succeeded", "failed"),
    ):
        session = context.open(cancel_url="https://shop.example/basket")
        session.retrieve()
        session.do(*acts)
    often = context.open()
    for outcome in (*["failed"] * 6, *["canceled"] * 6):
        often.pay(outcome)
    often.do("succeeded")
    context.open(context.line(0, 4)).do("failed", "succeeded", "succeeded", "expire")
    context.open(context.line(0, 1)).do("expire", "expire", "succeeded")
    account.list(limit=6)
    for status in ("complete", "expired", "open"):
        account.list(status=status, limit=4)


@driver(
    "End sessions in every way, refuse to end others, and read what events that made.",
    needs=[Capability.EVENTS, Capability.PAY],
    requests=22,
)
def events(context: RunContext) -> None:
    account = context.account
    paid, failed, expired, keyed = (context.open() for _ in range(4))
    if all((paid, failed, expired, keyed)):
        if context.can(Capability.CLOCK):
            account.advance(90)
        paid.pay()
        paid.pay()
        failed.pay("failed")
        failed.pay("canceled")
        expired.expire()
        expired.expire()
        paid.expire()
        key = context.key()
        keyed.expire(key=key)
        keyed.expire(key=key)
        paid.retrieve()
        keyed.retrieve()
        context.open(context.line(0, 1)).pay()
    account.events()
    if context.other is not None and context.open(account=context.other).expire() is not None:
        context.other.events()


@driver(
    "End sessions that are free, long, odd, tried before, or opened with a key, and read what events that made.",
    needs=[Capability.EVENTS, Capability.PAY],
    stage=Stage.DEPTH,
    requests=37,
)
def further_events(context: RunContext) -> None:
    # Many lines are told as well; the key that is told is that of the request that ended the session.
    context.open(context.line(0, 1)).expire()
    words = "kaya & <butter>, " * 58
    lines = [context.line(100 + n, 1, name=f"No. {n}", description=words[n:]) for n in range(26)]
    urls: dict[str, Json] = {name: long_url(oracle.URL_MOST, context) for name in URLS}
    long = context.open(*lines, key=context.key(), **urls)
    if long:
        long.expire(key=context.key("-MiXed.Case"))
        long.retrieve()
    # Odd texts, the largest amount, and another currency, which the account may not charge.
    foreign = context.line(1253, 3)
    foreign["price_data"]["currency"] = context.second_currency
    most = context.line(oracle.UNIT_AMOUNT_MOST, oracle.QUANTITY_MOST)
    for basket in ([context.line(**text) for text in TEXTS], [most], [foreign]):
        context.open(*basket).pay()
    # What failed before it expired is over as well.
    tried = context.open()
    tried.pay("failed")
    tried.expire()
    tried.pay()
    tried.retrieve()
    # However often it is looked at, nothing becomes of it.
    watched = context.open()
    for _ in range(12):
        watched.retrieve()
    context.open(key=context.key()).expire()
    context.open(key=context.key()).pay()
    context.account.events()
