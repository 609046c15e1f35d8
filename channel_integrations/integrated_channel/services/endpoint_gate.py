# SPDX-License-Identifier: AGPL-3.0-or-later
"""
Which endpoints have something to be sent, and which of it may go now.

Every claim of a webhook for an endpoint is made under a lock on the endpoint's health row, so that the rate limit, the
cap on concurrent sends and the single probe of a half-open breaker hold across all workers. No LMS transaction ever
touches that row.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Subquery
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    EnterpriseWebhookConfiguration,
    WebhookEndpointHealth,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.models.webhook import ENDPOINT_DELETED, SWITCHED_OFF
from channel_integrations.integrated_channel.models.webhook_queryset import PAGE
from channel_integrations.integrated_channel.services import disclosures
from channel_integrations.integrated_channel.services.admission import EndpointState, Gate

#: what lies around the POST of a claimed row, with time to spare: is it still owed, and writing down what came of it
AROUND_AN_ATTEMPT = timedelta(seconds=15)

_rows = WebhookTransmissionQueue.objects


def sendable_endpoints() -> list[EnterpriseWebhookConfiguration]:
    """
    The endpoints that have webhooks due and let some through, the one that has waited longest first.

    On the way, what is due for an endpoint that is switched off is parked.
    """
    now = timezone.now()
    sendable = []
    for endpoint in _with_pending():
        if endpoint.first_due > now:
            continue
        if not is_on(endpoint):
            _move_due(endpoint.pk, WebhookStatus.PARKED, SWITCHED_OFF)
        elif _is_open(endpoint, now):
            sendable.append(endpoint)
    return sendable


def settle_strays() -> None:
    """
    Put right what is due for no endpoint that there is; it reads all pending rows, hence is not for every round.

    What was written by a process of the former release, which knew no endpoint yet, is addressed; what an endpoint left
    behind that was deleted while its webhooks were being sent is cancelled.
    """
    existing = EnterpriseWebhookConfiguration.objects.filter(pk=OuterRef("endpoint_id"))
    pending = _rows.filter(~Exists(existing), status=WebhookStatus.PENDING)
    for endpoint_id in set(pending.order_by().values_list("endpoint_id", flat=True)):
        if endpoint_id is None:
            _move_due(None, WebhookStatus.RECORDED, "")
        else:
            _move_due(endpoint_id, WebhookStatus.CANCELLED, ENDPOINT_DELETED)


def admit(endpoint: EnterpriseWebhookConfiguration, wanted: int) -> list[WebhookTransmissionQueue]:
    """Claim up to so many of an endpoint's due webhooks, oldest first, as many as it takes right now."""
    if not has_health(endpoint):
        WebhookEndpointHealth.objects.get_or_create(pk=endpoint.pk)
    with transaction.atomic():
        health = WebhookEndpointHealth.locked(endpoint.pk)
        if health is None:
            return []
        now = timezone.now()
        state = _state(endpoint, health, in_flight(endpoint, now))
        admitted = 0 if health.disabled_at else state.admits(wanted, now)
        if not admitted:
            return []
        due = _rows.due(WebhookStatus.PENDING, now).filter(endpoint_id=endpoint.pk)
        leases = dict(due.values_list("pk", "lease_token")[: admitted + 1])
        pks = list(leases)
        claimed = _rows.claim(pks[:admitted], WebhookStatus.PENDING, now)
        for webhook in claimed:
            webhook.is_abandoned = leases[webhook.pk] is not None
        changes: dict[str, Any] = {}
        if state.max_per_minute:
            changes["next_request_at"] = state.next_request_after(len(claimed), now)
        if health.catching_up and len(pks) <= admitted and not _is_behind(endpoint.pk):
            changes["catching_up"] = False
        if changes:
            WebhookEndpointHealth.objects.filter(pk=endpoint.pk).update(**changes)
        return claimed


def take_up_parked() -> int:
    """
    Make what was parked for endpoints that are on again due, in the order in which it was made; returns how many.

    It then goes out one at a time, which keeps the order, and with the whole schedule before it.
    """
    taken_up = 0
    for endpoint in _on_with_parked():
        WebhookEndpointHealth.objects.update_or_create(pk=endpoint.pk, defaults={"catching_up": True})
        theirs = _rows.filter(status=WebhookStatus.PARKED, endpoint_id=endpoint.pk).order_by("pk")
        for built, status in ((False, WebhookStatus.RECORDED), (True, WebhookStatus.PENDING)):
            some = theirs.exclude(body="") if built else theirs.filter(body="")
            pks = list(some.values_list("pk", flat=True))
            taken_up += _rows.move(pks, WebhookStatus.PARKED, status, reason="", tries=0, due_at=timezone.now())
    return taken_up


def open_now(endpoint_id: int) -> None:
    """
    Undo what the sender has done to an endpoint (off, breaker, pause), and have what it did not take tried again now.

    That is not much, since an open breaker lets one webhook through at a time. What a replay spreads stays spread.
    """
    WebhookEndpointHealth.enable(endpoint_id)
    rows, now = WebhookTransmissionQueue.objects, timezone.now()
    tried = rows.filter(status=WebhookStatus.PENDING, endpoint_id=endpoint_id, tries__gt=0, due_at__gt=now)
    rows.look_now(list(tried.order_by("pk").values_list("pk", flat=True)), WebhookStatus.PENDING)


def next_opening() -> datetime | None:
    """
    When the next webhook may be sent: its due time, or later where its endpoint is closed until then.

    What is parked for an endpoint that is on again may be sent at once; nobody has taken it up yet.
    """
    openings = [max(endpoint.first_due, opens_at(endpoint) or endpoint.first_due) for endpoint in _with_pending()]
    if _on_with_parked():
        openings.append(timezone.now())
    return min(openings, default=None)


def is_on(endpoint: EnterpriseWebhookConfiguration) -> bool:
    """Whether neither its operator nor the sender has switched the endpoint off."""
    return endpoint.active and not (has_health(endpoint) and endpoint.health.disabled_at)


def is_held_back(endpoint: EnterpriseWebhookConfiguration, now: datetime) -> bool:
    """Whether its webhooks wait for the endpoint itself, however many workers there are."""
    if not has_health(endpoint):
        return bool(endpoint.max_requests_per_minute)
    return bool(is_cautious(endpoint) or endpoint.max_requests_per_minute or not _is_open(endpoint, now))


def is_cautious(endpoint: EnterpriseWebhookConfiguration) -> bool:
    """Whether it gets one webhook at a time: ``admit`` would say no to more, under a lock."""
    return has_health(endpoint) and (endpoint.health.failures_in_a_row > 0 or endpoint.health.catching_up)


def has_health(endpoint: EnterpriseWebhookConfiguration) -> bool:
    """Whether it has its row; one that was made by a bulk insert gets it with its first webhook."""
    return hasattr(endpoint, "health")


def in_flight(endpoint: EnterpriseWebhookConfiguration, now: datetime) -> int:
    """How many webhooks are being sent to it, by all workers together."""
    return _rows.in_flight(endpoint.pk, now, timedelta(seconds=endpoint.timeout_seconds) + AROUND_AN_ATTEMPT)


def _with_pending() -> Sequence[Any]:
    """
    The endpoints with pending webhooks, longest wait first, with ``first_due``.

    One look into the index for each endpoint: what it costs does not depend on how many webhooks are pending.
    """
    theirs = _rows.filter(status=WebhookStatus.PENDING, endpoint_id=OuterRef("pk"))
    first_due = Subquery(theirs.order_by("due_at").values("due_at")[:1])
    endpoints = EnterpriseWebhookConfiguration.objects.select_related("health").annotate(first_due=first_due)
    return list(endpoints.filter(first_due__isnull=False).order_by("first_due", "pk"))


def _on_with_parked() -> list[EnterpriseWebhookConfiguration]:
    """Endpoints that are on and have webhooks parked."""
    theirs = _rows.filter(status=WebhookStatus.PARKED, endpoint_id=OuterRef("pk"))
    endpoints = EnterpriseWebhookConfiguration.objects.select_related("health").filter(Exists(theirs))
    return [endpoint for endpoint in endpoints if is_on(endpoint)]


def _is_behind(endpoint_id: int) -> bool:
    """Whether some of what was parked is still on its way to be pending."""
    theirs = _rows.filter(endpoint_id=endpoint_id)
    recorded = theirs.filter(status=WebhookStatus.RECORDED, due_at__lte=timezone.now())
    return recorded.exists() or theirs.filter(status=WebhookStatus.PARKED).exists()


def _is_open(endpoint: EnterpriseWebhookConfiguration, now: datetime) -> bool:
    """A look without a lock, which spares the endpoints that certainly take nothing; ``admit`` decides."""
    opening = opens_at(endpoint)
    return opening is None or opening <= now


def opens_at(endpoint: EnterpriseWebhookConfiguration) -> datetime | None:
    """When its breaker, pause and rate limit let a webhook through again; None for at once."""
    return _state(endpoint, endpoint.health, 0).opens_at() if has_health(endpoint) else None


def last_gate(endpoint: EnterpriseWebhookConfiguration) -> Gate | None:
    """Which of its breaker, pause and rate limit opens last, and when; None for at once."""
    return _state(endpoint, endpoint.health, 0).last_gate() if has_health(endpoint) else None


def _state(endpoint: EnterpriseWebhookConfiguration, health: WebhookEndpointHealth, in_flight: int) -> EndpointState:
    return EndpointState(
        max_concurrent=endpoint.concurrent_requests,
        max_per_minute=endpoint.max_requests_per_minute,
        in_flight=in_flight,
        failures_in_a_row=health.failures_in_a_row,
        breaker_open_until=health.breaker_open_until,
        paused_until=health.paused_until,
        next_request_at=health.next_request_at,
        one_at_a_time=health.catching_up,
    )


def _move_due(endpoint_id: int | None, status: Any, reason: str) -> None:
    """What a killed worker may have sent is registered: with its lease goes the only trace of that."""
    due = _rows.due(WebhookStatus.PENDING, timezone.now()).filter(endpoint_id=endpoint_id)
    leases = dict(due.values_list("pk", "lease_token")[:PAGE])
    with transaction.atomic():
        disclosures.register_unwritten([pk for pk, token in leases.items() if token])
        _rows.move(list(leases), WebhookStatus.PENDING, status, reason=reason)
