"""Who may ask: credentials of every kind, and accounts that reach for what is not theirs (AUTH, IDM-7)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from qashier_contract.drive import Opened, RunContext, Stage, driver
from qashier_contract.drive.scenarios.scenario import UNKNOWN_ID, now, without
from qashier_contract.history import SESSIONS_PATH, Capability, Credentials
from qashier_contract.trace.credentials import FORGED, for_key
from qashier_contract.values import is_integer


@driver("Ask without credentials, with a bearer token, and with credentials that name nobody.", requests=21)
def credentials(context: RunContext) -> None:
    opened = context.open()
    session_id = opened.id or UNKNOWN_ID
    own = f"{SESSIONS_PATH}/{session_id}"
    body = json.dumps(context.body()).encode()
    json_type = (("Content-Type", "application/json"),)
    operations = (
        ("GET", own, (), None),
        ("GET", SESSIONS_PATH, (), None),
        ("POST", SESSIONS_PATH, json_type, body),
        ("POST", f"{own}/expire", (), None),
    )
    for method, path, headers, content in operations:
        context.target.send(method, path, account=None, headers=headers, body=content)
    context.target.send("GET", SESSIONS_PATH, query="limit=1", account=None)
    context.account.retrieve(session_id, credentials=Credentials.BEARER)
    context.target.send("GET", SESSIONS_PATH, query="limit=1", credentials=Credentials.BEARER)
    _without_credentials_again(context, json_type)
    by_bearer = context.account.create(context.body(), credentials=Credentials.BEARER)
    Opened(context.account, by_bearer).expire(credentials=Credentials.BEARER)
    _ask_with(context, own, _broken(context)[:4])
    value, shown = _broken(context)[0]
    for method, path, headers, content in operations[1:]:
        context.target.send(method, path, account=None, authorization=value, shown=shown, headers=headers, body=content)
    opened.retrieve()


@driver("Ask with the key in every place and form but the right one.", stage=Stage.DEPTH, requests=35)
def credentials_that_are_nearly_right(context: RunContext) -> None:
    opened = context.open()
    session_id = opened.id or UNKNOWN_ID
    _ask_with(context, f"{SESSIONS_PATH}/{session_id}", _broken(context)[4:])
    # Whoever was refused just now, this is another request.
    _ask_with(context, f"{SESSIONS_PATH}/{session_id}", _broken(context)[:1])
    context.account.retrieve(session_id, credentials=Credentials.BEARER)
    opened.retrieve()
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


def _without_credentials_again(context: RunContext, headers: tuple[tuple[str, str], ...]) -> None:
    """Repeat a create and its key without credentials: what was answered to another is not for whoever asks."""
    key, body = context.key(), context.body()
    context.account.create(body, key=key)
    headers = (*headers, ("Idempotency-Key", key))
    context.target.send("POST", SESSIONS_PATH, account=None, headers=headers, body=json.dumps(body).encode())


def _ask_with(context: RunContext, path: str, broken: Sequence[tuple[str, str]]) -> None:
    for value, shown in broken:
        context.target.send("GET", path, account=None, authorization=value, shown=shown)


def _broken(context: RunContext) -> Sequence[tuple[str, str]]:
    """Values of `Authorization` that name no account, and how a record shows them."""
    key = context.target.keys[0].secret
    return [(for_key(text, key), shown) for shown, text in FORGED.items()]


@driver(
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
    opened = Opened(account, account.create(body, key=key, credentials=bearer))
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
    end = context.key()
    if opened.id is None:
        return
    account.list(bearer, starting_after=opened.id, limit=5)
    if last.id is not None:
        account.list(bearer, starting_after=last.id, limit=5)
    opened.retrieve(credentials=bearer)
    for credentials in (bearer, bearer, None):
        opened.expire(key=end, credentials=credentials)
    account.create(context.body(), key=context.key("-").ljust(256, "b"), credentials=bearer)
    opened.expire(credentials=bearer)
    account.expire(UNKNOWN_ID, credentials=bearer)
    opened.retrieve(credentials=bearer)
    opened.retrieve()
    account.create(body, key=key, credentials=bearer)
    account.list(bearer, status="expired", limit=5)
    account.list(status="expired", limit=5)


@driver(
    "Let each of two accounts reach for the other's session, and both use the same idempotency key.",
    needs=(Capability.SECOND_ACCOUNT,),
    requests=24,
)
def two_accounts(context: RunContext) -> None:
    other = context.other
    assert other is not None
    key = context.key()
    mine, theirs = context.open(key=key), context.open(account=other, key=key)
    if mine.id is None or theirs.id is None:
        return
    mine.retrieve()
    mine.retrieve(by=other)
    mine.expire(by=other)
    other.list(limit=100)
    other.list(starting_after=mine.id)
    other.list(ending_before=mine.id)
    other.list(status="open", limit=100)
    if is_integer(born := mine.exchange.object.get("created")):
        other.list(created_gte=born, limit=100)
        other.list(created_lte=born, status="open", limit=100)
    other.list(starting_after=theirs.id, limit=100)
    other.list(ending_before=theirs.id, limit=100)
    if context.can(Capability.PAY) and (done := context.open()):
        done.pay()
        other.list(status="complete", limit=100)
        done.retrieve(by=other)
    theirs.retrieve(by=context.account)
    theirs.expire(by=context.account)
    context.account.list(limit=100)
    mine.retrieve()
    theirs.retrieve()
    theirs.view()
    theirs.expire()
    # The second account's own replay, and the first one's.
    other.create(theirs.exchange.request.json, key=key)
    context.account.create(mine.exchange.request.json, key=key)
    # Each ends a session of its own with the same key.
    end, ours, others = context.key(), context.open(), context.open(account=other)
    if ours and others:
        ours.expire(key=end)
        others.expire(key=end)
        others.retrieve()


@driver(
    "Let two accounts send the same, and one reach for what the other has ended.",
    needs=(Capability.SECOND_ACCOUNT,),
    stage=Stage.DEPTH,
    requests=13,
)
def two_accounts_alike(context: RunContext) -> None:
    other = context.other
    assert other is not None
    alike, shared = context.key(), context.body()
    mine = Opened(context.account, context.account.create(shared, key=alike))
    Opened(other, other.create(shared, key=alike)).retrieve()
    mine.expire()
    mine.expire(by=other)
    mine.retrieve(by=other)
    if context.can(Capability.PAY):
        paid = context.open()
        paid.pay()
        paid.expire(by=other)
    if context.keys_are_free:
        hyphened = context.made_up_account("k" * 80 + "-a-b-")  # the twin's key begins like that
        theirs = context.open(account=hyphened)
        hyphened.list(limit=1)
        hyphened.list(Credentials.BEARER, limit=1)
        theirs.retrieve(by=context.made_up_account(twin=hyphened))
