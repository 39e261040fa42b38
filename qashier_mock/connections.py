"""HTTP to a mock on the standard library: connections that are kept, and the errors of a call.

A call that fails raises `MockRefused`, with the message of the error envelope, or `MockUnreachable`:

    MockError
     ├── MockRefused       an answer that is not 2xx
     └── MockUnreachable   no answer
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

from qashier_mock.address import has_news
from qashier_mock.unpatched import http_client

# pytest shows the line of a test that a call of ours failed in, not our own frames; --full-trace shows them all.
__tracebackhide__: Final = True

_IDLE_LIMIT: Final = 3.0
"""Seconds after which an unused connection is not used again; the server closes its own after five."""

_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})
"""What OpenSSL's versions call an answer in plain HTTP."""


class MockError(Exception):
    """A mock did not do what it was asked."""


class MockRefused(MockError):
    """The mock answered, with an error.

    Attributes:
        status: The HTTP status.
        type: `type` of the envelope; empty where the answer has none.
        code: `code` of the envelope; likewise.
        message: What to change, in the words of the mock.
        param: The field to blame, if the envelope names one.
        request_id: The `Request-Id`, if there is one.
    """

    def __init__(self, what: str, status: int, content: bytes, request_id: str | None) -> None:
        envelope = _envelope(content)
        self.status = status
        self.type = str(envelope.get("type", ""))
        self.code = str(envelope.get("code", ""))
        self.message = str(envelope.get("message") or _foreign(content))
        self.param: str | None = envelope.get("param")
        self.request_id = request_id
        super().__init__(f"{what} was refused with {status}{f' {self.code}' if self.code else ''}: {self.message}")


class MockUnreachable(MockError):
    """No answer came: nothing listens there, or the connection was lost."""


class SecretHeaders(dict[str, str]):
    """Headers that a traceback or a debugger shows without their values: one of them holds the key."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(self)}>"


class Connections:
    """Connections to one server that are kept for the next request. Any number of threads may use it.

    A request is never sent twice, since paying and moving time are not safe to repeat.
    """

    def __init__(self, base_url: str, *, timeout: float = 30.0) -> None:
        """Prepare; nothing is connected yet. Answers are awaited for `timeout` real seconds.

        Raises:
            ValueError: `base_url` is not an http or https URL.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"the address of a mock looks like http://127.0.0.1:4010, not like {base_url!r}")
        self.base_url = base_url.rstrip("/")
        self._kind = http_client.HTTPSConnection if parts.scheme == "https" else http_client.HTTPConnection
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")
        self._timeout = timeout
        # Appending to and popping from a list is one step each, for every thread.
        self._idle: list[tuple[http_client.HTTPConnection, float]] = []
        self._process = os.getpid()
        self._closings = 0

    def send(
        self, method: str, path: str, *, body: object = None, headers: Mapping[str, str], timeout: float | None = None
    ) -> Any:
        """Send a request, its body as JSON, and return the parsed answer; None where either has no body.

        Raises:
            MockRefused: The answer is not 2xx.
            MockUnreachable: There is no answer.
        """
        content = None if body is None else json.dumps(body).encode()
        kind = {} if content is None else {"Content-Type": "application/json"}
        sent = SecretHeaders({**headers, **kind})
        closings = self._closings
        connection = self._take(timeout or self._timeout)
        try:
            connection.request(method, self._prefix + path, content, sent)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http_client.HTTPException) as error:
            connection.close()
            raise MockUnreachable(f"{method} {self.base_url}{path}: no answer ({_in_words(error)})") from error
        except BaseException:  # Ctrl-C in the middle of an answer: the rest of it must not answer the next request
            connection.close()
            raise
        if response.will_close or closings != self._closings:
            connection.close()
        else:
            self._idle.append((connection, monotonic()))
        if response.status // 100 != 2:  # noqa: PLR2004 - the class of statuses that mean success
            raise MockRefused(f"{method} {path}", response.status, answer, response.getheader("Request-Id"))
        return json.loads(answer) if answer else None

    def close(self) -> None:
        """Close what is kept, and keep nothing that is under way; a later request opens a new connection."""
        self._closings += 1
        while self._idle:
            self._idle.pop()[0].close()

    def _take(self, timeout: float) -> http_client.HTTPConnection:
        if self._process != os.getpid():  # a fork: what is idle here is the parent's, which may be using it
            self._idle, self._process = [], os.getpid()
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return self._kind(self._host, self._port, timeout=timeout)
            if monotonic() - since < _IDLE_LIMIT and not has_news(connection.sock.fileno()):
                connection.sock.settimeout(timeout)
                return connection
            connection.close()


def _in_words(error: Exception) -> str:
    if getattr(error, "reason", None) in _NO_TLS:
        return "it speaks no TLS: write http:// instead of https://"
    return str(error) or type(error).__name__


def _envelope(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) else {}


def _foreign(content: bytes) -> str:
    """Describe an answer that does not come from a mock, but from a proxy or another server."""
    text = " ".join(content[:200].decode("utf-8", "replace").split())
    return f"this is not how a mock answers: {text}" if text else "the answer is empty, as no mock's is"
