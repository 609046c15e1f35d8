# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Wake-up calls to the workers. The database row is the truth: a call that is lost costs time, never a webhook.

A broker that refuses, or accepts and stays silent, may cost a process half a second in half a minute: a connection of
our own with short timeouts, no retries, and a circuit that stays open for thirty seconds after a failure.
"""

import logging
import os
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from celery import current_app
from kombu import Connection

from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.settings.common import DELIVERY_TASK, ENRICHMENT_TASK

logger = logging.getLogger(__name__)

#: seconds for each step of a conversation with the broker; connect and first answer make two
STEP_TIMEOUT = 0.2
#: seconds without calls after a failed one
OPEN_SECONDS = 30.0


def open_connection() -> Connection:
    """A connection to the broker that gives up after one try of ``STEP_TIMEOUT`` a step. Made at its first use."""
    return current_app.connection_for_write(
        connect_timeout=STEP_TIMEOUT,
        transport_options={
            **(current_app.conf.broker_transport_options or {}),
            "socket_timeout": STEP_TIMEOUT,
            "socket_connect_timeout": STEP_TIMEOUT,
            "read_timeout": STEP_TIMEOUT,
            "write_timeout": STEP_TIMEOUT,
            "retry_on_timeout": False,
            "max_retries": 0,
        },
    )


class _Broker:
    """This process's connection to the broker, and its circuit."""

    def __init__(self) -> None:
        self._pid = 0
        self._connection: Connection | None = None
        self._closed_again_at = 0.0
        self._reminded_until = 0.0

    def publish(self, task_name: str, args: Sequence[Any], countdown: float | None) -> bool:
        """Send one message; False where it was not sent (the circuit is open, or the broker failed)."""
        if time.monotonic() < self._closed_again_at:
            return False
        try:
            current_app.tasks[task_name].apply_async(
                args=args,
                countdown=countdown,
                connection=self._own_connection(),
                retry=False,
                # The result backend must not be asked either: a Redis one subscribes, and waits 19 s when it is down.
                ignore_result=True,
            )
            return True
        except Exception as err:  # Each transport raises its own; the sweep takes over, and the LMS must go on.
            self._closed_again_at = time.monotonic() + OPEN_SECONDS
            self._forget_connection()
            logger.warning(
                "source=webhook_wake_up status=failure error=%s: the sweep picks the rows up; not asking the broker "
                "again for %s s",
                type(err).__name__,
                OPEN_SECONDS,
            )
            return False

    def remind(self) -> None:
        """
        Have the queue looked at in a minute, whatever becomes of the enrichment: nobody may consume its queue.

        Once in half a minute for a process is enough, since one look serves every row.
        """
        if time.monotonic() >= self._reminded_until and self.publish(DELIVERY_TASK, [], 60.0):
            self._reminded_until = time.monotonic() + 30.0

    def reset(self) -> None:
        """Forget the past: ask again at the next call, over a new connection."""
        self._closed_again_at = self._reminded_until = 0.0
        self._forget_connection()

    def _own_connection(self) -> Connection:
        if self._connection is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._connection = open_connection()
        return self._connection

    def _forget_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.release()
            except Exception:  # The connection is broken already; how it breaks further does not matter.
                logger.debug("the broken broker connection did not close cleanly")


broker = _Broker()


def for_new_rows(rows: Sequence[WebhookTransmissionQueue]) -> None:
    """Wake whoever handles these rows next."""
    waiting = [row for row in rows if row.status == WebhookStatus.AWAITING_ENRICHMENT]
    for row in waiting:
        enrichment(row.webhook_id)
    if len(waiting) < len(rows):
        delivery()
    elif waiting:
        broker.remind()


def enrichment(webhook_id: UUID) -> bool:
    """Ask for the learning time of one webhook."""
    return broker.publish(ENRICHMENT_TASK, [str(webhook_id)], None)


def delivery(circulating_token: str | None = None, countdown: float | None = None) -> bool:
    """Ask for a round of deliveries, ``countdown`` seconds (60 at most) from now."""
    return broker.publish(DELIVERY_TASK, [circulating_token], min(countdown, 60.0) if countdown else None)
