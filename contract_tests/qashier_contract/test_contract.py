"""One test per clause of the contract."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

from qashier_contract.clauses import CLAUSES

if TYPE_CHECKING:
    from qashier_contract.conftest import Outcome


class AssumedClauseBroken(UserWarning):
    """A target breaks a clause that no document states; with `--qashier-strict` a failure."""


@pytest.mark.parametrize("clause", CLAUSES)
def test_clause(clause: str, contract: dict[str, Outcome]) -> None:
    outcome = contract[clause]
    if outcome.verdict == "failed":
        pytest.fail(outcome.told, pytrace=False)
    if outcome.verdict == "warned":
        warnings.warn(AssumedClauseBroken(outcome.told), stacklevel=1)
    if outcome.verdict == "not exercised":
        # Not passed, and not failed either: the target does not allow it, or the time was up.
        pytest.skip(f"not exercised: {outcome.told}")
