# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Wake-up calls to the workers. The database row is the truth: a call that is lost costs time, never a webhook.

One call serves every row that waits, so that a burst makes few: a mark in the cache says that a call is on its way, or
being served. Who serves it gives its slot back, takes the mark away, and *then* looks once more: whoever has relied on
the mark had committed by then, and whoever commits later calls again. A cache that fails, or loses the mark, costs
calls too many. A mark without anybody behind it (a process was killed) lasts ``MARK_SECONDS``; the sweep covers those.

A broker that refuses, or accepts and stays silent, may cost a process half a second in half a minute: a connection of
our own with short timeouts, no retries, and a circuit that stays open for thirty seconds after a failure.
"""

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from celery import current_app
from django.core.cache import cache, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from kombu import Connection

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.circuit import Circuit
from channel_integrations.integrated_channel.log_lines import LogLines, chain_of
from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.settings.common import DELIVERY_TASK, ENRICHMENT_TASK

lines = LogLines(__name__)

#: seconds for each step of a conversation with the broker; connect and first answer make two
STEP_TIMEOUT = 0.2
#: seconds without calls after a failed one, and between two tries of somebody who has the patience
OPEN_SECONDS, TRY_AGAIN_SECONDS = 30.0, 2.0
#: How long a mark may keep others from calling, should its call be lost. One that is served for longer costs a call in
#: so many seconds.
MARK_SECONDS = 2
#: a countdown is a hint; one of an hour would be delivered over and over by Redis
MAX_COUNTDOWN = 60.0


class _Broker:
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
        self.owed: set[str] = set()

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
        self.owed.clear()
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


broker = _Broker()
os.register_at_fork(after_in_child=broker.after_fork)
_marks = Circuit(failures=1, open_seconds=OPEN_SECONDS)


def for_new_rows(rows: Sequence[WebhookTransmissionQueue]) -> None:
    """Wake whoever handles these rows next."""
    if not rows:
        return
    waiting = sum(row.status == WebhookStatus.AWAITING_ENRICHMENT for row in rows)
    if waiting:
        enrichment(conf.lookup_wait().total_seconds())
    if any(row.status == WebhookStatus.RECORDED for row in rows):
        delivery()
    # Whatever becomes of these calls: a worker may be killed with one, and nobody may consume the enrichment queue.
    broker.publish_seldom(DELIVERY_TASK, MAX_COUNTDOWN, every=30.0)


def enrichment(countdown: float = 0.0) -> bool:
    """
    Have what waits for its learning time looked up, so many seconds from now.

    :returns: whether a call is on its way
    """
    return _call(ENRICHMENT_TASK, countdown)


def enrichment_later(countdown: float) -> None:
    """Beside that call, by whoever has served it: have it looked again for what is due in so many seconds."""
    if countdown <= 0:
        enrichment()
        return
    countdown = min(max(countdown, 1.0), MAX_COUNTDOWN)
    broker.publish_seldom(ENRICHMENT_TASK, countdown, every=countdown - 0.5)


def delivery() -> bool:
    """Have what is due delivered; returns whether a call is on its way."""
    return _call(DELIVERY_TASK)


def circulate(token: str, countdown: float, patience: float) -> bool:
    """Send the circulating wake-up on its way, trying for so many seconds."""
    return broker.insist(DELIVERY_TASK, [token], countdown, patience)


def served(task_name: str) -> None:
    """A call has been served, but for one last look: a row that is committed after that needs another call."""
    _with_marks(lambda: cache.delete_many([_mark(task_name), _mark(task_name, later=True)]))


def pay_owed() -> None:
    """
    Make the calls that this process could not make, as soon as the broker may be asked again.

    Said with every grade event and by every task: where nobody runs the sweep, that is what brings a webhook on its way
    again.
    """
    if not broker.owed or broker.is_left_alone():
        return
    for task_name in list(broker.owed):
        if _call(task_name):
            broker.owed.discard(task_name)


def _call(task_name: str, countdown: float = 0.0) -> bool:
    """
    One message, unless a mark says that one is on its way already.

    A call for later is answered by one for now, whose receiver looks what comes next; not the other way round.
    """
    if broker.is_left_alone():
        broker.owed.add(task_name)
        return False
    mark, countdown = _mark(task_name, later=countdown > 0), min(countdown, MAX_COUNTDOWN)
    seconds = MARK_SECONDS + round(countdown)
    if _is_shared() and _with_marks(lambda: any(map(cache.get, {_mark(task_name), mark}))):
        return True
    # Whatever the answer: a memcached that is down, with its errors ignored, says "no".
    marked = _with_marks(lambda: cache.add(mark, 1, seconds))
    if broker.publish(task_name, [], countdown):
        return True
    if marked:
        _with_marks(lambda: cache.delete(mark))
    broker.owed.add(task_name)
    return False


def _with_marks(ask: Any) -> Any:
    """What the cache answers; None where it fails, or has failed a moment ago: the LMS must not wait for it again."""
    if not _marks.admits():
        return None
    try:
        answer = ask()
    except Exception as err:  # Every backend raises its own.
        _marks.note_failure()
        lines.warning("django_cache", "error", operation="mark", error=chain_of(err))
        return None
    _marks.note_success()
    return answer


def _is_shared() -> bool:
    """A cache of one process's own knows nothing of the receivers of calls."""
    return not isinstance(caches["default"], (LocMemCache, DummyCache))


def _mark(task_name: str, *, later: bool = False) -> str:
    return f"channel_webhooks.called.{task_name.rpartition('.')[2]}{'.later' if later else ''}"
