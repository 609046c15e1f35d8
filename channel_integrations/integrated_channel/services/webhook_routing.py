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
    The customer's endpoint for the learner's region, switched on or not; else the one for OTHER.

    A learner from the EU never falls back to OTHER, and nobody's data goes to the endpoint of another named region.

    :raises NoWebhookConfigured: no endpoint takes this region; the exception's ``args[0]`` is the region
    """
    endpoints = EnterpriseWebhookConfiguration.objects.filter(enterprise_customer=enterprise_customer)
    return endpoint_for(get_user_region(user), endpoints)


def endpoint_for(region: str, endpoints: Iterable[EnterpriseWebhookConfiguration]) -> EnterpriseWebhookConfiguration:
    """The same among the endpoints of one customer."""
    by_region = {endpoint.region: endpoint for endpoint in endpoints}
    for candidate in [region] if region == "EU" else [region, "OTHER"]:
        if candidate in by_region:
            return by_region[candidate]
    raise NoWebhookConfigured(region)
