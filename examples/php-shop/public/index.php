<?php

declare(strict_types=1);

use Shop\Answer;
use Shop\Orders;
use Shop\Qashier;
use Shop\Shop;

require __DIR__ . '/../src/autoload.php';

$setting = static fn (string $name, string $default): string => getenv($name) ?: $default;
$shop = new Shop(
    new Qashier(
        $setting('QASHIER_URL', 'http://127.0.0.1:4010'),
        $setting('QASHIER_API_KEY', 'sk_test_default'),
        array_map(floatval(...), explode(',', $setting('SHOP_PAUSES', '0.5,2'))),
    ),
    new Orders($setting('SHOP_DATABASE', __DIR__ . '/../shop.sqlite3')),
    $setting('QASHIER_WEBHOOK_SECRET', 'whsec_example'),
    $setting('SHOP_URL', "http://{$_SERVER['HTTP_HOST']}"),
);

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$answer = match (true) {
    "{$_SERVER['REQUEST_METHOD']} $path" === 'POST /orders'
        => $shop->placeOrder($_POST['item'] ?? '', (int) ($_POST['quantity'] ?? 1)),
    // The raw body, because that is what is signed.
    "{$_SERVER['REQUEST_METHOD']} $path" === 'POST /webhooks/qashier'
        => $shop->receive((string) file_get_contents('php://input'), $_SERVER['HTTP_X_QASHIER_SIGN'] ?? ''),
    "{$_SERVER['REQUEST_METHOD']} $path" === 'POST /reconcile' => $shop->reconcile(),
    $path === '/shipments' => $shop->shipments($_GET['session'] ?? ''),
    (bool) preg_match('#^/orders/(\d+)$#', $path, $found) => $shop->showOrder((int) $found[1]),
    default => new Answer(404, 'There is no such page.'),
};
http_response_code($answer->status);
if ($answer->location !== null) {
    header("Location: {$answer->location}");
}
echo $answer->body;
