"""Probes of EVT."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from itertools import pairwise
from typing import Any

from defect_caller import DAY, NOW, Json, Mock, expect, line

from defect_probes.table import probe


async def _ended(mock: Mock, **changes: Any) -> tuple[Json, Json]:
    """A session that was paid, and one that was expired."""
    paid, expired = await mock.create(**changes), await mock.create(**changes)
    await mock.pay(paid)
    await mock.expire(expired)
    return paid, expired


@probe("EVT-1")
async def an_event_has_its_shape(mock: Mock) -> None:
    await _ended(mock)
    await _ended(mock)
    events = await mock.events()
    names = {"id", "api_version", "type", "account", "created", "request", "data"}
    for event in events:
        expect(event.keys() >= names and event["request"].keys() >= {"id", "idempotency_key"}, event)
        expect(re.fullmatch("evt_[A-Za-z0-9]+", event["id"]), event["id"])
        expect(event["api_version"] == "1.0.0" and event["created"] == NOW, event)
    expect(len({event["id"] for event in events}) == len(events), "ids")


@probe("EVT-2")
async def ending_sends_one_event(mock: Mock) -> None:
    paid, expired = await _ended(mock)
    free, late = await mock.create(line(amount=0)), await mock.create(expires_at=NOW + 1_800)
    await mock.pay(free)
    await mock.advance(1_800)
    events = await mock.events()
    for session, word in ((paid, "completed"), (expired, "expired"), (free, "completed"), (late, "expired")):
        types = [event["type"] for event in events if event["data"]["object"]["id"] == session["id"]]
        expect(types == [f"checkout.session.{word}"], f"{word}: {types}")


@probe("EVT-3")
async def an_event_shows_the_session_as_it_became(mock: Mock) -> None:
    sessions = await _ended(mock)
    for session, event in zip(sessions, await mock.events(), strict=True):
        expect(event["data"]["object"] == await mock.retrieve(session), event["data"])


@probe("EVT-4")
async def an_event_names_its_request(mock: Mock) -> None:
    paid, expired = await mock.create(idempotency="k1"), await mock.create(idempotency="k2")
    await mock.pay(paid)
    seen = await mock.try_expire(expired, idempotency="k3")
    requests = [event["request"] for event in await mock.events()]
    by_request = {"id": seen.headers["request-id"], "idempotency_key": "k3"}
    expect(requests == [{"id": None, "idempotency_key": None}, by_request], requests)


@probe("EVT-5")
async def nothing_else_sends_an_event(mock: Mock) -> None:
    opened, paid, expired = [await mock.create() for _ in range(3)]
    await mock.pay(opened, "failed")
    await mock.pay(opened, "canceled")
    await mock.pay(paid)
    for _ in range(2):
        await mock.try_expire(expired, idempotency="k1")
    await mock.try_expire(expired)
    await mock.try_expire(paid)
    await mock.try_pay(paid)
    events = [event["data"]["object"]["id"] for event in await mock.events()]
    expect(events == [paid["id"], expired["id"]], events)
    await mock.advance(DAY)
    events = [event["data"]["object"]["id"] for event in await mock.events()]
    expect(events == [paid["id"], expired["id"], opened["id"]], events)


@probe("EVT-6")
async def events_are_delivered(mock: Mock) -> None:
    before, later = await _ended(mock)
    first, second = await mock.listen(500, 503, 404, *[500] * 20), await mock.listen(name="other")
    await mock.flush()
    expect(not first.received, "what arose before")
    session = await mock.create()
    await mock.pay(session)
    await mock.flush()
    expect(len(first.received) == len(second.received) == 1, "at once, to every endpoint")
    kind = first.received[0].headers["content-type"]
    expect(first.received[0].method == "POST" and kind.startswith("application/json"), kind)
    times, now = [0], 0
    for seconds in (10, 50, 100, 200, 1_000, 2_000, 10_000, 20_000, 60_000, 100_000):
        await mock.advance(seconds)
        now += seconds
        times += [now] * (len(first.received) - len(times))
    expect(len(times) > 5 and times[1] <= 60, times)
    delays = [b - a for a, b in pairwise(times)]
    expect(delays == sorted(delays) and delays[-1] > delays[0], delays)
    expect(len({event["id"] for event in first.events}) == 1, "another id")
    expect(len(second.received) == 1, "again after a 2xx")
    del before, later


@probe("EVT-7")
async def deliveries_are_signed(mock: Mock) -> None:
    secrets = ["secret", " whsec_ü\n", base64.b64encode(b"sixteen bytes 16").decode()]
    endpoints = [await mock.listen(500, secret=secret, name=f"hook{n}") for n, secret in enumerate(secrets)]
    await _ended(mock)
    await mock.flush()
    await mock.advance(60)
    for secret, endpoint in zip(secrets, endpoints, strict=True):
        expect(endpoint.received, "nothing delivered")
        for request in endpoint.received:
            digest = hmac.new(secret.encode(), request.content, hashlib.sha256).digest()
            signature = request.headers.get("x-qashier-sign")
            expect(signature == base64.b64encode(digest).decode(), f"{secret!r}: {signature}")


@probe("EVT-8")
async def one_account_one_name(mock: Mock) -> None:
    await _ended(mock)
    names = {event["account"] for event in await mock.events()}
    expect(len(names) == 1, names)
