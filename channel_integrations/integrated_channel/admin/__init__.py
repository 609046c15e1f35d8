# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Django admin: the status page, endpoints, webhooks to look at, the rollout of learning time, why passes made no
webhook, and the register of disclosures.

Bodies are personal data and are not shown; secrets are, once.
"""

from django.contrib import admin

from channel_integrations.integrated_channel.admin.disclosure import DisclosureAdmin
from channel_integrations.integrated_channel.admin.endpoint import EndpointAdmin
from channel_integrations.integrated_channel.admin.explanation import SuppressionAdmin
from channel_integrations.integrated_channel.admin.rollout import RolloutAdmin
from channel_integrations.integrated_channel.admin.status import StatusAdmin
from channel_integrations.integrated_channel.admin.webhook import WebhookAdmin
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookDisclosure,
    WebhookHeartbeat,
    WebhookRollout,
    WebhookSuppression,
    WebhookTransmissionQueue,
)

admin.site.register(WebhookHeartbeat, StatusAdmin)
admin.site.register(EnterpriseWebhookConfiguration, EndpointAdmin)
admin.site.register(WebhookTransmissionQueue, WebhookAdmin)
admin.site.register(WebhookRollout, RolloutAdmin)
admin.site.register(WebhookSuppression, SuppressionAdmin)
admin.site.register(WebhookDisclosure, DisclosureAdmin)
