<?php

declare(strict_types=1);

namespace Shop;

use PDO;

/** The shop's orders, in SQLite. What a session means for an order is decided in `settle`, and nowhere else. */
final class Orders
{
    private PDO $db;

    public function __construct(string $path)
    {
        $this->db = new PDO("sqlite:$path", options: [
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
            PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
        ]);
        $this->db->exec('PRAGMA busy_timeout = 5000');
        $this->db->exec(
            "CREATE TABLE IF NOT EXISTS orders (
                id INTEGER PRIMARY KEY,
                item TEXT NOT NULL,
                unit_amount INTEGER NOT NULL,
                quantity INTEGER NOT NULL,
                status TEXT NOT NULL DEFAULT 'pending',
                session_id TEXT,
                shipments INTEGER NOT NULL DEFAULT 0,
                placed_at INTEGER NOT NULL DEFAULT (strftime('%s', 'now'))
            )"
        );
    }

    public function place(string $item, int $unitAmount, int $quantity): array
    {
        $this->run('INSERT INTO orders (item, unit_amount, quantity) VALUES (?, ?, ?)', [$item, $unitAmount, $quantity]);

        return $this->find((int) $this->db->lastInsertId());
    }

    public function find(int $id): ?array
    {
        return $this->run('SELECT * FROM orders WHERE id = ?', [$id])->fetch() ?: null;
    }

    public function ofSession(string $sessionId): ?array
    {
        return $this->run('SELECT * FROM orders WHERE session_id = ?', [$sessionId])->fetch() ?: null;
    }

    public function noteSession(int $id, string $sessionId): void
    {
        $this->run('UPDATE orders SET session_id = ? WHERE id = ?', [$sessionId, $id]);
    }

    /** When the oldest order was placed that is still to be paid, epoch seconds; null if none is. */
    public function oldestPending(): ?int
    {
        return $this->run("SELECT min(placed_at) FROM orders WHERE status = 'pending'", [])->fetchColumn() ?: null;
    }

    /**
     * Bring an order to where its session is; whether that was news.
     *
     * Webhooks come twice, late and out of order, and reconciling sees everything again. What counts is the state of
     * the session; the condition in each statement lets it count once.
     */
    public function settle(int $id, array $session): bool
    {
        $news = match ($session['status']) {
            'complete' => $this->run(
                "UPDATE orders SET status = 'paid', shipments = shipments + 1 WHERE id = ? AND status != 'paid'",
                [$id],
            ),
            'expired' => $this->run("UPDATE orders SET status = 'expired' WHERE id = ? AND status = 'pending'", [$id]),
            default => null,
        };

        return $news !== null && $news->rowCount() > 0;
    }

    private function run(string $sql, array $values): \PDOStatement
    {
        $statement = $this->db->prepare($sql);
        $statement->execute($values);

        return $statement;
    }
}
