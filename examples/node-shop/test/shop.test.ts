import { mkdtempSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createApp } from "../src/app.ts";
import type { Order } from "../src/orders.ts";
import { isSigned } from "../src/signature.ts";
import { MockAccount, startMock } from "./mock.ts";

const SECRET = "whsec_of_the_shop";

let mock: { url: string; stop: () => void };
let account: MockAccount;
let server: Server;
let shop: string;

beforeAll(async () => {
  mock = await startMock();
}, 30_000);
afterAll(() => mock?.stop());

beforeEach(async () => {
  account = new MockAccount(mock.url);
  const app = createApp({
    qashierUrl: mock.url,
    apiKey: account.apiKey,
    webhookSecret: SECRET,
    publicUrl: "http://shop.localhost",
    ordersFile: join(mkdtempSync(join(tmpdir(), "shop-")), "orders.json"),
    pausesMs: [1, 1],
  });
  await new Promise<void>((resolve) => {
    server = app.listen(0, "127.0.0.1", () => resolve());
  });
  shop = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await account.deliverTo(`${shop}/webhooks/qashier`, SECRET);
});
afterEach(() => server.close());

/** Order something, up to where the customer is sent to the hosted page. */
async function buy(): Promise<string> {
  const answer = await fetch(`${shop}/orders`, {
    method: "POST",
    body: new URLSearchParams({ item: "House blend", quantity: "2" }),
    redirect: "manual",
  });
  expect(answer.status).toBe(303);
  return answer.headers.get("location")!.split("/").at(-1)!;
}

const order = async (id = 1): Promise<Order> => (await fetch(`${shop}/orders/${id}`)).json() as Promise<Order>;
const reconcile = () => fetch(`${shop}/reconcile`, { method: "POST" });

test("an order that is paid is shipped once", async () => {
  await account.pay(await buy());
  await account.flush();
  expect(await order()).toMatchObject({ status: "paid", shipments: 1 });
});

test("a webhook that comes twice ships once", async () => {
  await account.fault({ action: "duplicate", webhook: "*" });
  await account.pay(await buy());
  await account.flush();
  expect(await order()).toMatchObject({ status: "paid", shipments: 1 });
});

test("a webhook that is lost is made up for by reconciling", async () => {
  await account.fault({ action: "drop", webhook: "*" });
  await account.pay(await buy());
  await account.flush();
  expect(await order()).toMatchObject({ status: "pending", shipments: 0 });
  await reconcile();
  await reconcile();
  expect(await order()).toMatchObject({ status: "paid", shipments: 1 });
});

test("a webhook with another signature is refused", async () => {
  await account.fault({ action: "bad_signature", webhook: "*" });
  await account.pay(await buy());
  await account.flush();
  expect(await order()).toMatchObject({ status: "pending", shipments: 0 });
});

test("a declined payment can be tried again", async () => {
  const id = await buy();
  await account.decline(id);
  await account.pay(id);
  await account.flush();
  expect(await order()).toMatchObject({ status: "paid", shipments: 1 });
});

test("a session that expires closes its order", async () => {
  await buy();
  await account.advance(86_400);
  expect(await order()).toMatchObject({ status: "expired", shipments: 0 });
});

test("an answer that is lost opens no second session", async () => {
  await account.fault({ action: "lose_answer", operation: "create_checkout_session", times: 1 });
  await buy();
  expect(await account.sessions()).toHaveLength(1);
});

test("while Qashier is down the order is kept", async () => {
  await account.fault({ action: "status", status: 503, operation: "*" });
  const answer = await fetch(`${shop}/orders`, { method: "POST", body: new URLSearchParams({ item: "Kaya toast" }) });
  expect(answer.status).toBe(503);
  expect(await order()).toMatchObject({ status: "pending" });
});

test("a webhook that comes while Qashier is down is tried again", async () => {
  const id = await buy();
  await account.fault({ action: "status", status: 503, operation: "*" });
  await account.pay(id);
  await account.flush();
  expect(await order()).toMatchObject({ status: "pending" });
  await account.clearFaults();
  await account.advance(60);
  expect(await order()).toMatchObject({ status: "paid", shipments: 1 });
});

test("only the raw body and the right secret verify", () => {
  const body = Buffer.from('{"name": "caf\\u00e9"}');
  const signature = "Wj0l8WK15S7SmshllM5vXg0xxtecOXUsa03Ox3OfS+E=";
  expect(isSigned(body, signature, SECRET)).toBe(true);
  expect(isSigned(body, signature, "whsec_other")).toBe(false);
  expect(isSigned(body, undefined, SECRET)).toBe(false);
  expect(isSigned(Buffer.from(JSON.stringify(JSON.parse(body.toString()))), signature, SECRET)).toBe(false);
});
