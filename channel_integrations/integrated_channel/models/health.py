# SPDX-License-Identifier: AGPL-3.0-or-later
"""How an endpoint fares: its failures, its breaker, its rate limit, and whether it was switched off."""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models.endpoint import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.services.admission import breaker_open_for, to_be_disabled
from channel_integrations.integrated_channel.signals import webhook_endpoint_disabled

lines = LogLines(__name__)

#: a success of a healthy endpoint is written down once in so long
SUCCESS_NOTED_EVERY = timedelta(seconds=10)


class Failure(NamedTuple):
    """
    What a failed attempt says about its endpoint.

    ``began_at``: when the attempt began. ``for_breaker``: another attempt may succeed (what is wrong with one webhook
    says nothing about the endpoint's load). ``pause``: how long it has asked to be left alone. ``gone``: it has asked
    for no more webhooks at all.
    """

    reason: str
    began_at: datetime
    for_breaker: bool = True
    pause: timedelta | None = None
    gone: bool = False


class WebhookEndpointHealth(models.Model):
    """
    What the sender knows of one endpoint; apart from the configuration, which forms write as a whole.

    .. no_pii:
    """

    endpoint = models.OneToOneField(
        EnterpriseWebhookConfiguration,
        on_delete=models.CASCADE,
        db_constraint=False,
        primary_key=True,
        related_name="health",
    )
    failures = models.PositiveIntegerField(default=0, help_text=_("Failed attempts since the last success."))
    failing_since = models.DateTimeField(null=True)
    failures_in_a_row = models.PositiveIntegerField(
        default=0, help_text=_("Of these, what counts for the breaker: failures that another attempt may mend.")
    )
    breaker_open_until = models.DateTimeField(null=True)
    paused_until = models.DateTimeField(null=True, help_text=_("The endpoint has asked for a pause (Retry-After)."))
    next_request_at = models.DateTimeField(null=True, help_text=_("Where the rate limit stands."))
    catching_up = models.BooleanField(
        default=False, help_text=_("What was parked is being sent: one at a time, in order.")
    )
    last_success_at = models.DateTimeField(null=True)
    last_failure_at = models.DateTimeField(null=True)
    last_failure = models.CharField(max_length=100, blank=True)
    disabled_at = models.DateTimeField(null=True, help_text=_("Switched off by the sender."))
    disabled_reason = models.CharField(max_length=100, blank=True)
    modified = models.DateTimeField(default=timezone.now)

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("endpoint health")

    def __str__(self) -> str:
        return f"health of endpoint {self.endpoint_id}"

    @classmethod
    def locked(cls, endpoint_id: int) -> "WebhookEndpointHealth | None":
        """
        The row, ours until the transaction ends; None where the endpoint is gone.

        By an UPDATE, since SQLite knows no SELECT FOR UPDATE, and a transaction there that begins with a SELECT fails
        instead of waiting when it comes to write. Never by an INSERT: two of those on one key deadlock on MySQL.
        """
        mine = cls.objects.filter(pk=endpoint_id)
        return mine.get() if mine.update(modified=timezone.now()) else None

    @classmethod
    def note_success(cls, endpoint_id: int, at: datetime) -> None:
        """An attempt was taken: whatever was wrong is over, but for a pause that the endpoint has asked for."""
        clean = Q(failures=0, failures_in_a_row=0, breaker_open_until=None)
        noted = clean & Q(last_success_at__gt=at - SUCCESS_NOTED_EVERY)
        cls.objects.filter(pk=endpoint_id).exclude(noted).update(
            failures=0,
            failures_in_a_row=0,
            failing_since=None,
            breaker_open_until=None,
            last_success_at=at,
        )

    @classmethod
    def note_failure(cls, endpoint_id: int, at: datetime, failure: Failure) -> None:
        """An attempt failed: count it, and draw the consequences."""
        with transaction.atomic():
            health = cls.locked(endpoint_id)
            if health is None:
                return
            health.failures += 1
            health.failing_since = health.failing_since or at
            health.last_failure_at, health.last_failure = at, failure.reason
            if failure.for_breaker and health._is_news(failure):
                health.failures_in_a_row += 1
                health._open_breaker(at)
            if failure.pause:
                health.paused_until = max(health.paused_until or at, at + failure.pause)
            health.save()
            if failure.gone:
                health.disable(failure.reason)
            elif to_be_disabled(health.failures, health.failing_since, at):
                days = (at - health.failing_since).days
                health.disable(f"no success in {days} days and {health.failures} attempts")

    @classmethod
    def pause(cls, endpoint_id: int, duration: timedelta, reason: str) -> None:
        """Leave the endpoint alone for a while, for a reason of our own."""
        now = timezone.now()
        cls.objects.update_or_create(
            pk=endpoint_id, defaults={"paused_until": now + duration, "last_failure_at": now, "last_failure": reason}
        )

    def _is_news(self, failure: Failure) -> bool:
        """Attempts that were under way when the breaker opened are no probes: they do not keep it open for longer."""
        return self.breaker_open_until is None or failure.began_at >= self.breaker_open_until

    def _open_breaker(self, at: datetime) -> None:
        duration = breaker_open_for(self.failures_in_a_row)
        if duration:
            self.breaker_open_until = at + duration
            lines.warning(
                "webhook_endpoint",
                "breaker_open",
                endpoint_id=self.endpoint_id,
                failures=self.failures_in_a_row,
                seconds=round(duration.total_seconds()),
                reason=self.last_failure,
            )

    def disable(self, reason: str) -> bool:
        """
        Switch the endpoint off: its webhooks are parked until a person switches it on again. False where it was off.

        A log line, a notice in the admin and the signal ``webhook_endpoint_disabled`` tell of it.
        """
        mine = WebhookEndpointHealth.objects.filter(pk=self.pk, disabled_at=None)
        if not mine.update(disabled_at=timezone.now(), disabled_reason=reason):
            return False
        self.refresh_from_db()
        words = "its webhooks are parked until it is switched on again in the admin"
        lines.error("webhook_endpoint", "disabled", words, endpoint_id=self.endpoint_id, reason=reason)
        transaction.on_commit(self._tell)
        return True

    def _tell(self) -> None:
        webhook_endpoint_disabled.send_robust(
            sender=WebhookEndpointHealth, endpoint_id=self.endpoint_id, reason=self.disabled_reason
        )

    @classmethod
    def enable(cls, endpoint_id: int) -> None:
        """Begin anew, as with an endpoint that has never failed; the next round takes up what was parked."""
        cls.objects.update_or_create(
            pk=endpoint_id,
            defaults={
                "failures": 0,
                "failing_since": None,
                "failures_in_a_row": 0,
                "breaker_open_until": None,
                "paused_until": None,
                "disabled_at": None,
                "disabled_reason": "",
            },
        )
        lines.info("webhook_endpoint", "enabled", endpoint_id=endpoint_id)


def give_health(sender, instance: EnterpriseWebhookConfiguration, created: bool, raw: bool, **kwargs) -> None:
    """A new endpoint is healthy."""
    if created and not raw:
        WebhookEndpointHealth.objects.create(pk=instance.pk)
