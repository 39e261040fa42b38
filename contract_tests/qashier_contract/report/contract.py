"""The contract as a page of the documentation: what a table of clauses cannot say, then the table."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from qashier_contract.clauses import CLAUSES
from qashier_contract.report.facts import TITLES

if TYPE_CHECKING:
    from collections.abc import Iterator

_FRONT: Final = Path(__file__).parent / "templates" / "contract.md"


def page() -> str:
    """The whole page, as Markdown."""
    return _FRONT.read_text("utf-8") + "\n" + "\n".join(_tables()) + "\n"


def _tables() -> Iterator[str]:
    yield "## Clauses"
    for group, clauses in groupby(CLAUSES.values(), key=lambda each: each.id.partition("-")[0]):
        yield ""
        yield f"### {group}: {TITLES[group]}"
        yield ""
        yield "| id | source | statement |"
        yield "|---|---|---|"
        for clause in clauses:
            statement = clause.statement.replace("|", "\\|")
            yield f"| {clause.id} | {clause.source.value} | {statement} |"
