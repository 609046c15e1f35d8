# SPDX-License-Identifier: AGPL-3.0-or-later
"""Webhooks that are held because the learner lacks the ids that their endpoint wants: when they are looked at again."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.log_lines import LogLines
from channel_integrations.integrated_channel.models import WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services.outbox import own_savepoint

lines = LogLines(__name__)

#: between two looks at least and at most
SOON, SELDOM = timedelta(minutes=1), timedelta(hours=4)
_rows = WebhookTransmissionQueue.objects


def next_look(webhook: WebhookTransmissionQueue) -> datetime:
    """After as long as it has waited so far, within bounds: the looks are ever further apart."""
    now = timezone.now()
    return now + min(max(now - webhook.created, SOON), SELDOM)


def look_now(**of: Any) -> int:
    """Have those of the held webhooks that are of this learner or endpoint looked at now; returns how many."""
    held = _rows.filter(status=WebhookStatus.AWAITING_IDS, **of)
    due = _rows.look_now(sorted(held.values_list("pk", flat=True)), WebhookStatus.AWAITING_IDS)
    if due:
        transaction.on_commit(wake_up.delivery)
    return due


def look_when_sign_on_changes(sender: Any, instance: Any, **kwargs: Any) -> None:
    """
    Receive post_save of social_django's sign-on records: the ids that webhooks wait for may have come.

    With each login: one indexed query for a learner about whom nothing is held. Whatever goes wrong here, the login
    goes on, hence after its commit; what is missed is found by the next look.
    """
    transaction.on_commit(lambda: _look_at(instance.user_id))


def _look_at(user_id: int) -> None:
    try:
        with own_savepoint():
            look_now(user_id=user_id)
    except Exception as err:  # A learner is signing on, who must not notice.
        lines.failure("webhook_addressing", err, user_id=user_id)
