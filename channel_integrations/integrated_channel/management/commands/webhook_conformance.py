# SPDX-License-Identifier: AGPL-3.0-or-later
"""Does a partner's receiver handle what it must? On the command line, as a report for the ticket."""

import getpass
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from channel_integrations.integrated_channel.exceptions import (
    AddressRefused,
    SecretUnreadable,
    SignInFailed,
    WebhookNotWritable,
)
from channel_integrations.integrated_channel.http_client import check_url
from channel_integrations.integrated_channel.management.arguments import (
    add_endpoint,
    add_json,
    endpoint_with,
    text_or_json,
    typed_wrongly,
    whole_number,
)
from channel_integrations.integrated_channel.models import WebhookEndpointHealth
from channel_integrations.integrated_channel.services.conformance.cases import cases_for
from channel_integrations.integrated_channel.services.conformance.play import PER_MINUTE, Target, duration, play
from channel_integrations.integrated_channel.services.conformance.report import Report, shown
from channel_integrations.integrated_channel.services.conformance.verdict import judge
from channel_integrations.integrated_channel.signing import InvalidSecret, decode_secret, in_words


class Command(BaseCommand):
    """Play against a receiver the cases that it must handle."""

    help = (
        "Sends a receiver the cases that it must handle (valid, twice the same, forged, too old, revised, two "
        "signatures and so on) and prints which it handles, as Markdown that can be pasted into a ticket. What it "
        "sends is about an invented learner, but a receiver takes it for real: play it against a partner's test "
        "system, or before real learners come. With an endpoint it takes the endpoint's URL, secret, sign-in, "
        "certificates, timeout and limit of requests; with a URL it asks for the secret, or reads it from standard "
        "input. It sends one request after the other, needs no worker or broker, and keeps nothing (but the access "
        "token that it may have to ask for). Ends with 1 unless all cases are handled."
    )
    requires_system_checks = ()
    stealth_options = ("stdin",)

    def add_arguments(self, parser) -> None:
        parser.add_argument("url", nargs="?", metavar="URL", help="of a receiver that is no endpoint's, or not yet")
        add_endpoint(parser, "in place of a URL, the endpoint")
        parser.add_argument(
            "--live",
            action="store_true",
            help="also where the endpoint has taken webhooks of real learners: an invented one comes to stand beside "
            "them, until the partner deletes it",
        )
        parser.add_argument(
            "--per-minute",
            type=whole_number(1, 6000),
            default=PER_MINUTE,
            metavar="N",
            help=f"how many requests are sent in a minute at the most (default {PER_MINUTE}); the endpoint's own limit "
            "holds as well",
        )
        add_json(parser)

    def handle(self, *args, **options) -> None:
        if bool(options["url"]) == bool(options["endpoint"]):
            raise typed_wrongly("Type a URL, or --endpoint and its number.")
        if options["endpoint"]:
            target = _target_of(options)
            secret_of = f"the {in_words(target.secrets[0])} of endpoint {options['endpoint']}"
        else:
            target, secret_of = _target_at(options), "a secret that was typed in"
        cases = cases_for(target.wording)
        self.stderr.write(
            f"Sending to {shown(target.url)} what a receiver must handle: {len(cases)} cases, "
            f"{duration(target, cases).total_seconds():.0f} s or longer.",
            self.style.NOTICE,
        )
        played_at = timezone.now()
        report = Report(target, secret_of, played_at, judge(play(target, cases), target.timeout_seconds))
        self.stdout.write(text_or_json(options, report.text(), report.facts()))
        if not report.all_handled:
            raise CommandError("Not all cases are handled: the report says which.")


def _target_at(options: dict[str, Any]) -> Target:
    try:
        check_url(options["url"])
    except AddressRefused as err:
        raise typed_wrongly(str(err)) from err
    stdin = options.get("stdin") or sys.stdin
    if stdin.isatty():
        secret = getpass.getpass("Signing secret of the receiver (whsec_…): ").strip()
    else:
        secret = stdin.readline().strip()
    try:
        decode_secret(secret)
    except InvalidSecret as err:
        raise typed_wrongly(f"The secret on standard input cannot be used. {err}") from err
    return Target(options["url"], [secret], pause=60 / options["per_minute"])


def _target_of(options: dict[str, Any]) -> Target:
    endpoint = endpoint_with(options["endpoint"])
    taken = WebhookEndpointHealth.objects.filter(pk=endpoint.pk, last_success_at__isnull=False)
    if not options["live"] and taken.exists():
        raise typed_wrongly(
            f"Endpoint {endpoint.pk} has taken webhooks already: its receiver would record an invented learner beside "
            "the real ones. Play against the URL of the partner's test system, or add --live if the partner agrees."
        )
    try:
        return Target.of(endpoint, options["per_minute"])
    except (SecretUnreadable, SignInFailed, WebhookNotWritable) as err:
        raise CommandError(str(err)) from err
