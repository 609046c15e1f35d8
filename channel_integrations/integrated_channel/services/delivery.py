# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a row to a POST: claim, build and freeze, send, write back."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.exceptions import (
    DeliveryFailed,
    LeaseLost,
    NoWebhookConfigured,
    WebhookNotOwed,
)
from channel_integrations.integrated_channel.http_client import HttpAnswer, post_json
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookDeliveryAttempt,
    WebhookLease,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.payloads import completion_payload, to_body
from channel_integrations.integrated_channel.services.recipients import require_owed
from channel_integrations.integrated_channel.services.retry import Outcome, classify, delay_after
from channel_integrations.integrated_channel.services.webhook_routing import route_webhook_by_region

logger = logging.getLogger(__name__)

#: seconds of a task after which no further row is claimed
CLAIM_SECONDS = 30.0
#: candidates read at once
PAGE = 50
#: how long a delivery slot is held for one row: above the longest endpoint timeout (60 s). A killed holder blocks the
#: slot for as long.
SLOT_HOLD = timedelta(seconds=75)


def deliver_in_slot() -> int:
    """
    Deliver what is due if one of the delivery slots is free; returns how many rows were handled.

    The slots keep deliveries from occupying more workers of a shared queue than ``CHANNEL_WEBHOOKS_DELIVERY_WORKERS``.
    Whoever finds them taken leaves its rows to the holder, which therefore looks once more after giving its slot back.
    """
    handled = 0
    deadline = time.monotonic() + CLAIM_SECONDS
    while time.monotonic() < deadline:
        slot = _acquire_slot()
        if slot is None:
            return handled
        name, token = slot
        try:
            handled += deliver_due(deadline, partial(WebhookLease.renew, name, token, SLOT_HOLD))
        finally:
            WebhookLease.release(name, token)
        if not WebhookTransmissionQueue.objects.due(WebhookStatus.PENDING, timezone.now()).exists():
            return handled
    return handled


def deliver_due(deadline: float, keep_slot: Callable[[], bool] = lambda: True) -> int:
    """
    Deliver due rows, oldest first, until none is due or the monotonic ``deadline`` for claims has passed.

    :param keep_slot: called before each row; no further row is claimed once it says False
    """
    handled = 0
    while True:
        due = WebhookTransmissionQueue.objects.due(WebhookStatus.PENDING, timezone.now())
        page = list(due.values_list("pk", flat=True)[:PAGE])
        for pk in page:
            if time.monotonic() >= deadline or not keep_slot():
                return handled
            webhook = WebhookTransmissionQueue.objects.claim(pk, WebhookStatus.PENDING, timezone.now())
            if webhook:
                deliver(webhook)
                handled += 1
        if not page:
            return handled


def deliver(webhook: WebhookTransmissionQueue) -> None:
    """One attempt at a claimed row, whatever comes of it written back under the lease."""
    try:
        endpoint = _prepare(webhook)
    except WebhookNotOwed as err:
        webhook.mark_cancelled(str(err))
    except NoWebhookConfigured as err:
        webhook.mark_without_endpoint(str(err))
    except LeaseLost:
        logger.warning("source=webhook_delivery status=lease_lost webhook=%s", webhook.webhook_id)
    else:
        if endpoint.active:
            _send(webhook, endpoint)
        else:
            webhook.mark_parked(endpoint.pk)


def _prepare(webhook: WebhookTransmissionQueue) -> EnterpriseWebhookConfiguration:
    """The endpoint of a claimed row; before its first attempt the body is built and frozen."""
    if webhook.body:
        endpoint = EnterpriseWebhookConfiguration.objects.filter(pk=webhook.endpoint_id).first()
        if endpoint is None:
            raise WebhookNotOwed("endpoint deleted")
        return endpoint
    owed = require_owed(webhook)
    endpoint = route_webhook_by_region(owed.learner, owed.customer)
    if not endpoint.active:
        return endpoint
    if not (owed.recipient.is_sponsor or endpoint.all_completions):
        raise WebhookNotOwed("the customer does not sponsor this course run")
    if webhook.occurred_at < endpoint.send_from:
        raise WebhookNotOwed("passed before the endpoint's send_from")
    learning_time = webhook.learning_time if conf.enrichment_enabled() else None
    body = to_body(completion_payload(webhook, owed.customer, owed.learner, learning_time))
    if not webhook.freeze(endpoint.pk, endpoint.region, body):
        raise LeaseLost
    return endpoint


def _send(webhook: WebhookTransmissionQueue, endpoint: EnterpriseWebhookConfiguration) -> None:
    started_at, started = timezone.now(), time.monotonic()
    answer, error = None, ""
    try:
        answer = post_json(
            endpoint.webhook_url,
            webhook.body.encode(),
            {"webhook-id": str(webhook.webhook_id)},
            endpoint.webhook_timeout_seconds,
        )
    except DeliveryFailed as err:
        error = err.code
    duration_ms = round((time.monotonic() - started) * 1000)
    with transaction.atomic():
        WebhookDeliveryAttempt.record(webhook, started_at, duration_ms, answer, error)
        _write_back(webhook, answer, error)
    logger.info(
        "source=webhook_delivery status=%s webhook=%s attempt=%s http_status=%s error=%s duration_ms=%s",
        webhook.status,
        webhook.webhook_id,
        webhook.attempts_made,
        answer.status if answer else None,
        error,
        duration_ms,
        extra={"source": "webhook_delivery", "duration_ms": duration_ms, "status": webhook.status},
    )


def _write_back(webhook: WebhookTransmissionQueue, answer: HttpAnswer | None, error: str) -> None:
    outcome = classify(answer.status) if answer else Outcome.RETRY
    reason = f"HTTP {answer.status}" if answer else error
    delay = delay_after(webhook.attempts_made + 1)
    if outcome is Outcome.DELIVERED:
        webhook.mark_delivered()
    elif outcome is Outcome.RETRY and delay is not None:
        webhook.mark_to_be_retried(delay, reason)
    else:
        webhook.mark_failed(reason)


def _acquire_slot() -> tuple[str, UUID] | None:
    for number in range(conf.delivery_workers()):
        name = f"delivery:{number}"
        token = WebhookLease.acquire(name, SLOT_HOLD)
        if token:
            return name, token
    return None
