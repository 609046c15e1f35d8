# SPDX-License-Identifier: AGPL-3.0-or-later
"""Metrics, from their catalogue; the values that labels take, from the code that makes them."""

from channel_integrations.integrated_channel.metrics import collector
from channel_integrations.integrated_channel.metrics.catalogue import METRICS, PREFIX, Metric
from channel_integrations.integrated_channel.models import FINISHED, UNFINISHED, WebhookStatus
from channel_integrations.integrated_channel.services import heartbeat
from channel_integrations.integrated_channel.services.figures import backlog, endpoints
from docs.generate import table

INTRODUCTION = f"""\
# Metrics

For operators. `/channel_webhooks/metrics` says them in Prometheus' text format, all of them gauges, under names that
begin with `{PREFIX}_`. They are counted in the database at the moment of the scrape, so that it does not matter which
process did what. [Scrape them, be alerted, scale by them](../how-tos/monitor.md).

| label | what it says |
|---|---|
"""
NO_COUNTERS = """\
## Why there are no counters

`rate()` wants counters, which never fall but for a restart. What is in a table falls with every purge and every replay,
and a counter in memory would be another one in each LMS process and each worker. So what happened lately is counted
over a `window` that ends with the scrape: it needs no `rate()`, and the sum of the five-minute windows of an hour,
`sum_over_time(channel_webhooks_attempts[1h:5m])`, is the count of that hour.

`delivery_seconds` and `learning_time` are about the latest 10,000 deliveries of the hour at most, exact over these;
what was backfilled or replayed is left out. At more than 10,000 an hour their window is therefore shorter.
"""


def page() -> str:
    """The page."""
    labels = "".join(f"| `{name}` | {values} |\n" for name, values in label_values().items())
    rows = [(f"`{metric.full_name}`", _labels(metric), metric.help) for metric in METRICS]
    return f"{INTRODUCTION}{labels}\n{table(('metric', 'labels', 'what it says'), rows)}\n{NO_COUNTERS}"


def label_values() -> dict[str, str]:
    """What each label says."""
    return {
        "answer": "`2xx`, `3xx`, `4xx`, `5xx`, or "
        "[the code of an error](codes.md#error-code-an-attempt-without-an-answer)",
        "endpoint_id": "the endpoint's number, as in the admin; customers are not named",
        "part": "`total`, and what it is made of: `waiting`, `lookup`, `post`",
        "process": _listed(heartbeat.NAMES),
        "quantile": "`0.5`, `0.95`",
        "queue": _listed((backlog.ENRICHMENT, backlog.DELIVERY)),
        "reason": "why a pass made no webhook",
        "region": "`US`, `EU`, `OTHER`",
        "state": _listed(endpoints.STATES) + ": the worst that holds",
        "status": f"of `late`: {_listed(UNFINISHED)}; of `waiting`: these, {_listed(_STILL)}; of `finished`: "
        f"{_listed(FINISHED)}; of `learning_time`: [its codes](codes.md#learning-time-status), and "
        f"`{collector.NEVER_MEANT}`",
        "target": "the figures of [the targets](../how-tos/monitor.md#the-targets)",
        "unit": "`s`, `%`, `rows`",
        "version": "as `pip show` says it",
        "window": "`5m` or `1h`: the five minutes, or the hour, that end with the scrape",
    }


_STILL = [status for status in WebhookStatus if status not in (*UNFINISHED, *FINISHED)]


def _listed(values) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _labels(metric: Metric) -> str:
    return ", ".join(f"`{name}`" for name in metric.labels)
