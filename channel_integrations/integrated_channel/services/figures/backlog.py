# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is owed at this moment, and what of it waits for longer than it should."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Q
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    FINISHED,
    UNFINISHED,
    EnterpriseWebhookConfiguration,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import endpoint_gate

#: the target that operators watch: fewer rows than this due for longer than that
MANY = 100
LONG = timedelta(seconds=60)
#: which task serves what is due
ENRICHMENT, DELIVERY = "enrichment", "delivery"
_rows = WebhookTransmissionQueue.objects


@dataclass(frozen=True)
class Owed:
    """
    Counts of webhooks.

    ``by_status`` has every status that is not an end; ``due`` is by the task that serves them, ``late`` by status.
    ``held_back`` are due, too, but for endpoints that take no more right now (breaker, pause, rate limit), whose
    primary keys are in ``closed``: no worker can help those, and all else leaves them out.
    """

    by_status: dict[Any, int]
    due: dict[str, int]
    late: dict[Any, int]
    oldest_due_at: datetime | None
    held_back: int
    closed: list[int]

    @property
    def count(self) -> int:
        """What is on its way."""
        return sum(self.by_status[status] for status in UNFINISHED)

    @property
    def many_are_late(self) -> bool:
        """Whether the target is missed."""
        return sum(self.late.values()) >= MANY


def owed() -> Owed:
    """What is owed now, with three queries."""
    now = timezone.now()
    waiting = [status for status in WebhookStatus.values if status not in FINISHED]
    counted = _rows.filter(status__in=waiting).order_by().values_list("status").annotate(Count("pk"))
    late = Count("pk", filter=Q(due_at__lt=now - LONG))
    due = list(
        _rows.filter(status__in=UNFINISHED, due_at__lte=now)
        .order_by()
        .values("status", "endpoint_id")
        .annotate(rows=Count("pk"), late=late, first=Min("due_at"))
    )
    closed = _closed({each["endpoint_id"] for each in due}, now)
    free = [each for each in due if each["endpoint_id"] not in closed]
    return Owed(
        by_status={**dict.fromkeys(waiting, 0), **dict(counted)},
        due={ENRICHMENT: 0, DELIVERY: 0, **_sums(free, "rows", _task_of)},
        late=_sums(free, "late", lambda each: each["status"]),
        oldest_due_at=min((each["first"] for each in free), default=None),
        held_back=sum(each["rows"] for each in due if each["endpoint_id"] in closed),
        closed=sorted(closed),
    )


def _closed(ids: Iterable[int | None], now: datetime) -> set[int]:
    """The endpoints among these that take no more right now."""
    endpoints = EnterpriseWebhookConfiguration.objects.select_related("health").in_bulk([pk for pk in ids if pk])
    return {pk for pk, endpoint in endpoints.items() if endpoint_gate.is_held_back(endpoint, now)}


def _task_of(each: dict[str, Any]) -> str:
    return ENRICHMENT if each["status"] == WebhookStatus.AWAITING_ENRICHMENT else DELIVERY


def _sums(counts: list[dict[str, Any]], name: str, key: Callable[[dict[str, Any]], str]) -> dict[Any, int]:
    sums: Counter[str] = Counter()
    for each in counts:
        sums[key(each)] += each[name]
    return dict(sums)
