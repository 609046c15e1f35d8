# SPDX-License-Identifier: AGPL-3.0-or-later
"""
This process's own way to the broker.

A broker that refuses, or accepts and stays silent, may cost a process half a second in half a minute: a connection of
our own with short timeouts, no retries, and a circuit that stays open for thirty seconds after a failure.
"""

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from celery import current_app
from kombu import Connection

from channel_integrations.integrated_channel.circuit import Circuit
from channel_integrations.integrated_channel.log_lines import LogLines, chain_of

lines = LogLines(__name__)

#: seconds for each step of a conversation with the broker; connect and first answer make two
STEP_TIMEOUT = 0.2
#: seconds without calls after a failed one, and between two tries of somebody who has the patience
OPEN_SECONDS, TRY_AGAIN_SECONDS = 30.0, 2.0
#: a countdown is a hint; one of an hour would be delivered over and over by Redis
MAX_COUNTDOWN = 60.0


class Broker:
    """This process's connection to the broker, its circuit, and the calls that it could not make."""

    def __init__(self) -> None:
        # Taken when the app registry is ready, in the main thread: the threads in which an LMS serves requests have no
        # current app, and Celery would make one up whose broker nobody listens to.
        self.app = current_app._get_current_object()
        self._pid = 0
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._circuit = Circuit(failures=1, open_seconds=OPEN_SECONDS)
        self._quiet_until: dict[str, float] = {}
        #: names of the tasks whose calls could not be made
        self.missed: set[str] = set()

    def is_left_alone(self) -> bool:
        """Whether it has failed a moment ago, and is not to be asked."""
        return self._circuit.is_open()

    def publish(self, task_name: str, args: Sequence[Any], countdown: float | None) -> bool:
        """
        Send one message; False where it was not sent (the circuit is open, or the broker failed).

        Where Celery runs tasks inside the call (devstacks), nothing is sent: a round of deliveries is not for a
        learner's request, and it would call for the next one in turn.
        """
        if self.app.conf.task_always_eager:
            return False
        with self._lock:  # kombu's connections are not for several threads at once
            return self._circuit.admits() and self._publish(task_name, args, countdown)

    def _publish(self, task_name: str, args: Sequence[Any], countdown: float | None) -> bool:
        try:
            self.app.tasks[task_name].apply_async(
                args=args,
                countdown=min(countdown, MAX_COUNTDOWN) if countdown else None,
                connection=self._own_connection(),
                retry=False,
                # The result backend must not be asked either: a Redis one subscribes, and waits 19 s when it is down.
                ignore_result=True,
            )
        except Exception as err:  # Each transport raises its own; the sweep takes over, and the LMS must go on.
            seconds = self._circuit.note_failure()
            self._forget_connection()
            words = "the sweep picks the rows up; the broker is not asked again for so many seconds"
            lines.warning("webhook_wake_up", "failure", words, error=chain_of(err), seconds=seconds)
            return False
        self._circuit.note_success()
        return True

    def insist(self, task_name: str, args: Sequence[Any], countdown: float | None, patience: float) -> bool:
        """The same for a worker, which may wait: try for so many seconds, whatever the circuit says."""
        deadline = time.monotonic() + patience
        while not self.publish(task_name, args, countdown):
            if self.app.conf.task_always_eager or time.monotonic() + TRY_AGAIN_SECONDS > deadline:
                return False
            time.sleep(TRY_AGAIN_SECONDS)
            self._circuit.reset()
        return True

    def publish_seldom(self, task_name: str, countdown: float, every: float) -> None:
        """The same, once in so many seconds from this process: one call serves every row."""
        if time.monotonic() >= self._quiet_until.get(task_name, 0.0) and self.publish(task_name, [], countdown):
            self._quiet_until[task_name] = time.monotonic() + every

    def reset(self) -> None:
        """Forget the past: ask again at the next call, over a new connection."""
        self._circuit.reset()
        self._quiet_until.clear()
        self.missed.clear()
        self._forget_connection()

    def after_fork(self) -> None:
        """In a child: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def open_connection(self) -> Connection:
        """A connection to the broker that gives up after one try of ``STEP_TIMEOUT`` a step. Made at its first use."""
        return self.app.connection_for_write(
            connect_timeout=STEP_TIMEOUT,
            transport_options={
                **(self.app.conf.broker_transport_options or {}),
                "socket_timeout": STEP_TIMEOUT,
                "socket_connect_timeout": STEP_TIMEOUT,
                "read_timeout": STEP_TIMEOUT,
                "write_timeout": STEP_TIMEOUT,
                "retry_on_timeout": False,
                "max_retries": 0,
            },
        )

    def _own_connection(self) -> Connection:
        if self._connection is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._connection = self.open_connection()
        return self._connection

    def _forget_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.release()
            except Exception:  # The connection is broken already; how it breaks further does not matter.
                lines.debug("webhook_wake_up", "not_closed", "the broken broker connection did not close cleanly")


broker = Broker()
os.register_at_fork(after_in_child=broker.after_fork)
