# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the figures to samples. Nothing is written, and what is read does not grow with what is kept."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.utils import timezone

import channel_integrations
from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.metrics import catalogue
from channel_integrations.integrated_channel.metrics.text_format import Sample, written
from channel_integrations.integrated_channel.models import UNFINISHED, WebhookHeartbeat, WebhookRollout
from channel_integrations.integrated_channel.services.figures import (
    backlog,
    deliveries,
    endpoints,
    erasures,
    lookups,
    outcomes,
    targets,
)
from channel_integrations.integrated_channel.services.figures.percentiles import Percentiles

WINDOWS = {catalogue.LATELY: timedelta(minutes=5), catalogue.HOUR: timedelta(hours=1)}
#: of a webhook whose learning time was never meant to be looked up; a label without a value would be no label
NEVER_MEANT = "never_meant"


def scrape() -> str:
    """Every metric, in Prometheus' text format."""
    return written(catalogue.METRICS, samples())


def samples() -> Iterator[Sample]:
    """Every sample, the time that they took last."""
    started = time.monotonic()
    now, owed = timezone.now(), backlog.owed()
    latest = deliveries.latest(WINDOWS[catalogue.HOUR])
    snowflake = lookups.snowflake_since(WINDOWS[catalogue.HOUR])
    yield from _backlog(owed, now)
    for figures in endpoints.endpoints():
        yield from _endpoint(figures, now)
    yield from _outcomes()
    yield from _deliveries(latest)
    yield from _lookups(snowflake)
    yield from _targets(targets.targets(latest, owed, snowflake))
    yield from _processes(now)
    yield Sample(catalogue.SCRAPE, (), time.monotonic() - started)


def _backlog(owed: backlog.Owed, now: datetime) -> Iterator[Sample]:
    for status, count in owed.by_status.items():
        yield Sample(catalogue.WAITING, (status,), count)
    for queue, count in owed.due.items():
        yield Sample(catalogue.DUE, (queue,), count)
    for status in UNFINISHED:
        yield Sample(catalogue.LATE, (status,), owed.late.get(status, 0))
    yield Sample(catalogue.HELD_BACK, (), owed.held_back)
    yield Sample(catalogue.OLDEST_DUE_AGE, (), _age(owed.oldest_due_at or now, now))
    unconfirmed = erasures.erasures()
    yield Sample(catalogue.ERASURES_OWED, (), unconfirmed.owed)
    yield Sample(catalogue.ERASURES_STUCK, (), unconfirmed.stuck)


def _endpoint(figures: endpoints.EndpointFigures, now: datetime) -> Iterator[Sample]:
    endpoint = figures.endpoint
    which = (endpoint.pk, endpoint.region)
    for state in endpoints.STATES:
        yield Sample(catalogue.ENDPOINT_STATE, (*which, state), state == figures.state)
    yield Sample(catalogue.ENDPOINT_PENDING, which, figures.pending)
    yield Sample(catalogue.ENDPOINT_PARKED, which, figures.parked)
    yield Sample(catalogue.ENDPOINT_OLDEST_DUE_AGE, which, _age(figures.oldest_due_at or now, now))
    yield Sample(catalogue.ENDPOINT_OPENS_IN, which, _age(now, figures.opens_at or now))
    if figures.disabled_by:
        yield Sample(catalogue.ENDPOINT_DISABLED_IN, which, _age(now, figures.disabled_by))
    health = getattr(endpoint, "health", None)
    yield Sample(catalogue.ENDPOINT_FAILURES, which, health.failures if health else 0)
    if health and health.last_success_at:
        yield Sample(catalogue.ENDPOINT_LAST_SUCCESS_AGE, which, _age(health.last_success_at, now))


def _outcomes() -> Iterator[Sample]:
    for window, duration in WINDOWS.items():
        for status, count in outcomes.finished_since(duration).items():
            yield Sample(catalogue.FINISHED, (status, window), count)
    for answer, count in outcomes.attempts_since(WINDOWS[catalogue.LATELY]).items():
        yield Sample(catalogue.ATTEMPTS, (answer, catalogue.LATELY), count)
    for reason, count in outcomes.suppressed_since(WINDOWS[catalogue.HOUR]).items():
        yield Sample(catalogue.SUPPRESSED, (reason, catalogue.HOUR), count)


def _deliveries(latest: deliveries.Deliveries) -> Iterator[Sample]:
    yield Sample(catalogue.DELIVERIES, (catalogue.HOUR,), latest.count)
    parts = {"total": latest.total(), "waiting": latest.waiting(), "lookup": latest.lookup(), "post": latest.post()}
    for part, found in parts.items():
        for quantile, seconds in _quantiles(found):
            yield Sample(catalogue.DELIVERY, (part, quantile, catalogue.HOUR), seconds)
    for status, count in latest.learning_times().items():
        yield Sample(catalogue.LEARNING_TIME, (status or NEVER_MEANT, catalogue.HOUR), count)


def _lookups(snowflake: lookups.SnowflakeFigures) -> Iterator[Sample]:
    yield Sample(catalogue.LOOKUPS, (catalogue.HOUR,), snowflake.statements)
    yield Sample(catalogue.LOOKUPS_FAILED, (catalogue.HOUR,), snowflake.failed)
    yield Sample(catalogue.LOOKUPS_ASKED, (catalogue.HOUR,), snowflake.asked)
    yield Sample(catalogue.LOOKUPS_FOUND, (catalogue.HOUR,), snowflake.found)
    yield Sample(catalogue.WAKES, (catalogue.HOUR,), snowflake.wakes)
    if snowflake.p50_ms is not None and snowflake.p95_ms is not None:
        for quantile, milliseconds in _quantiles(Percentiles(snowflake.p50_ms, snowflake.p95_ms)):
            yield Sample(catalogue.LOOKUP, (quantile, catalogue.HOUR), milliseconds / 1000)


def _targets(found: list[targets.Target]) -> Iterator[Sample]:
    for target in found:
        yield Sample(catalogue.TARGET_LIMIT, (target.name, target.unit), target.limit)
        if target.value is not None and target.is_met is not None:
            yield Sample(catalogue.TARGET_VALUE, (target.name, target.unit), target.value)
            yield Sample(catalogue.TARGET_MET, (target.name,), target.is_met)


def _processes(now: datetime) -> Iterator[Sample]:
    for beat in WebhookHeartbeat.objects.order_by("pk"):
        yield Sample(catalogue.HEARTBEAT_AGE, (beat.pk,), _age(beat.beat_at, now))
    decision = WebhookRollout.newest()
    yield Sample(catalogue.ENABLED, (), conf.enrichment_enabled())
    yield Sample(catalogue.PERCENT, (), decision.percentage)
    yield Sample(catalogue.PAUSED, (), decision.paused)
    yield Sample(catalogue.BUILD, (channel_integrations.__version__,), 1)


def _quantiles(found: Percentiles | None) -> Iterator[tuple[str, float]]:
    if found:
        yield "0.5", found.p50
        yield "0.95", found.p95


def _age(since: datetime, until: datetime) -> float:
    """Seconds from the one to the other; clocks of two hosts differ a little."""
    return max((until - since).total_seconds(), 0.0)
