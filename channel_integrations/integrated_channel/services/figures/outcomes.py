# SPDX-License-Identifier: AGPL-3.0-or-later
"""What came of webhooks and attempts, and why passes made none."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    FINISHED,
    WebhookDeliveryAttempt,
    WebhookSuppression,
    WebhookTransmissionQueue,
)

HOUR = timedelta(hours=1)


class Hour(NamedTuple):
    """The webhooks that came to their end in one hour. One that is replayed counts where it ends again."""

    start: datetime
    delivered: int
    failed: int
    cancelled: int


def by_hour(hours: int = 24) -> list[Hour]:
    """The last so many hours of the clock, the one that runs included and last; one query for each."""
    this_hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    starts = [this_hour - back * HOUR for back in reversed(range(hours))]
    return [_hour(start, _finished(start, start + HOUR)) for start in starts]


def finished_since(window: timedelta) -> dict[str, int]:
    """By status, the webhooks that came to their end so lately."""
    now = timezone.now()
    return {**{str(status): 0 for status in FINISHED}, **_finished(now - window, now)}


def attempts_since(window: timedelta) -> dict[str, int]:
    """By answer ("2xx", "4xx", or the code of the error where there was none), the attempts of so lately."""
    lately = WebhookDeliveryAttempt.objects.filter(started_at__gte=timezone.now() - window).order_by()
    counted = lately.values_list("status_code", "error_code").annotate(Count("pk"))
    answers: Counter[str] = Counter()
    for status_code, error_code, count in counted:
        answers[f"{status_code // 100}xx" if status_code else error_code] += count
    return dict(answers)


def suppressed_since(window: timedelta) -> dict[str, int]:
    """By reason, the passes of linked learners that last made no webhook so lately; the most frequent first."""
    lately = WebhookSuppression.objects.filter(noted_at__gte=timezone.now() - window).order_by()
    return dict(Counter(dict(lately.values_list("reason").annotate(Count("pk")))).most_common())


def _finished(since: datetime, until: datetime) -> Mapping[Any, int]:
    ended = WebhookTransmissionQueue.objects.filter(finished_at__gte=since, finished_at__lt=until).order_by()
    # The status is not asked for: the database could then go by an index that reads all finished webhooks.
    counted = dict(ended.values_list("status").annotate(Count("pk")))
    return {status: count for status, count in counted.items() if status in FINISHED}


def _hour(start: datetime, counted: Mapping[Any, int]) -> Hour:
    return Hour(start, *(counted.get(status, 0) for status in FINISHED))
