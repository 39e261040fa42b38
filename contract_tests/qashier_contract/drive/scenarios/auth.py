"""Who may ask: credentials of every kind, and accounts that reach for what is not theirs (AUTH, IDM-7)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from qashier_contract.drive import RunContext, Stage, id_of
from qashier_contract.drive.scenarios.scenario import UNKNOWN_ID, now, retrieve, scenario, without
from qashier_contract.history import SESSIONS_PATH, Capability, Credentials
from qashier_contract.trace.credentials import FORGED
from qashier_contract.values import is_integer

if TYPE_CHECKING:
    from collections.abc import Sequence


@scenario("Ask without credentials, with a bearer token, and with credentials that name nobody.", requests=19)
def credentials(context: RunContext) -> None:
    opened = context.open()
    session_id = id_of(opened) or UNKNOWN_ID
    own = f"{SESSIONS_PATH}/{session_id}"
    body = json.dumps(context.body()).encode()
    json_type = (("Content-Type", "application/json"),)
    operations = (
        ("GET", own, None),
        ("GET", SESSIONS_PATH, None),
        ("POST", SESSIONS_PATH, body),
        ("POST", f"{own}/expire", None),
    )
    for method, path, content in operations:
        context.target.send(method, path, account=None, headers=json_type if content else (), body=content)
    context.account.retrieve(session_id, credentials=Credentials.BEARER)
    context.target.send("GET", SESSIONS_PATH, query="limit=1", credentials=Credentials.BEARER)
    bearer_body = json.dumps(context.body()).encode()
    by_bearer = id_of(
        context.target.send("POST", SESSIONS_PATH, credentials=Credentials.BEARER, headers=json_type, body=bearer_body)
    )
    if by_bearer is not None:
        context.target.send("POST", f"{SESSIONS_PATH}/{by_bearer}/expire", credentials=Credentials.BEARER)
    _ask_with(context, own, _broken(context)[:4])
    value, shown = _broken(context)[0]
    for method, path, content in operations[1:]:
        context.target.send(
            method,
            path,
            account=None,
            authorization=value,
            shown=shown,
            headers=json_type if content else (),
            body=content,
        )
    retrieve(context, opened)


@scenario("Ask with the key in every place and form but the right one.", stage=Stage.DEPTH, requests=27)
def credentials_that_are_nearly_right(context: RunContext) -> None:
    opened = context.open()
    session_id = id_of(opened) or UNKNOWN_ID
    _ask_with(context, f"{SESSIONS_PATH}/{session_id}", _broken(context)[4:])
    # Whoever was refused just now, this is another request.
    _ask_with(context, f"{SESSIONS_PATH}/{session_id}", _broken(context)[:1])
    context.account.retrieve(session_id, credentials=Credentials.BEARER)
    retrieve(context, opened)
    # Without credentials nothing is told, not even what else is wrong.
    for method, path in (("GET", ""), ("POST", "/expire")):
        context.target.send(method, f"{SESSIONS_PATH}/{UNKNOWN_ID}{path}", account=None)
    json_type = (("Content-Type", "application/json"),)
    context.target.send("POST", SESSIONS_PATH, account=None, headers=json_type, body=b"{}")
    if context.keys_are_free:
        # A long key, which is first seen as a bearer token.
        account = context.made_up_account("k" * 80)
        account.list(Credentials.BEARER, limit=1)
        account.list(limit=1)


def _ask_with(context: RunContext, path: str, broken: Sequence[tuple[str, str]]) -> None:
    for value, shown in broken:
        context.target.send("GET", path, account=None, authorization=value, shown=shown)


def _broken(context: RunContext) -> Sequence[tuple[str, str]]:
    """Values of `Authorization` that name no account, and how a record shows them."""
    return [(forged.value(context.target.keys[0].secret), shown) for shown, forged in FORGED.items()]


@scenario(
    "Open, read, list and end sessions with a bearer token, and in turns with that and Basic.",
    stage=Stage.DEPTH,
    requests=24,
)
def the_same_by_bearer(context: RunContext) -> None:
    account, bearer = context.account, Credentials.BEARER
    moment = now(context)
    if moment is None:
        return
    key, body = context.key(), context.body(cancel_url="https://shop.example/basket", expires_at=moment + 3_600)
    opened = account.create(body, key=key, credentials=bearer)
    for credentials in (bearer, None):
        account.create(body, key=key, credentials=credentials)
    account.create(context.body(context.line(0, 1)), credentials=bearer)
    account.create(without(context.body(), "success_url"), credentials=bearer)
    for observed in (1_700, 86_500):
        account.create(context.body(expires_at=moment + observed), credentials=bearer)
    last = context.open()
    account.list(bearer, limit=5)
    account.list(bearer, status="open", limit=5)
    account.list(bearer, created_gte=moment, limit=5)
    session_id, end = id_of(opened), context.key()
    if session_id is None:
        return
    account.list(bearer, starting_after=session_id, limit=5)
    if (last_id := id_of(last)) is not None:
        account.list(bearer, starting_after=last_id, limit=5)
    account.retrieve(session_id, credentials=bearer)
    for credentials in (bearer, bearer, None):
        account.expire(session_id, key=end, credentials=credentials)
    account.create(context.body(), key=context.key("-").ljust(256, "b"), credentials=bearer)
    account.expire(session_id, credentials=bearer)
    account.expire(UNKNOWN_ID, credentials=bearer)
    account.retrieve(session_id, credentials=bearer)
    account.retrieve(session_id)
    account.create(body, key=key, credentials=bearer)
    account.list(bearer, status="expired", limit=5)
    account.list(status="expired", limit=5)


@scenario(
    "Let each of two accounts reach for the other's session, and both use the same idempotency key.",
    needs=(Capability.SECOND_ACCOUNT,),
    requests=24,
)
def two_accounts(context: RunContext) -> None:
    other = context.other
    assert other is not None
    key = context.key()
    mine, theirs = context.open(key=key), context.open(account=other, key=key)
    mine_id, theirs_id = id_of(mine), id_of(theirs)
    if mine_id is None or theirs_id is None:
        return
    other.retrieve(mine_id)
    other.expire(mine_id)
    other.list(limit=100)
    other.list(starting_after=mine_id)
    other.list(ending_before=mine_id)
    other.list(status="open", limit=100)
    if is_integer(born := mine.object.get("created")):
        other.list(created_gte=born, limit=100)
        other.list(created_lte=born, status="open", limit=100)
    other.list(starting_after=theirs_id, limit=100)
    other.list(ending_before=theirs_id, limit=100)
    if context.can(Capability.PAY):
        done = context.open()
        if (done_id := id_of(done)) is not None:
            context.account.pay(done_id)
            other.list(status="complete", limit=100)
            other.retrieve(done_id)
    context.account.retrieve(theirs_id)
    context.account.expire(theirs_id)
    context.account.list(limit=100)
    context.account.retrieve(mine_id)
    other.retrieve(theirs_id)
    other.expire(theirs_id)
    # The second account's own replay, and the first one's.
    other.create(theirs.request.json, key=key)
    context.account.create(mine.request.json, key=key)
    # Each ends a session of its own with the same key.
    end, ours, others = context.key(), id_of(context.open()), id_of(context.open(account=other))
    if ours is not None and others is not None:
        context.account.expire(ours, key=end)
        other.expire(others, key=end)
        other.retrieve(others)


@scenario(
    "Let two accounts send the same, and one reach for what the other has ended.",
    needs=(Capability.SECOND_ACCOUNT,),
    stage=Stage.DEPTH,
    requests=9,
)
def two_accounts_alike(context: RunContext) -> None:
    other = context.other
    assert other is not None
    alike, shared = context.key(), context.body()
    mine, theirs = context.account.create(shared, key=alike), other.create(shared, key=alike)
    if (own_id := id_of(theirs)) is not None:
        other.retrieve(own_id)
    if (ended_id := id_of(mine)) is not None:
        context.account.expire(ended_id)
        other.expire(ended_id)
        other.retrieve(ended_id)
    if context.can(Capability.PAY) and (paid_id := id_of(context.open())) is not None:
        context.account.pay(paid_id)
        other.expire(paid_id)


DRIVERS: Final = (
    credentials,
    credentials_that_are_nearly_right,
    the_same_by_bearer,
    two_accounts,
    two_accounts_alike,
)
