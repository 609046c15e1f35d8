# SPDX-License-Identifier: AGPL-3.0-or-later
"""A signed event without a learner, sent at once: does the endpoint take our webhooks?"""

import uuid
from typing import Any

from django.utils import timezone

from channel_integrations.integrated_channel.formats import format_of, to_body
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.models.attempt import AttemptResult
from channel_integrations.integrated_channel.services.sending import send_signed
from channel_integrations.integrated_channel.services.sign_in import TokenRequest, sign_in_to


def send_test_event(endpoint: EnterpriseWebhookConfiguration) -> AttemptResult:
    """
    Send a test event and wait for its answer, no longer than the endpoint's timeout; twice that to renew a token.

    It signs in as webhooks do: with the access token that is kept, or with a new one where there is none or the
    endpoint answers 401 to it. It passes by the queue and the endpoint's health: no worker, broker or Snowflake is
    needed, an endpoint that is switched off can be tested, and nothing but the result tells of it.

    :raises SecretUnreadable: a secret of the endpoint is missing or cannot be decrypted
    """
    secrets = endpoint.signing_secrets()
    body = to_body(format_of(endpoint).test_payload(endpoint.enterprise_customer, timezone.now(), endpoint.omitted))
    result = _send(endpoint, body, secrets, sign_in_to(endpoint) or sign_in_to(endpoint, by_force=True))
    if result.token_refused:
        result = _send(endpoint, body, secrets, sign_in_to(endpoint, by_force=True))
    return result


def _send(endpoint: Any, body: str, secrets: list[str], sign_in: Any) -> AttemptResult:
    try:
        return send_signed(endpoint, str(uuid.uuid4()), body, secrets, sign_in)
    finally:
        if isinstance(sign_in, TokenRequest):
            sign_in.settle()
