# SPDX-License-Identifier: AGPL-3.0-or-later
"""The partner's side: an HTTP server on loopback that keeps whatever it is sent."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from demo.verdict import Received

NOBODY = (0, "")


class Receiver:
    """A real HTTP server; ``url`` is what an endpoint is given."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def take(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    body = json.loads(content)
                except ValueError:
                    body = None
                requests.append(Received(self.command, self.headers.get("Content-Type", ""), body, time.time()))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = take

            def log_message(self, *args: Any) -> None:
                """Quiet: the table says it all."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()


def about(request: Received) -> tuple[int, str]:
    """Whom a request is about: user id and customer uuid, ``NOBODY`` where it does not say."""
    try:
        return int(request.body["learner"]["user_id"]), str(request.body["enterprise_customer"]["uuid"])
    except (KeyError, TypeError, ValueError):
        return NOBODY
