# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the lookups cost, by day."""

import json
from dataclasses import asdict

from django.core.management.base import BaseCommand

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.management.arguments import whole_number
from channel_integrations.integrated_channel.services import lookup_costs

COLUMNS = (
    ("day", "day"),
    ("statements", "statements"),
    ("asked", "completions"),
    ("found", "with number"),
    ("failed", "failed"),
    ("wakes", "wakes"),
)


class Command(BaseCommand):
    """Show what was asked of Snowflake."""

    help = (
        "What was asked of Snowflake, by day: statements, completions that they looked up, those that have a number, "
        "statements that failed, and wakes of the warehouse. A wake is a statement that begins more than "
        "CHANNEL_WEBHOOKS_WAREHOUSE_AUTO_SUSPEND_SECONDS after the one before has ended; Snowflake bills at least a "
        "minute for each. Where there are about as many wakes as completions, let lookups wait for one another: "
        "CHANNEL_WEBHOOKS_LOOKUP_WAIT_SECONDS."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument(
            "--days",
            type=whole_number(1, 366),
            default=7,
            metavar="N",
            help="how many days, today included (default 7)",
        )
        parser.add_argument("--json", action="store_true", help="print the same as JSON")

    def handle(self, *args, **options) -> None:
        days = [asdict(day) for day in lookup_costs.by_day(options["days"])]
        if options["json"]:
            self.stdout.write(
                json.dumps({"auto_suspend_seconds": _auto_suspend(), "days": days}, default=str, indent=2)
            )
            return
        rows = [tuple(heading for _name, heading in COLUMNS)]
        rows += [tuple(str(day[name]) for name, _heading in COLUMNS) for day in days]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        for row in rows:
            self.stdout.write("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
        self.stdout.write(f"(a wake: no statement for more than {_auto_suspend()} s before it)")


def _auto_suspend() -> int:
    return round(conf.warehouse_auto_suspend().total_seconds())
