"""EVT: deliveries that are given up too soon, sent to the wrong ones, or badly signed."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from qashier_mock.bugs.changes import Message, message, method, retry, transaction
from qashier_mock.bugs.parts import Inner, Parts
from qashier_mock.bugs.table import Change, defect, row
from qashier_mock.core.delivery import Delivery
from qashier_mock.core.model import AccountId, Event, WebhookEndpoint
from qashier_mock.core.signing import sign


def _signature(make: Callable[[bytes, str], str]) -> Change:
    """Sign bodies otherwise."""

    def write(inner: Inner, delivery: Delivery, event: Event, endpoint: WebhookEndpoint) -> Message:
        body, headers = inner(delivery, event, endpoint)
        signed = {} if endpoint.secret is None else {"x-qashier-sign": make(body, endpoint.secret)}
        return body, {**headers, **signed}

    return message(write)


def _hmac(key: bytes, body: bytes, digest: Any) -> str:
    return b64encode(hmac.new(key, body, digest).digest()).decode()


def _decoded(body: bytes, secret: str) -> str:
    try:
        return _hmac(b64decode(secret, validate=True), body, hashlib.sha256)
    except (Base64Error, ValueError):
        return sign(body, secret)


# fmt: off
row("EVT-6", "no-retry", "A delivery that fails is not tried again.", retry(lambda *_: None))
row("EVT-6", "two-retries", "A delivery that fails is given up after the second retry.",
    retry(lambda later, delivery, _started_at, _status: later if delivery.number < 2 else None))
row("EVT-6", "first-retry-after-an-hour", "The first retry comes an hour after the failure.",
    retry(lambda later, *_: later and replace(later, due=later.due + 3_600)))
row("EVT-6", "retries-every-minute", "Retries come each minute; their delays do not grow.",
    retry(lambda later, _delivery, started_at, _status: later and replace(later, due=started_at + 60)))
row("EVT-6", "any-answer-is-success",
    "An endpoint that answers, whatever it says, is not tried again: a 500 counts as received.",
    retry(lambda later, _delivery, _started_at, status: later if status is None else None))
row("EVT-6", "retry-with-another-id", "A retry carries an event id of its own.",
    message(lambda inner, delivery, event, endpoint: inner(
        delivery, replace(event, id=f"{event.id}{f'r{delivery.number}' if delivery.number else ''}"), endpoint)))
row("EVT-7", "retries-unsigned", "A retry has no signature.",
    message(lambda inner, delivery, event, endpoint: inner(
        delivery, event, replace(endpoint, secret=None) if delivery.number else endpoint)))
row("EVT-7", "signature-in-hex", "The signature is written in hexadecimal digits instead of base64.",
    _signature(lambda body, secret: b64decode(sign(body, secret)).hex()))
row("EVT-7", "signature-for-urls", "The signature is written in the base64 of URLs, without padding.",
    _signature(lambda body, secret: urlsafe_b64encode(b64decode(sign(body, secret))).rstrip(b"=").decode()))
row("EVT-7", "signature-over-another-body",
    "The signature is over the event written as JSON once more, with blanks that the body does not have.",
    _signature(lambda body, secret: sign(json.dumps(json.loads(body)).encode(), secret)))
row("EVT-7", "signature-by-sha1", "The signature is an HMAC by SHA-1.",
    _signature(lambda body, secret: _hmac(secret.encode(), body, hashlib.sha1)))
row("EVT-7", "secret-stripped", "Blanks and line ends around a secret are stripped before it signs.",
    _signature(lambda body, secret: sign(body, secret.strip())))
row("EVT-7", "secret-decoded", "A secret that happens to be base64 is decoded before it signs.", _signature(_decoded))
# fmt: on


@defect("EVT-6", transaction("put_delivery"))
async def one_endpoint_is_told(parts: Parts, inner: Inner, tx: Any, delivery: Delivery) -> None:
    """Of several endpoints of an account only the first gets events."""
    endpoints = parts.service.endpoints(tx)
    if endpoints and delivery.endpoint_id == endpoints[0].id:
        await inner(delivery)


@defect("EVT-6", transaction("put_delivery"))
async def first_attempt_waits(_parts: Parts, inner: Inner, tx: Any, delivery: Delivery) -> None:
    """The first attempt to deliver is made five minutes after the event."""
    is_new = delivery.number == 0 and await tx.delivery(delivery.id) is None
    await inner(replace(delivery, due=delivery.due + 300) if is_new else delivery)


@defect("EVT-6", method("accounts", "add_endpoint"))
async def new_endpoint_gets_old_events(
    parts: Parts, inner: Inner, account: AccountId, *arguments: Any, **more: Any
) -> WebhookEndpoint:
    """A new endpoint gets every event that arose before it was there."""
    endpoint: WebhookEndpoint = await inner(account, *arguments, **more)
    async with parts.store.transaction(account) as tx:
        for event in await tx.events():
            delivery_id = await parts.service.draw(tx, "dlv_")
            await tx.put_delivery(Delivery(delivery_id, event.id, endpoint.id, parts.service.now(tx)))
        await parts.service.announce(tx)
    return endpoint
