# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which webhooks a command is for: single ones, or a range by endpoint, time and status."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Count

from channel_integrations.integrated_channel.management.arguments import (
    add_dry_run,
    add_endpoint,
    add_json,
    endpoint_with,
    moment,
    typed_wrongly,
)
from channel_integrations.integrated_channel.models import WebhookTransmissionQueue
from channel_integrations.integrated_channel.services.replay import Selection


def add_arguments(parser, statuses: Sequence[Any], *former_names: str) -> None:
    """The arguments of a selection; ``statuses`` are those that may be chosen."""
    parser.add_argument("webhook", nargs="*", type=UUID, help="ids of single webhooks")
    add_endpoint(parser, "webhooks of this endpoint")
    parser.add_argument("--since", type=moment, metavar="TIME", help="made at this time (2026-11-24) or later")
    parser.add_argument("--until", type=moment, metavar="TIME", help="made before this time")
    parser.add_argument(
        *former_names,
        "--status",
        dest="status",
        action="append",
        choices=[str(status) for status in statuses],
        help="may be given repeatedly",
    )
    add_dry_run(parser)
    add_json(parser)


def selection_of(options: dict[str, Any], statuses: Sequence[Any]) -> Selection:
    """:raises CommandError: nothing was selected, or there is no such endpoint or webhook"""
    if not any(options[name] for name in ("webhook", "endpoint", "since", "until", "status")):
        raise typed_wrongly("Say which: ids, --endpoint, --since, --until or --status. All at once is no choice.")
    if options["since"] and options["until"] and options["since"] >= options["until"]:
        raise typed_wrongly("--until must be later than --since: nothing lies between them.")
    if options["endpoint"]:
        endpoint_with(options["endpoint"])
    _look_for(options["webhook"])
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


def left_alone(selection: Selection) -> Iterator[dict[str, str]]:
    """Webhooks that were asked for by their ids and are not among the selection, and why not."""
    asked_for = WebhookTransmissionQueue.objects.filter(webhook_id__in=selection.webhook_ids or [])
    for webhook in asked_for.exclude(pk__in=selection.rows().values("pk")).order_by("pk"):
        why = f"it is {webhook.status}"
        if webhook.purged_at:
            why = "its personal data has been removed"
        elif webhook.status in selection.statuses:
            why += ", but outside the rest of what you typed"
        yield {"webhook": str(webhook.webhook_id), "why": why}


def in_words(selected: Iterable[dict[str, Any]], remarks: Iterable[dict[str, str]]) -> Iterator[str]:
    """A line for each of ``counts`` and of ``left_alone``."""
    for count in selected:
        endpoint = f"endpoint {count['endpoint']}" if count["endpoint"] else "without endpoint"
        yield f"{count['count']:>8}  {count['status']}, {endpoint}"
    for remark in remarks:
        yield f"{remark['webhook']} is left alone: {remark['why']}"


def _look_for(webhook_ids: Sequence[UUID]) -> None:
    known = WebhookTransmissionQueue.objects.filter(webhook_id__in=webhook_ids)
    unknown = set(webhook_ids) - set(known.values_list("webhook_id", flat=True))
    if unknown:
        raise typed_wrongly(
            f"There is no webhook {', '.join(sorted(map(str, unknown)))}. Its id is on its page in the admin, and in "
            "the header webhook-id of the request."
        )
