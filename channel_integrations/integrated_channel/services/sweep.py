# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What keeps webhooks moving when wake-ups are lost: the sweep, and the wake-up that circulates where nobody runs one.

The sweep is run by ``send_due_webhooks`` (cron, a sidecar) and by every ``process_webhook_queue``.
"""

import math
import time
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone

from channel_integrations.integrated_channel import conf, wake_up
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import (
    HELD,
    WebhookLease,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import disclosures, endpoint_gate, final_number, retention
from channel_integrations.integrated_channel.services.enrichment import release_overdue
from channel_integrations.integrated_channel.services.reconciliation import record_missing_passes

lines = LogLines(__name__)

# Leases: what one process at a time does, and how long it is then left.
TIDY, TIDY_INTERVAL = "tidy", timedelta(seconds=5)
STRAYS, STRAYS_INTERVAL = "strays", timedelta(minutes=1)
FINAL_NUMBERS, FINAL_NUMBERS_INTERVAL = "final-numbers", timedelta(minutes=1)
COMPARISON, COMPARISON_INTERVAL = "grade-comparison", timedelta(minutes=10)
RETENTION, RETENTION_INTERVAL = "retention", timedelta(hours=1)
#: the licence of the wake-up that circulates, and how long that may be on its way, on top of its countdown
CIRCULATING, CIRCULATION_GRACE = "circulating-wake-up", timedelta(seconds=120)

#: webhooks purged by one sweep: a few seconds' work
PURGED_AT_ONCE = 2000
#: a row that waits for its lookup longer than this has probably lost its wake-up
LOST_AFTER = timedelta(seconds=30)
#: How long a sweep within a task may take: others wait for the answers of its attempts to be written back.
TASK_SWEEP_SECONDS = 10.0
#: how long a task tries to send its successor, and the second of a task after which it no longer does (soft limit: 90)
PATIENCE, PATIENT_UNTIL = 40.0, 80.0


def tidy(seconds: float = math.inf) -> None:
    """Everything a sweep does but delivering, within so many seconds. Safe to run at any time, and beside itself."""
    deadline = time.monotonic() + seconds
    while release_overdue() and time.monotonic() < deadline:
        continue  # batch by batch: what a kill switch sets free is to go out at once
    _release_held(deadline)
    if _without_wake_up():
        wake_up.enrichment()
    if WebhookLease.acquire(STRAYS, STRAYS_INTERVAL):
        endpoint_gate.settle_strays()
    if WebhookLease.acquire(COMPARISON, COMPARISON_INTERVAL):
        wake_up.for_new_rows(record_missing_passes(deadline))
    if WebhookLease.acquire(RETENTION, RETENTION_INTERVAL):
        retention.purge(conf.retention(), PURGED_AT_ONCE, deadline)
        retention.forget_statements(conf.retention(), deadline)
        retention.forget_suppressions(conf.retention(), deadline)
        disclosures.forget(conf.disclosure_retention(), deadline)


def _release_held(deadline: float) -> None:
    """What waits for its final learning time and has waited long enough, or has been told of."""
    released = 0
    while (some := final_number.release_due()) and time.monotonic() < deadline:
        released += some
    if WebhookLease.acquire(FINAL_NUMBERS, FINAL_NUMBERS_INTERVAL):
        while (some := final_number.release_known_days()) and time.monotonic() < deadline:
            released += some
    if released or some:
        wake_up.enrichment()


def hand_over() -> None:
    """What follows a round of deliveries, whatever ended it: the rest of the sweep, and the call for the next round."""
    try:
        if WebhookLease.acquire(TIDY, TIDY_INTERVAL):
            tidy(TASK_SWEEP_SECONDS)
    finally:
        keep_circulating()


def keep_circulating(token: str | None = None, at_least: float = 1.0, patience: float = 0.0) -> None:
    """
    While unfinished rows exist, send the circulating wake-up on its way again, so many seconds from now or later.

    A lease in the database is the wake-up's licence: its bearer renews it with a new token, and anybody may start it
    anew once it is overdue (the broker lost it).

    :param patience: seconds for which to try while the broker does not take it
    """
    next_due = _next_due()
    if token:
        WebhookLease.release(CIRCULATING, UUID(token))
    if next_due is None:
        return
    countdown = min(max((next_due - timezone.now()).total_seconds(), at_least), wake_up.MAX_COUNTDOWN)
    duration = timedelta(seconds=countdown + patience) + CIRCULATION_GRACE
    # One that is on its way but comes too late is overtaken: without its licence it will not be sent on.
    licence = WebhookLease.acquire(CIRCULATING, duration) or WebhookLease.bring_forward(CIRCULATING, duration)
    if licence and not wake_up.circulate(str(licence), countdown, patience):
        WebhookLease.release(CIRCULATING, licence)
        if patience:
            words = (
                "the broker takes no message; what is due waits for the next completion, or for send_due_webhooks, "
                "which cron should run every minute"
            )
            lines.error("webhook_sweep", "nothing_circulates", words)


def patience_of(task_seconds: float) -> float:
    """How long a task that has run for so long may still try to send its successor."""
    return max(min(PATIENCE, PATIENT_UNTIL - task_seconds), 0.0)


def _next_due() -> datetime | None:
    """When there is next something to do: a row's due time, for pending ones no sooner than their endpoint opens."""
    moments = [endpoint_gate.next_opening()]
    waiting = (WebhookStatus.AWAITING_ENRICHMENT, WebhookStatus.AWAITING_FINAL, WebhookStatus.RECORDED, *HELD)
    for status in waiting:
        rows = WebhookTransmissionQueue.objects.filter(status=status)
        first = rows.order_by("due_at").values_list("due_at", flat=True).first()
        if first and status == WebhookStatus.AWAITING_ENRICHMENT:
            first = max(first, timezone.now() + LOST_AFTER)  # That is another queue's work until its call is lost.
        moments.append(first)
    return min((moment for moment in moments if moment), default=None)


def _without_wake_up() -> bool:
    """Whether a row has waited for its lookup for so long that its call must have been lost."""
    return WebhookTransmissionQueue.objects.due(WebhookStatus.AWAITING_ENRICHMENT, timezone.now() - LOST_AFTER).exists()
