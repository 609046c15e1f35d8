# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who decided what about the rollout of learning time, and when."""

from contextlib import suppress

from django.core.validators import MaxValueValidator
from django.db import IntegrityError, models, router, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.models.endpoint_choices import LearningTime

#: tries of one decision against others that are made at the same moment
DECIDE_TRIES = 5


class WebhookRollout(models.Model):
    """
    One decision. The newest one holds; none is ever edited or deleted.

    Every row says all that holds from then on for the site (percentage, paused). A decision about one endpoint's switch
    also names that; the switch itself is the endpoint's ``learning_time``.

    .. pii: Who decided, by user id.
    .. pii_types: id
    .. pii_retirement: retained
    """

    #: Its place in the history. As the primary key it makes two decisions at once meet: the second reads the first.
    number = models.PositiveIntegerField(primary_key=True, editable=False)
    percentage = models.PositiveSmallIntegerField(
        default=100,
        validators=[MaxValueValidator(100)],
        help_text=_("Of each customer's learners, 0 to 100. A higher one only adds learners."),
    )
    paused = models.BooleanField(
        default=False,
        help_text=_("The kill switch: while paused, nobody's learning time is looked up or sent."),
    )
    endpoint_id = models.PositiveBigIntegerField(null=True, editable=False)
    learning_time = models.CharField(max_length=10, choices=LearningTime.choices, blank=True, editable=False)
    decided_at = models.DateTimeField(default=timezone.now, editable=False)
    decided_by_id = models.PositiveIntegerField(
        null=True, editable=False, help_text=_("A user id; empty for the command.")
    )
    note = models.CharField(max_length=200, blank=True, help_text=_("Why; for those who read this later."))

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("rollout decision")
        # Nobody can be given what nobody may do.
        default_permissions = ("add", "view")

    def __str__(self) -> str:
        return f"#{self.number}"

    @classmethod
    def newest(cls) -> "WebhookRollout":
        """The decision that holds; #0, unsaved, where nobody has decided anything: everyone, not paused."""
        decisions = cls.objects.using(router.db_for_write(cls))  # A replica that lags would hold up the kill switch.
        return decisions.order_by("-number").first() or cls(number=0)

    @classmethod
    def decide(cls, **changes) -> "WebhookRollout":
        """
        Add a decision that changes this and leaves the rest as it is.

        Whoever raises the percentage at the moment in which somebody else pauses does not undo the pause: the second of
        two decisions is made upon the first.
        """
        for _try in range(DECIDE_TRIES - 1):
            with suppress(IntegrityError):
                return cls._follow_newest(changes)
        return cls._follow_newest(changes)

    @classmethod
    def _follow_newest(cls, changes: dict) -> "WebhookRollout":
        """:raises IntegrityError: somebody else's decision has taken the number"""
        before = cls.newest()
        state = {"percentage": before.percentage, "paused": before.paused, **changes}
        decision = cls(number=before.number + 1, **state)
        with transaction.atomic(using=router.db_for_write(cls)):
            decision.save(force_insert=True)
        return decision
