# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was asked of Snowflake."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import models
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.snowflake_client import StatementReport


class WebhookLookupStatement(models.Model):
    """
    One statement to Snowflake, for whoever pays for the warehouse.

    .. no_pii:
    """

    began_at = models.DateTimeField(db_index=True)
    duration_ms = models.PositiveIntegerField()
    asked = models.PositiveIntegerField(help_text=_("Completions looked up."))
    found = models.PositiveIntegerField(help_text=_("Completions with a number."))
    status = models.CharField(max_length=20)
    # Nullable for the previous release's code, which inserts statements without it; and where nobody has said.
    as_of = models.DateField(null=True, help_text=_("The last day that the rollup had."))

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("Snowflake statement")

    def __str__(self) -> str:
        return f"{self.began_at} {self.status}"

    @property
    def ended_at(self) -> datetime:
        """When its answer was there."""
        return self.began_at + timedelta(milliseconds=self.duration_ms)

    @classmethod
    def latest_with_day(cls) -> "WebhookLookupStatement | None":
        """The last one that has told how far the rollup reaches."""
        return cls.objects.filter(as_of__isnull=False).order_by("-began_at").first()

    @classmethod
    def record(cls, reports: Sequence[StatementReport]) -> None:
        """Keep what was asked."""
        cls.objects.bulk_create([cls(**report._asdict()) for report in reports])
