# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Wake-up calls to the workers. The database row is the truth: a call that is lost costs time, never a webhook.

One call serves every row that waits, so that a burst makes few: a mark in the cache says that a call is on its way, or
being served. Who serves it gives its slot back, takes the mark away, and *then* looks once more: whoever has relied on
the mark had committed by then, and whoever commits later calls again. A cache that fails, or loses the mark, costs
calls too many. A mark without anybody behind it (a process was killed) lasts ``MARK_SECONDS``; the sweep covers those.

How messages leave, and what a broker that fails may cost, is in ``broker``.
"""

from collections.abc import Sequence
from typing import Any

from django.core.cache import cache, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.broker import MAX_COUNTDOWN, OPEN_SECONDS, broker
from channel_integrations.integrated_channel.circuit import Circuit
from channel_integrations.integrated_channel.log_lines import LogLines, chain_of
from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.settings.common import DELIVERY_TASK, ENRICHMENT_TASK

lines = LogLines(__name__)

#: How long a mark may keep others from calling, should its call be lost. One that is served for longer costs a call in
#: so many seconds.
MARK_SECONDS = 2

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


def make_missed_calls() -> None:
    """
    Make the calls that this process could not make, as soon as the broker may be asked again.

    Said with every grade event and by every task: where nobody runs the sweep, that is what brings a webhook on its way
    again.
    """
    if not broker.missed or broker.is_left_alone():
        return
    for task_name in list(broker.missed):
        if _call(task_name):
            broker.missed.discard(task_name)


def _call(task_name: str, countdown: float = 0.0) -> bool:
    """
    One message, unless a mark says that one is on its way already.

    A call for later is answered by one for now, whose receiver looks what comes next; not the other way round.
    """
    if broker.is_left_alone():
        broker.missed.add(task_name)
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
    broker.missed.add(task_name)
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
