# SPDX-License-Identifier: AGPL-3.0-or-later
"""The figures that operators watch, against what they should be."""

from typing import Any, NamedTuple

from django.utils.translation import gettext_lazy as _

from channel_integrations.integrated_channel.exceptions import LearningTimeUnavailable
from channel_integrations.integrated_channel.services.enrichment import FOUND, NO_ROW, OVERDUE
from channel_integrations.integrated_channel.services.figures.backlog import LONG, MANY, Owed
from channel_integrations.integrated_channel.services.figures.deliveries import Deliveries
from channel_integrations.integrated_channel.services.figures.lookups import SnowflakeFigures


class Target(NamedTuple):
    """
    A figure and its limit, in ``unit`` ("s", "%" or "rows"); ``value`` is None where there is nothing to judge by.

    ``at_least``: the figure should lie above its limit, not below. ``informational``: nobody needs to act on it.
    """

    name: str
    label: Any
    value: float | None
    limit: float
    unit: str
    advice: Any
    at_least: bool = False
    informational: bool = False

    @property
    def is_met(self) -> bool | None:
        """None where there is nothing to judge by."""
        if self.value is None:
            return None
        return self.value > self.limit if self.at_least else self.value < self.limit


def targets(deliveries: Deliveries, owed: Owed, snowflake: SnowflakeFigures) -> list[Target]:
    """All five, of the windows that were asked for."""
    total, hits, failed = deliveries.total(), deliveries.cache_hit_rate(), error_rate(deliveries)
    return [
        Target(
            "completion_to_webhook_p95",
            _("completion to webhook sent, p95"),
            total.p95 if total else None,
            5,
            "s",
            _("Raise the concurrency of the workers."),
        ),
        Target(
            "snowflake_lookup_p95",
            _("Snowflake lookup, p95"),
            None if snowflake.p95_ms is None else snowflake.p95_ms / 1000,
            2,
            "s",
            _("Tune the query, or scale the warehouse."),
        ),
        Target(
            "task_error_rate",
            _("lookups that failed"),
            None if failed is None else 100 * failed,
            1,
            "%",
            _("Read the log, and check the connection to Snowflake: ./manage.py lms webhook_doctor"),
        ),
        Target(
            "cache_hit_rate",
            _("lookups that the cache answered"),
            None if hits is None else 100 * hits,
            50,
            "%",
            _("For information: one webhook for each pass makes most lookups first lookups."),
            at_least=True,
            informational=True,
        ),
        Target(
            "queue_depth",
            _("webhooks due for more than %(seconds)s s") % {"seconds": round(LONG.total_seconds())},
            sum(owed.late.values()),
            MANY,
            "rows",
            _("Start the worker that is missing, else add workers. The broker's length says little."),
        ),
    ]


def error_rate(deliveries: Deliveries) -> float | None:
    """The share of the deliveries to be looked up that went out plain for a fault; None where none was to be."""
    faults = {OVERDUE, *_codes(LearningTimeUnavailable)}
    counted = deliveries.learning_times()
    failed = sum(count for status, count in counted.items() if status in faults)
    looked_up = failed + counted.get(FOUND, 0) + counted.get(NO_ROW, 0)
    return failed / looked_up if looked_up else None


def _codes(error: type[LearningTimeUnavailable]) -> set[str]:
    return {error.code}.union(*map(_codes, error.__subclasses__()))
