# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every secret encrypted anew with the first of the site's keys, so that a former key can be taken out."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from cryptography.fernet import InvalidToken
from django.db import models, transaction
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    WebhookDisclosure,
    WebhookEndpointCredential,
    WebhookPseudonymKey,
    WebhookSigningSecret,
)

#: rows looked for at once
PAGE = 1000


class Column(NamedTuple):
    """An encrypted column that nothing else can restore; ``owner_id`` is the column that says whose it is."""

    model: type[models.Model]
    name: str
    in_words: str
    owner: str
    owner_id: str


COLUMNS = (
    Column(WebhookSigningSecret, "secret", "signing secret", "endpoint", "endpoint_id"),
    Column(WebhookEndpointCredential, "bearer_token", "bearer token", "endpoint", "endpoint_id"),
    Column(WebhookEndpointCredential, "client_secret", "client secret", "endpoint", "endpoint_id"),
    Column(WebhookPseudonymKey, "key", "pseudonym key", "customer", "enterprise_customer_uuid"),
    Column(WebhookDisclosure, "identifier", "learner's identifier in the register", "endpoint", "endpoint_id"),
)


class Unreadable(NamedTuple):
    """What no key of the site decrypts, and whose it is, in words."""

    what: str
    owner: str


class Reencrypted(NamedTuple):
    """How many were written, by what they are, and how many could not be read and are as they were."""

    written: Counter[str]
    unreadable: Counter[Unreadable]


def reencrypt() -> Reencrypted:
    """
    Write them anew, one by one; one that cannot be read keeps nobody from the others. Safe to run again.

    Signing secrets that have expired are deleted, and access tokens forgotten: the next attempt asks for another.
    """
    WebhookSigningSecret.objects.filter(expires_at__lte=timezone.now()).delete()
    written: Counter[str] = Counter()
    unreadable: Counter[Unreadable] = Counter()
    for column in COLUMNS:
        for pk, owner_id in _there(column):
            try:
                written[column.in_words] += _write_anew(column, pk)
            except InvalidToken:
                unreadable[Unreadable(column.in_words, f"{column.owner} {owner_id}")] += 1
    WebhookEndpointCredential.objects.update(access_token=None, access_token_id=None, expires_at=None)
    return Reencrypted(+written, unreadable)


def _there(column: Column) -> Iterator[tuple[Any, Any]]:
    """Primary key and owner's of each, a page at a time: the register may have millions."""
    rows = column.model._default_manager.filter(**{f"{column.name}__isnull": False}).order_by("pk")
    page = list(rows.values_list("pk", column.owner_id)[:PAGE])
    while page:
        yield from page
        page = list(rows.filter(pk__gt=page[-1][0]).values_list("pk", column.owner_id)[:PAGE])


def _write_anew(column: Column, pk: Any) -> int:
    """
    How many were written: none where it has gone meanwhile.

    :raises InvalidToken: it was encrypted with a key that the site does not have
    """
    with transaction.atomic():
        # Locked, so that a secret that somebody types in meanwhile is not overwritten with the one before.
        row = column.model._default_manager.select_for_update().filter(pk=pk)
        found = row.values_list(column.name, flat=True).first()
        return row.update(**{column.name: found}) if found else 0
