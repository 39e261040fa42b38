"""The mock of a test run: one that is started, or one that runs already."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Self

from qashier_mock.connections import Connections
from qashier_mock.testing.account import QashierMock, QashierMockConfig

if TYPE_CHECKING:
    from qashier_mock.app import Settings
    from qashier_mock.server import MockServer

# pytest shows the line of a test that a call of ours failed in, not our own frames; --full-trace shows them all.
__tracebackhide__: Final = True


class QashierMockServer:
    """A mock for a test run: one that it starts, or one that runs already.

    Attributes:
        base_url: Where it is, without a trailing slash.
    """

    def __init__(self, config: QashierMockConfig | None = None) -> None:
        """Prepare; nothing is started yet."""
        self.config = config or QashierMockConfig()
        self.base_url = ""
        self._server: MockServer | None = None
        self._connections: Connections | None = None
        self._names: dict[str, int] = {}
        self._accounts: set[QashierMock] = set()

    @property
    def url(self) -> str:
        """`base_url`, under the name that `MockServer` has for it."""
        return self.base_url

    def start(self) -> Self:
        """Start the mock, or check that the configured one answers.

        Raises:
            MockUnreachable: Nothing answers at the configured URL.
            MockRefused: What answers there is not a mock.
            AddressUnavailable: The configured port cannot be bound.
        """
        if self.config.url is None:
            from qashier_mock.server import MockServer  # noqa: PLC0415 - the web stack: whoever needs it pays for it

            self._server = MockServer(self._settings(), port=self.config.port).start()
            self.base_url = self._server.url
            self._connections = Connections(self.base_url)
        else:
            self._connections = Connections(self.config.url)
            self.base_url = self._connections.base_url
            self._connections.send("GET", "/_mock/v1/health", headers={})
        return self

    def stop(self) -> None:
        """Close the open accounts and stop what was started. Calling it again does nothing."""
        for account in tuple(self._accounts):
            account.close()
        if self._connections is not None:
            self._connections.close()
            self._connections = None
        if self._server is not None:
            self._server.stop()
            self._server = None

    def account(self, name: str = "") -> QashierMock:
        """A fresh account.

        Args:
            name: On a mock that was started here the key follows from it, and with a seed so do the ids of everything
                in the account. On one that runs already every key is drawn at random: others use it too.
        """
        if self._connections is None:
            raise RuntimeError("the server is not started: use it as a context manager, or call start()")
        account = QashierMock(self._connections, self._fresh_key(name), self.config, self._accounts.discard)
        self._accounts.add(account)
        if self.config.strict and self._server is None:
            account.configure(strict=True)
        return account

    def _fresh_key(self, name: str) -> str:
        if self._server is None:
            return f"sk_test_{os.urandom(16).hex()}"
        used = self._names[name] = self._names.get(name, 0) + 1
        return f"sk_test_{blake2b(f'{used}/{name}'.encode(), digest_size=16).hexdigest()}"

    def _settings(self) -> Settings:
        from qashier_mock.app import Settings  # noqa: PLC0415
        from qashier_mock.core.policy import Policy  # noqa: PLC0415

        file = self.config.policy
        policy = Policy() if file is None else Policy.read(file.read_text("utf-8"))
        return Settings(seed=self.config.seed, strict=self.config.strict, policy=policy)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.base_url or 'no address'}>"
