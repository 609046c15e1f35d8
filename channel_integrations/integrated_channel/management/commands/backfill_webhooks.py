# SPDX-License-Identifier: AGPL-3.0-or-later
"""Backfills, from the command line."""

from django.core.management.base import BaseCommand, CommandError

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.management.arguments import endpoint_with, moment, whole_number
from channel_integrations.integrated_channel.services.backfill import backfill, count_missing
from channel_integrations.integrated_channel.services.reconciliation import grade_model
from channel_integrations.integrated_channel.services.replay import PER_MINUTE


class Command(BaseCommand):
    """Send an endpoint the completions from before its send_from."""

    help = (
        "Makes the webhooks of completions since a time, also of those from before the endpoint's send_from, which "
        "nothing else sends. Completions that the customer has had are left alone, and so are those of learners whom "
        "it did not sponsor, who gave no consent, or who were linked to it only later. Run it with --dry-run first."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument("--endpoint", type=int, required=True, metavar="ID", help="number of the endpoint")
        parser.add_argument(
            "--since", type=moment, required=True, metavar="TIME", help="passed at this time (2026-09-01) or later"
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
        endpoint = endpoint_with(options["endpoint"])
        if not endpoint.active:
            raise CommandError(f"Endpoint {endpoint.pk} is switched off: no webhooks are made for it.")
        if grade_model() is None:
            raise CommandError(
                "There are no grades to read: CHANNEL_WEBHOOKS_GRADE_SOURCE must name an installed model, such as "
                "grades.PersistentCourseGrade."
            )
        if options["dry_run"]:
            count = count_missing(endpoint, options["since"])
            self.stdout.write(f"{count} webhooks would be made for endpoint {endpoint.pk}. Nothing was done.")
            return
        made = backfill(endpoint, options["since"], options["per_minute"])
        wake_up.delivery()
        self.stdout.write(f"{made} webhooks made for endpoint {endpoint.pk}, due {options['per_minute']} a minute.")
