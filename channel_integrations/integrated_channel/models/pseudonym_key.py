# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a customer's pseudonyms are made with."""

import secrets
from collections.abc import Collection
from uuid import UUID

from cryptography.fernet import InvalidToken
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from fernet_fields import EncryptedTextField


class WebhookPseudonymKey(models.Model):
    """
    The key of one customer, made at its first pseudonym and never changed, since all of them would change with it.

    It is random, hence nothing but this row can make the same pseudonyms: Django's SECRET_KEY can change, and two
    customers cannot join what they got. Encrypted as signing secrets are, with the site's FERNET_KEYS (or, without
    those, its SECRET_KEY). It outlives the customer's endpoints, so that a new one knows learners by the same names.

    .. no_pii:
    """

    enterprise_customer_uuid = models.UUIDField(primary_key=True)
    key = EncryptedTextField(editable=False)
    created = models.DateTimeField(default=timezone.now)

    class Meta:
        app_label = "channel_webhooks"
        verbose_name = _("pseudonym key")

    def __str__(self) -> str:
        return f"pseudonym key of {self.enterprise_customer_uuid}"

    @classmethod
    def of(cls, customers: Collection[UUID]) -> dict[UUID, bytes]:
        """
        The keys of these customers, made where there is none; one query where all are there, none for no customers.

        One that cannot be decrypted is left out: it must not be replaced.
        """
        if not customers:
            return {}
        found = cls._kept(cls.objects.filter(pk__in=customers))
        for customer in set(customers) - found.keys():
            # Whoever comes first makes it; the other takes that one.
            made, _created = cls.objects.get_or_create(pk=customer, defaults={"key": secrets.token_hex(32)})
            found[customer] = made.key
        return {customer: bytes.fromhex(key) for customer, key in found.items() if key}

    @classmethod
    def is_unreadable(cls, customer: UUID) -> bool:
        """Whether there is one that the site's keys do not decrypt."""
        return "" in cls._kept(cls.objects.filter(pk=customer)).values()

    @classmethod
    def _kept(cls, theirs: "models.QuerySet[WebhookPseudonymKey]") -> dict[UUID, str]:
        """Empty for one that cannot be decrypted, which must not keep the others from being used."""
        try:
            return dict(theirs.values_list("pk", "key"))
        except InvalidToken:
            return {pk: cls._readable(pk) for pk in list(theirs.values_list("pk", flat=True))}

    @classmethod
    def _readable(cls, pk: UUID) -> str:
        try:
            return cls.objects.get(pk=pk).key
        except InvalidToken:
            return ""
