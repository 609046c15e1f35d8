# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where webhooks stand."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class WebhookStatus(models.TextChoices):
    """Where a webhook stands; ``UNFINISHED`` are those that something will move without an operator."""

    AWAITING_ENRICHMENT = "awaiting_enrichment", _("waiting for its learning time")
    AWAITING_FINAL = "awaiting_final", _("waiting until its learning time is final")
    RECORDED = "recorded", _("to be addressed")
    PENDING = "pending", _("to be sent")
    NO_ENDPOINT = "no_endpoint", _("no endpoint for the learner's region")
    PARKED = "parked", _("parked: the endpoint is switched off")
    DELIVERED = "delivered", _("delivered")
    FAILED = "failed", _("failed for good")
    CANCELLED = "cancelled", _("cancelled")


UNFINISHED = (
    WebhookStatus.AWAITING_ENRICHMENT,
    WebhookStatus.AWAITING_FINAL,
    WebhookStatus.RECORDED,
    WebhookStatus.PENDING,
)
FINISHED = (WebhookStatus.DELIVERED, WebhookStatus.FAILED, WebhookStatus.CANCELLED)
