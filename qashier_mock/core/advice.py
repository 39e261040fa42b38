"""The rules of advice: what an integration does that will hurt in production.

Each piece is given once per account: one of a kind, and one for each unknown field and each URL with a template. Advice
about a request is found while the request is answered, so that the answer can carry it, and is remembered. Advice about
webhooks is found when someone reads the advice, and describes that moment.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from qashier_mock.core.delivery import Attempt, Outcome
from qashier_mock.core.model import CreateSession, Event, WebhookEndpoint

TIGHT_POLLS: Final = 10
"""Reads of one unchanged open session in a row ..."""

TIGHT_WINDOW: Final = 10
"""... within this many seconds are tight polling."""

_LOCAL_HOST: Final = re.compile(r"(.+\.)?localhost|127(\.\d{1,3}){3}|0\.0\.0\.0")
"""Names and addresses that never leave the machine: RFC 6761 for all below `localhost`, RFC 1122 for 127.0.0.0/8."""


_INDEX: Final = re.compile(r"\[[0-9]+\]")

_TEMPLATE: Final = re.compile(r"\{[A-Za-z_][\w.]*\}|%7B[A-Za-z_]\w*%7D", re.ASCII | re.IGNORECASE)
"""A name in braces, as other APIs fill in, escaped or not."""

MOST_PIECES: Final = 100
"""The most pieces of advice that an account remembers: a client could send any number of unknown fields."""


class AdviceKind(StrEnum):
    """What advice is about. The values are stable names."""

    IDEMPOTENCY_KEY_MISSING = "idempotency_key_missing"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    UNKNOWN_FIELD = "unknown_field"
    INSECURE_SUCCESS_URL = "insecure_success_url"
    TEMPLATE_IN_URL = "template_in_url"
    TIGHT_POLLING = "tight_polling"
    NO_WEBHOOK_ENDPOINT = "no_webhook_endpoint"
    WEBHOOK_NEVER_ACKNOWLEDGED = "webhook_never_acknowledged"
    WEBHOOK_NOT_CONFIRMED = "webhook_not_confirmed"


@dataclass(frozen=True, slots=True)
class Advice:
    """One piece of advice.

    Attributes:
        message: What happens in production, and what to do instead.
        param: The field it is about, if one is.
        nearest: The known name that an unknown field is nearest to, if it is near any.
    """

    kind: AdviceKind
    message: str
    param: str | None = None
    nearest: str | None = None

    @property
    def subject(self) -> tuple[AdviceKind, str | None]:
        """What distinguishes two pieces of advice: kind and field, whatever the index in an array."""
        return self.kind, None if self.param is None else _INDEX.sub("[]", self.param)


@dataclass(frozen=True, slots=True)
class AdviceNote:
    """Advice as the account remembers it: to which request it applied first, if to any, when, and how often.

    `at` is in epoch seconds of the account's clock.
    """

    advice: Advice
    request_id: str | None
    at: int
    count: int = 1


MISSING_KEY: Final = Advice(
    AdviceKind.IDEMPOTENCY_KEY_MISSING,
    "A POST came without an Idempotency-Key. When its answer is lost, a retry would create or expire twice; send a "
    "fresh key for each operation, and the same key when repeating it.",
    "Idempotency-Key",
)

REUSED_KEY: Final = Advice(
    AdviceKind.IDEMPOTENCY_KEY_REUSED,
    "An Idempotency-Key was used for a different request within 24 hours. The first answer was replayed and nothing "
    "was done; use a fresh key for each operation.",
    "Idempotency-Key",
)

INSECURE_URL: Final = Advice(
    AdviceKind.INSECURE_SUCCESS_URL,
    "success_url is plain http outside localhost: a customer's return can be read and altered on the way. Use https.",
    "success_url",
)

TIGHT_POLLING: Final = Advice(
    AdviceKind.TIGHT_POLLING,
    f"The same open session was read {TIGHT_POLLS} times within {TIGHT_WINDOW} seconds. Production limits rates; wait "
    "for the webhook, and poll with growing delays as the fallback.",
)

NO_ENDPOINT: Final = Advice(
    AdviceKind.NO_WEBHOOK_ENDPOINT,
    "Sessions were paid or expired, but the account has no webhook endpoint: a payment goes unnoticed if the customer "
    "closes the browser after paying. Register an endpoint.",
)

NOT_CONFIRMED: Final = Advice(
    AdviceKind.WEBHOOK_NOT_CONFIRMED,
    "A webhook was acknowledged, but its session was never retrieved afterwards. Webhooks may be repeated, late or "
    "forged; retrieve the session and act on what that says.",
)


def unknown_field(path: str, nearest: str | None) -> Advice:
    """Advice about an unknown property of a body, with the nearest known name."""
    hint = f"; did you mean {nearest}?" if nearest else ""
    return Advice(
        AdviceKind.UNKNOWN_FIELD,
        f"The body has a field that the API does not know and ignores: {path}{hint}",
        path,
        nearest,
    )


def name_fields(fields: Iterable[tuple[str, str | None]]) -> str:
    """Unknown fields in words, each path with the nearest known name, if there is one."""
    told = [path if nearest is None else f"{path} (did you mean {nearest}?)" for path, nearest in fields]
    what = "a field" if len(told) == 1 else "fields"
    return f"The body has {what} that the API does not know: {', '.join(told)}."


def about_urls(params: CreateSession) -> list[Advice]:
    """Advice about the URLs of a create."""
    found = [INSECURE_URL] if is_insecure(params.success_url) else []
    for name in ("success_url", "return_url", "cancel_url"):
        url: str | None = getattr(params, name)
        if url is not None and ("{" in url or "%" in url) and (template := _TEMPLATE.search(url)):
            found.append(_template_in_url(name, template.group()))
    return found


def _template_in_url(name: str, template: str) -> Advice:
    return Advice(
        AdviceKind.TEMPLATE_IN_URL,
        f"{name} has the template {template}. Qashier fills in nothing: the customer comes back to the URL as it is. "
        "Put your own order number into the URL instead.",
        name,
    )


def is_insecure(url: str) -> bool:
    """Whether a URL is plain http to another machine."""
    return url[:5].lower() == "http:" and not _LOCAL_HOST.fullmatch(urlsplit(url).hostname or "")


def about_webhooks(
    *,
    first_event: Event | None,
    endpoints: Collection[WebhookEndpoint],
    attempts: Sequence[Attempt],
    unconfirmed: Collection[str],
) -> list[AdviceNote]:
    """Advice about an account's webhooks, as things stand. It is not remembered.

    Attempts are the oldest first. `unconfirmed` are the ids of sessions that have ended with a webhook and were not
    retrieved since.
    """
    found: list[AdviceNote] = []
    if first_event is not None and not endpoints:
        found.append(AdviceNote(NO_ENDPOINT, None, first_event.created))
    acknowledged = {each.endpoint_id for each in attempts if each.outcome is Outcome.DELIVERED}
    silent = {each.id for each in endpoints} - acknowledged
    failed = next((each for each in attempts if each.outcome is Outcome.FAILED and each.endpoint_id in silent), None)
    if failed is not None:
        found.append(AdviceNote(_never_acknowledged(failed), None, failed.at))
    delivered = (each for each in attempts if each.outcome is Outcome.DELIVERED and each.session_id in unconfirmed)
    forgotten = next(delivered, None)
    if forgotten is not None:
        found.append(AdviceNote(NOT_CONFIRMED, None, forgotten.at))
    return found


def _never_acknowledged(failed: Attempt) -> Advice:
    hint = "" if failed.status is None or failed.error is None else f" It answered {failed.status}: {failed.error}."
    return Advice(
        AdviceKind.WEBHOOK_NEVER_ACKNOWLEDGED,
        f"Webhook endpoint {failed.endpoint_id} has never answered 2xx. Answer 2xx at once and do the work afterwards; "
        f"anything else is retried and in the end given up.{hint}",
    )


@dataclass(slots=True)
class PollWatch:
    """Detects tight polling of one session at a time, in constant memory."""

    session_id: str = ""
    since: int = 0
    reads: int = 0

    def note(self, session_id: str, now: int) -> bool:
        """Count a read of an open session, by the machine's clock; True when it makes the polling tight."""
        if session_id != self.session_id or now - self.since > TIGHT_WINDOW:
            self.session_id, self.since, self.reads = session_id, now, 0
        self.reads += 1
        return self.reads == TIGHT_POLLS
