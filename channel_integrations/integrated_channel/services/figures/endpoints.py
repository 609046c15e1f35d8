# SPDX-License-Identifier: AGPL-3.0-or-later
"""How each endpoint fares, worst first."""

from collections import defaultdict
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Count, Min
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import endpoint_gate
from channel_integrations.integrated_channel.services.admission import DISABLE_AFTER

#: the worst first; what its operator has switched off is as it should be
STATES = (
    OFF_BY_SENDER, BREAKER_OPEN, PAUSED, FAILING, RATE_LIMITED, CATCHING_UP, ON, OFF_BY_OPERATOR,
) = (
    "off_by_sender", "breaker_open", "paused", "failing", "rate_limited", "catching_up", "on", "off_by_operator",
)  # fmt: skip


class EndpointFigures(NamedTuple):
    """
    An endpoint (its ``health`` and ``enterprise_customer`` are loaded), and how it fares.

    ``state`` is one of ``STATES``. ``opens_at``: when it takes the next webhook, None for at once. ``disabled_by``:
    when the sender will switch it off if nothing succeeds until then, None while nothing fails.
    """

    endpoint: EnterpriseWebhookConfiguration
    state: str
    pending: int
    parked: int
    oldest_due_at: datetime | None
    opens_at: datetime | None
    disabled_by: datetime | None


def endpoints() -> list[EndpointFigures]:
    """All of them, with two queries: the worst state first, within a state the longest backlog."""
    backlog: dict[int, dict[Any, Any]] = defaultdict(dict)
    rows = WebhookTransmissionQueue.objects.filter(status__in=(WebhookStatus.PENDING, WebhookStatus.PARKED))
    for each in rows.order_by().values("status", "endpoint_id").annotate(rows=Count("pk"), first=Min("due_at")):
        backlog[each["endpoint_id"]][each["status"]] = each
    now = timezone.now()
    every = EnterpriseWebhookConfiguration.objects.select_related("health", "enterprise_customer").order_by("pk")
    found = [_figures(endpoint, backlog[endpoint.pk], now) for endpoint in every]
    return sorted(found, key=lambda each: (STATES.index(each.state), -each.pending - each.parked))


def _figures(endpoint: EnterpriseWebhookConfiguration, backlog: dict[Any, Any], now: datetime) -> EndpointFigures:
    pending = backlog.get(WebhookStatus.PENDING, {})
    opens_at = endpoint_gate.opens_at(endpoint)
    failing_since = endpoint.health.failing_since if endpoint_gate.has_health(endpoint) else None
    is_on = endpoint_gate.is_on(endpoint)
    return EndpointFigures(
        endpoint=endpoint,
        state=state_of(endpoint, now),
        pending=pending.get("rows", 0),
        parked=backlog.get(WebhookStatus.PARKED, {}).get("rows", 0),
        oldest_due_at=pending.get("first"),
        opens_at=opens_at if is_on and opens_at and opens_at > now else None,
        disabled_by=failing_since + DISABLE_AFTER if is_on and failing_since else None,
    )


def state_of(endpoint: EnterpriseWebhookConfiguration, now: datetime) -> str:
    """The worst of what holds of an endpoint."""
    if not endpoint.active:
        return OFF_BY_OPERATOR
    if not endpoint_gate.has_health(endpoint):
        return ON
    health = endpoint.health
    holds = {
        OFF_BY_SENDER: health.disabled_at,
        BREAKER_OPEN: health.breaker_open_until and health.breaker_open_until > now,
        PAUSED: health.paused_until and health.paused_until > now,
        FAILING: health.failures,
        RATE_LIMITED: endpoint.max_requests_per_minute and health.next_request_at and health.next_request_at > now,
        CATCHING_UP: health.catching_up,
    }
    return next((state for state in STATES if holds.get(state)), ON)
