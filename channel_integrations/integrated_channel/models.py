# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The tables: endpoints, webhooks, attempts and leases.

No table here has a database foreign key. An insert with one waits behind any transaction that has updated the parent
(user, customer, endpoint) and makes such transactions deadlock, and a left-over constraint of an uninstalled app keeps
customers from being deleted.
"""

import uuid
from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.signals import post_delete
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import AddressRefused
from channel_integrations.integrated_channel.http_client import HttpAnswer, check_url


class Region(models.TextChoices):
    """Where a learner is, as far as the choice of an endpoint is concerned."""

    US = "US", _("United States")
    EU = "EU", _("European Union")
    OTHER = "OTHER", _("Other")


class EnterpriseWebhookConfiguration(models.Model):
    """
    One endpoint: where a customer takes the webhooks about its learners of one region.

    .. no_pii:
    """

    enterprise_customer = models.ForeignKey(
        "enterprise.EnterpriseCustomer",
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="webhook_endpoints",
    )
    region = models.CharField(max_length=10, choices=Region.choices, default=Region.OTHER)
    webhook_url = models.URLField(_("URL"), max_length=500, help_text=_("https, on a public address."))
    active = models.BooleanField(
        default=True,
        help_text=_("Switched off: what waits is parked, and no webhooks are made for new completions."),
    )
    webhook_timeout_seconds = models.PositiveSmallIntegerField(
        _("timeout (seconds)"),
        default=15,
        validators=[MinValueValidator(1), MaxValueValidator(60)],
        help_text=_("How long one attempt may take, from name lookup to the end of the answer; 1 to 60."),
    )
    send_from = models.DateTimeField(
        default=timezone.now,
        help_text=_("Completions passed before this moment make no webhook."),
    )
    all_completions = models.BooleanField(
        default=False,
        help_text=_("Every completion of the customer's linked learners, not only of the courses it sponsors."),
    )
    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("webhook endpoint")
        constraints = [
            models.UniqueConstraint(fields=["enterprise_customer", "region"], name="channel_webhooks_customer_region")
        ]

    def __str__(self) -> str:
        return f"{self.enterprise_customer_id} {self.region}"

    def clean(self) -> None:
        """Refuse a URL that the sender would refuse."""
        super().clean()
        try:
            check_url(self.webhook_url or "")
        except AddressRefused as err:
            raise ValidationError({"webhook_url": str(err)}) from err


class WebhookStatus(models.TextChoices):
    """Where a webhook stands. The first two are unfinished: something will move them without an operator."""

    AWAITING_ENRICHMENT = "awaiting_enrichment", _("waiting for its learning time")
    PENDING = "pending", _("to be sent")
    NO_ENDPOINT = "no_endpoint", _("no endpoint for the learner's region")
    PARKED = "parked", _("parked: the endpoint is switched off")
    DELIVERED = "delivered", _("delivered")
    FAILED = "failed", _("failed for good")
    CANCELLED = "cancelled", _("cancelled")


UNFINISHED = (WebhookStatus.AWAITING_ENRICHMENT, WebhookStatus.PENDING)


class WebhookQuerySet(models.QuerySet):
    """Claims. Ids are selected without locks and updated by primary key: a ranged UPDATE would wait for open grades."""

    def due(self, status: WebhookStatus, now: datetime) -> "WebhookQuerySet":
        """Rows of this status whose time has come, oldest first; an expired lease is a time that has come."""
        return self.filter(status=status, due_at__lte=now).order_by("due_at", "pk")

    def claim(self, pk: int, status: WebhookStatus, now: datetime) -> "WebhookTransmissionQueue | None":
        """
        Lease one due row for ``conf.ROW_LEASE``; None where another claimer was first or the row has moved on.

        A lease is a due time in the future together with a token: when the claimer dies, the row becomes due again.
        """
        token = uuid.uuid4()
        claimed = self.filter(pk=pk, status=status, due_at__lte=now).update(
            lease_token=token, due_at=now + conf.ROW_LEASE, modified=now
        )
        return self.filter(pk=pk, lease_token=token).first() if claimed else None


class WebhookTransmissionQueue(models.Model):
    """
    One webhook: an event about one learner for one customer, and how far it has come.

    The row holds ids and facts until the body is built at the first claim; from then on ``body`` is what every
    attempt sends, byte for byte.

    .. pii: The body holds the learner's username and email, the other fields the user id and the grade.
    .. pii_types: id, name, username, email_address, other
    .. pii_retirement: to_be_implemented
    """

    webhook_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    deduplication_key = models.CharField(max_length=64, unique=True, editable=False)
    event_type = models.CharField(max_length=40)
    enterprise_customer_uuid = models.UUIDField(db_index=True)
    user_id = models.PositiveIntegerField(db_index=True)
    course_id = models.CharField(max_length=255)
    occurred_at = models.DateTimeField(help_text=_("When the learner first passed."))
    percent_grade = models.FloatField(null=True)
    letter_grade = models.CharField(max_length=255, blank=True)

    status = models.CharField(max_length=20, choices=WebhookStatus.choices)
    reason = models.CharField(max_length=100, blank=True)
    due_at = models.DateTimeField(default=timezone.now)
    enrich_by = models.DateTimeField(null=True)
    lease_token = models.UUIDField(null=True, editable=False)

    learning_time = models.PositiveBigIntegerField(null=True, help_text=_("Seconds."))
    learning_time_status = models.CharField(max_length=20, blank=True)

    endpoint_id = models.PositiveBigIntegerField(null=True, db_index=True)
    region = models.CharField(max_length=10, choices=Region.choices, blank=True)
    body = models.TextField(blank=True)
    attempts_made = models.PositiveSmallIntegerField(default=0)
    delivered_at = models.DateTimeField(null=True)
    created = models.DateTimeField(default=timezone.now)
    modified = models.DateTimeField(auto_now=True)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("webhook")
        indexes = [models.Index(fields=["status", "due_at"], name="channel_webhooks_due")]

    def __str__(self) -> str:
        return str(self.webhook_id)

    def mark_enriched(self, learning_time: int | None, outcome: str) -> bool:
        """Pass a row on to delivery, with the seconds or with why there are none."""
        return self._release(
            status=WebhookStatus.PENDING,
            learning_time=learning_time,
            learning_time_status=outcome,
            due_at=timezone.now(),
        )

    def freeze(self, endpoint_id: int, region: str, body: str) -> bool:
        """Keep what every attempt will send, and where; the lease is kept."""
        return self._write(endpoint_id=endpoint_id, region=region, body=body)

    def mark_delivered(self) -> bool:
        """The endpoint has taken it."""
        return self._release(
            status=WebhookStatus.DELIVERED, delivered_at=timezone.now(), attempts_made=self.attempts_made + 1, reason=""
        )

    def mark_to_be_retried(self, delay: timedelta, reason: str) -> bool:
        """An attempt failed in a way that may pass."""
        return self._release(
            status=WebhookStatus.PENDING,
            due_at=timezone.now() + delay,
            attempts_made=self.attempts_made + 1,
            reason=reason,
        )

    def mark_failed(self, reason: str) -> bool:
        """An attempt failed for good."""
        return self._release(status=WebhookStatus.FAILED, attempts_made=self.attempts_made + 1, reason=reason)

    def mark_cancelled(self, reason: str) -> bool:
        """The webhook is no longer owed."""
        return self._release(status=WebhookStatus.CANCELLED, reason=reason)

    def mark_without_endpoint(self, region: str) -> bool:
        """Nobody takes webhooks about learners of this region."""
        return self._release(status=WebhookStatus.NO_ENDPOINT, region=region, reason=f"no endpoint for {region}")

    def mark_parked(self, endpoint_id: int) -> bool:
        """The endpoint is switched off."""
        return self._release(status=WebhookStatus.PARKED, endpoint_id=endpoint_id, reason="endpoint switched off")

    def _release(self, **changes) -> bool:
        return self._write(lease_token=None, **changes)

    def _write(self, **changes) -> bool:
        """Write under the lease; False where it was lost, and then nothing is written."""
        held = WebhookTransmissionQueue.objects.filter(pk=self.pk, lease_token=self.lease_token)
        if not held.update(modified=timezone.now(), **changes):
            return False
        for name, value in changes.items():
            setattr(self, name, value)
        return True


class WebhookDeliveryAttempt(models.Model):
    """
    One POST: when, how long, and what came back.

    .. pii: The start of the endpoint's answer may repeat what was sent.
    .. pii_types: other
    .. pii_retirement: to_be_implemented
    """

    webhook = models.ForeignKey(
        WebhookTransmissionQueue, on_delete=models.CASCADE, db_constraint=False, related_name="attempts"
    )
    number = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    status_code = models.PositiveSmallIntegerField(null=True)
    error_code = models.CharField(max_length=40, blank=True)
    response_start = models.TextField(blank=True)

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("delivery attempt")

    def __str__(self) -> str:
        return f"{self.webhook_id} #{self.number}"

    @classmethod
    def record(
        cls,
        webhook: WebhookTransmissionQueue,
        started_at: datetime,
        duration_ms: int,
        answer: HttpAnswer | None,
        error: str,
    ) -> "WebhookDeliveryAttempt":
        """Keep one try; ``webhook`` is the row as it was before the try."""
        return cls.objects.create(
            webhook_id=webhook.pk,
            number=webhook.attempts_made + 1,
            started_at=started_at,
            duration_ms=duration_ms,
            status_code=answer.status if answer else None,
            error_code=error,
            # Some sites' tables are utf8mb3, which has no room for astral characters.
            response_start=answer.body_start.encode("ascii", "backslashreplace").decode("ascii") if answer else "",
        )


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
        cls.objects.get_or_create(name=name, defaults={"expires_at": now})
        taken = cls.objects.filter(pk=name, expires_at__lte=now).update(token=token, expires_at=now + duration)
        return token if taken else None

    @classmethod
    def renew(cls, name: str, token: uuid.UUID, duration: timedelta) -> bool:
        """Extend the lease; False where it was lost."""
        return bool(cls.objects.filter(pk=name, token=token).update(expires_at=timezone.now() + duration))

    @classmethod
    def release(cls, name: str, token: uuid.UUID) -> None:
        """Give the lease back; nothing happens where it was lost."""
        cls.objects.filter(pk=name, token=token).update(token=None, expires_at=timezone.now())


def cancel_rows_of_deleted_endpoint(sender, instance: EnterpriseWebhookConfiguration, **kwargs) -> None:
    """What waited for a deleted endpoint is cancelled; rows being sent find the endpoint gone at their next attempt."""
    waiting = WebhookTransmissionQueue.objects.filter(
        endpoint_id=instance.pk, status__in=[WebhookStatus.PENDING, WebhookStatus.PARKED], lease_token=None
    )
    for pk in list(waiting.order_by("pk").values_list("pk", flat=True)):
        WebhookTransmissionQueue.objects.filter(pk=pk, lease_token=None).update(
            status=WebhookStatus.CANCELLED, reason="endpoint deleted", modified=timezone.now()
        )


def requeue_parked_rows(endpoint: EnterpriseWebhookConfiguration) -> int:
    """Make what was parked for an endpoint due again, in the order in which it was made; returns how many."""
    now = timezone.now()
    parked = WebhookTransmissionQueue.objects.filter(endpoint_id=endpoint.pk, status=WebhookStatus.PARKED)
    pks = list(parked.order_by("pk").values_list("pk", flat=True))
    for pk in pks:
        WebhookTransmissionQueue.objects.filter(pk=pk, status=WebhookStatus.PARKED).update(
            status=WebhookStatus.PENDING, reason="", due_at=now, modified=now
        )
    return len(pks)


def connect_model_signals() -> None:
    """Called once, when the app is ready."""
    post_delete.connect(
        cancel_rows_of_deleted_endpoint,
        sender=EnterpriseWebhookConfiguration,
        dispatch_uid="channel_webhooks.cancel_rows_of_deleted_endpoint",
    )
