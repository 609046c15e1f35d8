# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The Celery tasks: wake-up calls for rows. One call serves every row that waits; a lost or repeated one does no harm.

Time limits: endpoint timeout (60 s at most) < soft limit < hard limit < lease of a row (180 s).
"""

import functools
import time
from collections.abc import Callable

from celery import shared_task
from edx_django_utils.monitoring import set_code_owner_attribute

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.exceptions import TaskFailed
from channel_integrations.integrated_channel.log_lines import LogLines, chain_of, way_of
from channel_integrations.integrated_channel.services import delivery, enrichment, heartbeat, sweep

lines = LogLines(__name__)

SOFT_LIMIT = 90
HARD_LIMIT = 120


def _failing_without_words(task: Callable[..., None]) -> Callable[..., None]:
    """Have a task that fails fail for Celery too, which logs the traceback of whatever it is handed, in our words."""

    @functools.wraps(task)
    def run(*args, **kwargs) -> None:
        try:
            task(*args, **kwargs)
        except Exception as err:
            lines.failure("celery", err, task=task.__name__)
            raise TaskFailed(f"{chain_of(err)} at {way_of(err)}") from None

    return run


@shared_task(ignore_result=True, soft_time_limit=SOFT_LIMIT, time_limit=HARD_LIMIT)
@set_code_owner_attribute
@_failing_without_words
def enrich_and_send_completion_webhook(webhook_id: str | None = None) -> None:
    """
    Look up the learning time of the completions that wait for it and hand them to delivery.

    On ``edx.lms.core.webhook_enrichment``. ``webhook_id`` is taken, and ignored, since messages of an earlier release
    may be in the queue: one call serves all.
    """
    wake_up.make_missed_calls()
    heartbeat.beat(heartbeat.ENRICHMENT)
    enrichment.enrich_in_slot(hand_over=wake_up.delivery)


@shared_task(ignore_result=True, soft_time_limit=SOFT_LIMIT, time_limit=HARD_LIMIT)
@set_code_owner_attribute
@_failing_without_words
def process_webhook_queue(circulating_token: str | None = None) -> None:
    """Deliver what is due, tidy up after lost wake-ups, and keep one wake-up circulating while rows are unfinished."""
    started = time.monotonic()
    wake_up.make_missed_calls()
    slot = delivery.free_slot()
    if slot or circulating_token:
        # Before anything else: a worker that is killed from here on leaves a successor in the broker.
        sweep.keep_circulating(circulating_token, at_least=30.0)
    heartbeat.beat(heartbeat.DELIVERY)
    if slot:
        delivery.deliver_in_slot(slot, hand_over=sweep.hand_over)
        sweep.keep_circulating(patience=sweep.patience_of(time.monotonic() - started))
