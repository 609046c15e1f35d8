# SPDX-License-Identifier: AGPL-3.0-or-later
"""One webhook, and every change of its state."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import Error, models, transaction
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.models.endpoint import EnterpriseWebhookConfiguration, Region

#: rows changed by one statement at most
PAGE = 500
NO_TIME = timedelta(0)
#: until what could not be worked on is tried again: soon, but not in a tight loop
AGAIN_AFTER_ERROR = timedelta(seconds=10)
SWITCHED_OFF = "endpoint switched off"
ENDPOINT_DELETED = "endpoint deleted"


class WebhookStatus(models.TextChoices):
    """Where a webhook stands; ``UNFINISHED`` are those that something will move without an operator."""

    AWAITING_ENRICHMENT = "awaiting_enrichment", _("waiting for its learning time")
    RECORDED = "recorded", _("to be addressed")
    PENDING = "pending", _("to be sent")
    NO_ENDPOINT = "no_endpoint", _("no endpoint for the learner's region")
    PARKED = "parked", _("parked: the endpoint is switched off")
    DELIVERED = "delivered", _("delivered")
    FAILED = "failed", _("failed for good")
    CANCELLED = "cancelled", _("cancelled")


class EnrichmentOutcome(NamedTuple):
    """
    The seconds; or None, and why there is no number. The status is that of ``learning_time_status``.

    ``lookup_ms``: milliseconds that its statement took, 0 from the cache; None where nothing was looked up.
    """

    learning_time: int | None
    status: str
    lookup_ms: int | None = None


UNFINISHED = (WebhookStatus.AWAITING_ENRICHMENT, WebhookStatus.RECORDED, WebhookStatus.PENDING)
FINISHED = (WebhookStatus.DELIVERED, WebhookStatus.FAILED, WebhookStatus.CANCELLED)


def _its_time(due: str, now: datetime, early: timedelta) -> models.Q:
    """Due now, or so much later where nobody has leased it; ``due`` is the name to ask by."""
    its_time = models.Q(**{f"{due}__lte": now})
    return its_time | models.Q(**{f"{due}__lte": now + early, "lease_token": None}) if early else its_time


class WebhookQuerySet(models.QuerySet):
    """Claims. Ids are selected without locks and updated by primary key: a ranged UPDATE would wait for open grades."""

    def due(self, status: str, now: datetime, early: timedelta = NO_TIME) -> "WebhookQuerySet":
        """
        Rows of this status whose time has come, oldest first; an expired lease is a time that has come.

        :param early: include what nobody has leased and is due so much later
        """
        return self.filter(_its_time("due_at", now, early), status=status).order_by("due_at", "pk")

    def by_key(self, pks: Sequence[int]) -> "WebhookQuerySet":
        """
        These rows, to be updated; filter them by ``status_now`` and ``due_now``.

        Both are their columns in a form that fits no index. Of ten rows and more MariaDB would else take those of the
        status and due time by that index, and wait there for rows that open grade transactions have inserted.
        """
        return self.filter(pk__in=pks).annotate(
            status_now=Coalesce("status", "reason"), due_now=Coalesce("due_at", "created")
        )

    def claim(
        self, pks: Sequence[int], status: str, now: datetime, early: timedelta = NO_TIME
    ) -> "list[WebhookTransmissionQueue]":
        """
        Lease those of these rows that are due, for ``conf.ROW_LEASE``; the others were claimed or have moved on.

        A lease is a due time in the future together with a token: when the claimer dies, the row becomes due again.
        """
        if not pks:
            return []
        token = uuid.uuid4()
        claimed = (
            self.by_key(pks)
            .filter(_its_time("due_now", now, early), status_now=status)
            .update(lease_token=token, due_at=now + conf.ROW_LEASE, modified=now)
        )
        if not claimed:
            return []
        place = {pk: position for position, pk in enumerate(pks)}
        return sorted(self.filter(pk__in=pks, lease_token=token), key=lambda row: place[row.pk])

    @contextmanager
    def given_back_on_error(self, claimed: "Sequence[WebhookTransmissionQueue]") -> Iterator[None]:
        """
        Whatever is raised within (a deadlock, a time limit), these rows of one claim are due again in a moment.

        Where the database itself is gone their lease ends later, as after a kill.
        """
        token = claimed[0].lease_token if claimed else None  # Within, a row that has moved on loses its own.
        try:
            yield
        except BaseException:
            if token:
                with suppress(Error):
                    held = self.filter(pk__in=[webhook.pk for webhook in claimed], lease_token=token)
                    held.update(lease_token=None, due_at=timezone.now() + AGAIN_AFTER_ERROR)
            raise

    def mark_enriched(
        self, webhooks: "Sequence[WebhookTransmissionQueue]", outcomes: "Mapping[int, EnrichmentOutcome]"
    ) -> int:
        """
        Pass rows of one claim on to delivery, with their seconds or with why there are none; returns how many.

        What has lost its lease is not written.
        """
        now = timezone.now()
        for webhook in webhooks:
            webhook.learning_time, webhook.learning_time_status, webhook.lookup_ms = outcomes[webhook.pk]
            webhook.status = WebhookStatus.RECORDED
        own = ["learning_time", "learning_time_status", "lookup_ms"]
        return self._write_back(webhooks, own, status=WebhookStatus.RECORDED, due_at=now)

    def mark_addressed(self, webhooks: "Sequence[WebhookTransmissionQueue]") -> int:
        """
        Keep what every attempt will send, and where; from now on these rows of one claim wait for their endpoint.

        Their ``endpoint_id``, ``region`` and ``body`` have been set, and ``learning_time`` may have been taken away.
        What has lost its lease is not written.
        """
        now = timezone.now()
        for webhook in webhooks:
            webhook.status, webhook.reason = WebhookStatus.PENDING, ""
        own = ["endpoint_id", "region", "body", "learning_time", "learning_time_status"]
        return self._write_back(webhooks, own, status=WebhookStatus.PENDING, reason="", due_at=now)

    def mark_delivered(self, webhooks: "Sequence[WebhookTransmissionQueue]") -> set[int]:
        """Their endpoints have taken them; returns the primary keys of those whose lease had not been lost."""
        now, pks = timezone.now(), {webhook.pk for webhook in webhooks}
        held = self.filter(pk__in=pks, lease_token__in={webhook.lease_token for webhook in webhooks})
        written = held.update(
            status=WebhookStatus.DELIVERED,
            delivered_at=now,
            finished_at=now,
            reason="",
            attempts_made=models.F("attempts_made") + 1,
            tries=models.F("tries") + 1,
            lease_token=None,
            modified=now,
        )
        if written < len(pks):
            pks = set(self.filter(pk__in=pks, delivered_at=now).values_list("pk", flat=True))
        return pks

    def _write_back(self, webhooks: "Sequence[WebhookTransmissionQueue]", own: Sequence[str], **shared: Any) -> int:
        """Write each row's own values and the shared ones under their lease, and give that back."""
        if not webhooks:
            return 0
        held = self.filter(lease_token=webhooks[0].lease_token)
        with transaction.atomic():
            held.bulk_update(webhooks, own, batch_size=PAGE)
            pks = [webhook.pk for webhook in webhooks]
            return held.filter(pk__in=pks).update(lease_token=None, modified=timezone.now(), **shared)

    def in_flight(self, endpoint_id: int, now: datetime) -> int:
        """How many webhooks are being sent to an endpoint, by all workers together."""
        return self.filter(
            status=WebhookStatus.PENDING, endpoint_id=endpoint_id, lease_token__isnull=False, due_at__gt=now
        ).count()

    def move(self, pks: Sequence[int], before: str, after: str, **changes) -> int:
        """Move those of these rows that have the one status and are not leased to the other; returns how many."""
        now, moved = timezone.now(), 0
        changes["finished_at"] = now if after in FINISHED else None
        for start in range(0, len(pks), PAGE):
            rows = self.by_key(pks[start : start + PAGE]).filter(status_now=before)
            free = rows.filter(models.Q(lease_token=None) | models.Q(due_now__lte=now))
            moved += free.update(**{"status": after, "lease_token": None, "modified": now, **changes})
        return moved


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

    endpoint_id = models.PositiveBigIntegerField(null=True)
    region = models.CharField(max_length=10, choices=Region.choices, blank=True)
    body = models.TextField(blank=True)
    attempts_made = models.PositiveSmallIntegerField(default=0)
    tries = models.PositiveSmallIntegerField(
        default=0, help_text=_("Attempts since the schedule began; a replay begins it anew.")
    )
    delivered_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True, help_text=_("When it was delivered, failed for good or cancelled."))
    created = models.DateTimeField(default=timezone.now)
    modified = models.DateTimeField(auto_now=True)
    purged_at = models.DateTimeField(null=True, help_text=_("When personal data and attempts were removed."))

    objects = WebhookQuerySet.as_manager()

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("webhook")
        indexes = [
            models.Index(fields=["status", "due_at"], name="channel_webhooks_due"),
            models.Index(fields=["status", "endpoint_id", "due_at"], name="channel_webhooks_endpoint_due"),
            models.Index(fields=["endpoint_id", "lease_token"], name="channel_webhooks_in_flight"),
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
    for status in (WebhookStatus.PENDING, WebhookStatus.PARKED):
        waiting = WebhookTransmissionQueue.objects.filter(endpoint_id=instance.pk, status=status)
        pks = list(waiting.order_by("pk").values_list("pk", flat=True))
        WebhookTransmissionQueue.objects.move(pks, status, WebhookStatus.CANCELLED, reason=ENDPOINT_DELETED)
