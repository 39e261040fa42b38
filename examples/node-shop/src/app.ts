import express, { type Express, type Request, type Response } from "express";
import { Orders, type Order } from "./orders.ts";
import { Qashier, QashierDown, type CheckoutSession } from "./qashier.ts";
import { isSigned } from "./signature.ts";

export interface Config {
  qashierUrl: string;
  apiKey: string;
  webhookSecret: string;
  publicUrl: string; // where customers reach this shop
  ordersFile: string;
  pausesMs?: number[];
}

const PRICES: Record<string, number> = { "House blend": 1250, "Kaya toast": 680 }; // in cents
const CLOCKS_DIFFER_BY_S = 300;

export function createApp(config: Config): Express {
  const qashier = new Qashier(config.qashierUrl, config.apiKey, config.pausesMs);
  const orders = new Orders(config.ordersFile);
  const app = express();

  app.post("/orders", express.urlencoded({ extended: false }), async (request, response) => {
    const { item, quantity } = request.body as { item?: string; quantity?: string };
    const price = PRICES[item ?? ""];
    const count = Number(quantity ?? 1);
    if (item === undefined || price === undefined || !Number.isInteger(count) || count < 1) {
      response.status(400).send("There is no such item.");
      return;
    }
    await sendToCheckout(orders.place(item, price, count), response);
  });

  app.get("/orders/:id", (request, response) => {
    const order = orders.find(Number(request.params.id));
    if (order === undefined) response.status(404).send("There is no such order.");
    else response.json(order);
  });

  // The raw bytes, because they are what is signed.
  app.post("/webhooks/qashier", express.raw({ type: "*/*" }), async (request: Request, response: Response) => {
    const body = request.body as Buffer;
    if (!isSigned(body, request.header("x-qashier-sign"), config.webhookSecret)) {
      response.status(401).send("The signature is not Qashier's.");
      return;
    }
    const event = JSON.parse(body.toString()) as { data: { object: { id: string } } };
    try {
      // An event may be old news by now: the session itself says how things stand.
      settle(await qashier.retrieveSession(event.data.object.id));
      response.status(204).end();
    } catch (error) {
      if (!(error instanceof QashierDown)) throw error;
      response.status(503).send("Try again later.");
    }
  });

  app.post("/reconcile", async (_request, response) => {
    response.json({ settled: await reconcile() });
  });

  app.get("/shipments", (request, response) => {
    response.type("text").send(`${orders.ofSession(String(request.query["session"]))?.shipments ?? 0}\n`);
  });

  async function sendToCheckout(order: Order, response: Response): Promise<void> {
    const path = `${config.publicUrl}/orders/${order.id}`;
    try {
      // The key follows from the order: after a crash, a lost answer or a double click it is the same session again.
      const session = await qashier.createSession(
        {
          line_items: [
            {
              price_data: {
                currency: "SGD",
                unit_amount: order.unitAmount,
                product_data: { name: order.item },
              },
              quantity: order.quantity,
            },
          ],
          success_url: `${path}?thanks`,
          return_url: `${path}?back`,
          cancel_url: path,
        },
        `order-${order.id}-${order.placedAt}`,
      );
      orders.noteSession(order, session.id);
      response.redirect(303, session.url);
    } catch (error) {
      if (!(error instanceof QashierDown)) throw error;
      response.status(503).send("Payments are not available just now. Your order is kept; please try again in a minute.");
    }
  }

  /** Settle what no webhook told: how many orders changed. To be run every few minutes. */
  async function reconcile(): Promise<number> {
    const since = orders.oldestPending();
    if (since === undefined) return 0;
    let settled = 0;
    for await (const session of qashier.sessionsSince(since - CLOCKS_DIFFER_BY_S)) settled += Number(settle(session));
    return settled;
  }

  function settle(session: CheckoutSession): boolean {
    const order = orders.ofSession(session.id);
    return order !== undefined && orders.settle(order, session);
  }

  return app;
}
