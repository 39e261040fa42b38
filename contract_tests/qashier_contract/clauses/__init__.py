"""The contract: `CLAUSES`, each a pure function over a ledger, one module per group.

Importing this sends nothing and starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from qashier_contract.clauses import (  # noqa: F401 - each enters its clauses when it is imported
    amounts,
    auth,
    concurrency,
    create,
    deliveries,
    ending,
    events,
    http,
    idempotency,
    listing,
    paying,
    read,
    walks,
)
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, IMPLIED, PUBLIC, Clause, Source, clause, written

_GROUPS: Final = ("AUTH", "HTTP", "CRE", "AMT", "RET", "LIS", "EXP", "PAY", "CON", "EVT", "IDM")

CLAUSES: Final[Mapping[str, Clause]] = MappingProxyType(
    {entry.id: entry for entry in sorted(written(), key=lambda entry: (_GROUPS.index(entry.group), entry.number))}
)
"""Every clause by its id, in the order of the contract."""

__all__ = ["ASSUMED", "CLAUSES", "DOCUMENTED", "IMPLIED", "PUBLIC", "Clause", "Source", "clause"]
