import { createHmac, timingSafeEqual } from "node:crypto";

/**
 * Whether Qashier sent a webhook.
 *
 * The signature is base64 of the HMAC-SHA256 of the raw body. Verify the bytes as they came: a body that was parsed and
 * written again has other bytes.
 */
export function isSigned(body: Buffer, signature: string | undefined, secret: string): boolean {
  const expected = createHmac("sha256", secret).update(body).digest();
  const given = Buffer.from(signature ?? "", "base64");
  return given.length === expected.length && timingSafeEqual(given, expected);
}
