# SPDX-License-Identifier: AGPL-3.0-or-later
"""Webhooks that went out, and which of them are compared."""

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
NOT_LOOKED_UP = frozenset({"", rollout.FLAG_OFF, rollout.PAUSED, rollout.ENDPOINT_NEVER, rollout.NOT_ROLLED_OUT})
#: rows read by one statement
PAGE = 500


class Sent(NamedTuple):
    """What one webhook said: seconds, or None where it had no number."""

    webhook_id: UUID
    customer_uuid: UUID
    key: LearningTimeKey
    seconds: int | None


@dataclass
class Drawn:
    """The webhooks that were drawn, of how many, and how many could not be."""

    pks: Sequence[int]
    of: int
    scrubbed: int
    not_looked_up: int

    def rows(self) -> Iterator[Sent]:
        """What they said."""
        for start in range(0, len(self.pks), PAGE):
            for row in WebhookTransmissionQueue.objects.filter(pk__in=self.pks[start : start + PAGE]).order_by("pk"):
                if row.purged_at is None and row.user_id is not None:  # scrubbed since they were drawn
                    yield _sent(row)


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


def _sent(row: WebhookTransmissionQueue) -> Sent:
    customer = row.enterprise_customer_uuid
    return Sent(row.webhook_id, customer, LearningTimeKey(row.user_id, row.course_id, str(customer)), row.learning_time)
