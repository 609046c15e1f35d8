# SPDX-License-Identifier: AGPL-3.0-or-later
"""The work: whether a sweep runs, and whether anything waits for longer than it should."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from channel_integrations.integrated_channel.models import WebhookHeartbeat, WebhookStatus
from channel_integrations.integrated_channel.services import heartbeat
from channel_integrations.integrated_channel.services.doctor.findings import Findings, ok, problem, warning
from channel_integrations.integrated_channel.services.doctor.moments import ago, span
from channel_integrations.integrated_channel.services.figures import backlog

#: a sweep is to run every minute
SWEEP_STOPPED_AFTER = timedelta(minutes=3)

LMS_PYTHON = "/edx/app/edxapp/venvs/edxapp/bin/python"
CRON = f"* * * * * cd /edx/app/edxapp/edx-platform && {LMS_PYTHON} manage.py lms send_due_webhooks"


def sweep() -> Findings:
    """Whether somebody runs ``send_due_webhooks``."""
    last = WebhookHeartbeat.objects.filter(pk=heartbeat.SWEEP).first()
    if last is None:
        yield warning(
            "no sweep has ever run, or it was given up: one wake-up circulates while rows are unfinished; where the "
            "broker loses it, webhooks wait for the next completion",
            f"Add to the crontab of the LMS's user: {CRON} -- or, where there is no cron, run a sidecar: "
            "./manage.py lms send_due_webhooks --loop",
        )
        return
    age = timezone.now() - last.beat_at
    if age > SWEEP_STOPPED_AFTER:
        yield problem(
            f"the sweep has stopped: its last round was {ago(age)}, by {last.worker}",
            "Start it again, by cron or as a sidecar: ./manage.py lms send_due_webhooks --loop -- or, if you have "
            f"given it up for good: ./manage.py lms webhook_heartbeat --forget {heartbeat.SWEEP} (the line "
            "then stays yellow)",
        )
    else:
        yield ok(f"last round {ago(age)}, by {last.worker}")


def overdue() -> Findings:
    """
    Whether webhooks wait for workers.

    Those that wait for an endpoint that takes no more right now (breaker, pause, rate limit) are told apart: more
    workers would not help them.
    """
    owed = backlog.owed()
    late = sum(owed.late.values())
    fact = f"{late} {_webhooks(late)} due for more than {span(backlog.LONG)}"
    if late and owed.oldest_due_at:
        fact += f", the oldest for {span(timezone.now() - owed.oldest_due_at)}"
    if owed.held_back:
        names = ", ".join(map(str, owed.closed))
        who = f"endpoint {names}, which takes" if len(owed.closed) == 1 else f"endpoints {names}, which take"
        fact += f"; besides, {owed.held_back} for {who} no more right now"
    if owed.many_are_late:
        yield problem(fact, _more_workers(owed.late))
    elif owed.held_back >= backlog.MANY:
        yield warning(
            fact, "No worker helps here: see the endpoint's own line below, and talk to the partner; nothing is lost."
        )
    else:
        yield ok(fact)


def _webhooks(number: int) -> str:
    return "webhook" if number == 1 else "webhooks"


def _more_workers(late: dict[Any, int]) -> str:
    if 2 * late.get(WebhookStatus.AWAITING_ENRICHMENT, 0) > sum(late.values()):
        return (
            "Most wait for their learning time: mend a red line of Snowflake or of the enrichment worker first; where "
            "there is none, ./manage.py lms webhook_stats says how long a lookup takes. To send them without it now: "
            "./manage.py lms webhook_rollout --pause, and afterwards --resume"
        )
    return (
        "Start the delivery worker where its line is red; ./manage.py lms send_due_webhooks sends meanwhile. Else add "
        "workers: more processes on the delivery queue, and CHANNEL_WEBHOOKS_DELIVERY_WORKERS = 4 where that queue "
        "is not shared with the LMS."
    )
