# SPDX-License-Identifier: AGPL-3.0-or-later
"""One signed POST to one endpoint, and what came of it."""

import time

from django.utils import timezone

from channel_integrations.integrated_channel.exceptions import DeliveryFailed
from channel_integrations.integrated_channel.http_client import post_json
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.models.attempt import AttemptResult
from channel_integrations.integrated_channel.signing import signature_headers
from channel_integrations.integrated_channel.tracing import span, tell

lines = LogLines(__name__)


def send_signed(
    endpoint: EnterpriseWebhookConfiguration, webhook_id: str, body: str, secrets: list[str]
) -> AttemptResult:
    """POST a body, signed now, within the endpoint's timeout. Runs in any thread: the database is not touched."""
    with span("attempt", webhook_id=webhook_id, endpoint_id=endpoint.pk):
        result = _send(endpoint, webhook_id, body, secrets)
        tell(http_status=result.answer.status if result.answer else None, error=result.error or None)
    return result


def _send(endpoint: EnterpriseWebhookConfiguration, webhook_id: str, body: str, secrets: list[str]) -> AttemptResult:
    started_at, started = timezone.now(), time.monotonic()
    answer, error = None, ""
    try:
        data = body.encode()
        headers = signature_headers(webhook_id, data, secrets, started_at)
        answer = post_json(endpoint.webhook_url, data, headers, endpoint.timeout_seconds, endpoint.ca_bundle)
    except DeliveryFailed as err:
        error = err.code
    except Exception as err:  # A fault of ours is no reason to lose this webhook, nor those beside it.
        lines.failure("webhook_delivery", err, webhook_id=webhook_id, endpoint_id=endpoint.pk)
        error = "internal"
    return AttemptResult(started_at, answer, error, round((time.monotonic() - started) * 1000))
