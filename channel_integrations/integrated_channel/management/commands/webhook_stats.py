# SPDX-License-Identifier: AGPL-3.0-or-later
"""How the whole does, from the command line."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.management.arguments import whole_number
from channel_integrations.integrated_channel.management.tables import Table, table
from channel_integrations.integrated_channel.services.doctor.moments import span
from channel_integrations.integrated_channel.services.figures import (
    backlog,
    deliveries,
    endpoints,
    erasures,
    lookups,
    outcomes,
    targets,
)

#: what the targets are of
LATELY = timedelta(hours=1)
VERDICTS = {True: "met", False: "MISSED", None: "no data"}
DAYS = (
    ("day", "day"),
    ("statements", "statements"),
    ("asked", "completions"),
    ("found", "with number"),
    ("failed", "failed"),
    ("wakes", "wakes"),
)


class Command(BaseCommand):
    """Show the figures of the status page."""

    help = (
        "How webhooks do: the five targets over the last hour, what is owed now, how endpoints fare (the worst first), "
        "what came of webhooks in the last hours, and what was asked of Snowflake, by day. A wake is a statement that "
        "begins more than CHANNEL_WEBHOOKS_WAREHOUSE_AUTO_SUSPEND_SECONDS after the one before has ended; Snowflake "
        "bills at least a minute for each. Where there are about as many wakes as completions, let lookups wait for "
        "one another: CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS. It changes nothing, and names no person."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument(
            "--hours", type=whole_number(1, 168), default=24, metavar="N", help="of outcomes (default 24)"
        )
        parser.add_argument(
            "--days", type=whole_number(1, 366), default=7, metavar="N", help="of lookups, today included (default 7)"
        )
        parser.add_argument("--json", action="store_true", help="print the same as JSON")

    def handle(self, *args, **options) -> None:
        figures = _figures(options["hours"], options["days"])
        if options["json"]:
            self.stdout.write(json.dumps(figures, default=str, indent=2))
            return
        for title, rows in _tables(figures):
            self.stdout.write("\n".join([title, *table(rows), ""]))


def _figures(hours: int, days: int) -> dict[str, Any]:
    """What ``--json`` prints: times in ISO 8601, durations in seconds where the name says nothing else."""
    latest, owed, snowflake = deliveries.latest(LATELY), backlog.owed(), lookups.snowflake_since(LATELY)
    return {
        "targets": [
            {
                "name": each.name,
                "value": each.value,
                "limit": each.limit,
                "unit": each.unit,
                "met": each.is_met,
                "informational": each.informational,
            }
            for each in targets.targets(latest, owed, snowflake)
        ],
        "owed": {
            **{str(status): count for status, count in owed.by_status.items()},
            "due": owed.due,
            "late": sum(owed.late.values()),
            "oldest_due_at": owed.oldest_due_at,
            "held_back": owed.held_back,
            **{f"erasures_{name}": count for name, count in erasures.erasures()._asdict().items()},
        },
        "latest_deliveries": {
            "count": latest.count,
            "since": latest.since,
            **{
                name: part._asdict() if part else None
                for name, part in (
                    ("total", latest.total()),
                    ("waiting", latest.waiting()),
                    ("lookup", latest.lookup()),
                    ("post", latest.post()),
                )
            },
            "learning_times": latest.learning_times(),
        },
        "endpoints": [
            {
                "endpoint": each.endpoint.pk,
                "customer": each.endpoint.enterprise_customer.name,
                "region": str(each.endpoint.region),
                "state": each.state,
                "pending": each.pending,
                "parked": each.parked,
                "opens_at": each.opens_at,
                "disabled_by": each.disabled_by,
            }
            for each in endpoints.endpoints()
        ],
        "hours": [hour._asdict() for hour in outcomes.by_hour(hours)],
        "suppressed": outcomes.suppressed_since(timedelta(hours=hours)),
        "snowflake": snowflake._asdict(),
        "auto_suspend_seconds": round(conf.warehouse_auto_suspend().total_seconds()),
        "days": [asdict(day) for day in lookups.by_day(days)],
    }


def _tables(figures: dict[str, Any]) -> Iterator[Table]:
    yield _targets(figures["targets"])
    yield _owed(figures["owed"])
    yield from _deliveries(figures["latest_deliveries"])
    yield _endpoints(figures["endpoints"])
    yield _outcomes(figures["hours"])
    if figures["suppressed"]:
        reasons = [(reason, str(count)) for reason, count in figures["suppressed"].items()]
        yield "Passes that made no webhook", [("reason", "passes"), *reasons]
    yield (
        f"Lookups by day (a wake: no statement for more than {figures['auto_suspend_seconds']} s before it)",
        [
            tuple(heading for _name, heading in DAYS),
            *(tuple(str(day[name]) for name, _heading in DAYS) for day in figures["days"]),
        ],
    )


def _targets(found: list[dict[str, Any]]) -> Table:
    rows = [
        (
            each["name"],
            "-" if each["value"] is None else f"{each['value']:.3g} {each['unit']}",
            f"{'>' if each['name'] == 'cache_hit_rate' else '<'} {each['limit']} {each['unit']}",
            VERDICTS[each["met"]] + (" (for information)" if each["informational"] else ""),
        )
        for each in found
    ]
    return "Targets, over the last hour", [("figure", "value", "target", ""), *rows]


def _owed(owed: dict[str, Any]) -> Table:
    oldest = span(timezone.now() - owed["oldest_due_at"]) if owed["oldest_due_at"] else "-"
    counts = [(name, str(count)) for name, count in owed.items() if isinstance(count, int)]
    due = [(f"due for {task}", str(count)) for task, count in owed["due"].items()]
    return "Owed now", [("status", "webhooks"), *counts, *due, ("the oldest is due for", oldest)]


def _deliveries(latest: dict[str, Any]) -> Iterator[Table]:
    parts = [(name, latest[name]) for name in ("total", "waiting", "lookup", "post") if latest[name]]
    yield (
        f"Latest deliveries: {latest['count']} in the last hour",
        [("seconds", "p50", "p95"), *((name, *(f"{each:.3f}" for each in part.values())) for name, part in parts)],
    )
    counted = [(status or "not to be looked up", str(count)) for status, count in latest["learning_times"].items()]
    yield "Their learning time", [("status", "deliveries"), *counted]


def _endpoints(found: list[dict[str, Any]]) -> Table:
    names = ("endpoint", "customer", "region", "state", "pending", "parked")
    return "Endpoints, the worst first", [names, *(tuple(str(each[name]) for name in names) for each in found)]


def _outcomes(hours: list[dict[str, Any]]) -> Table:
    names = ("delivered", "failed", "cancelled")
    rows = [
        (timezone.localtime(hour["start"]).isoformat(" ", "minutes"), *(str(hour[name]) for name in names))
        for hour in hours
    ]
    return "Outcomes by hour", [("from", *names), *rows]
