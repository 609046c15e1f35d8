# SPDX-License-Identifier: AGPL-3.0-or-later
"""A signed event without a learner, sent at once: does the endpoint take our webhooks?"""

import uuid

from django.utils import timezone

from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.models.attempt import AttemptResult
from channel_integrations.integrated_channel.payloads import test_payload, to_body
from channel_integrations.integrated_channel.services.sending import send_signed


def send_test_event(endpoint: EnterpriseWebhookConfiguration) -> AttemptResult:
    """
    Send a test event and wait for its answer, no longer than the endpoint's timeout.

    It passes by the queue and the endpoint's health: no worker, broker or Snowflake is needed, an endpoint that is
    switched off can be tested, and nothing but the result tells of it.

    :raises SecretUnreadable: the endpoint's secret cannot be decrypted
    """
    body = to_body(test_payload(endpoint.enterprise_customer, timezone.now()))
    return send_signed(endpoint, str(uuid.uuid4()), body, endpoint.signing_secrets())
