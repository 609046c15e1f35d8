# SPDX-License-Identifier: AGPL-3.0-or-later
"""Send again what has come to its end: one webhook, a selection, or a range."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue

lines = LogLines(__name__)

#: Nothing moves these any more. What is parked goes out when its endpoint is switched on, not by a replay.
REPLAYABLE: tuple[Any, ...] = (
    WebhookStatus.DELIVERED,
    WebhookStatus.FAILED,
    WebhookStatus.CANCELLED,
    WebhookStatus.NO_ENDPOINT,
)
PER_MINUTE = 60


@dataclass(frozen=True)
class Selection:
    """Which webhooks; what is left out does not narrow it. ``since`` and ``until`` bound when they were made."""

    webhook_ids: Sequence[UUID] | None = None
    endpoint_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    statuses: Sequence[Any] = REPLAYABLE

    def rows(self) -> "QuerySet[WebhookTransmissionQueue]":
        """Those of the selection that can be replayed, oldest first; purged ones have nothing left to send."""
        rows = WebhookTransmissionQueue.objects.filter(status__in=self.statuses, purged_at=None)
        if self.webhook_ids is not None:
            rows = rows.filter(webhook_id__in=self.webhook_ids)
        if self.endpoint_id is not None:
            rows = rows.filter(endpoint_id=self.endpoint_id)
        if self.since:
            rows = rows.filter(created__gte=self.since)
        if self.until:
            rows = rows.filter(created__lt=self.until)
        return rows.order_by("pk")


def replay(selection: Selection, per_minute: int = PER_MINUTE) -> int:
    """
    Put the selection back to where rows are addressed, so many a minute; returns how many.

    Same id, same bytes, same endpoint, the whole schedule again. Whether a webhook is still owed is checked once more:
    consent may have been withdrawn since. Safe to run again when it was interrupted.
    """
    replayed = 0
    moments = evenly_spaced(per_minute)
    for pk, status in list(selection.rows().values_list("pk", "status")):
        due_at = next(moments)
        replayed += WebhookTransmissionQueue.objects.move(
            [pk], status, WebhookStatus.RECORDED, reason="", tries=0, due_at=due_at
        )
    lines.info("webhook_replay", "replayed", count=replayed, per_minute=per_minute)
    return replayed


def evenly_spaced(per_minute: int) -> Iterator[datetime]:
    """Moments from now on, so many in a minute."""
    moment = timezone.now()
    while True:
        yield moment
        moment += timedelta(minutes=1) / per_minute
