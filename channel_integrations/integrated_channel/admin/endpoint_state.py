# SPDX-License-Identifier: AGPL-3.0-or-later
"""What holds endpoints back, in words: for the list, the pages, and the notices at their top."""

from typing import Any, NamedTuple

from django.db.models import Count
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext

from channel_integrations.integrated_channel.admin.moments import unbroken, written
from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services.endpoint_gate import has_health


class Notice(NamedTuple):
    """An endpoint that the sender has switched off, and what waits for it."""

    endpoint: EnterpriseWebhookConfiguration
    since: str
    reason: str
    parked: int


def notices(**only: Any) -> list[Notice]:
    """The endpoints that the sender has switched off, the latest first."""
    endpoints = list(
        EnterpriseWebhookConfiguration.objects.filter(health__disabled_at__isnull=False, **only)
        .select_related("enterprise_customer", "health")
        .order_by("-health__disabled_at")
    )
    parked = parked_for([endpoint.pk for endpoint in endpoints])
    return [
        Notice(
            endpoint,
            written(endpoint.health.disabled_at),
            endpoint.health.disabled_reason,
            parked.get(endpoint.pk, 0),
        )
        for endpoint in endpoints
    ]


def parked_for(endpoint_ids: list[int]) -> dict[int, int]:
    """How many webhooks are parked for each of these endpoints."""
    rows = WebhookTransmissionQueue.objects.filter(status=WebhookStatus.PARKED, endpoint_id__in=endpoint_ids)
    return dict(rows.order_by().values_list("endpoint_id").annotate(Count("pk")))


def states(endpoint: EnterpriseWebhookConfiguration) -> list[str]:
    """What holds an endpoint back right now, as HTML; "on" where nothing does."""
    now = timezone.now()
    held_back = []
    health = endpoint.health if has_health(endpoint) else None
    if not endpoint.active:
        held_back.append(gettext("switched off by its operator"))
    if health and health.disabled_at:
        since = unbroken(health.disabled_at)
        said = gettext("switched off by the sender since {since}: {reason}")
        held_back.append(format_html(said, since=since, reason=health.disabled_reason))
    if held_back or health is None:
        return held_back or [gettext("on")]
    if health.breaker_open_until and health.breaker_open_until > now:
        held_back.append(format_html(gettext("breaker open until {until}"), until=unbroken(health.breaker_open_until)))
    if health.paused_until and health.paused_until > now:
        held_back.append(format_html(gettext("paused until {until}"), until=unbroken(health.paused_until)))
    if not held_back and health.catching_up:
        return [gettext("on, catching up")]
    return held_back or [gettext("on")]
