<?php

declare(strict_types=1);

namespace Shop\Tests;

use PHPUnit\Framework\TestCase;
use Shop\Signature;

final class ShopTest extends TestCase
{
    private const SECRET = 'whsec_of_the_shop';

    private static Program $mock;
    private static string $mockUrl;

    private MockAccount $account;
    private Program $shop;
    private string $shopUrl;
    private string $database;

    public static function setUpBeforeClass(): void
    {
        [self::$mock, self::$mockUrl] = MockAccount::startMock();
    }

    public static function tearDownAfterClass(): void
    {
        self::$mock->stop();
    }

    protected function setUp(): void
    {
        $this->account = new MockAccount(self::$mockUrl);
        $this->database = tempnam(sys_get_temp_dir(), 'shop');
        $this->shop = new Program([PHP_BINARY, '-S', '127.0.0.1:0', __DIR__ . '/../public/index.php'], [
            'QASHIER_URL' => self::$mockUrl,
            'QASHIER_API_KEY' => $this->account->apiKey,
            'QASHIER_WEBHOOK_SECRET' => self::SECRET,
            'SHOP_DATABASE' => $this->database,
            'SHOP_PAUSES' => '0.001,0.001',
        ], 2);
        $this->shopUrl = $this->shop->waitFor('#\((http://127\.0\.0\.1:\d+)\) started#')[1];
        $endpoint = ['url' => "{$this->shopUrl}/webhooks/qashier", 'secret' => self::SECRET];
        $this->account->call('POST', '/webhook-endpoints', $endpoint);
    }

    protected function tearDown(): void
    {
        $this->shop->stop();
        unlink($this->database);
    }

    public function testAnOrderThatIsPaidIsShippedOnce(): void
    {
        $this->account->pay($this->buy());
        $this->account->flush();
        $this->assertOrder('paid', 1);
    }

    public function testAWebhookThatComesTwiceShipsOnce(): void
    {
        $this->account->fault(['action' => 'duplicate', 'webhook' => '*']);
        $this->account->pay($this->buy());
        $this->account->flush();
        $this->assertOrder('paid', 1);
    }

    public function testAWebhookThatIsLostIsMadeUpForByReconciling(): void
    {
        $this->account->fault(['action' => 'drop', 'webhook' => '*']);
        $this->account->pay($this->buy());
        $this->account->flush();
        $this->assertOrder('pending', 0);
        $this->request('POST', '/reconcile');
        $this->request('POST', '/reconcile');
        $this->assertOrder('paid', 1);
    }

    public function testAWebhookWithAnotherSignatureIsRefused(): void
    {
        $this->account->fault(['action' => 'bad_signature', 'webhook' => '*']);
        $this->account->pay($this->buy());
        $this->account->flush();
        $this->assertOrder('pending', 0);
    }

    public function testADeclinedPaymentCanBeTriedAgain(): void
    {
        $id = $this->buy();
        $this->account->decline($id);
        $this->account->pay($id);
        $this->account->flush();
        $this->assertOrder('paid', 1);
    }

    public function testASessionThatExpiresClosesItsOrder(): void
    {
        $this->buy();
        $this->account->advance(86_400);
        $this->assertOrder('expired', 0);
    }

    public function testAnAnswerThatIsLostOpensNoSecondSession(): void
    {
        $this->account->fault(['action' => 'lose_answer', 'operation' => 'create_checkout_session', 'times' => 1]);
        $this->buy();
        self::assertCount(1, $this->account->call('GET', '/snapshot')['sessions']);
    }

    public function testAWebhookThatComesWhileQashierIsDownIsTriedAgain(): void
    {
        $id = $this->buy();
        $this->account->fault(['action' => 'status', 'status' => 503, 'operation' => '*']);
        $this->account->pay($id);
        $this->account->flush();
        $this->assertOrder('pending', 0);
        $this->account->call('DELETE', '/faults');
        $this->account->advance(60);
        $this->assertOrder('paid', 1);
    }

    public function testOnlyTheRawBodyAndTheRightSecretVerify(): void
    {
        $body = '{"name": "caf\\u00e9"}';
        $signature = 'Wj0l8WK15S7SmshllM5vXg0xxtecOXUsa03Ox3OfS+E=';
        self::assertTrue(Signature::isValid($body, $signature, self::SECRET));
        self::assertFalse(Signature::isValid($body, $signature, 'whsec_other'));
        self::assertFalse(Signature::isValid($body, '', self::SECRET));
        self::assertFalse(Signature::isValid(json_encode(json_decode($body)), $signature, self::SECRET));
    }

    /** Order something, up to where the customer is sent to the hosted page: the id of the session. */
    private function buy(): string
    {
        [$status, , $location] = $this->request('POST', '/orders', ['item' => 'House blend', 'quantity' => 2]);
        self::assertSame(303, $status);

        return basename($location);
    }

    private function assertOrder(string $status, int $shipments): void
    {
        $order = json_decode($this->request('GET', '/orders/1')[1], true);
        self::assertSame([$status, $shipments], [$order['status'], $order['shipments']]);
    }

    /** @return array{int, string, string} status, body and where it leads */
    private function request(string $method, string $path, array $fields = []): array
    {
        $request = curl_init($this->shopUrl . $path);
        curl_setopt_array($request, [CURLOPT_CUSTOMREQUEST => $method, CURLOPT_RETURNTRANSFER => true]);
        if ($fields !== []) {
            curl_setopt($request, CURLOPT_POSTFIELDS, $fields);
        }
        $body = (string) curl_exec($request);

        return [
            curl_getinfo($request, CURLINFO_RESPONSE_CODE),
            $body,
            (string) curl_getinfo($request, CURLINFO_REDIRECT_URL),
        ];
    }
}
