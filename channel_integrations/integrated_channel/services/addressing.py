# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a recorded row to one that waits for its endpoint: is it owed, where does it go, what does it say."""

import logging

from django.utils import timezone

from channel_integrations.integrated_channel.exceptions import NoWebhookConfigured, WebhookNotOwed
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.webhook import ENDPOINT_DELETED
from channel_integrations.integrated_channel.payloads import completion_payload, to_body
from channel_integrations.integrated_channel.services import rollout
from channel_integrations.integrated_channel.services.recipients import Owed, require_owed
from channel_integrations.integrated_channel.services.webhook_routing import route_webhook_by_region

logger = logging.getLogger(__name__)

#: rows addressed at once, so that what is addressed is soon sent
BATCH = 20


def address_due() -> int:
    """Address the oldest recorded rows that are due; returns how many were claimed."""
    now = timezone.now()
    due = WebhookTransmissionQueue.objects.due(WebhookStatus.RECORDED, now)
    pks = list(due.values_list("pk", flat=True)[:BATCH])
    claimed = WebhookTransmissionQueue.objects.claim(pks, WebhookStatus.RECORDED, now) if pks else []
    for webhook in claimed:
        try:
            _address(webhook)
        except Exception:  # One row's trouble must not hold up the others; its lease ends, and it is tried again.
            logger.exception("source=webhook_addressing status=failure webhook=%s", webhook.webhook_id)
    return len(claimed)


def _address(webhook: WebhookTransmissionQueue) -> None:
    try:
        owed = require_owed(webhook)
        endpoint = _endpoint_of(webhook, owed)
    except WebhookNotOwed as err:
        webhook.mark_cancelled(str(err))
    except NoWebhookConfigured as err:
        webhook.mark_without_endpoint(str(err))
    else:
        if webhook.body:  # A replay: what is sent again is what was sent.
            webhook.mark_addressed(endpoint.pk, webhook.region, webhook.body)
        elif not endpoint.active:
            webhook.mark_parked(endpoint.pk)
        else:
            reason = rollout.current().reason_against(owed.customer.pk, owed.learner.pk, [endpoint.learning_time])
            if reason:
                webhook.forget_learning_time(reason)
            body = to_body(completion_payload(webhook, owed.customer, owed.learner, webhook.learning_time))
            webhook.mark_addressed(endpoint.pk, endpoint.region, body)


def _endpoint_of(webhook: WebhookTransmissionQueue, owed: Owed) -> EnterpriseWebhookConfiguration:
    if webhook.body:
        endpoint = EnterpriseWebhookConfiguration.objects.filter(pk=webhook.endpoint_id).first()
        if endpoint is None or endpoint.enterprise_customer_id != webhook.enterprise_customer_uuid:
            raise WebhookNotOwed(ENDPOINT_DELETED)
        return endpoint
    endpoint = route_webhook_by_region(owed.learner, owed.customer)
    if not (owed.recipient.is_sponsor or endpoint.all_completions):
        raise WebhookNotOwed("the customer does not sponsor this course run")
    if webhook.occurred_at < endpoint.send_from and not webhook.backfilled:
        raise WebhookNotOwed("passed before the endpoint's send_from")
    return endpoint
