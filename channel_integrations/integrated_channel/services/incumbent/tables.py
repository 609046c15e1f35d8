# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The two tables of the incumbent that webhooks come from, as its releases 0.1.30 to 0.2.0 have made them.

The models stand in a registry of their own: they belong to no app, have no migrations, and nothing cascades into them.
A table may lack some of their columns; what it lacks is not read.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from cryptography.fernet import InvalidToken
from django.apps.registry import Apps
from django.db import connections, models, router
from enterprise.models import EnterpriseCustomer
from fernet_fields import EncryptedTextField

NAME = "enterprise-integrated-channels"
#: rows read at once
BATCH = 500
# What its queue says of a row.
PENDING, PROCESSING, SUCCESS, FAILED, CANCELLED = "pending", "processing", "success", "failed", "cancelled"

_registry = Apps()


class Configuration(models.Model):
    """One of its endpoints."""

    enterprise_customer_id = models.UUIDField()
    region = models.CharField(max_length=10)
    webhook_url = models.CharField(max_length=500)
    webhook_timeout_seconds = models.IntegerField()
    max_requests_per_minute = models.IntegerField()
    active = models.BooleanField()
    created = models.DateTimeField()
    #: up to 0.1.43, in plain text
    webhook_auth_token = models.CharField(max_length=255)
    #: from 0.1.36 on, under the second name from 0.1.41 on
    enrollment_events_processing = models.BooleanField()
    enable_enrollment_events_processing = models.BooleanField()
    #: from 0.1.41 on; its name notwithstanding, it is encrypted as our secrets are
    client_id = models.CharField(max_length=255)
    decrypted_client_secret = EncryptedTextField()
    #: from 0.1.44 on
    webhook_token_url = models.CharField(max_length=500)

    class Meta:
        apps = _registry
        managed = False
        app_label = "channel_integration"
        db_table = "channel_integration_enterprisewebhookconfiguration"

    def __str__(self) -> str:
        return f"endpoint {self.pk} of {NAME}"


class QueueItem(models.Model):
    """One of its webhooks; a completion has one for each day on which the grade changed."""

    enterprise_customer_id = models.UUIDField()
    user_id = models.IntegerField()
    course_id = models.CharField(max_length=255)
    user_region = models.CharField(max_length=10)
    event_type = models.CharField(max_length=50)
    payload = models.TextField()
    status = models.CharField(max_length=20)
    attempt_count = models.IntegerField()
    last_attempt_at = models.DateTimeField()
    completed_at = models.DateTimeField()
    error_message = models.TextField()
    created = models.DateTimeField()

    class Meta:
        apps = _registry
        managed = False
        app_label = "channel_integration"
        db_table = "channel_integration_webhooktransmissionqueue"

    def __str__(self) -> str:
        return f"webhook {self.pk} of {NAME}"


def alias() -> str:
    """The database that they are in: that of the customers they refer to."""
    return router.db_for_write(EnterpriseCustomer)


def columns_of(model: type[models.Model]) -> set[str]:
    """Those of the model's columns that the table has; none where there is no such table."""
    connection = connections[alias()]
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if table not in connection.introspection.table_names(cursor):
            return set()
        there = {column.name for column in connection.introspection.get_table_description(cursor, table)}
    return there & {field.column for field in model._meta.concrete_fields}


def configurations() -> Iterator[dict[str, Any]]:
    """Each of its endpoints, by the names of its columns, without the secret; oldest first."""
    yield from _rows(Configuration, columns_of(Configuration) - {"decrypted_client_secret"})


def client_secret(pk: int) -> str | None:
    """
    The client secret of one of its endpoints; None where its column holds none that these keys decrypt.

    The keys are the site's ``FERNET_KEYS``, or without those its ``SECRET_KEY``, for both distributions alike.
    """
    if "decrypted_client_secret" not in columns_of(Configuration):
        return ""
    try:
        found = Configuration.objects.using(alias()).filter(pk=pk).values_list("decrypted_client_secret", flat=True)
        return found.get() or ""
    except InvalidToken:
        return None


def queue(statuses: Sequence[str], since: Any = None) -> Iterator[list[dict[str, Any]]]:
    """Its webhooks of these statuses (made since then), in batches, oldest first: no more than one batch in memory."""
    columns = columns_of(QueueItem)
    narrowed = {"status__in": statuses, **({"created__gte": since} if since else {})}
    last = 0
    while columns and (batch := list(_rows(QueueItem, columns, pk__gt=last, **narrowed))):
        yield batch
        last = batch[-1]["id"]


def _rows(model: type[models.Model], columns: set[str], **narrowed: Any) -> Iterator[dict[str, Any]]:
    if columns:
        found = model._base_manager.using(alias()).filter(**narrowed).order_by("pk").values(*sorted(columns))
        yield from found[:BATCH] if narrowed else found
