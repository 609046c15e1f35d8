# SPDX-License-Identifier: AGPL-3.0-or-later
"""The sweep as a command, for cron, a sidecar or a person."""

import time

from django.core.management.base import BaseCommand, CommandError

from channel_integrations.integrated_channel.services import delivery, sweep


class Command(BaseCommand):
    """Send what is due and pick up what was lost."""

    help = (
        "Sends webhooks that are due, sends those without learning time that have waited too long for it, takes back "
        "what killed workers left, and makes the rows of passes that have none. Run it every minute from cron, or as a "
        "sidecar with --loop. It may run beside workers and beside itself."
    )

    # A setting that a check complains about is read as its default; what is owed goes out all the same.
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument("--loop", action="store_true", help="go on until interrupted")
        parser.add_argument(
            "--interval", type=int, default=30, help="seconds between two rounds of --loop (default 30)"
        )

    def handle(self, *args, **options) -> None:
        if not 1 <= options["interval"] <= 3600:
            raise CommandError("--interval takes 1 to 3600 seconds")
        while True:
            self._round()
            if not options["loop"]:
                return
            try:
                time.sleep(options["interval"])
            except KeyboardInterrupt:
                return

    def _round(self) -> None:
        sweep.tidy()
        handled = delivery.deliver_due(time.monotonic() + delivery.CLAIM_SECONDS)
        self.stdout.write(f"webhooks handled: {handled}")
