# SPDX-License-Identifier: AGPL-3.0-or-later
"""Replays, from the command line."""

from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.management.arguments import endpoint_with, moment, whole_number
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
        parser.add_argument("--endpoint", type=int, metavar="ID", help="webhooks of this endpoint")
        parser.add_argument("--since", type=moment, metavar="TIME", help="made at this time (2026-11-24) or later")
        parser.add_argument("--until", type=moment, metavar="TIME", help="made before this time")
        parser.add_argument(
            "--outcome", action="append", choices=[str(status) for status in REPLAYABLE], help="may be given repeatedly"
        )
        parser.add_argument(
            "--per-minute",
            type=whole_number(1, 6000),
            default=PER_MINUTE,
            metavar="N",
            help=f"how many fall due in a minute (default {PER_MINUTE}); the endpoint's own limit holds as well",
        )
        parser.add_argument("--dry-run", action="store_true", help="say how many there are, and do nothing")

    def handle(self, *args, **options) -> None:
        selection = self._selection(options)
        for status, endpoint, count in (
            selection.rows()
            .order_by("status", "endpoint_id")
            .values_list("status", "endpoint_id")
            .annotate(Count("pk"))
        ):
            self.stdout.write(f"{count:>8}  {status}, {f'endpoint {endpoint}' if endpoint else 'without endpoint'}")
        if options["dry_run"]:
            self.stdout.write(f"{selection.rows().count()} webhooks would be replayed. Nothing was done.")
            return
        replayed = replay(selection, options["per_minute"])
        wake_up.delivery()
        self.stdout.write(f"{replayed} webhooks are being replayed, {options['per_minute']} a minute.")

    def _selection(self, options) -> Selection:
        if not any(options[name] for name in ("webhook", "endpoint", "since", "until", "outcome")):
            raise CommandError("Say which: ids, --endpoint, --since, --until or --outcome. All at once is no choice.")
        if options["endpoint"]:
            endpoint_with(options["endpoint"])
        return Selection(
            webhook_ids=options["webhook"] or None,
            endpoint_id=options["endpoint"],
            since=options["since"],
            until=options["until"],
            statuses=options["outcome"] or REPLAYABLE,
        )
