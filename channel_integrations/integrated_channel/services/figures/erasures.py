# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether partners have been told whom to erase."""

from typing import NamedTuple

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    Erasure,
    WebhookDisclosure,
    WebhookStatus,
    WebhookTransmissionQueue,
)

#: erasures that are looked at, at the most
MOST = 10_000


class ErasureFigures(NamedTuple):
    """
    Erasures that no endpoint has confirmed; ``stuck`` are those of them that failed for good.

    What was cancelled is not: whoever did that was told that the partner is owed the word.
    """

    owed: int
    stuck: int


def erasures() -> ErasureFigures:
    """Found in the register, which has an index of them; with three queries."""
    endpoints = list(EnterpriseWebhookConfiguration.objects.values_list("pk", flat=True))
    owed = WebhookDisclosure.objects.filter(endpoint_id__in=endpoints, erasure=Erasure.OWED)
    ids = list(owed.order_by().values_list("erasure_webhook_id", flat=True).distinct()[:MOST])
    stuck = WebhookTransmissionQueue.objects.filter(webhook_id__in=ids, status=WebhookStatus.FAILED)
    return ErasureFigures(len(ids), stuck.count())
