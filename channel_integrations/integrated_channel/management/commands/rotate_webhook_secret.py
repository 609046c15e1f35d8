# SPDX-License-Identifier: AGPL-3.0-or-later
"""A new signing secret, from the command line."""

from django.core.management.base import BaseCommand

from channel_integrations.integrated_channel.management.arguments import endpoint_with
from channel_integrations.integrated_channel.models import WebhookSigningSecret


class Command(BaseCommand):
    """Replace an endpoint's signing secret."""

    help = (
        "Gives an endpoint a new signing secret and prints it, the only time that it is shown. For 24 hours webhooks "
        "are signed with the former secret as well, so that the partner can put the new one in without a gap."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument("--endpoint", type=int, required=True, metavar="ID", help="number of the endpoint")

    def handle(self, *args, **options) -> None:
        self.stdout.write(WebhookSigningSecret.rotate(endpoint_with(options["endpoint"])))
