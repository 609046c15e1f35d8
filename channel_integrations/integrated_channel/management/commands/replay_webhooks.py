# SPDX-License-Identifier: AGPL-3.0-or-later
"""Replays, from the command line."""

from typing import Any

from django.core.management.base import BaseCommand

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.management import selection
from channel_integrations.integrated_channel.management.arguments import add_per_minute, text_or_json
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
        add_per_minute(parser, PER_MINUTE)

    def handle(self, *args, **options) -> None:
        chosen = selection.selection_of(options, REPLAYABLE)
        selected, remarks = selection.counts(chosen), list(selection.left_alone(chosen))
        facts: dict[str, Any] = {"selected": selected, "left_alone": remarks, "dry_run": options["dry_run"]}
        if options["dry_run"]:
            text = f"{sum(count['count'] for count in selected)} webhooks would be replayed. Nothing was done."
        else:
            facts |= {"replayed": replay(chosen, options["per_minute"]), "per_minute": options["per_minute"]}
            wake_up.delivery()
            text = f"{facts['replayed']} webhooks are being replayed, {options['per_minute']} a minute."
        self.stdout.write(text_or_json(options, "\n".join([*selection.in_words(selected, remarks), text]), facts))
