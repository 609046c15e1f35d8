# SPDX-License-Identifier: AGPL-3.0-or-later
"""Replays, from the command line."""

from collections.abc import Iterator
from uuid import UUID

from django.core.management.base import BaseCommand
from django.db.models import Count

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.management.arguments import (
    TypedWrongly,
    add_dry_run,
    add_endpoint,
    add_json,
    add_per_minute,
    endpoint_with,
    moment,
    said,
)
from channel_integrations.integrated_channel.models import WebhookTransmissionQueue
from channel_integrations.integrated_channel.services.replay import PER_MINUTE, REPLAYABLE, Selection, replay


class Command(BaseCommand):
    """Send again what was delivered, failed, was cancelled, or had no endpoint."""

    help = (
        "Sends webhooks again, with the same id and the same bytes, on the whole schedule. Choose single webhooks, or "
        "a range by endpoint, time and outcome. Run it with --dry-run first. What is no longer owed (consent was "
        "withdrawn, say) is cancelled instead. Parked webhooks need no replay: they go out when their endpoint is "
        "switched on. Workers, or send_due_webhooks, do the sending."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument("webhook", nargs="*", type=UUID, help="ids of single webhooks")
        add_endpoint(parser, "webhooks of this endpoint")
        parser.add_argument("--since", type=moment, metavar="TIME", help="made at this time (2026-11-24) or later")
        parser.add_argument("--until", type=moment, metavar="TIME", help="made before this time")
        parser.add_argument(
            "--outcome", action="append", choices=[str(status) for status in REPLAYABLE], help="may be given repeatedly"
        )
        add_per_minute(parser, PER_MINUTE)
        add_dry_run(parser)
        add_json(parser)

    def handle(self, *args, **options) -> None:
        selection = _selection(options)
        groups = [
            {"status": status, "endpoint": endpoint, "webhooks": count}
            for status, endpoint, count in selection.rows()
            .order_by("status", "endpoint_id")
            .values_list("status", "endpoint_id")
            .annotate(Count("pk"))
        ]
        left_alone = list(_left_alone(selection))
        if options["dry_run"]:
            count = selection.rows().count()
            text = f"{count} webhooks would be replayed. Nothing was done."
        else:
            count = replay(selection, options["per_minute"])
            wake_up.delivery()
            text = f"{count} webhooks are being replayed, {options['per_minute']} a minute."
        facts = {"webhooks": count, "groups": groups, "left_alone": left_alone, "dry_run": options["dry_run"]}
        self.stdout.write(said(options, "\n".join([*map(_line, groups), *map(_remark, left_alone), text]), facts))


def _selection(options) -> Selection:
    if not any(options[name] for name in ("webhook", "endpoint", "since", "until", "outcome")):
        raise TypedWrongly("Say which: ids, --endpoint, --since, --until or --outcome. All at once is no choice.")
    if options["since"] and options["until"] and options["since"] >= options["until"]:
        raise TypedWrongly("--until must be later than --since: nothing lies between them.")
    if options["endpoint"]:
        endpoint_with(options["endpoint"])
    known = WebhookTransmissionQueue.objects.filter(webhook_id__in=options["webhook"])
    unknown = set(options["webhook"]) - set(known.values_list("webhook_id", flat=True))
    if unknown:
        raise TypedWrongly(
            f"There is no webhook {', '.join(sorted(map(str, unknown)))}. Its id is on its page in the admin, and in "
            "the header webhook-id of the request."
        )
    return Selection(
        webhook_ids=options["webhook"] or None,
        endpoint_id=options["endpoint"],
        since=options["since"],
        until=options["until"],
        statuses=options["outcome"] or REPLAYABLE,
    )


def _left_alone(selection: Selection) -> Iterator[dict[str, str]]:
    """Webhooks that were asked for by their ids and are not replayed, and why not."""
    asked_for = WebhookTransmissionQueue.objects.filter(webhook_id__in=selection.webhook_ids or [])
    for webhook in asked_for.exclude(pk__in=selection.rows().values("pk")).order_by("pk"):
        why = webhook.status
        if webhook.purged_at:
            why = "its personal data has been removed, nothing is left to send"
        elif webhook.status in REPLAYABLE:
            why += ", outside the rest of what you typed"
        yield {"webhook": str(webhook.webhook_id), "why": why}


def _line(group: dict) -> str:
    endpoint = f"endpoint {group['endpoint']}" if group["endpoint"] else "without endpoint"
    return f"{group['webhooks']:>8}  {group['status']}, {endpoint}"


def _remark(webhook: dict[str, str]) -> str:
    return f"{webhook['webhook']} is left alone: {webhook['why']}"
