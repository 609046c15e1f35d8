# SPDX-License-Identifier: AGPL-3.0-or-later
"""
A TCP proxy in front of Snowflake: it can make every round trip slower, and writes down the statements on the wire.

``python -m benchmarks.proxy``, with the server's port in ``UPSTREAM_PORT``. A statement is a POST to the query-request
path whose SQL names the rollup; logins and session set-up are other requests.
"""

import asyncio
import contextlib
import gzip
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.parts import serve

QUERY_PATH, LOGIN_PATH = b"/queries/v1/query-request", b"/session/v1/login-request"
ROLLUP = "LEARNING_TIME"


@dataclass
class Wire:
    """What has been seen; ``statements`` are [began, ended] as Unix times."""

    latency: float = 0.0
    statements: list[list[float]] = field(default_factory=list)
    logins: int = 0
    requests: int = 0

    def set_latency(self, seconds: float) -> None:
        self.latency = seconds

    def seen(self) -> dict[str, Any]:
        return {"statements": list(self.statements), "logins": self.logins, "requests": self.requests}

    def forget(self) -> None:
        self.statements, self.logins, self.requests = [], 0, 0


class Requests:
    """The requests in what one client sends over one connection."""

    def __init__(self) -> None:
        self._received = b""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(path, body as sent uncompressed) of each request that is complete with this data."""
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, rest = self._received.partition(b"\r\n\r\n")
            first, *lines = head.split(b"\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
            length = int(headers.get(b"content-length", 0))
            if len(rest) < length:
                return
            body, self._received = rest[:length], rest[length:]
            zipped = headers.get(b"content-encoding") == b"gzip"
            yield first.split(b" ")[1], gzip.decompress(body) if zipped else body


class Connection:
    """One client's connection, and the server's on the other side."""

    def __init__(self, wire: Wire) -> None:
        self._wire, self._requests = wire, Requests()
        self._statement: list[float] | None = None

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        # The TCP handshake is a round trip as well.
        await asyncio.sleep(self._wire.latency)
        server, to_server = await asyncio.open_connection("127.0.0.1", int(os.environ["UPSTREAM_PORT"]))
        answers = asyncio.create_task(self._answers(server, to_client))
        with contextlib.suppress(ConnectionError):
            while data := await client.read(65536):
                for path, body in self._requests.feed(data):
                    self._note(path, body)
                to_server.write(data)
                await to_server.drain()
        to_server.close()
        await answers

    async def _answers(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Hand answers on, each piece as late as the latency says; the pieces of one answer overlap."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        writer = asyncio.create_task(self._write(pieces, to_client))
        with contextlib.suppress(ConnectionError):
            while data := await server.read(65536):
                pieces.put_nowait((loop.time() + self._wire.latency, data))
        pieces.put_nowait((loop.time() + self._wire.latency, b""))
        await writer

    async def _write(self, pieces: "asyncio.Queue[tuple[float, bytes]]", to_client: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while True:
                at, data = await pieces.get()
                await asyncio.sleep(at - loop.time())
                if not data:
                    break
                if self._statement:
                    self._statement[1] = time.time()
                to_client.write(data)
                await to_client.drain()
        to_client.close()

    def _note(self, path: bytes, body: bytes) -> None:
        self._wire.requests += 1
        self._wire.logins += path.startswith(LOGIN_PATH)
        self._statement = None
        if path.startswith(QUERY_PATH) and ROLLUP in json.loads(body).get("sqlText", "").upper():
            now = time.time()
            self._statement = [now, now]
            self._wire.statements.append(self._statement)


def _serve(wire: Wire, port: int) -> None:
    serve({"latency": wire.set_latency, "seen": wire.seen, "forget": wire.forget}, port=port)
    os._exit(0)


async def main() -> None:
    wire = Wire()

    async def connect(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        await Connection(wire).serve(client, to_client)

    server = await asyncio.start_server(connect, "127.0.0.1", 0, backlog=512)
    port = server.sockets[0].getsockname()[1]
    threading.Thread(target=_serve, args=[wire, port], daemon=True).start()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
