"""IDM, CON: keys that are forgotten, mixed up or shared; requests at the same time that act on what they saw before."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from qashier_mock.bugs import changes
from qashier_mock.bugs.changes import RACE_S
from qashier_mock.bugs.parts import Command, Inner, Listing, Parts
from qashier_mock.bugs.table import Change, anew, defect, row, several
from qashier_mock.bugs.traffic import Answer, Request, Respond
from qashier_mock.core.errors import IdempotencyKeyReused, RequestInvalid, SessionNotOpen
from qashier_mock.core.idempotency import KEY_MEMORY_S, Decision, IdempotencyRecord
from qashier_mock.core.lifecycle import Trigger, advance
from qashier_mock.core.model import AccountId, CreateSession, Status
from qashier_mock.core.paging import Page
from qashier_mock.service import Advised

KEY = b"idempotency-key"


def _kept_as(change: Callable[[str], str]) -> Change:
    """Keep keys in another form than that in which they came."""
    return several(
        changes.kept("recall", change), changes.kept("remember", lambda record: replace(record, key=change(record.key)))
    )


def _create_under(key: Callable[[str], str | None]) -> Change:
    """Keep the keys of creates under another name; None does not keep them."""

    async def create(asked: Command) -> object:
        sent = asked.by.idempotency_key
        return await asked.do(by=asked.by._replace(idempotency_key=None if sent is None else key(sent)))

    return changes.command("create")(create)


def _remembered_for(seconds: int) -> Change:
    def judge(inner: Inner, record: IdempotencyRecord, *sent: Any, now: int, **how: Any) -> object:
        if now >= record.answered_at + seconds:
            return Decision.RUN
        return inner(record, *sent, now=record.answered_at, **how)

    return several(changes.rule("decide")(judge), changes.kept("forget", lambda until: until + KEY_MEMORY_S - seconds))


@anew
def _after_refusal(again: Callable[[Parts, Answer], Answer]) -> Change:
    """Answer otherwise where a key was used by a request that was refused."""
    refused: dict[tuple[bytes, bytes], Answer] = {}

    async def around(parts: Parts, respond: Respond, asked: Request) -> Answer:
        key, who = asked.header(KEY), asked.header(b"authorization")
        if asked.method != "POST" or key is None or who is None:
            return await respond(asked)
        if (who, key) in refused:
            return again(parts, refused[who, key])
        found = await respond(asked)
        if found.status in {400, 409, 422}:
            refused[who, key] = found
        return found

    return changes.layer(around)


def _repeated(parts: Parts, first: Answer) -> Answer:
    answered = replace(first)
    answered.set_header(b"request-id", parts.hooks.new_request_id().encode())
    return answered


def _wins_anyway(name: str, *, over: Collection[Status] = tuple(Status)) -> Change:
    """Let a command that found a session open succeed, though another has ended it meanwhile, in one of some ways."""

    async def act(asked: Command) -> object:
        seen, now = await asked.stored()
        await asyncio.sleep(RACE_S)
        try:
            return await asked.do()
        except SessionNotOpen:
            ended, _ = await asked.stored()
            if seen is None or not seen.is_open or now >= seen.expires_at or ended is None or ended.status not in over:
                raise
        if isinstance(asked.by, Trigger):
            return advance(seen, asked.by, seen.created)[0]
        return advance(seen, Trigger.EXPIRE_REQUESTED, seen.created)[0], ()

    return changes.command(name)(act)


# fmt: off
row("CON-1", "expire-beside-a-payment", "An expire that finds a session open succeeds, though a payment completes it.",
    _wins_anyway("expire", over=[Status.COMPLETE]))
row("CON-1", "two-expires-at-once", "Of two expires at the same time both succeed.", _wins_anyway("expire"))
row("CON-1", "two-payments-at-once", "Of two payments at the same time both succeed.", _wins_anyway("apply"))
row("IDM-1", "create-runs-again", "A create with a key that is remembered opens another session.",
    _create_under(lambda _key: None))
row("IDM-2", "keys-cut-at-64", "Only the first 64 characters of a key count.", _kept_as(lambda key: key[:64]))
row("IDM-2", "keys-in-lower-case", "Keys that differ in upper and lower case alone are the same one.",
    _kept_as(str.lower))
row("IDM-3", "key-of-255-refused", "A key of 255 characters is refused: the bound itself is left out.",
    changes.schema("schemas.IdempotencyKey", maxLength=254))
row("IDM-3", "key-of-256-accepted", "A key of 256 characters is accepted: off by one.",
    changes.schema("schemas.IdempotencyKey", maxLength=256))
row("IDM-3", "long-keys-cut", "A key of more than 255 characters is accepted, and cut.",
    changes.request(lambda asked: asked.set_header(KEY, (asked.header(KEY) or b"")[:255] or None)))
row("IDM-4", "key-forgotten-after-an-hour", "A key is forgotten after an hour.", _remembered_for(3_600))
row("IDM-4", "key-never-forgotten", "A key is remembered for ever.", _remembered_for(2**40))
row("IDM-4", "key-forgotten-a-second-late", "A key is forgotten 86,401 seconds after its first answer.",
    _remembered_for(KEY_MEMORY_S + 1))
row("IDM-4", "key-forgotten-a-second-early", "A key is forgotten 86,399 seconds after its first answer.",
    _remembered_for(KEY_MEMORY_S - 1))
row("IDM-8", "refusal-remembered", "A refusal is remembered: the key gets it again, however right the request is now.",
    _after_refusal(_repeated))
row("IDM-8", "refusal-uses-the-key-up", "A key that a refused request had is answered with 409 from then on.",
    _after_refusal(lambda parts, _first: parts.refusal(IdempotencyKeyReused())))
row("IDM-9", "keys-per-operation", "Create and expire have their own keys: an expire with a create's key expires.",
    _create_under(lambda key: f"create {key}"))
# fmt: on


@defect("IDM-1", changes.command("create"))
async def replay_shows_the_session_as_it_is(asked: Command) -> object:
    """A repeated create answers with the session as it is by then, instead of the first answer."""
    session, advice = await asked.do()
    return (await asked.stored(session.id))[0] or session, advice


@defect("IDM-1", changes.command("create"))
async def repeated_create_is_a_conflict(asked: Command) -> object:
    """A repeated create is answered with 409 instead of the first answer."""
    if await asked.is_repeated():
        raise IdempotencyKeyReused
    return await asked.do()


@defect("IDM-2")
def same_body_same_session() -> Change:
    """A create whose body was sent before gets that session, though it has another key."""
    made: dict[tuple[AccountId, CreateSession], Advised] = {}

    async def create(asked: Command) -> object:
        if asked.by.idempotency_key is None:
            return await asked.do()
        if (asked.account, asked.subject) not in made:
            made[asked.account, asked.subject] = await asked.do()
        return made[asked.account, asked.subject]

    return changes.command("create")(create)


@defect("IDM-4", changes.transaction("recall"))
async def replays_prolong_the_memory(parts: Parts, inner: Inner, tx: Any, key: str) -> object:
    """The 24 hours of a key begin anew with each replay."""
    record = await inner(key)
    now = parts.service.now(tx)
    if record is not None and record.is_remembered(now):
        record = replace(record, answered_at=now)
        await tx.remember(record)
    return record


@defect("IDM-5", changes.command("expire"))
async def repeated_expire_is_refused(asked: Command) -> object:
    """Repeating an expire with its key is refused, because the session is expired already."""
    session, _ = await asked.stored()
    if session is not None and not session.is_open:
        raise SessionNotOpen(session.id, session.status.value)
    return await asked.do()


@defect("IDM-6", changes.command("create"))
async def same_key_at_once_opens_two(asked: Command) -> object:
    """Two creates with the same key at the same time both look, find nothing, and open a session each."""
    key = asked.by.idempotency_key
    if key is None or await asked.is_repeated():
        return await asked.do()
    await asyncio.sleep(RACE_S)
    session, advice = await asked.do(by=asked.by._replace(idempotency_key=None))
    async with asked.parts.store.transaction(asked.account) as tx:
        await tx.remember(IdempotencyRecord(key, asked.by.fingerprint, session, asked.parts.service.now(tx)))
    return session, advice


@defect("IDM-6")
def key_in_use_is_a_bad_request() -> Change:
    """A create with a key whose first request is under way is answered with 400."""
    under_way: set[tuple[AccountId, str]] = set()

    async def create(asked: Command) -> object:
        key = (asked.account, asked.by.idempotency_key)
        if asked.by.idempotency_key is None:
            return await asked.do()
        if key in under_way:
            raise RequestInvalid("This key is in use.", param="Idempotency-Key")
        under_way.add(key)
        try:
            await asyncio.sleep(RACE_S)
            return await asked.do()
        finally:
            under_way.discard(key)

    return changes.command("create")(create)


@defect("IDM-7")
def keys_shared_by_accounts() -> Change:
    """A key that another account has used gets that account's answer."""
    records: dict[str, IdempotencyRecord] = {}

    async def recall(_parts: Parts, inner: Inner, _tx: Any, key: str) -> object:
        return await inner(key) or records.get(key)

    async def remember(_parts: Parts, inner: Inner, _tx: Any, record: IdempotencyRecord) -> None:
        records[record.key] = record
        await inner(record)

    return several(changes.transaction("recall")(recall), changes.transaction("remember")(remember))


@defect("IDM-7")
def key_of_another_account_refused() -> Change:
    """A create with a key that another account has used is refused."""
    owners: dict[str, AccountId] = {}

    async def create(asked: Command) -> object:
        key = asked.by.idempotency_key
        if owners.get(key, asked.account) != asked.account:
            raise IdempotencyKeyReused
        answer = await asked.do()
        if key is not None:
            owners[key] = asked.account
        return answer

    return changes.command("create")(create)


@defect("IDM-9", changes.rule("decide"))
def other_body_runs(inner: Inner, record: IdempotencyRecord, fingerprint: bytes, **how: Any) -> Decision:
    """A create with a key that is remembered for another body opens another session."""
    decision: Decision = inner(record, fingerprint, **how)
    return Decision.RUN if decision is Decision.REPLAY_DIFFERENT else decision


@defect("CON-2", changes.method("service", "draw"))
async def concurrent_creates_share_an_id(parts: Parts, inner: Inner, tx: Any, prefix: str) -> object:
    """Two creates at the same time read the same counter, and get the same id."""
    if prefix != "cs_test_":
        return await inner(tx, prefix)
    seen = tx.state.drawn
    await asyncio.sleep(RACE_S)
    state = await tx.change()
    state.drawn = max(state.drawn, seen + 1)
    return parts.ids.new_id(prefix, tx.account, seen, state.profile.seed)


@defect("CON-2")
def concurrent_create_not_listed() -> Change:
    """Of two creates at the same time one overwrites the other in the index: it can be retrieved, no list shows it."""
    under_way: Counter[AccountId] = Counter()
    known: set[str] = set()
    lost: set[str] = set()

    async def create(asked: Command) -> Advised:
        under_way[asked.account] += 1
        try:
            await asyncio.sleep(RACE_S)
            session, advice = await asked.do()
            if under_way[asked.account] > 1 and session.id not in known:
                lost.add(session.id)
            known.add(session.id)
            return session, advice
        finally:
            under_way[asked.account] -= 1

    async def listed(asked: Listing) -> Page:
        return asked.cut([session for session in await asked.all() if session.id not in lost])

    return several(changes.command("create")(create), changes.paging(listed))
