# SPDX-License-Identifier: AGPL-3.0-or-later
"""
A step of a Celery worker's life, imported by workers alone: it imports much of Celery.

https://docs.celeryq.dev/en/stable/userguide/extending.html
"""

import threading
from typing import Any

from celery import bootsteps
from celery.worker.consumer.connection import Connection

from channel_integrations.integrated_channel.services.heartbeat import touch_file

#: as often as Celery's own heartbeat
TOUCH_SECONDS = 2.0


class AliveWhileConnecting(bootsteps.StartStopStep):
    """
    Keeps the worker's file fresh while its main process does nothing but look for its broker.

    Else its event loop does so. A thread, since that process then sleeps in kombu; it is there between losing the
    connection (``stop``) and having a new one (``start``) only, so that a loop that hangs shows as ever.
    """

    requires = (Connection,)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._connected = threading.Event()
        self.stop(consumer)

    def start(self, parent: Any) -> None:
        """Connected, again or for the first time."""
        self._connected.set()

    def stop(self, parent: Any) -> None:
        """No longer, or not yet, connected."""
        self._connected.set()  # What failed in between may have ended what was begun, without a start.
        self._connected = connected = threading.Event()
        threading.Thread(target=_touch_until, args=(connected,), name="webhook-heartbeat", daemon=True).start()


def _touch_until(connected: threading.Event) -> None:
    touch_file()
    while not connected.wait(TOUCH_SECONDS):
        touch_file()
