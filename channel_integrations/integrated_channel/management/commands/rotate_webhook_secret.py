# SPDX-License-Identifier: AGPL-3.0-or-later
"""A new signing secret or key pair, from the command line."""

from datetime import timedelta

from django.core.management.base import BaseCommand, CommandError

from channel_integrations.integrated_channel.exceptions import SecretUnreadable
from channel_integrations.integrated_channel.management.arguments import (
    add_endpoint,
    add_json,
    endpoint_with,
    text_or_json,
)
from channel_integrations.integrated_channel.models import WebhookSigningSecret
from channel_integrations.integrated_channel.models.signing_secret import ROTATION_OVERLAP
from channel_integrations.integrated_channel.signing import PUBLIC_PREFIX, Kind


class Command(BaseCommand):
    """Replace an endpoint's signing secret."""

    help = (
        "Gives an endpoint a new signing secret and prints it, the only time that it is shown: on standard output the "
        "secret alone, what else there is to say on standard error. Of a key pair (--kind ed25519) it prints the "
        "public key; the private one is never shown. For 24 hours webhooks are signed with the former secret as well, "
        "where it can be read, so that the partner can put the new one in without a gap."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        add_endpoint(parser, "the endpoint", required=True)
        parser.add_argument(
            "--kind",
            choices=[str(kind) for kind in Kind],
            help="; ".join(f"{kind}: {kind.label}" for kind in Kind)
            + "; by default what the endpoint has, where that can be read",
        )
        add_json(parser)

    def handle(self, *args, **options) -> None:
        endpoint = endpoint_with(options["endpoint"])
        try:
            key = WebhookSigningSecret.rotate(endpoint, options["kind"])
        except SecretUnreadable as err:
            raise CommandError(
                f"{err}. To rotate, say what the partner is to verify with, since what it has cannot be told: "
                "--kind hmac or, with a public key, --kind ed25519"
            ) from err
        is_public = key.startswith(PUBLIC_PREFIX)
        name, shown = ("public_key", "public key") if is_public else ("secret", "secret, shown this once")
        self.stdout.write(text_or_json(options, key, {"endpoint": endpoint.pk, name: key}))
        beside = (
            f"For {ROTATION_OVERLAP // timedelta(hours=1)} hours the former one signs beside it"
            if WebhookSigningSecret.has_former(endpoint)
            else "No former one signs beside it: webhooks are refused, and tried again, until the partner has it"
        )
        self.stderr.write(
            f"Endpoint {endpoint.pk} ({endpoint.enterprise_customer.name}, {endpoint.region}) has a new {shown}. "
            f"{beside}. Have the partner put the new one in, then type "
            f"./manage.py lms send_test_webhook --endpoint {endpoint.pk}",
            self.style.NOTICE,
        )
