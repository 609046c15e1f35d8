# SPDX-License-Identifier: AGPL-3.0-or-later
"""When what must be alive was last seen alive."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class WebhookHeartbeat(models.Model):
    """
    The last sign of life of one kind of process, whichever process gave it.

    .. no_pii:
    """

    name = models.CharField(max_length=50, primary_key=True)
    beat_at = models.DateTimeField(default=timezone.now)
    worker = models.CharField(max_length=100, help_text=_("Host and process id."))

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("heartbeat")

    def __str__(self) -> str:
        return self.name

    @classmethod
    def record(cls, name: str, worker: str) -> None:
        """Alive now. An UPDATE, but for the first beat of all: two INSERTs on one key may deadlock on MySQL."""
        beat = {"beat_at": timezone.now(), "worker": worker[:100]}
        if not cls.objects.filter(pk=name).update(**beat):
            cls.objects.get_or_create(pk=name, defaults=beat)
