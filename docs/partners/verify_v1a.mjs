// Verify a webhook with a public key: exit 0 when it is genuine, otherwise 1 with the reason.
//
//     WEBHOOK_PUBLIC_KEY=whpk_… WEBHOOK_ID=… WEBHOOK_TIMESTAMP=… WEBHOOK_SIGNATURE=… node verify_v1a.mjs body.json

// begin: verify
import { createPublicKey, verify as matches } from "node:crypto";

/**
 * Throws unless the webhook is genuine and less than five minutes off.
 *
 * headers: names in lower case, as in request.headers; body: the raw one, a Buffer; now: Unix seconds
 */
function verify(publicKey, headers, body, now = Date.now() / 1000) {
  const { "webhook-id": id, "webhook-timestamp": seconds, "webhook-signature": signatures } = headers;
  if (!id || !seconds || !signatures) throw new Error("a webhook header is missing");
  if (!/^[0-9]{1,12}$/.test(seconds)) throw new Error("the timestamp is no number");
  if (Math.abs(now - Number(seconds)) > 300) throw new Error("the timestamp is more than five minutes off");
  const x = Buffer.from((publicKey ?? "").replace(/^whpk_/, ""), "base64").toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  const signed = Buffer.concat([Buffer.from(`${id}.${seconds}.`), body]);
  const genuine = signatures.split(" ").some((each) => {
    const [version, signature] = each.split(",");
    if (version !== "v1a") return false;
    return matches(null, signed, key, Buffer.from(signature ?? "", "base64"));
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
  verify(env.WEBHOOK_PUBLIC_KEY, headers, readFileSync(process.argv[2]), Number(env.WEBHOOK_NOW || Date.now() / 1000));
} catch (err) {
  console.error(`refused: ${err.message}`);
  process.exitCode = 1;
}
