"""IDM: keys that are forgotten, mixed up, shared, or remembered for the wrong thing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from qashier_mock.bugs.parts import RACE_S, Parts
from qashier_mock.bugs.table import defect
from qashier_mock.bugs.traffic import Answer, Request, Respond
from qashier_mock.core.errors import IdempotencyKeyReused, RequestInvalid, SessionNotOpen
from qashier_mock.core.idempotency import MEMORY, Decision, IdempotencyRecord
from qashier_mock.core.model import AccountId, CheckoutSession, CreateSession
from qashier_mock.core.request import RequestRef
from qashier_mock.pipeline import Call, Reply

Create = Callable[[AccountId, CreateSession, RequestRef], Awaitable[CheckoutSession]]
Decide = Callable[..., Decision]
Replay = Callable[[Any, RequestRef, int], Awaitable[CheckoutSession | None]]

KEY = b"idempotency-key"


def _on_decide(parts: Parts, wrapper: Callable[..., Decision]) -> None:
    """Change the rule: `wrapper(inner, record, fingerprint, *, now, reject_reuse)`."""
    parts.on_rule("decide", wrapper)


def _kept_as(parts: Parts, change: Callable[[str], str]) -> None:
    """Keep keys in another form than that in which they came."""

    async def recall(inner: Callable[[str], Awaitable[Any]], _tx: Any, key: str) -> object:
        return await inner(change(key))

    async def remember(inner: Callable[..., Awaitable[None]], _tx: Any, record: IdempotencyRecord) -> None:
        await inner(replace(record, key=change(record.key)))

    parts.on_transaction("recall", recall)
    parts.on_transaction("remember", remember)


async def _first_answer(parts: Parts, account: AccountId, request: RequestRef) -> CheckoutSession | None:
    """What a key is remembered for."""
    if request.idempotency_key is None:
        return None
    async with parts.service._store.transaction(account) as tx:
        record = await tx.recall(request.idempotency_key)
        now = parts.service.now(tx)
    return record.session if record is not None and record.is_remembered(now) else None


@defect("IDM-1")
def create_runs_again(parts: Parts) -> None:
    """A create with a key that is remembered opens another session."""

    async def create(inner: Create, account: AccountId, params: CreateSession, request: RequestRef) -> CheckoutSession:
        return await inner(account, params, replace(request, idempotency_key=None))

    parts.around(parts.service, "create", create)


@defect("IDM-1")
def replay_shows_the_session_as_it_is(parts: Parts) -> None:
    """A repeated create answers with the session as it is by then, instead of the first answer."""

    async def replay(inner: Replay, tx: Any, request: RequestRef, now: int) -> CheckoutSession | None:
        session = await inner(tx, request, now)
        found: CheckoutSession | None = None if session is None else await tx.session(session.id)
        return found

    parts.around(parts.service, "_replay", replay)


@defect("IDM-1")
def repeated_create_is_a_conflict(parts: Parts) -> None:
    """A repeated create is answered with 409 instead of the first answer."""

    async def create(inner: Create, account: AccountId, params: CreateSession, request: RequestRef) -> CheckoutSession:
        if await _first_answer(parts, account, request) is not None:
            raise IdempotencyKeyReused
        return await inner(account, params, request)

    parts.around(parts.service, "create", create)


@defect("IDM-2")
def keys_cut_at_64(parts: Parts) -> None:
    """Only the first 64 characters of a key count."""
    _kept_as(parts, lambda key: key[:64])


@defect("IDM-2")
def keys_in_lower_case(parts: Parts) -> None:
    """Keys that differ in upper and lower case alone are the same one."""
    _kept_as(parts, str.lower)


@defect("IDM-2")
def same_body_same_session(parts: Parts) -> None:
    """A create whose body was sent before gets that session, though it has another key."""
    made: dict[tuple[AccountId, CreateSession], CheckoutSession] = {}

    async def create(inner: Create, account: AccountId, params: CreateSession, request: RequestRef) -> CheckoutSession:
        if request.idempotency_key is None:
            return await inner(account, params, request)
        if (account, params) not in made:
            made[account, params] = await inner(account, params, request)
        return made[account, params]

    parts.around(parts.service, "create", create)


@defect("IDM-3")
def key_of_255_refused(parts: Parts) -> None:
    """A key of 255 characters is refused: the bound itself is left out."""
    parts.on_schema("schemas.IdempotencyKey", maxLength=254)


@defect("IDM-3")
def key_of_256_accepted(parts: Parts) -> None:
    """A key of 256 characters is accepted: off by one."""
    parts.on_schema("schemas.IdempotencyKey", maxLength=256)


@defect("IDM-3")
def long_keys_cut(parts: Parts) -> None:
    """A key of more than 255 characters is accepted, and cut."""

    def cut(request: Request) -> None:
        key = request.header(KEY)
        if key is not None and len(key) > 255:
            request.set_header(KEY, key[:255])

    parts.on_request(cut)


def _remembered_for(parts: Parts, seconds: int) -> None:
    def decide(
        inner: Decide, record: IdempotencyRecord | None, fingerprint: bytes, *, now: int, reject_reuse: bool
    ) -> Decision:
        if record is None or now >= record.answered_at + seconds:
            return Decision.RUN
        return inner(record, fingerprint, now=record.answered_at, reject_reuse=reject_reuse)

    async def forget(inner: Callable[[int], Awaitable[None]], _tx: Any, until: int) -> None:
        await inner(until + MEMORY - seconds)

    _on_decide(parts, decide)
    parts.on_transaction("forget", forget)


@defect("IDM-4")
def key_forgotten_after_an_hour(parts: Parts) -> None:
    """A key is forgotten after an hour."""
    _remembered_for(parts, 3_600)


@defect("IDM-4")
def key_never_forgotten(parts: Parts) -> None:
    """A key is remembered for ever."""
    _remembered_for(parts, 2**40)


@defect("IDM-4")
def key_forgotten_a_second_late(parts: Parts) -> None:
    """A key is still remembered 86,400 seconds after its first answer, and forgotten a second later."""
    _remembered_for(parts, MEMORY + 1)


@defect("IDM-4")
def key_forgotten_a_second_early(parts: Parts) -> None:
    """A key is forgotten 86,399 seconds after its first answer."""
    _remembered_for(parts, MEMORY - 1)


@defect("IDM-4")
def replays_prolong_the_memory(parts: Parts) -> None:
    """The 24 hours of a key begin anew with each replay."""

    async def replay(inner: Replay, tx: Any, request: RequestRef, now: int) -> CheckoutSession | None:
        session = await inner(tx, request, now)
        if session is not None and request.idempotency_key is not None:
            record = await tx.recall(request.idempotency_key)
            await tx.remember(replace(record, answered_at=now))
        return session

    parts.around(parts.service, "_replay", replay)


@defect("IDM-5")
def repeated_expire_is_refused(parts: Parts) -> None:
    """Repeating an expire with its key is refused, because the session is expired already."""

    async def expire(inner: Callable[..., Any], account: AccountId, session_id: str, request: RequestRef) -> object:
        session, _ = await parts.stored(account, session_id)
        if session is not None and not session.is_open:
            raise SessionNotOpen(session_id, session.status.value)
        return await inner(account, session_id, request)

    parts.around(parts.service, "expire", expire)


@defect("IDM-6")
def same_key_at_once_opens_two(parts: Parts) -> None:
    """Two creates with the same key at the same time both look, find nothing, and open a session each."""

    async def create(inner: Create, account: AccountId, params: CreateSession, request: RequestRef) -> CheckoutSession:
        if request.idempotency_key is None or await _first_answer(parts, account, request) is not None:
            return await inner(account, params, request)
        await asyncio.sleep(RACE_S)
        session = await inner(account, params, replace(request, idempotency_key=None))
        async with parts.service._store.transaction(account) as tx:
            now = parts.service.now(tx)
            await tx.remember(IdempotencyRecord(request.idempotency_key, request.fingerprint, session, now))
        return session

    parts.around(parts.service, "create", create)


@defect("IDM-6")
def key_in_use_is_a_bad_request(parts: Parts) -> None:
    """A create with a key whose first request is under way is answered with 400."""
    under_way: set[tuple[object, str]] = set()

    async def handle(inner: Callable[..., Awaitable[Reply]], call: Call, **arguments: Any) -> Reply:
        key = arguments.get("idempotency_key")
        if key is None:
            return await inner(call, **arguments)
        if (call.principal, key) in under_way:
            raise RequestInvalid("This key is in use.", code="parameter_invalid", param="Idempotency-Key")
        under_way.add((call.principal, key))
        try:
            await asyncio.sleep(RACE_S)
            return await inner(call, **arguments)
        finally:
            under_way.discard((call.principal, key))

    parts.around(parts.api, "create_checkout_session", handle)


@defect("IDM-7")
def keys_shared_by_accounts(parts: Parts) -> None:
    """A key that another account has used gets that account's answer."""
    records: dict[str, IdempotencyRecord] = {}

    async def recall(inner: Callable[[str], Awaitable[Any]], _tx: Any, key: str) -> object:
        return await inner(key) or records.get(key)

    async def remember(inner: Callable[..., Awaitable[None]], _tx: Any, record: IdempotencyRecord) -> None:
        records[record.key] = record
        await inner(record)

    parts.on_transaction("recall", recall)
    parts.on_transaction("remember", remember)


@defect("IDM-7")
def key_of_another_account_refused(parts: Parts) -> None:
    """A create with a key that another account has used is refused."""
    owners: dict[str, AccountId] = {}

    async def create(inner: Create, account: AccountId, params: CreateSession, request: RequestRef) -> CheckoutSession:
        key = request.idempotency_key
        if key is not None and owners.get(key, account) != account:
            raise IdempotencyKeyReused
        session = await inner(account, params, request)
        if key is not None:
            owners[key] = account
        return session

    parts.around(parts.service, "create", create)


def _after_refusal(parts: Parts, answer: Callable[[Answer], Answer]) -> None:
    """Answer otherwise where a key was used by a request that was refused."""
    refused: dict[tuple[bytes, bytes], Answer] = {}

    async def layer(request: Request, respond: Respond) -> Answer:
        key, who = request.header(KEY), request.header(b"authorization")
        if request.method != "POST" or key is None or who is None:
            return await respond(request)
        if (who, key) in refused:
            return answer(refused[who, key])
        found = await respond(request)
        if found.status in {400, 409, 422}:
            refused[who, key] = found
        return found

    parts.on_traffic(layer)


@defect("IDM-8")
def refusal_remembered(parts: Parts) -> None:
    """A refusal is remembered like a success: the same key gets it again, however right the request has become."""

    def again(first: Answer) -> Answer:
        answer = Answer(first.status, list(first.headers), first.body)
        answer.set_header(b"request-id", parts.hooks.new_request_id().encode())
        return answer

    _after_refusal(parts, again)


@defect("IDM-8")
def refusal_uses_the_key_up(parts: Parts) -> None:
    """A key that a refused request had is answered with 409 from then on."""
    _after_refusal(parts, lambda _first: parts.refusal(IdempotencyKeyReused()))


@defect("IDM-9")
def other_body_runs(parts: Parts) -> None:
    """A create with a key that is remembered for another body opens another session."""

    def decide(inner: Decide, record: IdempotencyRecord | None, fingerprint: bytes, **how: Any) -> Decision:
        decision = inner(record, fingerprint, **how)
        return Decision.RUN if decision is Decision.REPLAY_DIFFERENT else decision

    _on_decide(parts, decide)


@defect("IDM-9")
def keys_per_operation(parts: Parts) -> None:
    """Create and expire have keys of their own: an expire with the key of a create expires the session."""

    async def create(inner: Create, account: AccountId, params: CreateSession, request: RequestRef) -> CheckoutSession:
        key = request.idempotency_key
        return await inner(account, params, replace(request, idempotency_key=None if key is None else f"create {key}"))

    parts.around(parts.service, "create", create)
