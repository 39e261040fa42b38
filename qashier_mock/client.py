"""One account of a mock, over HTTP: the control API and the API itself, on the standard library.

    account = MockAccount("http://127.0.0.1:4010", "sk_test_mine")
    session = account.create_session()
    account.pay(session["id"])
    account.advance(hours=25)

It works alike on a mock in a thread, in a container and on another machine.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from os import urandom  # by name: a test may patch the module's
from typing import Any, Final, Literal, Self, cast
from urllib.parse import quote, urlencode

from qashier_mock import answers
from qashier_mock.connections import Connections, MockRefused, SecretHeaders

# pytest shows the line of a test that a call of ours failed in, not our own frames; --full-trace shows them all.
__tracebackhide__: Final = True

_SLOW: Final = 600.0
"""Seconds to wait where the mock delivers webhooks before it answers: a hanging receiver costs it 10 s each."""

_CREATE_FIELDS: Final = ("line_items", "success_url", "return_url", "cancel_url", "expires_at", "customer_email")
_SAMPLE_LINES: Final = (
    {"price_data": {"currency": "SGD", "product_data": {"name": "Sample"}, "unit_amount": 1250}, "quantity": 1},
)

FaultAction = Literal["delay", "status", "drop", "truncate", "lose_answer", "duplicate", "reorder", "bad_signature"]


class FaultRule:
    """A fault rule in force, by its id. As a context manager it ends with the block, otherwise with `remove()`."""

    def __init__(self, account: MockAccount, rule: answers.Fault) -> None:
        self._account = account
        self.id = rule["id"]
        self.is_about_webhooks = "webhook" in rule

    @property
    def applied(self) -> int:
        """How often the rule has applied; 0 once it is removed."""
        return next((rule["applied"] for rule in self._account.faults if rule["id"] == self.id), 0)

    def remove(self) -> None:
        """Remove the rule. Removing it again does nothing."""
        try:
            self._account.call("DELETE", f"/_mock/v1/faults/{self.id}")
        except MockRefused as error:
            if error.status != 404:  # noqa: PLR2004 - it is gone
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"


class MockAccount:
    """The account of one API key on a mock. Any number of threads may use it.

    Every call may raise `MockRefused` or `MockUnreachable`.

    Attributes:
        base_url: Where the mock is, without a trailing slash.
        api_key: The account's key.
    """

    def __init__(
        self, base_url: str, api_key: str, *, timeout: float = 30.0, connections: Connections | None = None
    ) -> None:
        """Name an account; nothing is sent yet.

        Answers are awaited for `timeout` real seconds. Accounts of the same mock may share `connections`.
        """
        self._connections = connections or Connections(base_url, timeout=timeout)
        self.base_url = self._connections.base_url
        self.api_key = api_key
        self._authorization = SecretHeaders(Authorization="Basic " + b64encode(f"{api_key}:".encode()).decode("ascii"))

    @property
    def auth(self) -> tuple[str, str]:
        """What requests and httpx take as `auth`: the key as user name, an empty password."""
        return (self.api_key, "")

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Call any path of the mock as this account; return the parsed JSON, None if there is no body."""
        all_headers = SecretHeaders({**self._authorization, **(headers or {})})
        return self._connections.send(method, path, body=body, headers=all_headers, timeout=timeout)

    # the API

    def create_session(self, *, idempotency_key: str | None = None, **fields: Any) -> answers.CheckoutSession:
        """Create a checkout session. Fields that are left out get sample values.

        Args:
            idempotency_key: None draws a fresh one.
            fields: `line_items`, `success_url`, `return_url`, `cancel_url`, `expires_at`, `customer_email`, as the API
                takes them.
        """
        _check_fields(fields)
        body = {
            "line_items": list(_SAMPLE_LINES),
            "success_url": "https://shop.example/success",
            "return_url": "https://shop.example/return",
            **fields,
        }
        headers = _key_header(idempotency_key)
        return cast("answers.CheckoutSession", self.call("POST", "/checkout/sessions", body, headers=headers))

    def retrieve_session(self, session_id: str) -> answers.CheckoutSession:
        """Retrieve a checkout session through the API: the journal shows it, and faults apply."""
        return cast("answers.CheckoutSession", self.call("GET", f"/checkout/sessions/{_segment(session_id)}"))

    def list_sessions(self, **query: str | int) -> answers.SessionList:
        """A page of checkout sessions through the API; `created[gte]` is passed as `**{"created[gte]": …}`."""
        path = "/checkout/sessions" + (f"?{urlencode(query)}" if query else "")
        return cast("answers.SessionList", self.call("GET", path))

    def expire_session(self, session_id: str, *, idempotency_key: str | None = None) -> answers.CheckoutSession:
        """Expire an open checkout session; an `idempotency_key` of None draws a fresh one."""
        path = f"/checkout/sessions/{_segment(session_id)}/expire"
        return cast("answers.CheckoutSession", self.call("POST", path, headers=_key_header(idempotency_key)))

    # the customer

    def pay(self, session: str | Mapping[str, Any]) -> answers.CheckoutSession:
        """Pay a session, given itself or its id, as the customer does; return it, now complete."""
        return self._act(session, "succeeded")

    def fail(self, session: str | Mapping[str, Any]) -> answers.CheckoutSession:
        """Try to pay a session, given itself or its id, and be declined; return it, still open."""
        return self._act(session, "failed")

    def cancel(self, session: str | Mapping[str, Any]) -> answers.CheckoutSession:
        """Cancel the payment of a session, given itself or its id; return it, still open."""
        return self._act(session, "canceled")

    def _act(self, session: str | Mapping[str, Any], outcome: str) -> answers.CheckoutSession:
        path = f"/_mock/v1/sessions/{_segment(_id_of(session))}/pay"
        return cast("answers.CheckoutSession", self.call("POST", path, {"outcome": outcome}))

    # time

    @property
    def clock(self) -> answers.Clock:
        """What the account's clock shows."""
        return cast("answers.Clock", self.call("GET", "/_mock/v1/clock"))

    @property
    def now(self) -> int:
        """The account's now, epoch seconds."""
        return self.clock["now"]

    def advance(
        self,
        *,
        seconds: float | None = None,
        minutes: float | None = None,
        hours: float | None = None,
        days: float | None = None,
    ) -> answers.ClockMoved:
        """Move the clock forward. All that falls due on the way, webhooks included, has happened when this returns.

        Raises:
            TypeError: None of them is given.
            ValueError: The sum is not a whole number of seconds, or is negative.
        """
        if seconds is minutes is hours is days is None:
            raise TypeError("advance() by how much? Name seconds, minutes, hours or days, such as advance(hours=25)")
        return self._move(
            "POST",
            "/_mock/v1/clock/advance",
            {"seconds": whole_seconds(seconds or 0, minutes or 0, hours or 0, days or 0)},
        )

    def freeze(self, at: datetime | float | str | None = None) -> answers.ClockMoved:
        """Freeze the clock, now or at a later instant.

        Args:
            at: Epoch seconds, a `datetime` with a time zone, or such a time in ISO 8601. Only an account that has
                nothing yet may go back.

        Raises:
            ValueError: `at` is not an instant.
        """
        now = None if at is None else epoch_seconds(at)
        return self._move("PUT", "/_mock/v1/clock", _said(frozen=True, now=now))

    def release(self) -> answers.ClockMoved:
        """Let a frozen clock run on from where it stands."""
        return self._move("PUT", "/_mock/v1/clock", {"frozen": False})

    def _move(self, method: str, path: str, body: object) -> answers.ClockMoved:
        return cast("answers.ClockMoved", self.call(method, path, body, timeout=_SLOW))

    # webhooks

    @property
    def events(self) -> list[answers.Event]:
        """Every event so far, oldest first."""
        return cast("list[answers.Event]", self._data("GET", "/_mock/v1/events"))

    @property
    def deliveries(self) -> list[answers.Delivery]:
        """Every attempt to deliver so far, oldest first."""
        return cast("list[answers.Delivery]", self._data("GET", "/_mock/v1/deliveries"))

    @property
    def webhook_endpoints(self) -> list[answers.WebhookEndpoint]:
        """Where events are delivered."""
        return cast("list[answers.WebhookEndpoint]", self._data("GET", "/_mock/v1/webhook-endpoints"))

    def deliver_webhooks_to(
        self, url: str, *, secret: str | None = None, types: Sequence[answers.EventType] | None = None
    ) -> answers.WebhookEndpoint:
        """Deliver future events to `url`, too.

        Args:
            url: Where the code under test receives webhooks.
            secret: Signs them; None: they are not signed.
            types: Which events; None: both.
        """
        body = _said(url=url, secret=secret, types=None if types is None else list(types))
        return cast("answers.WebhookEndpoint", self.call("POST", "/_mock/v1/webhook-endpoints", body))

    def stop_delivering_to(self, endpoint_id: str) -> None:
        """Remove a webhook endpoint and its pending deliveries."""
        self.call("DELETE", f"/_mock/v1/webhook-endpoints/{_segment(endpoint_id)}")

    def flush(self) -> list[answers.Delivery]:
        """Attempt every delivery that is due now, wait for those under way, and return those attempts.

        What was sent before the call, such as at once after a payment, is in `deliveries` alone.
        """
        return cast("list[answers.Delivery]", self._data("POST", "/_mock/v1/deliveries/flush", timeout=_SLOW))

    def deliver_again(self, event_id: str) -> list[answers.Delivery]:
        """Send an event to every endpoint again; return the attempts."""
        path = f"/_mock/v1/events/{_segment(event_id)}/deliver"
        return cast("list[answers.Delivery]", self._data("POST", path, timeout=_SLOW))

    # faults

    @property
    def faults(self) -> list[answers.Fault]:
        """The fault rules, in the order in which they are asked."""
        return cast("list[answers.Fault]", self._data("GET", "/_mock/v1/faults"))

    def fault(
        self,
        action: FaultAction,
        *,
        operation: str | None = None,
        webhook: str | None = None,
        seconds: float | None = None,
        status: int | None = None,
        retry_after: int | None = None,
        times: int | None = None,
        probability: float | None = None,
    ) -> FaultRule:
        """Make calls or webhooks of this account fail, from now on or for the length of a `with` block.

        With neither `operation` nor `webhook` it is about every webhook where the action is one for webhooks alone
        (`duplicate`, `reorder`, `bad_signature`), else about every call.

        Args:
            action: What goes wrong. With a call: `delay`, `status`, `drop`, `truncate`, `lose_answer`; with a webhook:
                `drop`, `delay`, `duplicate`, `reorder`, `bad_signature`.
            operation: The operationId of a call of the API (`create_checkout_session` …), or `*`.
            webhook: The type of an event, or `*`.
            seconds: For `delay`: real seconds for a call, seconds of the account's clock for a webhook.
            status: For `status`: what is answered instead.
            retry_after: For `status`: the `Retry-After`, seconds.
            times: How often it applies; None: always.
            probability: The chance that it applies; None: always.
        """
        if operation is None and webhook is None:
            if action in {"duplicate", "reorder", "bad_signature"}:
                webhook = "*"
            else:
                operation = "*"
        what = _said(action=action, operation=operation, webhook=webhook, seconds=seconds, status=status)
        return self._make_rule({**what, **_said(retry_after=retry_after, times=times, probability=probability)})

    def _make_rule(self, body: Mapping[str, Any]) -> FaultRule:
        return FaultRule(self, self.call("POST", "/_mock/v1/faults", body))

    def clear_faults(self) -> None:
        """Remove all fault rules."""
        self.call("DELETE", "/_mock/v1/faults")

    # what the integration did, and the account as a whole

    @property
    def sessions(self) -> list[answers.CheckoutSession]:
        """Every checkout session, newest first. No API call: no fault applies, and the journal does not show it."""
        from qashier_mock.web.snapshots import shown_session  # noqa: PLC0415 - few tests ask, and it costs start-up time

        shown = [shown_session(each) for each in reversed(self.snapshot()["sessions"])]
        return cast("list[answers.CheckoutSession]", shown)

    @property
    def requests(self) -> list[answers.Request]:
        """The account's last 1,000 requests, oldest first."""
        return cast("list[answers.Request]", self._data("GET", "/_mock/v1/requests"))

    @property
    def advice(self) -> list[answers.Advice]:
        """What the integration does that will hurt in production, once per kind."""
        return cast("list[answers.Advice]", self._data("GET", "/_mock/v1/advice"))

    @property
    def settings(self) -> answers.Settings:
        """The account's settings."""
        return cast("answers.Settings", self.call("GET", "/_mock/v1/settings"))

    def configure(self, *, strict: bool | None = None, seed: int | None = None) -> answers.Settings:
        """Refuse what is otherwise only advised against; draw ids and chances from a seed. None leaves one as it is."""
        return cast("answers.Settings", self.call("PUT", "/_mock/v1/settings", _said(strict=strict, seed=seed)))

    def reset(self) -> answers.Clock:
        """Empty the account and set its clock to the machine's time."""
        return cast("answers.Clock", self.call("POST", "/_mock/v1/reset"))

    def snapshot(self) -> dict[str, Any]:
        """The whole account, without secrets."""
        return cast("dict[str, Any]", self.call("GET", "/_mock/v1/snapshot"))

    def restore(self, snapshot: Mapping[str, Any]) -> dict[str, Any]:
        """Replace all that this account has by a snapshot; return what was put in."""
        return cast("dict[str, Any]", self.call("PUT", "/_mock/v1/snapshot", dict(snapshot)))

    def health(self) -> answers.Health:
        """Check that the mock is there; return its version and store."""
        return cast("answers.Health", self.call("GET", "/_mock/v1/health"))

    def close(self) -> None:
        """Close the connections that are kept; a later call opens a new one."""
        self._connections.close()

    def _data(self, method: str, path: str, *, timeout: float | None = None) -> Any:
        return self.call(method, path, timeout=timeout)["data"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:  # without the key: reports and logs show this
        return f"<{type(self).__name__} on {self.base_url}>"


def whole_seconds(seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> int:
    """A length of time in seconds; ValueError where it is negative, or not a whole number of them."""
    total = timedelta(seconds=seconds, minutes=minutes, hours=hours, days=days).total_seconds()
    if total < 0 or total != int(total):
        raise ValueError(f"a clock moves forward by whole seconds, not by {total:g}")
    return int(total)


def epoch_seconds(instant: datetime | float | str) -> int:
    """An instant in whole epoch seconds; ValueError where it has no time zone, or is not a time."""
    if isinstance(instant, int | float):
        return int(instant)
    if isinstance(instant, str):
        try:
            instant = datetime.fromisoformat(instant)
        except ValueError:
            raise ValueError(f"{instant!r} is not a time in ISO 8601, like 2026-01-01T00:00:00Z") from None
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone, so it names no instant: add one, like Z for UTC")
    return int(instant.timestamp())


def _id_of(session: str | Mapping[str, Any]) -> str:
    """The id of a session, given itself or its id."""
    session_id = session.get("id") if isinstance(session, Mapping) else session
    if not isinstance(session_id, str):
        raise TypeError(f"give a session as the API answered with it, or its id, not {session!r:.200}")
    return session_id


def _check_fields(fields: Mapping[str, Any]) -> None:
    """Refuse a misspelt field. One that resembles no known field is sent, for the API's own word on it."""
    from difflib import get_close_matches  # noqa: PLC0415 - needed only where something may be wrong

    for name in fields.keys() - set(_CREATE_FIELDS):
        if near := get_close_matches(name, _CREATE_FIELDS, n=1, cutoff=0.8):
            raise TypeError(f"create_session() has no field {name}; did you mean {near[0]}?")


def _segment(text: str) -> str:
    return quote(text, safe="")


def _key_header(key: str | None) -> Mapping[str, str]:
    return {"Idempotency-Key": urandom(12).hex() if key is None else key}


def _said(**fields: object) -> dict[str, object]:
    """The fields of a body, without those that are None."""
    return {name: value for name, value in fields.items() if value is not None}
