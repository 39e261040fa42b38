"""Calls an application in this process with a webhook, as a server would: test clients have no socket to deliver to."""

from __future__ import annotations

import asyncio
import inspect
import io
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote
from wsgiref.util import setup_testing_defaults

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
    return lambda webhook: call(app, path, webhook)


def _is_asgi(app: object) -> bool:
    method = getattr(app, "__call__", None)  # noqa: B004 - whether calling it gives a coroutine, not whether it can be
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(method)


def _call_asgi(app: Any, path: str, webhook: ReceivedWebhook) -> int:
    status = 500
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in webhook.headers.items()],
        "client": ("127.0.0.1", 0),
        "server": ("testserver", 80),
        "state": {},
    }
    messages = [{"type": "http.request", "body": webhook.body, "more_body": False}]

    async def answer() -> None:
        is_answered = asyncio.Event()

        async def receive() -> Mapping[str, Any]:
            if messages:
                return messages.pop()
            with suppress(TimeoutError):  # some frameworks give up a request whose sender leaves before the answer
                await asyncio.wait_for(is_answered.wait(), _PATIENCE_S)
            return {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body", False):
                is_answered.set()

        await app(scope, receive, send)

    # A loop of its own, in the receiver's thread: the test's loop may well be waiting for this delivery.
    asyncio.run(answer())
    return status


def _call_wsgi(app: Any, path: str, webhook: ReceivedWebhook) -> int:
    statuses: list[int] = []
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": unquote(path),
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(webhook.body)),
        "CONTENT_TYPE": webhook.headers.get("content-type", ""),
        "wsgi.input": io.BytesIO(webhook.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
    }
    for name, value in webhook.headers.items():
        if name not in {"content-length", "content-type"}:
            environ["HTTP_" + name.upper().replace("-", "_")] = value
    setup_testing_defaults(environ)  # what is missing

    def start_response(status: str, *_: object) -> Callable[[bytes], object]:
        statuses.append(int(status.split(maxsplit=1)[0]))
        return lambda _body: None

    answer = app(environ, start_response)
    try:
        for _part in answer:
            pass
    finally:
        if hasattr(answer, "close"):
            answer.close()
    return statuses[-1]
