# SPDX-License-Identifier: AGPL-3.0-or-later
"""Named leases."""

import uuid
from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone


class WebhookLease(models.Model):
    """
    Something that only one process at a time may have: a delivery slot, the circulating wake-up, the comparison.

    .. no_pii:
    """

    name = models.CharField(max_length=50, primary_key=True)
    token = models.UUIDField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        app_label = "channel_webhooks"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def acquire(cls, name: str, duration: timedelta) -> uuid.UUID | None:
        """The token of the lease, or None while somebody else has it."""
        now, token = timezone.now(), uuid.uuid4()
        # Given back is free, whatever the clock of whoever gave it says.
        ended = cls.objects.filter(Q(token=None) | Q(expires_at__lte=now), pk=name)
        if not ended.update(token=token, expires_at=now + duration):
            _lease, is_new = cls.objects.get_or_create(name=name, defaults={"expires_at": now})
            if not (is_new and ended.update(token=token, expires_at=now + duration)):
                return None
        return token

    @classmethod
    def bring_forward(cls, name: str, duration: timedelta) -> uuid.UUID | None:
        """Take the lease from its holder where it would end more than a second later than ours; None otherwise."""
        token, ours_ends = uuid.uuid4(), timezone.now() + duration
        later = cls.objects.filter(pk=name, expires_at__gt=ours_ends + timedelta(seconds=1))
        return token if later.update(token=token, expires_at=ours_ends) else None

    @classmethod
    def renew(cls, name: str, token: uuid.UUID, duration: timedelta) -> bool:
        """Extend the lease; False where it was lost."""
        return bool(cls.objects.filter(pk=name, token=token).update(expires_at=timezone.now() + duration))

    @classmethod
    def release(cls, name: str, token: uuid.UUID) -> None:
        """Give the lease back; nothing happens where it was lost."""
        cls.objects.filter(pk=name, token=token).update(token=None, expires_at=timezone.now())
