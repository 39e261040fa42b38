<?php

// Drive the checkout flow with the PHP client that openapi-generator writes, and print what came back. The test generates
// the client beside this program, in `client`. Arguments: the address, a key, the file that loads Guzzle.

use OpenAPI\Client\Api\CheckoutSessionsApi;
use OpenAPI\Client\ApiException;
use OpenAPI\Client\Configuration;
use OpenAPI\Client\Model\CheckoutSessionCreate;
use OpenAPI\Client\Model\CheckoutSessionStatus;
use OpenAPI\Client\Model\CurrencyCode;
use OpenAPI\Client\Model\LineItemCreate;
use OpenAPI\Client\Model\PriceData;
use OpenAPI\Client\Model\ProductData;

[, $address, $key, $guzzle] = $argv;
require $guzzle;
spl_autoload_register(function (string $class): void {
    $file = __DIR__ . '/client/lib/' . strtr(substr($class, strlen('OpenAPI\\Client\\')), '\\', '/') . '.php';
    if (is_file($file)) {
        require $file;
    }
});

function refusal(callable $call): string
{
    try {
        $answer = $call();
    } catch (ApiException $refused) {
        return json_decode($refused->getResponseBody())->error->code;
    }
    throw new RuntimeException("expected a refusal, got $answer");
}

$configuration = (new Configuration())->setHost($address)->setUsername($key)->setPassword('');
$sessions = new CheckoutSessionsApi(new GuzzleHttp\Client(), $configuration);

$basket = new CheckoutSessionCreate([
    'line_items' => [
        new LineItemCreate([
            'price_data' => new PriceData([
                'currency' => CurrencyCode::SGD,
                'product_data' => new ProductData(['name' => 'Kopi O']),
                'unit_amount' => 180,
            ]),
            'quantity' => 2,
        ]),
    ],
    'success_url' => 'https://shop.example/thanks?order=7',
    'return_url' => 'https://shop.example/order',
]);
$created = $sessions->createCheckoutSession($basket, 'order-7');
$retrieved = $sessions->retrieveCheckoutSession($created->getId());
$listed = $sessions->listCheckoutSessions(limit: 5, status: CheckoutSessionStatus::OPEN);
$expired = $sessions->expireCheckoutSession($created->getId());
$later = $sessions->listCheckoutSessions(created_gte: $created->getCreated() + 1);

$ids = fn ($page) => array_map(fn ($session) => $session->getId(), $page->getData());
echo json_encode([
    'created' => $created,
    'retrieved' => $retrieved,
    'listed' => $ids($listed),
    'expired' => $expired,
    'expired again' => refusal(fn () => $sessions->expireCheckoutSession($created->getId())),
    'unknown' => refusal(fn () => $sessions->retrieveCheckoutSession('cs_test_unknown')),
    'created later' => $ids($later),
]), "\n";
