# SPDX-License-Identifier: AGPL-3.0-or-later
"""
From rows to their learning times, or to why there are none: claim what waits, look it up together, write back.

One worker at a time does so (a slot), which is what makes batches: what arrives while a lookup is under way shares the
next one. A completion that comes alone waits for nobody.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import Error
from django.db.models import Case, F, Value, When
from django.utils import timezone

from channel_integrations.integrated_channel import conf, wake_up
from channel_integrations.integrated_channel.log_lines import LogLines, chain_of, way_of
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookLookupStatement,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.webhook_queryset import EnrichmentOutcome
from channel_integrations.integrated_channel.services import rollout
from channel_integrations.integrated_channel.services.slots import LeasedSlot
from channel_integrations.integrated_channel.settings.common import ENRICHMENT_TASK
from channel_integrations.integrated_channel.snowflake_client import (
    LearningTimeKey,
    LearningTimes,
    SnowflakeLearningTimeClient,
    StatementReport,
)
from channel_integrations.integrated_channel.tracing import set_attributes, span

lines = LogLines(__name__)

TASK = "enrich_and_send_completion_webhook"
# What ``learning_time_status`` says where neither an error nor the rollout has the word.
FOUND, NO_ROW, OVERDUE = "found", "no_row", "overdue"
#: rows looked up, or moved by one call of ``release_overdue``, at once
BATCH = 500
#: Seconds of a task after which no further rows are claimed. One more lookup, a sign-in that is repeated included, ends
#: before the soft limit (90 s) with the default timeouts; with the longest ones the lease (180 s) ends it.
CLAIM_SECONDS = 25.0
PAUSE_PER_ROW, PAUSE_AT_MOST = 0.01, 0.25


def enrich_in_slot(hand_over: Callable[[], object]) -> int:
    """
    Look up what waits, if nobody else does so at this moment; returns how many rows were passed on.

    :param hand_over: called after each batch
    """
    deadline = time.monotonic() + CLAIM_SECONDS
    passed_on, first_due = 0, None
    while time.monotonic() < deadline and (slot := LeasedSlot.acquire("enrichment", 1)):
        try:
            while time.monotonic() < deadline and slot.keep() and (claimed := _claim_together()):
                with (
                    span("enrich", webhooks=len(claimed)),
                    WebhookTransmissionQueue.objects.given_back_on_error(claimed),
                ):
                    passed_on += _enrich(claimed)
                hand_over()
                time.sleep(_pause_after(len(claimed)))
        finally:
            slot.give_back()
            wake_up.served(ENRICHMENT_TASK)
        first_due = _first_due()  # Who found the slot taken, or the mark set, has left its rows to this one.
        if first_due is None or first_due > timezone.now():
            break
    if first_due:
        wake_up.enrichment_later((first_due - timezone.now()).total_seconds())
    return passed_on


def _pause_after(batch: int) -> float:
    """
    Seconds until the next lookup: a row that came alone is followed at once, rows that came together will have company.

    At fifty completions a second it is some milliseconds; in a burst it makes one statement of forty.
    """
    return min(PAUSE_PER_ROW * (batch - 1), PAUSE_AT_MOST)


def release_overdue() -> int:
    """
    Pass on without learning time what has waited too long, and everything once the flag is off or the rollout paused.

    Returns how many.

    A row that a worker is looking up right now is leased, hence not due, and is left to that worker.
    """
    now, off = timezone.now(), rollout.latest().off
    rows = WebhookTransmissionQueue.objects.due(WebhookStatus.AWAITING_ENRICHMENT, now, early=conf.lookup_wait())
    # One that has waited for its final number may have one that is not: that goes out rather than none.
    plain: dict[str, Any] = {"learning_time": None, "learning_time_status": off}
    if not off:
        rows = rows.filter(enrich_by__lte=now)
        known = When(learning_time__isnull=False, then=F("learning_time_status"))
        plain = {"learning_time_status": Case(known, default=Value(OVERDUE))}
    return WebhookTransmissionQueue.objects.move(
        list(rows.values_list("pk", flat=True)[:BATCH]),
        WebhookStatus.AWAITING_ENRICHMENT,
        WebhookStatus.RECORDED,
        due_at=now,
        **plain,
    )


def _claim_together() -> Sequence[WebhookTransmissionQueue]:
    """What is due, and with it what only waits for company; nothing while nothing is due."""
    now, status, rows = timezone.now(), WebhookStatus.AWAITING_ENRICHMENT, WebhookTransmissionQueue.objects
    if not rollout.current().off and not rows.due(status, now).exists():
        return []
    together = rows.due(status, now, early=conf.lookup_wait())
    return rows.claim(list(together.values_list("pk", flat=True)[:BATCH]), status, now, early=conf.lookup_wait())


def _first_due() -> datetime | None:
    """When the next lookup is due; None where there is none."""
    rows = WebhookTransmissionQueue.objects.filter(status=WebhookStatus.AWAITING_ENRICHMENT)
    return rows.order_by("due_at").values_list("due_at", flat=True).first()


def _enrich(webhooks: Sequence[WebhookTransmissionQueue]) -> int:
    """Look these up and pass them on to delivery; returns how many were still ours."""
    started = time.monotonic()
    plain = _reasons_against(webhooks)
    wanted = [webhook for webhook in webhooks if not plain[webhook.pk]]
    again = {_key_of(webhook) for webhook in wanted if webhook.learning_time_status or webhook.revises}
    times = SnowflakeLearningTimeClient().get_learning_times(map(_key_of, wanted), anew=again)
    outcomes = {webhook.pk: EnrichmentOutcome(None, plain[webhook.pk]) for webhook in webhooks}
    outcomes.update({webhook.pk: _outcome(times, webhook) for webhook in wanted})
    passed_on = WebhookTransmissionQueue.objects.mark_enriched(webhooks, outcomes)
    _keep(times.statements)
    set_attributes(found=sum(seconds is not None for seconds in times.seconds.values()), failed=len(times.errors))
    _log(wanted, times, round((time.monotonic() - started) * 1000, 1))
    return passed_on


def _keep(statements: Sequence[StatementReport]) -> None:
    """For whoever pays; a webhook does not wait for it."""
    try:
        WebhookLookupStatement.record(statements)
    except Error as err:
        lines.failure("snowflake_client", err, status="not_counted")


def _reasons_against(webhooks: Sequence[WebhookTransmissionQueue]) -> dict[int, str]:
    """By primary key, why a row is not looked up after all: much may have been decided since it was made."""
    holds = rollout.current()
    if holds.off:
        return dict.fromkeys((webhook.pk for webhook in webhooks), holds.off)
    customers = {webhook.enterprise_customer_uuid for webhook in webhooks}
    switches: dict[UUID, set[str | None]] = {customer: set() for customer in customers}
    endpoints = EnterpriseWebhookConfiguration.objects.filter(enterprise_customer__in=customers, active=True)
    for customer, switch in endpoints.values_list("enterprise_customer_id", "learning_time"):
        switches[customer].add(switch)
    return {
        webhook.pk: holds.reason_against(
            webhook.enterprise_customer_uuid, webhook.user_id, switches[webhook.enterprise_customer_uuid]
        )
        for webhook in webhooks
    }


def _key_of(webhook: WebhookTransmissionQueue) -> LearningTimeKey:
    customer = str(webhook.enterprise_customer_uuid)
    return LearningTimeKey(webhook.user_id, webhook.course_id, customer, webhook.day)


def _outcome(times: LearningTimes, webhook: WebhookTransmissionQueue) -> EnrichmentOutcome:
    """What has been found before is not lost by a lookup that fails."""
    key = _key_of(webhook)
    if key in times.errors and webhook.learning_time is not None:
        return EnrichmentOutcome(webhook.learning_time, FOUND, webhook.lookup_ms, webhook.learning_time_as_of)
    if key in times.errors:
        return EnrichmentOutcome(None, times.errors[key].code, times.durations_ms.get(key))
    seconds = times.seconds[key]
    return EnrichmentOutcome(
        seconds, NO_ROW if seconds is None else FOUND, times.durations_ms[key], times.days.get(key)
    )


def _log(webhooks: Sequence[WebhookTransmissionQueue], times: LearningTimes, duration_ms: float) -> None:
    """A line for each webhook, and the way of an error once for all that share it."""
    explained: set[int] = set()
    for webhook in webhooks:
        err = times.errors.get(_key_of(webhook))
        if err is None:
            lines.info("celery", "success", task=TASK, webhook_id=webhook.webhook_id, duration_ms=duration_ms)
            continue
        lines.warning(
            "celery",
            "failure",
            "it goes out without learning time",
            task=TASK,
            webhook_id=webhook.webhook_id,
            duration_ms=duration_ms,
            error=chain_of(err),
            at=None if id(err) in explained else way_of(err),
        )
        explained.add(id(err))
