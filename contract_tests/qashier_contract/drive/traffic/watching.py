"""Recording through a proxy while somebody else looks at what was recorded."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Self

from qashier_contract.drive.traffic.exchanges import Seen, Traffic
from qashier_contract.drive.traffic.proxy import ForwardingProxy
from qashier_contract.errors import CheckError
from qashier_contract.history import Exchange
from qashier_contract.interrupts import Interrupted, Stop
from qashier_contract.listening import url_of

_KEPT_MOST: Final = 20_000
"""Of longer traffic the last exchanges are kept: judging goes over all of them."""
_LOOK_EVERY_S: Final = 0.2
_SHARE_OF_LOOKING: Final = 0.2
"""Which part of the time may be spent on looking: the proxy shares the interpreter with it."""
_STOP_S: Final = 5.0


class Watching:
    """A proxy in a thread of its own, and what passed through it; a context manager. Port 0 takes a free one."""

    def __init__(self, target_url: str, traffic: Traffic, *, host: str, port: int) -> None:
        self._traffic = traffic
        self._address = (host, port)
        try:
            self._proxy = ForwardingProxy(target_url, self._record)
        except ValueError as error:
            raise CheckError(str(error)) from None
        self._exchanges: list[Exchange] = []
        self._dropped = 0
        self._passed = 0
        self._others = 0
        self._listening: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), name="watch", daemon=True)
        self.url = ""
        """Where to send requests."""

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """What passed so far, in the order of sending."""
        return tuple(sorted(self._exchanges, key=lambda exchange: exchange.sent_ns))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know."""
        notes = []
        if self._others:
            notes.append(f"{self._others} requests were passed on that are none of the API's.")
        if self._dropped:
            notes.append(f"Of {self._passed} requests the last {_KEPT_MOST} were judged.")
        if self._traffic.accounts > 1:
            notes.append(f"{self._traffic.accounts} keys were used. If all are of one account: --one-account.")
        return tuple(notes)

    def __enter__(self) -> Self:
        """Listen.

        Raises:
            CheckError: The address cannot be had.
        """
        self._thread.start()
        host, port = self._address
        try:
            number = self._listening.result()
        except OSError as error:
            self._thread.join()
            raise CheckError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
        self.url = url_of(host, number)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_STOP_S)

    def until(self, stop: Stop, look: Callable[[], None]) -> None:
        """Let traffic pass until the stop; call `look` whenever there is something new."""
        seen, rest_until_ns = 0, 0
        try:
            while True:
                stop.sleep(_LOOK_EVERY_S)
                if self._passed == seen or time.monotonic_ns() < rest_until_ns:
                    continue
                seen, began_ns = self._passed, time.monotonic_ns()
                look()
                took_ns = time.monotonic_ns() - began_ns
                rest_until_ns = time.monotonic_ns() + int(took_ns / _SHARE_OF_LOOKING)
        except Interrupted:
            return

    async def _listen(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        try:
            number = await self._proxy.start(*self._address)
        except (OSError, OverflowError) as error:
            self._listening.set_exception(error if isinstance(error, OSError) else OSError(str(error)))
            return
        self._listening.set_result(number)
        await self._stopping.wait()
        await self._proxy.stop()

    def _record(self, seen: Seen) -> None:
        exchange = self._traffic.exchange(seen)
        if exchange is None:
            self._others += 1
            return
        self._passed += 1
        self._exchanges.append(exchange)
        if len(self._exchanges) > _KEPT_MOST:
            self._dropped += 1
            del self._exchanges[0]
