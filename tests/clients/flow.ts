// Drive the checkout flow with the types that openapi-typescript generates, and print what came back. The test generates
// `qashier.d.ts` beside this program. Arguments: the address, a key.
import createClient from "openapi-fetch";
import type { components, paths } from "./qashier.js";

// @ts-expect-error The types know what the document allows: this is no status, and compiling fails if they take it.
export const unknownStatus: components["schemas"]["CheckoutSessionStatus"] = "opened";

const [address, key] = process.argv.slice(2);
const client = createClient<paths>({
  baseUrl: address,
  headers: { Authorization: `Basic ${btoa(`${key}:`)}` },
});

function expect<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(`expected a success, got ${JSON.stringify(answer.error)}`);
  return answer.data;
}

const created = expect(
  await client.POST("/checkout/sessions", {
    params: { header: { "Idempotency-Key": "order-7" } },
    body: {
      line_items: [
        { price_data: { currency: "SGD", product_data: { name: "Kopi O" }, unit_amount: 180 }, quantity: 2 },
      ],
      success_url: "https://shop.example/thanks?order=7",
      return_url: "https://shop.example/order",
    },
  }),
);
const session = { params: { path: { id: created.id } } };
const retrieved = expect(await client.GET("/checkout/sessions/{id}", session));
const listed = expect(
  await client.GET("/checkout/sessions", { params: { query: { limit: 5, status: "open" } } }),
);
const expired = expect(await client.POST("/checkout/sessions/{id}/expire", session));
const again = await client.POST("/checkout/sessions/{id}/expire", session);
const unknown = await client.GET("/checkout/sessions/{id}", { params: { path: { id: "cs_test_unknown" } } });
const filtered = expect(
  await client.GET("/checkout/sessions", { params: { query: { "created[gte]": created.created + 1 } } }),
);

console.log(
  JSON.stringify({
    created,
    retrieved,
    listed: listed.data.map((each) => each.id),
    expired,
    "expired again": again.error?.error.code,
    unknown: unknown.error?.error.code,
    "created later": filtered.data.map((each) => each.id),
  }),
);
