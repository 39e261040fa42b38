"""Hostile input (HTTP-6): valid HTTP with content that breaks careless servers.

It may be refused or accepted, but never answered with a 5xx or a dropped connection.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from qashier_contract import oracle
from qashier_contract.addresses import is_loopback
from qashier_contract.drive import RunContext, Stage, driver
from qashier_contract.history import SESSIONS_PATH


def _texts(context: RunContext) -> Iterator[bytes]:
    """Bodies that are no JSON, or JSON that is hard to bear."""
    valid = json.dumps(context.body()).encode()
    yield b'{"line_items": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    yield b'{"a":' * 5_000 + b"1" + b"}" * 5_000
    yield valid.replace(b'"quantity": 2', b'"quantity": ' + b"9" * 5_001)
    yield valid.replace(b'"quantity": 2', b'"quantity": 1e400')
    yield valid.replace(b'"quantity": 2', b'"quantity": 36893488147419103232')
    yield valid.replace(b'"unit_amount": 1250', b'"unit_amount": -9223372036854775809')
    yield valid[:-1] + b', "expires_at": 18446744073709551616}'
    yield valid[:-1] + b', "expires_at": -' + b"9" * 40 + b"}"
    yield valid.replace(b'"quantity": 2', b'"quantity": NaN')
    yield valid.replace(b'"quantity": 2', b'"quantity": -Infinity')
    yield valid.replace(b"Kaya toast", b"\\ud800")
    yield valid.replace(b"Kaya toast", b"\\u0000")
    yield valid.replace(b"Kaya toast", b"\xff\xfe\xfa")
    yield valid.decode().encode("utf-16")
    yield b"\xef\xbb\xbf" + valid
    yield b"\x00" * 64
    yield b"null"
    yield b"0"
    yield b'"' + b"x" * 100_000 + b'"'
    yield valid[:-1] + b', "__proto__": {"x": 1}, "constructor": null, "": 0}'
    yield valid[:-1] + b', "line_items": []}'


_QUERIES: Final = (
    "created[gte][x]=1",
    "created[foo]=1",
    "created=5",
    "created[gte]=abc",
    "created[gte]=-1",
    "created[gte]=" + "9" * 30,
    "created[]=1",
    "created[gte=5",
    "created[=5",
    "created]gte[=5",
    "created[gte]]=5",
    "[created]=5",
    "[=1",
    "limit=1&limit=2",
    "limit=%00",
    "limit=" + "9" * 5_000,
    "limit[a]=1",
    "limit=%D9%A1",
    "status=%F0%9F%8D%9C",
    "status=paid",
    "status[]=open",
    "starting_after=%27%20OR%201%3D1--",
    "starting_after=%00",
    "starting_after=" + "a" * 4_000,
    "starting_after=%ff%fe",
    "ending_before=..%2F..%2Fetc%2Fpasswd",
    "&&&===&",
    "%",
    "a=1&" * 200,
)

_SEGMENTS: Final = (
    "%00",
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "%ff%fe",
    "%zz",
    "a" * 4_000,
    "%F0%9F%8D%9C",
    "%27%20OR%201%3D1--",
    "%0d%0aX-Injected:1",
    "{id}",
    "null",
    "constructor",
    "0",
)


@driver(
    "Send what breaks careless servers: no 5xx, no dropped connection.",
    name="hostile input",
    stage=Stage.HARSH,
    requests=105,
)
def hostile(context: RunContext) -> None:
    account, send = context.account, context.target.send
    for text in _texts(context):
        account.create(text)
    for query in _QUERIES:
        account.list_raw(query)
    for segment in _SEGMENTS:
        send("GET", f"{SESSIONS_PATH}/{segment}")
        send("POST", f"{SESSIONS_PATH}/{segment}/expire")
    valid = json.dumps(context.body()).encode()
    for name, value in (
        ("Idempotency-Key", ""),
        ("Idempotency-Key", "é" * 20),
        ("Idempotency-Key", "a b"),
        ("Content-Type", "application/json; charset=bogus"),
        ("Content-Type", "application/json;;;"),
        ("Content-Type", "x" * 2_000),
        ("Content-Type", "/"),
        ("Content-Encoding", "gzip"),
        ("X-Odd", "\xff" * 100),
        ("Request-Id", "mine"),
        ("Request-Id", "req_1"),
        ("Request-Id", "req_1"),
    ):
        account.create(valid, headers=((name, value),))
    session_id = context.open().id or "unknown"
    for path in (SESSIONS_PATH, f"{SESSIONS_PATH}/{session_id}", f"{SESSIONS_PATH}/{session_id}/expire"):
        for method in ("HEAD", "OPTIONS"):
            send(method, path)
    for value in (
        "Basic " + "A" * 6_000,
        "Basic //8=",
        "Bearer " + "%00" * 20,
        "Basic w6k6",
        "Bearer \xe9\xff",
        "Digest x",
        ", ,",
    ):
        send("GET", SESSIONS_PATH, account=None, authorization=value, shown=value[:40])
    account.list(limit=1)


_TOO_LARGE: Final = 8 * 1024 * 1024
_FAR_TOO_LARGE: Final = 20 * 1024 * 1024 + 1
"""Beyond what is often the limit of what stands in front. For this machine only: elsewhere it would take long."""


@driver("Send a body that is as large as may be, and bodies that are too large.", stage=Stage.HARSH, requests=5)
def large_bodies(context: RunContext) -> None:
    largest = _FAR_TOO_LARGE if is_loopback(context.target.base_url) else _TOO_LARGE
    beyond = oracle.BODY_MOST + 1
    for size, is_chunked in ((oracle.BODY_MOST, False), (beyond, False), (beyond, True), (largest, False)):
        filling = json.dumps(context.body()).encode()
        context.account.create(filling[:-1] + b" " * (size - len(filling)) + b"}", chunked=is_chunked)
    context.account.list(limit=2)
