# SPDX-License-Identifier: AGPL-3.0-or-later
"""
A partner's endpoint in miniature: verify, store under the id, answer.

    WEBHOOK_SECRET=whsec_… python docs/quickstarts/partner.py
"""

import json
import os
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "partners"))
from verify import verify

SECRET, PORT = os.environ.get("WEBHOOK_SECRET", ""), int(os.environ.get("PORT", "8008"))
had: dict[str, dict] = {}


class Endpoint(BaseHTTPRequestHandler):
    """Takes what is posted, whatever the path."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            verify(SECRET, self.headers, body)
        except ValueError as err:
            print(f"refused: {err}", flush=True)
            self.send_error(401)
            return
        webhook_id = self.headers["webhook-id"]
        if webhook_id not in had:
            had[webhook_id] = json.loads(body)
            print(f"webhook {webhook_id}, genuine:\n{json.dumps(had[webhook_id], indent=2)}", flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args) -> None:
        """Quiet: what was taken has been printed."""


if not SECRET:
    sys.exit("Say which secret: WEBHOOK_SECRET=whsec_… python docs/quickstarts/partner.py")
server = HTTPServer(("127.0.0.1", PORT), Endpoint)
print(f"listening on http://127.0.0.1:{PORT}/webhooks", flush=True)
with suppress(KeyboardInterrupt):
    server.serve_forever()
