# SPDX-License-Identifier: AGPL-3.0-or-later
"""Replays, from the command line."""

import json

from django.core.management.base import BaseCommand

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.management import selection
from channel_integrations.integrated_channel.management.arguments import whole_number
from channel_integrations.integrated_channel.services.replay import PER_MINUTE, REPLAYABLE, replay


class Command(BaseCommand):
    """Send again what was delivered, failed, was cancelled, or had no endpoint."""

    help = (
        "Sends webhooks again, with the same id and the same bytes, on the whole schedule. Choose single webhooks, or "
        "a range by endpoint, time and status. Run it with --dry-run first. What is no longer owed (consent was "
        "withdrawn, say) is cancelled instead. Parked webhooks need no replay: they go out when their endpoint is "
        "switched on. Workers, or send_due_webhooks, do the sending."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        selection.add_arguments(parser, REPLAYABLE, "--outcome")
        parser.add_argument(
            "--per-minute",
            type=whole_number(1, 6000),
            default=PER_MINUTE,
            metavar="N",
            help=f"how many fall due in a minute (default {PER_MINUTE}); the endpoint's own limit holds as well",
        )

    def handle(self, *args, **options) -> None:
        chosen = selection.selection_of(options, REPLAYABLE)
        selected = selection.counts(chosen)
        replayed = None if options["dry_run"] else replay(chosen, options["per_minute"])
        if replayed is not None:
            wake_up.delivery()
        if options["json"]:
            result = {"selected": selected, "dry_run": options["dry_run"]}
            if replayed is not None:
                result.update(replayed=replayed, per_minute=options["per_minute"])
            self.stdout.write(json.dumps(result, indent=2))
            return
        for count in selected:
            self.stdout.write(selection.in_words(count))
        if replayed is None:
            total = sum(count["count"] for count in selected)
            self.stdout.write(f"{total} webhooks would be replayed. Nothing was done.")
            return
        self.stdout.write(f"{replayed} webhooks are being replayed, {options['per_minute']} a minute.")
