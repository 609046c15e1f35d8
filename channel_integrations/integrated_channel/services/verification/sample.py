# SPDX-License-Identifier: AGPL-3.0-or-later
"""Completions that went out, and which of them are compared."""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION
from channel_integrations.integrated_channel.services import rollout
from channel_integrations.integrated_channel.snowflake_client import LearningTimeKey

#: Statuses of learning time that tell of no lookup: somebody has decided that there should be none.
NOT_LOOKED_UP = frozenset({"", *rollout.REASONS})
#: rows read by one statement
PAGE = 500


class Sent(NamedTuple):
    """
    What the partner was told last of one completion: seconds, or None where there was no number.

    ``is_final``: whether the rollup had the day of the pass by then. ``webhook_id`` is that of the completion.
    """

    webhook_id: UUID
    customer_uuid: UUID
    key: LearningTimeKey
    seconds: int | None
    is_final: bool


@dataclass
class Drawn:
    """The webhooks that were drawn, of how many, and how many could not be."""

    pks: Sequence[int]
    of: int
    scrubbed: int
    not_looked_up: int

    def rows(self) -> Iterator[Sent]:
        """What they said, or what their revisions said, where these were delivered, too."""
        for start in range(0, len(self.pks), PAGE):
            rows = WebhookTransmissionQueue.objects.filter(pk__in=self.pks[start : start + PAGE]).order_by("pk")
            rows = [row for row in rows if row.user_id]  # else scrubbed since they were drawn
            revised = _revisions_of(rows)
            yield from (_sent(row, revised.get(row.webhook_id, row)) for row in rows)


def draw(size: int, since: datetime, seed: int) -> Drawn:
    """
    So many of the completions delivered since then, at random, the same for the same seed.

    Those with the lowest hashes: what is delivered between two draws changes few of them.
    """
    delivered = WebhookTransmissionQueue.objects.filter(
        finished_at__gte=since, status=WebhookStatus.DELIVERED, event_type=COURSE_COMPLETION
    ).order_by()
    drawn = Drawn(pks=(), of=0, scrubbed=0, not_looked_up=0)
    drawn.pks = sorted(heapq.nsmallest(size, _comparable(delivered, drawn), key=lambda pk: _place(seed, pk)))
    return drawn


def _comparable(delivered, counts: Drawn) -> Iterator[int]:
    for pk, status, purged_at in delivered.values_list("pk", "learning_time_status", "purged_at").iterator():
        if status in NOT_LOOKED_UP:
            counts.not_looked_up += 1
        elif purged_at:
            counts.scrubbed += 1
        else:
            counts.of += 1
            yield pk


def _place(seed: int, pk: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{pk}".encode(), digest_size=8).digest()


def _revisions_of(rows: Sequence[WebhookTransmissionQueue]) -> dict[UUID | None, WebhookTransmissionQueue]:
    delivered = WebhookTransmissionQueue.objects.filter(status=WebhookStatus.DELIVERED, purged_at=None)
    return {each.revises: each for each in delivered.filter(revises__in=[row.webhook_id for row in rows])}


def _sent(row: WebhookTransmissionQueue, last: WebhookTransmissionQueue) -> Sent:
    customer = row.enterprise_customer_uuid
    return Sent(
        webhook_id=row.webhook_id,
        customer_uuid=customer,
        key=LearningTimeKey(row.user_id, row.course_id, str(customer), row.day),
        seconds=last.learning_time,
        is_final=last.learning_time_is_final,
    )
