<?php

declare(strict_types=1);

namespace Shop;

final class Signature
{
    /**
     * Whether Qashier sent a webhook.
     *
     * The signature is base64 of the HMAC-SHA256 of the raw body. Verify the bytes as they came: a body that was
     * decoded and encoded again has other bytes.
     */
    public static function isValid(string $body, string $signature, string $secret): bool
    {
        $expected = base64_encode(hash_hmac('sha256', $body, $secret, true));

        return hash_equals($expected, $signature);
    }
}
