# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The register of disclosures: written where attempts are written back, in the same transaction.

Something is disclosed as soon as the request may have reached the endpoint: there was an answer, or it failed after the
request was on its way. A worker that is killed in between writes nothing; its webhook is sent again when its lease
ends, and registered then.
"""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.db.models import F
from django.utils import timezone

from channel_integrations.integrated_channel.erasures import LEARNER_ERASED
from channel_integrations.integrated_channel.formats.disclosed import disclosed_by
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookDeliveryAttempt,
    WebhookDisclosure,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services.finished import Finished

#: rows deleted by one statement
BATCH = 200


def register(finished: Sequence[Finished], held: set[int]) -> None:
    """
    Write down what these attempts may have told; one INSERT for all that were sent for the first time.

    What has been tried before is looked for, and counted once more where it is there; so is what has lost its lease.

    :param held: the primary keys of webhooks whose lease had not been lost
    """
    told = [each for each in finished if each.is_disclosure]
    first = [each for each in told if each.number == 1 and each.webhook.pk in held]
    again = [each for each in told if not (each.number == 1 and each.webhook.pk in held)]
    known = _known([each.webhook for each in again]) if again else {}
    new = [*first, *(each for each in again if each.webhook.webhook_id not in known)]
    WebhookDisclosure.objects.bulk_create(_of(each.webhook, each.endpoint, each.result.started_at) for each in new)
    if known:
        latest = max(each.result.started_at for each in again)
        WebhookDisclosure.change(known.values(), last_at=latest, times=F("times") + 1)


def register_unwritten(pks: Sequence[int]) -> None:
    """
    Lock these webhooks, and write down what of them may have been told and is not in the register.

    That is what a worker is sending right now, or was when it was killed: nobody will write it down later, since the
    webhook is about to be scrubbed, cancelled or parked. And what was sent by a release that kept no register.
    ``last_at`` is then when the lease ends: until then the endpoint may still be told.
    """
    if not pks:
        return
    rows = WebhookTransmissionQueue.objects.filter(pk__in=pks)
    # The lock, a write that changes nothing: SQLite has no other, and no transaction there may read before it writes.
    rows.update(modified=F("modified"))
    about = [row for row in rows.order_by("pk") if row.user_id and row.event_type != LEARNER_ERASED]
    webhooks = [row for row in about if row.body and row.endpoint_id]
    under_way = {row.pk: row.due_at for row in webhooks if row.lease_token}
    attempts = WebhookDeliveryAttempt.objects.filter(webhook_id__in=[row.pk for row in webhooks])
    answered = set(attempts.filter(status_code__isnull=False).values_list("webhook_id", flat=True))
    known = _known(webhooks)
    endpoints = EnterpriseWebhookConfiguration.objects.in_bulk({row.endpoint_id for row in webhooks})
    now, new = timezone.now(), []
    for row in webhooks:
        until = max(under_way.get(row.pk, now), now)
        if row.webhook_id in known:
            if row.pk in under_way:
                WebhookDisclosure.change([known[row.webhook_id]], last_at=until)
        elif row.pk in under_way or row.pk in answered or row.delivered_at:
            at = until if row.pk in under_way else row.delivered_at or row.finished_at or now
            new.append(_of(row, endpoints.get(row.endpoint_id), at))
    WebhookDisclosure.objects.bulk_create(new)


def forget(older_than: timedelta, deadline: float) -> int:
    """
    What was told for the last time that long ago; returns how many. Batch by batch, by primary keys.

    :param deadline: of ``time.monotonic()``
    """
    old = WebhookDisclosure.objects.filter(last_at__lt=timezone.now() - older_than).order_by("last_at", "pk")
    forgotten = 0
    while time.monotonic() < deadline and (pks := list(old.values_list("pk", flat=True)[:BATCH])):
        forgotten += WebhookDisclosure.objects.filter(pk__in=pks).delete()[0]
    return forgotten


def _known(webhooks: Iterable[WebhookTransmissionQueue]) -> dict[Any, int]:
    """The primary keys of those that are in the register, by webhook id; found by the learner, which an index knows."""
    ids = {webhook.webhook_id: webhook.user_id for webhook in webhooks}
    rows = WebhookDisclosure.objects.filter(user_id__in=set(ids.values()) - {None}, webhook_id__in=list(ids))
    return dict(rows.order_by("pk").values_list("webhook_id", "pk")) if ids else {}


def _of(webhook: WebhookTransmissionQueue, endpoint: Any, at: datetime) -> WebhookDisclosure:
    told = disclosed_by(webhook.body)
    return WebhookDisclosure(
        webhook_id=webhook.webhook_id,
        event_type=webhook.event_type,
        enterprise_customer_uuid=webhook.enterprise_customer_uuid,
        endpoint_id=webhook.endpoint_id,
        host=_host(endpoint.webhook_url) if endpoint else "",
        user_id=webhook.user_id,
        data=told.names,
        basis=webhook.basis or "",
        first_at=at,
        last_at=at,
        identifier=told.identifier or None,
    )


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "")[:255]
    except ValueError:  # a row that was written past the form
        return ""
