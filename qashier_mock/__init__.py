"""A stateful mock of Qashier Checkout Sessions: the public face.

    from qashier_mock import MockServer

    with MockServer() as mock:
        mock.url  # http://127.0.0.1:54321

Names are resolved on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qashier_mock._version import __version__

if TYPE_CHECKING:
    from qashier_mock.app import MockApp, Settings, create_app
    from qashier_mock.client import MockAccount
    from qashier_mock.connections import MockError, MockRefused, MockUnreachable
    from qashier_mock.receiver import WebhookReceiver
    from qashier_mock.server import MockServer
    from qashier_mock.testing import QashierMock, QashierMockServer

__all__ = [
    "MockAccount",
    "MockApp",
    "MockError",
    "MockRefused",
    "MockServer",
    "MockUnreachable",
    "QashierMock",
    "QashierMockServer",
    "Settings",
    "WebhookReceiver",
    "__version__",
    "create_app",
]

_NAMES_BY_HOME = {
    "app": {"MockApp", "Settings", "create_app"},
    "client": {"MockAccount"},
    "connections": {"MockError", "MockRefused", "MockUnreachable"},
    "receiver": {"WebhookReceiver"},
    "server": {"MockServer"},
    "testing": {"QashierMock", "QashierMockServer"},
}


def __getattr__(name: str) -> Any:
    for home, names in _NAMES_BY_HOME.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
