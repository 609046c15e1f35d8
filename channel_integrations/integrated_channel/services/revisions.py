# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Completions once more: sent at once with what was known, and again if the final learning time differs.

The row of the revision is made together with the completion's body, and waits until the number is final. It is then
sent to the same endpoint, or cancelled because nothing has changed.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import WebhookNotOwed
from channel_integrations.integrated_channel.formats import format_of
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.passes import COURSE_COMPLETION_REVISED, deduplication_key
from channel_integrations.integrated_channel.services import reasons
from channel_integrations.integrated_channel.services.final_number import put_off, was_to_be_looked_up
from channel_integrations.integrated_channel.services.rollup_schedule import next_look

#: until it is looked again whether the completion itself has been delivered
LOOK_AGAIN = timedelta(hours=1)
WAITS_FOR_ITS_COMPLETION = "the completion itself is not delivered yet"


def is_wanted(webhook: WebhookTransmissionQueue, endpoint: EnterpriseWebhookConfiguration) -> bool:
    """Whether a completion that goes to this endpoint now may have to be revised."""
    may_change = was_to_be_looked_up(webhook) and not webhook.learning_time_is_final
    return may_change and webhook.revises is None and are_taken_by(endpoint)


def are_taken_by(endpoint: EnterpriseWebhookConfiguration) -> bool:
    """Whether the endpoint wants revisions, its format has them, and it is told of learning time at all."""
    has_them = endpoint.revises and COURSE_COMPLETION_REVISED in format_of(endpoint).events
    return has_them and not endpoint.omits_learning_time


def row_for(webhook: WebhookTransmissionQueue, endpoint: EnterpriseWebhookConfiguration) -> WebhookTransmissionQueue:
    """A row that is not yet in the database."""
    now = timezone.now()
    until = now + endpoint.waits_for_final
    return WebhookTransmissionQueue(
        deduplication_key=deduplication_key(
            webhook.enterprise_customer_uuid,
            webhook.user_id or 0,
            webhook.course_id,
            COURSE_COMPLETION_REVISED,
            webhook.occurred_at,
        ),
        event_type=COURSE_COMPLETION_REVISED,
        revises=webhook.webhook_id,
        enterprise_customer_uuid=webhook.enterprise_customer_uuid,
        user_id=webhook.user_id,
        course_id=webhook.course_id,
        occurred_at=webhook.occurred_at,
        percent_grade=webhook.percent_grade,
        letter_grade=webhook.letter_grade,
        backfilled=webhook.backfilled,
        endpoint_id=endpoint.pk,
        region=webhook.region,
        status=WebhookStatus.AWAITING_FINAL,
        held_at=now,
        created=now,
        enrich_by=until,
        due_at=min(next_look(webhook.day, now, conf.rollup_ready_at()), until),
    )


def originals_of(webhooks: Sequence[WebhookTransmissionQueue]) -> Mapping[UUID, WebhookTransmissionQueue]:
    """The completions that these revise, by their ``webhook_id``; no query where there is no revision."""
    wanted: Collection[UUID] = {webhook.revises for webhook in webhooks if webhook.revises}
    if not wanted:
        return {}
    return {each.webhook_id: each for each in WebhookTransmissionQueue.objects.filter(webhook_id__in=wanted)}


def put_off_if_early(
    webhook: WebhookTransmissionQueue,
    original: WebhookTransmissionQueue | None,
    endpoint: EnterpriseWebhookConfiguration,
    plain: str,
) -> bool:
    """
    Put a claimed revision off where its number or its completion is not there yet; False where it is to be sent now.

    :param plain: why no number may be sent now; empty where one may
    :raises WebhookNotOwed: it is not to be sent at all
    """
    if original is None or original.purged_at:
        raise WebhookNotOwed("the completion that it revises is gone")
    if original.status in (WebhookStatus.FAILED, WebhookStatus.CANCELLED):
        raise WebhookNotOwed("the completion itself was not delivered")
    if not are_taken_by(endpoint):
        raise WebhookNotOwed(reasons.NO_REVISIONS)
    if plain or not webhook.learning_time_is_final:
        if not put_off(webhook, webhook.created + endpoint.waits_for_final):
            raise WebhookNotOwed("no final learning time within its time")
        return True
    if not differs(original.learning_time, webhook.learning_time, endpoint.revised_from):
        raise WebhookNotOwed(reasons.NUMBER_STANDS)
    if original.status != WebhookStatus.DELIVERED:
        webhook.mark_to_be_looked_at_again(timezone.now() + LOOK_AGAIN, WAITS_FOR_ITS_COMPLETION)
        return True
    return False


def differs(sent: int | None, final: int | None, by_more_than: int) -> bool:
    """Whether a partner who was told the one has to be told the other; a number that was absent counts as another."""
    if final is None:
        return False
    return sent is None or abs(final - sent) > by_more_than
