"""Paths, methods, media types and bodies that the API does not have (HTTP)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from qashier_contract.addresses import parts_of
from qashier_contract.drive import RunContext, Stage, driver
from qashier_contract.drive.scenarios.scenario import UNKNOWN_ID, creates, wildcards
from qashier_contract.history import SESSIONS_PATH, Credentials

_UUID: Final = "[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"
"""RFC 9562 takes both cases on input: in another one this is the same id."""


def _json(context: RunContext) -> bytes:
    return json.dumps(context.body()).encode()


@creates(
    "Send what a lenient parser takes for JSON, and JSON under names that are nearly its own.",
    stage=Stage.DEPTH,
    requests=11,
)
def what_is_nearly_json(context: RunContext) -> Iterator[bytes]:
    for media_type in ("text/json", "application/jsonp"):
        context.account.create(_json(context), headers=(("Content-Type", media_type),))
    yield _json(context) + b" x"
    yield _json(context)[:-1] + b",}"
    yield _json(context).replace(b'"', b"'")
    yield _json(context).replace(b"Kaya toast", b"Kaya\ntoast")
    yield _json(context)[:-1] + b', "x": NaN}'
    yield _json(context)[:-1] + b" /* a comment */}"
    yield _json(context) + b" // a comment"


@driver(
    "Name all headers in lower case, as proxies and gateways of HTTP/2 do.",
    stage=Stage.DEPTH,
    requests=6,
)
def headers_in_lower_case(context: RunContext) -> None:
    key, json_type = context.key(), ("content-type", "application/json")
    body = _json(context)
    for _ in range(2):
        context.account.create(body, headers=(json_type, ("idempotency-key", key)))
    context.account.create(_json(context), headers=(json_type,), credentials=Credentials.BEARER)
    context.account.create(_json(context), headers=(("content-type", "text/plain"),))
    context.account.list(limit=3)


@driver("Ask for paths, methods, media types and bodies that the API does not have.", requests=55)
def the_wrong_door(context: RunContext) -> None:
    opened = context.open()
    session_id = opened.id or UNKNOWN_ID
    own = f"{SESSIONS_PATH}/{session_id}"
    send = context.target.send
    page = parts_of(opened.url or "").path
    for path in ("/", "/checkout", "/checkout/session", "/checkout/sessionsx", f"{own}/pay", f"{own}/expire/now"):
        if path != page:  # `/checkout?session=ID` is the usual address of a hosted page
            send("GET", path)
    send("POST", f"{own}/cancel")
    for method, path in (
        ("DELETE", SESSIONS_PATH),
        ("PUT", SESSIONS_PATH),
        ("PATCH", own),
        ("DELETE", own),
        ("POST", own),
        ("GET", f"{own}/expire"),
        ("DELETE", f"{own}/expire"),
    ):
        send(method, path)
    for body in (b"{", b"", b"not json", b'{"line_items": [}', _json(context)[:-1], b"\xff\xfe{}"):
        context.account.create(body)
    marked = _json(context)
    for media_type in (
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
    ):
        context.account.create(_json(context), headers=(("Content-Type", media_type),))
    context.account.create(marked, headers=(("Content-Type", "application/json; charset=utf-8"),))
    for media_type in ("Application/JSON", "", 'application/json; charset="utf-8"'):
        context.account.create(_json(context), headers=(("Content-Type", media_type),))
    nearly = [UNKNOWN_ID, "nosuch", session_id + "x", session_id[:-1], session_id + " "]
    nearly += [session_id + ".json", session_id + "\0x", *wildcards(session_id)]
    if not re.fullmatch(_UUID, session_id):
        nearly.append(session_id.swapcase())
    for unknown in nearly:
        context.account.retrieve(unknown)
    for unknown in nearly:
        context.account.expire(unknown)
    opened.retrieve()
    context.account.list(limit=20)
