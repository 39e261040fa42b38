"""What our HTTP protocol puts into `extensions` of an ASGI scope, for the app to use."""

from __future__ import annotations

from typing import Final

ABORT: Final = "qashier_mock.abort"
"""A function that closes the connection at once."""
CLOSE: Final = "qashier_mock.close"
"""A function that closes the connection after what has been written."""
INLINE: Final = "qashier_mock.inline"
"""There if the app has been started without a task."""
