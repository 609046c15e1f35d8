# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a row to its learning time, or to the reason why there is none."""

import logging
import time
from uuid import UUID

from django.utils import timezone

from channel_integrations.integrated_channel.exceptions import LearningTimeUnavailable, WebhookNotOwed
from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import rollout
from channel_integrations.integrated_channel.services.recipients import require_owed
from channel_integrations.integrated_channel.snowflake_client import SnowflakeLearningTimeClient

logger = logging.getLogger(__name__)

TASK = "enrich_and_send_completion_webhook"
#: rows moved by one call of ``release_overdue``
BATCH = 500


def enrich(webhook_id: UUID) -> bool:
    """
    Look one webhook's learning time up and pass it on to delivery; True where it now waits for delivery.

    False where somebody else has claimed it, it has moved on, or it is no longer owed.
    """
    now = timezone.now()
    pks = list(WebhookTransmissionQueue.objects.filter(webhook_id=webhook_id).values_list("pk", flat=True))
    claimed = WebhookTransmissionQueue.objects.claim(pks, WebhookStatus.AWAITING_ENRICHMENT, now)
    if not claimed:
        return False
    (webhook,) = claimed
    try:
        owed = require_owed(webhook)
    except WebhookNotOwed as err:
        webhook.mark_cancelled(str(err))
        return False
    reason = rollout.current().reason_against(owed.customer.pk, owed.learner.pk, owed.recipient.switches)
    if reason:
        return webhook.mark_enriched(None, reason)
    return webhook.mark_enriched(*_look_up(webhook))


def release_overdue() -> int:
    """
    Pass on without learning time what has waited too long, and everything once the flag is off or the rollout paused;
    returns how many.

    A row that a worker is looking up right now is leased, hence not due, and is left to that worker.
    """
    now = timezone.now()
    overdue = WebhookTransmissionQueue.objects.due(WebhookStatus.AWAITING_ENRICHMENT, now)
    off = rollout.latest().off
    if not off:
        overdue = overdue.filter(enrich_by__lte=now)
    return WebhookTransmissionQueue.objects.move(
        list(overdue.values_list("pk", flat=True)[:BATCH]),
        WebhookStatus.AWAITING_ENRICHMENT,
        WebhookStatus.RECORDED,
        learning_time_status=off or "overdue",
        due_at=now,
    )


def _look_up(webhook: WebhookTransmissionQueue) -> tuple[int | None, str]:
    started = time.monotonic()
    seconds, outcome = None, "no_row"
    try:
        seconds = SnowflakeLearningTimeClient().get_learning_time(
            webhook.user_id, webhook.course_id, str(webhook.enterprise_customer_uuid)
        )
        outcome = "no_row" if seconds is None else "found"
    except LearningTimeUnavailable as err:
        outcome = err.code
        logger.warning(
            "source=celery task=enrich_and_send_completion_webhook status=failure webhook=%s error=%s: it goes out "
            "without learning time",
            webhook.webhook_id,
            type(err).__name__,
            exc_info=True,
            extra={"source": "celery", "task": TASK, "status": "failure"},
        )
    else:
        duration_ms = round((time.monotonic() - started) * 1000, 1)
        logger.info(
            "source=celery task=enrich_and_send_completion_webhook status=success webhook=%s duration_ms=%s",
            webhook.webhook_id,
            duration_ms,
            extra={"source": "celery", "task": TASK, "status": "success", "duration_ms": duration_ms},
        )
    return seconds, outcome
