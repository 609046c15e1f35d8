# SPDX-License-Identifier: AGPL-3.0-or-later
"""A new signing secret, from the command line."""

from datetime import timedelta

from django.core.management.base import BaseCommand

from channel_integrations.integrated_channel.management.arguments import add_endpoint, add_json, endpoint_with, said
from channel_integrations.integrated_channel.models import WebhookSigningSecret
from channel_integrations.integrated_channel.models.signing_secret import ROTATION_OVERLAP


class Command(BaseCommand):
    """Replace an endpoint's signing secret."""

    help = (
        "Gives an endpoint a new signing secret and prints it, the only time that it is shown: on standard output the "
        "secret alone, what else there is to say on standard error. For 24 hours webhooks are signed with the former "
        "secret as well, where it can be read, so that the partner can put the new one in without a gap."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        add_endpoint(parser, "the endpoint", required=True)
        add_json(parser)

    def handle(self, *args, **options) -> None:
        endpoint = endpoint_with(options["endpoint"])
        secret = WebhookSigningSecret.rotate(endpoint)
        self.stdout.write(said(options, secret, {"endpoint": endpoint.pk, "secret": secret}))
        has_former = len(endpoint.signing_secrets()) > 1
        beside = (
            f"For {ROTATION_OVERLAP // timedelta(hours=1)} hours the former one signs beside it"
            if has_former
            else "No former one signs beside it: webhooks are refused, and tried again, until the partner has it"
        )
        self.stderr.write(
            f"Endpoint {endpoint.pk} ({endpoint.enterprise_customer.name}, {endpoint.region}) has a new secret, shown "
            f"this once. {beside}. Have the partner put the new one in, then type "
            f"./manage.py lms send_test_webhook --endpoint {endpoint.pk}",
            self.style.NOTICE,
        )
