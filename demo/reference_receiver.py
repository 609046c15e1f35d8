# SPDX-License-Identifier: AGPL-3.0-or-later
"""
A partner's receiver that does all that it must, with the standard library alone.

    WEBHOOK_SECRET=whsec_… python -m demo.reference_receiver

(A public key, ``whpk_…``, may stand in its place; that takes the package ``cryptography`` as well.)

``Records`` is the part to copy: the id of a webhook and what it says are kept in one transaction, a completion has one
row however often its number is revised, and a learner who is erased is gone and stays so.
"""

import hmac
import json
import os
import sqlite3
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from docs.partners.verify import verify

# begin: records
TABLES = """
CREATE TABLE IF NOT EXISTS webhook (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS completion (
    id TEXT PRIMARY KEY, revision INTEGER NOT NULL,
    learner TEXT, course TEXT NOT NULL, seconds INTEGER
);
CREATE TABLE IF NOT EXISTS erased (learner BLOB PRIMARY KEY, at REAL NOT NULL);
"""
#: seconds for which it is known who was erased: whatever our own queues hold up comes within that time
REMEMBERED = 4 * 24 * 3600


class Records:
    """What the partner keeps, in SQLite: a file, or the memory of this process."""

    def __init__(self, path: str = ":memory:", key: bytes = b"of this partner alone") -> None:
        self.key = key
        self.database = sqlite3.connect(path, check_same_thread=False)
        self.database.executescript(TABLES)
        self.one_at_a_time = threading.Lock()

    def take(self, webhook_id: str, event: dict[str, Any]) -> bool:
        """Record a webhook, all of it or nothing; False where it is here already."""
        with self.one_at_a_time, self.database:
            if not self.database.execute("INSERT OR IGNORE INTO webhook VALUES (?)", [webhook_id]).rowcount:
                return False
            if event["event_type"] in ("course_completion", "course_completion.revised"):
                self._completion(webhook_id, event, event["completion"])
            elif event["event_type"] == "learner.erased":
                self._erase(event["learner"])
            # Enrolments, tests, and whatever is added later: nothing to do, and no error either.
            return True

    def _completion(self, webhook_id: str, event: dict[str, Any], completion: dict[str, Any]) -> None:
        """One row for each completion, whichever of its webhooks comes first: the highest revision counts."""
        who = _name(event["learner"])
        if self.database.execute("SELECT 1 FROM erased WHERE learner = ?", [self._hashed(who)]).fetchone():
            return
        row = (
            event.get("completion_id", webhook_id),
            event.get("revision", 0),
            who,
            event["course"]["course_key"],
            completion.get("learning_time"),  # None: not known, which is not 0
        )
        self.database.execute(
            "INSERT INTO completion VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "revision = excluded.revision, seconds = excluded.seconds WHERE excluded.revision > revision",
            row,
        )

    def _erase(self, learner: dict[str, Any]) -> None:
        """What is left is a number of seconds that is nobody's, and for a while what tells those that come late."""
        who, now = _name(learner), time.time()
        self.database.execute("UPDATE completion SET learner = NULL WHERE learner = ?", [who])
        self.database.execute("DELETE FROM erased WHERE at < ?", [now - REMEMBERED])
        self.database.execute("INSERT OR REPLACE INTO erased VALUES (?, ?)", [self._hashed(who), now])

    def _hashed(self, who: str) -> bytes:
        return hmac.digest(self.key, who.encode(), "sha256")

    def completions(self) -> list[tuple[str | None, str, int | None]]:
        """Learner, course run and seconds of every completion."""
        with self.one_at_a_time:
            return self.database.execute(
                "SELECT learner, course, seconds FROM completion ORDER BY course, learner"
            ).fetchall()

    def close(self) -> None:
        """The file is closed."""
        self.database.close()


def _name(learner: dict[str, Any]) -> str:
    """How the webhooks name a learner, whatever was agreed on: the same object in all of them."""
    return json.dumps(learner, sort_keys=True, ensure_ascii=False)


# end: records
class ReferenceReceiver:
    """``answer`` to everything that is posted; with a TLS context, over https."""

    def __init__(self, secrets: Sequence[str], records: Records, port: int = 0, tls: ssl.SSLContext | None = None):
        self.secrets, self.records = secrets, records
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(receiver.answer(self.headers, body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Quiet: what came is personal data."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' * bool(tls)}://127.0.0.1:{self.server.server_port}/webhooks"

    def answer(self, headers: Mapping[str, str], body: bytes) -> int:
        """The status for one request."""
        if not self.is_genuine(headers, body):
            return HTTPStatus.UNAUTHORIZED
        self.records.take(headers["webhook-id"], json.loads(body))
        return HTTPStatus.OK

    def is_genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether it is signed with one of our secrets, or for one of our public keys, within the last five minutes."""
        for secret in self.secrets:
            with suppress(ValueError):
                _verifier(secret)(secret, headers, body)
                return True
        return False

    def start(self) -> "ReferenceReceiver":
        """Serve in a thread."""
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()


def _verifier(key: str) -> Callable[..., None]:
    if not key.startswith("whpk_"):
        return verify
    from docs.partners.verify_v1a import verify as verify_v1a

    return verify_v1a


def main() -> None:
    """Serve until Ctrl-C."""
    secrets = os.environ.get("WEBHOOK_SECRET", "").split()
    if not secrets:
        sys.exit("Say which secret: WEBHOOK_SECRET=whsec_… python -m demo.reference_receiver")
    receiver = ReferenceReceiver(secrets, Records(), int(os.environ.get("PORT", "8008")))
    print(f"listening on {receiver.url}", flush=True)
    with suppress(KeyboardInterrupt):
        receiver.server.serve_forever()


if __name__ == "__main__":
    main()
