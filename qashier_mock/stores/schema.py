"""The tables, and how a store of an older version becomes one of this version.

The schema of a version is what all steps up to it make. A step that was released is never changed; what is needed
later is a further step. `{serial}` and `{bytes}` stand for what databases spell differently: an integer key that counts
by itself, and a column of bytes. Nothing here is PostgreSQL's alone: what speaks its protocol knows all of it.

Indexes: a session is found by its id, by its place in the account (all pages), by status and place (pages of a status),
by creation (bounds on `created`), and, while it is open, by its deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

VERSION_1: Final = (
    "CREATE TABLE mock_accounts (no {serial}, id TEXT NOT NULL UNIQUE, head TEXT NOT NULL, wake_at BIGINT)",
    "CREATE INDEX mock_accounts_wake ON mock_accounts (wake_at) WHERE wake_at IS NOT NULL",
    """CREATE TABLE mock_sessions (
        id TEXT NOT NULL, account BIGINT NOT NULL, sequence BIGINT NOT NULL, status TEXT NOT NULL,
        payment_status TEXT NOT NULL, created BIGINT NOT NULL, expires_at BIGINT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (id))""",
    "CREATE UNIQUE INDEX mock_sessions_place ON mock_sessions (account, sequence)",
    "CREATE INDEX mock_sessions_status ON mock_sessions (account, status, sequence)",
    "CREATE INDEX mock_sessions_created ON mock_sessions (account, created, sequence)",
    """CREATE INDEX mock_sessions_deadline ON mock_sessions (account, expires_at, sequence)
        WHERE status = 'open'""",
    """CREATE TABLE mock_records (
        account BIGINT NOT NULL, key TEXT NOT NULL, place BIGINT NOT NULL, fingerprint {bytes} NOT NULL,
        session_id TEXT NOT NULL, status TEXT NOT NULL, payment_status TEXT NOT NULL, answered_at BIGINT NOT NULL,
        PRIMARY KEY (account, key))""",
    "CREATE INDEX mock_records_answered ON mock_records (account, answered_at)",
    """CREATE TABLE mock_events (
        account BIGINT NOT NULL, place BIGINT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
        session_id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (account, place))""",
    "CREATE UNIQUE INDEX mock_events_id ON mock_events (account, id)",
    "CREATE INDEX mock_events_session ON mock_events (account, session_id, place)",
    """CREATE TABLE mock_deliveries (
        account BIGINT NOT NULL, id TEXT NOT NULL, endpoint_id TEXT NOT NULL, due BIGINT NOT NULL,
        is_held BIGINT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (account, id))""",
    "CREATE INDEX mock_deliveries_due ON mock_deliveries (account, due, id)",
    """CREATE TABLE mock_attempts (
        account BIGINT NOT NULL, place BIGINT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (account, place))""",
    """CREATE TABLE mock_unconfirmed (
        account BIGINT NOT NULL, session_id TEXT NOT NULL, PRIMARY KEY (account, session_id))""",
    "CREATE TABLE mock_reserved (id TEXT NOT NULL, account BIGINT NOT NULL, PRIMARY KEY (id))",
    """CREATE TABLE mock_journal (
        no {serial}, account TEXT NOT NULL, body TEXT NOT NULL, path {bytes} NOT NULL, request {bytes},
        response {bytes})""",
    "CREATE INDEX mock_journal_account ON mock_journal (account, no)",
)

VERSION_2: Final = (
    # Which processes work on the store, what each has claimed, and which idempotency keys are under way.
    "CREATE TABLE mock_workers (no {serial}, alive_until BIGINT NOT NULL)",
    "CREATE TABLE mock_under_way (account TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (account, key))",
    "ALTER TABLE mock_accounts ADD COLUMN mover BIGINT",
    "CREATE INDEX mock_accounts_mover ON mock_accounts (mover) WHERE mover IS NOT NULL",
    "ALTER TABLE mock_deliveries ADD COLUMN worker BIGINT",
    "CREATE INDEX mock_deliveries_worker ON mock_deliveries (worker) WHERE worker IS NOT NULL",
)

VERSION_3: Final = (
    # Each attempt looks for what was held until it, each flush for what others attempt: very many others may wait.
    "CREATE INDEX mock_deliveries_held ON mock_deliveries (account, endpoint_id, due, id) WHERE is_held = 1",
    "CREATE INDEX mock_deliveries_claimed ON mock_deliveries (account, worker) WHERE worker IS NOT NULL",
)

VERSION_4: Final = (
    # A snapshot may hold ids of another account: each of them is looked for, whosever it is.
    "DROP INDEX mock_events_id",
    "CREATE INDEX mock_events_by_id ON mock_events (id)",
    "CREATE INDEX mock_deliveries_by_id ON mock_deliveries (id)",
)

VERSION_5: Final = (
    # What a snapshot has reserved goes with the one that replaces it.
    "CREATE INDEX mock_reserved_account ON mock_reserved (account)",
)

VERSION_6: Final = (
    # What a command that was cut off has left to delete stands under the negative of its account's number.
    "UPDATE mock_accounts SET no = -no WHERE head LIKE '%\"is_clearing\":true%'",
    "DROP TABLE IF EXISTS mock_later",
)

STEPS: Final[Sequence[Sequence[str]]] = (VERSION_1, VERSION_2, VERSION_3, VERSION_4, VERSION_5, VERSION_6)
"""What leads from each version to the next; the first leads from nothing to version 1."""

VERSION: Final = len(STEPS)


def statements(version: int, *, serial: str, bytes_: str) -> list[str]:
    """What makes a store of `version` (0: an empty one) one of this version.

    Args:
        version: Where it stands.
        serial: An integer primary key that counts by itself.
        bytes_: The type of a column of bytes.
    """
    return [
        statement.replace("{serial}", serial).replace("{bytes}", bytes_)
        for step in STEPS[version:]
        for statement in step
    ]


def newer(what: str, version: int) -> str:
    """What to tell of a store that a later version of this program has made."""
    return (
        f"{what} was written by a newer version of qashier-mock (schema {version}; this one knows {VERSION}). "
        "Upgrade qashier-mock, or give --store another place."
    )
