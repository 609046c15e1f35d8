# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which endpoint a claimed webhook goes to."""

from collections.abc import Iterable
from typing import Any

from channel_integrations.integrated_channel.exceptions import NoWebhookConfigured
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.services.region_service import get_user_region

__all__ = ["NoWebhookConfigured", "route_webhook_by_region"]


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
    """The same among the endpoints of one customer."""
    taking = [endpoint for endpoint in endpoints if endpoint.takes(region)]
    if not taking:
        raise NoWebhookConfigured(region)
    return next((endpoint for endpoint in taking if endpoint.region == region), taking[0])
