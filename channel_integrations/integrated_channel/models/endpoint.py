# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where webhooks go."""

import re
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.enrollments import COURSE_ENROLLMENT
from channel_integrations.integrated_channel.exceptions import AddressRefused
from channel_integrations.integrated_channel.formats import format_of
from channel_integrations.integrated_channel.http_client import check_ca_bundle, check_url
from channel_integrations.integrated_channel.models.endpoint_choices import (
    ClientAuthentication,
    LearningTime,
    Region,
    SignIn,
)
from channel_integrations.integrated_channel.models.endpoint_payload import PayloadChoices
from channel_integrations.integrated_channel.models.learning_time_options import LearningTimeOptions
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION_REVISED
from channel_integrations.integrated_channel.services.retry import SCHEDULE, parse_schedule

#: seconds; with it a task that claims a row in its thirtieth second ends before its soft time limit (90 s)
MAX_TIMEOUT_SECONDS = 60
MAX_CONCURRENT_REQUESTS = 32

# RFC 6749, appendix A.1 and A.4
_CLIENT_ID = re.compile(r"[ -~]*\Z")
_SCOPE = re.compile(r"([!#-\[\]-~]+( [!#-\[\]-~]+)*)?\Z")


class EnterpriseWebhookConfiguration(PayloadChoices, LearningTimeOptions):
    """
    One endpoint: where a customer takes the webhooks about its learners of one region.

    What is configured is here; how the endpoint fares is in ``WebhookEndpointHealth``.

    .. no_pii:
    """

    enterprise_customer = models.ForeignKey(
        "enterprise.EnterpriseCustomer",
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="webhook_endpoints",
    )
    region = models.CharField(max_length=10, choices=Region.choices, default=Region.OTHER)
    # Both are nullable for the previous release's code, which inserts endpoints without them; NULL is the default.
    accepts_us = models.BooleanField(
        _("accepts learners from the US"),
        default=True,
        null=True,
        help_text=_("Of the endpoint for Other alone: it gets them where there is no endpoint for the United States."),
    )
    accepts_eu = models.BooleanField(
        _("accepts learners from the EU"),
        default=False,
        null=True,
        help_text=_("Of the endpoint for Other alone: it gets them where there is no endpoint for the European Union."),
    )
    webhook_url = models.URLField(_("URL"), max_length=500, help_text=_("https, on a public address."))
    active = models.BooleanField(
        default=True,
        help_text=_("Switched off: what waits is parked, and no webhooks are made for new completions."),
    )
    webhook_timeout_seconds = models.PositiveSmallIntegerField(
        _("timeout (seconds)"),
        default=15,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_TIMEOUT_SECONDS)],
        help_text=_("How long one attempt may take, from name lookup to the end of the answer; 1 to 60."),
    )
    max_requests_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("How many webhooks the endpoint takes in a minute, from all workers together; empty: no limit."),
    )
    max_concurrent_requests = models.PositiveSmallIntegerField(
        default=4,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_CONCURRENT_REQUESTS)],
        help_text=_("How many webhooks are sent to the endpoint at the same time, by all workers together; 1 to 32."),
    )
    retry_schedule = models.CharField(
        max_length=200,
        blank=True,
        help_text=_(
            "The waits between attempts, such as “5s 5m 30m 2h”; each varies by ± 20 %. Empty: 5s 5m 30m 2h 5h 10h 14h "
            "20h 24h, ten attempts in 75 h 35 min."
        ),
    )
    ca_bundle = models.TextField(
        _("CA certificates"),
        blank=True,
        help_text=_("PEM certificates to trust for this endpoint in place of the usual ones; for a private authority."),
    )
    send_from = models.DateTimeField(
        default=timezone.now,
        help_text=_("Completions passed before this moment make no webhook."),
    )
    # All are nullable for the previous release's code, which inserts endpoints without them; NULL is the default.
    sends_completions = models.BooleanField(
        _("completions"), default=True, null=True, help_text=_("Whether completions are sent here.")
    )
    sends_enrollments = models.BooleanField(
        _("enrolments"),
        default=False,
        null=True,
        help_text=_("Whether enrolments in course runs that the customer sponsors are sent here."),
    )
    sends_erasures = models.BooleanField(
        _("erasures"),
        default=False,
        null=True,
        help_text=_("Whether the endpoint is told to erase what it was told about a learner whom the LMS retires."),
    )
    all_completions = models.BooleanField(
        default=False,
        help_text=_("Every completion of the customer's linked learners, not only of the courses it sponsors."),
    )
    # Nullable for the previous release's code, which inserts endpoints without it while both run; NULL is "rollout".
    learning_time = models.CharField(  # noqa: DJ001  (as above)
        max_length=10,
        choices=LearningTime.choices,
        default=LearningTime.ROLLOUT,
        null=True,
        help_text=_(
            "Whether completions carry how long the learner spent learning. “Always” lets a pilot customer go first. "
            "Nothing carries it while the site's flag is off or the rollout is paused."
        ),
    )
    # Nullable, as above; NULL is "none". What is secret of it is in WebhookEndpointCredential.
    sign_in = models.CharField(  # noqa: DJ001
        _("sign-in"),
        max_length=10,
        choices=SignIn.choices,
        default=SignIn.NONE,
        null=True,
        help_text=_("What each webhook carries in its Authorization header. It is signed whatever this says."),
    )
    token_url = models.URLField(  # noqa: DJ001
        _("token URL"), max_length=500, null=True, blank=True, help_text=_("Where access tokens are asked for.")
    )
    client_id = models.CharField(  # noqa: DJ001
        _("client id"), max_length=255, null=True, blank=True, help_text=_("Who we are to the token server.")
    )
    scope = models.CharField(  # noqa: DJ001
        max_length=500, null=True, blank=True, help_text=_("What the access token is to be good for.")
    )
    client_authentication = models.CharField(  # noqa: DJ001
        max_length=10,
        choices=ClientAuthentication.choices,
        default=ClientAuthentication.BASIC,
        null=True,
        help_text=_("Where the token server looks for client id and secret."),
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
        """Refuse what the sender would refuse."""
        super().clean()
        errors = {}
        for field, check in (
            ("webhook_url", check_url),
            ("retry_schedule", parse_schedule),
            ("ca_bundle", check_ca_bundle),
            *((("token_url", check_url),) if self.token_url else ()),
        ):
            try:
                check(getattr(self, field) or "")
            except (AddressRefused, ValueError) as err:
                errors[field] = str(err)
        if self.sign_in == SignIn.OAUTH and not self.token_url:
            errors["token_url"] = _("Type the address at which the partner gives out access tokens.")
        if self.sign_in == SignIn.OAUTH and not self.client_id:
            errors["client_id"] = _("Type the client id that the partner has given you.")
        if not _CLIENT_ID.match(self.client_id or ""):
            errors["client_id"] = _("A client id has printable ASCII characters alone: paste it again as a whole.")
        if not _SCOPE.match(self.scope or ""):
            errors["scope"] = _("Type scopes with single spaces between them, for example: hooks.write courses.read")
        if self.accepts_eu and self.region != Region.OTHER:
            errors["accepts_eu"] = _("Only the endpoint for Other can accept learners of another region: untick this.")
        if self.sends_completions is False and not self.sends_enrollments:
            errors["sends_completions"] = _("Tick completions, enrolments or both; to send nothing, untick “active”.")
        errors.update(self.payload_errors())
        if "payload_format" not in errors:
            errors.update(self._timing_errors())
        if errors:
            raise ValidationError(errors)

    def _timing_errors(self) -> dict[str, Any]:
        """There is a number to be waited for, and the format can tell of it afterwards."""
        if self.revises and COURSE_COMPLETION_REVISED not in format_of(self).events:
            return {"learning_time_timing": _("The endpoint's payload format has no revisions: choose now or hold.")}
        if (self.holds or self.revises) and self.omits_learning_time:
            return {"learning_time_timing": _("Learning time is left out, under “Payload”: choose now, or untick it.")}
        return {}

    def takes(self, region: str) -> bool:
        """Whether a learner of this region may be sent here; one of a named region never to that of another one."""
        accepted = {"US": self.accepts_us is not False, "EU": self.accepts_eu is True}
        return self.region == region or (self.region == Region.OTHER and accepted.get(region, False))

    def sends(self, event_type: str) -> bool:
        """Whether such events are sent here."""
        if event_type == COURSE_ENROLLMENT:
            return self.sends_enrollments is True
        return self.sends_completions is not False

    @property
    def timeout_seconds(self) -> int:
        """The time of one attempt, also where a row was written past the form."""
        return min(max(self.webhook_timeout_seconds, 1), MAX_TIMEOUT_SECONDS)

    @property
    def concurrent_requests(self) -> int:
        """How many sends at once, also where a row was written past the form."""
        return min(max(self.max_concurrent_requests, 1), MAX_CONCURRENT_REQUESTS)

    @property
    def schedule(self) -> tuple[timedelta, ...]:
        """The waits between attempts; the default ones where what is written cannot be read."""
        try:
            return parse_schedule(self.retry_schedule)
        except ValueError:
            return SCHEDULE

    def signing_secrets(self) -> list[str]:
        """
        The secrets that sign now, the current one first.

        :raises SecretUnreadable: the site's keys have changed since a secret was written
        """
        from channel_integrations.integrated_channel.models.signing_secret import WebhookSigningSecret

        return WebhookSigningSecret.of(self)
