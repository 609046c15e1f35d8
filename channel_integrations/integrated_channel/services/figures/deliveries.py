# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long the latest deliveries took, where that time went, and what became of their learning time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    WebhookDeliveryAttempt,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION
from channel_integrations.integrated_channel.services.figures.percentiles import Percentiles

#: deliveries that are looked at, at the most
SAMPLE = 10_000


class Delivery(NamedTuple):
    """One webhook; times in seconds, ``lookup`` None where nothing was looked up and 0 where the cache knew."""

    total: float
    lookup: float | None
    post: float
    learning_time_status: str


@dataclass(frozen=True)
class Deliveries:
    """
    The latest deliveries; ``since`` is when the first of them was made.

    ``is_capped``: the window has more of them than were looked at.
    """

    each: Sequence[Delivery]
    since: datetime | None
    is_capped: bool

    @property
    def count(self) -> int:
        """How many."""
        return len(self.each)

    def total(self) -> Percentiles | None:
        """From the pass to the delivery."""
        return Percentiles.of([each.total for each in self.each])

    def lookup(self) -> Percentiles | None:
        """The statement to Snowflake, of those that were looked up."""
        return Percentiles.of([each.lookup for each in self.each if each.lookup is not None])

    def post(self) -> Percentiles | None:
        """The attempt that was taken."""
        return Percentiles.of([each.post for each in self.each])

    def waiting(self) -> Percentiles | None:
        """All else: for the grade's commit, for workers, for the endpoint, and between attempts."""
        return Percentiles.of([max(each.total - (each.lookup or 0) - each.post, 0.0) for each in self.each])

    def learning_times(self) -> dict[str, int]:
        """By ``learning_time_status``, the most frequent first."""
        return dict(Counter(each.learning_time_status for each in self.each).most_common())

    def cache_hit_rate(self) -> float | None:
        """The share of those looked up that the cache knew; None where nothing was looked up."""
        looked_up = [each.lookup for each in self.each if each.lookup is not None]
        return looked_up.count(0) / len(looked_up) if looked_up else None


def latest(window: timedelta) -> Deliveries:
    """
    The latest deliveries of so lately, ``SAMPLE`` of them at most; with two queries.

    What was backfilled or replayed is left out: it did not go out when the learner passed. So is what has waited for
    its final learning time, and so are revisions, erasures, and enrolments, which wait for their sponsorship.
    """
    ended = WebhookTransmissionQueue.objects.filter(finished_at__gte=timezone.now() - window)
    names = (
        "pk", "status", "backfilled", "attempts_made", "tries", "occurred_at", "finished_at", "lookup_ms",
        "learning_time_status", "event_type", "held_at",
    )  # fmt: skip
    rows = list(ended.order_by("-finished_at").values_list(*names, named=True)[: SAMPLE + 1])
    is_capped, rows = len(rows) > SAMPLE, rows[:SAMPLE]
    posts = _posts(rows[-1].finished_at) if rows else {}
    found = [
        Delivery(
            (row.finished_at - row.occurred_at).total_seconds(),
            None if row.lookup_ms is None else row.lookup_ms / 1000,
            posts.get(row.pk, 0) / 1000,
            row.learning_time_status,
        )
        for row in rows
        if tells_how_long(row)
    ]
    return Deliveries(found, rows[-1].finished_at if rows else None, is_capped)


def tells_how_long(row: Any) -> bool:
    """
    Whether it is a completion that went out when the learner passed: neither backfilled, replayed nor held.

    ``finished_at`` is None of what a release that knew no such column has delivered.
    """
    return (
        row.status == WebhookStatus.DELIVERED
        and row.finished_at is not None
        and row.event_type == COURSE_COMPLETION
        and row.held_at is None
        and not row.backfilled
        and row.attempts_made == row.tries
    )


def _posts(since: datetime) -> dict[int, int]:
    """The milliseconds of the last attempt, by the primary key of the webhook, for all that ended since then."""
    attempts = WebhookDeliveryAttempt.objects.filter(webhook__finished_at__gte=since).order_by("pk")
    return dict(attempts.values_list("webhook_id", "duration_ms"))
