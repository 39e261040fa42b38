"""Probes of HTTP."""

from __future__ import annotations

import re

import orjson
from defect_caller import NOW, SESSIONS, Mock, expect, line, order

from defect_probes.table import probe


@probe("HTTP-1")
async def every_answer_has_its_request_id(mock: Mock) -> None:
    session = await mock.create()
    answers = [
        await mock.try_list(),
        await mock.try_list(limit=0),
        await mock.send("GET", f"{SESSIONS}/{session['id']}"),
        await mock.send("GET", f"{SESSIONS}/unknown"),
        await mock.send("GET", "/unknown"),
        await mock.send("GET", SESSIONS, key=None),
    ]
    ids = [seen.headers.get("request-id", "") for seen in answers]
    expect(all(re.fullmatch("req_[A-Za-z0-9_]+", each) for each in ids), ids)
    expect(len(set(ids)) == len(ids), ids)


@probe("HTTP-2")
async def every_body_is_json(mock: Mock) -> None:
    session = await mock.create()
    for path in ("/unknown", SESSIONS, f"{SESSIONS}/{session['id']}", f"{SESSIONS}/unknown"):
        seen = await mock.send("GET", path)
        expect(seen.headers.get("content-type") == "application/json", f"{path}: {seen.headers.get('content-type')}")
        expect(seen.json is not None, path)


@probe("HTTP-3")
async def errors_tell_what_to_change(mock: Mock) -> None:
    wrong = [
        (await mock.try_create(without="success_url"), "success_url"),
        (await mock.try_create(line(quantity=0)), "line_items[0].quantity"),
        (await mock.try_create(line(), line(quantity=0)), "line_items[1].quantity"),
        (await mock.try_list(limit=0), "limit"),
        (await mock.send("GET", f"{SESSIONS}/unknown"), "id"),
    ]
    for seen, param in wrong:
        expect(seen.refused and isinstance(seen.json, dict), seen.body)
        error = seen.json.get("error", {})
        expect(error.get("message"), seen.body)
        expect(error.get("param") == param, seen.body)


@probe("HTTP-4")
async def what_is_no_request_of_the_api(mock: Mock) -> None:
    expect((await mock.send("GET", "/unknown")).status == 404, "unknown path")
    for path, allow in ((SESSIONS, {"GET", "POST"}), (f"{SESSIONS}/x", {"GET"}), (f"{SESSIONS}/x/expire", {"POST"})):
        seen = await mock.send("DELETE", path)
        expect(seen.status == 405, f"{path}: {seen.status}")
        expect(set(seen.headers.get("allow", "").split(", ")) == allow, f"{path}: {seen.headers.get('allow')}")
    body = orjson.dumps(order())
    expect((await mock.send("POST", SESSIONS, body[:-1])).status == 400, "broken JSON")
    expect((await mock.send("POST", SESSIONS, body, content_type="text/plain")).status == 415, "media type")
    expect((await mock.send("POST", SESSIONS, body + b" " * 2**21)).status == 413, "too large")
    for kind in ("application/json; charset=utf-8", ""):
        expect((await mock.send("POST", SESSIONS, body, content_type=kind)).status == 200, f"as {kind!r}")


@probe("HTTP-5")
async def what_is_refused_changes_nothing(mock: Mock) -> None:
    session = await mock.create()
    body = orjson.dumps(order())
    refused = [
        await mock.try_create(expires_at=NOW + 1),
        await mock.try_create(line(), line(currency="MYR")),
        await mock.try_create(line(quantity=0)),
        await mock.send("POST", SESSIONS, body, content_type="text/plain"),
        await mock.send("POST", SESSIONS, body[:-1]),
        await mock.try_expire(session, idempotency="k" * 256),
        await mock.send("DELETE", f"{SESSIONS}/{session['id']}"),
    ]
    expect(all(seen.refused for seen in refused), [seen.status for seen in refused])
    expect(await mock.ids() == [session["id"]], "another session")
    expect((await mock.retrieve(session))["status"] == "open", "another status")
    expect(await mock.events() == [], "an event")


@probe("HTTP-6")
async def no_input_breaks_the_server(mock: Mock) -> None:
    body = orjson.dumps(order())
    for sent in (
        body[:-1],
        b"[" * 2000 + b"]" * 2000,
        body.replace(b"450", b"1" + b"0" * 25),
        body.replace(b"Coffee", b"\xff\xfe"),
        body.replace(b"Coffee", b"\\ud800"),
        orjson.dumps(order(line(name="Coffee \N{HOT BEVERAGE}\N{SLICE OF PIZZA}"))),
        b"",
        b"null",
    ):
        expect((await mock.send("POST", SESSIONS, sent)).status < 500, sent[:80])
    for path in (f"{SESSIONS}/a%00b", f"{SESSIONS}/{'x' * 300}", f"{SESSIONS}?created[gte][x]=1", f"{SESSIONS}?%zz=1"):
        expect((await mock.send("GET", path)).status < 500, path)
