# SPDX-License-Identifier: AGPL-3.0-or-later
"""
A learner is retired: who was told of them is told to erase it, by a webhook like any other.

What an endpoint is told is taken from the register of disclosures, in the transaction in which the webhook is made.
Both signals of a retirement, and a step of it that is repeated, find nothing left to do.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.erasures import LEARNER_ERASED, erasure_body, erasure_key
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    Erasure,
    WebhookDisclosure,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services.finished import Finished
from channel_integrations.integrated_channel.services.reasons import LEARNER_RETIRED
from channel_integrations.integrated_channel.services.retry import Outcome

lines = LogLines(__name__)


class _Told(NamedTuple):
    """What of a disclosure matters here."""

    pk: int
    endpoint_id: int
    last_at: datetime


def ask_to_erase(user_id: int) -> int:
    """
    Make an erasure for each endpoint that was told of the learner and wants it; returns how many.

    One for each way in which the endpoint knows the learner, to whom it is due once nothing about them can be under way
    there any more. What it wants no erasure for, or can have none for, is noted in the register.

    :raises SecretUnreadable: how an endpoint knows the learner cannot be decrypted
    """
    with transaction.atomic():
        theirs = WebhookDisclosure.objects.filter(user_id=user_id, retired_at=None).select_for_update().order_by("pk")
        by_endpoint = defaultdict(list)
        for told in theirs.values_list(*_Told._fields):
            by_endpoint[told[1]].append(_Told(*told))
        endpoints = EnterpriseWebhookConfiguration.objects.in_bulk(by_endpoint)
        made = []
        for endpoint_id, told_here in by_endpoint.items():
            made += _ask(endpoints.get(endpoint_id), user_id, told_here)
        WebhookTransmissionQueue.objects.bulk_create(made)
        transaction.on_commit(lambda: wake_up.for_new_rows(made))
    lines.info("webhook_erasure", "asked", count=len(made))
    return len(made)


def follow_up(finished: Sequence[Finished], held: set[int]) -> None:
    """
    In the transaction that writes attempts back: note who has confirmed an erasure, and ask for those that come late.

    Late is what was under way while its learner was retired, and is in the register only now.
    """
    confirmed = [each.webhook for each in finished if each.is_erasure and each.outcome is Outcome.DELIVERED]
    if confirmed:
        _confirm([each.webhook_id for each in confirmed], [each.pk for each in confirmed if each.pk in held])
    late = {
        each.webhook.pk: each.webhook.user_id for each in finished if each.is_disclosure and each.webhook.pk not in held
    }
    if late:
        retired = WebhookTransmissionQueue.objects.filter(pk__in=list(late), reason=LEARNER_RETIRED)
        for user_id in {late[pk] for pk in retired.values_list("pk", flat=True)}:
            ask_to_erase(user_id)


def give_up(pks: Iterable[int]) -> None:
    """These webhooks are about to be purged: erasures among them that nobody confirmed never will be."""
    erasures = WebhookTransmissionQueue.objects.filter(pk__in=list(pks), event_type=LEARNER_ERASED)
    ids = list(erasures.values_list("webhook_id", flat=True))
    if ids:
        _settle(WebhookDisclosure.objects.filter(erasure_webhook_id__in=ids, erasure=Erasure.OWED), Erasure.GIVEN_UP)


def note_deleted_endpoint(sender, instance: EnterpriseWebhookConfiguration, **kwargs) -> None:
    """Whoever is gone cannot be told any more."""
    owed = WebhookDisclosure.objects.filter(endpoint_id=instance.pk, erasure=Erasure.OWED)
    _settle(owed, Erasure.NO_ENDPOINT)


def _ask(
    endpoint: EnterpriseWebhookConfiguration | None, user_id: int, told: Sequence[_Told]
) -> list[WebhookTransmissionQueue]:
    now, pks = timezone.now(), [each.pk for each in told]
    if endpoint is None or not endpoint.sends_erasures:
        why = Erasure.NOT_WANTED if endpoint else Erasure.NO_ENDPOINT
        WebhookDisclosure.change(pks, retired_at=now, erasure=why, identifier=None)
        return []
    by_identifier = defaultdict(list)
    for pk, identifier in WebhookDisclosure.identifiers(pks):
        by_identifier[identifier].append(pk)
    due_at = max(now, *(each.last_at for each in told))
    made = []
    nameless = by_identifier.pop("", [])
    WebhookDisclosure.change(nameless, retired_at=now, erasure=Erasure.NAMELESS)
    for identifier, known_so in by_identifier.items():
        webhook = _row(endpoint, identifier, erasure_key(endpoint.pk, user_id, max(known_so)), due_at)
        WebhookDisclosure.change(known_so, retired_at=now, erasure=Erasure.OWED, erasure_webhook_id=webhook.webhook_id)
        made.append(webhook)
    return made


def _row(endpoint: EnterpriseWebhookConfiguration, identifier: str, key: str, due_at: Any) -> WebhookTransmissionQueue:
    """Addressed and frozen from the start: it is owed whatever becomes of link, consent and region."""
    now = timezone.now()
    return WebhookTransmissionQueue(
        deduplication_key=key,
        event_type=LEARNER_ERASED,
        enterprise_customer_uuid=endpoint.enterprise_customer_id,
        occurred_at=now,
        status=WebhookStatus.PENDING,
        endpoint_id=endpoint.pk,
        region=endpoint.region,
        body=erasure_body(endpoint.enterprise_customer_id, identifier, now),
        created=now,
        due_at=due_at,
    )


def _confirm(webhook_ids: Sequence[UUID], held: Sequence[int]) -> None:
    """Nobody needs to know any more how the endpoint knew the learner."""
    now = timezone.now()
    _settle(WebhookDisclosure.objects.filter(erasure_webhook_id__in=webhook_ids), Erasure.TOLD, erasure_told_at=now)
    WebhookTransmissionQueue.objects.filter(pk__in=held).update(body="", purged_at=now)


def _settle(disclosures: Any, how: Any, **changes: Any) -> None:
    pks = list(disclosures.values_list("pk", flat=True))
    WebhookDisclosure.change(pks, erasure=how, identifier=None, **changes)
