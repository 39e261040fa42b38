import { createApp } from "./app.ts";

const port = Number(process.env["PORT"] ?? 3000);
const publicUrl = process.env["SHOP_URL"] ?? `http://127.0.0.1:${port}`;

const app = createApp({
  qashierUrl: process.env["QASHIER_URL"] ?? "http://127.0.0.1:4010",
  apiKey: process.env["QASHIER_API_KEY"] ?? "sk_test_default",
  webhookSecret: process.env["QASHIER_WEBHOOK_SECRET"] ?? "whsec_example",
  publicUrl,
  ordersFile: process.env["SHOP_ORDERS"] ?? "orders.json",
});

const server = app.listen(port, "127.0.0.1", () => {
  const address = server.address();
  console.log(`The shop is open on http://127.0.0.1:${typeof address === "object" && address ? address.port : port}`);
});
