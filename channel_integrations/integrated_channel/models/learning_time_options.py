# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an endpoint wants to know of learning times, and when it wants them."""

from datetime import timedelta

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.models.endpoint_choices import LearningTimeTiming

HOLD_HOURS, MAX_HOLD_HOURS = 72, 168
REVISE_FROM_SECONDS, MAX_REVISE_FROM_SECONDS = 60, 86_400


class LearningTimeOptions(models.Model):
    """
    Columns of an endpoint. All are nullable for the previous release's code, which inserts endpoints without them.

    .. no_pii:
    """

    states_as_of = models.BooleanField(
        _("says as of when"),
        default=False,
        null=True,
        help_text=_("Whether learning_time comes with learning_time_as_of and learning_time_final."),
    )
    learning_time_timing = models.CharField(  # noqa: DJ001  (as above; NULL is "now")
        _("while learning time is not final"),
        max_length=10,
        choices=LearningTimeTiming.choices,
        default=LearningTimeTiming.NOW,
        null=True,
        help_text=_("When completions are sent whose learning time is not final yet."),
    )
    hold_hours = models.PositiveSmallIntegerField(
        _("hours to wait for a final number"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_HOLD_HOURS)],
        help_text=_("How long a final number is waited for at the most; empty: 72."),
    )
    revise_from_seconds = models.PositiveIntegerField(
        _("seconds that make a revision"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(MAX_REVISE_FROM_SECONDS)],
        help_text=_("By more than how much the final number must differ to be sent; empty: 60."),
    )

    class Meta:
        abstract = True

    @property
    def holds(self) -> bool:
        """Whether completions wait until their number is final."""
        return self.learning_time_timing == LearningTimeTiming.HOLD

    @property
    def revises(self) -> bool:
        """Whether a final number that differs is sent after the completion."""
        return self.learning_time_timing == LearningTimeTiming.REVISE

    @property
    def waits_for_final(self) -> timedelta:
        """How long a final number is waited for, counted from when the webhook was made."""
        return waits(self.hold_hours)

    @property
    def revised_from(self) -> int:
        """Seconds; a difference of no more is not told."""
        return REVISE_FROM_SECONDS if self.revise_from_seconds is None else self.revise_from_seconds


def waits(hold_hours: int | None) -> timedelta:
    """The time of that column, also where a row was written past the form."""
    return timedelta(hours=min(max(HOLD_HOURS if hold_hours is None else hold_hours, 1), MAX_HOLD_HOURS))
