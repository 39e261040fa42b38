<?php

declare(strict_types=1);

namespace Shop;

use RuntimeException;

/** The API gave no usable answer, not even when asked again. */
final class QashierDown extends RuntimeException
{
}

/** The API refused a request: a mistake of ours. */
final class QashierRefused extends RuntimeException
{
}

/** Qashier's API, as far as this shop uses it. Sessions are arrays, as the API shows them. */
final class Qashier
{
    private const BUSY = [429, 500, 502, 503, 504];

    /** @param list<float> $pauses seconds to wait before the second and each later try */
    public function __construct(
        private readonly string $baseUrl,
        private readonly string $apiKey,
        private readonly array $pauses = [0.5, 2.0],
    ) {
    }

    /** Create a session. Who did not get the answer may ask again with the same key: it is the same session. */
    public function createSession(array $body, string $idempotencyKey): array
    {
        return $this->send('POST', '/checkout/sessions', $body, ["Idempotency-Key: $idempotencyKey"]);
    }

    public function retrieveSession(string $id): array
    {
        return $this->send('GET', '/checkout/sessions/' . rawurlencode($id));
    }

    /** Every session created at or after an instant (epoch seconds), newest first. */
    public function sessionsSince(int $instant): iterable
    {
        $query = ['created[gte]' => $instant, 'limit' => 100];
        do {
            $page = $this->send('GET', '/checkout/sessions?' . http_build_query($query));
            yield from $page['data'];
            $query['starting_after'] = end($page['data'])['id'] ?? '';
        } while ($page['has_more']);
    }

    /** Send a request, a few times if need be: each of ours is safe to repeat. */
    private function send(string $method, string $path, ?array $body = null, array $headers = []): array
    {
        $reason = '';
        foreach ([...$this->pauses, null] as $pause) {
            $request = curl_init($this->baseUrl . $path);
            curl_setopt_array($request, [
                CURLOPT_CUSTOMREQUEST => $method,
                CURLOPT_USERPWD => $this->apiKey . ':',
                CURLOPT_RETURNTRANSFER => true,
                CURLOPT_TIMEOUT => 10,
                CURLOPT_HTTPHEADER => [...$headers, 'Content-Type: application/json'],
            ]);
            if ($body !== null) {
                curl_setopt($request, CURLOPT_POSTFIELDS, json_encode($body, JSON_THROW_ON_ERROR));
            }
            $answer = curl_exec($request);
            $status = curl_getinfo($request, CURLINFO_RESPONSE_CODE);
            if ($answer !== false && $status >= 200 && $status < 300) {
                return json_decode($answer, true, flags: JSON_THROW_ON_ERROR);
            }
            if ($answer !== false && !in_array($status, self::BUSY, true)) {
                throw new QashierRefused("Qashier answered $status: $answer");
            }
            $reason = $answer === false ? curl_error($request) : "status $status";
            if ($pause !== null) {
                usleep((int) ($pause * 1_000_000));
            }
        }
        throw new QashierDown("$method $path: $reason");
    }
}
