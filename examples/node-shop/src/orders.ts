import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { CheckoutSession } from "./qashier.ts";

export interface Order {
  id: number;
  item: string;
  quantity: number;
  unitAmount: number; // in cents
  status: "pending" | "paid" | "expired";
  sessionId: string | null;
  shipments: number;
  placedAt: number; // epoch seconds
}

/**
 * The shop's orders, in a file that is replaced as a whole. A real shop has a database here.
 *
 * What a session means for an order is decided in `settle`, and nowhere else.
 */
export class Orders {
  #orders: Order[];

  constructor(private readonly path: string) {
    this.#orders = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Order[]) : [];
  }

  place(item: string, unitAmount: number, quantity: number): Order {
    const order: Order = {
      id: this.#orders.length + 1,
      item,
      quantity,
      unitAmount,
      status: "pending",
      sessionId: null,
      shipments: 0,
      placedAt: Math.floor(Date.now() / 1000),
    };
    this.#orders.push(order);
    this.#save();
    return order;
  }

  find(id: number): Order | undefined {
    return this.#orders.find((order) => order.id === id);
  }

  ofSession(sessionId: string): Order | undefined {
    return this.#orders.find((order) => order.sessionId === sessionId);
  }

  noteSession(order: Order, sessionId: string): void {
    order.sessionId = sessionId;
    this.#save();
  }

  /** When the oldest order was placed that is still to be paid, epoch seconds. */
  oldestPending(): number | undefined {
    return this.#orders.find((order) => order.status === "pending")?.placedAt;
  }

  /**
   * Bring an order to where its session is; whether that was news.
   *
   * Webhooks come twice, late and out of order, and reconciling sees everything again. What counts is the state of the
   * session, and an order that is paid already is never shipped again.
   */
  settle(order: Order, session: CheckoutSession): boolean {
    if (order.status === "paid") return false;
    if (session.status === "complete") {
      order.status = "paid";
      order.shipments += 1;
    } else if (session.status === "expired" && order.sessionId === session.id && order.status === "pending") {
      order.status = "expired";
    } else {
      return false;
    }
    this.#save();
    return true;
  }

  #save(): void {
    writeFileSync(`${this.path}.new`, JSON.stringify(this.#orders, null, 2));
    renameSync(`${this.path}.new`, this.path);
  }
}
