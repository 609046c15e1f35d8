# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which endpoint a webhook goes to."""

from collections.abc import Iterable
from typing import Any

from channel_integrations.integrated_channel.enrollments import COURSE_ENROLLMENT
from channel_integrations.integrated_channel.exceptions import NoWebhookConfigured, WebhookNotOwed
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration, WebhookTransmissionQueue
from channel_integrations.integrated_channel.models.webhook import ENDPOINT_DELETED
from channel_integrations.integrated_channel.services import reasons
from channel_integrations.integrated_channel.services.owed import Owed
from channel_integrations.integrated_channel.services.region_service import find_region, get_user_region
from channel_integrations.integrated_channel.services.sign_on import SignOns

__all__ = ["NoWebhookConfigured", "endpoint_for", "endpoint_owed", "route_webhook_by_region"]


def route_webhook_by_region(user: Any, enterprise_customer: Any) -> EnterpriseWebhookConfiguration:
    """
    The customer's endpoint for the learner's region, switched on or not; else the one for OTHER, if it accepts them.

    Unless its operator says otherwise, that one accepts learners from the US, and none from the EU. Nobody's data goes
    to the endpoint of another named region.

    :raises NoWebhookConfigured: no endpoint takes this region; the exception's ``args[0]`` is the region
    """
    endpoints = EnterpriseWebhookConfiguration.objects.filter(enterprise_customer=enterprise_customer)
    return endpoint_for(get_user_region(user, enterprise_customer), endpoints)


def endpoint_for(region: str, endpoints: Iterable[EnterpriseWebhookConfiguration]) -> EnterpriseWebhookConfiguration:
    """The same for a region that is known, among the endpoints of one customer."""
    taking = [endpoint for endpoint in endpoints if endpoint.takes(region)]
    if not taking:
        raise NoWebhookConfigured(region)
    return next((endpoint for endpoint in taking if endpoint.region == region), taking[0])


def endpoint_owed(webhook: WebhookTransmissionQueue, owed: Owed, sign_ons: SignOns) -> EnterpriseWebhookConfiguration:
    """
    The endpoint that a claimed webhook is owed to: the one that it has been addressed to, else the region's.

    :param sign_ons: with the learner's records
    :raises WebhookNotOwed: that endpoint does not take such a webhook; the text is the reason kept on the row
    :raises NoWebhookConfigured: no endpoint takes the learner's region, which is ``args[0]``
    """
    region = find_region(owed.learner.pk, owed.customer, sign_ons).region
    if webhook.body or webhook.revises:
        endpoint = next((each for each in owed.endpoints if each.pk == webhook.endpoint_id), None)
        if endpoint is None:
            raise WebhookNotOwed(ENDPOINT_DELETED)
        if not endpoint.takes(region):  # One of the two has changed while the webhook waited.
            raise WebhookNotOwed("the endpoint does not take the learner's region")
    else:
        endpoint = endpoint_for(region, owed.endpoints)
    if not endpoint.sends(webhook.event_type):
        raise WebhookNotOwed(reasons.NO_SUCH_EVENTS)
    if not (owed.recipient.is_sponsor or endpoint.all_completions):
        raise WebhookNotOwed(reasons.NOT_SPONSORED)
    if webhook.occurred_at < endpoint.send_from and not webhook.backfilled:
        if webhook.event_type == COURSE_ENROLLMENT:
            raise WebhookNotOwed(reasons.ENROLLED_BEFORE_SEND_FROM)
        raise WebhookNotOwed(reasons.PASSED_BEFORE_SEND_FROM)
    return endpoint
