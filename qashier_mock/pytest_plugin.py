"""The pytest plugin: a payment provider in a fixture.

At the top only the standard library and pytest are imported: test runs that do not ask for a fixture pay for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "qashier_mock(strict=False, seed=None, frozen_at=None): configure the account of the qashier_mock fixture",
    )
