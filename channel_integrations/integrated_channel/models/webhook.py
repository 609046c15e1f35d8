# SPDX-License-Identifier: AGPL-3.0-or-later
"""One webhook, and every change of its state."""

import uuid
from datetime import UTC, date, datetime, timedelta

from django.db import models
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.models.endpoint import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.models.endpoint_choices import Region
from channel_integrations.integrated_channel.models.webhook_queryset import WebhookQuerySet
from channel_integrations.integrated_channel.models.webhook_status import WebhookStatus

SWITCHED_OFF = "endpoint switched off"
ENDPOINT_DELETED = "endpoint deleted"


class WebhookTransmissionQueue(models.Model):
    """
    One webhook: an event about one learner for one customer, and how far it has come.

    The row holds ids and facts until it is addressed: then its endpoint is chosen and ``body`` is built, which is what
    every attempt sends, byte for byte. After retention only what keeps the pass from going out twice is left.

    .. pii: The body holds the learner's username and email, the other fields the user id and the grade.
    .. pii_types: id, name, username, email_address, other
    .. pii_retirement: local_api
    """

    webhook_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    deduplication_key = models.CharField(max_length=64, unique=True, editable=False)
    event_type = models.CharField(max_length=40)
    enterprise_customer_uuid = models.UUIDField(db_index=True)
    user_id = models.PositiveIntegerField(null=True, db_index=True)
    course_id = models.CharField(max_length=255)
    occurred_at = models.DateTimeField(help_text=_("When the learner first passed, or enrolled."))
    percent_grade = models.FloatField(null=True)
    letter_grade = models.CharField(max_length=255, blank=True)
    # Of enrolments; nullable for the previous release's code, which inserts webhooks without them.
    enrollment_mode = models.CharField(max_length=100, null=True)  # noqa: DJ001  (as above)
    enrollment_is_active = models.BooleanField(null=True)
    backfilled = models.BooleanField(
        default=False, help_text=_("Made by a backfill: passed before the endpoint's send_from.")
    )

    status = models.CharField(max_length=20, choices=WebhookStatus.choices)
    reason = models.CharField(max_length=100, blank=True)
    due_at = models.DateTimeField(default=timezone.now)
    enrich_by = models.DateTimeField(null=True)
    lease_token = models.UUIDField(null=True, editable=False)

    learning_time = models.PositiveBigIntegerField(null=True, help_text=_("Seconds."))
    learning_time_status = models.CharField(max_length=20, blank=True)
    lookup_ms = models.PositiveIntegerField(
        null=True, help_text=_("Milliseconds that its statement took; 0 from the cache, empty without a lookup.")
    )

    # These three are nullable for the previous release's code, which inserts webhooks without them.
    learning_time_as_of = models.DateField(
        null=True, help_text=_("The last day that the rollup had when the learning time was looked up.")
    )
    held_at = models.DateTimeField(null=True, help_text=_("Since when it has waited for its final learning time."))
    revises = models.UUIDField(
        null=True, editable=False, help_text=_("The completion whose learning time this one corrects.")
    )

    endpoint_id = models.PositiveBigIntegerField(null=True)
    region = models.CharField(max_length=10, choices=Region.choices, blank=True)
    body = models.TextField(blank=True)
    basis = models.CharField(  # noqa: DJ001  (nullable, as above)
        max_length=40, null=True, help_text=_("Why it was owed when that was last looked at.")
    )
    attempts_made = models.PositiveSmallIntegerField(default=0)
    tries = models.PositiveSmallIntegerField(
        default=0, help_text=_("Attempts since the schedule began; a replay begins it anew.")
    )
    delivered_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True, help_text=_("When it was delivered, failed for good or cancelled."))
    created = models.DateTimeField(default=timezone.now)
    modified = models.DateTimeField(auto_now=True)
    purged_at = models.DateTimeField(null=True, help_text=_("When personal data and attempts were removed."))

    #: of a row that was claimed: whether the lease before has ended by itself, so that it may have been sent with that
    is_abandoned = False

    objects = WebhookQuerySet.as_manager()

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("webhook")
        indexes = [
            models.Index(fields=["status", "due_at"], name="channel_webhooks_due"),
            models.Index(fields=["status", "endpoint_id", "due_at"], name="channel_webhooks_endpoint_due"),
            models.Index(fields=["endpoint_id", "lease_token"], name="channel_webhooks_in_flight"),
            models.Index(fields=["revises", "status", "due_at"], name="channel_webhooks_revisions"),
            models.Index(fields=["purged_at", "created"], name="channel_webhooks_retention"),
            models.Index(fields=["finished_at", "status"], name="channel_webhooks_finished"),
        ]
        # To look at webhooks is Django's own permission to view them, to configure is the one to change endpoints.
        permissions = [
            ("operate_webhooks", _("Can replay and cancel webhooks, test endpoints and switch them on again")),
            ("view_webhook_personal_data", _("Can see who a webhook is about and what it says")),
        ]

    def __str__(self) -> str:
        return str(self.webhook_id)

    @property
    def day(self) -> date:
        """The day of the pass, in UTC: the last one whose learning counts."""
        return self.occurred_at.astimezone(UTC).date()

    @property
    def learning_time_is_final(self) -> bool:
        """Whether the rollup had the day of the pass: the number, or that there is none, does not change any more."""
        return self.learning_time_as_of is not None and self.learning_time_as_of >= self.day

    @cached_property
    def revision(self) -> "WebhookTransmissionQueue | None":
        """The webhook that corrects this completion's learning time; looked for once."""
        return WebhookTransmissionQueue.objects.filter(revises=self.webhook_id).first()

    def delay_until(self, moment: datetime) -> None:
        """Have a row that is not yet in the database handled later, with as long a wait for its learning time."""
        if self.enrich_by:
            self.enrich_by += moment - self.due_at
        self.due_at = moment

    def forget_learning_time(self, outcome: str) -> None:
        """Let a row that is held go out without the seconds that it has; written with its next change."""
        if self.learning_time is not None:
            self.learning_time, self.learning_time_status = None, outcome

    def mark_to_be_retried(self, delay: timedelta, reason: str) -> bool:
        """An attempt failed in a way that may pass."""
        return self._release_after_attempt(
            status=WebhookStatus.PENDING, due_at=timezone.now() + delay, reason=reason[:100]
        )

    def mark_to_be_signed_in_anew(self, reason: str) -> bool:
        """The access token was refused: another attempt at once, which takes nothing from the schedule."""
        return self._release(
            attempts_made=self.attempts_made + 1, status=WebhookStatus.PENDING, due_at=timezone.now(), reason=reason
        )

    def mark_failed(self, reason: str) -> bool:
        """An attempt failed for good."""
        return self._release_after_attempt(status=WebhookStatus.FAILED, finished_at=timezone.now(), reason=reason[:100])

    def mark_refused(self, reason: str) -> bool:
        """The endpoint wants no more webhooks; this one waits until a person has settled that."""
        return self._release_after_attempt(status=WebhookStatus.PARKED, reason=reason[:100])

    def mark_cancelled(self, reason: str) -> bool:
        """The webhook is no longer owed."""
        return self._release(status=WebhookStatus.CANCELLED, finished_at=timezone.now(), reason=reason)

    def mark_to_be_looked_at_again(self, moment: datetime, reason: str) -> bool:
        """It is not owed, but may be by then; it stays where it is."""
        return self._release(due_at=moment, reason=reason[:100])

    def mark_awaiting_final(self, look_at: datetime, until: datetime) -> bool:
        """Its number is not final: it is looked up again then, and waited for until then at the latest."""
        return self._release(
            status=WebhookStatus.AWAITING_FINAL,
            due_at=min(look_at, until),
            enrich_by=until,
            held_at=self.held_at or timezone.now(),
            endpoint_id=self.endpoint_id,
            learning_time=self.learning_time,
            learning_time_status=self.learning_time_status,
            reason="",
        )

    def mark_awaiting_ids(self, endpoint: EnterpriseWebhookConfiguration, moment: datetime, reason: str) -> bool:
        """What it is to say, such as who it is about, is not known so far; it is looked at again by then."""
        return self._release(
            status=WebhookStatus.AWAITING_IDS,
            endpoint_id=endpoint.pk,
            region=endpoint.region,
            due_at=moment,
            reason=reason[:100],
        )

    def mark_without_endpoint(self, region: str) -> bool:
        """Nobody takes webhooks about learners of this region."""
        return self._release(status=WebhookStatus.NO_ENDPOINT, region=region, reason=f"no endpoint for {region}")

    def mark_parked(self, endpoint_id: int) -> bool:
        """The endpoint is switched off."""
        return self._release(status=WebhookStatus.PARKED, endpoint_id=endpoint_id, reason=SWITCHED_OFF)

    def _release_after_attempt(self, **changes) -> bool:
        return self._release(attempts_made=self.attempts_made + 1, tries=self.tries + 1, **changes)

    def _release(self, **changes) -> bool:
        """Write under the lease and give it back; False where it was lost, and then nothing is written."""
        held = WebhookTransmissionQueue.objects.filter(pk=self.pk, lease_token=self.lease_token)
        if not held.update(modified=timezone.now(), lease_token=None, **changes):
            return False
        for name, value in changes.items():
            setattr(self, name, value)
        self.lease_token = None
        return True


def cancel_rows_of_deleted_endpoint(sender, instance: EnterpriseWebhookConfiguration, **kwargs) -> None:
    """What waited for a deleted endpoint is cancelled; rows being sent find it gone at their next attempt."""
    for status in (
        WebhookStatus.AWAITING_FINAL,
        WebhookStatus.PENDING,
        WebhookStatus.PARKED,
        WebhookStatus.AWAITING_IDS,
    ):
        waiting = WebhookTransmissionQueue.objects.filter(endpoint_id=instance.pk, status=status)
        pks = list(waiting.order_by("pk").values_list("pk", flat=True))
        WebhookTransmissionQueue.objects.move(pks, status, WebhookStatus.CANCELLED, reason=ENDPOINT_DELETED)
