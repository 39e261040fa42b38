"""`qashier-mock listen`: see each webhook as it comes, and hand it on to an application."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Event, Lock
from typing import Final

from qashier_mock.cli import DONE, CommandError
from qashier_mock.cli.control import URL
from qashier_mock.cli.keys import DEFAULT_KEY, KEY_FILE, VARIABLE, account_key
from qashier_mock.cli.options import Option, parse
from qashier_mock.cli.values import host, http_url
from qashier_mock.client import MockAccount
from qashier_mock.connections import MockError, MockUnreachable
from qashier_mock.core.credentials import hint_of
from qashier_mock.receiver import ReceivedWebhook, WebhookReceiver

_PATIENCE_S: Final = 9.5
"""Seconds that the application has to answer; the mock itself waits for ten (EVT-6)."""
_UNREACHABLE: Final = 502
_HOP_BY_HOP: Final = frozenset({"connection", "content-length", "host", "transfer-encoding"})

OPTIONS: Final = (
    URL,
    KEY_FILE,
    Option(
        name="forward-to",
        metavar="URL",
        parse=http_url,
        help="your application; gets each webhook with its raw body and headers, and its answer is given to the mock",
    ),
    Option(
        name="bind", metavar="HOST", default="127.0.0.1", parse=host, help="the address of this machine to receive on"
    ),
    Option(name="host", metavar="HOST", parse=host, help="what the mock calls this machine, where that is not --bind"),
)


def run(_name: str, arguments: Sequence[str]) -> int:
    """Listen until SIGINT or SIGTERM; the endpoint goes when it ends."""
    description = (
        "Register a webhook endpoint at a running mock and print each event, until Ctrl-C. "
        f"The account is that of {VARIABLE}, by default {DEFAULT_KEY}. "
        "Webhooks are signed with QASHIER_WEBHOOK_SECRET, where that is set."
    )
    options = parse("listen", description, OPTIONS, arguments)
    key = account_key(options.api_key_file)
    secret = os.environ.get("QASHIER_WEBHOOK_SECRET") or "whsec_listen"
    told = Listener(secret, options.forward_to)
    end = Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: end.set())
    receiver = WebhookReceiver(bind=options.bind, host=options.host, secret=secret, answer_with=told.take)
    try:
        with receiver, MockAccount(options.url, key) as account:
            endpoint = account.deliver_webhooks_to(receiver.url, secret=secret)
            try:
                print(f"listening for webhooks of {hint_of(key)} on {receiver.url}", file=sys.stderr)  # noqa: T201
                while not end.wait(0.5):
                    pass  # a wait without an end would keep Ctrl-C out on Windows
            finally:
                account.stop_delivering_to(endpoint["id"])
    except OSError as error:
        raise CommandError(f"cannot receive on {options.bind}: {error.strerror or error}. Check --bind.") from None
    except MockUnreachable as error:
        raise CommandError(f"{error}. Is a mock running there? Start one with qashier-mock serve.") from None
    except MockError as error:
        raise CommandError(str(error)) from None
    return DONE


class Listener:
    """Prints each webhook, and hands it on."""

    def __init__(self, secret: str, forward_to: str | None) -> None:
        """Check signatures with `secret`, and hand on to `forward_to`; None: answer 200."""
        self._secret = secret
        self._forward_to = forward_to
        self._lock = Lock()

    def take(self, webhook: ReceivedWebhook) -> int:
        """Print a webhook and hand it on: the status to answer with."""
        status, came_of_it = (200, "answered 200") if self._forward_to is None else self._forward(webhook)
        session = webhook.event.get("data", {}).get("object", {})
        signature = "signature ok" if webhook.is_signed_with(self._secret) else "SIGNATURE WRONG"
        now = datetime.now(UTC).strftime("%H:%M:%S")  # noqa: TID251 - the wall clock of who reads it
        with self._lock:
            print(  # noqa: T201 - a command prints
                f"{now} {webhook.event.get('type')} {session.get('id')} {session.get('payment_status')}, "
                f"{webhook.event.get('id')}, {signature}, {came_of_it}",
                flush=True,
            )
        return status

    def _forward(self, webhook: ReceivedWebhook) -> tuple[int, str]:
        from time import perf_counter  # noqa: PLC0415 - with --forward-to alone

        import httpx  # noqa: PLC0415

        headers = {name: value for name, value in webhook.headers.items() if name not in _HOP_BY_HOP}
        began = perf_counter()
        try:
            # A redirect is an answer: no webhook follows one.
            answer = httpx.post(str(self._forward_to), content=webhook.body, headers=headers, timeout=_PATIENCE_S)
        except httpx.HTTPError as error:
            return _UNREACHABLE, f"{self._forward_to} did not answer: {error}"
        status = answer.status_code
        return status, f"{self._forward_to} answered {status} in {(perf_counter() - began) * 1000:.0f} ms"
