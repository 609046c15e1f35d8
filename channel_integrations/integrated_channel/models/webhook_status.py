# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where webhooks stand."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class WebhookStatus(models.TextChoices):
    """
    Where a webhook stands.

    ``UNFINISHED`` are those that a worker moves as soon as they are due. ``HELD`` wait for something that no worker can
    bring about; ``due_at`` is then when they are next looked at, and one that is late keeps no partner waiting.
    """

    AWAITING_ENRICHMENT = "awaiting_enrichment", _("waiting for its learning time")
    RECORDED = "recorded", _("to be addressed")
    PENDING = "pending", _("to be sent")
    AWAITING_IDS = "awaiting_ids", _("held until the learner has the ids that the endpoint wants")
    NO_ENDPOINT = "no_endpoint", _("no endpoint for the learner's region")
    PARKED = "parked", _("parked: the endpoint is switched off")
    DELIVERED = "delivered", _("delivered")
    FAILED = "failed", _("failed for good")
    CANCELLED = "cancelled", _("cancelled")


UNFINISHED = (WebhookStatus.AWAITING_ENRICHMENT, WebhookStatus.RECORDED, WebhookStatus.PENDING)
HELD = (WebhookStatus.AWAITING_IDS,)
FINISHED = (WebhookStatus.DELIVERED, WebhookStatus.FAILED, WebhookStatus.CANCELLED)
