# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the status page shows, section by section, ready for its templates; no names of learners, and no ids of them."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.db.models import Model
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.admin.moments import NONE, unbroken
from channel_integrations.integrated_channel.admin.status import words
from channel_integrations.integrated_channel.admin.status.alarms import alarms
from channel_integrations.integrated_channel.admin.status.charts import charts
from channel_integrations.integrated_channel.models import (
    FINISHED,
    Erasure,
    WebhookDisclosure,
    WebhookHeartbeat,
    WebhookRollout,
    WebhookStatus,
    WebhookTransmissionQueue,
)
from channel_integrations.integrated_channel.services import heartbeat, rollout
from channel_integrations.integrated_channel.services.doctor.backlog import SWEEP_STOPPED_AFTER
from channel_integrations.integrated_channel.services.figures import (
    backlog,
    deliveries,
    endpoints,
    erasures,
    lookups,
    outcomes,
    sides,
)
from channel_integrations.integrated_channel.services.figures.targets import targets

ONE_SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
ENDPOINTS_SHOWN = 20
#: states that somebody should look into, and that the recover button ends
TROUBLED = (endpoints.OFF_BY_SENDER, endpoints.BREAKER_OPEN, endpoints.PAUSED, endpoints.FAILING)


class Row(NamedTuple):
    """A line of a table: what it is about, the figure, and where a list of it is."""

    label: Any
    number: int
    url: str = ""


class Beat(NamedTuple):
    """One kind of process: when it was last seen (None: never), and what is wrong with that."""

    label: Any
    beat_at: datetime | None
    worker: str
    age: str
    warning: Any


def page() -> dict[str, Any]:
    """The whole context; the sections in their order, then what of it needs somebody."""
    now = timezone.now()
    owed, lately, snowflake = backlog.owed(), deliveries.latest(HOUR), lookups.snowflake_since(HOUR)
    decision = WebhookRollout.newest()
    sections = {
        "as_of": unbroken(now),
        "owed": _owed(owed, now),
        "targets": [_target(each) for each in targets(lately, owed, snowflake)],
        "endpoints": _endpoints(endpoints.endpoints()),
        "outcomes": _outcomes(),
        "learning_time": _learning_time(lately),
        "latency": _latency(lately),
        "snowflake": _snowflake(snowflake),
        "beats": list(_beats(owed, decision, now)),
        "rollout": _rollout(decision),
    }
    return {**sections, "alarms": list(alarms(sections)), "charts": charts(sections)}


def list_url(model: type[Model], **filters: Any) -> str:
    """A model's list, filtered."""
    return f"{reverse(admin_urlname(model._meta, 'changelist'))}?{urlencode(filters)}"


def _owed(owed: backlog.Owed, now: datetime) -> dict[str, Any]:
    late = sum(owed.late.values())
    return {
        "erasures": erasures.erasures(),
        "erasures_url": list_url(WebhookDisclosure, erasure=Erasure.OWED),
        "count": owed.count,
        "due": sum(owed.due.values()),
        "late": late,
        "held_back": owed.held_back,
        "oldest": words.lasted(now - owed.oldest_due_at) if owed.oldest_due_at else "",
        "late_after": words.lasted(backlog.LONG),
        "by_status": [
            Row(WebhookStatus(status).label, count, list_url(WebhookTransmissionQueue, status__exact=status))
            for status, count in owed.by_status.items()
        ],
    }


def _target(target: Any) -> dict[str, Any]:
    return {
        "name": target.name,
        "label": target.label,
        "value": words.measured(target.value, target.unit),
        "limit": ("> " if target.at_least else "< ") + words.measured(target.limit, target.unit),
        "is_met": target.is_met,
        "informational": target.informational,
        "advice": target.advice if target.is_met is False else "",
    }


def _endpoints(every: Sequence[endpoints.EndpointFigures]) -> dict[str, Any]:
    shown = [_endpoint(each) for each in every[:ENDPOINTS_SHOWN]]
    return {
        "shown": shown,
        "more": max(len(every) - ENDPOINTS_SHOWN, 0),
        "troubled": sum(each.state in TROUBLED for each in every),
        "count": len(every),
    }


def _endpoint(figures: endpoints.EndpointFigures) -> dict[str, Any]:
    endpoint = figures.endpoint
    health = getattr(endpoint, "health", None)
    waited = timezone.now() - figures.oldest_due_at if figures.oldest_due_at else None
    return {
        "pk": endpoint.pk,
        "customer": endpoint.enterprise_customer.name,
        "region": endpoint.get_region_display(),
        "state": words.named(words.STATES, figures.state),
        "reason": health.disabled_reason if health and figures.state == endpoints.OFF_BY_SENDER else "",
        "is_troubled": figures.state in TROUBLED,
        "is_off": figures.state == endpoints.OFF_BY_SENDER,
        "pending": figures.pending,
        "parked": figures.parked,
        "oldest": words.lasted(waited) if waited and waited >= ONE_SECOND else "",
        "last_success": unbroken(health.last_success_at if health else None),
        "last_failure": unbroken(health.last_failure_at if health else None),
        "failure": health.last_failure if health else "",
        "failures": health.failures if health else 0,
        "opens_at": unbroken(figures.opens_at),
        "disabled_by": unbroken(figures.disabled_by),
    }


def _outcomes() -> dict[str, Any]:
    hours = outcomes.by_hour(24)
    suppressed = outcomes.suppressed_since(DAY).items()
    attempts = sorted(outcomes.attempts_since(DAY).items(), key=lambda each: -each[1])
    return {
        "hours": hours,
        "totals": [
            (
                label,
                sum(getattr(hour, name) for hour in hours),
                list_url(WebhookTransmissionQueue, status__exact=name, finished="24h"),
            )
            for name, label in ((str(status), WebhookStatus(status).label) for status in FINISHED)
        ],
        "attempts": [Row(words.named(words.ANSWERS, answer), count) for answer, count in attempts],
        "suppressed": [Row(gettext(reason) if reason else NONE, count) for reason, count in suppressed],
    }


def _learning_time(lately: deliveries.Deliveries) -> dict[str, Any]:
    rows = _learning_times(lately.learning_times())
    return {"rows": rows, "count": lately.count, "is_capped": lately.is_capped}


def _learning_times(counted: dict[str, int]) -> list[Row]:
    return [Row(words.named(words.LEARNING_TIME, code), count) for code, count in counted.items()]


def _latency(lately: deliveries.Deliveries) -> dict[str, Any]:
    parts = (
        (_("all of it: from the pass to the delivery"), lately.total()),
        (_("waiting: for the grade's commit, for workers, for the endpoint, between attempts"), lately.waiting()),
        (_("lookup: the statement to Snowflake, where one was made"), lately.lookup()),
        (_("POST: the attempt that was taken"), lately.post()),
    )
    return {
        "parts": [
            {
                "label": label,
                "short": str(label).partition(":")[0],
                "p50": words.seconds(found.p50) if found else "",
                "p95": words.seconds(found.p95) if found else "",
                "values": found,
            }
            for label, found in parts
        ],
        "count": lately.count,
        "is_capped": lately.is_capped,
    }


def _snowflake(lately: lookups.SnowflakeFigures) -> dict[str, Any]:
    return {
        "p50": words.seconds(lately.p50_ms / 1000) if lately.p50_ms is not None else "",
        "p95": words.seconds(lately.p95_ms / 1000) if lately.p95_ms is not None else "",
        "lately": lately,
    }


def _beats(owed: backlog.Owed, decision: WebhookRollout, now: datetime) -> Iterator[Beat]:
    """
    Workers beat with their tasks, hence not while there is nothing to do: one is silent while something waits for it.

    The sweep beats every minute; it may be left out, and then nobody has seen it.
    """
    last = WebhookHeartbeat.objects.in_bulk(heartbeat.NAMES)
    awaiting = owed.late.get(WebhookStatus.AWAITING_ENRICHMENT, 0)
    late = {heartbeat.ENRICHMENT: awaiting, heartbeat.DELIVERY: sum(owed.late.values()) - awaiting}
    for name in heartbeat.NAMES:
        beat = last.get(name)
        age = now - beat.beat_at if beat else None
        warning: Any = ""
        if name == heartbeat.SWEEP:
            if age is None:
                warning = _("no sweep has ever run: run send_due_webhooks every minute")
            elif age > SWEEP_STOPPED_AFTER:
                warning = _("the sweep has stopped: start it again")
        elif late[name] and (age is None or age > backlog.LONG):
            warning = _("silent, while webhooks wait for it: is it running?")
        label = words.named(words.HEARTBEATS, name)
        yield Beat(label, beat.beat_at if beat else None, beat.worker if beat else "", words.lasted(age), warning)


def _rollout(decision: WebhookRollout) -> dict[str, Any]:
    lately = sides.latest(DAY)
    return {
        "enabled": conf.enrichment_enabled(),
        "percentage": decision.percentage,
        "paused": decision.paused,
        "own_switches": rollout.own_switches().count(),
        "url": reverse(admin_urlname(WebhookRollout._meta, "changelist")),
        "sides": [
            _side(_("inside: learning time is looked up"), lately.inside),
            _side(_("outside: left out by the percentage"), lately.outside),
            _side(_("neither: flag, kill switch or the endpoint's switch is against it"), lately.neither),
        ],
        "learning_times": _learning_times(lately.inside.learning_times),
        "made": lately.made,
        "is_capped": lately.is_capped,
    }


def _side(label: Any, side: sides.Side) -> dict[str, Any]:
    return {
        "label": label,
        **side._asdict(),
        "p50": words.seconds(side.total.p50 if side.total else None),
        "p95": words.seconds(side.total.p95 if side.total else None),
    }
