"""The contract: `CLAUSES`, each a pure function over a history, one module per group.

Importing this sends nothing and starts nothing.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from qashier_contract.clauses import (
    amounts,
    auth,
    concurrency,
    create,
    events,
    http,
    idempotency,
    lifecycle,
    listing,
    read,
)
from qashier_contract.clauses.table import ASSUMED, DOCUMENTED, PUBLIC, Clause, ClauseBroken, Source, clause, written

if TYPE_CHECKING:
    from collections.abc import Mapping

_GROUPS: Final = (auth, http, create, amounts, read, listing, lifecycle, concurrency, events, idempotency)

CLAUSES: Final[Mapping[str, Clause]] = MappingProxyType(
    {
        identifier: entry
        for group in _GROUPS
        for identifier, entry in written().items()
        if entry.judge.__module__ == group.__name__
    }
)
"""Every clause by its id, in the order of the contract."""

__all__ = ["ASSUMED", "CLAUSES", "DOCUMENTED", "PUBLIC", "Clause", "ClauseBroken", "Source", "clause"]
