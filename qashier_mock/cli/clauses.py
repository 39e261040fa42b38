"""`qashier-mock clauses`: the contract, clause by clause."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from qashier_mock.cli import DONE
from qashier_mock.cli.options import one_of, parse

OPTIONS: Final = (one_of("format", "text", "json", "markdown", help="how they are written"),)


def run(_name: str, arguments: Sequence[str]) -> int:
    """Print each clause, its source, and what checks it."""
    options = parse("clauses", "Print the contract: each clause, its source, what checks it.", OPTIONS, arguments)
    if options.format == "markdown":
        from qashier_contract.report.contract import page  # noqa: PLC0415

        sys.stdout.write(page())
        return DONE
    entries = _entries()
    if options.format == "json":
        sys.stdout.write(json.dumps({"clauses": entries}, indent=2, ensure_ascii=False) + "\n")
        return DONE
    for entry in entries:
        print(f"{entry['id']} ({entry['source']}) {entry['statement']}")  # noqa: T201
        print(f"    checked by: {', '.join(entry['checked_by'])}")  # noqa: T201
    return DONE


def _entries() -> list[dict[str, Any]]:
    from qashier_contract import CLAUSES  # noqa: PLC0415
    from qashier_contract.drive.plan import measured  # noqa: PLC0415

    return [
        {
            "id": clause.id,
            "source": clause.source.value,
            "statement": clause.statement,
            "needs": sorted(need.value for need in clause.needs),
            "checked_by": [name for name, clauses in measured().items() if clause.id in clauses],
        }
        for clause in CLAUSES.values()
    ]
