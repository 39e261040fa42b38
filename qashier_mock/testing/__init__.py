"""What the pytest fixtures hand out: a server for a test run, an account for a test, disorder among its webhooks.

They are not in `pytest_plugin.py`, because a test run that does not use them should not pay for their imports. They
work without pytest too: `QashierMockServer` is a context manager, in `unittest` for example.
"""

from qashier_mock.testing.account import QashierMock, QashierMockConfig
from qashier_mock.testing.disorder import WebhookDisorder
from qashier_mock.testing.server import QashierMockServer

__all__ = ["QashierMock", "QashierMockConfig", "QashierMockServer", "WebhookDisorder"]
