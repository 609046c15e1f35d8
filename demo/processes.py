# SPDX-License-Identifier: AGPL-3.0-or-later
"""The demo's processes: once started, always known, so that they can be ended whenever Ctrl-C comes."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers import CeleryWorker, Daemon
from tests.snowflake_server import SnowflakeServer

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_held() -> Iterator[None]:
    """Signals that end the demo take effect when the block is over."""
    arrived: list[int] = []
    before = {number: signal.signal(number, lambda number, _frame: arrived.append(number)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0])


class Undisturbed(Daemon):
    """
    A process whose start cannot be interrupted between its birth and the moment when its id is known.

    A subclass waits for readiness after this, so that only the birth is held.
    """

    def start(self) -> Daemon:
        with signals_held():
            return super().start()


class Worker(CeleryWorker, Undisturbed):
    """A Celery worker."""


class Snowflake(SnowflakeServer, Undisturbed):
    """A server that speaks Snowflake's protocol."""
