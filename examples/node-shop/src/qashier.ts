/** Qashier's API, as far as this shop uses it. */

export interface CheckoutSession {
  id: string;
  url: string;
  status: "open" | "complete" | "expired";
  payment_status: "paid" | "unpaid" | "no_payment_required";
  amount_total: number;
  success_url: string;
  created: number;
}

export interface NewCheckoutSession {
  line_items: {
    price_data: { currency: string; unit_amount: number; product_data: { name: string } };
    quantity: number;
  }[];
  success_url: string;
  return_url: string;
  cancel_url?: string;
}

/** The API gave no usable answer, not even when asked again. */
export class QashierDown extends Error {}

/** The API refused a request: a mistake of ours. */
export class QashierRefused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(`Qashier answered ${status}: ${message}`);
  }
}

const BUSY = new Set([429, 500, 502, 503, 504]);

export class Qashier {
  readonly #authorization: string;

  /** @param pausesMs Milliseconds to wait before the second and each later try. */
  constructor(
    private readonly baseUrl: string,
    apiKey: string,
    private readonly pausesMs: number[] = [500, 2_000],
  ) {
    this.#authorization = `Basic ${Buffer.from(`${apiKey}:`).toString("base64")}`;
  }

  /** Create a session. Who did not get the answer may ask again with the same key: it is the same session. */
  createSession(body: NewCheckoutSession, idempotencyKey: string): Promise<CheckoutSession> {
    return this.#send("POST", "/checkout/sessions", { body, idempotencyKey });
  }

  retrieveSession(id: string): Promise<CheckoutSession> {
    return this.#send("GET", `/checkout/sessions/${encodeURIComponent(id)}`);
  }

  /** Every session created at or after an instant (epoch seconds), newest first. */
  async *sessionsSince(instant: number): AsyncGenerator<CheckoutSession> {
    let after = "";
    for (;;) {
      const query = `created[gte]=${instant}&limit=100${after && `&starting_after=${encodeURIComponent(after)}`}`;
      const page = await this.#send<{ data: CheckoutSession[]; has_more: boolean }>("GET", `/checkout/sessions?${query}`);
      yield* page.data;
      const last = page.data.at(-1);
      if (!page.has_more || last === undefined) return;
      after = last.id;
    }
  }

  /** Send a request, a few times if need be: each of ours is safe to repeat. */
  async #send<T>(method: string, path: string, request: { body?: unknown; idempotencyKey?: string } = {}): Promise<T> {
    const headers: Record<string, string> = { authorization: this.#authorization };
    if (request.body !== undefined) headers["content-type"] = "application/json";
    if (request.idempotencyKey !== undefined) headers["idempotency-key"] = request.idempotencyKey;
    let reason = "";
    for (const pauseMs of [...this.pausesMs, undefined]) {
      try {
        const answer = await fetch(this.baseUrl + path, {
          method,
          headers,
          body: request.body === undefined ? null : JSON.stringify(request.body),
          signal: AbortSignal.timeout(10_000),
        });
        if (answer.ok) return (await answer.json()) as T;
        if (!BUSY.has(answer.status)) throw new QashierRefused(answer.status, await answer.text());
        reason = `status ${answer.status}`;
      } catch (error) {
        if (error instanceof QashierRefused) throw error;
        reason = String(error); // no answer, or one that broke off
      }
      if (pauseMs !== undefined) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    throw new QashierDown(`${method} ${path}: ${reason}`);
  }
}
