# SPDX-License-Identifier: AGPL-3.0-or-later
"""One signed POST to one endpoint, and what came of it; and the threads in which these are made."""

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor

from django.utils import timezone

from channel_integrations.integrated_channel.exceptions import DeliveryFailed, SignInFailed
from channel_integrations.integrated_channel.http_client import post_json
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import EnterpriseWebhookConfiguration
from channel_integrations.integrated_channel.models.attempt import AttemptResult
from channel_integrations.integrated_channel.services.sign_in import NOTHING_TO_SHOW, SignedIn, TokenRequest
from channel_integrations.integrated_channel.signing import signature_headers
from channel_integrations.integrated_channel.tracing import set_attributes, span

lines = LogLines(__name__)

#: attempts under way at once in one process
SENDERS = 32

_pool: tuple[int, ThreadPoolExecutor] | None = None


def submit(
    endpoint: EnterpriseWebhookConfiguration,
    webhook_id: str,
    body: str,
    secrets: list[str],
    sign_in: SignedIn | TokenRequest,
) -> Future:
    """
    ``send_signed``, in one of this process's threads; the future has its ``AttemptResult``.

    The threads are made after the fork and kept, as are their connections to endpoints.
    """
    global _pool  # noqa: PLW0603  (one pool for each process)
    if _pool is None or _pool[0] != os.getpid():
        _pool = (os.getpid(), ThreadPoolExecutor(SENDERS, thread_name_prefix="webhook-sender"))
    return _pool[1].submit(send_signed, endpoint, webhook_id, body, secrets, sign_in)


def send_signed(
    endpoint: EnterpriseWebhookConfiguration,
    webhook_id: str,
    body: str,
    secrets: list[str],
    sign_in: SignedIn | TokenRequest = NOTHING_TO_SHOW,
) -> AttemptResult:
    """
    POST a body, signed now, within the endpoint's timeout. Runs in any thread: the database is not touched.

    Where an access token has to be asked for first, that is part of the attempt and of its time.
    """
    with span("attempt", webhook_id=webhook_id, endpoint_id=endpoint.pk):
        result = _send(endpoint, webhook_id, body, secrets, sign_in)
        set_attributes(http_status=result.answer.status if result.answer else None, error=result.error or None)
    return result


def _send(
    endpoint: EnterpriseWebhookConfiguration,
    webhook_id: str,
    body: str,
    secrets: list[str],
    sign_in: SignedIn | TokenRequest,
) -> AttemptResult:
    started_at, started = timezone.now(), time.monotonic()
    answer, error, detail, token_id, arrived = None, "", "", None, True
    try:
        signed_in = sign_in.within(endpoint.timeout_seconds)
        token_id = signed_in.token_id
        seconds = endpoint.timeout_seconds - (time.monotonic() - started)
        if seconds <= 0:
            raise SignInFailed("token server: timeout")
        data = body.encode()
        headers = signature_headers(webhook_id, data, secrets, timezone.now())
        answer = post_json(endpoint.webhook_url, data, {**headers, **signed_in.headers}, seconds, endpoint.ca_bundle)
    except SignInFailed as err:
        error, detail, arrived = err.code, str(err), False
    except DeliveryFailed as err:
        error, arrived = err.code, err.may_have_arrived
    except Exception as err:  # A fault of ours is no reason to lose this webhook, nor those beside it.
        lines.failure("webhook_delivery", err, webhook_id=webhook_id, endpoint_id=endpoint.pk)
        error = "internal"
    duration_ms = round((time.monotonic() - started) * 1000)
    return AttemptResult(started_at, answer, error, duration_ms, detail, token_id, arrived)
