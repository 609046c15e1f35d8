# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a webhook moves by itself, and what is to be done where it does not."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from channel_integrations.integrated_channel.models import UNFINISHED, WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services.endpoint_gate import has_health
from channel_integrations.integrated_channel.services.explanation.story import at
from channel_integrations.integrated_channel.services.whereabouts import whereabouts

#: what is due for longer than this, and that nothing but a worker is missing for, has been left behind
LATE = timedelta(seconds=60)
_WAITS_FOR_A_WORKER = ("waits_for_lookup", "waits_for_worker", "goes_out_plain", "to_be_taken_up")


@dataclass(frozen=True)
class Movement:
    """When it moves next, as far as that is known, in words; at None, or with a change, somebody has to act."""

    at: datetime | None
    fact: str
    change: str = ""
    operator_fact: str = ""


def next_movement(webhook: WebhookTransmissionQueue, endpoint: Any) -> Movement | None:
    """
    What comes next of a webhook; None for one that has arrived.

    :param endpoint: the one that it was addressed to, with its health; None where it has none, or that is gone
    """
    if webhook.status == WebhookStatus.DELIVERED:
        return None
    where = whereabouts(webhook)
    fact = where.in_words(at)
    late = webhook.status in UNFINISHED and webhook.due_at < timezone.now() - LATE
    if late and where.code in _WAITS_FOR_A_WORKER:
        since = _("Due since %(when)s: no worker, no sweep, or many before it.") % {"when": at(webhook.due_at)}
        change = _(
            "./manage.py lms send_due_webhooks sends what is due; ./manage.py lms webhook_doctor says why nobody did"
        )
        return Movement(None, f"{fact} {since}", change)
    return Movement(where.next_at, fact, operator_fact=_failures(endpoint) if where.next_at else "")


def _failures(endpoint: Any) -> str:
    """How the endpoint has fared lately, where it has failed."""
    health = endpoint.health if endpoint and has_health(endpoint) else None
    if health is None or not health.failures_in_a_row:
        return ""
    told = _("(the endpoint: %(failures)s failures in a row, the last %(last)s)")
    return told % {"failures": health.failures_in_a_row, "last": health.last_failure}
