"""Paths, methods, media types and bodies that the API does not have (HTTP)."""

from __future__ import annotations

import json
import re
from typing import Final

from qashier_contract.drive import RunContext, Stage, driver
from qashier_contract.drive.scenarios.scenario import UNKNOWN_ID, send_each
from qashier_contract.history import SESSIONS_PATH

_UUID: Final = "[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"
"""RFC 9562 takes both cases on input: in another one this is the same id."""


@driver(
    "Send what a lenient parser takes for JSON, and JSON under names that are nearly its own.",
    stage=Stage.DEPTH,
    requests=11,
)
def what_is_nearly_json(context: RunContext) -> None:
    for media_type in ("text/json", "application/jsonp"):
        context.account.create(json.dumps(context.body()).encode(), headers=(("Content-Type", media_type),))
    send_each(
        context,
        iter(
            (
                json.dumps(context.body()).encode() + b" x",
                json.dumps(context.body()).encode()[:-1] + b",}",
                json.dumps(context.body()).encode().replace(b'"', b"'"),
                json.dumps(context.body()).encode().replace(b"Kaya toast", b"Kaya\ntoast"),
                json.dumps(context.body()).encode()[:-1] + b', "x": NaN}',
                json.dumps(context.body()).encode()[:-1] + b" /* a comment */}",
                json.dumps(context.body()).encode() + b" // a comment",
            )
        ),
    )


@driver("Ask for paths, methods, media types and bodies that the API does not have.", requests=39)
def the_wrong_door(context: RunContext) -> None:
    opened = context.open()
    session_id = opened.id or UNKNOWN_ID
    own = f"{SESSIONS_PATH}/{session_id}"
    send = context.target.send
    for path in ("/", "/checkout", "/checkout/session", "/checkout/sessionsx", f"{own}/pay", f"{own}/expire/now"):
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
    for body in (b"{", b"", b"not json", b'{"line_items": [}', json.dumps(context.body()).encode()[:-1], b"\xff\xfe{}"):
        context.account.create(body)
    marked = json.dumps(context.body()).encode()
    for media_type in (
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
    ):
        body = json.dumps(context.body()).encode()
        context.account.create(body, headers=(("Content-Type", media_type),))
    context.account.create(marked, headers=(("Content-Type", "application/json; charset=utf-8"),))
    context.account.create(json.dumps(context.body()).encode(), headers=(("Content-Type", "Application/JSON"),))
    context.account.create(json.dumps(context.body()).encode(), headers=(("Content-Type", ""),))
    nearly = [UNKNOWN_ID, session_id + "x", session_id[:-1]]
    if not re.fullmatch(_UUID, session_id):
        nearly.append(session_id.swapcase())
    for unknown in (*nearly, session_id + " "):
        context.account.retrieve(unknown)
    for unknown in nearly:
        context.account.expire(unknown)
    opened.retrieve()
    context.account.list(limit=20)
