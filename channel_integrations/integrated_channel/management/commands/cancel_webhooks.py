# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cancellations, from the command line."""

from typing import Any

from django.core.management.base import BaseCommand

from channel_integrations.integrated_channel.management import selection
from channel_integrations.integrated_channel.management.arguments import text_or_json
from channel_integrations.integrated_channel.services.cancellation import CANCELLABLE, cancel


class Command(BaseCommand):
    """Give up what has not come to its end."""

    help = (
        "Cancels webhooks that are unfinished, parked or without endpoint: they are not sent any more. Choose single "
        "webhooks, or a range by endpoint, time and status. Run it with --dry-run first. What a worker is sending at "
        "this moment cannot be called back and goes on: run it again in some minutes. replay_webhooks takes it back. "
        "An erasure (learner.erased) that is cancelled tells its partner nothing: you owe it the word yourself."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        selection.add_arguments(parser, CANCELLABLE)

    def handle(self, *args, **options) -> None:
        chosen = selection.selection_of(options, CANCELLABLE)
        selected, remarks = selection.counts(chosen), list(selection.left_alone(chosen))
        facts: dict[str, Any] = {"selected": selected, "left_alone": remarks, "dry_run": options["dry_run"]}
        if options["dry_run"]:
            text = f"{sum(count['count'] for count in selected)} webhooks would be cancelled. Nothing was done."
        else:
            done = cancel(chosen)
            facts |= done._asdict()
            text = f"{done.cancelled} webhooks were cancelled."
            if done.being_worked_at:
                text += f"\n{done.being_worked_at} were being worked at and go on: run it again in some minutes."
        self.stdout.write(text_or_json(options, "\n".join([*selection.in_words(selected, remarks), text]), facts))
