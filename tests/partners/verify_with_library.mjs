// SPDX-License-Identifier: AGPL-3.0-or-later
// Verify a webhook with the npm package standardwebhooks: exit 0 when it is genuine, otherwise 1 with the reason.
import { readFileSync } from "node:fs";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const { env } = process;
try {
  new Webhook(env.WEBHOOK_SECRET).verify(readFileSync(process.argv[2]), {
    "webhook-id": env.WEBHOOK_ID,
    "webhook-timestamp": env.WEBHOOK_TIMESTAMP,
    "webhook-signature": env.WEBHOOK_SIGNATURE,
  });
} catch (err) {
  if (!(err instanceof WebhookVerificationError)) throw err; // node prints the trace: the test sees more than one line
  console.error(`refused: ${err.message}`);
  process.exitCode = 1;
}
