# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cancellations, from the command line."""

import json

from django.core.management.base import BaseCommand

from channel_integrations.integrated_channel.management import selection
from channel_integrations.integrated_channel.services.cancellation import CANCELLABLE, cancel


class Command(BaseCommand):
    """Give up what has not come to its end."""

    help = (
        "Cancels webhooks that are unfinished, parked or without endpoint: they are not sent any more. Choose single "
        "webhooks, or a range by endpoint, time and status. Run it with --dry-run first. What a worker is sending at "
        "this moment cannot be called back and goes on: run it again in some minutes. replay_webhooks takes it back."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        selection.add_arguments(parser, CANCELLABLE)

    def handle(self, *args, **options) -> None:
        chosen = selection.selection_of(options, CANCELLABLE)
        selected = selection.counts(chosen)
        done = None if options["dry_run"] else cancel(chosen)
        if options["json"]:
            result = {"selected": selected, "dry_run": options["dry_run"], **(done._asdict() if done else {})}
            self.stdout.write(json.dumps(result, indent=2))
            return
        for count in selected:
            self.stdout.write(selection.in_words(count))
        if done is None:
            total = sum(count["count"] for count in selected)
            self.stdout.write(f"{total} webhooks would be cancelled. Nothing was done.")
            return
        self.stdout.write(f"{done.cancelled} webhooks were cancelled.")
        if done.being_worked_at:
            self.stdout.write(f"{done.being_worked_at} were being worked at and go on: run it again in some minutes.")
