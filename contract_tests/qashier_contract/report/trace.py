"""All that was recorded, as a trace: for `judge`, `replay` and `diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qashier_contract.trace import file

if TYPE_CHECKING:
    from qashier_contract.verdicts import Report


def render(report: Report) -> str:
    """The run as the text of a trace file."""
    return file.render(file.Trace(history=report.history, target=report.target, seed=report.seed))
