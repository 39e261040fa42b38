<?php

declare(strict_types=1);

namespace Shop;

/** What the shop answers: a status, a body and perhaps where to go. */
final class Answer
{
    public function __construct(
        public readonly int $status,
        public readonly string $body = '',
        public readonly ?string $location = null,
    ) {
    }
}

final class Shop
{
    private const PRICES = ['House blend' => 1250, 'Kaya toast' => 680]; // in cents
    private const CLOCKS_DIFFER_BY = 300; // seconds

    public function __construct(
        private readonly Qashier $qashier,
        private readonly Orders $orders,
        private readonly string $webhookSecret,
        private readonly string $publicUrl,
    ) {
    }

    public function placeOrder(string $item, int $quantity): Answer
    {
        if (!isset(self::PRICES[$item]) || $quantity < 1) {
            return new Answer(400, 'There is no such item.');
        }
        $order = $this->orders->place($item, self::PRICES[$item], $quantity);
        $path = "{$this->publicUrl}/orders/{$order['id']}";
        try {
            // The key follows from the order: after a crash, a lost answer or a double click it is the same session.
            $session = $this->qashier->createSession([
                'line_items' => [[
                    'price_data' => [
                        'currency' => 'SGD',
                        'unit_amount' => $order['unit_amount'],
                        'product_data' => ['name' => $item],
                    ],
                    'quantity' => $quantity,
                ]],
                'success_url' => "$path?thanks",
                'return_url' => "$path?back",
                'cancel_url' => $path,
            ], "order-{$order['id']}-{$order['placed_at']}");
        } catch (QashierDown) {
            return new Answer(503, 'Payments are not available just now. Your order is kept.');
        }
        $this->orders->noteSession($order['id'], $session['id']);

        return new Answer(303, location: $session['url']);
    }

    public function showOrder(int $id): Answer
    {
        $order = $this->orders->find($id);

        return $order === null
            ? new Answer(404, 'There is no such order.')
            : new Answer(200, json_encode($order, JSON_THROW_ON_ERROR));
    }

    /** A webhook of Qashier: its raw body, and the value of `x-qashier-sign`. */
    public function receive(string $body, string $signature): Answer
    {
        if (!Signature::isValid($body, $signature, $this->webhookSecret)) {
            return new Answer(401, "The signature is not Qashier's.");
        }
        $event = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
        try {
            // An event may be old news by now: the session itself says how things stand.
            $this->settle($this->qashier->retrieveSession($event['data']['object']['id']));
        } catch (QashierDown) {
            return new Answer(503, 'Try again later.');
        }

        return new Answer(204);
    }

    /** Settle what no webhook told. To be run every few minutes. */
    public function reconcile(): Answer
    {
        $settled = 0;
        $since = $this->orders->oldestPending();
        if ($since !== null) {
            foreach ($this->qashier->sessionsSince($since - self::CLOCKS_DIFFER_BY) as $session) {
                $settled += (int) $this->settle($session);
            }
        }

        return new Answer(200, (string) $settled);
    }

    /** How often the order of a session was shipped. */
    public function shipments(string $sessionId): Answer
    {
        return new Answer(200, ($this->orders->ofSession($sessionId)['shipments'] ?? 0) . "\n");
    }

    private function settle(array $session): bool
    {
        $order = $this->orders->ofSession($session['id']);

        return $order !== null && $this->orders->settle($order['id'], $session);
    }
}
