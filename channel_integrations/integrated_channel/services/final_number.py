# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Completions that wait until their learning time is final: who waits, until when, and what ends the wait.

The rollup is written once a day: what was learned on the day of the pass is not in it yet. All that waits for a day is
looked up again together, when the rollup is expected to have it or a statement of anybody's has told that it does. What
is released takes the way that every completion takes.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, QuerySet, Value, When
from django.db.models.functions import Least
from django.utils import timezone

from channel_integrations.integrated_channel import conf, wake_up
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookLookupStatement,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import rollout
from channel_integrations.integrated_channel.services.enrichment import OVERDUE
from channel_integrations.integrated_channel.services.rollup_schedule import DAY, first_look, next_look

#: rows moved at once: as many as are looked up by one statement
BATCH = 500


def hold_new_row(webhook: WebhookTransmissionQueue, hold: timedelta) -> None:
    """
    Have a row that is not yet in the database wait from the start, where a look before the wait is over is worth it.

    A lookup before the rollup can have the day would cost a statement, perhaps a wake of the warehouse, for nothing.
    """
    now, until, look_at = (
        webhook.created,
        webhook.created + hold,
        first_look(webhook.day, conf.rollup_ready_at()),
    )
    if now < look_at < until - conf.enrichment_wait():
        webhook.status, webhook.held_at = WebhookStatus.AWAITING_FINAL, now
        webhook.due_at, webhook.enrich_by = look_at, until


def was_to_be_looked_up(webhook: WebhookTransmissionQueue) -> bool:
    """Whether a number was wanted when the row was made, and nothing has been switched off since."""
    return webhook.enrich_by is not None and webhook.learning_time_status not in rollout.REASONS


def put_off_if_early(webhook: WebhookTransmissionQueue, endpoint: EnterpriseWebhookConfiguration) -> bool:
    """Put a claimed completion off where its endpoint wants the final number and that may still come; else False."""
    if not endpoint.holds or webhook.learning_time_is_final or not was_to_be_looked_up(webhook):
        return False
    return put_off(webhook, webhook.created + endpoint.waits_for_final)


def put_off(webhook: WebhookTransmissionQueue, until: datetime) -> bool:
    """Have a claimed row looked up again when that is worth it; False where its time is over."""
    now = timezone.now()
    if now >= until:
        return False
    webhook.mark_awaiting_final(next_look(webhook.day, now, conf.rollup_ready_at()), until)
    return True


def release_due() -> int:
    """
    Pass on what has waited for long enough, and have looked up again what is worth another look by now.

    With learning time switched off all completions go out at once. Revisions wait, within their time: it may be
    switched on again. Returns how many were moved, a batch of each at the most.
    """
    now, off, rows = timezone.now(), rollout.latest().off, WebhookTransmissionQueue.objects
    due = rows.due(WebhookStatus.AWAITING_FINAL, now)
    over = rows.move(
        _first_batch(due.exclude(enrich_by__gt=now)),
        WebhookStatus.AWAITING_FINAL,
        WebhookStatus.RECORDED,
        learning_time_status=Case(
            When(learning_time_status="", then=Value(OVERDUE)), default=F("learning_time_status")
        ),
        due_at=now,
    )
    return (_send_all_plain(now, off) if off else 0) + over + _to_be_looked_up(_first_batch(due), now)


def release_known_days() -> int:
    """
    Have looked up what waits for days that the rollup has, as a statement of anybody's has told; returns how many.

    It reads all that waits, hence is not for every round.
    """
    told = WebhookLookupStatement.latest_with_day()
    if told is None or told.as_of is None or rollout.latest().off:
        return 0
    covered = datetime.combine(told.as_of + DAY, datetime.min.time(), UTC)
    # What was put off after the statement has had its answer: it waits for the next look.
    waiting = WebhookTransmissionQueue.objects.filter(
        status=WebhookStatus.AWAITING_FINAL, occurred_at__lt=covered, modified__lt=told.began_at
    )
    return _to_be_looked_up(_first_batch(waiting.order_by("due_at", "pk")), timezone.now())


def look_now(customer: UUID) -> int:
    """Have what waits for a customer's endpoints looked up at once: how long they wait has been changed."""
    rows = WebhookTransmissionQueue.objects
    waiting = rows.filter(status=WebhookStatus.AWAITING_FINAL, enterprise_customer_uuid=customer)
    due = rows.look_now(sorted(waiting.values_list("pk", flat=True)), WebhookStatus.AWAITING_FINAL)
    if due:
        transaction.on_commit(wake_up.delivery)
    return due


def _first_batch(rows: "QuerySet[WebhookTransmissionQueue]") -> list[int]:
    return list(rows.values_list("pk", flat=True)[:BATCH])


def _to_be_looked_up(pks: Sequence[int], now: datetime) -> int:
    """Move them to where rows wait for a lookup; never beyond the end of their wait, which ``enrich_by`` is."""
    return WebhookTransmissionQueue.objects.move(
        pks,
        WebhookStatus.AWAITING_FINAL,
        WebhookStatus.AWAITING_ENRICHMENT,
        due_at=now,
        enrich_by=Least(F("enrich_by"), Value(now + conf.enrichment_wait())),
    )


def _send_all_plain(now: datetime, off: str) -> int:
    held = WebhookTransmissionQueue.objects.filter(status=WebhookStatus.AWAITING_FINAL, revises=None)
    return WebhookTransmissionQueue.objects.move(
        _first_batch(held.order_by("due_at", "pk")),
        WebhookStatus.AWAITING_FINAL,
        WebhookStatus.RECORDED,
        learning_time=None,
        learning_time_status=off,
        due_at=now,
    )
