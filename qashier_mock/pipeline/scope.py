"""What our HTTP protocol puts into `extensions` of an ASGI scope, for the app to use."""

from __future__ import annotations

from typing import Final

ABORT: Final = "qashier_mock.abort"
"""A function that closes the connection at once."""
CLOSE: Final = "qashier_mock.close"
"""A function that closes the connection after what has been written."""
RESPOND: Final = "qashier_mock.respond"
"""A coroutine function that sends a whole response: `await respond(status, head, body)`.

`head` holds the header lines, Content-Length among them, but neither Connection nor Transfer-Encoding. Not for HEAD,
and not while anything waits in `receive`. An app that changes responses takes this out of the scope that it hands on.
"""
