# SPDX-License-Identifier: AGPL-3.0-or-later
"""
The tables: endpoints with their health, secrets and credentials, webhooks with their attempts, statements to Snowflake,
leases, heartbeats, the decisions of the rollout, the keys of pseudonyms, why passes made no webhook, and the register
of disclosures.

No table here has a database foreign key. An insert with one waits behind any transaction that has updated the parent
(user, customer, endpoint) and makes such transactions deadlock, and a left-over constraint of an uninstalled app keeps
customers from being deleted.
"""

from channel_integrations.integrated_channel.models.attempt import WebhookDeliveryAttempt
from channel_integrations.integrated_channel.models.credential import WebhookEndpointCredential
from channel_integrations.integrated_channel.models.disclosure import Erasure, WebhookDisclosure
from channel_integrations.integrated_channel.models.endpoint import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.models.endpoint_choices import (
    ClientAuthentication,
    LearnerNaming,
    LearningTime,
    LearningTimeTiming,
    MissingIds,
    Region,
    SignIn,
)
from channel_integrations.integrated_channel.models.health import WebhookEndpointHealth
from channel_integrations.integrated_channel.models.heartbeat import WebhookHeartbeat
from channel_integrations.integrated_channel.models.lease import WebhookLease
from channel_integrations.integrated_channel.models.pseudonym_key import WebhookPseudonymKey
from channel_integrations.integrated_channel.models.rollout import WebhookRollout
from channel_integrations.integrated_channel.models.signing_secret import WebhookSigningSecret
from channel_integrations.integrated_channel.models.statement import WebhookLookupStatement
from channel_integrations.integrated_channel.models.suppression import WebhookSuppression
from channel_integrations.integrated_channel.models.webhook import WebhookTransmissionQueue
from channel_integrations.integrated_channel.models.webhook_status import FINISHED, HELD, UNFINISHED, WebhookStatus

__all__ = [
    "FINISHED",
    "HELD",
    "UNFINISHED",
    "ClientAuthentication",
    "EnterpriseWebhookConfiguration",
    "Erasure",
    "LearnerNaming",
    "LearningTime",
    "LearningTimeTiming",
    "MissingIds",
    "Region",
    "SignIn",
    "WebhookDeliveryAttempt",
    "WebhookDisclosure",
    "WebhookEndpointCredential",
    "WebhookEndpointHealth",
    "WebhookHeartbeat",
    "WebhookLease",
    "WebhookLookupStatement",
    "WebhookPseudonymKey",
    "WebhookRollout",
    "WebhookSigningSecret",
    "WebhookStatus",
    "WebhookSuppression",
    "WebhookTransmissionQueue",
]
