# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rows that nothing will ever move again, as they pile up until retention ends."""

from collections.abc import Mapping
from typing import Any

from django.db import connection
from django.db.models import Model
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    WebhookDeliveryAttempt,
    WebhookStatus,
    WebhookTransmissionQueue,
)

#: what differs between the copies of a delivered webhook, in SQL; ``seq`` counts them
VARIED = {
    "webhook_id": "REPLACE(UUID(), '-', '')",
    "deduplication_key": "SHA2(CONCAT('finished', seq), 256)",
    "user_id": "1000000 + seq",
    "course_id": "CONCAT('course-v1:edX+Past+', seq % 50)",
    **dict.fromkeys(
        ("occurred_at", "created", "modified", "delivered_at", "due_at"), "{column} - INTERVAL (3600 + 50 * seq) SECOND"
    ),
}


def finish_rows() -> int:
    """Have every row that is there counted as delivered."""
    return WebhookTransmissionQueue.objects.update(status=WebhookStatus.DELIVERED, delivered_at=timezone.now())


def add(count: int) -> int:
    """Copy a delivered webhook and its attempt so many times, over the last two months; returns how many there are."""
    webhook = WebhookTransmissionQueue.objects.filter(status=WebhookStatus.DELIVERED, attempts__isnull=False).first()
    attempt = WebhookDeliveryAttempt.objects.filter(webhook=webhook).first()
    last = WebhookTransmissionQueue.objects.order_by("pk").last().pk
    _copy(webhook, VARIED, f"seq_1_to_{count}")
    table = WebhookTransmissionQueue._meta.db_table
    _copy(attempt, {"webhook_id": "copied.id"}, f"{table} copied", f"copied.id > {last}")
    for model in (WebhookTransmissionQueue, WebhookDeliveryAttempt):
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE TABLE {model._meta.db_table}")
            cursor.fetchall()
    return WebhookTransmissionQueue.objects.filter(status=WebhookStatus.DELIVERED).count()


def _copy(row: Model, varied: Mapping[str, str], source: str, condition: str = "TRUE") -> None:
    """One INSERT ... SELECT; whatever columns a later migration adds are copied as they are."""
    fields: Any = [field for field in row._meta.concrete_fields if not field.primary_key]
    columns = [field.column for field in fields]
    values = [varied.get(column, "{column}").format(column=f"original.{column}") for column in columns]
    table = row._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "
            f"FROM {table} original, {source} WHERE original.id = {row.pk} AND {condition}"
        )
