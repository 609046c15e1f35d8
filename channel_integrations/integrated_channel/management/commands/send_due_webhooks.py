# SPDX-License-Identifier: AGPL-3.0-or-later
"""The sweep as a command, for cron, a sidecar or a person."""

import signal
import time

from django.core.management.base import BaseCommand
from django.db import Error, close_old_connections, connections

from channel_integrations.integrated_channel.log_lines import LogLines, chain_of
from channel_integrations.integrated_channel.management.arguments import (
    add_json,
    text_or_json,
    typed_wrongly,
    whole_number,
)
from channel_integrations.integrated_channel.services import delivery, heartbeat, sweep

lines = LogLines(__name__)


#: seconds between two signs of life of a loop that waits, and how soon it then heeds SIGTERM
TOUCH_SECONDS = 1.0
#: seconds between two rounds of a loop
INTERVAL = 30


class Command(BaseCommand):
    """Send what is due and pick up what was lost."""

    help = (
        "Sends webhooks that are due, sends those without learning time that have waited too long for it, takes back "
        "what killed workers left, and makes the rows of passes that have none. Run it every minute from cron, or as a "
        "sidecar with --loop. It may run beside workers and beside itself. What it prints are the POSTs that it made "
        "itself; what the workers send is theirs to tell."
    )

    # A setting that a check complains about is read as its default; what is owed goes out all the same.
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument(
            "--loop", action="store_true", help="go on until interrupted; SIGTERM ends it after a round"
        )
        parser.add_argument(
            "--interval",
            type=whole_number(1, 3600),
            metavar="SECONDS",
            help=f"for --loop: how long to wait between two rounds (default {INTERVAL})",
        )
        add_json(parser)

    def handle(self, *args, **options) -> None:
        if options["interval"] and not options["loop"]:
            raise typed_wrongly("--interval goes with --loop.")
        if not options["loop"]:
            self._round(options)
            return
        self._ending = False
        # Unhandled it does nothing to a container's first process, and ends any other in mid-send.
        signal.signal(signal.SIGTERM, self._end)
        try:
            while not self._ending:
                self._round_that_may_fail(options)
                self._wait(options["interval"] or INTERVAL)
        except KeyboardInterrupt:
            return

    def _end(self, *args) -> None:
        self._ending = True

    def _round_that_may_fail(self, options: dict) -> None:
        """A database that is being restarted must not end the loop: it is there again in a round or two."""
        close_old_connections()
        try:
            self._round(options)
        except Error as err:
            lines.error("webhook_sweep", "failure", "trying again", error=chain_of(err))
            connections.close_all()

    def _round(self, options: dict) -> None:
        heartbeat.touch_file()
        try:
            sweep.tidy()
        finally:  # What is due goes out whatever the rest of the sweep meets with.
            heartbeat.touch_file()
            attempts = delivery.deliver_due()
            self.stdout.write(text_or_json(options, f"attempts made: {attempts}", {"attempts": attempts}))
        heartbeat.beat(heartbeat.SWEEP)

    def _wait(self, seconds: float) -> None:
        """Sleep, and be seen to be alive."""
        ends = time.monotonic() + seconds
        while not self._ending and (left := ends - time.monotonic()) > 0:
            heartbeat.touch_file()
            time.sleep(min(left, TOUCH_SECONDS))
