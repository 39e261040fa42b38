<?php

declare(strict_types=1);

namespace Shop\Tests;

use RuntimeException;

/** A program that runs until the tests are over. */
final class Program
{
    /** @var resource */
    private $process;

    /** @var resource */
    private $output;

    /** @param list<string> $command */
    public function __construct(private readonly array $command, array $environment = [], private readonly int $pipe = 1)
    {
        $null = ['file', '/dev/null', 'w'];
        $descriptors = [['file', '/dev/null', 'r'], $null, $null];
        $descriptors[$pipe] = ['pipe', 'w'];
        $this->process = proc_open($command, $descriptors, $pipes, null, [...getenv(), ...$environment]);
        $this->output = $pipes[$pipe];
    }

    /** The first line that it prints and that matches: what the pattern found. */
    public function waitFor(string $pattern): array
    {
        while (($line = fgets($this->output)) !== false) {
            if (preg_match($pattern, $line, $found)) {
                return $found;
            }
        }
        throw new RuntimeException(implode(' ', $this->command) . ' ended before it was ready.');
    }

    public function stop(): void
    {
        proc_terminate($this->process);
        proc_close($this->process);
    }
}

/** One account of a running mock, through its control API. */
final class MockAccount
{
    public readonly string $apiKey;

    public function __construct(public readonly string $url)
    {
        $this->apiKey = 'sk_test_' . bin2hex(random_bytes(12));
    }

    /** Start `qashier-mock serve` on a free port; the program, and where it is. */
    public static function startMock(): array
    {
        $command = explode(' ', getenv('QASHIER_MOCK') ?: 'qashier-mock');
        $mock = new Program([...$command, 'serve', '--port', '0', '--log-format', 'json']);

        return [$mock, $mock->waitFor('/"url": ?"([^"]+)"/')[1]];
    }

    public function call(string $method, string $path, ?array $body = null): array
    {
        $request = curl_init("{$this->url}/_mock/v1$path");
        curl_setopt_array($request, [
            CURLOPT_CUSTOMREQUEST => $method,
            CURLOPT_USERPWD => "{$this->apiKey}:",
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_HTTPHEADER => ['Content-Type: application/json'],
        ]);
        if ($body !== null) {
            curl_setopt($request, CURLOPT_POSTFIELDS, json_encode($body, JSON_THROW_ON_ERROR));
        }
        $answer = (string) curl_exec($request);
        $status = curl_getinfo($request, CURLINFO_RESPONSE_CODE);
        if ($status < 200 || $status >= 300) {
            throw new RuntimeException("$method $path: $status $answer");
        }

        return json_decode($answer, true) ?? [];
    }

    public function pay(string $id): void
    {
        $this->call('POST', "/sessions/$id/pay", ['outcome' => 'succeeded']);
    }

    public function decline(string $id): void
    {
        $this->call('POST', "/sessions/$id/pay", ['outcome' => 'failed']);
    }

    /** Move the account's clock; webhooks and retries that fall due are delivered before the answer. */
    public function advance(int $seconds): void
    {
        $this->call('POST', '/clock/advance', ['seconds' => $seconds]);
    }

    /** Deliver what is due now, and wait for it. */
    public function flush(): void
    {
        $this->call('POST', '/deliveries/flush');
    }

    public function fault(array $rule): void
    {
        $this->call('POST', '/faults', $rule);
    }
}
