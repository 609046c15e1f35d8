# SPDX-License-Identifier: AGPL-3.0-or-later
"""Backfills, from the command line."""

from django.core.management.base import BaseCommand, CommandError

from channel_integrations.integrated_channel import wake_up
from channel_integrations.integrated_channel.management.arguments import (
    add_dry_run,
    add_endpoint,
    add_json,
    add_per_minute,
    endpoint_with,
    moment,
    text_or_json,
)
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
        add_endpoint(parser, "the endpoint that gets them", required=True)
        parser.add_argument(
            "--since", type=moment, required=True, metavar="TIME", help="passed at this time (2026-09-01) or later"
        )
        add_per_minute(parser, PER_MINUTE)
        add_dry_run(parser)
        add_json(parser)

    def handle(self, *args, **options) -> None:
        endpoint = endpoint_with(options["endpoint"])
        if not endpoint.active:
            raise CommandError(
                f"Endpoint {endpoint.pk} is switched off: no webhooks are made for it. Tick 'active' on its page in "
                "the admin, and type the same again."
            )
        if grade_model() is None:
            raise CommandError(
                "There are no grades to read: CHANNEL_WEBHOOKS_GRADE_SOURCE must name an installed model, such as "
                "grades.PersistentCourseGrade."
            )
        if options["dry_run"]:
            count = count_missing(endpoint, options["since"])
            text = f"{count} webhooks would be made for endpoint {endpoint.pk}. Nothing was done."
        else:
            count = backfill(endpoint, options["since"], options["per_minute"])
            wake_up.delivery()
            text = f"{count} webhooks made for endpoint {endpoint.pk}, due {options['per_minute']} a minute."
        facts = {"endpoint": endpoint.pk, "webhooks": count, "dry_run": options["dry_run"]}
        self.stdout.write(text_or_json(options, text, facts))
