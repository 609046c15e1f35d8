# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who was told what about whom, when, on what basis; and whether they were told to erase it."""

from collections.abc import Iterable, Iterator

from cryptography.fernet import InvalidToken
from django.db import models
from django.utils.translation import gettext_lazy as _
from fernet_fields import EncryptedTextField

from channel_integrations.integrated_channel.exceptions import SecretUnreadable

#: rows changed by one statement at most
_PAGE = 500


class Erasure(models.TextChoices):
    """How far a partner has been told to erase what it was told; empty until the learner retires."""

    OWED = "owed", _("being told to erase it")
    TOLD = "told", _("was told to erase it")
    NOT_WANTED = "not_wanted", _("takes no erasures")
    NAMELESS = "nameless", _("was told nothing that names the learner")
    NO_ENDPOINT = "no_endpoint", _("was not told: the endpoint had been deleted")
    GIVEN_UP = "given_up", _("was not told: past the retention of webhooks")


class WebhookDisclosure(models.Model):
    """
    One webhook that has, or may have, reached an endpoint. The register of disclosures is made of these.

    It has the names of what was told and no values. It outlives the webhook's payload, the endpoint and the learner's
    account, hence repeats what it needs of them and refers to none. ``identifier`` is how the endpoint knows the
    learner, as JSON: what it was told, which no account can tell once it is retired. It is there to have the data
    erased, and goes once the endpoint has been told or is known not to want it.

    There may be two rows of one webhook, where a worker lost its lease and another sent it too.

    .. pii: The user id; until the erasure also how the endpoint knows the learner (encrypted).
    .. pii_types: id, username, email_address, other
    .. pii_retirement: retained
    """

    webhook_id = models.UUIDField()
    event_type = models.CharField(max_length=40)
    enterprise_customer_uuid = models.UUIDField(db_index=True)
    endpoint_id = models.PositiveBigIntegerField()
    host = models.CharField(max_length=255, help_text=_("Of the endpoint's URL, at the time."))
    user_id = models.PositiveIntegerField()
    data = models.JSONField(default=list, help_text=_("The names of the fields that were told; no values."))
    basis = models.CharField(max_length=40, blank=True, help_text=_("Why it was owed when it was sent."))
    first_at = models.DateTimeField()
    last_at = models.DateTimeField(help_text=_("When it was told for the last time, or may be told for the last time."))
    times = models.PositiveSmallIntegerField(default=1)
    identifier = EncryptedTextField(null=True, editable=False)

    retired_at = models.DateTimeField(null=True, help_text=_("When the LMS retired the learner."))
    erasure = models.CharField(max_length=20, choices=Erasure.choices, blank=True)
    erasure_webhook_id = models.UUIDField(null=True, db_index=True)
    erasure_told_at = models.DateTimeField(null=True, help_text=_("When the endpoint confirmed the erasure event."))

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("disclosure")
        indexes = [
            models.Index(fields=["user_id", "endpoint_id"], name="channel_webhooks_told_of_whom"),
            models.Index(fields=["last_at"], name="channel_webhooks_told_last"),
            models.Index(fields=["endpoint_id", "erasure"], name="channel_webhooks_erasures"),
        ]

    def __str__(self) -> str:
        return f"{self.webhook_id} to endpoint {self.endpoint_id}"

    @classmethod
    def change(cls, pks: Iterable[int], **changes) -> None:
        """Write to these rows, by primary key."""
        ordered = sorted(pks)
        for start in range(0, len(ordered), _PAGE):
            cls.objects.filter(pk__in=ordered[start : start + _PAGE]).update(**changes)

    @classmethod
    def identifiers(cls, pks: Iterable[int]) -> Iterator[tuple[int, str]]:
        """
        How their endpoints know the learner, by primary key.

        :raises SecretUnreadable: the site's keys have changed since one was written
        """
        for pk in pks:
            try:
                yield pk, cls.objects.values_list("identifier", flat=True).get(pk=pk) or ""
            except InvalidToken as err:
                raise SecretUnreadable(
                    "How an endpoint knows a learner was encrypted with another key: put the former SECRET_KEY at the "
                    "end of FERNET_KEYS, or untick “Erasures” on the endpoint's page and tell its partner yourself"
                ) from err
