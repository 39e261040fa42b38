"""Calls an application in this process with a webhook, as a server would: test clients have no socket to deliver to."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx

from qashier_mock.receiver import ReceivedWebhook

_PATIENCE_S: Final = 10.0
"""Seconds that an application has to answer, as any receiver; then its sender has left."""


def caller_of(app: object, path: str) -> Callable[[ReceivedWebhook], int]:
    """What calls an application with a webhook and returns the status that it answers.

    Args:
        app: An ASGI application (FastAPI, Starlette, Django's `asgi.py`) or a WSGI one (Flask, Django's `wsgi.py`).
        path: Where it takes webhooks.

    Raises:
        TypeError: It is neither.
        ValueError: `path` does not begin with a slash.
    """
    if not callable(app):
        raise TypeError(f"webhooks go to a URL or to an ASGI or WSGI application, not to {app!r}")
    if not path.startswith("/"):
        raise ValueError(f"path must begin with a slash, not {path!r}")
    call = _call_asgi if _is_asgi(app) else _call_wsgi

    def deliver(webhook: ReceivedWebhook) -> int:
        # Straight to the transport: a library that mocks HTTP in this process may have replaced httpx's clients.
        request = httpx.Request("POST", f"http://testserver{path}", headers=dict(webhook.headers), content=webhook.body)
        return call(app, request)

    return deliver


def _is_asgi(app: object) -> bool:
    method = getattr(app, "__call__", None)  # noqa: B004 - whether calling it gives a coroutine, not whether it can be
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(method)


def _call_asgi(app: Any, request: httpx.Request) -> int:
    async def impatient(scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        async def receive_in_time() -> Mapping[str, Any]:
            try:
                return await asyncio.wait_for(receive(), _PATIENCE_S)
            except TimeoutError:
                return {"type": "http.disconnect"}

        await app(scope, receive_in_time, send)

    # A loop of its own, in the receiver's thread: the test's loop may well be waiting for this delivery.
    return asyncio.run(httpx.ASGITransport(impatient).handle_async_request(request)).status_code


def _call_wsgi(app: Any, request: httpx.Request) -> int:
    response = httpx.WSGITransport(app, raise_app_exceptions=False).handle_request(request)
    response.read()
    return response.status_code
