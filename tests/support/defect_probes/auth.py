"""Probes of AUTH."""

from __future__ import annotations

from defect_caller import SESSIONS, Mock, expect, order

from defect_probes.table import basic, probe


@probe("AUTH-1")
async def no_credentials(mock: Mock) -> None:
    for method, path in (
        ("GET", SESSIONS),
        ("GET", f"{SESSIONS}/x"),
        ("POST", SESSIONS),
        ("POST", f"{SESSIONS}/x/expire"),
    ):
        seen = await mock.send(method, path, key=None)
        expect(seen.status == 401 and seen.headers.get("www-authenticate"), f"{method} {path}: {seen.status}")


@probe("AUTH-2")
async def basic_with_an_empty_password(mock: Mock) -> None:
    credentials = basic(f"{mock.key}:")
    for method, body in (("GET", None), ("POST", order())):
        seen = await mock.send(method, SESSIONS, body, authorization=credentials)
        expect(seen.status == 200, f"{method}: {seen.status}")


@probe("AUTH-3")
async def bearer_means_the_same_account(mock: Mock) -> None:
    made = await mock.send("POST", SESSIONS, order(), authorization=basic(f"{mock.key}:"))
    seen = await mock.send("GET", f"{SESSIONS}/{made.json['id']}", authorization=f"Bearer {mock.key}")
    expect(seen.status == 200, seen.status)


@probe("AUTH-4")
async def anything_else_is_no_key(mock: Mock) -> None:
    for value in (
        basic(f"{mock.key}:password"),
        basic("nonsense:"),
        basic(":"),
        "Basic !",
        "Bearer nonsense",
        f"Digest {mock.key}",
        mock.key,
    ):
        seen = await mock.send("GET", SESSIONS, authorization=value)
        expect(seen.status == 401, f"{value}: {seen.status}")


@probe("AUTH-5")
async def accounts_do_not_meet(mock: Mock) -> None:
    session = await mock.create()
    own = await mock.create(key=mock.other)
    for method, path in (("GET", f"{SESSIONS}/{session['id']}"), ("POST", f"{SESSIONS}/{session['id']}/expire")):
        seen = await mock.send(method, path, key=mock.other)
        expect(seen.status == 404, f"{method}: {seen.status}")
    for parameters in ({}, {"status": "open"}):
        expect(await mock.ids(key=mock.other, **parameters) == [own["id"]], f"list with {parameters}")
    for name in ("starting_after", "ending_before"):
        expect((await mock.try_list(key=mock.other, **{name: session["id"]})).refused, name)
