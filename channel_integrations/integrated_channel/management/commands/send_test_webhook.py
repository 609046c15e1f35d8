# SPDX-License-Identifier: AGPL-3.0-or-later
"""A test event, from the command line."""

from django.core.management.base import BaseCommand, CommandError

from channel_integrations.integrated_channel.exceptions import SecretUnreadable
from channel_integrations.integrated_channel.management.arguments import endpoint_with
from channel_integrations.integrated_channel.services.retry import Outcome, classify
from channel_integrations.integrated_channel.services.test_event import send_test_event


class Command(BaseCommand):
    """Send a signed test event and show what came of it."""

    help = (
        "Sends a signed event of the type 'test', without a learner, to an endpoint and shows the answer. It is sent "
        "at once, by this command: no worker, broker or Snowflake is needed. Ends with 1 unless the answer was 2xx."
    )
    requires_system_checks = ()

    def add_arguments(self, parser) -> None:
        parser.add_argument("--endpoint", type=int, required=True, metavar="ID", help="number of the endpoint")

    def handle(self, *args, **options) -> None:
        endpoint = endpoint_with(options["endpoint"])
        try:
            result = send_test_event(endpoint)
        except SecretUnreadable as err:
            raise CommandError(str(err)) from err
        if result.answer is None:
            raise CommandError(f"{endpoint.webhook_url}: no answer ({result.error}) after {result.duration_ms} ms")
        self.stdout.write(f"{endpoint.webhook_url}: HTTP {result.answer.status} after {result.duration_ms} ms")
        if result.answer.body_start:
            self.stdout.write(result.answer.body_start)
        if classify(result.answer.status) is not Outcome.DELIVERED:
            raise CommandError("The endpoint did not take it: webhooks are taken by an answer of 200 to 299.")
