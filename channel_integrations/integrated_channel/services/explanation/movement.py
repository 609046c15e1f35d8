# SPDX-License-Identifier: AGPL-3.0-or-later
"""When a webhook moves next, and what it waits for until then."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from channel_integrations.integrated_channel.models import UNFINISHED, WebhookStatus, WebhookTransmissionQueue
from channel_integrations.integrated_channel.services import endpoint_gate
from channel_integrations.integrated_channel.services.explanation.story import at

#: what is due for longer than this has been left behind: by a worker that is missing, or a sweep
LATE = timedelta(seconds=60)


@dataclass(frozen=True)
class Movement:
    """When it moves by itself at the soonest, and why not before; at None somebody has to do something."""

    at: datetime | None
    fact: str
    change: str = ""


def next_movement(webhook: WebhookTransmissionQueue, endpoint: Any) -> Movement | None:
    """
    The next step of an unfinished webhook; None for others.

    :param endpoint: the one that it was addressed to, with its health; None where it has none, or that is gone
    """
    if webhook.status not in UNFINISHED:
        return None
    now = timezone.now()
    if webhook.lease_token and webhook.due_at > now:
        doing = _("being sent") if webhook.status == WebhookStatus.PENDING else _("being worked at")
        fact = _("%(doing)s at this moment; if its worker dies, again from %(when)s on")
        return Movement(now, fact % {"doing": doing, "when": at(webhook.due_at)})
    if webhook.status == WebhookStatus.PENDING:
        return _of_pending(webhook, endpoint, now)
    return _of_unaddressed(webhook, now)


def _of_unaddressed(webhook: WebhookTransmissionQueue, now: datetime) -> Movement:
    if webhook.due_at < now - LATE:
        return _left_behind(webhook)
    moment = max(webhook.due_at, now)
    if webhook.status == WebhookStatus.RECORDED:
        return Movement(moment, _("its body is built and its endpoint chosen at %(when)s") % {"when": at(moment)})
    fact = _("its learning time is looked up at %(when)s; it goes out without it from %(latest)s on")
    return Movement(moment, fact % {"when": at(moment), "latest": at(webhook.enrich_by or moment)})


def _of_pending(webhook: WebhookTransmissionQueue, endpoint: Any, now: datetime) -> Movement:
    if endpoint is None:
        return Movement(max(webhook.due_at, now), _("its endpoint is gone: the sweep cancels it"))
    if not endpoint_gate.is_on(endpoint):
        return Movement(max(webhook.due_at, now), _("its endpoint is switched off: it is parked when it is due"))
    closed = sorted(_closed(endpoint, max(webhook.due_at, now)), reverse=True)
    if closed:
        moment = closed[0][0]
        why = "; ".join(words for _until, words in closed)
        return Movement(moment, _("next attempt at %(when)s, by itself: %(why)s") % {"when": at(moment), "why": why})
    if webhook.due_at > now:
        fact = _("next attempt at %(when)s, by itself: attempt %(number)s of the endpoint's schedule")
        return Movement(webhook.due_at, fact % {"when": at(webhook.due_at), "number": webhook.tries + 1})
    crowd = _crowd(endpoint, now)
    if not crowd and webhook.due_at < now - LATE:
        return _left_behind(webhook)
    turn = _("next attempt as soon as its turn comes: %(why)s") % {"why": crowd} if crowd else _("next attempt now")
    return Movement(now, turn)


def _closed(endpoint: Any, due: datetime) -> Iterator[tuple[datetime, str]]:
    """What keeps the endpoint closed beyond that moment, each with its end."""
    if not endpoint_gate.has_health(endpoint):
        return
    health = endpoint.health
    if health.breaker_open_until and health.breaker_open_until > due:
        told = _("breaker open until %(when)s after %(failures)s failures in a row (the last: %(last)s)")
        yield (
            health.breaker_open_until,
            told
            % {
                "when": at(health.breaker_open_until),
                "failures": health.failures_in_a_row,
                "last": health.last_failure,
            },
        )
    if health.paused_until and health.paused_until > due:
        told = _("paused until %(when)s, as the endpoint has asked (the last: %(last)s)")
        yield health.paused_until, told % {"when": at(health.paused_until), "last": health.last_failure}
    limit = endpoint.max_requests_per_minute
    if limit and health.next_request_at and health.next_request_at > due:
        told = _("rate limit of %(limit)s a minute, used up until %(when)s")
        yield health.next_request_at, told % {"limit": limit, "when": at(health.next_request_at)}


def _crowd(endpoint: Any, now: datetime) -> str:
    """Why the endpoint takes no further one at this moment, though it is open."""
    in_flight = WebhookTransmissionQueue.objects.in_flight(endpoint.pk, now)
    if endpoint_gate.is_cautious(endpoint) and in_flight:
        if endpoint.health.catching_up:
            return _("the endpoint gets one at a time while it catches up with what was parked")
        return _("the endpoint gets one at a time until one is taken, since it has failed")
    most = endpoint.concurrent_requests
    if in_flight >= most:
        return _("%(number)s of %(most)s webhooks are being sent to the endpoint") % {"number": in_flight, "most": most}
    return ""


def _left_behind(webhook: WebhookTransmissionQueue) -> Movement:
    waits_for = {
        WebhookStatus.AWAITING_ENRICHMENT: _("looked up"),
        WebhookStatus.RECORDED: _("addressed"),
        WebhookStatus.PENDING: _("sent"),
    }[WebhookStatus(webhook.status)]
    fact = _("due since %(when)s, and not %(waits_for)s: no worker, no sweep, or many before it")
    change = _(
        "./manage.py lms send_due_webhooks sends what is due; ./manage.py lms webhook_doctor says what is missing"
    )
    return Movement(None, fact % {"when": at(webhook.due_at), "waits_for": waits_for}, change)
