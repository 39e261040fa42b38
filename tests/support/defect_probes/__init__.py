"""A small probe for each clause of the contract: kept by the correct mock, broken by each defect of that clause.

A probe looks at one clause and as little else as it can; it says what it missed by raising `Broken`.
"""

from defect_probes import amounts, auth, concurrency, create, ending, events, http, idempotency, listing, paying, read
from defect_probes.table import PROBES

MODULES = (amounts, auth, concurrency, create, ending, events, http, idempotency, listing, paying, read)
"""Importing them enters their probes."""

__all__ = ["MODULES", "PROBES"]
