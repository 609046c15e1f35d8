# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which webhooks a command is for: single ones, or a range by endpoint, time and status."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError
from django.db.models import Count

from channel_integrations.integrated_channel.management.arguments import endpoint_with, moment
from channel_integrations.integrated_channel.services.replay import Selection


def add_arguments(parser, statuses: Sequence[Any], *former_names: str) -> None:
    """The arguments of a selection; ``statuses`` are those that may be chosen."""
    parser.add_argument("webhook", nargs="*", type=UUID, help="ids of single webhooks")
    parser.add_argument("--endpoint", type=int, metavar="ID", help="webhooks of this endpoint")
    parser.add_argument("--since", type=moment, metavar="TIME", help="made at this time (2026-11-24) or later")
    parser.add_argument("--until", type=moment, metavar="TIME", help="made before this time")
    parser.add_argument(
        "--status",
        *former_names,
        dest="status",
        action="append",
        choices=[str(status) for status in statuses],
        help="may be given repeatedly",
    )
    parser.add_argument("--dry-run", action="store_true", help="say how many there are, and do nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")


def selection_of(options: dict[str, Any], statuses: Sequence[Any]) -> Selection:
    """:raises CommandError: nothing was selected, or there is no such endpoint"""
    if not any(options[name] for name in ("webhook", "endpoint", "since", "until", "status")):
        raise CommandError("Say which: ids, --endpoint, --since, --until or --status. All at once is no choice.")
    if options["endpoint"]:
        endpoint_with(options["endpoint"])
    return Selection(
        webhook_ids=options["webhook"] or None,
        endpoint_id=options["endpoint"],
        since=options["since"],
        until=options["until"],
        statuses=options["status"] or statuses,
    )


def counts(selection: Selection) -> list[dict[str, Any]]:
    """How many there are, by status and endpoint."""
    rows = selection.rows().order_by("status", "endpoint_id").values("status", "endpoint_id")
    return [
        {"status": each["status"], "endpoint": each["endpoint_id"], "count": each["count"]}
        for each in rows.annotate(count=Count("pk"))
    ]


def in_words(count: dict[str, Any]) -> str:
    """A line of ``counts``."""
    endpoint = f"endpoint {count['endpoint']}" if count["endpoint"] else "without endpoint"
    return f"{count['count']:>8}  {count['status']}, {endpoint}"
