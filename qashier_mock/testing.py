"""What the pytest fixtures hand out: a server for a test run, an account for a test, disorder among its webhooks.

Apart from `pytest_plugin.py` because these need more than a test run without them should pay for. They work without
pytest too, in `unittest` for example; there `QashierMockServer` is a context manager.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from json import loads
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from qashier_mock import answers
from qashier_mock.client import Connections, FaultRule, MockAccount, MockError
from qashier_mock.receiver import WebhookReceiver

if TYPE_CHECKING:
    from qashier_mock.app import Settings
    from qashier_mock.server import MockServer

T = TypeVar("T")

# pytest shows the line of a test that a call of ours failed in, not our own frames; --full-trace shows them all.
__tracebackhide__: Final = True

_LATE: Final = 600
"""Seconds that a late webhook is late."""

_SETTLED: Final = 660
"""Seconds after which all scripted disorder has happened; less than the shortest life of a session."""

_ENTRY_WIDTH: Final = 300
"""Characters of a body that a report shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QashierMockConfig:
    """How a test run's mock is to be; override the fixture `qashier_mock_config` to return another one.

    Attributes:
        url: A running mock to use; None: one is started.
        port: Where a started one listens; 0 picks a free port. Under xdist the number of the worker is added.
        seed: What its ids are drawn from, so that a test gets the same ids in every run; None: drawn at random.
        strict: Whether advice about a request itself is a 4xx.
        policy: A TOML file with the open choices, for a started one.
        webhook_bind: The address on which the tests' receivers listen.
        webhook_host: What the mock calls this machine when it delivers there; None: `webhook_bind`.
        report: How many entries of each kind a failing test's report shows; 0: no report.
    """

    url: str | None = None
    port: int = 0
    seed: int | None = None
    strict: bool = False
    policy: Path | None = None
    webhook_bind: str = "127.0.0.1"
    webhook_host: str | None = None
    report: int = 20


class QashierMock(MockAccount):
    """The account of one test: the control API as methods, and a receiver of webhooks.

    Everything of `MockAccount` is here too. What waits for deliveries has a twin to await, named with an `a`: use that
    in an async test whose webhooks are received by its own event loop.
    """

    def __init__(
        self,
        connections: Connections,
        api_key: str,
        config: QashierMockConfig,
        on_close: Callable[[QashierMock], None],
    ) -> None:
        """Name an account; nothing is sent yet."""
        super().__init__(connections.base_url, api_key, connections=connections)
        self._config = config
        self._on_close = on_close
        self._lock = RLock()
        self._receiver: WebhookReceiver | None = None
        self._is_receiver_asked_for = False
        self._endpoints: list[str] = []
        self._secrets = {api_key}
        self._kept_report: dict[str, str] | None = None

    @staticmethod
    def sign(body: bytes | str, secret: str) -> str:
        """The signature of a webhook's body (a `str` as UTF-8), for unit tests of a handler (EVT-7)."""
        from qashier_mock.webhooks import sign  # noqa: PLC0415 - needs more than most tests do

        return sign(body.encode() if isinstance(body, str) else body, secret)

    # webhooks

    @property
    def webhooks(self) -> WebhookReceiver:
        """A receiver that is registered for the account's events; those of the time before are in it too.

        It is registered when it is first asked for, or when webhooks are disturbed or sent again while nothing else
        receives them: a test that needs none pays for none, and it bends neither the advice nor the fault rules.
        """
        with self._lock:
            self._is_receiver_asked_for = True
            return self._receiving()

    def deliver_webhooks_to(
        self, url: str, *, secret: str | None = None, types: Sequence[answers.EventType] | None = None
    ) -> answers.WebhookEndpoint:
        """Deliver the events that arise from now on to `url`, until the test ends.

        Args:
            url: Where the code under test receives webhooks.
            secret: Signs them; None: they are not signed.
            types: Which events; None: both.
        """
        with self._lock:
            if self._receiver is not None and not self._is_receiver_asked_for:
                self._end_receiver()
            endpoint = super().deliver_webhooks_to(url, secret=secret, types=types)
            self._endpoints.append(endpoint["id"])
            if secret is not None:
                self._secrets.add(secret)
            return endpoint

    def deliver_again(self, event_id: str) -> list[answers.Delivery]:
        """Send an event to every endpoint once more, to the receiver where there is no other: the attempts."""
        self._let_somebody_receive()
        return super().deliver_again(event_id)

    def _make_rule(self, body: Mapping[str, Any]) -> FaultRule:
        rule = super()._make_rule(body)
        if rule.is_about_webhooks:
            self._let_somebody_receive()
        return rule

    def _let_somebody_receive(self) -> None:
        """Register the receiver where nothing else is: what happens next is about deliveries, and must not pass it."""
        with self._lock:
            if not self._endpoints:
                self._receiving()

    def _receiving(self) -> WebhookReceiver:
        if self._receiver is None:
            receiver = WebhookReceiver(bind=self._config.webhook_bind, host=self._config.webhook_host).start()
            try:
                endpoint = super().deliver_webhooks_to(receiver.url, secret=receiver.secret)
                receiver.include(self._events_before(endpoint["id"]))
            except BaseException:
                receiver.close()
                raise
            self._endpoints.append(endpoint["id"])
            self._secrets.add(receiver.secret)
            self._receiver = receiver
        return self._receiver

    def _end_receiver(self) -> None:
        if self._receiver is not None:
            self.stop_delivering_to(self._endpoints.pop(0))
            self._receiver.close()
            self._receiver = None

    def _events_before(self, endpoint_id: str) -> list[answers.Event]:
        """The events that were never meant for an endpoint, since they arose before it was there."""
        whole = self.snapshot()  # one moment, so that nothing can arise between its parts
        on_their_way = (*whole["deliveries"], *whole["attempts"])
        told = {each["event"] for each in on_their_way if each["endpoint"] == endpoint_id}
        missed = {each["id"] for each in whole["events"]} - told
        return [each for each in self.events if each["id"] in missed] if missed else []

    # twins to await

    async def aadvance(
        self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> answers.ClockMoved:
        """`advance`, while the test's event loop goes on."""
        return await _in_a_thread(partial(self.advance, seconds=seconds, minutes=minutes, hours=hours, days=days))

    async def afreeze(self, at: datetime | float | str | None = None) -> answers.ClockMoved:
        """`freeze`, while the test's event loop goes on."""
        return await _in_a_thread(partial(self.freeze, at))

    async def arelease(self) -> answers.ClockMoved:
        """`release`, while the test's event loop goes on."""
        return await _in_a_thread(self.release)

    async def aflush(self) -> list[answers.Delivery]:
        """`flush`, while the test's event loop goes on."""
        return await _in_a_thread(self.flush)

    async def adeliver_again(self, event_id: str) -> list[answers.Delivery]:
        """`deliver_again`, while the test's event loop goes on."""
        return await _in_a_thread(partial(self.deliver_again, event_id))

    # the account as a whole

    def reset(self) -> answers.Clock:
        """Begin anew; a receiver that was asked for stays registered."""
        with self._lock:
            clock = super().reset()
            self._endpoints.clear()
            if self._receiver is not None:
                endpoint = super().deliver_webhooks_to(self._receiver.url, secret=self._receiver.secret)
                self._endpoints.append(endpoint["id"])
            return clock

    def close(self) -> None:
        """End the receiver, and whatever the mock would still deliver for this account."""
        with self._lock:
            # What is retried later would reach whoever listens on the same port by then.
            for endpoint_id in self._endpoints:
                with suppress(MockError):
                    self.stop_delivering_to(endpoint_id)
            self._endpoints.clear()
            if self._receiver is not None:
                self._receiver.close()
        self._on_close(self)

    def report(self, entries: int | None = None) -> dict[str, str]:
        """What happened, for a person to read: title and text of each section, without secrets.

        Args:
            entries: How many of the last entries of each kind; None: as configured.
        """
        limit = self._config.report if entries is None else entries
        if limit <= 0:
            return {}
        if self._kept_report is not None:
            return self._kept_report
        texts = {
            "requests": _told("requests", self.requests, limit, _request_line),
            "events": _told("events", self.events, limit, _event_line),
            "deliveries": _told("delivery attempts", self.deliveries, limit, _delivery_line),
            "advice": _told("pieces of advice", self.advice, limit, _advice_line),
        }
        texts = {title: text for title, text in texts.items() if text}
        if "requests" not in texts:
            texts["requests"] = "none: nothing has used this account's base_url and api_key"
        return {title: self._without_secrets(text) for title, text in texts.items()}

    def keep_report(self) -> None:
        """Make the report now, since the server is about to end."""
        with suppress(MockError):
            self._kept_report = self.report()

    def _without_secrets(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


class QashierMockServer:
    """A mock for a test run: one that it starts, or one that runs already.

    Attributes:
        base_url: Where it is, without a trailing slash.
    """

    def __init__(self, config: QashierMockConfig | None = None) -> None:
        """Prepare; nothing is started yet."""
        self.config = config or QashierMockConfig()
        self.base_url = ""
        self._server: MockServer | None = None
        self._connections: Connections | None = None
        self._names: dict[str, int] = {}
        self._accounts: set[QashierMock] = set()

    @property
    def url(self) -> str:
        """`base_url`, under the name that `MockServer` has for it."""
        return self.base_url

    def start(self) -> Self:
        """Start the mock, or look whether the one that is to be used is there.

        Raises:
            MockUnreachable: Nothing answers at the configured URL.
            MockRefused: Something else than a mock does.
            AddressUnavailable: The configured port cannot be bound.
        """
        if self.config.url is None:
            from qashier_mock.server import MockServer  # noqa: PLC0415 - the web stack: whoever needs it pays for it

            self._server = MockServer(self._settings(), port=self.config.port).start()
            self.base_url = self._server.url
            self._connections = Connections(self.base_url)
        else:
            self._connections = Connections(self.config.url)
            self.base_url = self._connections.base_url
            self._connections.send("GET", "/_mock/v1/health", headers={})
        return self

    def stop(self) -> None:
        """End what was started, with the accounts that are not closed; harmless when it has ended already."""
        for account in tuple(self._accounts):
            account.close()
        if self._connections is not None:
            self._connections.close()
            self._connections = None
        if self._server is not None:
            self._server.stop()
            self._server = None

    def account(self, name: str = "") -> QashierMock:
        """A fresh account.

        Args:
            name: On a mock that was started here the key follows from it, and with a seed so do the ids of everything
                in the account. On one that runs already every key is drawn at random: others use it too.
        """
        if self._connections is None:
            raise RuntimeError("the server is not started: use it as a context manager, or call start()")
        account = QashierMock(self._connections, self._fresh_key(name), self.config, self._accounts.discard)
        self._accounts.add(account)
        if self.config.strict and self._server is None:
            account.configure(strict=True)
        return account

    def _fresh_key(self, name: str) -> str:
        if self._server is None:
            return f"sk_test_{os.urandom(16).hex()}"
        used = self._names[name] = self._names.get(name, 0) + 1
        return f"sk_test_{blake2b(f'{used}/{name}'.encode(), digest_size=16).hexdigest()}"

    def _settings(self) -> Settings:
        import tomllib  # noqa: PLC0415

        from qashier_mock.app import Settings  # noqa: PLC0415
        from qashier_mock.core.policy import Policy  # noqa: PLC0415

        file = self.config.policy
        policy = Policy() if file is None else Policy.parse(tomllib.loads(file.read_text("utf-8")))
        return Settings(seed=self.config.seed, strict=self.config.strict, policy=policy)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.base_url or 'no address'}>"


# Disorder: what real networks and providers do to webhooks

_RULES: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "in_order": (),
    "duplicated": ({"action": "duplicate"},),
    "late": ({"action": "delay", "seconds": _LATE},),
    "swapped": ({"action": "reorder", "times": 1},),
    "lost": ({"action": "drop"},),
    "forged": ({"action": "bad_signature"},),
    "replayed": (),
    "mixed": (
        {"action": "duplicate", "times": 1},
        {"action": "drop", "times": 1},
        {"action": "delay", "seconds": _LATE, "times": 1},
        {"action": "reorder", "times": 1},
    ),
}


class WebhookDisorder:
    """One way in which webhooks come that is not the way one hopes for; the rules are in force already.

    Attributes:
        name: `in_order`; `duplicated`: each comes twice; `late`: each comes ten minutes late; `swapped`: the second
            overtakes the first; `lost`: none comes; `forged`: each is signed with another key; `replayed`: each comes
            again in the end; `mixed`: the first comes twice, the second is lost, the third is late, the fifth overtakes
            the fourth.
        loses: Whether webhooks may fail to come, or come in a form that must be refused, so that an integration has to
            look for itself (reconcile).
    """

    def __init__(self, account: MockAccount, name: str) -> None:
        """Disturb the webhooks of an account.

        Raises:
            ValueError: There is no such disorder.
        """
        if name not in _RULES:
            raise ValueError(f"there is no disorder of webhooks {name!r}; there are {', '.join(_RULES)}")
        self._account = account
        self.name = name
        self.loses = name in {"lost", "forged", "mixed"}
        for rule in _RULES[name]:
            account.fault(webhook="*", **rule)

    def settle(self) -> None:
        """Let the disorder happen to its end: eleven minutes pass, and what is replayed is sent again."""
        self._account.advance(seconds=_SETTLED)
        if self.name == "replayed":
            for event in self._account.events:
                self._account.deliver_again(event["id"])

    async def asettle(self) -> None:
        """`settle`, while the test's event loop goes on."""
        await _in_a_thread(self.settle)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


async def _in_a_thread(work: Callable[[], T]) -> T:
    from anyio.to_thread import run_sync  # noqa: PLC0415 - whoever awaits has an event loop already

    return await run_sync(work, abandon_on_cancel=True)


# The report of a failing test


def _told(what: str, entries: Sequence[T], limit: int, line: Callable[[T], str]) -> str:
    lines = [line(entry) for entry in entries[-limit:]]
    if len(entries) > limit:
        lines.insert(0, f"the last {limit} of {len(entries)} {what}:")
    return "\n".join(lines)


def _request_line(entry: answers.Request) -> str:
    status = "no answer" if entry["status"] is None else str(entry["status"])
    key = "" if entry["idempotency_key"] is None else f"  Idempotency-Key {entry['idempotency_key']}"
    text = f"{status} {entry['method']} {entry['path']}  {entry['duration_ms']:g} ms{key}  {entry['request_id']}"
    if entry["status"] is None or entry["status"] >= 400:  # noqa: PLR2004 - the client's and the server's errors
        if entry["request_body"]:
            text += f"\n    sent: {_cut(entry['request_body'])}"
        if entry["response_body"]:
            text += f"\n    {_reason(entry['response_body'])}"
    return text


def _reason(body: str) -> str:
    """The message of an error envelope; what is none is shown as it is."""
    try:
        error = loads(body)["error"]
        return f"{error['code']}: {error['message']}"
    except (ValueError, TypeError, LookupError):
        return f"answered: {_cut(body)}"


def _event_line(event: answers.Event) -> str:
    session = event["data"]["object"]
    return f"{_at(event['created'])} {event['type']} {session['id']}  {session['payment_status']}  {event['id']}"


def _delivery_line(attempt: answers.Delivery) -> str:
    what = attempt["outcome"] if attempt["status"] is None else f"{attempt['outcome']} ({attempt['status']})"
    # A query may well hold a token.
    text = f"{_at(attempt['at'])} {what}, attempt {attempt['number']}: {attempt['type']} {attempt['session']}"
    text += f" to {attempt['url'].partition('?')[0]}  {attempt['duration_ms']:g} ms"
    if attempt["error"]:
        text += f"\n    {_cut(attempt['error'])}"
    if attempt["next_try"] is not None:
        text += f"\n    next try {_at(attempt['next_try'])}"
    return text


def _advice_line(advice: answers.Advice) -> str:
    often = f", {advice['count']} times" if advice["count"] > 1 else ""
    first = f" (first: {advice['request_id']})" if advice["request_id"] else ""
    return f"{advice['kind']}{often}: {advice['message']}{first}"


def _at(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _ENTRY_WIDTH else text[:_ENTRY_WIDTH] + " …"
