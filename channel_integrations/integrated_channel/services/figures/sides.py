# SPDX-License-Identifier: AGPL-3.0-or-later
"""How the completions within the rollout fare, beside those that its percentage leaves out: may it grow?"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from django.utils import timezone

from channel_integrations.integrated_channel.models import FINISHED, WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION
from channel_integrations.integrated_channel.services import rollout
from channel_integrations.integrated_channel.services.figures.deliveries import SAMPLE, tells_how_long
from channel_integrations.integrated_channel.services.figures.percentiles import Percentiles

INSIDE, OUTSIDE, NEITHER = "inside", "outside", "neither"


class Side(NamedTuple):
    """
    The completions of one side: how many were made, and of these delivered, failed for good, and still on their way.

    ``total`` is from the pass to the delivery, in seconds. ``learning_times`` are those delivered, by
    ``learning_time_status``, the most frequent first.
    """

    made: int
    delivered: int
    failed: int
    waiting: int
    total: Percentiles | None
    learning_times: dict[str, int]


class Sides(NamedTuple):
    """
    Each side as it was for each completion: inside, learning time was to be looked up; outside, the percentage left it
    out; neither, where flag, kill switch or the endpoint's own switch did.

    ``is_capped``: there are more than were looked at.
    """

    inside: Side
    outside: Side
    neither: Side
    is_capped: bool

    @property
    def made(self) -> int:
        """All of them."""
        return self.inside.made + self.outside.made + self.neither.made


def latest(window: timedelta) -> Sides:
    """
    The completions made so lately, from the latest ``SAMPLE`` webhooks at most; with one query.

    What was backfilled is left out; what was replayed or held tells nothing of ``total``.
    """
    made = WebhookTransmissionQueue.objects.filter(purged_at=None, created__gte=timezone.now() - window)
    names = (
        "status", "event_type", "backfilled", "held_at", "attempts_made", "tries", "occurred_at", "finished_at",
        "learning_time_status",
    )  # fmt: skip
    rows = list(made.order_by("-created").values_list(*names, named=True)[: SAMPLE + 1])
    of_side: dict[str, list[Any]] = {INSIDE: [], OUTSIDE: [], NEITHER: []}
    for row in rows[:SAMPLE]:
        if row.event_type == COURSE_COMPLETION and not row.backfilled:
            of_side[_side_of(row.learning_time_status)].append(row)
    return Sides(**{name: _side(theirs) for name, theirs in of_side.items()}, is_capped=len(rows) > SAMPLE)


def _side_of(learning_time_status: str) -> str:
    if learning_time_status == rollout.NOT_ROLLED_OUT:
        return OUTSIDE
    return NEITHER if learning_time_status in rollout.REASONS else INSIDE


def _side(rows: Sequence[Any]) -> Side:
    delivered = [row for row in rows if row.status == WebhookStatus.DELIVERED]
    straight = [row for row in delivered if tells_how_long(row)]
    return Side(
        made=len(rows),
        delivered=len(delivered),
        failed=sum(row.status == WebhookStatus.FAILED for row in rows),
        waiting=sum(row.status not in FINISHED for row in rows),
        total=Percentiles.of((row.finished_at - row.occurred_at).total_seconds() for row in straight),
        learning_times=dict(Counter(row.learning_time_status for row in delivered).most_common()),
    )
