/** The mock of Qashier for the tests: one process for a test run, an account of its own for each test. */

import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";

const COMMAND = process.env["QASHIER_MOCK"] ?? "qashier-mock";

/** Start `qashier-mock serve` on a free port; where it is, and how to stop it. */
export async function startMock(): Promise<{ url: string; stop: () => void }> {
  const mock: ChildProcess = spawn(`${COMMAND} serve --port 0 --log-format json`, {
    shell: true,
    detached: true, // a process group of its own, so that the shell's child ends too
    stdio: ["ignore", "pipe", "ignore"],
  });
  for await (const line of createInterface({ input: mock.stdout! })) {
    const { url } = JSON.parse(line) as { url: string };
    return { url, stop: () => process.kill(-mock.pid!, "SIGTERM") };
  }
  throw new Error(`${COMMAND} ended before it was ready: is it installed? (pip install qashier-mock)`);
}

/** One account of the mock, through its control API. */
export class MockAccount {
  readonly apiKey = `sk_test_${randomBytes(12).toString("hex")}`;

  constructor(readonly url: string) {}

  /** Pay a session as the customer does. */
  pay = (id: string) => this.call("POST", `/sessions/${id}/pay`, { outcome: "succeeded" });
  /** Let the customer's payment be declined. */
  decline = (id: string) => this.call("POST", `/sessions/${id}/pay`, { outcome: "failed" });
  /** Move the account's clock; webhooks and retries that fall due are delivered before the answer. */
  advance = (seconds: number) => this.call("POST", "/clock/advance", { seconds });
  /** Deliver what is due now, and wait for it. */
  flush = () => this.call("POST", "/deliveries/flush");
  deliverTo = (url: string, secret: string) => this.call("POST", "/webhook-endpoints", { url, secret });
  fault = (rule: object) => this.call("POST", "/faults", rule);
  clearFaults = () => this.call("DELETE", "/faults");
  sessions = async () => ((await this.call("GET", "/snapshot")) as { sessions: { id: string }[] }).sessions;

  async call(method: string, path: string, body?: unknown): Promise<unknown> {
    const answer = await fetch(`${this.url}/_mock/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${this.apiKey}`, "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? undefined : answer.json();
  }
}
