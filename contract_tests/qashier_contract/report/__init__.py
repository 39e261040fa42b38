"""How a report is written down: one module per format, each with `render(report) -> str`.

Importing this loads no format; `render` and `write` load the one that is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from qashier_contract.verdicts import Report

FORMATS: Final = ("json", "junit", "html", "markdown", "har", "sarif", "trace")
"""What a report can be written as."""


def render(report: Report, form: str) -> str:
    """A report in one of `FORMATS`.

    Raises:
        KeyError: There is no such format.
    """
    if form not in FORMATS:
        raise KeyError(form)
    text: str = import_module(f"{__name__}.{form}").render(report)
    return text


def write(report: Report, form: str, path: Path) -> None:
    """Write a report to a file, making the folder that it goes to.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # What a target says may hold half of a surrogate pair, which no encoding has; escaped, it is still valid JSON.
    path.write_text(render(report, form), encoding="utf-8", errors="backslashreplace")
