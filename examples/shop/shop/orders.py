"""The shop's orders, in SQLite. Here is decided what a checkout session means for an order, and nowhere else."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY,
    item TEXT NOT NULL,
    unit_amount INTEGER NOT NULL,
    quantity INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'paid', 'expired')),
    attempt INTEGER NOT NULL DEFAULT 1,
    session_id TEXT,
    placed_at INTEGER NOT NULL DEFAULT (strftime('%s', 'now'))
);
CREATE TABLE IF NOT EXISTS shipments (
    order_id INTEGER PRIMARY KEY REFERENCES orders (id)
);
"""


@dataclass(frozen=True)
class Order:
    """An order.

    Attributes:
        status: `pending`, `paid` or `expired`.
        attempt: Counts the checkout sessions that were made for it.
        session_id: The latest of them; None before the provider has answered.
    """

    id: int
    item: str
    unit_amount: int
    quantity: int
    status: str
    attempt: int
    session_id: str | None
    placed_at: int


class Orders:
    """The table, over one connection; each method is one transaction."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, timeout=10)
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        self._db.close()

    def place(self, item: str, unit_amount: int, quantity: int) -> Order:
        with self._db:
            cursor = self._db.execute(
                "INSERT INTO orders (item, unit_amount, quantity) VALUES (?, ?, ?)", (item, unit_amount, quantity)
            )
        assert cursor.lastrowid is not None
        order = self.find(cursor.lastrowid)
        assert order is not None
        return order

    def find(self, order_id: int) -> Order | None:
        row = self._db.execute("SELECT * FROM orders WHERE id = ?", (order_id,)).fetchone()
        return None if row is None else Order(*row)

    def find_by_session(self, session_id: str) -> Order | None:
        row = self._db.execute("SELECT * FROM orders WHERE session_id = ?", (session_id,)).fetchone()
        return None if row is None else Order(*row)

    def remember_session(self, order: Order, session_id: str) -> None:
        """Note where an order is being paid."""
        with self._db:
            self._db.execute(
                "UPDATE orders SET session_id = ? WHERE id = ? AND attempt = ?", (session_id, order.id, order.attempt)
            )

    def begin_attempt(self, order: Order) -> Order:
        """Let an order that is not paid be paid once more, in a session of its own."""
        with self._db:
            self._db.execute(
                "UPDATE orders SET status = 'pending', attempt = attempt + 1, session_id = NULL "
                "WHERE id = ? AND attempt = ? AND status != 'paid'",
                (order.id, order.attempt),
            )
        found = self.find(order.id)
        assert found is not None
        return found

    def settle(self, order_id: int, session: dict[str, Any]) -> bool:
        """Bring an order to where its session is; whether that was news.

        Webhooks come twice, late and out of order, and reconciliation sees everything again: what counts is the
        state of the session, and the condition in each statement lets it count once.
        """
        with self._db:
            if session["status"] == "complete":
                paid = self._db.execute(
                    "UPDATE orders SET status = 'paid' WHERE id = ? AND status != 'paid'", (order_id,)
                )
                if paid.rowcount:
                    self._db.execute("INSERT INTO shipments (order_id) VALUES (?)", (order_id,))
                return paid.rowcount > 0
            if session["status"] == "expired":
                expired = self._db.execute(
                    "UPDATE orders SET status = 'expired' WHERE id = ? AND session_id = ? AND status = 'pending'",
                    (order_id, session["id"]),
                )
                return expired.rowcount > 0
        return False

    def shipped(self) -> list[int]:
        """The orders that were handed to the warehouse."""
        return [row[0] for row in self._db.execute("SELECT order_id FROM shipments ORDER BY order_id")]

    def oldest_pending(self) -> int | None:
        """When the oldest order was placed that is still to be settled, epoch seconds."""
        found: int | None = self._db.execute("SELECT min(placed_at) FROM orders WHERE status = 'pending'").fetchone()[0]
        return found
