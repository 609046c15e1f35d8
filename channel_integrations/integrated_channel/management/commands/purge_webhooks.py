# SPDX-License-Identifier: AGPL-3.0-or-later
"""Retention, from the command line."""

from datetime import timedelta

from django.core.management.base import BaseCommand

from channel_integrations.integrated_channel import conf
from channel_integrations.integrated_channel.management.arguments import (
    add_dry_run,
    add_json,
    text_or_json,
    whole_number,
)
from channel_integrations.integrated_channel.services.retention import purge, purgeable


class Command(BaseCommand):
    """Remove payloads, attempts and personal data of old webhooks."""

    help = (
        "Removes payloads, attempts and personal data of webhooks that are older and have come to their end, that are "
        "parked, or that have no endpoint. What keeps a completion from being sent twice stays. The sweep does the "
        "same by itself with CHANNEL_WEBHOOKS_RETENTION_DAYS, some thousands an hour."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument(
            "--older-than",
            type=whole_number(0, 36500),
            metavar="DAYS",
            help="age in days (default: CHANNEL_WEBHOOKS_RETENTION_DAYS)",
        )
        add_dry_run(parser)
        add_json(parser)

    def handle(self, *args, **options) -> None:
        days = options["older_than"]
        age = conf.retention() if days is None else timedelta(days=days)
        if options["dry_run"]:
            count = purgeable(age).count()
            text = f"{count} webhooks older than {age.days} days would be purged. Nothing was done."
        else:
            count = purge(age)
            text = f"{count} webhooks older than {age.days} days purged."
        facts = {"webhooks": count, "older_than_days": age.days, "dry_run": options["dry_run"]}
        self.stdout.write(text_or_json(options, text, facts))
