"""The account of one test: the control API as methods, and a receiver of webhooks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any, Final, Literal, TypeVar

from qashier_mock import answers
from qashier_mock.client import FaultRule, MockAccount
from qashier_mock.connections import Connections, MockError
from qashier_mock.core.credentials import account_of
from qashier_mock.receiver import WebhookReceiver
from qashier_mock.testing.report import sections

# pytest shows the line of a test that a call of ours failed in, not our own frames; --full-trace shows them all.
__tracebackhide__: Final = True

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class QashierMockConfig:
    """The configuration of a test run's mock. Override the fixture `qashier_mock_config` to return another one.

    Attributes:
        url: A running mock to use; None: one is started.
        port: Where a started one listens; 0 picks a free port. Under xdist the number of the worker is added.
        seed: What ids are drawn from, so that a test gets the same ids in every run; None: random.
        strict: Whether advice about a request itself is a 4xx.
        policy: A policy file (TOML), for a started one.
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

    It has all that `MockAccount` has. Each method that waits for deliveries has an async twin, named with an `a`. Use
    the twin in an async test whose own event loop receives the webhooks.
    """

    def __init__(
        self, connections: Connections, api_key: str, config: QashierMockConfig, on_close: Callable[[QashierMock], None]
    ) -> None:
        """Name an account; nothing is sent yet."""
        super().__init__(connections.base_url, api_key, connections=connections)
        self._config = config
        self._on_close = on_close
        self._lock = RLock()
        self._receiver: WebhookReceiver | None = None
        self._is_receiver_asked_for = False
        self._endpoints: dict[str, bool] = {}  # which of them neither our receiver nor a bridge answers
        self._bridges: list[WebhookReceiver] = []
        self._secrets = {api_key}
        self._kept_report: dict[str, str] | None = None

    @staticmethod
    def sign(body: bytes | str, secret: str, *, encoding: Literal["base64", "hex"] = "base64") -> str:
        """The signature of a webhook's body (a `str` as UTF-8), for unit tests of a handler (EVT-7)."""
        from qashier_mock.core.signing import sign  # noqa: PLC0415 - needs more than most tests do

        return sign(body.encode() if isinstance(body, str) else body, secret, encoding=encoding)

    # webhooks

    @property
    def webhooks(self) -> WebhookReceiver:
        """A receiver of the account's events, earlier ones included.

        It is registered when it is first asked for, or when webhooks are disturbed or sent again while nothing else
        receives them. So a test without webhooks does not pay for one, and its advice and fault rules are not affected.
        """
        with self._lock:
            self._is_receiver_asked_for = True
            return self._receiving()

    def deliver_webhooks_to(
        self,
        url: str | Callable[..., Any],
        *,
        path: str = "/webhooks",
        secret: str | None = None,
        types: Sequence[answers.EventType] | None = None,
    ) -> answers.WebhookEndpoint:
        """Deliver the events that arise from now on to the code under test, until the test ends.

        Args:
            url: Where it receives webhooks; or an ASGI or WSGI application, which is called in this process.
            path: Where an application takes webhooks.
            secret: Signs them; None: they are not signed.
            types: Which events; None: both.

        Raises:
            TypeError: `url` is neither.
        """
        with self._lock:
            if self._receiver is not None and not self._is_receiver_asked_for:
                self._end_receiver()
            if not isinstance(url, str):
                url = self._bridge_to(url, path)
            endpoint = super().deliver_webhooks_to(url, secret=secret, types=types)
            self._endpoints[endpoint["id"]] = not self._bridges or url != self._bridges[-1].url
            if secret is not None:
                self._secrets.add(secret)
            return endpoint

    def _bridge_to(self, app: Callable[..., Any], path: str) -> str:
        """The URL of a receiver that calls an application with each webhook."""
        from qashier_mock.testing.in_process import caller_of  # noqa: PLC0415 - few tests have no server

        bind, host = self._config.webhook_bind, self._config.webhook_host
        receiver = WebhookReceiver(bind=bind, host=host, answer_with=caller_of(app, path))
        self._bridges.append(receiver.start())
        return receiver.url

    def flush(self) -> list[answers.Delivery]:
        """Attempt every delivery that is due now, wait for those under way, and return those attempts.

        What was sent before the call, such as at once after a payment, is in `deliveries` alone.

        Raises:
            RuntimeError: It is called in a task of an event loop, which may be the one that has to answer the webhooks.
        """
        self._refuse_to_block()
        return super().flush()

    def _move(self, method: str, path: str, body: object) -> answers.ClockMoved:
        self._refuse_to_block()
        return super()._move(method, path, body)

    def _refuse_to_block(self) -> None:
        """Refuse to wait for deliveries in a task of the event loop that may have to answer them."""
        if not any(self._endpoints.values()) or not _runs_in_a_task():
            return
        raise RuntimeError(
            "this waits for webhooks, and blocks the event loop that may have to answer them: await its twin instead "
            "(aflush, aadvance, afreeze, arelease, adeliver_again)"
        )

    def deliver_again(self, event_id: str) -> list[answers.Delivery]:
        """Send an event to every endpoint again, or to the receiver if there is no other; return the attempts."""
        self._refuse_to_block()
        self._let_somebody_receive()
        return super().deliver_again(event_id)

    def _make_rule(self, body: Mapping[str, Any]) -> FaultRule:
        rule = super()._make_rule(body)
        if rule.is_about_webhooks:
            self._let_somebody_receive()
        return rule

    def _let_somebody_receive(self) -> None:
        """Register the receiver if there is no other endpoint, so that the deliveries that follow reach one."""
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
            self._endpoints[endpoint["id"]] = False
            self._secrets.add(receiver.secret)
            self._receiver = receiver
        return self._receiver

    def _end_receiver(self) -> None:
        if self._receiver is not None:
            endpoint_id, _ = self._endpoints.popitem()  # there is no other yet
            self.stop_delivering_to(endpoint_id)
            self._receiver.close()
            self._receiver = None

    def _events_before(self, endpoint_id: str) -> list[answers.Event]:
        """The events that arose before an endpoint was registered."""
        whole = self.snapshot()  # one moment, so that nothing can arise between its parts
        on_their_way = (*whole["deliveries"], *whole["attempts"])
        told = {each["event"] for each in on_their_way if each["endpoint"] == endpoint_id}
        missed = {each["id"] for each in whole["events"]} - told
        return [each for each in self.events if each["id"] in missed] if missed else []

    # twins to await

    async def aadvance(
        self,
        *,
        seconds: float | None = None,
        minutes: float | None = None,
        hours: float | None = None,
        days: float | None = None,
    ) -> answers.ClockMoved:
        """`advance`, while the test's event loop goes on."""
        return await in_a_thread(partial(self.advance, seconds=seconds, minutes=minutes, hours=hours, days=days))

    async def afreeze(self, at: datetime | float | str | None = None) -> answers.ClockMoved:
        """`freeze`, while the test's event loop goes on."""
        return await in_a_thread(partial(self.freeze, at))

    async def arelease(self) -> answers.ClockMoved:
        """`release`, while the test's event loop goes on."""
        return await in_a_thread(self.release)

    async def aflush(self) -> list[answers.Delivery]:
        """`flush`, while the test's event loop goes on."""
        return await in_a_thread(self.flush)

    async def adeliver_again(self, event_id: str) -> list[answers.Delivery]:
        """`deliver_again`, while the test's event loop goes on."""
        return await in_a_thread(partial(self.deliver_again, event_id))

    # the account as a whole

    def reset(self) -> answers.Clock:
        """Reset the account. A receiver that was asked for stays registered."""
        with self._lock:
            clock = super().reset()
            self._endpoints.clear()
            if self._receiver is not None:
                endpoint = super().deliver_webhooks_to(self._receiver.url, secret=self._receiver.secret)
                self._endpoints[endpoint["id"]] = False
            return clock

    def close(self) -> None:
        """Close the receiver, and stop all deliveries of this account."""
        with self._lock:
            # A later retry would reach whoever listens on the same port by then.
            for endpoint_id in self._endpoints:
                with suppress(MockError):
                    self.stop_delivering_to(endpoint_id)
            self._endpoints.clear()
            for receiver in (self._receiver, *self._bridges):
                if receiver is not None:
                    receiver.close()
        self._on_close(self)

    @property
    def inspector_url(self) -> str:
        """Where the inspector shows this account, while its server runs."""
        return f"{self.base_url}/_mock/accounts/{account_of(self.api_key)}"

    def report(self, entries: int | None = None) -> dict[str, str]:
        """What happened, as text for people: title and text of each section, without secrets.

        It has the last `entries` of each kind; None: as many as configured.
        """
        limit = self._config.report if entries is None else entries
        if limit <= 0:
            return {}
        if self._kept_report is not None:
            return self._kept_report
        texts = sections(
            requests=self.requests, events=self.events, deliveries=self.deliveries, advice=self.advice, limit=limit
        )
        return {title: self._without_secrets(text) for title, text in texts.items()}

    def keep_report(self) -> None:
        """Make the report now, since the server is about to end."""
        with suppress(MockError):
            self._kept_report = self.report()

    def _without_secrets(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


async def in_a_thread(work: Callable[[], T]) -> T:
    """Do `work`, which waits for the mock, in a thread, while the caller's event loop goes on."""
    from anyio.to_thread import run_sync  # noqa: PLC0415 - whoever awaits has an event loop already

    return await run_sync(work, abandon_on_cancel=True)


def _runs_in_a_task() -> bool:
    """Whether this runs in a task of asyncio or of trio.

    A loop that runs no task is somebody else's: the synchronous API of Playwright runs one beneath each test.
    """
    trio = sys.modules.get("trio")
    for look in (asyncio.current_task, *([] if trio is None else [trio.lowlevel.current_task])):
        try:
            if look() is not None:
                return True
        except RuntimeError:  # no loop runs
            continue
    return False
