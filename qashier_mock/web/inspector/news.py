"""News for a page that is open: server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from qashier_mock.machine import steady

_LOOK_EVERY_S: Final = 0.25
_REST: Final = 10
"""A pause lasts at least so many times as long as the look before it: many accounts take long to look at."""
_KEEP_ALIVE_S: Final = 10.0


class News(Response):
    """Server-sent events, until the reader leaves or the server is about to stop.

    Not Starlette's StreamingResponse, which is cancelled then and tells the log of it.
    """

    def __init__(self, version: Callable[[], Awaitable[tuple[object, ...]]], is_closing: Callable[[], bool]) -> None:
        super().__init__(media_type="text/event-stream", headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._version = version
        self._is_closing = is_closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        async def write(text: str) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": self.raw_headers})
        shown, silent_s, pause_s = await self._version(), 0.0, _LOOK_EVERY_S
        await write("retry: 1000\n\n")  # whatever changes from here on is news
        incoming = asyncio.ensure_future(receive())
        try:
            while not self._is_closing():
                await asyncio.wait({incoming}, timeout=pause_s)
                if incoming.done():
                    if incoming.result()["type"] == "http.disconnect":
                        return
                    incoming = asyncio.ensure_future(receive())
                began, silent_s = steady(), silent_s + pause_s
                version = await self._version()
                pause_s = max(_LOOK_EVERY_S, (steady() - began) * _REST)
                if version != shown:
                    shown, silent_s = version, 0.0
                    await write("event: news\ndata:\n\n")
                elif silent_s >= _KEEP_ALIVE_S:
                    silent_s = 0.0
                    await write(": still here\n\n")
        finally:
            incoming.cancel()
        await send({"type": "http.response.body", "body": b""})
