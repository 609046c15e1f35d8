# SPDX-License-Identifier: AGPL-3.0-or-later
"""Why a pass made no webhook."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class WebhookSuppression(models.Model):
    """
    The last reason for which a linked learner's pass made no webhook for a customer; by ids only.

    .. pii: The user id of a learner.
    .. pii_types: id
    .. pii_retirement: local_api
    """

    enterprise_customer_uuid = models.UUIDField()
    user_id = models.PositiveIntegerField(db_index=True)
    course_id = models.CharField(max_length=255)
    passed_at = models.DateTimeField(help_text=_("When the learner first passed."))
    reason = models.CharField(max_length=100)
    noted_at = models.DateTimeField(default=timezone.now)

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("suppressed webhook")
        constraints = [
            models.UniqueConstraint(
                fields=["enterprise_customer_uuid", "user_id", "course_id"], name="channel_webhooks_suppressed_once"
            )
        ]
        indexes = [models.Index(fields=["noted_at", "reason"], name="channel_webhooks_suppressed")]

    def __str__(self) -> str:
        return f"{self.enterprise_customer_uuid} {self.course_id}: {self.reason}"
