"""EVT: deliveries that are given up too soon, sent to the wrong ones, or badly signed."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from qashier_mock.bugs.parts import Parts
from qashier_mock.bugs.table import defect
from qashier_mock.core.delivery import Delivery
from qashier_mock.core.model import AccountId, Event, WebhookEndpoint
from qashier_mock.webhooks import sign

Sign = Callable[[bytes, str], str]
Message = tuple[bytes, dict[str, str]]


def _retry(
    parts: Parts, rule: Callable[[Callable[..., Delivery | None], Delivery, int, int | None], Delivery | None]
) -> None:
    """Change what is still to be delivered after an attempt."""

    def after(
        inner: Callable[..., Delivery | None], delivery: Delivery, *, started_at: int, status: int | None
    ) -> Delivery | None:
        return rule(inner, delivery, started_at, status)

    parts.on_rule("after_attempt", after)


@defect("EVT-6")
def no_retry(parts: Parts) -> None:
    """A delivery that fails is not tried again."""
    _retry(parts, lambda _inner, _delivery, _started_at, _status: None)


@defect("EVT-6")
def two_retries(parts: Parts) -> None:
    """A delivery that fails is given up after the second retry."""

    def rule(
        inner: Callable[..., Delivery | None], delivery: Delivery, started_at: int, status: int | None
    ) -> Delivery | None:
        return inner(delivery, started_at=started_at, status=status) if delivery.number < 2 else None

    _retry(parts, rule)


@defect("EVT-6")
def first_retry_after_an_hour(parts: Parts) -> None:
    """The first retry comes an hour after the failure."""

    def rule(
        inner: Callable[..., Delivery | None], delivery: Delivery, started_at: int, status: int | None
    ) -> Delivery | None:
        later = inner(delivery, started_at=started_at, status=status)
        return None if later is None else replace(later, due=later.due + 3_600)

    _retry(parts, rule)


@defect("EVT-6")
def retries_every_minute(parts: Parts) -> None:
    """Retries come each minute; their delays do not grow."""

    def rule(
        inner: Callable[..., Delivery | None], delivery: Delivery, started_at: int, status: int | None
    ) -> Delivery | None:
        later = inner(delivery, started_at=started_at, status=status)
        return None if later is None else replace(later, due=started_at + 60)

    _retry(parts, rule)


@defect("EVT-6")
def any_answer_is_success(parts: Parts) -> None:
    """An endpoint that answers, whatever it says, is not tried again: a 500 counts as received."""

    def rule(
        inner: Callable[..., Delivery | None], delivery: Delivery, started_at: int, status: int | None
    ) -> Delivery | None:
        return inner(delivery, started_at=started_at, status=status) if status is None else None

    _retry(parts, rule)


@defect("EVT-6")
def retry_with_another_id(parts: Parts) -> None:
    """A retry carries an event id of its own."""

    def message(inner: Callable[..., Any], delivery: Delivery, event: Event, endpoint: WebhookEndpoint) -> object:
        number = delivery.number
        return inner(delivery, replace(event, id=f"{event.id}r{number}") if number else event, endpoint)

    parts.around(parts.dispatcher, "message", message)


@defect("EVT-6")
def one_endpoint_is_told(parts: Parts) -> None:
    """Of several endpoints of an account only the first gets events."""

    async def put(inner: Callable[..., Awaitable[None]], tx: Any, delivery: Delivery) -> None:
        endpoints = parts.service.endpoints(tx)
        if endpoints and delivery.endpoint_id == endpoints[0].id:
            await inner(delivery)

    parts.on_transaction("put_delivery", put)


@defect("EVT-6")
def new_endpoint_gets_old_events(parts: Parts) -> None:
    """A new endpoint gets every event that arose before it was there."""

    async def add(inner: Callable[..., Any], account: AccountId, *arguments: Any, **more: Any) -> WebhookEndpoint:
        endpoint: WebhookEndpoint = await inner(account, *arguments, **more)
        async with parts.service._store.transaction(account) as tx:
            now = parts.service.now(tx)
            for event in await tx.events():
                delivery_id = await parts.service.draw(tx, "dlv_")
                await tx.put_delivery(Delivery(delivery_id, event.id, endpoint.id, now))
            await parts.service.announce(tx)
        return endpoint

    parts.around(parts.accounts, "add_endpoint", add)


@defect("EVT-6")
def first_attempt_waits(parts: Parts) -> None:
    """The first attempt to deliver is made five minutes after the event."""

    async def put(inner: Callable[..., Awaitable[None]], tx: Any, delivery: Delivery) -> None:
        is_new = delivery.number == 0 and await tx.delivery(delivery.id) is None
        await inner(replace(delivery, due=delivery.due + 300) if is_new else delivery)

    parts.on_transaction("put_delivery", put)


def _signature(parts: Parts, make: Callable[[Sign, bytes, str], str]) -> None:
    def message(inner: Callable[..., Any], delivery: Delivery, event: Event, endpoint: WebhookEndpoint) -> Message:
        body, headers = inner(delivery, event, endpoint)
        if endpoint.secret is not None:
            headers["x-qashier-sign"] = make(sign, body, endpoint.secret)
        return body, headers

    parts.around(parts.dispatcher, "message", message)


@defect("EVT-7")
def signature_in_hex(parts: Parts) -> None:
    """The signature is written in hexadecimal digits instead of base64."""
    _signature(parts, lambda inner, body, secret: b64decode(inner(body, secret)).hex())


@defect("EVT-7")
def signature_for_urls(parts: Parts) -> None:
    """The signature is written in the base64 of URLs, without padding."""
    _signature(
        parts,
        lambda inner, body, secret: urlsafe_b64encode(b64decode(inner(body, secret))).rstrip(b"=").decode(),
    )


@defect("EVT-7")
def signature_over_another_body(parts: Parts) -> None:
    """The signature is over the event written as JSON once more, with blanks that the body does not have."""
    _signature(parts, lambda inner, body, secret: inner(json.dumps(json.loads(body)).encode(), secret))


@defect("EVT-7")
def signature_by_sha1(parts: Parts) -> None:
    """The signature is an HMAC by SHA-1."""

    def make(_inner: Sign, body: bytes, secret: str) -> str:
        return b64encode(hmac.new(secret.encode(), body, hashlib.sha1).digest()).decode()

    _signature(parts, make)


@defect("EVT-7")
def secret_stripped(parts: Parts) -> None:
    """Blanks and line ends around a secret are stripped before it signs."""
    _signature(parts, lambda inner, body, secret: inner(body, secret.strip()))


@defect("EVT-7")
def secret_decoded(parts: Parts) -> None:
    """A secret that happens to be base64 is decoded before it signs."""

    def make(inner: Sign, body: bytes, secret: str) -> str:
        try:
            key = b64decode(secret, validate=True)
        except (Base64Error, ValueError):
            return inner(body, secret)
        return b64encode(hmac.new(key, body, hashlib.sha256).digest()).decode()

    _signature(parts, make)


@defect("EVT-7")
def retries_unsigned(parts: Parts) -> None:
    """A retry has no signature."""

    def message(inner: Callable[..., Any], delivery: Delivery, event: Event, endpoint: WebhookEndpoint) -> object:
        return inner(delivery, event, replace(endpoint, secret=None) if delivery.number else endpoint)

    parts.around(parts.dispatcher, "message", message)
