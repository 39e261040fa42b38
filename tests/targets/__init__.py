"""Targets for the checker's own tests, apart from the mock: a correct server, and what it is tampered with."""

from __future__ import annotations

from qashier_contract.drive import Driver, Stage

from tests.targets.defects import DEFECTS, SLOW_DEFECTS
from tests.targets.served import serving, within
from tests.targets.variants import TOGETHER, VARIANTS

__all__ = ["DEFECTS", "SLOW_DEFECTS", "TOGETHER", "VARIANTS", "directed", "serving", "touching", "within"]


def directed(driver: Driver) -> bool:
    """The scenarios, which are the same each time; what is drawn or waits has tests of its own."""
    return driver.is_directed


def touching(driver: Driver) -> bool:
    """Of the scenarios those that touch each clause in few requests, a quarter of all."""
    return driver.is_directed and driver.stage <= Stage.BREADTH
