"""What the pytest fixtures hand out: a server for a test run, an account for a test, disorder among its webhooks.

Apart from `pytest_plugin.py` because these need more than a test run without them should pay for. They work without
pytest too, in `unittest` for example; there `QashierMockServer` is a context manager.
"""

from qashier_mock.testing.account import QashierMock
from qashier_mock.testing.config import QashierMockConfig
from qashier_mock.testing.disorder import WebhookDisorder
from qashier_mock.testing.server import QashierMockServer

__all__ = ["QashierMock", "QashierMockConfig", "QashierMockServer", "WebhookDisorder"]
