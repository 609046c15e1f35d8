# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every secret encrypted anew with the first of the site's keys, so that a former key can be taken out."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from cryptography.fernet import InvalidToken
from django.db import models, transaction
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    WebhookEndpointCredential,
    WebhookPseudonymKey,
    WebhookSigningSecret,
)

#: the columns that nothing else can restore, what each is, and whose it is
_SECRETS: tuple[tuple[type[models.Model], str, str, str], ...] = (
    (WebhookSigningSecret, "secret", "signing secret", "endpoint_id"),
    (WebhookEndpointCredential, "bearer_token", "bearer token", "endpoint_id"),
    (WebhookEndpointCredential, "client_secret", "client secret", "endpoint_id"),
    (WebhookPseudonymKey, "key", "pseudonym key", "enterprise_customer_uuid"),
)


class Unreadable(NamedTuple):
    """A secret that no key of the site decrypts: what it is, and of which endpoint or customer."""

    name: str
    owner: Any


class Reencrypted(NamedTuple):
    """How many were written, by what they are, and which could not be read and are as they were."""

    written: Counter[str]
    unreadable: list[Unreadable]


def reencrypt() -> Reencrypted:
    """
    Write them anew, one by one; one that cannot be read keeps nobody from the others. Safe to run again.

    Signing secrets that have expired are deleted, and access tokens forgotten: the next attempt asks for another.
    """
    WebhookSigningSecret.objects.filter(expires_at__lte=timezone.now()).delete()
    written: Counter[str] = Counter()
    unreadable = []
    for model, column, name, whose in _SECRETS:
        for pk, owner in _there(model, column, whose):
            try:
                written[name] += _write_anew(model, column, pk)
            except InvalidToken:
                unreadable.append(Unreadable(name, owner))
    WebhookEndpointCredential.objects.update(access_token=None, access_token_id=None, expires_at=None)
    return Reencrypted(+written, unreadable)


def _there(model: type[models.Model], column: str, whose: str) -> Iterator[tuple[Any, Any]]:
    rows = model._default_manager.filter(**{f"{column}__isnull": False}).order_by("pk")
    return iter(list(rows.values_list("pk", whose)))


def _write_anew(model: type[models.Model], column: str, pk: Any) -> int:
    """
    How many were written: none where the row has gone meanwhile.

    :raises InvalidToken: it was encrypted with a key that the site does not have
    """
    with transaction.atomic():
        # Locked, so that a secret that somebody types in meanwhile is not overwritten with the one before.
        row = model._default_manager.select_for_update().filter(pk=pk)
        found = row.values_list(column, flat=True).first()
        return row.update(**{column: found}) if found else 0
