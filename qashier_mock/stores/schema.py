"""The tables, and how a store of an older version becomes one of this version.

A step that was released is never changed; what is needed later is a further step. Nothing here is PostgreSQL's alone:
what speaks its protocol knows all of it.

Indexes: a session is found by its id, by its place in the account (all pages), by status and place (pages of a status),
by creation (bounds on `created`), and, while it is open, by its deadline. Ids stand first in their indexes: a snapshot
may hold ids of another account, and each of them is looked for, whosever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from qashier_mock.stores.base import StoreUnavailable

TABLES: Final = (
    """CREATE TABLE mock_accounts (
        no {serial}, id TEXT NOT NULL UNIQUE, head TEXT NOT NULL, wake_at BIGINT, mover BIGINT)""",
    "CREATE INDEX mock_accounts_wake ON mock_accounts (wake_at) WHERE wake_at IS NOT NULL",
    "CREATE INDEX mock_accounts_mover ON mock_accounts (mover) WHERE mover IS NOT NULL",
    """CREATE TABLE mock_sessions (
        id TEXT NOT NULL, account BIGINT NOT NULL, sequence BIGINT NOT NULL, status TEXT NOT NULL,
        payment_status TEXT NOT NULL, created BIGINT NOT NULL, expires_at BIGINT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (id, account))""",
    "CREATE UNIQUE INDEX mock_sessions_place ON mock_sessions (account, sequence)",
    "CREATE INDEX mock_sessions_status ON mock_sessions (account, status, sequence)",
    "CREATE INDEX mock_sessions_created ON mock_sessions (account, created, sequence)",
    """CREATE INDEX mock_sessions_deadline ON mock_sessions (account, expires_at, sequence)
        WHERE status = 'open'""",
    """CREATE TABLE mock_records (
        account BIGINT NOT NULL, key TEXT NOT NULL, fingerprint {bytes} NOT NULL, session_id TEXT NOT NULL,
        status TEXT NOT NULL, payment_status TEXT NOT NULL, answered_at BIGINT NOT NULL, place BIGINT NOT NULL,
        PRIMARY KEY (account, key))""",
    "CREATE INDEX mock_records_answered ON mock_records (account, answered_at, place)",
    """CREATE TABLE mock_events (
        account BIGINT NOT NULL, place BIGINT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
        session_id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (account, place))""",
    "CREATE UNIQUE INDEX mock_events_id ON mock_events (id, account)",
    "CREATE INDEX mock_events_session ON mock_events (account, session_id, place)",
    """CREATE TABLE mock_deliveries (
        id TEXT NOT NULL, account BIGINT NOT NULL, endpoint_id TEXT NOT NULL, due BIGINT NOT NULL,
        is_held BIGINT NOT NULL, worker BIGINT, body TEXT NOT NULL, PRIMARY KEY (id, account))""",
    "CREATE INDEX mock_deliveries_due ON mock_deliveries (account, due, id)",
    # Each attempt looks for what was held until it, each flush for what others attempt: very many others may wait.
    "CREATE INDEX mock_deliveries_held ON mock_deliveries (account, endpoint_id, due, id) WHERE is_held = 1",
    "CREATE INDEX mock_deliveries_claimed ON mock_deliveries (account, worker) WHERE worker IS NOT NULL",
    "CREATE INDEX mock_deliveries_worker ON mock_deliveries (worker) WHERE worker IS NOT NULL",
    """CREATE TABLE mock_attempts (
        account BIGINT NOT NULL, place BIGINT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (account, place))""",
    """CREATE TABLE mock_unconfirmed (
        account BIGINT NOT NULL, session_id TEXT NOT NULL, PRIMARY KEY (account, session_id))""",
    # The ids of endpoints and fault rules, and those that an account's snapshot had.
    "CREATE TABLE mock_ids (id TEXT NOT NULL, account BIGINT NOT NULL, PRIMARY KEY (id, account))",
    "CREATE INDEX mock_ids_account ON mock_ids (account)",
    "CREATE TABLE mock_reserved (id TEXT NOT NULL, account BIGINT NOT NULL, PRIMARY KEY (id))",
    "CREATE INDEX mock_reserved_account ON mock_reserved (account)",
    """CREATE TABLE mock_journal (
        no {serial}, account TEXT NOT NULL, body TEXT NOT NULL, path {bytes} NOT NULL, request {bytes},
        response {bytes})""",
    "CREATE INDEX mock_journal_account ON mock_journal (account, no)",
    # Which processes work on the store, and which idempotency keys are under way.
    "CREATE TABLE mock_workers (no {serial}, alive_until BIGINT NOT NULL)",
    "CREATE TABLE mock_under_way (account TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (account, key))",
)

STEPS: Final[Sequence[Sequence[str]]] = (TABLES,)
"""What leads from each version to the next; the first leads from nothing to `FIRST`."""

FIRST: Final = 7
"""The version of a store that the first step makes. Those below were never released."""

VERSION: Final = FIRST - 1 + len(STEPS)


def statements(where: str, version: int, *, serial: str, bytes_: str) -> list[str]:
    """What makes a store of `version` (0: an empty one) one of this version.

    Databases spell `serial`, a key that counts by itself, and `bytes_`, a type, differently. An error says `where`.

    Raises:
        StoreUnavailable: A version that this one does not know has made it.
    """
    if version > VERSION or 0 < version < FIRST:
        which = "a newer version" if version > VERSION else "a version before the first release"
        raise StoreUnavailable(
            f"{where} was written by {which} of qashier-mock (schema {version}; this one knows {FIRST} to {VERSION}). "
            "Use that version, or give --store another place; a snapshot brings an account there."
        )
    steps = STEPS[max(0, version - FIRST + 1) :]
    return [each.replace("{serial}", serial).replace("{bytes}", bytes_) for step in steps for each in step]
