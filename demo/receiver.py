# SPDX-License-Identifier: AGPL-3.0-or-later
"""The partner's side: an HTTP server that keeps what it is sent, and the judgement on it."""

import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from demo.people import NO_WEBHOOK

COMPLETION_KEYS = {"completed", "completion_date", "percent_grade", "letter_grade", "is_passing"}
KEYS = {"event_type", "event_version", "event_source", "timestamp", "enterprise_customer", "learner", "course"}


@dataclass
class Received:
    """One POST: the body, and when it came (seconds since the epoch)."""

    body: dict[str, Any]
    at: float


class Receiver:
    """A real HTTP server on loopback."""

    def __init__(self) -> None:
        self.posts: dict[tuple[int, str], list[Received]] = defaultdict(list)
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                key = (body["learner"]["user_id"], body["enterprise_customer"]["uuid"])
                posts[key].append(Received(body, time.time()))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Quiet: the table says it all."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def count(self) -> int:
        """How many POSTs have come."""
        return sum(map(len, self.posts.values()))


def judge(expected: Any, posts: list[Received]) -> str:
    """The verdict on what came for one learner and customer: ``ok``, or what is wrong with it."""
    if expected == NO_WEBHOOK:
        return "ok" if not posts else "TOO MANY: no webhook was due"
    if not posts:
        return "MISSING"
    if len(posts) > 1:
        return f"TOO MANY: {len(posts)} came"
    body = posts[0].body
    completion = dict(body.get("completion") or {})
    learning_time = completion.pop("learning_time", None)
    if set(body) != KEYS | {"completion"} or set(completion) != COMPLETION_KEYS:
        return "WRONG: not the promised shape"
    if learning_time != expected:
        return f"WRONG: learning time {learning_time}, expected {expected}"
    return "ok"
