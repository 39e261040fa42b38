"""How a report is written down: one module per format, each with `render(report: Report) -> str`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from contract_tests.verdicts import Report

FORMATS: Final = ("json", "junit", "markdown", "har")
"""What `--report FORMAT=FILE` can write."""


def render(name: str, report: Report) -> str:
    """The report in one of `FORMATS`; a format is imported when it is asked for."""
    written: str = import_module(f"{__name__}.{name}").render(report)
    return written
