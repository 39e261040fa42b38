"""Targets for the checker's own tests, apart from the mock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qashier_contract.drive import Driver


def directed(driver: Driver) -> bool:
    """The scenarios, which are the same each time; what is drawn or waits has tests of its own."""
    return driver.is_directed
