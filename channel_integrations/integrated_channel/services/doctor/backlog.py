# SPDX-License-Identifier: AGPL-3.0-or-later
"""The work: whether a sweep runs, and whether anything waits for longer than it should."""

from datetime import datetime, timedelta

from django.db.models import Count, Min
from django.utils import timezone

from channel_integrations.integrated_channel.models import (
    UNFINISHED,
    EnterpriseWebhookConfiguration,
    WebhookHeartbeat,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import endpoint_gate, heartbeat
from channel_integrations.integrated_channel.services.doctor.findings import Findings, ok, problem, warning
from channel_integrations.integrated_channel.services.doctor.moments import ago, span

#: a sweep is to run every minute
SWEEP_STOPPED_AFTER = timedelta(minutes=3)
#: the target that operators watch: fewer rows than this due for longer than that
MANY = 100
LONG = timedelta(seconds=60)

CRON = "* * * * * cd /edx/app/edxapp/edx-platform && ./manage.py lms send_due_webhooks"


def sweep() -> Findings:
    """Whether somebody runs ``send_due_webhooks``."""
    last = WebhookHeartbeat.objects.filter(pk=heartbeat.SWEEP).first()
    if last is None:
        yield warning(
            "no sweep has ever run: one wake-up circulates while rows are unfinished; where the broker loses it, "
            "webhooks wait for the next completion",
            f"Add to the crontab: {CRON}",
        )
        return
    age = timezone.now() - last.beat_at
    if age > SWEEP_STOPPED_AFTER:
        yield problem(
            f"the sweep has stopped: its last round was {ago(age)}, by {last.worker}",
            "Start it again, by cron or as a sidecar: ./manage.py lms send_due_webhooks --loop -- or, if you have "
            f"given it up for good: ./manage.py lms webhook_heartbeat --forget {heartbeat.SWEEP}",
        )
    else:
        yield ok(f"last round {ago(age)}, by {last.worker}")


def overdue() -> Findings:
    """
    Whether rows wait for workers.

    Those that wait for an endpoint that takes no more right now (breaker, pause, rate limit) are told apart: more
    workers would not help them.
    """
    now = timezone.now()
    late = WebhookTransmissionQueue.objects.filter(status__in=UNFINISHED, due_at__lt=now - LONG).order_by()
    counts = late.values("status", "endpoint_id").annotate(rows=Count("pk"), first=Min("due_at"))
    closed = _closed_endpoints({count["endpoint_id"] for count in counts}, now)
    held = [count for count in counts if count["endpoint_id"] in closed]
    free = [count for count in counts if count["endpoint_id"] not in closed]
    waiting, behind = _rows(free), _rows(held)
    fact = f"{waiting} {_webhooks(waiting)} due for more than {span(LONG)}"
    if free:
        fact += f", the oldest for {span(now - min(count['first'] for count in free))}"
    if held:
        names = ", ".join(str(pk) for pk in sorted(closed))
        fact += f"; besides, {behind} for endpoint {names}, which takes no more right now"
    if waiting >= MANY:
        yield problem(fact, _more_workers(free))
    elif behind >= MANY:
        yield warning(
            fact, "No worker helps here: see the endpoint's own line below, and talk to the partner; nothing is lost."
        )
    else:
        yield ok(fact)


def _rows(counts) -> int:
    return sum(count["rows"] for count in counts)


def _webhooks(number: int) -> str:
    return "webhook" if number == 1 else "webhooks"


def _closed_endpoints(ids: set[int | None], now: datetime) -> set[int]:
    endpoints = EnterpriseWebhookConfiguration.objects.select_related("health").in_bulk([pk for pk in ids if pk])
    return {pk for pk, endpoint in endpoints.items() if endpoint_gate.is_held_back(endpoint, now)}


def _more_workers(counts) -> str:
    waiting = [count for count in counts if count["status"] == WebhookStatus.AWAITING_ENRICHMENT]
    if 2 * _rows(waiting) > _rows(counts):
        return (
            "Most wait for their learning time: see the lines of Snowflake and of the enrichment worker, then raise "
            "that worker's concurrency (-c 4)."
        )
    return (
        "Add workers: more processes on the delivery queue, and CHANNEL_WEBHOOKS_DELIVERY_WORKERS = 4 where that queue "
        "is not shared with the LMS."
    )
