# SPDX-License-Identifier: AGPL-3.0-or-later
"""The partners' side: a real HTTP server that takes six webhooks of ten, and keeps a record of all."""

import contextlib
import json
import os
import random
import socket
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

ANSWERS = ("500", "429", "hang", "reset")
#: the share of each of these
SHARE = 0.1
#: longer than any endpoint's timeout
HANG_SECONDS = 20.0
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Post(NamedTuple):
    """One POST: when it came (Unix time), what it said, and how it was answered ("200" or one of ``ANSWERS``)."""

    at: float
    path: str
    webhook_id: str
    timestamp: int
    body: bytes
    answer: str


class Receiver(ThreadingHTTPServer):
    """
    ``url(number)`` is what an endpoint is given.

    The answer hangs on the seed, the learner and how often the webhook has come before, hence not on which of two
    requests was faster. Once ``recovered`` it takes everything: with four failures in ten, an endpoint's breaker, which
    stays open twice as long after each failed probe, would end when chance wills.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posts: list[Post] = []
        self.faults: list[BaseException] = []
        self.recovered = False
        self._seed = seed
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook/{number}"

    def take(self, path: str, headers: Any, body: bytes) -> str:
        """Put a POST down; returns how to answer it."""
        learner = json.loads(body)["learner"]["username"]
        with self._lock:
            webhook_id = headers["webhook-id"]
            chance = random.Random(f"{self._seed} {learner} {self._seen[webhook_id]}").random()
            answer = ANSWERS[int(chance / SHARE)] if chance < SHARE * len(ANSWERS) and not self.recovered else "200"
            self._seen[webhook_id] += 1
            timestamp = int(headers["webhook-timestamp"])
            self.posts.append(Post(time.time(), path, webhook_id, timestamp, body, answer))
        return answer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that was killed breaks its connections; anything else is a fault of the receiver's own."""
        import sys

        fault = sys.exc_info()[1]
        if fault and not isinstance(fault, OSError):
            self.faults.append(fault)

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.take(self.path, self.headers, body)
        if answer == "hang":
            self._hang()
        elif answer == "reset":
            self._reset()
        else:
            self.send_response(int(answer))
            if answer == "429":
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _hang(self) -> None:
        """Say nothing until the sender has given up."""
        self.close_connection = True
        self.connection.settimeout(HANG_SECONDS)
        with contextlib.suppress(OSError):
            self.connection.recv(1)

    def _reset(self) -> None:
        """Break the connection with an RST; closed the usual way, it would be ended in good order before."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        os.close(self.connection.detach())

    def log_message(self, *args: Any) -> None:
        """Quiet: the record says it all."""
