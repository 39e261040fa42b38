"""A receiver of webhooks for tests: a small web server in threads of its own, on the standard library.

    with WebhookReceiver() as webhooks:
        account.deliver_webhooks_to(webhooks.url, secret=webhooks.secret)
        account.pay(session["id"])
        event = webhooks.wait_for("checkout.session.completed")

It answers 200 to everything, unless told to fail, to hang or to hang up. A waiting caller is woken by what arrives;
nothing here sleeps or polls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from threading import Condition, Thread
from typing import Any, Final, Literal, Self, TypeAlias, get_args

from qashier_mock import answers
from qashier_mock.address import bracketed, reachable
from qashier_mock.unpatched import refuse_green_threads
from qashier_mock.webhook_server import ReceivedWebhook, WebhookServer

__all__ = ["ReceivedWebhook", "WebhookReceiver", "WebhookTimeout"]

# pytest shows the line of a test that a wait of ours failed in, not our own frames; --full-trace shows them all.
__tracebackhide__: Final = True


class WebhookTimeout(TimeoutError):
    """The expected webhook did not arrive; the message lists what did."""


_Answer: TypeAlias = int | Literal["hang"] | None
"""How to answer a delivery: with a status, with 200 once it is released, or by closing the connection."""


@dataclass(eq=False, slots=True)
class _Arrival:
    event: answers.Event
    webhook: ReceivedWebhook | None
    is_claimed: bool = False


@dataclass(eq=False, slots=True)
class _Wait:
    """One waiting caller: for which type and session, what it has got, and whether it has given up."""

    event_type: str | None
    session_id: str | None
    found: _Arrival | None = None
    is_given_up: bool = False

    def __post_init__(self) -> None:
        types = get_args(answers.EventType)
        if self.event_type is not None and self.event_type not in types:
            near = get_close_matches(self.event_type, types, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the types are {' and '.join(types)}"
            raise ValueError(f"no webhook has the type {self.event_type!r}; {hint}")

    def wants(self, event: answers.Event) -> bool:
        """Whether the caller waits for that."""
        return self.event_type in {None, event.get("type")} and self.session_id in {None, _session_of(event)}

    def __str__(self) -> str:
        what = self.event_type or "webhook"
        return what if self.session_id is None else f"{what} of {self.session_id}"


class WebhookReceiver:
    """Receives webhooks on a free port, until it is closed.

    Attributes:
        url: Where it receives.
        secret: What to have its webhooks signed with; it takes others and unsigned ones too.
    """

    def __init__(
        self,
        *,
        bind: str = "127.0.0.1",
        host: str | None = None,
        secret: str = "whsec_receiver",  # noqa: S107 - it protects nothing
        answer_with: Callable[[ReceivedWebhook], int] | None = None,
    ) -> None:
        """Prepare a receiver; nothing is bound yet.

        Args:
            bind: The address of this machine to listen on.
            host: What the mock calls this machine, where that differs, as for a mock in a container.
            secret: What its webhooks are to be signed with.
            answer_with: Gives the status to answer a webhook with, in the thread of its connection; None: what
                `answer`, `hang_up` and `hang` say.
        """
        self._answer_with = answer_with
        self.secret = secret
        self.url = ""
        self._bind, self._host = bind, host or reachable(bind)
        self._arrivals: list[_Arrival] = []
        self._changed = Condition()
        self._script: deque[_Answer] = deque()
        self._usual: _Answer = 200
        self._releases = 0
        self._is_closed = False
        self._server: WebhookServer | None = None
        self._thread: Thread | None = None

    def start(self) -> Self:
        """Listen, and receive from now on.

        Raises:
            RuntimeError: gevent or eventlet has patched threading.
        """
        refuse_green_threads("a receiver of webhooks")
        self._server = WebhookServer(self._bind, self._take_in)
        self.url = f"http://{bracketed(self._host)}:{self._server.server_port}/webhooks"
        self._thread = Thread(target=self._server.run, name="qashier-mock-receiver", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Free the port, and end all that waits or hangs. What was received stays readable."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._server is not None and self._thread is not None:
            self._server.stop_accepting()
            self._thread.join()
            self._server.end_connections()
            self._server.server_close()
            self._server = self._thread = None

    # what came

    @property
    def received(self) -> list[answers.Event]:
        """Every event as delivered, in order of arrival. An event that came twice is in it twice."""
        with self._changed:
            return [arrival.event for arrival in self._arrivals]

    @property
    def deliveries(self) -> list[ReceivedWebhook]:
        """Every request with its body and headers, in order of arrival."""
        with self._changed:
            return [arrival.webhook for arrival in self._arrivals if arrival.webhook is not None]

    def wait_for(
        self, event_type: answers.EventType | None = None, *, session: str | None = None, timeout: float = 5.0
    ) -> answers.Event:
        """Wait for a webhook, which may have come already. Each is returned once: asking again waits for the next.

        Args:
            event_type: Which type; None: any.
            session: The id of the session that it must be about; None: any.
            timeout: Real seconds to wait at most.

        Raises:
            WebhookTimeout: It did not arrive in time.
            ValueError: There is no such type.
        """
        return self._wait(_Wait(event_type, session), timeout)

    async def await_for(
        self,
        event_type: answers.EventType | None = None,
        *,
        session: str | None = None,
        timeout: float = 5.0,  # noqa: ASYNC109 - as in wait_for
    ) -> answers.Event:
        """`wait_for` for a test whose event loop has to go on meanwhile, under asyncio and Trio alike."""
        from anyio.to_thread import run_sync  # noqa: PLC0415 - whoever awaits has an event loop already

        wait = _Wait(event_type, session)
        try:
            return await run_sync(self._wait, wait, timeout, abandon_on_cancel=True)
        finally:
            with self._changed:
                wait.is_given_up = True
                self._changed.notify_all()

    def include(self, events: Sequence[answers.Event]) -> None:
        """Put the events that arose before the receiver was registered in front of all others."""
        with self._changed:
            self._arrivals[:0] = [_Arrival(event, None) for event in events]
            self._changed.notify_all()

    # how it answers

    def answer(self, status: int = 200, *, times: int | None = None) -> None:
        """Answer with a status from now on, or just so many times.

        Args:
            status: 200 to 599; anything but 2xx makes the mock try again.
            times: How often, before it answers as before; None: for good, in the place of everything that was scripted.
        """
        if not 200 <= status <= 599:  # noqa: PLR2004 - those that end an exchange
            raise ValueError(f"a webhook is answered with a status from 200 to 599, not with {status}")
        self._answer_so(status, times)

    def hang_up(self, *, times: int | None = None) -> None:
        """Close the connection without an answer, from now on or just so many times."""
        self._answer_so(None, times)

    def hang(self, *, times: int | None = None) -> None:
        """Give no answer before `release()`, from now on or just so many times; the mock waits for 10 real seconds."""
        self._answer_so("hang", times)

    def release(self) -> None:
        """Answer what hangs with 200, and stop hanging."""
        with self._changed:
            self._releases += 1
            self._script = deque(each for each in self._script if each != "hang")
            if self._usual == "hang":
                self._usual = 200
            self._changed.notify_all()

    def _answer_so(self, answer: _Answer, times: int | None) -> None:
        with self._changed:
            if times is None:
                self._script.clear()
                self._usual = answer
            else:
                self._script.extend([answer] * times)

    # internals

    def _take_in(self, webhook: ReceivedWebhook) -> int | None:
        """Note a delivery, wake whoever waits for it, and return the status to answer with."""
        status = None if self._answer_with is None else self._answer_with(webhook)
        with self._changed:
            self._arrivals.append(_Arrival(webhook.event, webhook))
            self._changed.notify_all()
            if self._answer_with is not None:
                return status
            answer = self._script.popleft() if self._script else self._usual
            if answer != "hang":
                return answer
            releases = self._releases
            self._changed.wait_for(lambda: self._is_closed or self._releases > releases)
            return 200

    def _wait(self, wait: _Wait, timeout: float) -> answers.Event:
        with self._changed:
            self._changed.wait_for(lambda: self._is_over(wait), timeout)
            if wait.found is None:
                raise WebhookTimeout(self._disappointment(wait, timeout))
            return wait.found.event

    def _is_over(self, wait: _Wait) -> bool:
        """Whether a caller has got what it waits for, or never will."""
        if wait.is_given_up:
            return True
        meant = (each for each in self._arrivals if not each.is_claimed and wait.wants(each.event))
        wait.found = next(meant, None)
        if wait.found is not None:
            wait.found.is_claimed = True
        return wait.found is not None or self._is_closed

    def _disappointment(self, wait: _Wait, timeout: float) -> str:
        came = [f"{each.event['type']} of {_session_of(each.event)}" for each in self._arrivals]
        claimed = sum(each.is_claimed for each in self._arrivals)
        told = f"{len(came)} came: {', '.join(came)}; {claimed} of them had been waited for" if came else "none came"
        until = "before the receiver was closed" if self._is_closed else f"within {timeout:g} s"
        return f"no {wait} came {until} ({told})"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.url or 'no address'}, {len(self._arrivals)} received>"


def _session_of(event: Mapping[str, Any]) -> str | None:
    """The session's id; a test may well send what is no event."""
    data = event.get("data")
    session = data.get("object") if isinstance(data, dict) else None
    return session.get("id") if isinstance(session, dict) else None
