# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The partner: a process that answers every POST with 200 at once and writes down when it came.

Kept-alive HTTP/1.1, by hand on asyncio: what the receiver costs is taken from the cores that are measured.
"""

import asyncio
import json
import os
import threading
import time
from typing import Any

from benchmarks.parts import serve

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

#: (arrival as Unix time, webhook-id, body)
_posts: list[tuple[float, str, bytes]] = []


class _Connection(asyncio.Protocol):
    """One connection, any number of requests."""

    def connection_made(self, transport: Any) -> None:
        self._transport, self._received = transport, b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, rest = self._received.partition(b"\r\n\r\n")
            headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            length = int(headers.get(b"content-length", 0))
            if len(rest) < length:
                return
            _posts.append((time.time(), headers.get(b"webhook-id", b"").decode(), rest[:length]))
            self._received = rest[length:]
            self._transport.write(ANSWER)


def count() -> int:
    """How many POSTs have come."""
    return len(_posts)


def posts() -> list[tuple[float, str, int | None, int | None]]:
    """(arrival, webhook-id, user id, learning time) of each POST."""
    return [(at, webhook_id, *_facts(body)) for at, webhook_id, body in list(_posts)]


def _facts(body: bytes) -> tuple[int | None, int | None]:
    try:
        told: dict[str, Any] = json.loads(body)
    except ValueError:
        return None, None
    return told.get("learner", {}).get("user_id"), told.get("completion", {}).get("learning_time")


def _serve(port: int) -> None:
    serve({"count": count, "posts": posts, "forget": _posts.clear}, port=port)
    os._exit(0)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=512)
    threading.Thread(target=_serve, args=[server.sockets[0].getsockname()[1]], daemon=True).start()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
