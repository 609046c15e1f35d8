// Verify a webhook: exit 0 when it is genuine, otherwise 1 with the reason.
//
//     WEBHOOK_SECRET=whsec_… WEBHOOK_ID=… WEBHOOK_TIMESTAMP=… WEBHOOK_SIGNATURE=… node verify.mjs body.json

// begin: verify
import { createHmac, timingSafeEqual } from "node:crypto";

/**
 * Throws unless the webhook is genuine and less than five minutes off.
 *
 * headers: names in lower case, as in request.headers; body: the raw one, a Buffer; now: Unix seconds
 */
function verify(secret, headers, body, now = Date.now() / 1000) {
  const { "webhook-id": id, "webhook-timestamp": seconds, "webhook-signature": signatures } = headers;
  if (!id || !seconds || !signatures) throw new Error("a webhook header is missing");
  if (!/^[0-9]{1,12}$/.test(seconds)) throw new Error("the timestamp is no number");
  if (Math.abs(now - Number(seconds)) > 300) throw new Error("the timestamp is more than five minutes off");
  const key = Buffer.from((secret ?? "").replace(/^whsec_/, ""), "base64");
  if (key.length < 24) throw new Error("the secret is missing or incomplete"); // anybody could sign with an empty key
  const expected = createHmac("sha256", key).update(`${id}.${seconds}.`).update(body).digest("base64");
  const wanted = Buffer.from(`v1,${expected}`);
  const genuine = signatures.split(" ").some((signature) => {
    const given = Buffer.from(signature);
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  });
  if (!genuine) throw new Error("no signature matches");
}
// end: verify

import { readFileSync } from "node:fs";

const { env } = process;
const headers = {
  "webhook-id": env.WEBHOOK_ID,
  "webhook-timestamp": env.WEBHOOK_TIMESTAMP,
  "webhook-signature": env.WEBHOOK_SIGNATURE,
};
try {
  verify(env.WEBHOOK_SECRET, headers, readFileSync(process.argv[2]), Number(env.WEBHOOK_NOW || Date.now() / 1000));
} catch (err) {
  console.error(`refused: ${err.message}`);
  process.exitCode = 1;
}
